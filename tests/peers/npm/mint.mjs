// Tokens of jose, one for each signature algorithm that it has here.
//
// Prints a JSON list of {alg, token, and jwk or secret}, and on standard error the algorithms that
// this version of it, or of node, does not have. The claims come as JSON in the first argument.

import { SignJWT, base64url, exportJWK, generateKeyPair, generateSecret } from 'jose';

const claims = JSON.parse(process.argv[2]);
const algorithms = [
  'HS256', 'HS384', 'HS512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512',
  'ES256', 'ES256K', 'ES384', 'ES512', 'EdDSA', 'Ed25519', 'ML-DSA-44', 'ML-DSA-65', 'ML-DSA-87',
];
const minted = [];
for (const alg of algorithms) {
  const sign = (key) => new SignJWT(claims).setProtectedHeader({ alg, typ: 'at+jwt' }).sign(key);
  try {
    if (alg.startsWith('HS')) {
      // HS256 takes a longer secret too; Portcullis reads it as text.
      const secret = base64url.encode((await exportJWK(await generateSecret('HS512', { extractable: true }))).k);
      minted.push({ alg, token: await sign(new TextEncoder().encode(secret)), secret });
    } else {
      const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
      minted.push({ alg, token: await sign(privateKey), jwk: await exportJWK(publicKey) });
    }
  } catch (error) {
    console.error(`${alg}: ${error.message.split('\n')[0]}`);
  }
}
console.log(JSON.stringify(minted));

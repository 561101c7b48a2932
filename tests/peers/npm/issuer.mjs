// oidc-provider as a real issuer on loopback: JWT access tokens by client credentials.
//
// Prints {"url"} once it listens, then {"path"} for each request. SIGUSR2 rotates its key: the
// former one is gone from its set.

import http from 'node:http';
import Provider from 'oidc-provider';
import { exportJWK, generateKeyPair } from 'jose';

const say = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);
const resource = 'https://api.example.com';
let url;
let handle;
let keys = 0;

async function renew() {
  keys += 1;
  const alg = keys % 2 ? 'RS256' : 'ES256';
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(privateKey)), kid: `key-${keys}`, use: 'sig', alg };
  const provider = new Provider(url, {
    clients: [{
      client_id: 'service',
      client_secret: 'a secret of the client',
      grant_types: ['client_credentials'],
      id_token_signed_response_alg: alg,
      redirect_uris: [],
      response_types: [],
    }],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => resource,
        getResourceServerInfo: () => ({
          accessTokenFormat: 'jwt',
          accessTokenTTL: 600,
          audience: resource,
          jwt: { sign: { alg } },
          scope: 'orders:read',
        }),
      },
    },
    jwks: { keys: [jwk] },
    scopes: ['orders:read'],
  });
  handle = provider.callback();
}

const server = http.createServer((request, response) => {
  say({ path: request.url });
  handle(request, response);
});
server.listen(0, '127.0.0.1', async () => {
  url = `http://127.0.0.1:${server.address().port}`;
  await renew();
  say({ url });
});
process.on('SIGUSR2', async () => {
  await renew();
  say({ rotated: keys });
});

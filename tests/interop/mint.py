"""Tokens of PyJWT, joserfc and jwcrypto, one for each signature algorithm that they have.

Prints a JSON list of {library, alg, token, and jwk or secret}; `jwk` is the public key as the
library itself writes it. The claims come as JSON in the first argument.
"""

import base64
import json
import secrets
import sys

import jwt as pyjwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwcrypto import jwk as crypto_jwk
from jwcrypto import jws as crypto_jws
from jwcrypto import jwt as crypto_jwt
from joserfc import jwk as rfc_jwk
from joserfc import jws as rfc_jws
from joserfc import jwt as rfc_jwt

CLAIMS = json.loads(sys.argv[1])
CURVES = {"ES256": "P-256", "ES256K": "secp256k1", "ES384": "P-384", "ES512": "P-521"}
SECRET = secrets.token_urlsafe(64)
RSA = rsa.generate_private_key(65537, 2048)


def of_pyjwt():
    curves = {
        "ES256": ec.SECP256R1,
        "ES256K": ec.SECP256K1,
        "ES384": ec.SECP384R1,
        "ES512": ec.SECP521R1,
    }
    known = pyjwt.PyJWS()
    # ES521 is its old misspelling of ES512.
    for alg in set(known.get_algorithms()) - {"none", "ES521"}:
        writer = known.get_algorithm_by_name(alg)
        if alg.startswith("HS"):
            yield alg, pyjwt.encode(CLAIMS, SECRET, algorithm=alg), {"secret": SECRET}
            continue
        if alg in curves:
            keys = [ec.generate_private_key(curves[alg]())]
        elif alg == "EdDSA":
            keys = [ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate()]
        else:
            keys = [RSA]
        for key in keys:
            jwk = writer.to_jwk(key.public_key(), as_dict=True)
            yield alg, pyjwt.encode(CLAIMS, key, algorithm=alg), {"jwk": jwk}


def of_joserfc():
    for alg in rfc_jws.JWSRegistry.algorithms:
        if alg == "none":
            continue
        if alg.startswith("HS"):
            keys = [rfc_jwk.OctKey.import_key(SECRET)]
        elif alg in CURVES:
            keys = [rfc_jwk.ECKey.generate_key(CURVES[alg], {"kid": "joserfc"}, auto_kid=False)]
        elif alg == "EdDSA":
            keys = [rfc_jwk.OKPKey.generate_key(curve) for curve in ("Ed25519", "Ed448")]
        elif alg in ("Ed25519", "Ed448"):
            keys = [rfc_jwk.OKPKey.generate_key(alg, {"alg": alg})]
        elif alg.startswith(("RS", "PS")):
            keys = [rfc_jwk.RSAKey.generate_key(2048, {"use": "sig", "alg": alg})]
        else:
            raise SystemExit(f"joserfc has a new algorithm: {alg}")
        for key in keys:
            header = {"alg": alg}
            if key.kid:
                header["kid"] = key.kid
            token = rfc_jwt.encode(header, CLAIMS, key, algorithms=[alg])
            secret = {"secret": SECRET} if alg.startswith("HS") else {"jwk": key.as_dict(private=False)}
            yield alg, token, secret


def of_jwcrypto():
    for alg in crypto_jws.default_allowed_algs:
        if alg.startswith("HS"):
            k = base64.urlsafe_b64encode(SECRET.encode()).rstrip(b"=").decode()
            keys = [crypto_jwk.JWK(kty="oct", k=k)]
        elif alg in CURVES:
            keys = [crypto_jwk.JWK.generate(kty="EC", crv=CURVES[alg], kid="jwcrypto")]
        elif alg == "EdDSA":
            keys = [crypto_jwk.JWK.generate(kty="OKP", crv=curve) for curve in ("Ed25519", "Ed448")]
        elif alg in ("Ed25519", "Ed448"):
            keys = [crypto_jwk.JWK.generate(kty="OKP", crv=alg, alg=alg)]
        elif alg.startswith("ML-DSA"):
            keys = [crypto_jwk.JWK.generate(kty="AKP", alg=alg)]
        elif alg.startswith(("RS", "PS")):
            keys = [crypto_jwk.JWK.generate(kty="RSA", size=2048, use="sig", alg=alg)]
        else:
            raise SystemExit(f"jwcrypto has a new algorithm: {alg}")
        for key in keys:
            header = {"alg": alg, "typ": "JWT"}
            if key.get("kid"):
                header["kid"] = key["kid"]
            token = crypto_jwt.JWT(header=header, claims=CLAIMS, algs=[alg])
            token.make_signed_token(key)
            secret = {"secret": SECRET} if alg.startswith("HS") else {"jwk": key.export_public(as_dict=True)}
            yield alg, token.serialize(), secret


minted = []
for library, mint in (("PyJWT", of_pyjwt), ("joserfc", of_joserfc), ("jwcrypto", of_jwcrypto)):
    for alg, token, key in mint():
        minted.append({"library": library, "alg": alg, "token": token, **key})
print(json.dumps(minted))

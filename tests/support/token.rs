//! Tokens of any kind, right or wrong, signed by keys that are made once a process.

use std::sync::OnceLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use portcullis::clock::Clock;
use serde_json::{Value, json};

/// The HMAC key of the issuers that tests configure, as `${KEY}`.
pub(crate) const SECRET: &str = "e5Nz0qWb7hXk2uLr9sTd4vYg6mJp8cAf1oQi3xEw5zRn";

/// What tokens name as their issuer where no issuer runs.
pub(crate) const ISSUER: &str = "https://id.example.com/";

/// A private key with the algorithm and the `kid` it signs under.
pub(crate) struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
    kid: Option<String>,
}

/// RS256.
pub(crate) fn rsa() -> &'static Signer {
    static KEY: OnceLock<Signer> = OnceLock::new();
    KEY.get_or_init(|| Signer::new_rsa("rsa-1"))
}

/// ES256.
pub(crate) fn ec() -> &'static Signer {
    static KEY: OnceLock<Signer> = OnceLock::new();
    KEY.get_or_init(|| Signer::new_ec("ec-1"))
}

/// EdDSA.
pub(crate) fn ed() -> &'static Signer {
    static KEY: OnceLock<Signer> = OnceLock::new();
    KEY.get_or_init(|| Signer::new_ed("ed-1"))
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    i64::try_from(Clock::system().wall().as_secs()).unwrap()
}

impl Signer {
    pub(crate) fn new_rsa(kid: &str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let pkcs8: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
        // jsonwebtoken takes PKCS #1, which ends the PKCS #8 form: 26 bytes of wrapping before it.
        Self::new(EncodingKey::from_rsa_der(&pkcs8.as_ref()[26..]), Algorithm::RS256, kid)
    }

    pub(crate) fn new_ec(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let der = pair.to_pkcs8v1().unwrap();
        Self::new(EncodingKey::from_ec_der(der.as_ref()), Algorithm::ES256, kid)
    }

    pub(crate) fn new_ed(kid: &str) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let der = pair.to_pkcs8v1().unwrap();
        Self::new(EncodingKey::from_ed_der(der.as_ref()), Algorithm::EdDSA, kid)
    }

    /// HS256 without `kid`, as simplejwt signs.
    pub(crate) fn hmac(secret: &[u8]) -> Self {
        Self { key: EncodingKey::from_secret(secret), algorithm: Algorithm::HS256, kid: None }
    }

    fn new(key: EncodingKey, algorithm: Algorithm, kid: &str) -> Self {
        Self { key, algorithm, kid: Some(kid.to_owned()) }
    }

    /// The public key, as an issuer publishes it.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id.clone_from(&self.kid);
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["use"] = json!("sig");
        jwk
    }

    /// The header it signs under.
    pub(crate) fn header(&self) -> Value {
        let mut header = json!({ "typ": "JWT", "alg": format!("{:?}", self.algorithm) });
        if let Some(kid) = &self.kid {
            header["kid"] = json!(kid);
        }
        header
    }

    /// A token over these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_with(&self.header(), claims)
    }

    /// A token whose header says anything; the signature is this key's over it.
    pub(crate) fn sign_with(&self, header: &Value, claims: &Value) -> String {
        self.sign_bytes(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    /// A token of any two parts, JSON or not.
    pub(crate) fn sign_bytes(&self, header: &[u8], claims: &[u8]) -> String {
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let message = format!("{}.{}", part(header), part(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.algorithm);
        format!("{message}.{}", signature.unwrap())
    }

    /// A good token of this issuer for the audience `api`, and for nobody in particular but `sub`.
    pub(crate) fn good(&self, iss: &str, sub: &str) -> String {
        self.sign(&claims(iss, sub))
    }
}

/// Claims that any gateway of these tests accepts from this issuer.
pub(crate) fn claims(iss: &str, sub: &str) -> Value {
    json!({ "iss": iss, "aud": "api", "sub": sub, "iat": now(), "exp": now() + 3600 })
}

/// The same token with one bit of its signature changed.
pub(crate) fn tampered(token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    bytes[7] ^= 1;
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(bytes))
}

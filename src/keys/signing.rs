//! Signing tokens: the embedded issuer of `portcullis demo`, and tests.
//!
//! Owns private keys that exist in memory only. No request path of a real gateway reaches it.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::jwk::{self, Key};
use super::jwks::SkipReason;

/// An ES256 key that signs, made for this process and gone with it.
pub struct Signer {
    pair: EcdsaKeyPair,
    kid: String,
    public: Value,
}

/// The system gave no randomness, or the key could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningFailed;

impl fmt::Display for SigningFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the system could not sign")
    }
}

impl std::error::Error for SigningFailed {}

impl Signer {
    /// A new P-256 key whose `kid` is its thumbprint (RFC 7638).
    ///
    /// # Errors
    /// [`SigningFailed`] if the system gives no randomness.
    pub fn generate() -> Result<Self, SigningFailed> {
        let pair =
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| SigningFailed)?;
        let point = pair.public_key().as_ref();
        let (x, y) = match point {
            [4, rest @ ..] if rest.len() == 64 => rest.split_at(32),
            _ => return Err(SigningFailed),
        };
        let mut public = json!({
            "kty": "EC",
            "crv": "P-256",
            "x": URL_SAFE_NO_PAD.encode(x),
            "y": URL_SAFE_NO_PAD.encode(y),
            "alg": "ES256",
            "use": "sig",
        });
        let key = jwk::parse(&public).map_err(|_| SigningFailed)?;
        let kid = key.thumbprint().ok_or(SigningFailed)?.to_owned();
        if let Some(members) = public.as_object_mut() {
            members.insert("kid".to_owned(), kid.clone().into());
        }
        Ok(Self { pair, kid, public })
    }

    /// The id that tokens and the JWK carry.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key as a JWK.
    pub fn jwk(&self) -> &Value {
        &self.public
    }

    /// The public key, ready to verify.
    ///
    /// # Errors
    /// None for a key of [`Signer::generate`]; the type is that of [`jwk::parse`].
    pub fn key(&self) -> Result<Key, SkipReason> {
        jwk::parse(&self.public)
    }

    /// A compact JWS over `claims` (RFC 7515 section 7.1).
    ///
    /// The header is `alg`, `kid` and `typ: JWT`; a member of `header` replaces or adds one.
    ///
    /// # Errors
    /// [`SigningFailed`] if the system gives no randomness.
    pub fn sign(
        &self,
        header: &Map<String, Value>,
        claims: &Map<String, Value>,
    ) -> Result<String, SigningFailed> {
        let mut full = Map::new();
        full.insert("alg".to_owned(), "ES256".into());
        full.insert("kid".to_owned(), self.kid.clone().into());
        full.insert("typ".to_owned(), "JWT".into());
        full.extend(header.clone());
        let part = |members: &Map<String, Value>| {
            serde_json::to_vec(members)
                .map(|text| URL_SAFE_NO_PAD.encode(text))
                .map_err(|_| SigningFailed)
        };
        let message = format!("{}.{}", part(&full)?, part(claims)?);
        let signature =
            self.pair.sign(&SystemRandom::new(), message.as_bytes()).map_err(|_| SigningFailed)?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// The JWKS of several keys, as an issuer publishes it.
pub fn jwks<'a>(signers: impl IntoIterator<Item = &'a Signer>) -> Value {
    let keys: Vec<Value> = signers.into_iter().map(|signer| signer.public.clone()).collect();
    json!({ "keys": keys })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Algorithm, jwks::parse_set};

    #[test]
    fn what_is_signed_verifies_with_the_published_key() {
        let signer = Signer::generate().unwrap();
        let claims = json!({ "sub": "ada" });
        let token = signer.sign(&Map::new(), claims.as_object().unwrap()).unwrap();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let set = parse_set(jwks([&signer]).to_string().as_bytes()).unwrap();
        let key = &set.keys[0];
        assert_eq!(key.kid(), Some(signer.kid()));
        assert!(key.verify(Algorithm::ES256, message.as_bytes(), &signature));
        assert!(!key.verify(Algorithm::ES256, b"another message", &signature));
        assert!(!format!("{signer:?}").contains("pair"));
    }
}

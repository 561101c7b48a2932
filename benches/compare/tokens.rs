//! The tokens of the load, each with a subject and an id of its own.
//!
//! Kept under `target/` from one invocation to the next, since a hundred thousand RSA signatures
//! take a minute; a program that is started anew has seen none of them all the same.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::Result;
use super::load::Algorithm;

pub(super) const ISSUER: &str = "https://issuer.example";
pub(super) const AUDIENCE: &str = "compare";
const KID: &str = "compare-1";
/// Django's, with which simplejwt checks.
pub(super) const SECRET: &str = "8JrT1vZc0yXqLwKfN4uPbGd7mSaEhR2oUiYx5tVnCz9pWkQj6B";

/// What an issuer has signed, and how to check it.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    pub(super) tokens: Vec<String>,
    /// They, a line each.
    pub(super) file: PathBuf,
    /// The public key as PEM.
    pub(super) pem: PathBuf,
    /// The same as a JWKS.
    pub(super) jwks: PathBuf,
}

/// A key that signs.
enum Key {
    Rs256(rsa::KeyPair),
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Hs256(Box<hmac::Key>),
}

/// This many tokens of an algorithm, all of one key.
pub(super) fn issue(algorithm: Algorithm, count: usize, folder: &Path) -> Result<Issued> {
    let name = algorithm.name();
    let path = |kind: &str| folder.join(format!("{name}-{count}.{kind}"));
    let (file, pem, jwks) = (path("tokens"), path("pem"), path("jwks"));
    let kept = fs::read_to_string(&file).unwrap_or_default();
    let mut tokens: Vec<_> = kept.lines().map(str::to_owned).collect();
    if tokens.len() != count {
        super::say(&format!("signing {count} tokens with {name}"));
        let key = Key::generate(algorithm)?;
        fs::create_dir_all(folder)?;
        fs::write(&pem, key.pem()?)?;
        fs::write(&jwks, key.jwks().to_string())?;
        tokens = (0..count).map(|nth| key.token(&key.claims(nth))).collect::<Result<_>>()?;
        fs::write(&file, tokens.join("\n"))?;
    }
    Ok(Issued { tokens, file, pem, jwks })
}

/// Each token, and behind it one with another subject that still bears its signature.
pub(super) fn half_forged(issued: &Issued, file: PathBuf) -> Result<Issued> {
    let mut tokens = Vec::new();
    for (nth, token) in issued.tokens.iter().enumerate() {
        let parts: Vec<_> = token.split('.').collect();
        let [header, _, signature] = *parts else { return Err("a token of another form".into()) };
        let claims = encode(&claims(nth + 1_000_000));
        tokens.push(token.clone());
        tokens.push(format!("{header}.{claims}.{signature}"));
    }
    fs::write(&file, tokens.join("\n"))?;
    Ok(Issued { tokens, file, ..issued.clone() })
}

/// The issuer's key behind some others of the same kind, as a JWKS.
pub(super) fn among_others(issued: &Issued, others: usize) -> Result<String> {
    let own: Value = serde_json::from_str(&fs::read_to_string(&issued.jwks)?)?;
    let mut keys = Vec::new();
    for nth in 0..others {
        let mut set = Key::EdDsa(Ed25519KeyPair::generate()?).jwks();
        if let Some(key) = set.pointer_mut("/keys/0").and_then(Value::as_object_mut) {
            key.insert("kid".to_owned(), format!("other-{nth}").into());
            keys.push(Value::Object(key.clone()));
        }
    }
    keys.extend(own.pointer("/keys/0").cloned());
    Ok(json!({ "keys": keys }).to_string())
}

/// What an access token of a real issuer has, more or less.
fn claims(nth: usize) -> Value {
    json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": format!("user-{nth:07}"),
        "jti": format!("{nth:032x}"),
        "scope": "orders:read orders:write profile",
        "iat": 1_700_000_000,
        // The year 2100: as long as any run.
        "exp": 4_102_444_800_u64,
    })
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

impl Key {
    fn generate(algorithm: Algorithm) -> Result<Self> {
        Ok(match algorithm {
            Algorithm::Rs256 => Self::Rs256(rsa::KeyPair::generate(rsa::KeySize::Rsa2048)?),
            Algorithm::Es256 => {
                Self::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?)
            }
            Algorithm::EdDsa => Self::EdDsa(Ed25519KeyPair::generate()?),
            Algorithm::Hs256 => {
                Self::Hs256(Box::new(hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes())))
            }
        })
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Rs256(_) => Algorithm::Rs256.name(),
            Self::Es256(_) => Algorithm::Es256.name(),
            Self::EdDsa(_) => Algorithm::EdDsa.name(),
            Self::Hs256(_) => Algorithm::Hs256.name(),
        }
    }

    /// What simplejwt writes for user 1 has no issuer and no audience.
    fn claims(&self, nth: usize) -> Value {
        match self {
            Self::Rs256(_) | Self::Es256(_) | Self::EdDsa(_) => claims(nth),
            Self::Hs256(_) => json!({
                "token_type": "access",
                "exp": 4_102_444_800_u64,
                "iat": 1_700_000_000,
                "jti": format!("{nth:032x}"),
                "user_id": "1",
            }),
        }
    }

    fn pem(&self) -> Result<String> {
        let der: PublicKeyX509Der<'_> = match self {
            Self::Rs256(key) => key.public_key().as_der()?,
            Self::Es256(key) => key.public_key().as_der()?,
            Self::EdDsa(key) => key.public_key().as_der()?,
            Self::Hs256(_) => return Ok(String::new()),
        };
        let text = STANDARD.encode(der.as_ref());
        Ok(format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n"))
    }

    fn jwks(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut key = match self {
            Self::Rs256(key) => {
                let key = key.public_key();
                let (n, e) = (key.modulus(), key.exponent());
                let (n, e) =
                    (n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
                json!({ "kty": "RSA", "n": text(n), "e": text(e) })
            }
            Self::Es256(key) => {
                // 4, then both coordinates of 32 bytes.
                let point = key.public_key().as_ref();
                let (x, y) = point.get(1..).unwrap_or_default().split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y) })
            }
            Self::EdDsa(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": text(key.public_key().as_ref()) })
            }
            Self::Hs256(_) => return json!({ "keys": [] }),
        };
        if let Some(key) = key.as_object_mut() {
            key.insert("kid".to_owned(), KID.into());
            key.insert("use".to_owned(), "sig".into());
            key.insert("alg".to_owned(), self.name().into());
        }
        json!({ "keys": [key] })
    }

    fn token(&self, claims: &Value) -> Result<String> {
        let header = json!({ "alg": self.name(), "typ": "JWT", "kid": KID });
        let signed = format!("{}.{}", encode(&header), encode(claims));
        let random = SystemRandom::new();
        let signature = match self {
            Self::Rs256(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature)?;
                signature
            }
            Self::Es256(key) => key.sign(&random, signed.as_bytes())?.as_ref().to_vec(),
            Self::EdDsa(key) => key.sign(signed.as_bytes()).as_ref().to_vec(),
            Self::Hs256(key) => hmac::sign(key, signed.as_bytes()).as_ref().to_vec(),
        };
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

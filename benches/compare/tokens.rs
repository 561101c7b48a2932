//! The tokens of the load: RS256, each with a subject and an id of its own.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::Result;

pub(super) const ISSUER: &str = "https://issuer.example";
pub(super) const AUDIENCE: &str = "compare";

/// What an issuer has signed, and how to check it.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) tokens: Vec<String>,
    /// PEM, for the gateway.
    pub(super) public_key: PathBuf,
}

/// Signs `count` tokens with a fresh key.
pub(super) fn issue(count: usize, folder: &Path) -> Result<Issued> {
    let key = KeyPair::generate(KeySize::Rsa2048).map_err(|_| "no RSA key could be made")?;
    let der: PublicKeyX509Der<'_> =
        key.public_key().as_der().map_err(|_| "the public key could not be written")?;
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(der.as_ref())
    );
    let public_key = folder.join("issuer.pem");
    fs::write(&public_key, pem)?;
    let tokens = (0..count).map(|nth| sign(&key, &claims(nth))).collect::<Result<_>>()?;
    Ok(Issued { tokens, public_key })
}

/// What an access token of a real issuer has, more or less.
fn claims(nth: usize) -> Value {
    json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": format!("user-{nth:06}"),
        "jti": format!("{nth:032x}"),
        "scope": "orders:read orders:write profile",
        "iat": 1_700_000_000,
        // The year 2100: as long as any run.
        "exp": 4_102_444_800_u64,
    })
}

fn sign(key: &KeyPair, claims: &Value) -> Result<String> {
    let header = json!({ "alg": "RS256", "typ": "JWT" });
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(claims));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| "a token could not be signed")?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

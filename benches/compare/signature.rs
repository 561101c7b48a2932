//! What a signature alone takes to check: aws-lc-rs with a parsed key, one token after the other, in
//! this process. What a new token takes beyond that is Portcullis' own.

use std::fs;
use std::time::Duration;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use portcullis::clock::Clock;

use super::Result;
use super::load::Algorithm;
use super::tokens::Issued;

/// Checks this many.
const CHECKED: usize = 20_000;

/// The time of one check, on average.
pub(super) fn alone(algorithm: Algorithm, issued: &Issued) -> Result<Duration> {
    let known: &'static dyn VerificationAlgorithm = match algorithm {
        Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
        Algorithm::EdDsa => &ED25519,
        Algorithm::Hs256 => return Err("a secret has no public key".into()),
    };
    let pem = fs::read_to_string(&issued.pem)?;
    let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let key = ParsedPublicKey::new(known, STANDARD.decode(der)?)?;
    let mut checks = Vec::new();
    for token in issued.tokens.iter().take(CHECKED) {
        let (signed, signature) = token.rsplit_once('.').ok_or("a token of another form")?;
        checks.push((signed, URL_SAFE_NO_PAD.decode(signature)?));
    }
    let clock = Clock::system();
    let start = clock.now();
    for (signed, signature) in &checks {
        key.verify_sig(signed.as_bytes(), signature)?;
    }
    let elapsed = clock.now().duration_since(start);
    Ok(elapsed / u32::try_from(checks.len().max(1))?)
}

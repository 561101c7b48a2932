//! `portcullis token inspect`: what a token says of itself, each member explained.
//!
//! Believes nothing and verifies nothing: anybody can write a token that says anything.

use serde_json::{Map, Value};

use super::{date, read_token};
use crate::auth;
use crate::cli::Failure;
use crate::clock::{Clock, UnixTime};
use crate::keys::Algorithm;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The token; `-` reads it from standard input
    #[arg(allow_hyphen_values = true)]
    token: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let token = read_token(&arguments.token)?;
    let token = token.trim();
    let found = auth::dissect(token)
        .map_err(|cause| Failure::Running(format!("not a token: {} ({cause})", cause.reason())))?;
    println!("header");
    for (name, value) in &found.header {
        show(name, value, &explain_header(name, value));
    }
    println!("claims");
    let now = Clock::system().wall();
    for (name, value) in &found.claims {
        show(name, value, &explain_claim(name, value, now, &found.claims));
    }
    println!("signature\n  {} bytes, not verified", found.signature);
    if let Some(cause) = found.header_refused {
        println!("refused by every gateway: {} ({cause})", cause.reason());
    }
    Ok(())
}

fn show(name: &str, value: &Value, explained: &str) {
    let name = name.escape_debug().to_string();
    let line = format!("  {name:<12} {value}");
    match explained {
        "" => println!("{line}"),
        explained => println!("{line}\n  {:<12}   {explained}", ""),
    }
}

fn explain_header(name: &str, value: &Value) -> String {
    match name {
        "alg" => value.as_str().map(explain_algorithm).unwrap_or_default(),
        "cty" => "what the payload is; of a nested token, which is refused".to_owned(),
        "kid" => "which of the issuer's keys signed".to_owned(),
        "typ" => "what kind of token; `at+jwt` is an access token (RFC 9068)".to_owned(),
        "b64" | "crit" => "an extension: refused, whatever it holds".to_owned(),
        "enc" | "zip" => "encrypted or compressed: refused".to_owned(),
        "jku" | "jwk" | "x5c" | "x5u" => {
            "a key, or where to fetch one: refused, keys come from the issuer alone".to_owned()
        }
        "x5t" | "x5t#S256" => "the thumbprint of a certificate; not looked at".to_owned(),
        _ => String::new(),
    }
}

fn explain_algorithm(name: &str) -> String {
    let Ok(algorithm) = name.parse::<Algorithm>() else {
        return match name.eq_ignore_ascii_case("none") {
            true => "no signature at all: refused".to_owned(),
            false => "unknown: refused".to_owned(),
        };
    };
    match algorithm {
        Algorithm::EdDSA => "Ed25519",
        Algorithm::ES256 => "ECDSA with P-256 and SHA-256",
        Algorithm::ES256K => "ECDSA with secp256k1 and SHA-256; only where an issuer names it",
        Algorithm::ES384 => "ECDSA with P-384 and SHA-384",
        Algorithm::ES512 => "ECDSA with P-521 and SHA-512",
        Algorithm::HS256 => "HMAC with SHA-256: who verifies could sign, too",
        Algorithm::HS384 => "HMAC with SHA-384: who verifies could sign, too",
        Algorithm::HS512 => "HMAC with SHA-512: who verifies could sign, too",
        Algorithm::PS256 => "RSASSA-PSS with SHA-256",
        Algorithm::PS384 => "RSASSA-PSS with SHA-384",
        Algorithm::PS512 => "RSASSA-PSS with SHA-512",
        Algorithm::RS256 => "RSASSA-PKCS1-v1_5 with SHA-256",
        Algorithm::RS384 => "RSASSA-PKCS1-v1_5 with SHA-384",
        Algorithm::RS512 => "RSASSA-PKCS1-v1_5 with SHA-512",
    }
    .to_owned()
}

fn explain_claim(name: &str, value: &Value, now: UnixTime, all: &Map<String, Value>) -> String {
    let when = |verb: &str| match seconds(value) {
        Some(seconds) => format!("{verb} {}", date(seconds, now)),
        None => "not a number: refused".to_owned(),
    };
    match name {
        "acr" | "amr" | "auth_time" => "how, or when, the user signed in".to_owned(),
        "aud" => "for whom: has to hold one of the issuer's `audience`".to_owned(),
        "azp" | "client_id" => "the client it was handed to".to_owned(),
        "exp" => when(if is_over(value, now) { "ended" } else { "ends" }),
        "iat" => match (seconds(value), all.get("exp").and_then(seconds)) {
            (Some(iat), Some(exp)) => {
                let lifetime =
                    super::rough(std::time::Duration::from_secs(exp.saturating_sub(iat)));
                format!("{}; lives {lifetime}", when("signed"))
            }
            (_, _) => when("signed"),
        },
        "iss" => "who signed: has to be an issuer's `url`, letter by letter".to_owned(),
        "jti" => "the token's own id".to_owned(),
        "nbf" => when("begins"),
        "nonce" => "of an ID token, which is no access token".to_owned(),
        "scope" | "scp" => "what it allows; `require = { scope = [..] }` reads either".to_owned(),
        "sub" => "whom it stands for".to_owned(),
        "token_type" => "simplejwt's: `access` passes, `refresh` and `sliding` do not".to_owned(),
        "user_id" => "whom it stands for (simplejwt)".to_owned(),
        _ => String::new(),
    }
}

/// Whole seconds, as tokens are read.
fn seconds(value: &Value) -> Option<u64> {
    auth::numeric_date(value)
}

fn is_over(value: &Value, now: UnixTime) -> bool {
    seconds(value).is_some_and(|end| UnixTime::from_secs(end) <= now)
}

//! `portcullis token sign`: tokens for tests, from a private key or a secret.
//!
//! Signs whatever it is told to: who has the key could anyway.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::read_file;
use crate::cli::Failure;
use crate::clock::Clock;
use crate::config;
use crate::keys::Algorithm;
use crate::keys::signing::{PrivateKeyError, SecretSigner, Signer};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The private key: a PEM file or a JWK, which may be a secret (`oct`)
    #[arg(long, value_name = "FILE", required_unless_present = "secret_file")]
    key: Option<PathBuf>,
    /// A file that holds a shared secret, as text; one newline at its end is cut
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    secret_file: Option<PathBuf>,
    /// The signature algorithm [default: the JWK's `alg`, else what the key's type says]
    #[arg(long, value_name = "ALG")]
    alg: Option<String>,
    /// The key's id in the header [default: the JWK's `kid`, else the thumbprint; none for secrets]
    #[arg(long, value_name = "KID")]
    kid: Option<String>,
    /// The token's type in the header
    #[arg(long, value_name = "TYPE", default_value = "JWT")]
    typ: String,
    /// A claim; may be repeated. The value is read as JSON, else as text: `n=5`, `sub=ada`,
    /// `sub='"5"'`, `aud='["a","b"]'`
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    claims: Vec<String>,
    /// Claims as a JSON object, which `--claim` overrides
    #[arg(long = "claims", value_name = "JSON")]
    object: Option<String>,
    /// How long the token lives; `exp` as a claim overrides it
    #[arg(long, value_name = "TIME", default_value = "5m")]
    expires: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let algorithm = match &arguments.alg {
        Some(name) => Some(name.parse::<Algorithm>().map_err(|_| unknown_algorithm(name))?),
        None => None,
    };
    let mut header = Map::new();
    header.insert("typ".to_owned(), arguments.typ.clone().into());
    header.extend(arguments.kid.clone().map(|kid| ("kid".to_owned(), kid.into())));
    let claims = claims(arguments)?;
    let signed = match key(arguments, algorithm)? {
        KeyFile::Pair(signer) => signer.sign(&header, &claims),
        KeyFile::Secret(signer) => signer.sign(&header, &claims),
    };
    println!("{}", signed.map_err(|error| Failure::Running(error.to_string()))?);
    Ok(())
}

enum KeyFile {
    Pair(Box<Signer>),
    Secret(Box<SecretSigner>),
}

fn key(arguments: &Arguments, algorithm: Option<Algorithm>) -> Result<KeyFile, Failure> {
    let (path, read) = match (&arguments.key, &arguments.secret_file) {
        (Some(path), _) => (path, read_key(&read_file(path)?, algorithm)),
        (None, Some(path)) => {
            let bytes = read_file(path)?;
            let secret = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            (path, SecretSigner::new(secret, algorithm).map(secret_key))
        }
        (None, None) => return Err(Failure::Usage("give --key or --secret-file".to_owned())),
    };
    read.map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

fn read_key(bytes: &[u8], algorithm: Option<Algorithm>) -> Result<KeyFile, PrivateKeyError> {
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Signer::from_pem(bytes, algorithm).map(pair);
    }
    let jwk: Value = serde_json::from_slice(bytes).map_err(|_| PrivateKeyError::Malformed)?;
    if jwk.get("kty").is_some_and(|kty| kty == "oct") {
        return SecretSigner::from_jwk(&jwk, algorithm).map(secret_key);
    }
    Signer::from_jwk(&jwk, algorithm).map(pair)
}

fn pair(signer: Signer) -> KeyFile {
    KeyFile::Pair(Box::new(signer))
}

fn secret_key(signer: SecretSigner) -> KeyFile {
    KeyFile::Secret(Box::new(signer))
}

fn unknown_algorithm(name: &str) -> Failure {
    let known: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.as_str()).collect();
    Failure::Usage(format!("unknown algorithm `{name}`\nhint: one of {}", known.join(", ")))
}

fn claims(arguments: &Arguments) -> Result<Map<String, Value>, Failure> {
    let expires = config::duration(&arguments.expires).ok_or_else(|| {
        Failure::Usage(format!("--expires {}: written `30s`, `5m`, `24h`", arguments.expires))
    })?;
    let now = Clock::system().wall();
    let mut claims = Map::new();
    claims.insert("iat".to_owned(), now.as_secs().into());
    claims.insert("exp".to_owned(), now.saturating_add(expires).as_secs().into());
    if let Some(object) = &arguments.object {
        let members: Map<String, Value> = serde_json::from_str(object)
            .map_err(|error| Failure::Usage(format!("--claims: not a JSON object: {error}")))?;
        claims.extend(members);
    }
    for claim in &arguments.claims {
        let (name, value) = claim
            .split_once('=')
            .ok_or_else(|| Failure::Usage(format!("--claim {claim}: written `name=value`")))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        claims.insert(name.to_owned(), value);
    }
    Ok(claims)
}

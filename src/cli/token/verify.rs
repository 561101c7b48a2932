//! `portcullis token verify`: the verdict on a token, step by step, by the functions that serve
//! requests.
//!
//! Offline unless `--fetch` says otherwise. Trusts the configuration, or with `--jws` one key file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{read_file, read_token};
use crate::auth::{self, Finding, IssuerSet, Refusal};
use crate::cli::known_keys::{self, Reach};
use crate::cli::{Failure, configuration_path, load, refused};
use crate::config::Folder;
use crate::keys::jwks::{FileError, Parsed, parse_file};
use crate::keys::{Key, from_pem};
use crate::snapshot::{Surroundings, compile};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The token; `-` reads it from standard input
    #[arg(allow_hyphen_values = true)]
    token: String,
    /// Only this issuer of the configuration [default: those that the token's `iss` selects]
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// Fetch the keys of issuers that publish them; without it no connection is opened
    #[arg(long)]
    fetch: bool,
    /// Check structure, header and signature of a compact JWS against --key alone: no issuer, no
    /// claims, any payload
    #[arg(long, requires = "key", conflicts_with_all = ["issuer", "fetch"])]
    jws: bool,
    /// A JWK, a JWK set or a PEM file of public keys; a JWK may be a secret (`oct`)
    #[arg(long, value_name = "FILE", requires = "jws")]
    key: Option<PathBuf>,
}

pub(super) fn run(file: Option<PathBuf>, arguments: &Arguments) -> Result<(), Failure> {
    let token = read_token(&arguments.token)?;
    match &arguments.key {
        Some(key) => verify_jws(key, &token),
        None => verify(&configuration_path(file)?, arguments, token.trim()),
    }
}

fn verify(file: &Path, arguments: &Arguments, token: &str) -> Result<(), Failure> {
    let mut loaded = load(file)?;
    // What a gateway keeps there is its own: here it is neither believed nor written.
    loaded.config.server.state_dir.value = Folder::default();
    let surroundings = Surroundings::offline().map_err(Failure::Running)?;
    let snapshot =
        compile(&loaded, None, &surroundings).map_err(|errors| refused(&errors))?.snapshot;
    let chosen: Vec<_> = snapshot
        .issuers()
        .iter()
        .filter(|issuer| arguments.issuer.as_ref().is_none_or(|name| **issuer.name() == **name))
        .map(Arc::clone)
        .collect();
    if let (Some(name), true) = (&arguments.issuer, chosen.is_empty()) {
        return Err(Failure::Usage(format!("the configuration has no issuer `{name}`")));
    }
    let runtime = known_keys::runtime()?;
    let reach = if arguments.fetch { Reach::Fetched } else { Reach::Local };
    for note in known_keys::load(&runtime, &chosen, reach) {
        eprintln!("note: {note}");
    }
    let set = IssuerSet::new(chosen)
        .map_err(|error| Failure::Usage(format!("{error}\nhint: name one with `--issuer`")))?;
    let clock = &surroundings.clock;
    let (findings, verdict) =
        runtime.block_on(auth::explain(&set, token, auth::Lookup::Known, clock));
    show(&findings);
    let good = verdict.map(|principal| format!("issuer {}", principal.issuer_name()));
    conclude(good)
}

fn verify_jws(path: &Path, token: &str) -> Result<(), Failure> {
    let Parsed { keys, skipped, published: _ } = read_keys(path)?;
    for entry in skipped {
        let kid = entry.kid.map(|kid| format!(" ({kid:?})")).unwrap_or_default();
        println!("  {:<11} {}{kid} is not used: {}", "key", entry.index, entry.reason);
    }
    if keys.is_empty() {
        println!("token      refused: there is no usable key");
        return Err(Failure::Told);
    }
    let (findings, verdict) = auth::verify_jws(keys, token);
    show(&findings);
    conclude(verdict.map(|_| "the signature alone was looked at".to_owned()))
}

fn read_keys(path: &Path) -> Result<Parsed, Failure> {
    let bytes = read_file(path)?;
    if bytes.starts_with(b"-----BEGIN") {
        let read: Result<Vec<Key>, _> = from_pem(&bytes);
        return match read {
            Ok(keys) => Ok(Parsed { keys, skipped: Vec::new(), published: Vec::new() }),
            Err(error) => Err(Failure::Usage(format!("{}: {error}", path.display()))),
        };
    }
    match parse_file(&bytes) {
        Ok(parsed) => Ok(parsed),
        Err(FileError::Mixed) => {
            println!("token      refused: {}", FileError::Mixed);
            Err(Failure::Told)
        }
        Err(FileError::NotKeys) => {
            Err(Failure::Usage(format!("{}: {}", path.display(), FileError::NotKeys)))
        }
    }
}

/// Every step and what it found, as `explain` shows them too.
pub(in crate::cli) fn show(findings: &[Finding]) {
    for finding in findings {
        let issuer = finding.issuer.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        match &finding.outcome {
            Ok(found) => println!("  {:<11} {issuer}{found}", finding.step.as_str()),
            Err(cause) => println!("  {:<11} {issuer}refused: {cause}", finding.step.as_str()),
        }
    }
}

fn conclude(verdict: Result<String, Refusal>) -> Result<(), Failure> {
    match verdict {
        Ok(why) => {
            println!("token      ok ({why})");
            Ok(())
        }
        Err(refusal) => {
            println!("token      refused: {} ({})", refusal.reason(), refusal.detail());
            Err(Failure::Told)
        }
    }
}

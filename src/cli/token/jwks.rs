//! `portcullis token jwks`: the JWK set of PEM files, for an application that publishes its keys.
//!
//! Of private keys, only the public half is printed.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::read_file;
use crate::cli::Failure;
use crate::keys::signing::Signer;
use crate::keys::{KeyError, published};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// PEM files with public keys, certificates or private keys
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut keys: Vec<Value> = Vec::new();
    for file in &arguments.files {
        for key in read(file)? {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    let text = serde_json::to_string_pretty(&json!({ "keys": keys }))
        .map_err(|error| Failure::Running(error.to_string()))?;
    println!("{text}");
    Ok(())
}

fn read(file: &Path) -> Result<Vec<Value>, Failure> {
    let bytes = read_file(file)?;
    let unusable = |error: String| Failure::Usage(format!("{}: {error}", file.display()));
    match published(&bytes) {
        Ok(keys) => Ok(keys),
        Err(KeyError::PrivateKey) => match Signer::from_pem(&bytes, None) {
            Ok(signer) => Ok(vec![signer.published()]),
            Err(error) => Err(unusable(error.to_string())),
        },
        Err(error) => Err(unusable(error.to_string())),
    }
}

//! `portcullis schema`: the JSON Schema of gateway.toml, for editors.

use std::path::PathBuf;

use super::{Failure, compare};
use crate::config;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Compare with FILE instead of printing; fails if it differs
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(&config::schema())
        .map_err(|error| Failure::Running(error.to_string()))?;
    text.push('\n');
    match &arguments.check {
        Some(file) => compare(&text, file, "schema"),
        None => {
            print!("{text}");
            Ok(())
        }
    }
}

//! `portcullis reference`: the page of every table and key, from the fields' own docs.

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
    let text = config::reference();
    match &arguments.check {
        Some(file) => compare(&text, file, "reference"),
        None => {
            print!("{text}");
            Ok(())
        }
    }
}

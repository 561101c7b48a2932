//! `portcullis check`: every problem of the configuration, with its line.
//!
//! Loads and compiles as `run` does and stops before anything is bound.

use std::path::Path;

use super::{Failure, colour, load, refused};
use crate::snapshot::{Surroundings, compile};

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let loaded = load(path)?;
    let compiled = compile(&loaded, None, &Surroundings::offline().map_err(Failure::Running)?)
        .map_err(|errors| refused(&errors))?;
    if !compiled.warnings.is_empty() {
        eprint!("{}", compiled.warnings.render(colour()));
    }
    println!("{}: no errors", path.display());
    Ok(())
}

//! `portcullis init`: a starter gateway.toml and a development certificate; overwrites nothing.

use std::io::Write;
use std::path::Path;

use super::Failure;
use crate::clock::Clock;
use crate::demo::certificate::Development;

/// What `init` writes. Checked by a test as any configuration is.
pub(super) const STARTER: &str = include_str!("starter.toml");

const FILE: &str = "gateway.toml";

pub(super) fn run() -> Result<(), Failure> {
    write_new(Path::new(FILE), STARTER)?;
    let written = Development::provide(Path::new("certs"), &Clock::system())
        .map_err(|error| Failure::Running(format!("certs: {error}")))?;
    println!("wrote {FILE}");
    println!(
        "development certificate: {} (trust {})",
        written.cert().display(),
        written.ca().display()
    );
    println!("next: edit {FILE}, then `portcullis check`, then `portcullis run`");
    Ok(())
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
        Failure::Running(format!("{}: {error}\nhint: nothing is overwritten", path.display()))
    })
}

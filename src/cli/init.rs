//! `portcullis init`: a starter gateway.toml and a development certificate; overwrites nothing.

use std::io::Write;
use std::path::Path;

use super::Failure;
use crate::clock::Clock;
use crate::demo::certificate::{Development, Origin};

/// What `init` writes. Checked by a test as any configuration is.
pub(super) const STARTER: &str = include_str!("starter.toml");

const FILE: &str = "gateway.toml";

pub(super) fn run() -> Result<(), Failure> {
    write_new(Path::new(FILE), STARTER)?;
    let written = Development::provide(Path::new("certs"), &Clock::system())
        .map_err(|error| Failure::Running(format!("certs: {error}")))?;
    if written.origin() == Origin::Temporary {
        return Err(Failure::Running(
            "certs: can't be written, or holds files of another's under the same names\n\
             hint: nothing is overwritten; move them away, or name your own certificate in \
             gateway.toml"
                .to_owned(),
        ));
    }
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

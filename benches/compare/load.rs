//! The load: wrk, whose connections go through the tokens in turn (`load.lua`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Result;
use super::machine::Programs;
use super::tokens::Issued;

/// How to put a port under load.
#[derive(Debug)]
pub(super) struct Load {
    wrk: PathBuf,
    script: PathBuf,
    tokens: PathBuf,
    connections: u32,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Done {
    /// Requests that were answered.
    pub(super) requests: u64,
    pub(super) elapsed: Duration,
    /// Answers of 400 and above, and whatever else went wrong.
    pub(super) errors: u64,
}

impl Load {
    pub(super) fn new(
        folder: &Path,
        programs: &Programs,
        issued: &Issued,
        connections: u32,
    ) -> Result<Self> {
        let (script, tokens) = (folder.join("load.lua"), folder.join("tokens"));
        fs::write(&script, include_str!("load.lua"))?;
        fs::write(&tokens, issued.tokens.join("\n"))?;
        Ok(Self { wrk: programs.wrk.clone(), script, tokens, connections })
    }

    /// Keeps every connection busy for some seconds; it runs on this process' core.
    pub(super) fn run(&self, port: u16, seconds: u32) -> Result<Done> {
        let output = Command::new(&self.wrk)
            .args(["--threads", "1", "--timeout", "5s"])
            .args(["--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{seconds}s")])
            .arg("--script")
            .arg(&self.script)
            .arg(format!("http://127.0.0.1:{port}"))
            .arg("--")
            .arg(&self.tokens)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        totals(&text).ok_or_else(|| {
            let complaint = String::from_utf8_lossy(&output.stderr);
            format!("wrk told no totals:\n{text}{complaint}").into()
        })
    }
}

/// The line that the script's `done` writes.
fn totals(text: &str) -> Option<Done> {
    let line = text.lines().find_map(|line| line.strip_prefix("TOTAL "))?;
    let mut numbers = line.split(' ').map(|number| number.parse().ok());
    let mut next = || numbers.next().flatten();
    Some(Done { requests: next()?, elapsed: Duration::from_micros(next()?), errors: next()? })
}

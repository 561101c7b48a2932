//! The real program in a process of its own.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::eventually;
use super::gateway::read_records;

/// A running `portcullis run`; killed when it is dropped before it has ended.
pub(crate) struct Process {
    child: Child,
    pub(crate) listeners: BTreeMap<String, SocketAddr>,
    log: PathBuf,
    access: PathBuf,
}

impl Process {
    /// Starts it on `folder`'s `gateway.toml` and waits until so many TCP listeners are open.
    pub(crate) fn run(folder: &Path, text: &str, listeners: usize, arguments: &[&str]) -> Self {
        let file = folder.join("gateway.toml");
        fs::write(&file, text).unwrap();
        let (log, access) = (folder.join("program.log"), folder.join("access.log"));
        // Another build of the program where one is to be measured.
        let program = std::env::var_os("PORTCULLIS_PROGRAM");
        let child = Command::new(program.unwrap_or(env!("CARGO_BIN_EXE_portcullis").into()))
            .arg("run")
            .arg("-c")
            .arg(&file)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(fs::File::create(&access).unwrap())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut process = Self { child, listeners: BTreeMap::new(), log, access };
        process.listeners = eventually("the program listens", || process.listening(listeners));
        process
    }

    /// The listeners it has named, once there are `count`.
    fn listening(&mut self, count: usize) -> Option<BTreeMap<String, SocketAddr>> {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("ended with {status}: {}", self.said());
        }
        let found: BTreeMap<_, _> = self.said().lines().filter_map(listener).collect();
        Some(found).filter(|found| found.len() >= count)
    }

    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// How it ended, if it has.
    pub(crate) fn try_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        eventually("the program ends", || self.child.try_wait().unwrap())
    }

    pub(crate) fn records(&self) -> Vec<Value> {
        read_records(&self.access)
    }
}

/// The name and the address in a line of the log that tells of a listener.
fn listener(line: &str) -> Option<(String, SocketAddr)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let field = |name: &str| line.get(name).or_else(|| line.get("fields")?.get(name))?.as_str();
    Some((field("listener")?.to_owned(), field("address")?.parse().ok()?))
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

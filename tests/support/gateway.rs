//! A gateway in this process: the whole of it, from a configuration file to its drain.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use portcullis::app::{AccessSink, App, Options, StartError};
use portcullis::clock::Clock;
use portcullis::config::{Diagnostics, Environment};
use portcullis::reload::Origin;
use serde_json::Value;
use tempfile::TempDir;

use super::client::Client;
use super::{Response, eventually};

/// A running gateway with a folder of its own; dropping it drains it.
pub(crate) struct Gateway {
    app: Option<App>,
    // After `app`: a gateway that drains may still read its files.
    folder: TempDir,
}

/// What a gateway starts from.
pub(crate) struct Setup {
    folder: TempDir,
    variables: BTreeMap<String, String>,
    clock: Clock,
    watch: bool,
}

// === impl Setup ===

impl Setup {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            variables: BTreeMap::new(),
            clock: Clock::system(),
            watch: false,
        }
    }

    /// The folder that the configuration's relative paths begin at.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What `${name}` means.
    pub(crate) fn variable(mut self, name: &str, value: impl ToString) -> Self {
        self.variables.insert(name.to_owned(), value.to_string());
        self
    }

    /// Another wall clock.
    pub(crate) fn clock(mut self, clock: &Clock) -> Self {
        self.clock = clock.clone();
        self
    }

    /// The configuration is applied whenever its file changes.
    pub(crate) fn watched(mut self) -> Self {
        self.watch = true;
        self
    }

    /// Starts it; the admin address is a free port unless `text` says where.
    pub(crate) fn start(self, text: &str) -> Gateway {
        self.try_start(text).unwrap_or_else(|error| match error {
            StartError::Configuration(diagnostics) => panic!("{}", diagnostics.render(false)),
            StartError::System(error) => panic!("{error}"),
        })
    }

    pub(crate) fn try_start(self, text: &str) -> Result<Gateway, StartError> {
        let file = self.folder.path().join("gateway.toml");
        fs::write(&file, with_admin(text)).unwrap();
        let options = Options {
            origin: Origin::File(file),
            environment: Environment::new(self.variables),
            clock: self.clock,
            access_log: AccessSink::File(self.folder.path().join("access.log")),
            watch: self.watch,
        };
        let app = App::start(options)?;
        Ok(Gateway { app: Some(app), folder: self.folder })
    }
}

fn with_admin(text: &str) -> String {
    if text.contains("[admin]") {
        text.to_owned()
    } else {
        format!("{text}\n[admin]\naddress = \"127.0.0.1:0\"\n")
    }
}

// === impl Gateway ===

impl Gateway {
    fn app(&self) -> &App {
        self.app.as_ref().unwrap()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where a listener is reached from here.
    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        let bound = self.app().bound_addrs();
        let address = bound.get(listener).unwrap_or_else(|| panic!("no {listener} in {bound:?}"));
        match address.ip().is_unspecified() {
            true => SocketAddr::from(([127, 0, 0, 1], address.port())),
            false => *address,
        }
    }

    pub(crate) fn listeners(&self) -> Vec<String> {
        self.app().bound_addrs().into_keys().collect()
    }

    /// Asks the admin address.
    pub(crate) fn admin(&self, path: &str) -> Response {
        Client::tcp(self.app().admin_addr().unwrap()).get(path, "Connection: close\r\n")
    }

    /// Replaces the configuration file, and does not say so.
    pub(crate) fn rewrite(&self, text: &str) {
        fs::write(self.file(), with_admin(text)).unwrap();
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder().join("gateway.toml")
    }

    /// Replaces the configuration file and has it applied; what changed, in a line.
    pub(crate) fn reload(&self, text: &str) -> Result<String, Diagnostics> {
        self.rewrite(text);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.app().reload())
    }

    /// The access log's records, once there are `count` of them.
    pub(crate) fn records(&self, count: usize) -> Vec<Value> {
        eventually("that many access records", || {
            Some(read_records(&self.log())).filter(|records| records.len() >= count)
        })
    }

    /// The access log's records of this path, once there are `count` of them.
    pub(crate) fn records_of(&self, path: &str, count: usize) -> Vec<Value> {
        eventually("that many access records", || {
            let mut records = read_records(&self.log());
            records.retain(|record| record["path"] == path);
            Some(records).filter(|records| records.len() >= count)
        })
    }

    fn log(&self) -> PathBuf {
        self.folder().join("access.log")
    }

    /// A sample of `/metrics`, by its name with its labels as printed; 0 if there is none.
    pub(crate) fn metric(&self, sample: &str) -> f64 {
        let text = self.admin("/metrics").expect(200).text().to_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Drains it; what it wrote to its access log by then.
    pub(crate) fn drain(mut self) -> Vec<Value> {
        self.app.take().unwrap().drain();
        read_records(&self.log())
    }
}

/// The whole lines of an access log.
pub(crate) fn read_records(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str(line).unwrap()).collect()
}

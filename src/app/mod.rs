//! From a configuration to a running gateway, and to its end.
//!
//! [`App::start`] loads, compiles and binds on the caller's thread, so that every problem is an
//! answer and nothing is half started. What runs then belongs to the control thread: reloads, key
//! refreshes, the admin address, the retirement of old snapshots, the drain.

mod bind;
mod certificates;
mod control;
mod revocations;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::config::{self, Config, Diagnostic, Diagnostics, Environment};
use crate::reload::Origin;
use crate::snapshot::{Surroundings, compile};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Metrics;
use bind::{bind_admin, bind_all};
use control::{Parts, control_thread};

/// What a gateway starts from.
#[derive(Debug)]
pub struct Options {
    /// Where the configuration comes from.
    pub origin: Origin,
    /// What `${VAR}` means.
    pub environment: Environment,
    /// The time.
    pub clock: Clock,
    /// Where access lines go.
    pub access_log: AccessSink,
    /// Whether a changed configuration file is applied by itself.
    pub watch: bool,
}

/// Where access lines go.
#[derive(Clone, Debug)]
pub enum AccessSink {
    /// Standard output, as the configuration formats it.
    Standard,
    /// A file, for tests and the demo.
    File(PathBuf),
}

/// Why a gateway did not start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration is wrong, or can't be bound.
    Configuration(Diagnostics),
    /// The system has no threads, descriptors or random bytes left.
    System(String),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Configuration(diagnostics) => diagnostics.fmt(f),
            Self::System(error) => f.write_str(error),
        }
    }
}

impl std::error::Error for StartError {}

/// A running gateway. Dropping it drains it.
#[derive(Debug)]
pub struct App {
    commands: mpsc::Sender<Command>,
    /// Dropped to begin the drain: that never waits, in whatever context the app is dropped.
    end: Option<oneshot::Sender<()>>,
    control: Option<JoinHandle<()>>,
    bound: Addresses,
    admin: Option<SocketAddr>,
    lost: Lost,
}

/// Listener names and the TCP addresses they are bound to.
type Addresses = Arc<Mutex<BTreeMap<String, SocketAddr>>>;

/// What is asked of the control thread.
#[derive(Debug)]
enum Command {
    /// With where the outcome is awaited.
    Reload(oneshot::Sender<Result<String, Diagnostics>>),
    /// End a worker's thread as a panic would.
    #[cfg(test)]
    LoseWorker,
}

/// Which thread is lost, once one is.
type Lost = watch::Receiver<Option<String>>;

// === impl App ===

impl App {
    /// Starts a gateway: everything is bound and serving when this returns.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let loaded =
            options.origin.load(&options.environment).map_err(StartError::Configuration)?;
        let metrics = Metrics::new();
        let surroundings = Surroundings::new(Arc::clone(&metrics), options.clock.clone())
            .map_err(StartError::System)?;
        let compiled = compile(&loaded, None, &surroundings).map_err(StartError::Configuration)?;
        warn(&loaded.warnings);
        warn(&compiled.warnings);
        let bound = bind_all(&loaded, &compiled.listeners, &HashMap::new())
            .map_err(StartError::Configuration)?;
        let admin = bind_admin(&loaded).map_err(StartError::Configuration)?;
        let admin_address = admin.local_addr();
        let access_log = access_log(&loaded.config, &options.access_log, &metrics)
            .map_err(|error| StartError::System(format!("access log: {error}")))?;

        let addresses = Addresses::default();
        let (commands, received) = mpsc::channel(8);
        let (end, ended) = oneshot::channel();
        let (losing, lost) = watch::channel(None);
        let (started, outcome) = std::sync::mpsc::channel();
        let parts = Parts {
            options,
            surroundings,
            compiled,
            loaded,
            bound,
            admin,
            access_log: Arc::new(access_log),
            addresses: Arc::clone(&addresses),
            commands: received,
            ended,
            losing,
        };
        let control = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || control_thread(parts, &started))
            .map_err(|error| StartError::System(format!("control thread: {error}")))?;
        match outcome.recv() {
            Ok(Ok(())) => Ok(Self {
                commands,
                end: Some(end),
                control: Some(control),
                bound: addresses,
                admin: admin_address,
                lost,
            }),
            Ok(Err(error)) => Err(StartError::System(error)),
            Err(_) => Err(StartError::System("the control thread ended".to_owned())),
        }
    }

    /// Where each TCP listener is bound, with the ports that the system chose.
    pub fn bound_addrs(&self) -> BTreeMap<String, SocketAddr> {
        self.bound.lock().clone()
    }

    /// Where the admin address is bound; `None` if it is a unix socket.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Reads the configuration again and applies it; returns when it is in force or refused.
    ///
    /// # Errors
    /// What is wrong with it; the running configuration stays.
    pub async fn reload(&self) -> Result<String, Diagnostics> {
        let (reply, answer) = oneshot::channel();
        let ended = || {
            let source = config::Source::new("reload", "");
            Diagnostics::new(source, vec![Diagnostic::of_file("the gateway is ending")])
        };
        self.commands.send(Command::Reload(reply)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// Returns when a thread is lost that the gateway can't be without, and says which. What was
    /// begun on other threads is served to its end; then whoever started the process should start
    /// it anew.
    pub async fn lost(&self) -> String {
        let mut lost = self.lost.clone();
        let named = lost.wait_for(Option::is_some).await.ok().and_then(|named| named.clone());
        named.unwrap_or_else(|| "the control thread has ended".to_owned())
    }

    /// Ends the thread of a worker as a panic would.
    #[cfg(test)]
    pub(crate) async fn lose_worker(&self) {
        self.commands.send(Command::LoseWorker).await.unwrap();
    }

    /// Serves what was begun, closes everything, and returns when all threads have ended.
    pub fn drain(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.end = None;
        if let Some(control) = self.control.take()
            && control.join().is_err()
        {
            tracing::error!("the control thread panicked");
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.end();
    }
}

fn access_log(
    config: &Config,
    sink: &AccessSink,
    metrics: &Arc<Metrics>,
) -> std::io::Result<AccessLog> {
    use crate::telemetry::access_log::Format;
    let format = match config.log.access {
        config::AccessFormat::Off => return Ok(AccessLog::off()),
        config::AccessFormat::Combined => Format::Combined,
        config::AccessFormat::Json => Format::Json,
    };
    let sink: Box<dyn std::io::Write + Send> = match sink {
        AccessSink::Standard => Box::new(std::io::stdout()),
        AccessSink::File(path) => {
            Box::new(std::fs::OpenOptions::new().create(true).append(true).open(path)?)
        }
    };
    AccessLog::start(format, sink, Arc::clone(metrics))
}

fn warn(diagnostics: &Diagnostics) {
    for diagnostic in diagnostics.list() {
        tracing::warn!(at = diagnostic.path, "{}", diagnostic.message);
    }
}

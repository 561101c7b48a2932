//! `portcullis run`: serves until it is told to stop, or until the command ends that it was given.
//!
//! With a command, in this order: the configuration is checked, the command started, its socket
//! waited for, and only then are the listeners opened, so that nobody is let in before there is
//! somebody to ask. The end runs backwards: drain, then the command.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep};

use super::awaited::Awaited;
use super::child::Child;
use super::{Failure, colour, refused};
use crate::app::{AccessSink, App, Options, StartError};
use crate::clock::Clock;
use crate::config::{self, Environment, Loaded};
use crate::reload::Origin;
use crate::shutdown::{Asked, Signals};
use crate::snapshot::{Surroundings, compile};
use crate::telemetry::tracing as log;

#[derive(Debug, Default, clap::Args)]
pub(super) struct Arguments {
    /// Apply the configuration file whenever it changes
    #[arg(long)]
    watch: bool,
    /// Start this command, listen when its socket answers, and end with it
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) fn run(path: &Path, arguments: &Arguments) -> Result<(), Failure> {
    let origin = Origin::File(path.to_owned());
    let environment = Environment::of_process();
    let loaded = super::load(path)?;
    start_log(&loaded.config.log);
    let options = Options {
        origin,
        environment,
        clock: Clock::system(),
        access_log: AccessSink::Standard,
        watch: arguments.watch,
    };
    if !arguments.command.is_empty() {
        return with_command(options, &loaded, &arguments.command);
    }
    let running = start(options)?;
    running.tell();
    serve(running)
}

pub(super) fn start_log(config: &config::Log) {
    let level = match config.level {
        config::Level::Error => log::Level::Error,
        config::Level::Warn => log::Level::Warn,
        config::Level::Info => log::Level::Info,
        config::Level::Debug => log::Level::Debug,
        config::Level::Trace => log::Level::Trace,
    };
    let format = match config.format {
        config::LogFormat::Auto => log::Format::Auto,
        config::LogFormat::Json => log::Format::Json,
        config::LogFormat::Text => log::Format::Text,
    };
    if let Err(error) = log::init(level, format) {
        eprintln!("warning: {error}");
    }
}

/// A gateway and the signals that it obeys.
pub(super) struct Running {
    app: App,
    runtime: Runtime,
    signals: Signals,
}

/// Starts a gateway. The signals are taken over first: one that came between the first connection
/// and that would end the process without a drain.
pub(super) fn start(options: Options) -> Result<Running, Failure> {
    let (runtime, signals) = signals()?;
    Ok(Running { app: start_app(options)?, runtime, signals })
}

fn signals() -> Result<(Runtime, Signals), Failure> {
    let failed = |error: std::io::Error| Failure::Running(error.to_string());
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let signals = {
        let _entered = runtime.enter();
        Signals::new().map_err(failed)?
    };
    Ok((runtime, signals))
}

fn start_app(options: Options) -> Result<App, Failure> {
    App::start(options).map_err(|error| match error {
        StartError::Configuration(diagnostics) => {
            Failure::Configuration(diagnostics.render(colour()))
        }
        StartError::System(message) => Failure::Running(message),
    })
}

impl Running {
    /// Tells where it listens.
    fn tell(&self) {
        tell(&self.app);
    }
}

fn tell(app: &App) {
    for (name, address) in app.bound_addrs() {
        tracing::info!(listener = name, %address, "listening");
    }
}

/// Obeys signals until the one that stops; another one later does not wait for the drain.
pub(super) fn serve(running: Running) -> Result<(), Failure> {
    let Running { app, runtime, mut signals } = running;
    let outcome = runtime.block_on(async {
        let why = obey(&app, &mut signals).await;
        drain(app, &mut signals).await?;
        why.outcome()
    });
    // Dropping it would wait for the drain, which a second signal does not.
    runtime.shutdown_background();
    outcome
}

/// Why a gateway ends.
enum Why {
    /// It was told to.
    Told(Signal),
    /// A thread of it is lost.
    Lost(String),
}

impl Why {
    fn outcome(self) -> Result<(), Failure> {
        match self {
            Self::Told(_) => Ok(()),
            Self::Lost(thread) => Err(Failure::Running(thread)),
        }
    }
}

/// Reloads when told so, until told to stop or until that is necessary.
async fn obey(app: &App, signals: &mut Signals) -> Why {
    loop {
        let asked = tokio::select! {
            asked = signals.next() => asked,
            thread = app.lost() => return Why::Lost(thread),
        };
        match asked {
            // What is wrong with it was told by the log; the running configuration stays.
            Asked::Reload => drop(app.reload().await),
            Asked::Interrupt => return Why::Told(Signal::INT),
            Asked::Terminate => return Why::Told(Signal::TERM),
        }
    }
}

/// Ends when the drain is over, or before if told to stop once more.
async fn drain(app: App, signals: &mut Signals) -> Result<(), Failure> {
    let drained = tokio::task::spawn_blocking(move || app.drain());
    tokio::select! {
        _ = drained => Ok(()),
        () = stopped_again(signals) => {
            Err(Failure::Running("stopped before the drain was over".to_owned()))
        }
    }
}

/// Signals that come together are one: a terminal and a process manager, or `timeout`, which
/// signals the process and then its group, say the same thing twice.
const TOGETHER: Duration = Duration::from_secs(1);

async fn stopped_again(signals: &mut Signals) {
    let together = sleep(TOGETHER);
    tokio::pin!(together);
    loop {
        tokio::select! {
            () = &mut together => break,
            _ = signals.next() => {}
        }
    }
    while signals.next().await == Asked::Reload {}
}

// === with a command ===

/// What is left to the command when the drain has taken all its time; within the 30 s that process
/// managers give (Heroku, Docker with `--time 30`, Kubernetes), with the defaults.
const REST: Duration = Duration::from_secs(4);

/// Serves while the command lives, and ends as it does.
fn with_command(options: Options, loaded: &Loaded, command: &[OsString]) -> Result<(), Failure> {
    // Told before anything is started: a mistake must not cost an application's start.
    let compiled = compile(loaded, None, &Surroundings::offline().map_err(Failure::Running)?)
        .map_err(|errors| refused(&errors))?;
    let awaited = Awaited::of(&compiled.snapshot).ok_or_else(|| {
        Failure::Usage(
            "no upstream is on this machine, so there is nothing that the command could open\n\
             hint: give an upstream the command's socket: `unix:app.sock`, or a port of 127.0.0.1"
                .to_owned(),
        )
    })?;
    drop(compiled);
    let server = &loaded.config.server;
    let budget = server.pre_drain + server.shutdown_timeout + REST;
    let (runtime, mut signals) = signals()?;
    let child = {
        let _entered = runtime.enter();
        Child::start(command)
    };
    let child = child.map_err(|error| Failure::Running(format!("the command: {error}")))?;
    tracing::info!(pid = child.id(), "started the command, waiting for its socket");
    let outcome = runtime.block_on(beside(options, awaited, child, &mut signals, budget));
    runtime.shutdown_background();
    outcome
}

async fn beside(
    options: Options,
    awaited: Awaited,
    mut child: Child,
    signals: &mut Signals,
    budget: Duration,
) -> Result<(), Failure> {
    let early = tokio::select! {
        code = child.ended() => {
            tracing::error!(code, "the command has ended before its socket answered");
            Some(Signal::TERM)
        }
        signal = stop(signals) => Some(signal),
        () = awaited.answer() => None,
    };
    if let Some(signal) = early {
        return ended(stop_all(&mut child, signal, Instant::now() + budget, signals).await);
    }
    let app = match start_app(options) {
        Ok(app) => app,
        Err(failure) => {
            child.stop(Signal::TERM, Instant::now() + budget).await;
            return Err(failure);
        }
    };
    tell(&app);
    let why = tokio::select! {
        why = obey(&app, signals) => Some(why),
        code = child.ended() => {
            tracing::error!(code, "the command has ended: so does the gateway");
            None
        }
    };
    let deadline = Instant::now() + budget;
    if let Err(failure) = drain(app, signals).await {
        child.kill().await;
        return Err(failure);
    }
    let signal = match &why {
        Some(Why::Told(signal)) => *signal,
        Some(Why::Lost(_)) | None => Signal::TERM,
    };
    let code = stop_all(&mut child, signal, deadline, signals).await;
    why.map_or(Ok(()), Why::outcome)?;
    ended(code)
}

/// Ends the command and its group, at once if told to stop once more; its code.
async fn stop_all(
    child: &mut Child,
    signal: Signal,
    deadline: Instant,
    signals: &mut Signals,
) -> u8 {
    let code = tokio::select! {
        code = child.stop(signal, deadline) => Some(code),
        () = stopped_again(signals) => None,
    };
    match code {
        Some(code) => code,
        None => child.kill().await,
    }
}

/// Waits for a signal to stop; there is nothing to reload yet.
async fn stop(signals: &mut Signals) -> Signal {
    loop {
        match signals.next().await {
            Asked::Reload => {}
            Asked::Interrupt => return Signal::INT,
            Asked::Terminate => return Signal::TERM,
        }
    }
}

fn ended(code: u8) -> Result<(), Failure> {
    if code == 0 { Ok(()) } else { Err(Failure::Ended(code)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_loses_a_thread_ends_with_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let text = "[listener.main]\naddress = \"127.0.0.1:0\"\n\
                    [admin]\naddress = \"127.0.0.1:0\"\n\
                    [[route]]\npath = \"/*\"\nupstream = \"http://127.0.0.1:9\"\npublic = true\n";
        let options = Options {
            origin: Origin::Text {
                name: "gateway.toml".to_owned(),
                text: text.to_owned(),
                folder: folder.path().to_owned(),
            },
            environment: Environment::default(),
            clock: Clock::system(),
            access_log: AccessSink::File(folder.path().join("access.log")),
            watch: false,
        };
        let running = start(options).unwrap_or_else(|_| panic!("not started"));
        running.runtime.block_on(running.app.lose_worker());
        match serve(running) {
            Err(Failure::Running(message)) => {
                assert_eq!(message, "a worker's thread has panicked");
            }
            Ok(()) | Err(_) => panic!("not a failure while running, which is exit code 1"),
        }
    }
}

//! `portcullis run`: serves until it is told to stop.

use std::path::Path;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

use super::{Failure, colour};
use crate::app::{AccessSink, App, Options, StartError};
use crate::clock::Clock;
use crate::config::{self, Environment};
use crate::reload::Origin;
use crate::shutdown::{Asked, Signals};
use crate::telemetry::tracing as log;

#[derive(Debug, Default, clap::Args)]
pub(super) struct Arguments {
    /// Apply the configuration file whenever it changes
    #[arg(long)]
    watch: bool,
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
    let running = start(options)?;
    for (name, address) in running.app.bound_addrs() {
        tracing::info!(listener = name, %address, "listening");
    }
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
    let failed = |error: std::io::Error| Failure::Running(error.to_string());
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let signals = {
        let _entered = runtime.enter();
        Signals::new().map_err(failed)?
    };
    let app = App::start(options).map_err(|error| match error {
        StartError::Configuration(diagnostics) => {
            Failure::Configuration(diagnostics.render(colour()))
        }
        StartError::System(message) => Failure::Running(message),
    })?;
    Ok(Running { app, runtime, signals })
}

/// Obeys signals until the one that stops; another one later does not wait for the drain.
pub(super) fn serve(running: Running) -> Result<(), Failure> {
    let Running { app, runtime, mut signals } = running;
    let outcome = runtime.block_on(async {
        while signals.next().await == Asked::Reload {
            // What is wrong with it was told by the log; the running configuration stays.
            let _told = app.reload().await.is_err();
        }
        let drained = tokio::task::spawn_blocking(move || app.drain());
        tokio::select! {
            _ = drained => Ok(()),
            () = stopped_again(&mut signals) => {
                Err(Failure::Running("stopped before the drain was over".to_owned()))
            }
        }
    });
    // Dropping it would wait for the drain, which a second signal does not.
    runtime.shutdown_background();
    outcome
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

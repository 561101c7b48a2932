//! Portcullis' own log, on standard error: starts, reloads, key fetches, faults. Not the requests:
//! those have the access log.
//!
//! The libraries below are never heard beyond `info`: at `debug` and `trace` they print heads and
//! frames, and with them tokens and cookies.

use std::fmt;
use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// How the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON elsewhere. The default.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// What the log tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Faults alone.
    Error,
    /// And what an operator should look at.
    Warn,
    /// And what changes. The default.
    #[default]
    Info,
    /// And why.
    Debug,
    /// And every step.
    Trace,
}

impl Level {
    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The process has a log already.
#[derive(Debug)]
pub struct AlreadyStarted;

impl fmt::Display for AlreadyStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the log was started before")
    }
}

impl std::error::Error for AlreadyStarted {}

/// Starts the log of the process.
///
/// # Errors
/// It was started before.
pub fn init(level: Level, format: Format) -> Result<(), AlreadyStarted> {
    let terminal = io::stderr().is_terminal();
    let text = match format {
        Format::Auto => terminal,
        Format::Json => false,
        Format::Text => true,
    };
    let builder = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(terminal)
        .with_env_filter(filter(level));
    let started = if text {
        builder.with_target(false).finish().try_init()
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .finish()
            .try_init()
    };
    started.map_err(|_| AlreadyStarted)
}

/// Reads no environment variable: `RUST_LOG=h2=trace` would log every header.
fn filter(level: Level) -> EnvFilter {
    let libraries = level.min(Level::Info).as_str();
    EnvFilter::new(format!("{libraries},portcullis={}", level.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_never_heard_beyond_info() {
        assert_eq!(filter(Level::Trace).to_string(), "portcullis=trace,info");
        assert_eq!(filter(Level::Error).to_string(), "portcullis=error,error");
    }

    #[test]
    fn a_second_log_is_refused() {
        let first = init(Level::Error, Format::Text);
        assert!(init(Level::Error, Format::Auto).is_err(), "{first:?}");
    }
}

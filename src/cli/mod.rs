//! The verbs of the command line, one file each.
//!
//! A verb returns how it ended; only this file knows exit codes: 0 fine, 1 failed while running,
//! 2 usage or configuration, and those of the command that `run` was given.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks there")]

mod admin_client;
mod awaited;
mod check;
mod child;
mod completions;
mod demo;
mod exec;
mod explain;
mod healthcheck;
mod init;
mod known_keys;
mod man;
mod reference;
mod reload;
mod routes;
mod run;
mod schema;
mod token;
mod version;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{self, Admin, Diagnostics, Environment, Loaded};
use crate::reload::Origin;

/// An authenticating reverse proxy.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, about, max_term_width = 100)]
struct Arguments {
    /// The configuration file [default: $PORTCULLIS_CONFIG, ./gateway.toml,
    /// /etc/portcullis/gateway.toml]
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve (the default verb)
    Run(run::Arguments),
    /// Show everything on loopback: gateway, issuer and application in one process
    Demo,
    /// Write a starter gateway.toml and a development certificate
    Init,
    /// Report every problem of the configuration
    Check,
    /// Say what would happen to a request, and why
    Explain(explain::Arguments),
    /// Print the route table as compiled
    Routes,
    /// Inspect, verify and sign tokens; print key sets
    Token(token::Arguments),
    /// Apply the configuration file to the running gateway
    Reload,
    /// Ask the running gateway whether it is ready
    Healthcheck,
    /// Print the JSON Schema of gateway.toml
    Schema(schema::Arguments),
    /// Print the reference of gateway.toml
    Reference(reference::Arguments),
    /// Print what lets a shell complete verbs and options
    Completions(completions::Arguments),
    /// Print the manual page
    Man,
    /// Print the version
    Version(version::Arguments),
}

/// How a verb failed.
#[derive(Debug)]
enum Failure {
    /// The configuration has errors, already drawn.
    Configuration(String),
    /// The command line asks for something that can't be done.
    Usage(String),
    /// It failed while running.
    Running(String),
    /// The answer is no, and was printed.
    Told,
    /// The command that was started ended so, and nothing is left to say.
    Ended(u8),
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let outcome = match words.next() {
        Some(word) if word == exec::VERB => exec::run(words),
        Some(_) | None => dispatch(Arguments::parse()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Configuration(drawn)) => {
            eprint!("{drawn}");
            ExitCode::from(2)
        }
        Err(Failure::Usage(message)) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
        Err(Failure::Running(message)) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
        Err(Failure::Told) => ExitCode::FAILURE,
        Err(Failure::Ended(code)) => ExitCode::from(code),
    }
}

fn dispatch(arguments: Arguments) -> Result<(), Failure> {
    let file = arguments.config;
    match arguments.verb.unwrap_or(Verb::Run(run::Arguments::default())) {
        Verb::Run(verb) => run::run(&configuration_path(file)?, &verb),
        Verb::Demo => demo::run(),
        Verb::Init => init::run(),
        Verb::Check => check::run(&configuration_path(file)?),
        Verb::Explain(verb) => explain::run(&configuration_path(file)?, &verb),
        Verb::Routes => routes::run(&configuration_path(file)?),
        Verb::Token(verb) => token::run(file, &verb),
        Verb::Reload => reload::run(&configuration_path(file)?),
        Verb::Healthcheck => healthcheck::run(&configuration_path(file)?),
        Verb::Schema(verb) => schema::run(&verb),
        Verb::Reference(verb) => reference::run(&verb),
        Verb::Completions(verb) => completions::run(&verb),
        Verb::Man => man::run(),
        Verb::Version(verb) => version::run(&verb),
    }
}

/// `-c FILE`, else `$PORTCULLIS_CONFIG`, else `./gateway.toml`, else `/etc/portcullis/gateway.toml`.
fn configuration_path(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    if let Some(path) = given.or_else(|| std::env::var_os("PORTCULLIS_CONFIG").map(PathBuf::from)) {
        return Ok(path);
    }
    let places = ["./gateway.toml", "/etc/portcullis/gateway.toml"];
    places.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
        Failure::Usage(
            "no configuration: neither ./gateway.toml nor /etc/portcullis/gateway.toml exists\n\
             hint: `portcullis init` writes one, `-c FILE` names one, `portcullis demo` needs none"
                .to_owned(),
        )
    })
}

/// Loads the file; problems come back drawn, warnings go to standard error.
fn load(path: &Path) -> Result<Loaded, Failure> {
    let loaded = Origin::File(path.to_owned())
        .load(&Environment::of_process())
        .map_err(|errors| refused(&errors))?;
    if !loaded.warnings.is_empty() {
        eprint!("{}", loaded.warnings.render(colour()));
    }
    Ok(loaded)
}

/// The admin address of the running gateway, whatever else the file says by now.
fn load_admin(path: &Path) -> Result<Admin, Failure> {
    config::load_admin(path, &Environment::of_process()).map_err(|errors| refused(&errors))
}

fn refused(diagnostics: &Diagnostics) -> Failure {
    Failure::Configuration(diagnostics.render(colour()))
}

fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Prints what is no text of ours; a reader that has seen enough is no failure.
fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    match std::io::stdout().write_all(bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::Running(error.to_string()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Compares a generated text with the file that should hold it.
fn compare(generated: &str, file: &Path, verb: &str) -> Result<(), Failure> {
    let kept = std::fs::read_to_string(file)
        .map_err(|error| Failure::Running(format!("{}: {error}", file.display())))?;
    if kept == generated {
        return Ok(());
    }
    Err(Failure::Running(format!(
        "{} is out of date\nhint: portcullis {verb} > {}",
        file.display(),
        file.display()
    )))
}

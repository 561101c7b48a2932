//! Portcullis beside its peers, scenario by scenario: what a request costs, as a ratio.
//!
//! Isolates the price of the gateway itself: one worker each, on a core of its own; the same
//! keep-alive connections with the same requests; the same upstream with a body of 1 KiB. Portcullis
//! runs with its defaults: it writes its access log to a file and counts its metrics, which no peer
//! does here. The configurations lie in `peers/`. A number of microseconds says more about the
//! machine than about the program, so runs alternate and what counts is each pair's ratio.
//!
//! Twice: as fast as each can go, for the throughput; and at the same steady rate, half of what the
//! peer can do, which is the comparison of what a request costs (`load/steady.rs` says why).
//!
//! `cargo bench --bench compare -- --help`; `--list` shows the scenarios. Needs Debian's
//! util-linux, nginx-light, haproxy, wrk and nghttp2-client, as far as a scenario uses them; the
//! other peers come from PyPI by themselves.

mod ask;
mod case;
mod cases;
mod certificate;
mod core;
mod django;
mod growth;
mod idle;
mod load;
mod machine;
mod programs;
mod proxy;
mod reload;
mod report;
mod runner;
mod setups;
mod signature;
mod tokens;
mod upstream;
mod validate;
mod world;

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use case::{Case, Work};
use cases::CASES;
use runner::{Bench, Extent};
use world::World;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Measures Portcullis and its peers side by side.
#[derive(Debug, Parser)]
#[command(name = "compare")]
struct Arguments {
    /// `S2` for all that it has, `"S2 ES256"` for one, `all`
    #[arg(long, default_value = "S1")]
    scenario: String,
    /// Only beside this peer; without it and without `--scenario`, nginx
    #[arg(long)]
    peer: Option<String>,
    /// Shows the scenarios and their peers
    #[arg(long)]
    list: bool,
    /// Holds the steady load against wrk, with nginx behind both
    #[arg(long)]
    validate: bool,
    /// Pairs of runs, the peer and Portcullis in turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Length of a run
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Requests a second of the steady load; half of what the peer can do if it is not given
    #[arg(long)]
    rate: Option<f64>,
    /// The proxies' core
    #[arg(long, default_value_t = 0)]
    proxy_core: usize,
    /// The core of the load and the upstream
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// The binary to measure
    #[arg(long, default_value = env!("CARGO_BIN_EXE_portcullis"))]
    portcullis: PathBuf,
    /// Runs one of them under load for `--seconds`, at `--rate` if that is given, and prints its
    /// process ids, for `perf record -p`
    #[arg(long, value_name = "SIDE")]
    profile_only: Option<Profiled>,
    /// Puts what is measured into benches/RESULTS.md, and draws benches/results.svg
    #[arg(long)]
    write: bool,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// Who is profiled.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Profiled {
    Peer,
    Portcullis,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("compare: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if arguments.list {
        for case in CASES {
            say(&format!("{:<16}{:<16}{}", case.scenario, case.peer, case.about));
        }
        say(&format!("{:<16}{:<16}memory of 10,000 idle connections, prints only", "S7", "nginx"));
        return Ok(());
    }
    if arguments.scenario.eq_ignore_ascii_case("S7") {
        let (proxies, load) = (arguments.proxy_core, arguments.load_core);
        return idle::run(&World::make(&arguments.portcullis, proxies, load)?);
    }
    let peer = match (arguments.scenario.as_str(), arguments.peer.as_deref()) {
        ("S1", None) => Some("nginx"),
        (_, peer) => peer,
    };
    let cases: Vec<_> =
        CASES.iter().filter(|case| case.is_named(&arguments.scenario, peer)).collect();
    if cases.is_empty() {
        return Err("no such scenario; `--list` shows them".into());
    }
    let Arguments { pairs, seconds, rate, .. } = *arguments;
    let extent = Extent { pairs, seconds, rate };
    let world = World::make(&arguments.portcullis, arguments.proxy_core, arguments.load_core)?;
    if arguments.validate {
        return validate::run(&world, extent);
    }
    for case in cases {
        let shown = format!("\n{}: {}\n", case.key(), case.about);
        say(&shown);
        one(&world, case, extent, arguments)?;
    }
    Ok(())
}

fn one(world: &World, case: &Case, extent: Extent, arguments: &Arguments) -> Result<()> {
    let django = if case.work == Work::Django { Some(django::start(world)?) } else { None };
    let upstream = django.as_ref().map_or_else(|| world.upstream(), django::Django::port);
    let bench = Bench { world, case, extent, upstream };
    match arguments.profile_only {
        Some(Profiled::Peer) => return bench.profile(&case.theirs),
        Some(Profiled::Portcullis) => return bench.profile(&case.ours),
        None => {}
    }
    let measured = bench.measure()?;
    let lines = report::lines(case, &measured);
    say("");
    for line in &lines {
        say(&line.to_string());
    }
    if arguments.write {
        let section = report::section(world, case, extent, &measured)?;
        say(&format!("wrote {}", report::write(case, lines, &section)?.display()));
    }
    Ok(())
}

/// A line for whoever watches; a reader that went away is no reason to fail.
fn say(line: &str) {
    let _gone = writeln!(std::io::stdout(), "{line}").is_err();
}

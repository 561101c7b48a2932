//! Portcullis beside nginx: the CPU time of an authenticated, proxied request as a ratio.
//!
//! Isolates the price of the gateway itself: one worker each, on a core of its own; the same 64
//! keep-alive connections with the same 1,000 RS256 tokens; the same upstream with a body of 1 KiB.
//! Portcullis verifies every token (from its cache, once warm), writes its access log to a file and
//! counts its metrics; nginx does none of that and only proxies. A number of microseconds says more
//! about the machine than about the program, so runs alternate and what counts is each pair's ratio.
//!
//! Twice: at the same steady rate, half of what nginx can do, which is the comparison of what a
//! request costs (`steady.rs` says why); and as fast as each can go, with wrk, for the throughput.
//!
//! `cargo bench --bench compare -- --help`. Needs Debian's nginx-light, wrk and util-linux.

mod load;
mod machine;
mod proxies;
mod report;
mod steady;
mod tokens;
mod upstream;

use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use load::Load;
use proxies::Proxy;
use report::{Pair, Report, Run};
use steady::Steady;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Measures Portcullis and nginx side by side.
#[derive(Debug, Parser)]
#[command(name = "compare")]
struct Arguments {
    /// Pairs of runs, nginx and Portcullis in turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Length of a run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Requests a second of the steady load; half of what nginx can do if it is not given
    #[arg(long)]
    rate: Option<f64>,
    /// Keep-alive connections of the load
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Distinct tokens, used in turn
    #[arg(long, default_value_t = 1000)]
    tokens: usize,
    /// The proxies' core
    #[arg(long, default_value_t = 0)]
    proxy_core: usize,
    /// The core of the load and the upstream
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// The binary to measure
    #[arg(long, default_value = env!("CARGO_BIN_EXE_portcullis"))]
    portcullis: PathBuf,
    /// Runs one of them under load for `--seconds` and prints its process id, for `perf record -p`
    #[arg(long, value_name = "PROXY")]
    profile_only: Option<Contender>,
    /// Writes benches/RESULTS.md
    #[arg(long)]
    write: bool,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// Who is measured.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Contender {
    Nginx,
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
    let programs = machine::Programs::find(&arguments.portcullis)?;
    // Threads and programs started from here on inherit the core; the proxies get their own.
    machine::pin_self(arguments.load_core)?;
    let folder = tempfile::Builder::new().prefix("portcullis-compare-").tempdir()?;
    let (upstream, thread) = upstream::start()?;
    let issued = tokens::issue(arguments.tokens, folder.path())?;
    let load = Load::new(folder.path(), &programs, &issued, arguments.connections)?;
    let start = |contender| {
        say(&format!("starting {contender:?}"));
        match contender {
            Contender::Nginx => {
                Proxy::nginx(&programs, folder.path(), arguments.proxy_core, upstream)
            }
            Contender::Portcullis => {
                Proxy::portcullis(&programs, folder.path(), arguments.proxy_core, upstream, &issued)
            }
        }
    };
    match arguments.profile_only {
        Some(contender) => profile(&mut start(contender)?, &load, &issued, arguments.seconds),
        None => {
            let mut nginx = start(Contender::Nginx)?;
            let mut portcullis = start(Contender::Portcullis)?;
            let steady = Steady::new(thread, &issued, arguments.connections);
            let loads = (&load, &steady);
            compare(arguments, [&mut nginx, &mut portcullis], loads, &issued, programs.describe())
        }
    }
}

/// Alternates runs, so that whatever else the machine does meets both alike.
fn compare(
    arguments: &Arguments,
    [nginx, portcullis]: [&mut Proxy; 2],
    (load, steady): (&Load, &Steady),
    issued: &tokens::Issued,
    machine: String,
) -> Result<()> {
    warm(nginx, load, issued)?;
    warm(portcullis, load, issued)?;
    let mut pairs = Vec::new();
    for heading in report::HEADING {
        say(heading);
    }
    for nth in 1..=arguments.pairs {
        let pair = Pair {
            nginx: measure(nginx, load, arguments.seconds)?,
            portcullis: measure(portcullis, load, arguments.seconds)?,
        };
        say(&pair.row(nth));
        pairs.push(pair);
    }
    let rate = arguments.rate.unwrap_or_else(|| report::half_of_nginx(&pairs));
    say(&format!("\nat {rate:.0} requests/s\n\n{}", report::STEADY_HEADING.join("\n")));
    let mut even = Vec::new();
    for nth in 1..=arguments.pairs {
        let pair = Pair {
            nginx: measure_steady(nginx, steady, rate, arguments.seconds)?,
            portcullis: measure_steady(portcullis, steady, rate, arguments.seconds)?,
        };
        say(&pair.steady_row(nth));
        even.push(pair);
    }
    let report = Report { pairs, steady: even, rate, machine, seconds: arguments.seconds };
    say(&format!("\n{}", report.summary()));
    if arguments.write {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/RESULTS.md");
        std::fs::write(&path, report.page())?;
        say(&format!("wrote {}", path.display()));
    }
    Ok(())
}

/// Keeps one proxy busy for a profiler.
fn profile(proxy: &mut Proxy, load: &Load, issued: &tokens::Issued, seconds: u32) -> Result<()> {
    warm(proxy, load, issued)?;
    let ids: Vec<_> = proxy.processes()?.iter().map(ToString::to_string).collect();
    say(&format!("{}: process {}, under load for {seconds} s", proxy.name(), ids.join(",")));
    let run = measure(proxy, load, seconds)?;
    say(&format!("{:.2} us of CPU a request, {:.0} requests/s", run.cost(), run.rate()));
    Ok(())
}

/// Long enough for every token to be verified once and every connection to be made.
fn warm(proxy: &mut Proxy, load: &Load, issued: &tokens::Issued) -> Result<()> {
    proxy.await_ready(issued)?;
    let mut requests = 0;
    while requests < issued.tokens.len() as u64 {
        requests += measure(proxy, load, 1)?.requests;
    }
    Ok(())
}

/// One run: nothing counts unless every request was answered as it should be.
fn measure(proxy: &Proxy, load: &Load, seconds: u32) -> Result<Run> {
    let before = proxy.cpu_time()?;
    let done = load.run(proxy.port(), seconds)?;
    let cpu = proxy.cpu_time()?.saturating_sub(before);
    if done.errors > 0 || done.requests == 0 {
        return Err(format!(
            "{}: {} of {} requests failed; nothing was measured",
            proxy.name(),
            done.errors,
            done.requests
        )
        .into());
    }
    proxy.check_access_log(done.requests)?;
    Ok(Run { requests: done.requests, elapsed: done.elapsed, cpu, latencies: None })
}

/// One run at a given rate; an answer that is not as it should be ends it.
fn measure_steady(proxy: &Proxy, steady: &Steady, rate: f64, seconds: u32) -> Result<Run> {
    let before = proxy.cpu_time()?;
    let done = steady.run(proxy.port(), rate, seconds)?;
    let cpu = proxy.cpu_time()?.saturating_sub(before);
    proxy.check_access_log(done.requests)?;
    let latencies = Some((done.latency(0.5), done.latency(0.99)));
    Ok(Run { requests: done.requests, elapsed: done.elapsed, cpu, latencies })
}

/// A line for whoever watches; a reader that went away is no reason to fail.
fn say(line: &str) {
    let _gone = writeln!(std::io::stdout(), "{line}").is_err();
}

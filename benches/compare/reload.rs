//! S11: a configuration of 1,000 routes is loaded anew in the midst of a steady load. What is
//! compared is the second in which that happens with the ones around it, of the same run.

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use super::Result;
use super::ask;
use super::core::figure::{Pair, Run};
use super::load::SteadyDone;
use super::proxy::Proxy;
use super::report::{self, Measured};
use super::runner::Bench;
use super::say;

/// The second of the run that begins with the reload.
const RELOADED: u64 = 2;
const SECONDS: u32 = 5;

pub(super) fn measure(bench: &Bench<'_>) -> Result<Measured> {
    let side = &bench.case.ours;
    let proxy = bench.start(side)?;
    let rate = match bench.extent.rate {
        Some(rate) => rate,
        None => bench.one_full(side, &proxy, bench.extent.seconds)?.rate() / 2.0,
    };
    let mut measured = Measured { rate, ..Measured::default() };
    say(&report::steady_heading(bench.case.peer, rate));
    for nth in 1..=bench.extent.pairs {
        let load = side.load.steady(bench.world, 0)?;
        let path = format!("/reloaded-{nth}/");
        let done = thread::scope(|scope| {
            let reloads = scope.spawn(|| {
                thread::sleep(Duration::from_secs(RELOADED));
                change(&proxy, &path).map_err(|error| error.to_string())
            });
            let done = load.run(proxy.port(), Some(rate), SECONDS);
            reloads.join().map_err(|_| "the thread that reloads panicked")??;
            done
        })?;
        proxy.check_access_log(done.requests)?;
        if ask::status(proxy.port(), None, &path, None)? != "200" {
            return Err("the configuration was not loaded anew".into());
        }
        proxy.check_access_log(1)?;
        let pair = Pair {
            theirs: part(&done, |second| second != RELOADED && second > 0),
            ours: part(&done, |second| second == RELOADED),
        };
        say(&report::steady_row(nth, &pair));
        measured.steady.push(pair);
    }
    Ok(measured)
}

/// Adds a route, which changes the route table of all 1,000, and tells the process.
fn change(proxy: &Proxy, path: &str) -> Result<()> {
    let mut text = fs::read_to_string(proxy.config())?;
    text.push_str(&format!("\n[[route]]\npath = \"{path}*\"\nupstream = \"app\"\npublic = true\n"));
    fs::write(proxy.config(), text)?;
    kill_process(proxy.process(), Signal::HUP)?;
    Ok(())
}

/// The requests that were due in some seconds of a run, as a run.
fn part(done: &SteadyDone, which: impl Fn(u64) -> bool) -> Run {
    let is_within = |due: Duration| which(due.as_secs());
    let requests = done.samples.iter().filter(|(due, _)| is_within(*due)).count() as u64;
    let latency = |share| done.latency(share, is_within);
    Run {
        requests,
        elapsed: done.elapsed,
        latencies: Some((latency(0.5), latency(0.99))),
        ..Run::default()
    }
}

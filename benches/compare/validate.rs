//! Whether the open loop of `load/steady.rs` can be trusted: held against wrk.
//!
//! Without a rate it is a closed loop as wrk's is, and must find the same throughput, the same CPU
//! time a request and about the same latencies of one program. What it takes of its own core
//! limits the rate it can send; that figure is printed too.

use super::Result;
use super::case::{Case, Side};
use super::cases::CASES;
use super::core::figure::{Figure, Pace, Pair, Run};
use super::core::page::{Key, Line};
use super::runner::{Bench, Extent};
use super::say;
use super::world::World;

/// nginx under both, in turn.
pub(super) fn run(world: &World, extent: Extent) -> Result<()> {
    let case: &Case = CASES.first().ok_or("there are no cases")?;
    let bench = Bench { world, case, extent, upstream: world.upstream() };
    let side: &Side = &case.theirs;
    let proxy = bench.start(side)?;
    let steady = side.load.steady(world, 0)?;
    let mut pairs = Vec::new();
    for _ in 0..extent.pairs {
        let wrk = bench.one_full(side, &proxy, extent.seconds)?;
        let before = proxy.cpu_time()?;
        let done = steady.run(proxy.port(), None, extent.seconds)?;
        let cpu = proxy.cpu_time()?.saturating_sub(before);
        let latency = |share| done.latency(share, |_| true);
        let own = Run {
            requests: done.requests,
            elapsed: done.elapsed,
            cpu,
            latencies: Some((latency(0.5), latency(0.99))),
            ..Run::default()
        };
        pairs.push(Pair { theirs: wrk, ours: own });
    }
    say("The open loop without a rate (\"portcullis\") beside wrk, both at nginx:");
    let key = Key { scenario: "load".to_owned(), peer: "wrk".to_owned() };
    for figure in [Figure::Rate, Figure::Cost, Figure::P99] {
        say(&Line::of(&key, (figure, Pace::Full), &pairs, None).to_string());
    }
    Ok(())
}

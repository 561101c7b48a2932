//! Measures a case: pairs of runs in turn, so that whatever else the machine does meets both alike.

use std::time::Duration;

use super::Result;
use super::case::{Case, Side, Work};
use super::core::figure::{Pair, Run, even_rate};
use super::load::{Done, Load, Tokens, WARMING};
use super::proxy::Proxy;
use super::reload;
use super::report::{self, Measured};
use super::say;
use super::signature;
use super::world::World;

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) pairs: u32,
    pub(super) seconds: u32,
    /// Requests a second of the steady load, where it is given.
    pub(super) rate: Option<f64>,
}

/// One case with what all of its runs need.
#[derive(Clone, Copy)]
pub(super) struct Bench<'w> {
    pub(super) world: &'w World,
    pub(super) case: &'w Case,
    pub(super) extent: Extent,
    /// The port of the application.
    pub(super) upstream: u16,
}

impl Bench<'_> {
    pub(super) fn measure(&self) -> Result<Measured> {
        if self.case.work == Work::Reload {
            return reload::measure(self);
        }
        // What is started for every run is not kept running beside the others.
        let kept = if self.case.is_fresh() { None } else { Some(self.start_both()?) };
        let (theirs, ours) = kept.as_ref().map_or((None, None), |(t, o)| (Some(t), Some(o)));
        let mut full = Vec::new();
        say(&report::full_heading(self.case.peer));
        for nth in 1..=self.extent.pairs {
            let pair = Pair {
                theirs: self.full(&self.case.theirs, theirs)?,
                ours: self.full(&self.case.ours, ours)?,
            };
            say(&report::full_row(nth, &pair));
            full.push(pair);
        }
        let mut measured = Measured { full, ..Measured::default() };
        if self.case.work == Work::Overhead {
            let load = &self.case.ours.load;
            let issued = load.issued(self.world)?.ok_or("there are no tokens")?;
            measured.signature = Some(signature::alone(load.algorithm(), &issued)?);
        }
        if matches!(self.case.work, Work::FullAndSteady | Work::Overhead) {
            measured.rate = self.extent.rate.unwrap_or_else(|| even_rate(&measured.full));
            say(&format!("\n{}", report::steady_heading(self.case.peer, measured.rate)));
            for nth in 1..=self.extent.pairs {
                let pair = Pair {
                    theirs: self.steady(&self.case.theirs, theirs, measured.rate)?,
                    ours: self.steady(&self.case.ours, ours, measured.rate)?,
                };
                say(&report::steady_row(nth, &pair));
                measured.steady.push(pair);
            }
        }
        Ok(measured)
    }

    fn start_both(&self) -> Result<(Proxy, Proxy)> {
        Ok((self.start(&self.case.theirs)?, self.start(&self.case.ours)?))
    }

    /// Starts a program and warms it up: every connection made, every known token seen once.
    pub(super) fn start(&self, side: &Side) -> Result<Proxy> {
        let proxy = Proxy::start(self.world, side.setup, &side.load, self.upstream)?;
        if matches!(side.load.tokens, Tokens::New(_)) {
            let steady = side.load.steady(self.world, 0)?;
            steady.run(proxy.port(), Some(WARMING as f64), 1)?;
            proxy.check_access_log(0)?;
            return Ok(proxy);
        }
        let known = side.load.issued(self.world)?.map_or(0, |issued| issued.tokens.len());
        let seconds = 1 + (known / 10_000) as u32 + side.load.connections / 1000;
        // Among forged ones from the same address, no token that is new would be looked at.
        if let Tokens::HalfForged(count) = side.load.tokens {
            let load = Load { tokens: Tokens::Known(side.load.algorithm(), count), ..side.load };
            self.one_full(&Side { load, ..*side }, &proxy, seconds)?;
        }
        // A run begins with the first token, so that one has to see them all.
        let mut requests = 0;
        while requests < known.max(1) as u64 {
            let run = self.one_full(side, &proxy, seconds)?;
            requests = requests.max(run.requests + run.refused);
        }
        Ok(proxy)
    }

    /// As fast as it goes; with a program of its own if none is given.
    fn full(&self, side: &Side, running: Option<&Proxy>) -> Result<Run> {
        match running {
            Some(proxy) => self.one_full(side, proxy, self.extent.seconds),
            None => self.one_full(side, &self.start(side)?, self.extent.seconds),
        }
    }

    /// Only what was answered as it should be counts, and every request must be in the access log.
    pub(super) fn one_full(&self, side: &Side, proxy: &Proxy, seconds: u32) -> Result<Run> {
        let before = proxy.cpu_time()?;
        let done: Done = side
            .load
            .run(self.world, proxy.port(), seconds, skipped(side))
            .map_err(|error| format!("{}: {error}", proxy.name()))?;
        let cpu = proxy.cpu_time()?.saturating_sub(before);
        if done.requests == 0 {
            return Err(format!("{}: nothing was measured", proxy.name()).into());
        }
        let memory = proxy.memory()?;
        proxy.check_access_log(done.requests + done.refused)?;
        let Done { requests, refused, elapsed, latencies } = done;
        Ok(Run { requests, refused, elapsed, cpu, latencies, memory })
    }

    fn steady(&self, side: &Side, running: Option<&Proxy>, rate: f64) -> Result<Run> {
        match running {
            Some(proxy) => self.one_steady(side, proxy, rate),
            None => self.one_steady(side, &self.start(side)?, rate),
        }
    }

    fn one_steady(&self, side: &Side, proxy: &Proxy, rate: f64) -> Result<Run> {
        let load = side.load.steady(self.world, skipped(side))?;
        let before = proxy.cpu_time()?;
        let done = load
            .run(proxy.port(), Some(rate), self.extent.seconds)
            .map_err(|error| format!("{}: {error}", proxy.name()))?;
        let cpu = proxy.cpu_time()?.saturating_sub(before);
        let memory = proxy.memory()?;
        proxy.check_access_log(done.requests + done.refused)?;
        let latency = |share| done.latency(share, |_: Duration| true);
        Ok(Run {
            requests: done.requests,
            refused: done.refused,
            elapsed: done.elapsed,
            cpu,
            latencies: Some((latency(0.5), latency(0.99))),
            memory,
        })
    }

    /// Keeps one program busy for a profiler; at a steady rate if one is given.
    pub(super) fn profile(&self, side: &Side) -> Result<()> {
        let proxy = self.start(side)?;
        let ids: Vec<_> = proxy.processes()?.iter().map(ToString::to_string).collect();
        let seconds = self.extent.seconds;
        say(&format!("{}: process {}, under load for {seconds} s", proxy.name(), ids.join(",")));
        let run = match self.extent.rate {
            Some(rate) => self.one_steady(side, &proxy, rate)?,
            None => self.one_full(side, &proxy, seconds)?,
        };
        say(&format!("{:.2} us of CPU a request, {:.0} requests/s", run.cost(), run.rate()));
        Ok(())
    }
}

/// New tokens that the program was warmed up with.
fn skipped(side: &Side) -> usize {
    if matches!(side.load.tokens, Tokens::New(_)) { WARMING } else { 0 }
}

//! What one run gives, two runs as a ratio, and what a ratio has to be.

use std::fmt;
use std::time::Duration;

use super::spread::Spread;

/// One program under load for some seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Run {
    /// Answered as they should be.
    pub(crate) requests: u64,
    /// Refused as they should be: forged tokens.
    pub(crate) refused: u64,
    pub(crate) elapsed: Duration,
    /// CPU time of the program, all of its threads and processes.
    pub(crate) cpu: Duration,
    /// Half of the requests were answered within the first, 99 of 100 within the second.
    pub(crate) latencies: Option<(Duration, Duration)>,
    /// Memory of all of its processes at the end of the run, in bytes; shared pages count once.
    pub(crate) memory: u64,
}

/// Two runs, one right after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) theirs: Run,
    pub(crate) ours: Run,
}

/// What a run is compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// CPU time a request.
    Cost,
    /// Requests a second, those that were answered as they should be.
    Rate,
    /// 99 of 100 requests were answered within it.
    P99,
    /// Memory at the end of a run.
    Memory,
}

/// When a figure was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Both as fast as they can go.
    Full,
    /// Both at the same steady rate.
    Steady,
}

/// What a median ratio of ours to theirs has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Run {
    /// Microseconds of CPU time a request; a refusal is an answer too.
    pub(crate) fn cost(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / (self.requests + self.refused) as f64
    }

    /// Requests a second that were answered as they should be.
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// How much of its core it used; Portcullis' log writer and control thread run there too.
    pub(crate) fn busy(&self) -> f64 {
        self.cpu.as_secs_f64() / self.elapsed.as_secs_f64()
    }
}

impl Figure {
    /// In its unit; NaN where the run does not have it.
    pub(crate) fn of(self, run: &Run) -> f64 {
        match self {
            Self::Cost => run.cost(),
            Self::Rate => run.rate(),
            Self::P99 => run.latencies.map_or(f64::NAN, |(_, most)| most.as_secs_f64() * 1e3),
            Self::Memory => run.memory as f64 / f64::from(1 << 20),
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Cost => "us",
            Self::Rate => "/s",
            Self::P99 => "ms",
            Self::Memory => "MiB",
        }
    }

    /// A number with its unit, as short as its size allows.
    pub(crate) fn shown(self, value: f64) -> String {
        let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
        format!("{value:.digits$} {}", self.unit())
    }

    /// Its name in the table of results.
    pub(crate) fn name(self, pace: Pace) -> &'static str {
        match (self, pace) {
            (Self::Cost, Pace::Full) => "CPU a request, full load",
            (Self::Cost, Pace::Steady) => "CPU a request, same rate",
            (Self::Rate, Pace::Full) => "throughput",
            (Self::Rate, Pace::Steady) => "throughput, same rate",
            (Self::P99, Pace::Full) => "p99, full load",
            (Self::P99, Pace::Steady) => "p99, same rate",
            (Self::Memory, Pace::Full | Pace::Steady) => "memory",
        }
    }

    /// Ours over theirs, pair by pair.
    pub(crate) fn ratio(self, pairs: &[Pair]) -> Spread {
        Spread::of(pairs.iter().map(|pair| self.of(&pair.ours) / self.of(&pair.theirs)))
    }
}

impl Target {
    pub(crate) fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(most) => ratio <= most,
            Self::AtLeast(least) => ratio >= least,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "<= {most}"),
            Self::AtLeast(least) => write!(f, ">= {least}"),
        }
    }
}

/// The rate for both: half of what the peer can do, but no more than the slower one has breath for,
/// and no more than the steady load itself can send.
pub(crate) fn even_rate(pairs: &[Pair]) -> f64 {
    const BREATH: f64 = 0.7;
    const SENT: f64 = 40_000.0;
    let theirs = Spread::of(pairs.iter().map(|pair| pair.theirs.rate())).median;
    let ours = Spread::of(pairs.iter().map(|pair| pair.ours.rate())).median;
    (theirs / 2.0).min(ours * BREATH).min(SENT)
}

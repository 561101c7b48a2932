//! What was measured, as a table and as one ratio with its spread.

use std::time::Duration;

/// One proxy under load for some seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) requests: u64,
    pub(super) elapsed: Duration,
    /// CPU time of the proxy, all of its threads and processes.
    pub(super) cpu: Duration,
    /// Half of the requests were answered within the first, 99 of 100 within the second.
    pub(super) latencies: Option<(Duration, Duration)>,
}

/// Two runs, one right after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) nginx: Run,
    pub(super) portcullis: Run,
}

/// All pairs of one invocation.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) pairs: Vec<Pair>,
    /// The same at a given rate.
    pub(super) steady: Vec<Pair>,
    /// That rate, in requests a second.
    pub(super) rate: f64,
    /// Processor, kernel and versions.
    pub(super) machine: String,
    /// Length of a run.
    pub(super) seconds: u32,
}

/// The table's head.
pub(super) const HEADING: [&str; 2] = [
    "| pair | nginx us/request | portcullis us/request | ratio | nginx requests/s (core in use) | portcullis requests/s (core in use) | errors |",
    "|---|---|---|---|---|---|---|",
];

/// The head of the table at a given rate.
pub(super) const STEADY_HEADING: [&str; 2] = [
    "| pair | nginx us/request | portcullis us/request | ratio | nginx p50, p99 ms | portcullis p50, p99 ms |",
    "|---|---|---|---|---|---|",
];

/// Half of the requests that nginx served a second.
pub(super) fn half_of_nginx(pairs: &[Pair]) -> f64 {
    Spread::of(pairs.iter().map(|pair| pair.nginx.rate())).median / 2.0
}

/// A proxy that has time to wait handles fewer events each time it wakes, so a request costs more
/// than under full load; below this share of its core, a ratio says little.
const BUSY: f64 = 0.7;

impl Run {
    /// Microseconds of CPU time a request.
    pub(super) fn cost(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.requests as f64
    }

    /// Requests a second.
    pub(super) fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// How much of its core it used; Portcullis' log writer and control thread run there too.
    fn busy(&self) -> f64 {
        self.cpu.as_secs_f64() / self.elapsed.as_secs_f64()
    }
}

impl Pair {
    /// How many times nginx's CPU time a request takes.
    fn ratio(&self) -> f64 {
        self.portcullis.cost() / self.nginx.cost()
    }

    /// Its line of the table; a run with errors is not measured at all.
    pub(super) fn row(&self, nth: u32) -> String {
        format!(
            "| {nth} | {:.2} | {:.2} | {:.3} | {:.0} ({:.0} %) | {:.0} ({:.0} %) | 0 |",
            self.nginx.cost(),
            self.portcullis.cost(),
            self.ratio(),
            self.nginx.rate(),
            self.nginx.busy() * 100.0,
            self.portcullis.rate(),
            self.portcullis.busy() * 100.0
        )
    }
}

impl Pair {
    /// Its line of the table at a given rate.
    pub(super) fn steady_row(&self, nth: u32) -> String {
        let shown = |run: &Run| {
            let (half, most) = run.latencies.unwrap_or_default();
            format!("{:.2}, {:.2}", half.as_secs_f64() * 1e3, most.as_secs_f64() * 1e3)
        };
        format!(
            "| {nth} | {:.2} | {:.2} | {:.3} | {} | {} |",
            self.nginx.cost(),
            self.portcullis.cost(),
            self.ratio(),
            shown(&self.nginx),
            shown(&self.portcullis)
        )
    }
}

impl Report {
    /// The result in four lines, and a fifth if it should not be trusted.
    pub(super) fn summary(&self) -> String {
        let of = |value: fn(&Pair) -> f64| Spread::of(self.pairs.iter().map(value));
        let requests: u64 =
            self.pairs.iter().map(|pair| pair.nginx.requests + pair.portcullis.requests).sum();
        let ratio = of(Pair::ratio);
        let steady = Spread::of(self.steady.iter().map(Pair::ratio));
        format!(
            "CPU time a request, portcullis / nginx, both at {:.0} requests/s: median {:.3} ({:.3} to {:.3}) of {} pairs of {} s\n\
             the same, each as fast as it can go: median {:.3} ({:.3} to {:.3}) of {} pairs of {} s\n\
             nginx {:.2} us, portcullis {:.2} us (medians); {requests} requests, 0 errors\n\
             {}{}",
            self.rate,
            steady.median,
            steady.least,
            steady.most,
            self.steady.len(),
            self.seconds,
            ratio.median,
            ratio.least,
            ratio.most,
            self.pairs.len(),
            self.seconds,
            of(|pair| pair.nginx.cost()).median,
            of(|pair| pair.portcullis.cost()).median,
            self.machine,
            self.doubt()
        )
    }

    fn doubt(&self) -> &'static str {
        let runs = self.pairs.iter().flat_map(|pair| [&pair.nginx, &pair.portcullis]);
        if runs.map(Run::busy).all(|busy| busy >= BUSY) {
            ""
        } else {
            "\nwarning: the proxies had time to wait; the machine is too busy, or the load too light"
        }
    }

    /// The whole of benches/RESULTS.md.
    pub(super) fn page(&self) -> String {
        let rows: Vec<_> = (1..).zip(&self.pairs).map(|(nth, pair)| pair.row(nth)).collect();
        let steady: Vec<_> =
            (1..).zip(&self.steady).map(|(nth, pair)| pair.steady_row(nth)).collect();
        format!(
            "# Side by side\n\n\
             Made by `cargo bench --bench compare -- --write`; what is measured stands at the top of\n\
             `benches/compare/main.rs`. Ratios from one run on one machine: microseconds of another\n\
             machine are no comparison.\n\n\
             ```text\n{}\n```\n\n## At {:.0} requests/s\n\n{}\n{}\n\n## As fast as each can go\n\n{}\n{}\n",
            self.summary(),
            self.rate,
            STEADY_HEADING.join("\n"),
            steady.join("\n"),
            HEADING.join("\n"),
            rows.join("\n")
        )
    }
}

/// The middle and the ends of some numbers.
#[derive(Clone, Copy, Debug)]
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let (last, half) = (values.len().saturating_sub(1), values.len() / 2);
        let median = if values.len() % 2 == 1 {
            at(half)
        } else {
            f64::midpoint(at(half.saturating_sub(1)), at(half))
        };
        Self { least: at(0), median, most: at(last) }
    }
}

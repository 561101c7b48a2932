//! What other programs and the kernel print, as numbers. Anything of another form is `None`.

use std::time::Duration;

/// What a load program says of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Requests that were answered, whatever the status.
    pub(crate) answered: u64,
    /// Of these, the ones with a status of 400 or more.
    pub(crate) refused: u64,
    /// Requests that were not answered at all.
    pub(crate) broken: u64,
    pub(crate) elapsed: Duration,
    /// p50 and p99, where the program tells them.
    pub(crate) latencies: Option<(Duration, Duration)>,
}

/// The line that `wrk.lua` writes: `TOTAL requests us refused broken p50_us p99_us`.
pub(crate) fn wrk(text: &str) -> Option<Totals> {
    let line = text.lines().find_map(|line| line.strip_prefix("TOTAL "))?;
    let mut numbers = line.split(' ').map(|number| number.parse().ok());
    let mut next = || numbers.next().flatten();
    let (answered, elapsed, refused, broken) = (next()?, next()?, next()?, next()?);
    Some(Totals {
        answered,
        refused,
        broken,
        elapsed: Duration::from_micros(elapsed),
        latencies: Some((Duration::from_micros(next()?), Duration::from_micros(next()?))),
    })
}

/// h2load's report.
pub(crate) fn h2load(text: &str) -> Option<Totals> {
    let after = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    let elapsed = after("finished in ")?.split(',').next()?;
    let elapsed = if let Some(milliseconds) = elapsed.strip_suffix("ms") {
        milliseconds.parse::<f64>().ok()? / 1e3
    } else {
        elapsed.strip_suffix('s')?.parse().ok()?
    };
    let requests = counts(after("requests: ")?);
    let statuses = counts(after("status codes: ")?);
    let of = |counts: &[(u64, &str)], name: &str| {
        counts.iter().find(|(_, word)| *word == name).map(|(count, _)| *count)
    };
    let refused = of(&statuses, "4xx")? + of(&statuses, "5xx")?;
    Some(Totals {
        answered: of(&statuses, "2xx")? + of(&statuses, "3xx")? + refused,
        refused,
        broken: of(&requests, "errored")? + of(&requests, "timeout")?,
        elapsed: Duration::try_from_secs_f64(elapsed).ok()?,
        latencies: None,
    })
}

/// `100 total, 90 done` as numbers and words.
fn counts(line: &str) -> Vec<(u64, &str)> {
    let count = |part| {
        let (number, word) = str::trim(part).split_once(' ')?;
        Some((number.parse().ok()?, word))
    };
    line.split(',').filter_map(count).collect()
}

/// User and system time in `/proc/PID/stat`.
pub(crate) fn cpu_time(stat: &str) -> Option<Duration> {
    // The program's name is in brackets and may hold anything; fields are counted from 3 behind it.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<_> = fields.split_whitespace().collect();
    let field = |at: usize| fields.get(at - 3)?.parse::<u64>().ok();
    Some(Duration::from_millis((field(14)? + field(15)?) * MILLIS_PER_TICK))
}

/// USER_HZ is 100 on every architecture that Portcullis runs on.
const MILLIS_PER_TICK: u64 = 10;

/// Bytes of memory in `/proc/PID/smaps_rollup`: a page that two processes share is half of each's.
pub(crate) fn memory(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

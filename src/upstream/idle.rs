//! How long idle connections to one endpoint may be used again, learned from what it does.
//!
//! Owns what was seen of one endpoint, for all workers: the idle times after which it closed a
//! connection, and what it says by `Keep-Alive: timeout=`. Only an end that was seen while nobody
//! used the connection counts: one that ends under a request may mean a crash. A client can't make
//! the time longer; one that reads slowly can't make it shorter either, since what its connection
//! does counts for nothing (see [`PROMPT`]). The lock is taken when something new was seen.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName};
use parking_lot::Mutex;

/// No connection idles longer than this.
pub(super) const LONGEST: Duration = Duration::from_secs(300);

/// From a response's head to its end, at most, where the connection is to be learned from: the
/// endpoint's own time begins somewhere between them.
pub(super) const PROMPT: Duration = Duration::from_millis(50);

/// While nothing is known: for requests that may not be sent twice. Shorter than any server's time.
const CAREFUL: Duration = Duration::from_millis(250);

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// What is known of one endpoint.
#[derive(Debug)]
pub(super) struct Learned {
    /// Microseconds for which an idle connection may be used again.
    limit: AtomicU64,
    /// The same for requests that may not be sent twice.
    careful: AtomicU64,
    /// Seconds that the endpoint says, plus one; 0 if it says nothing.
    said: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    /// Where it begins.
    initial: Duration,
    /// The last idle times; the next goes into the place of the oldest.
    ages: [Option<Duration>; 4],
    next: usize,
    said: Option<Duration>,
}

impl Learned {
    /// Nothing is known; it begins with `initial`.
    pub(super) fn new(initial: Duration) -> Self {
        let seen = Seen { initial, ages: [None; 4], next: 0, said: None };
        let (limit, careful) = seen.limits();
        Self {
            limit: AtomicU64::new(micros(limit)),
            careful: AtomicU64::new(micros(careful)),
            said: AtomicU64::new(0),
            seen: Mutex::new(seen),
        }
    }

    /// Forgets everything: another endpoint is meant.
    pub(super) fn forget(&self) {
        let mut seen = self.seen.lock();
        self.said.store(0, Ordering::Relaxed);
        *seen = Seen { ages: [None; 4], next: 0, said: None, ..*seen };
        self.show(&seen);
    }

    /// For how long an idle connection may be used again by a request that may be sent twice.
    pub(super) fn limit(&self) -> Duration {
        Duration::from_micros(self.limit.load(Ordering::Relaxed))
    }

    /// The same for any request.
    pub(super) fn limit_of(&self, repeatable: bool) -> Duration {
        match repeatable {
            true => self.limit(),
            false => Duration::from_micros(self.careful.load(Ordering::Relaxed)),
        }
    }

    /// The endpoint closed a connection that was still open at this idle time.
    pub(super) fn closed(&self, age: Duration) {
        let mut seen = self.seen.lock();
        seen.age(age);
        self.show(&seen);
    }

    /// We closed a connection that was open at this idle time: evidence, if it is for more.
    pub(super) fn stood(&self, age: Duration) {
        let mut seen = self.seen.lock();
        if safe(age) > seen.limits().0 {
            seen.age(age);
            self.show(&seen);
        }
    }

    /// What a response says of idle connections.
    pub(super) fn hear(&self, headers: &HeaderMap) {
        let said = headers.get_all(KEEP_ALIVE).iter().find_map(|line| timeout(line.as_bytes()));
        let code = said.map_or(0, |seconds| seconds.saturating_add(1));
        if self.said.load(Ordering::Relaxed) == code {
            return;
        }
        let mut seen = self.seen.lock();
        self.said.store(code, Ordering::Relaxed);
        seen.said = said.map(Duration::from_secs);
        self.show(&seen);
    }

    fn show(&self, seen: &Seen) {
        let (limit, careful) = seen.limits();
        self.limit.store(micros(limit), Ordering::Relaxed);
        self.careful.store(micros(careful), Ordering::Relaxed);
    }
}

impl Seen {
    fn age(&mut self, age: Duration) {
        let place = self.next % self.ages.len();
        if let Some(oldest) = self.ages.get_mut(place) {
            *oldest = Some(age);
        }
        self.next = place + 1;
    }

    /// For requests that may be sent twice, and for others.
    fn limits(&self) -> (Duration, Duration) {
        let known = self.ages.iter().copied().chain([self.said]).flatten().min();
        match known {
            Some(age) => (safe(age), safe(age)),
            None => (self.initial, self.initial.min(CAREFUL)),
        }
    }
}

/// How much of an idle time is used.
fn safe(age: Duration) -> Duration {
    age.min(LONGEST) * 7 / 10
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The seconds of `timeout=5, max=100` (draft-thomson-hybi-http-timeout-03 section 2).
fn timeout(line: &[u8]) -> Option<u64> {
    let mut parameters = line.split(|byte| *byte == b',');
    parameters.find_map(|parameter| {
        let (name, value) = std::str::from_utf8(parameter).ok()?.split_once('=')?;
        let seconds = value.trim().parse().ok()?;
        name.trim().eq_ignore_ascii_case("timeout").then_some(seconds)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn heard(learned: &Learned, line: &str) {
        let mut headers = HeaderMap::new();
        if !line.is_empty() {
            headers.insert(KEEP_ALIVE, line.parse().unwrap());
        }
        learned.hear(&headers);
    }

    #[test]
    fn the_shortest_of_the_last_four_rules() {
        let learned = Learned::new(MILLI * 1500);
        assert_eq!(learned.limit(), MILLI * 1500);
        assert_eq!(learned.limit_of(false), MILLI * 250);
        for (age, limit) in
            [(2000, 1400), (1900, 1330), (1000, 700), (5000, 700), (5000, 700), (5000, 700)]
        {
            learned.closed(MILLI * age);
            assert_eq!(learned.limit(), MILLI * limit);
            assert_eq!(learned.limit_of(false), MILLI * limit);
        }
        learned.closed(MILLI * 5000);
        assert_eq!(learned.limit(), MILLI * 3500, "the short one is forgotten");
        for _ in 0..4 {
            learned.closed(MILLI * 3_600_000);
        }
        assert_eq!(learned.limit(), MILLI * 210_000);
    }

    #[test]
    fn what_we_close_ourselves_counts_only_for_more() {
        let learned = Learned::new(MILLI * 1500);
        learned.stood(MILLI * 2000);
        assert_eq!(learned.limit(), MILLI * 1500);
        learned.stood(MILLI * 10_000);
        assert_eq!(learned.limit(), MILLI * 7000);
        learned.closed(MILLI * 10);
        learned.stood(MILLI * 9);
        assert_eq!(learned.limit(), MILLI * 7);
        // A restart is forgotten by and by, also where connections are never closed for their age.
        for age in [100, 200, 300, 400] {
            learned.stood(MILLI * age);
        }
        assert_eq!(learned.limit(), MILLI * 70);
    }

    #[test]
    fn the_endpoints_own_word_counts_like_what_it_did() {
        let learned = Learned::new(MILLI * 1500);
        heard(&learned, "timeout=75, max=100");
        assert_eq!(learned.limit_of(false), MILLI * 52_500);
        learned.closed(MILLI * 4000);
        assert_eq!(learned.limit(), MILLI * 2800);
        heard(&learned, "Timeout = 2");
        assert_eq!(learned.limit(), MILLI * 1400);
        heard(&learned, "timeout=0");
        assert_eq!(learned.limit(), Duration::ZERO);
        for nothing in ["", "max=5", "timeout=-1", "timeout", "timeout=99999999999999999999"] {
            heard(&learned, nothing);
            assert_eq!(learned.limit(), MILLI * 2800, "{nothing}");
        }
        learned.forget();
        assert_eq!(learned.limit_of(false), MILLI * 250);
        learned.closed(MILLI * 4000);
        heard(&learned, "timeout=18446744073709551615");
        assert_eq!(learned.limit(), MILLI * 2800);
    }
}

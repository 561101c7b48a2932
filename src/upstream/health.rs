//! What is believed of an endpoint, and when it is asked again.
//!
//! Owns two opinions that are held apart: what requests met (ejection, for a while that doubles) and
//! what active checks saw (down until they see better). Both are atomics of one cache line with the
//! requests in flight, since every choice of an endpoint reads them. Trusts nothing an endpoint
//! says about itself but that it answered. That the last endpoint is never ejected is the
//! upstream's to see to, which knows the others.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// When requests that fail eject an endpoint, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Eject {
    /// Failures in a row.
    pub after: u32,
    /// The first time; each ejection after that without a success between lasts twice as long.
    pub time: Duration,
}

impl Eject {
    /// For how long after so many ejections in a row.
    fn lasts(&self, before: u32) -> Duration {
        self.time.saturating_mul(1 << before.min(16)).min(LONGEST.max(self.time))
    }
}

/// How an endpoint is checked without a client's request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Check {
    /// What is asked for; an answer of 200 to 399 is a good one.
    pub path: String,
    /// The Host of the request; the endpoint's own if there is none.
    pub host: Option<String>,
    /// From one check to the next.
    pub interval: Duration,
    /// For connecting and the head of the answer, together.
    pub timeout: Duration,
    /// Failures in a row until it is down.
    pub fall: u32,
    /// Good answers in a row until it is up again.
    pub rise: u32,
}

/// Active checks have found it down.
const CHECKS: u8 = 1;

/// There is nobody: a name has fewer addresses.
const VACANT: u8 = 2;

/// No ejection lasts longer than this.
pub const LONGEST: Duration = Duration::from_secs(30);

/// What is believed of one endpoint.
#[derive(Debug, Default)]
pub struct Health {
    /// Until when it is ejected, in milliseconds of [`Times`]; 0 if it is not.
    ejected_until: AtomicU64,
    /// Requests that failed in a row.
    failures: AtomicU32,
    /// Ejections in a row.
    ejections: AtomicU32,
    /// Why it gets nothing beside that: a bit for each reason.
    down: AtomicU8,
    /// Checks in a row that say otherwise than `down` does.
    against: AtomicU32,
    /// Since when it is back, for a slow start; 0 if that is long ago.
    back_since: AtomicU64,
}

/// Milliseconds since an upstream was made: times that fit an atomic.
#[derive(Clone, Copy, Debug)]
pub struct Times(Instant);

impl Times {
    /// From now on.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Never 0, which stands for "not".
    pub(super) fn now(self) -> u64 {
        millis(self.0.elapsed()).saturating_add(1)
    }
}

/// As [`Times`] counts.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Health {
    /// Whether requests may be sent there.
    pub fn is_up(&self) -> bool {
        self.down.load(Ordering::Relaxed) == 0 && self.ejected_until.load(Ordering::Relaxed) == 0
    }

    /// Whether active checks have found it down.
    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed) & CHECKS != 0
    }

    /// There is nobody any more.
    pub(super) fn leave(&self) {
        self.down.store(VACANT, Ordering::Relaxed);
    }

    /// Somebody is there, of whom nothing is known; `since` begins a slow start, 0 begins none.
    pub(super) fn arrive(&self, since: u64) {
        for count in [&self.failures, &self.ejections, &self.against] {
            count.store(0, Ordering::Relaxed);
        }
        self.ejected_until.store(0, Ordering::Relaxed);
        self.back_since.store(since, Ordering::Relaxed);
        self.down.store(0, Ordering::Relaxed);
    }

    /// Whether requests that failed have ejected it.
    pub fn is_ejected(&self) -> bool {
        self.ejected_until.load(Ordering::Relaxed) != 0
    }

    /// An answer came. Cheap where nothing was wrong.
    pub(super) fn answered(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.ejections.store(0, Ordering::Relaxed);
        }
    }

    /// A request failed; true if that was one too many in a row.
    pub(super) fn failed(&self, eject: &Eject) -> bool {
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        before.saturating_add(1) >= eject.after && self.is_up()
    }

    /// Ejects it, for twice as long as the last time.
    pub(super) fn eject(&self, eject: &Eject, now: u64) -> Duration {
        let time = eject.lasts(self.ejections.fetch_add(1, Ordering::Relaxed));
        self.ejected_until.store(now.saturating_add(millis(time)), Ordering::Relaxed);
        time
    }

    /// Takes it back if its time is over: one more failure ejects it again. True if it is back.
    pub(super) fn take_back(&self, eject: Option<&Eject>, now: u64) -> bool {
        let until = self.ejected_until.load(Ordering::Relaxed);
        until != 0 && now >= until && self.back(until, eject, now)
    }

    /// Takes it back before its time, if it was ejected for as long as the first time.
    pub(super) fn recall(&self, eject: &Eject, now: u64) -> bool {
        let until = self.ejected_until.load(Ordering::Relaxed);
        let time = eject.lasts(self.ejections.load(Ordering::Relaxed).saturating_sub(1));
        let first = until.saturating_sub(millis(time)).saturating_add(millis(eject.time));
        until != 0 && now >= first && self.back(until, Some(eject), now)
    }

    fn back(&self, until: u64, eject: Option<&Eject>, now: u64) -> bool {
        self.failures.store(eject.map_or(0, |eject| eject.after - 1), Ordering::Relaxed);
        self.back_since.store(now, Ordering::Relaxed);
        let taken =
            self.ejected_until.compare_exchange(until, 0, Ordering::Relaxed, Ordering::Relaxed);
        taken.is_ok()
    }

    /// One active check's result; true if it changed what is believed.
    pub(super) fn checked(&self, good: bool, check: &Check, now: u64) -> bool {
        let down = self.is_down();
        if good != down {
            self.against.store(0, Ordering::Relaxed);
            return false;
        }
        let needed = if down { check.rise } else { check.fall };
        if self.against.fetch_add(1, Ordering::Relaxed) + 1 < needed {
            return false;
        }
        self.against.store(0, Ordering::Relaxed);
        if down {
            self.back_since.store(now, Ordering::Relaxed);
        }
        self.down.fetch_xor(CHECKS, Ordering::Relaxed);
        true
    }

    /// How much of its share it takes so shortly after it came back, in thousandths: from a tenth
    /// to the whole, evenly over `slow_start`.
    pub(super) fn share(&self, slow_start: Duration, now: impl FnOnce() -> u64) -> u64 {
        let since = self.back_since.load(Ordering::Relaxed);
        if since == 0 || slow_start.is_zero() {
            return WHOLE;
        }
        let whole = millis(slow_start).max(1);
        let past = now().saturating_sub(since);
        if past >= whole {
            self.back_since.store(0, Ordering::Relaxed);
            return WHOLE;
        }
        WHOLE / 10 + (WHOLE - WHOLE / 10) * past / whole
    }
}

/// A whole share, in thousandths.
pub(super) const WHOLE: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    const EJECT: Eject = Eject { after: 3, time: Duration::from_secs(1) };

    #[test]
    fn failures_in_a_row_eject_for_twice_as_long_each_time() {
        let health = Health::default();
        assert!(!health.failed(&EJECT) && !health.failed(&EJECT));
        health.answered();
        assert!(!health.failed(&EJECT) && !health.failed(&EJECT) && health.failed(&EJECT));
        let mut now = 7;
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(health.eject(&EJECT, now), Duration::from_secs(seconds));
            now += seconds * 1000;
            assert!(!health.is_up() && !health.take_back(Some(&EJECT), now - 1));
            assert!(health.take_back(Some(&EJECT), now) && health.is_up());
            assert!(!health.take_back(Some(&EJECT), now), "it is back already");
            assert!(health.failed(&EJECT), "one more is enough");
        }
        health.answered();
        assert!(!health.failed(&EJECT), "all is forgiven");
        assert_eq!(health.eject(&EJECT, now), Duration::from_secs(1));
    }

    #[test]
    fn while_nobody_else_is_up_no_ejection_lasts_longer_than_the_first() {
        let health = Health::default();
        assert!(!health.recall(&EJECT, 1_000_000), "it is not ejected");
        for (now, time) in [(1, 1), (1001, 2), (2001, 4), (3001, 8)] {
            assert_eq!(health.eject(&EJECT, now), Duration::from_secs(time));
            assert!(!health.recall(&EJECT, now + 999) && !health.is_up());
            assert!(health.recall(&EJECT, now + 1000) && health.is_up());
            assert!(health.failed(&Eject { after: 3, ..EJECT }), "one more is enough");
        }
    }

    #[test]
    fn checks_have_to_agree_before_they_are_believed() {
        let check = Check {
            path: "/".to_owned(),
            host: None,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            fall: 3,
            rise: 2,
        };
        let health = Health::default();
        let seen = |good| (health.checked(good, &check, 1), health.is_up());
        let unchanged = |up| (false, up);
        let bad = [false, false, true, false, false, false].map(seen);
        assert_eq!(bad[..5], [unchanged(true); 5]);
        assert_eq!(bad[5], (true, false));
        let good = [true, false, true, true].map(seen);
        assert_eq!(good[..3], [unchanged(false); 3]);
        assert_eq!(good[3], (true, true));
    }

    #[test]
    fn a_share_grows_after_an_ejection_and_is_whole_at_first() {
        let health = Health::default();
        let slow = Duration::from_secs(10);
        let share = |now| health.share(slow, || now);
        assert_eq!(share(1), WHOLE);
        health.eject(&EJECT, 1);
        assert!(health.take_back(Some(&EJECT), 2000));
        assert_eq!([2000, 6000, 10_000, 14_000].map(share), [100, 460, 820, WHOLE]);
        assert_eq!(share(2000), WHOLE, "that is over");
        health.eject(&EJECT, 1);
        assert!(health.take_back(Some(&EJECT), 9000));
        assert_eq!(health.share(Duration::ZERO, || 9000), WHOLE);
    }
}

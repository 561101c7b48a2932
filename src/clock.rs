//! Time: the wall clock that tokens and logs speak of, and the monotonic one that deadlines use.
//!
//! The only file that may ask the system for the time. Everything else is handed a [`Clock`], so a
//! test can set the wall clock (only time is faked in tests, never a socket).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of time, cheap to clone.
///
/// The monotonic side is real in both kinds: deadlines and sleeps belong to the runtime's timer.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    fixed: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// The system's clocks.
    pub fn system() -> Self {
        Self { fixed: None }
    }

    /// A wall clock that stands at `at` until [`Clock::set`] moves it.
    pub fn fixed(at: UnixTime) -> Self {
        Self { fixed: Some(Arc::new(AtomicU64::new(at.0))) }
    }

    /// Moves a fixed wall clock; without effect on the system's.
    pub fn set(&self, at: UnixTime) {
        if let Some(fixed) = &self.fixed {
            fixed.store(at.0, Ordering::Relaxed);
        }
    }

    /// The wall clock.
    pub fn wall(&self) -> UnixTime {
        match &self.fixed {
            Some(fixed) => UnixTime(fixed.load(Ordering::Relaxed)),
            None => UnixTime::system(),
        }
    }

    /// The monotonic clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
    pub fn now(&self) -> Instant {
        Instant::now()
    }
}

/// A point of the wall clock: milliseconds since 1970-01-01T00:00:00Z.
///
/// Milliseconds in a `u64` reach past the year 500,000,000; a system clock before 1970 reads as 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

impl UnixTime {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
    fn system() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// From whole seconds, as `exp` and its like count them.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// From milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Whole seconds, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// Milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Seconds with their fraction, the unit of logs and metrics.
    #[expect(clippy::cast_precision_loss, reason = "exact for the next 200,000 years")]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// This time plus `duration`, at most the end of time.
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl From<SystemTime> for UnixTime {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_clock_moves_only_when_set() {
        let clock = Clock::fixed(UnixTime::from_secs(100));
        assert_eq!(clock.wall().as_secs(), 100);
        clock.set(UnixTime::from_secs(160));
        assert_eq!(clock.wall().since(UnixTime::from_secs(100)), Duration::from_secs(60));
    }

    #[test]
    fn time_saturates_instead_of_wrapping() {
        let end = UnixTime::from_secs(u64::MAX).saturating_add(Duration::from_secs(1));
        assert_eq!(end.as_millis(), u64::MAX);
        assert_eq!(UnixTime::from_secs(1).since(UnixTime::from_secs(9)), Duration::ZERO);
    }
}

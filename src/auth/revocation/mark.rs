//! How far an entry of the list reaches: back to which tokens, and until when.

use std::time::Duration;

use super::{Kind, Revocation};
use crate::clock::UnixTime;

/// How far an entry reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) before: UnixTime,
    pub(super) until: UnixTime,
}

/// As far as the configuration lets an issuer's `leeway` go: a token counts that long after `exp`.
pub(super) const LONGEST_LEEWAY: Duration = Duration::from_secs(5 * 60);

/// No end.
pub(super) const FOREVER: UnixTime = UnixTime::from_millis(u64::MAX);

impl Mark {
    pub(super) fn of(one: &Revocation) -> Self {
        let before = match one.kind {
            Kind::Jti | Kind::Kid => FOREVER,
            Kind::Sub => one.before.unwrap_or(FOREVER),
        };
        Self { before, until: one.until.unwrap_or(FOREVER) }
    }

    /// Whether it still speaks of a token with this `exp`. One that lasts to `exp` covers the leeway
    /// behind it, whoever wrote it: else a revoked token would count again for its last seconds.
    pub(super) fn reaches(self, exp: Option<UnixTime>, now: UnixTime) -> bool {
        now < self.until || exp.is_some_and(|exp| exp <= self.until)
    }

    /// Whether no token is left that it could speak of.
    pub(super) fn is_over(self, now: UnixTime) -> bool {
        self.until.saturating_add(LONGEST_LEEWAY) <= now
    }

    pub(super) fn widened(self, other: Self) -> Self {
        Self { before: self.before.max(other.before), until: self.until.max(other.until) }
    }
}

//! Refused tokens, remembered for seconds: who sends one bad token again and again pays for one
//! public-key operation, not for each.
//!
//! Small and short, since it is the attacker who fills it. Only refusals that follow from the
//! token, the settings and the keys alone are kept, with the stamp of the keys that judged: an
//! expired token is cheap to refuse, one that is not yet valid becomes valid, and an unknown key
//! may be published any moment. A token refused by keys that have changed is verified anew, so that
//! nothing here can hold a good token back (attack J25).

use std::time::Duration;

use moka::sync::Cache;

use super::issuer::IssuerSet;
use super::refusal::Refusal;
use super::token_cache::CacheKey;
use crate::clock::UnixTime;

/// The refusals that all workers share.
#[derive(Debug)]
pub(super) struct RefusalCache {
    entries: Cache<CacheKey, Entry>,
    enabled: bool,
}

#[derive(Clone, Debug)]
struct Entry {
    refusal: Refusal,
    /// [`IssuerSet::keys_stamp`] when the token was refused.
    stamp: u64,
    until: UnixTime,
}

impl RefusalCache {
    pub(super) fn new(enabled: bool) -> Self {
        let capacity = if enabled { ENTRIES } else { 0 };
        let entries = Cache::builder().max_capacity(capacity).time_to_live(LIFE).build();
        Self { entries, enabled }
    }

    pub(super) fn find(&self, key: &CacheKey, set: &IssuerSet, now: UnixTime) -> Option<Refusal> {
        if !self.enabled {
            return None;
        }
        let entry = self.entries.get(key)?;
        let made = entry.until.since(now) <= LIFE;
        if made && now < entry.until && set.keys_stamp() == Some(entry.stamp) {
            return Some(entry.refusal);
        }
        self.entries.invalidate(key);
        None
    }

    /// `stamp`: of the keys before they were asked; none if they could not be.
    pub(super) fn remember(
        &self,
        key: CacheKey,
        stamp: Option<u64>,
        refusal: &Refusal,
        now: UnixTime,
    ) {
        let Some(stamp) = stamp else { return };
        if self.enabled && refusal.cause().is_lasting() {
            let until = now.saturating_add(LIFE);
            self.entries.insert(key, Entry { refusal: refusal.clone(), stamp, until });
        }
    }
}

#[cfg(test)]
impl RefusalCache {
    pub(super) fn settle(&self) {
        self.entries.run_pending_tasks();
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries.entry_count()
    }
}

/// About a megabyte.
const ENTRIES: u64 = 4096;
/// Long enough to spare a stubborn client's every other request, too short to be noticed by
/// whoever repairs an issuer.
const LIFE: Duration = Duration::from_secs(10);

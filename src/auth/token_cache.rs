//! Verified tokens, remembered: one cache for all workers, and a small one of each worker before it.
//!
//! Only success is remembered. The key is the SHA-256 of the whole token together with the route's
//! set of issuers: a prefix, or the token alone, let one route's verdict serve another (attack
//! J25). A hit counts only if, at that moment, the token's time has come and not gone, the very key
//! that verified it is still in its set, that set is the one the route uses now, and it is fresh
//! enough to trust. Whatever else is a miss, and the token is verified again from the start.

use std::sync::{Arc, Weak};
use std::time::Duration;

use aws_lc_rs::digest;
use moka::sync::Cache;
use parking_lot::Mutex;

use super::issuer::IssuerSet;
use super::principal::Principal;
use super::verify::Verified;
use crate::clock::UnixTime;
use crate::keys::{Key, KeySet};

/// The cache that all workers share. Bounded by entries; entries outlive neither `max_age` nor
/// their token.
#[derive(Debug)]
pub struct TokenCache {
    entries: Cache<CacheKey, Arc<Entry>>,
    max_age: Duration,
}

impl TokenCache {
    /// Room for `tokens` verified tokens, each kept for `max_age` at most; zero of either keeps
    /// none.
    pub fn new(tokens: u64, max_age: Duration) -> Self {
        let kept = if max_age.is_zero() { 0 } else { tokens };
        let entries =
            Cache::builder().max_capacity(kept).time_to_live(max_age.min(LONGEST_LIFE)).build();
        Self { entries, max_age: if kept == 0 { Duration::ZERO } else { max_age } }
    }

    /// Tokens in the cache, about.
    pub fn entries(&self) -> u64 {
        self.entries.entry_count()
    }

    pub(in crate::auth) fn find(
        &self,
        key: &CacheKey,
        set: &IssuerSet,
        now: UnixTime,
    ) -> Option<Arc<Entry>> {
        let entry = self.entries.get(key)?;
        if entry.counts(set, now) {
            return Some(entry);
        }
        self.entries.invalidate(key);
        None
    }

    /// Remembers a token just verified; gives what a worker's own cache may keep.
    pub(in crate::auth) fn remember(
        &self,
        key: CacheKey,
        verified: Verified,
        now: UnixTime,
    ) -> Option<Arc<Entry>> {
        if self.max_age.is_zero() {
            return None;
        }
        let until = now.saturating_add(self.max_age).min(verified.principal.expires());
        let entry = Arc::new(Entry {
            principal: verified.principal,
            key: verified.key,
            keys: verified.keys,
            from: verified.valid_from,
            until,
        });
        self.entries.insert(key, Arc::clone(&entry));
        Some(entry)
    }
}

/// One worker's own cache: no lock that another worker could hold, and no shared counter but the
/// entry's.
///
/// Four ways in 1024 sets: a thousand live tokens leave a set overfull about once in a thousand,
/// where a direct-mapped table of the same size would lose a fifth of them. 200 KiB a worker.
#[derive(Debug)]
pub struct LocalCache {
    sets: Mutex<Box<[[Option<Slot>; WAYS]]>>,
}

impl LocalCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self { sets: Mutex::new(empty_sets()) }
    }

    /// Forgets everything: for a worker that moves to another generation, so that principals of
    /// settings that are gone do not linger.
    pub fn clear(&self) {
        *self.sets.lock() = empty_sets();
    }

    pub(in crate::auth) fn find(
        &self,
        key: &CacheKey,
        set: &IssuerSet,
        now: UnixTime,
    ) -> Option<Arc<Entry>> {
        let mut sets = self.sets.lock();
        let ways = sets.get_mut(key.place())?;
        let place = ways.iter().position(|slot| slot.as_ref().is_some_and(|s| s.key == *key))?;
        let way = ways.get_mut(place)?;
        let entry = Arc::clone(&way.as_ref()?.entry);
        if !entry.counts(set, now) {
            *way = None;
            return None;
        }
        // The latest used stands first, so that the last is the one to lose its place.
        ways.get_mut(..=place)?.rotate_right(1);
        Some(entry)
    }

    pub(in crate::auth) fn remember(&self, key: CacheKey, entry: Arc<Entry>) {
        let mut sets = self.sets.lock();
        let Some(ways) = sets.get_mut(key.place()) else { return };
        let place = ways.iter().position(|slot| slot.as_ref().is_none_or(|s| s.key == key));
        let last = place.unwrap_or(WAYS - 1);
        if let Some(used) = ways.get_mut(..=last) {
            used.rotate_right(1);
        }
        if let Some(first) = ways.first_mut() {
            *first = Some(Slot { key, entry });
        }
    }
}

impl Default for LocalCache {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug)]
struct Slot {
    key: CacheKey,
    entry: Arc<Entry>,
}

/// What a verified token is remembered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::auth) struct CacheKey {
    token: [u8; digest::SHA256_OUTPUT_LEN],
    set: u64,
}

impl CacheKey {
    pub(in crate::auth) fn new(token: &str, set: &IssuerSet) -> Self {
        let mut hash = [0; digest::SHA256_OUTPUT_LEN];
        let digest = digest::digest(&digest::SHA256, token.as_bytes());
        for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self { token: hash, set: set.fingerprint() }
    }

    fn place(&self) -> usize {
        let [first, second, ..] = self.token;
        usize::from(u16::from_be_bytes([first, second])) % SETS
    }
}

/// A remembered token.
#[derive(Debug)]
pub(in crate::auth) struct Entry {
    principal: Arc<Principal>,
    key: Arc<Key>,
    keys: Weak<KeySet>,
    from: UnixTime,
    until: UnixTime,
}

impl Entry {
    pub(in crate::auth) fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// Whether the token, verified once, would be verified now.
    ///
    /// The weak pointer keeps the address of its set from being given to another, so that equal
    /// addresses mean the same set.
    fn counts(&self, set: &IssuerSet, now: UnixTime) -> bool {
        let Some(issuer) = set.find(self.principal.issuer_fingerprint()) else { return false };
        self.from <= now
            && now < self.until
            && !self.key.is_retired()
            && Weak::as_ptr(&self.keys) == Arc::as_ptr(issuer.keys())
            && issuer.keys().usable()
    }
}

fn empty_sets() -> Box<[[Option<Slot>; WAYS]]> {
    (0..SETS).map(|_| [const { None }; WAYS]).collect()
}

/// Below four, busy sets thrash; above, a miss compares more for nothing.
const WAYS: usize = 4;
/// A power of two, so that the hash spreads evenly.
const SETS: usize = 1024;
/// What moka is told at most: it panics beyond a thousand years, and no token needs that long.
const LONGEST_LIFE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

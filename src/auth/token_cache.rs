//! Verified tokens, remembered: one cache for all workers, and a small one of each worker before it.
//!
//! The key is the SHA-256 of the whole token together with the route's set of issuers: a prefix, or
//! the token alone, let one route's verdict serve another (attack J25). A hit counts only if, at
//! that moment, the token's time has come and not gone, the very key that verified it is still in
//! its set, that set is the one the route uses now, and it is fresh enough to trust. Whatever else
//! is a miss, and the token is verified again from the start.
//!
//! No token is kept, only its hash and what was read out of it: a dump of this process's caches
//! holds nothing that could be sent again.

use std::sync::{Arc, Weak};
use std::time::Duration;

use aws_lc_rs::digest;
use moka::sync::Cache;
use parking_lot::Mutex;

use super::issuer::IssuerSet;
use super::principal::Principal;
use super::refusal::Refusal;
use super::refusal_cache::RefusalCache;
use super::verify::Verified;
use crate::clock::UnixTime;
use crate::keys::{Key, KeySet};

/// The cache that all workers share. Bounded by entries and by bytes; entries outlive neither
/// `max_age` nor their token.
#[derive(Debug)]
pub struct TokenCache {
    entries: Cache<CacheKey, Arc<Entry>>,
    refusals: RefusalCache,
    max_age: Duration,
}

impl TokenCache {
    /// Room for `tokens` verified tokens in `bytes` of memory, each kept for `max_age` at most;
    /// zero of any keeps none, and no refusals either.
    pub fn new(tokens: u64, bytes: u64, max_age: Duration) -> Self {
        let kept = if max_age.is_zero() || bytes == 0 { 0 } else { tokens };
        // moka bounds one sum. An entry weighs its bytes but never less than its share of them all,
        // so that no more than `tokens` fit either.
        let room = bytes.min(kept.saturating_mul(u64::from(u32::MAX)));
        let share = u32::try_from(room.checked_div(kept).unwrap_or(0)).unwrap_or(u32::MAX);
        let entries = Cache::builder()
            .max_capacity(room)
            .weigher(move |_: &CacheKey, entry: &Arc<Entry>| entry.weight.max(share).max(1))
            .time_to_live(max_age.min(LONGEST_LIFE))
            .build();
        Self {
            entries,
            refusals: RefusalCache::new(kept > 0),
            max_age: if kept == 0 { Duration::ZERO } else { max_age },
        }
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

    /// The refusal of this very token, moments ago, by the keys that count now.
    pub(in crate::auth) fn refusal(
        &self,
        key: &CacheKey,
        set: &IssuerSet,
        now: UnixTime,
    ) -> Option<Refusal> {
        self.refusals.find(key, set, now)
    }

    /// Remembers a refusal, if it is one that only other keys could change. `stamp` is that of the
    /// keys *before* the token was looked at.
    pub(in crate::auth) fn remember_refusal(
        &self,
        key: CacheKey,
        stamp: Option<u64>,
        refusal: &Refusal,
        now: UnixTime,
    ) {
        self.refusals.remember(key, stamp, refusal, now);
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
            weight: weight(&verified.principal),
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

#[cfg(test)]
impl TokenCache {
    /// Lets moka do at once what it does from time to time.
    pub(in crate::auth) fn settle(&self) {
        self.entries.run_pending_tasks();
        self.refusals.settle();
    }

    /// How many refusals are kept.
    pub(in crate::auth) fn refusals(&self) -> u64 {
        self.refusals.entries()
    }
}

/// One worker's own cache: no lock that another worker could hold, and no shared counter but the
/// entry's.
///
/// Four ways in 1024 sets: a thousand live tokens leave a set overfull about once in a thousand,
/// where a direct-mapped table of the same size would lose a fifth of them. 200 KiB a worker, and
/// what only it still holds of the entries: those above 16 KiB are left to the shared cache, so that
/// this is 64 MiB at the very most.
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
        if entry.weight > HEAVIEST_LOCAL {
            return;
        }
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
    /// In bytes, about.
    weight: u32,
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

#[cfg(test)]
impl Entry {
    /// Every text it holds; a new field has to be thought of here.
    pub(in crate::auth) fn texts(&self) -> Vec<String> {
        let Self { principal, key: _, keys: _, from: _, until: _, weight: _ } = self;
        principal.texts()
    }

    pub(in crate::auth) fn weight(&self) -> u32 {
        self.weight
    }
}

fn empty_sets() -> Box<[[Option<Slot>; WAYS]]> {
    (0..SETS).map(|_| [const { None }; WAYS]).collect()
}

/// The bytes that an entry holds, about: what moka keeps beside it included.
fn weight(principal: &Principal) -> u32 {
    u32::try_from(principal.bytes().saturating_add(ENTRY_BYTES)).unwrap_or(u32::MAX)
}

/// What an entry takes without its principal: itself, its key, and moka's own records of it.
const ENTRY_BYTES: usize = 400;
/// The heaviest entry that a worker's own cache takes.
const HEAVIEST_LOCAL: u32 = 16 * 1024;
/// Below four, busy sets thrash; above, a miss compares more for nothing.
const WAYS: usize = 4;
/// A power of two, so that the hash spreads evenly.
const SETS: usize = 1024;
/// What moka is told at most, a year: it panics beyond a thousand, and no token needs that long.
const LONGEST_LIFE: Duration = Duration::from_secs(31_536_000);

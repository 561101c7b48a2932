//! The live keys of one issuer: what request paths look keys up in.
//!
//! Owns which keys count now, and who may wait for newer ones. Trusts the keys it is given (`jwk`
//! and `jwks` checked them); refuses every key once the last good fetch is older than `stale_for`.
//! Nothing a client sends can remove a key, and nothing it sends makes more fetches than the
//! cool-down allows.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use super::fetch::FetchError;
use super::jwks::{Parsed, Skipped};
use super::refresher::{self, Joined, Remote};
use super::source::{RefreshSettings, Source, SourceError};
use super::{Algorithm, Key};
use crate::clock::{Clock, UnixTime};
use crate::telemetry::metrics::Metrics;

/// How many keys a token without `kid` is tried with.
pub const MAX_CANDIDATES: usize = 8;

/// What a look-up found.
#[derive(Clone, Debug)]
pub enum Found {
    /// One to [`MAX_CANDIDATES`] keys to try.
    ///
    /// With a known `kid` these are the keys of that id even if none allows the algorithm: ask
    /// [`Key::allows`] to tell a refused algorithm from a bad signature.
    Keys(Vec<Arc<Key>>),
    /// None are known, or they are older than `stale_for`: no verdict on the token is possible.
    Unavailable,
    /// No key fits: [`KeySet::candidates_after_refetch`] may know more, once.
    UnknownKid,
}

/// The live key set of one issuer, shared by all workers.
///
/// # Concurrency
/// Readers take one atomic load of the deadline and one of the keys; they never wait for a fetch
/// unless they ask to. A refresh publishes the new keys first, marks the removed ones retired
/// next, and moves the deadline last. So a reader may still verify with a key that is being
/// removed; its result is refused as soon as it is used again, because whoever keeps it asks
/// [`Key::is_retired`]. A key that returns after its removal is a new [`Key`]: what was verified
/// with the old one stays refused.
pub struct KeySet {
    keys: ArcSwap<Vec<Arc<Key>>>,
    /// Milliseconds of the wall clock; the keys count before it. The end of time for fixed keys.
    good_until: AtomicU64,
    remote: Option<Remote>,
    started: AtomicBool,
    /// Of a set that never changes: the keys in it that may not be used.
    unused: Vec<Skipped>,
    /// [`KeySet::version`].
    version: AtomicU64,
}

/// The last version given to any set.
static VERSIONS: AtomicU64 = AtomicU64::new(0);

fn next_version() -> u64 {
    VERSIONS.fetch_add(1, Ordering::Relaxed)
}

const FOREVER: u64 = u64::MAX;

impl KeySet {
    /// A set that never changes: keys written in the configuration.
    pub fn fixed(keys: Vec<Key>) -> Arc<Self> {
        Self::written(Parsed { keys, ..Parsed::default() })
    }

    /// A set that never changes, some of whose keys may not be used.
    pub fn written(parsed: Parsed) -> Arc<Self> {
        Arc::new(Self {
            keys: ArcSwap::from_pointee(parsed.keys.into_iter().map(Arc::new).collect()),
            good_until: AtomicU64::new(FOREVER),
            remote: None,
            started: AtomicBool::new(true),
            unused: parsed.skipped,
            version: AtomicU64::new(next_version()),
        })
    }

    /// A set that is fetched from `source`; until [`KeySet::start`] has done so once it holds what
    /// an earlier process kept, or nothing.
    ///
    /// `issuer` is its name in metrics and logs.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn remote(
        source: Source,
        settings: RefreshSettings,
        clock: Clock,
        metrics: Arc<Metrics>,
        issuer: &str,
    ) -> Result<Arc<Self>, SourceError> {
        let set = Self {
            keys: ArcSwap::from_pointee(Vec::new()),
            good_until: AtomicU64::new(0),
            remote: Some(Remote::new(source, settings, clock, metrics, issuer)?),
            started: AtomicBool::new(false),
            unused: Vec::new(),
            version: AtomicU64::new(next_version()),
        };
        if let Some(remote) = &set.remote {
            remote.recall(&set);
        }
        Ok(Arc::new(set))
    }

    /// With keys that loading has read already, from the files that are watched from now on.
    #[must_use]
    pub fn holding(self: Arc<Self>, parsed: Parsed) -> Arc<Self> {
        if let Some(remote) = &self.remote {
            remote.hold(&self, parsed);
        }
        self
    }

    /// Starts fetching on `control`, at once and then for as long as the set exists. Starting it
    /// again, or a fixed set, does nothing.
    pub fn start(self: &Arc<Self>, control: &Handle) {
        if let Some(remote) = &self.remote
            && !self.started.swap(true, Ordering::Relaxed)
        {
            control.spawn(refresher::run(Arc::downgrade(self), remote.wake(), remote.fetcher()));
        }
    }

    /// Another set takes this one's place: what this one fetches from now on is no longer kept.
    pub fn stop_keeping(&self) {
        if let Some(remote) = &self.remote {
            remote.stop_keeping();
        }
    }

    /// The keys to try for a token of this `kid` and algorithm, without waiting.
    ///
    /// A `kid` is matched exactly. Only where no key of the set has one, keys are tried whatever
    /// the token says: there is nothing to tell them apart by.
    pub fn candidates(&self, kid: Option<&str>, algorithm: Algorithm) -> Found {
        if !self.usable() {
            return Found::Unavailable;
        }
        let keys = self.keys.load();
        let fitting = |key: &&Arc<Key>| key.allows(algorithm);
        let any_named = keys.iter().any(|key| key.kid().is_some());
        let found: Vec<Arc<Key>> = match kid {
            Some(kid) if any_named => {
                let named = || keys.iter().filter(|key| key.kid() == Some(kid));
                match named().find(fitting).or_else(|| named().next()) {
                    Some(key) => vec![Arc::clone(key)],
                    None => Vec::new(),
                }
            }
            Some(_) | None => keys.iter().filter(fitting).take(MAX_CANDIDATES).cloned().collect(),
        };
        if found.is_empty() { Found::UnknownKid } else { Found::Keys(found) }
    }

    /// After [`Found::UnknownKid`]: joins the fetch that is under way, or the one that this call
    /// makes happen if the cool-down allows, and looks once more.
    ///
    /// Waits at most the settings' `wait`; at most 64 others wait beside a first one, all further
    /// ones and those whose wait ends too early are told [`Found::Unavailable`], as are all while
    /// the last fetch failed: a client must not lose a good session over our trouble.
    /// `UnknownKid` is the issuer's own, fresh word.
    ///
    /// # Concurrency
    /// A fetch that is already under way is joined even if the issuer sent its answer before it
    /// rotated: such a token is refused until the cool-down is over. Waiting needs a timer in the
    /// caller's runtime; the fetch itself runs on the control runtime, and goes on if the caller
    /// is dropped.
    pub async fn candidates_after_refetch(&self, kid: Option<&str>, algorithm: Algorithm) -> Found {
        let found = self.candidates(kid, algorithm);
        let Some(remote) = &self.remote else { return found };
        if !matches!(found, Found::UnknownKid) {
            return found;
        }
        remote.count_unknown_kid();
        match remote.join().await {
            Joined::Failed | Joined::NotWaited => match self.candidates(kid, algorithm) {
                Found::UnknownKid => Found::Unavailable,
                found => found,
            },
            Joined::Fresh => self.candidates(kid, algorithm),
        }
    }

    /// Whether the keys may be trusted now; asked on every token-cache hit too.
    pub fn usable(&self) -> bool {
        let until = self.good_until.load(Ordering::Acquire);
        until == FOREVER
            || self.remote.as_ref().is_some_and(|remote| remote.now().as_millis() < until)
    }

    /// A number that no other set has and that moves whenever the keys are replaced.
    ///
    /// # Concurrency
    /// Moved after the keys: who reads it *before* looking keys up may get an old version with new
    /// keys, never a new version with old ones.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Whether the first fetch is still to end, well or not.
    pub fn is_awaited(&self) -> bool {
        !self.usable()
            && self.remote.as_ref().is_some_and(|remote| remote.status().last_error.is_none())
    }

    /// What the admin address shows.
    pub fn status(&self) -> KeySetStatus {
        let keys = self.keys.load().iter().map(Arc::clone).collect();
        let remote = self.remote.as_ref().map(Remote::status);
        let freshness = match &remote {
            _ if !self.usable() => Freshness::Unavailable,
            None => Freshness::Fixed,
            Some(remote) if remote.kept => Freshness::Disk,
            Some(remote) if remote.last_error.is_some() => Freshness::Stale,
            Some(_) => Freshness::Fresh,
        };
        KeySetStatus { keys, freshness, unused: self.unused.clone(), remote }
    }

    pub(super) fn remote_part(&self) -> Option<&Remote> {
        self.remote.as_ref()
    }

    /// Replaces the keys. Those that are the same again stay, so that what was verified with them
    /// stays valid; those that are gone are retired.
    pub(super) fn install(&self, keys: Vec<Key>, good_until: Option<UnixTime>) -> Change {
        let old = self.keys.load_full();
        let new: Vec<Arc<Key>> = keys
            .into_iter()
            .map(|key| match old.iter().find(|known| known.is_same(&key)) {
                Some(known) => Arc::clone(known),
                None => Arc::new(key),
            })
            .collect();
        let kept = new.iter().filter(|key| old.iter().any(|known| Arc::ptr_eq(known, key))).count();
        let gone: Vec<_> =
            old.iter().filter(|key| !new.iter().any(|kept| Arc::ptr_eq(kept, key))).collect();
        let change = Change { total: new.len(), added: new.len() - kept, removed: gone.len() };
        self.keys.store(Arc::new(new));
        if change.added > 0 || change.removed > 0 {
            self.version.store(next_version(), Ordering::Release);
        }
        for key in gone {
            key.retire();
        }
        self.keep_until(good_until);
        change
    }

    /// The keys were confirmed: they count longer; until further notice, if there is no limit.
    pub(super) fn keep_until(&self, good_until: Option<UnixTime>) {
        let until = good_until.map_or(FOREVER, |until| until.as_millis().min(FOREVER - 1));
        self.good_until.store(until, Ordering::Release);
    }

    /// Sets a limit to keys that have none so far.
    ///
    /// # Concurrency
    /// Only the refresher moves the deadline, and it does one thing after the other.
    pub(super) fn keep_at_most_until(&self, until: UnixTime) {
        if self.good_until.load(Ordering::Acquire) == FOREVER {
            self.keep_until(Some(until));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.load().len()
    }
}

/// What a refresh changed, in keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) total: usize,
    pub(super) added: usize,
    pub(super) removed: usize,
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet")
            .field("keys", &*self.keys.load())
            .field("usable", &self.usable())
            .finish_non_exhaustive()
    }
}

impl Drop for KeySet {
    /// Lets the refresher see that nobody needs it any more.
    fn drop(&mut self) {
        if let Some(remote) = &self.remote {
            remote.wake().notify_one();
        }
    }
}

/// A key set as the admin address shows it.
#[derive(Debug)]
pub struct KeySetStatus {
    /// The keys that count, or would if they were not too old.
    pub keys: Vec<Arc<Key>>,
    /// How far they may be trusted.
    pub freshness: Freshness,
    /// Of a set in the configuration: the keys in it that may not be used.
    pub unused: Vec<Skipped>,
    /// How fetching goes; none for keys of the configuration.
    pub remote: Option<RemoteStatus>,
}

/// How far the keys of a set may be trusted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Kept from an earlier process, until the first fetch is good.
    Disk,
    /// Written in the configuration.
    Fixed,
    /// The last fetch, or the last look at the files, was good.
    Fresh,
    /// It failed; the keys before it go on for `stale_for`.
    Stale,
    /// There are none, or they are too old.
    Unavailable,
}

impl Freshness {
    /// The word on the admin address.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Fixed => "fixed",
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Unavailable => "unavailable",
        }
    }
}

/// How the fetching of a key set goes.
#[derive(Clone, Debug)]
pub struct RemoteStatus {
    /// Whether the keys are an earlier process's.
    pub kept: bool,
    /// Why the last fetch failed, if it did.
    pub last_error: Option<Arc<FetchError>>,
    /// How long ago keys were last read or confirmed.
    pub age: Option<Duration>,
    /// When keys were last read or confirmed.
    pub last_success: Option<UnixTime>,
    /// When the next fetch is due; none while one is under way, before the first, and for files.
    pub next_refresh: Option<UnixTime>,
    /// Entries of the issuer's set that are not used.
    pub skipped: Vec<Skipped>,
}

//! Tokens that verify and count no more: revoked by id, by subject before a time, or by key.
//!
//! Owns the list, one for the process, by the issuer's configured name. Every request that brings a
//! token asks it, one with a cached verdict as well (attack J26), so that asking takes no lock: the
//! entries stand in immutable maps that writers replace, and while nothing of a kind is revoked,
//! its maps are not looked at. Trusts whoever writes: the operator's file, the admin address' unix
//! socket, and a logout that `gateway` has seen and verified. Bounded: what is full refuses, since
//! to drop an older entry would let its token in again.

mod line;
mod mark;

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{Notify, watch};

use super::claims::numeric_date;
use super::principal::Principal;
use super::refusal::Cause;
use crate::clock::UnixTime;
use crate::telemetry::labels::RevocationKind as Kind;

pub use line::{LineError, LinesError, parse_lines};
use mark::{FOREVER, Mark};

/// Entries at most. A gateway that revokes by subject has one for each user that signed out within
/// the life of a refresh token; as many of the longest ones take some 100 MiB.
pub const MAX_ENTRIES: usize = 100_000;

/// Bytes of the longest id, subject or key id that can be revoked.
pub const MAX_VALUE: usize = 1024;

/// One thing that is revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The issuer's name in the configuration.
    pub issuer: String,
    /// What is named.
    pub kind: Kind,
    /// The `jti`, the subject (in the claim that the issuer's settings name), or the key's `kid`
    /// (of a key without one, its thumbprint).
    pub value: String,
    /// For subjects: tokens with an `iat` up to this are revoked, and tokens without `iat`.
    pub before: Option<UnixTime>,
    /// When the entry may be forgotten; `None` keeps it until it is taken back. Of a token whose
    /// `exp` is not later, it says so to the end of the issuer's leeway.
    pub until: Option<UnixTime>,
}

/// Who said so. What the file says ends with its line; what was told stays until its time is over
/// or it is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The operator's file.
    File,
    /// The admin address, or a logout.
    Told,
}

/// The list is full: nothing was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the list of revocations is full ({MAX_ENTRIES} entries)")
    }
}

impl std::error::Error for Full {}

/// Everything that is revoked.
///
/// # Concurrency
/// Readers load one counter a kind, and only if it is not zero the map of the value's shard.
/// Writers take a lock of their own, copy the shards they change and store them: a request that
/// begins after a write returned sees it.
#[derive(Debug)]
pub struct Revocations {
    shards: Box<[ArcSwap<Shard>]>,
    hasher: RandomState,
    counts: [AtomicUsize; Kind::ALL.len()],
    writing: Mutex<()>,
    /// Rung at each write, for whoever saves and announces it.
    written: Notify,
    version: AtomicU64,
    /// The last version that was saved, or given up.
    saved: watch::Sender<Saved>,
    changes: watch::Sender<()>,
}

/// How far what was told is on disk.
#[derive(Clone, Copy, Debug, Default)]
struct Saved {
    version: u64,
    is_kept: bool,
}

/// By value; of one value there are few entries.
type Shard = HashMap<Box<str>, Vec<Entry>>;

#[derive(Clone, Debug)]
struct Entry {
    issuer: Arc<str>,
    kind: Kind,
    file: Option<Mark>,
    told: Option<Mark>,
}

/// A write copies one shard: some 1500 entries when the list is full.
const SHARDS: usize = 64;

impl Revocations {
    /// An empty list.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            shards: (0..SHARDS).map(|_| ArcSwap::default()).collect(),
            hasher: RandomState::new(),
            counts: [const { AtomicUsize::new(0) }; Kind::ALL.len()],
            writing: Mutex::new(()),
            written: Notify::new(),
            version: AtomicU64::new(0),
            saved: watch::Sender::new(Saved::default()),
            changes: watch::Sender::new(()),
        })
    }

    /// Whether the principal's token still counts.
    pub fn check(&self, principal: &Principal, now: UnixTime) -> Result<(), Cause> {
        match self.find(principal, now) {
            None => Ok(()),
            Some(Kind::Jti) => Err(Cause::JtiRevoked),
            Some(Kind::Kid) => Err(Cause::KidRevoked),
            Some(Kind::Sub) => Err(Cause::SubjectRevoked),
        }
    }

    /// Whether the principal's token is revoked: for streams that its request began.
    pub fn is_revoked(&self, principal: &Principal, now: UnixTime) -> bool {
        self.find(principal, now).is_some()
    }

    fn find(&self, principal: &Principal, now: UnixTime) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|&kind| {
            if self.count(kind) == 0 {
                return false;
            }
            let value = match kind {
                Kind::Jti => principal.jti(),
                Kind::Kid => principal.key().kid().or_else(|| principal.key().thumbprint()),
                Kind::Sub => principal.subject(),
            };
            value.is_some_and(|value| self.covers(kind, value, principal, now))
        })
    }

    fn covers(&self, kind: Kind, value: &str, principal: &Principal, now: UnixTime) -> bool {
        let Some(shard) = self.shard(value) else { return false };
        let shard = shard.load();
        let Some(entries) = shard.get(value) else { return false };
        // A watermark speaks of tokens by their age: one that hides its age is old.
        let iat = principal.claims().raw("iat").and_then(numeric_date).map(UnixTime::from_secs);
        let exp = principal.claims().raw("exp").and_then(numeric_date).map(UnixTime::from_secs);
        let reaches = |mark: Mark| mark.reaches(exp, now) && iat.is_none_or(|at| at <= mark.before);
        entries
            .iter()
            .filter(|entry| entry.kind == kind && *entry.issuer == **principal.issuer_name())
            .any(|entry| entry.marks().any(reaches))
    }

    fn shard(&self, value: &str) -> Option<&ArcSwap<Shard>> {
        self.shards.get(self.place(value))
    }

    fn place(&self, value: &str) -> usize {
        usize::try_from(self.hasher.hash_one(value) % (SHARDS as u64)).unwrap_or_default()
    }

    /// Entries of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.counts.get(kind as usize).map_or(0, |count| count.load(Ordering::Acquire))
    }

    fn total(&self) -> usize {
        Kind::ALL.iter().map(|&kind| self.count(kind)).sum()
    }
}

// === writing ===

impl Revocations {
    /// Revokes all of it, or nothing. An entry that is there already is widened, never narrowed.
    ///
    /// # Errors
    /// There is no room, also without what is over at `now`.
    pub fn revoke(&self, list: &[Revocation], now: UnixTime) -> Result<(), Full> {
        let writing = self.writing.lock();
        let new = || list.iter().filter(|one| !self.knows(one)).count();
        self.make_room(now, || self.total() + new() <= MAX_ENTRIES)?;
        self.put(list, Source::Told);
        drop(writing);
        self.wrote();
        Ok(())
    }

    /// Takes back what was told of these; how many there were. What the file says stays.
    pub fn take_back(&self, list: &[Revocation]) -> usize {
        let writing = self.writing.lock();
        let mut taken = 0;
        self.change(list, |_, entry| taken += usize::from(entry.told.take().is_some()));
        drop(writing);
        self.wrote();
        taken
    }

    /// Makes `list` all that the file says. What it said before counts until that is in force: a
    /// token that is revoked before and after is revoked at every moment between.
    ///
    /// # Errors
    /// There is no room: what the file said before stays.
    pub fn replace_file(&self, list: &[Revocation], now: UnixTime) -> Result<(), Full> {
        let writing = self.writing.lock();
        let said = Said::of(list);
        self.make_room(now, || said.0.len() + self.told_besides(&said) <= MAX_ENTRIES)?;
        self.put(list, Source::File);
        for shard in &self.shards {
            self.retain(shard, |value, entry| {
                entry.file = said.find(value, entry);
                entry.marks().next().is_some()
            });
        }
        drop(writing);
        self.wrote();
        Ok(())
    }

    /// Entries that were told and that the file does not have.
    fn told_besides(&self, said: &Said<'_>) -> usize {
        let count = |shard: &ArcSwap<Shard>| {
            let shard = shard.load();
            let entries = shard.iter().flat_map(|(value, all)| all.iter().map(move |e| (value, e)));
            entries.filter(|(value, e)| e.told.is_some() && said.find(value, e).is_none()).count()
        };
        self.shards.iter().map(count).sum()
    }

    /// Forgets what is over.
    pub fn purge(&self, now: UnixTime) {
        let _writing = self.writing.lock();
        self.purge_locked(now);
    }

    fn purge_locked(&self, now: UnixTime) {
        for shard in &self.shards {
            let over = |entry: &Entry| entry.marks().any(|mark| mark.is_over(now));
            if shard.load().values().flatten().any(over) {
                self.retain(shard, |_, entry| {
                    entry.file = entry.file.filter(|mark| !mark.is_over(now));
                    entry.told = entry.told.filter(|mark| !mark.is_over(now));
                    entry.marks().next().is_some()
                });
            }
        }
    }

    fn wrote(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
        self.written.notify_one();
    }

    fn make_room(&self, now: UnixTime, fits: impl Fn() -> bool) -> Result<(), Full> {
        if fits() {
            return Ok(());
        }
        self.purge_locked(now);
        if fits() { Ok(()) } else { Err(Full) }
    }

    fn knows(&self, one: &Revocation) -> bool {
        let shard = self.shard(&one.value).map(ArcSwap::load);
        let entries = shard.as_ref().and_then(|shard| shard.get(one.value.as_str()));
        entries.is_some_and(|entries| entries.iter().any(|entry| entry.is_of(one)))
    }

    fn put(&self, list: &[Revocation], source: Source) {
        self.change(list, |one, entry| {
            let mark = Mark::of(one);
            let place = match source {
                Source::File => &mut entry.file,
                Source::Told => &mut entry.told,
            };
            *place = Some(place.map_or(mark, |old| old.widened(mark)));
        });
    }

    /// Changes the entries of `list`, new ones where there are none; one without a mark goes. A
    /// shard is copied once, however many of its entries change.
    fn change(&self, list: &[Revocation], mut change: impl FnMut(&Revocation, &mut Entry)) {
        let mut by_shard: HashMap<usize, Vec<&Revocation>> = HashMap::new();
        for one in list {
            by_shard.entry(self.place(&one.value)).or_default().push(one);
        }
        for (place, list) in by_shard {
            let Some(shard) = self.shards.get(place) else { continue };
            let mut next = Shard::clone(&shard.load());
            for one in list {
                let entries = next.entry(one.value.as_str().into()).or_default();
                let known = entries.iter().position(|entry| entry.is_of(one));
                let mut entry = match known {
                    Some(at) => entries.swap_remove(at),
                    None => Entry::new(one),
                };
                change(one, &mut entry);
                let is_kept = entry.marks().next().is_some();
                if is_kept {
                    entries.push(entry);
                } else if entries.is_empty() {
                    next.remove(one.value.as_str());
                }
                match (known.is_some(), is_kept) {
                    (false, true) => self.add(one.kind),
                    (true, false) => self.subtract(one.kind),
                    (true, true) | (false, false) => {}
                }
            }
            shard.store(Arc::new(next));
        }
    }

    fn retain(&self, shard: &ArcSwap<Shard>, mut keep: impl FnMut(&str, &mut Entry) -> bool) {
        let mut next = Shard::clone(&shard.load());
        next.retain(|value, entries| {
            entries.retain_mut(|entry| {
                let kept = keep(value, entry);
                if !kept {
                    self.subtract(entry.kind);
                }
                kept
            });
            !entries.is_empty()
        });
        shard.store(Arc::new(next));
    }

    /// Before the map is stored: a reader that meets the new map meets the new count, too.
    fn add(&self, kind: Kind) {
        if let Some(count) = self.counts.get(kind as usize) {
            count.fetch_add(1, Ordering::Release);
        }
    }

    fn subtract(&self, kind: Kind) {
        if let Some(count) = self.counts.get(kind as usize) {
            count.fetch_sub(1, Ordering::Release);
        }
    }
}

// === telling ===

impl Revocations {
    /// Every entry with who said it, at most `limit` of them.
    pub fn list(&self, limit: usize) -> Vec<(Revocation, Source)> {
        let mut list = Vec::new();
        for shard in &self.shards {
            for (value, entries) in &**shard.load() {
                for entry in entries {
                    list.extend(entry.written(value));
                    if list.len() >= limit {
                        list.truncate(limit);
                        return list;
                    }
                }
            }
        }
        list
    }

    /// What was told, to be kept over a restart: one JSON object a line, as [`parse_lines`] reads.
    pub fn told(&self) -> String {
        let told = self.list(usize::MAX).into_iter().filter(|(_, source)| *source == Source::Told);
        told.map(|(one, _)| format!("{}\n", Value::Object(one.to_json()))).collect()
    }

    /// Waits for the next write, one that nobody waited for included.
    pub async fn written(&self) {
        self.written.notified().await;
    }

    /// The number of writes so far.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What was told up to `version` is on disk, or can't be.
    pub fn saved(&self, version: u64, is_kept: bool) {
        self.saved.send_replace(Saved { version, is_kept });
    }

    /// Waits until all that has been told by now is on disk; false if it is not, since nothing is
    /// kept there or it could not be written.
    pub async fn kept(&self) -> bool {
        let (version, mut saved) = (self.version(), self.saved.subscribe());
        let reached = saved.wait_for(|saved| saved.version >= version).await;
        reached.is_ok_and(|saved| saved.is_kept)
    }

    /// Wakes every stream that listens; apart from the writes, so that a thousand of them in a row
    /// wake each stream a few times only.
    pub fn announce(&self) {
        self.changes.send_replace(());
    }

    /// For a stream: changes at every [`Self::announce`].
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

impl Entry {
    fn new(one: &Revocation) -> Self {
        Self { issuer: Arc::from(one.issuer.as_str()), kind: one.kind, file: None, told: None }
    }

    fn is_of(&self, one: &Revocation) -> bool {
        self.kind == one.kind && *self.issuer == *one.issuer
    }

    fn marks(&self) -> impl Iterator<Item = Mark> {
        self.file.into_iter().chain(self.told)
    }

    fn written(&self, value: &str) -> impl Iterator<Item = (Revocation, Source)> {
        let marks = [(self.file, Source::File), (self.told, Source::Told)];
        marks.into_iter().filter_map(move |(mark, source)| {
            let mark = mark?;
            let one = Revocation {
                issuer: self.issuer.to_string(),
                kind: self.kind,
                value: value.to_owned(),
                before: (self.kind == Kind::Sub).then_some(mark.before),
                until: Some(mark.until).filter(|until| *until != FOREVER),
            };
            Some((one, source))
        })
    }
}

/// What a file says, by kind, issuer and value.
struct Said<'l>(HashMap<(Kind, &'l str, &'l str), Mark>);

impl<'l> Said<'l> {
    fn of(list: &'l [Revocation]) -> Self {
        let mut said = HashMap::with_capacity(list.len());
        for one in list {
            let mark = Mark::of(one);
            said.entry((one.kind, one.issuer.as_str(), one.value.as_str()))
                .and_modify(|known: &mut Mark| *known = known.widened(mark))
                .or_insert(mark);
        }
        Self(said)
    }

    fn find(&self, value: &str, entry: &Entry) -> Option<Mark> {
        self.0.get(&(entry.kind, &*entry.issuer, value)).copied()
    }
}

#[cfg(test)]
mod tests;

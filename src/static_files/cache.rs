//! Small files in memory.
//!
//! One cache for all workers and folders, bounded in bytes. An entry is what one name of one folder
//! stands for, content included, so that a request that finds it touches no file and wakes nobody.
//!
//! Names come from strangers, but only what exists is kept, under its one decoded name: asking for
//! what is not there, or in other spellings, fills nothing.
//!
//! # Changes
//! An entry counts for a second. The first request after that looks at the files on a blocking
//! thread, the others go on with what is at hand: a change is seen by every request that comes later
//! than a second and one look after it. A file that was changed just now is not kept at all: its
//! next change might not move the clock that the kernel stamps it with.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::body::Bytes;
use moka::Equivalent;
use moka::sync::Cache as Entries;

use super::asset::{Asset, Loaded, Representation};
use super::body::read;
use super::containment::Opened;
use super::range::Stretch;
use crate::clock::UnixTime;

/// The cache that all folders of a snapshot share.
#[derive(Debug)]
pub struct Cache {
    entries: Entries<Key, Arc<Entry>>,
}

#[derive(Debug)]
struct Entry {
    asset: Arc<Asset>,
    /// When the files were last looked at, in milliseconds of the wall clock.
    looked: AtomicU64,
}

/// Whose name, and the name as the path ends with it: a slash at its end asks for something else.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    folder: u64,
    name: Box<[u8]>,
}

#[derive(Debug)]
struct Lookup<'a> {
    folder: u64,
    name: &'a [u8],
}

impl Cache {
    /// Room for `bytes`; `None` for zero.
    pub fn new(bytes: u64) -> Option<Arc<Self>> {
        let entries = Entries::builder()
            .max_capacity(bytes)
            .weigher(|key: &Key, entry: &Arc<Entry>| weight(key, &entry.asset))
            .build();
        (bytes > 0).then(|| Arc::new(Self { entries }))
    }

    /// What `name` stands for; `None` if that is not known, or if it is this request's turn to look.
    pub(super) fn find(&self, folder: u64, name: &[u8], now: UnixTime) -> Option<Arc<Asset>> {
        let entry = self.entries.get(&Lookup { folder, name })?;
        let looked = entry.looked.load(Ordering::Relaxed);
        let now = now.as_millis();
        // `abs_diff`: a wall clock that was set back must not stop the looks until it catches up.
        let is_turn = now.abs_diff(looked) >= BETWEEN_LOOKS_MILLIS
            && entry
                .looked
                .compare_exchange(looked, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        (!is_turn).then(|| Arc::clone(&entry.asset))
    }

    /// Reads what of `loaded` is small, and keeps it for `name`. Blocks.
    pub(super) fn keep(
        &self,
        folder: u64,
        name: Vec<u8>,
        loaded: Loaded,
        now: UnixTime,
    ) -> (Arc<Asset>, Vec<Opened>) {
        let known = self.entries.get(&Lookup { folder, name: &name });
        let Loaded { mut asset, files } = loaded;
        let representations = std::iter::once(&mut asset.plain).chain(&mut asset.encoded);
        for (one, opened) in representations.zip(&files) {
            if is_worth_keeping(one, now) {
                let known = known.as_deref().and_then(|known| known_bytes(&known.asset, one));
                one.kept = known.or_else(|| read_whole(opened));
            }
        }
        let asset = Arc::new(asset);
        let key = Key { folder, name: name.into() };
        if asset.representations().any(|one| one.kept.is_some()) {
            let looked = AtomicU64::new(now.as_millis());
            self.entries.insert(key, Arc::new(Entry { asset: Arc::clone(&asset), looked }));
        } else {
            self.entries.invalidate(&key);
        }
        (asset, files)
    }

    /// How many names are kept.
    #[cfg(test)]
    pub(super) fn entries(&self) -> u64 {
        self.entries.run_pending_tasks();
        self.entries.entry_count()
    }

    /// There is nothing of that name any more.
    pub(super) fn forget(&self, folder: u64, name: &[u8]) {
        self.entries.invalidate(&Lookup { folder, name });
    }
}

fn is_worth_keeping(one: &Representation, now: UnixTime) -> bool {
    let age = now.as_millis().abs_diff(one.identity.changed_millis());
    one.stamp.size <= LARGEST && age >= SETTLED_MILLIS
}

/// The bytes of a file that has not changed since they were read.
fn known_bytes(known: &Asset, one: &Representation) -> Option<Bytes> {
    let same = known.representations().find(|known| known.coding == one.coding)?;
    same.kept.clone().filter(|_| same.identity == one.identity)
}

/// A file that cannot be read whole is left to whoever sends it, who says why.
fn read_whole(opened: &Opened) -> Option<Bytes> {
    let content = match opened.stamp.size.checked_sub(1) {
        Some(last) => read(&opened.file, Stretch { first: 0, last }).ok()?,
        None => Bytes::new(),
    };
    // What was written meanwhile would be kept torn.
    opened.is_unchanged().then_some(content)
}

/// The bytes that an entry holds, about: what moka keeps beside it included.
fn weight(key: &Key, asset: &Asset) -> u32 {
    let kept = asset.representations().filter_map(|one| one.kept.as_ref().map(Bytes::len));
    let bytes = kept.fold(key.name.len().saturating_add(OVERHEAD), usize::saturating_add);
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// What an entry takes without its content: itself, its header values, and moka's own records of it.
const OVERHEAD: usize = 1024;

/// Bytes. Larger files are streamed: the hop to a blocking thread is nothing beside sending them.
const LARGEST: u64 = 256 * 1024;

/// Seldom enough that a busy file does not notice, often enough that a change is seen at once.
const BETWEEN_LOOKS_MILLIS: u64 = 1_000;

/// Longer than the tick of any file system's clock.
const SETTLED_MILLIS: u64 = 2_000;

// === Keys ===

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Lookup { folder: self.folder, name: &self.name }.hash(state);
    }
}

impl Hash for Lookup<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.folder);
        self.name.hash(state);
    }
}

impl Equivalent<Key> for Lookup<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.folder == key.folder && *self.name == *key.name
    }
}

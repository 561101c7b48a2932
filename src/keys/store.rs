//! The last good keys of an issuer on disk, so that a restart while the issuer is down refuses
//! nobody.
//!
//! Owns what is written (public members of usable keys, and when they were fetched) and what is
//! believed of it: a file that was written for exactly this issuer and this way of reaching it, not
//! older than `stale_for`. Trusts `StateDir` that nobody else wrote it. Whatever is read passes the
//! same checks as an answer of the issuer, and counts until the first fetch brings another.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Key;
use super::fetch::MAX_DOCUMENT;
use super::jwks::parse_set;
use crate::clock::UnixTime;
use crate::state_dir::{FileName, StateDir};

/// The format that this version writes, and the only one that it reads.
const FORMAT: u32 = 1;

/// How far a clock may have been set back over a restart.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// Keys that did not change are written again after this long, for their time.
const UNCHANGED: Duration = Duration::from_secs(60);

/// Where the keys of one issuer are kept.
#[derive(Clone, Debug)]
pub struct Store {
    folder: Arc<StateDir>,
    name: FileName,
    issuer: String,
    bound_to: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    /// For people; `bound_to` decides.
    issuer: String,
    bound_to: String,
    fetched: u64,
    keys: Vec<Value>,
}

/// Keys that were kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) keys: Vec<Key>,
    /// When the issuer's word was heard.
    pub(super) fetched: UnixTime,
}

/// Why kept keys are not used.
#[derive(Debug)]
pub(super) enum Unkept {
    AnotherIssuer,
    FromTheFuture,
    Garbled,
    NoUsableKeys,
    TooOld,
    Unreadable(io::Error),
}

impl fmt::Display for Unkept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnotherIssuer => f.write_str("written for another issuer or another way to it"),
            Self::FromTheFuture => f.write_str("fetched in the future"),
            Self::Garbled => f.write_str("not what Portcullis writes"),
            Self::NoUsableKeys => f.write_str("no usable key"),
            Self::TooOld => f.write_str("older than stale_for"),
            Self::Unreadable(error) => error.fmt(f),
        }
    }
}

// === impl Store ===

impl Store {
    /// The place of `issuer`'s keys; only keys that were written with the same `bound_to` are read
    /// back: where the issuer is, how it is reached, whose certificates it may show.
    pub fn new(folder: Arc<StateDir>, issuer: &str, bound_to: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in [issuer.as_bytes()].iter().chain(bound_to) {
            // With its length, so that neighbours can't lend each other bytes.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let bound_to = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let name = FileName::new("keys", issuer);
        Self { folder, name, issuer: issuer.to_owned(), bound_to }
    }

    /// What was kept, if it may be used at `now`; none if nothing was.
    pub(super) fn load(&self, now: UnixTime, stale_for: Duration) -> Result<Option<Kept>, Unkept> {
        let bytes = self.folder.read(&self.name, MAX_DOCUMENT).map_err(Unkept::Unreadable)?;
        let Some(bytes) = bytes else { return Ok(None) };
        let document: Document = serde_json::from_slice(&bytes).map_err(|_| Unkept::Garbled)?;
        if document.format != FORMAT {
            return Err(Unkept::Garbled);
        }
        if document.bound_to != self.bound_to {
            return Err(Unkept::AnotherIssuer);
        }
        let written = UnixTime::from_millis(document.fetched);
        if written > now.saturating_add(CLOCK_SKEW) {
            return Err(Unkept::FromTheFuture);
        }
        let fetched = written.min(now);
        if now.since(fetched) >= stale_for {
            return Err(Unkept::TooOld);
        }
        let set = serde_json::json!({ "keys": document.keys }).to_string();
        let keys = parse_set(set.as_bytes()).map_err(|_| Unkept::Garbled)?.keys;
        if keys.is_empty() {
            return Err(Unkept::NoUsableKeys);
        }
        Ok(Some(Kept { keys, fetched }))
    }

    fn save(&self, keys: Vec<Value>, fetched: UnixTime) -> io::Result<()> {
        let document = Document {
            format: FORMAT,
            issuer: self.issuer.clone(),
            bound_to: self.bound_to.clone(),
            fetched: fetched.as_millis(),
            keys,
        };
        self.folder.write(&self.name, &serde_json::to_vec(&document)?)
    }
}

/// Writes keys down without keeping the refresher from its schedule.
#[derive(Debug)]
pub(super) struct Keeper {
    store: Store,
    keys: Vec<Value>,
    written: Option<UnixTime>,
    desk: Arc<Mutex<Desk>>,
}

/// What waits for the disk: a disk that hangs holds one thread and one set.
#[derive(Debug, Default)]
struct Desk {
    next: Option<(Vec<Value>, UnixTime)>,
    writing: bool,
}

impl Keeper {
    pub(super) fn new(store: Store) -> Self {
        Self { store, keys: Vec::new(), written: None, desk: Arc::default() }
    }

    /// Keeps what the issuer said at `at`: new keys, or (none) those it said before.
    pub(super) fn keep(&mut self, published: Option<Vec<Value>>, at: UnixTime) {
        if let Some(keys) = published.filter(|keys| *keys != self.keys) {
            self.keys = keys;
            self.written = None;
        }
        let recent = self.written.is_some_and(|written| at.since(written) < UNCHANGED);
        if self.keys.is_empty() || recent {
            return;
        }
        self.written = Some(at);
        let mut desk = self.desk.lock();
        desk.next = Some((self.keys.clone(), at));
        if !std::mem::replace(&mut desk.writing, true) {
            let (store, desk) = (self.store.clone(), Arc::clone(&self.desk));
            drop(tokio::task::spawn_blocking(move || write(&store, &desk)));
        }
    }
}

/// Writes until nothing waits.
fn write(store: &Store, desk: &Mutex<Desk>) {
    loop {
        let next = {
            let mut desk = desk.lock();
            desk.writing = desk.next.is_some();
            desk.next.take()
        };
        let Some((keys, at)) = next else { return };
        if let Err(error) = store.save(keys, at) {
            let issuer = &store.issuer;
            tracing::warn!(issuer, %error, "keys not written to state_dir");
        }
    }
}

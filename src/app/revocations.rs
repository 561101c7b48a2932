//! The list of revoked tokens while the gateway runs: its file is watched, what was told is kept on
//! disk, what is over goes, and streams are woken for what is new.
//!
//! On the control thread, so that no request waits for any of it. A request sees an entry as soon
//! as it is in the list; what is done here comes after.

use std::future::pending;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::auth::Revocations;
use crate::auth::revocation::Revocation;
use crate::clock::Clock;
use crate::snapshot::{Compiled, MAX_FILE, Surroundings, kept_name, said};
use crate::state_dir::StateDir;
use crate::telemetry::labels::{RevocationKind, RevocationResult, RevocationSource};
use crate::telemetry::metrics::Metrics;
use crate::watched_file::WatchedFile;

/// How often what is over is looked for, and what could not be written is tried again.
const PURGE: Duration = Duration::from_secs(60);

/// The least time between two times that streams are woken and the list is written.
const REST: Duration = Duration::from_millis(100);

/// What keeps the list.
#[derive(Clone, Debug)]
struct Keeper {
    list: Arc<Revocations>,
    metrics: Arc<Metrics>,
    clock: Clock,
    folder: Option<Arc<StateDir>>,
}

/// A keeper at work.
#[derive(Debug)]
pub(super) struct Keeping {
    keeper: Keeper,
    /// The keeper's work ends when this is dropped.
    file: watch::Sender<Option<PathBuf>>,
    task: JoinHandle<()>,
}

impl Keeper {
    async fn run(self, mut files: watch::Receiver<Option<PathBuf>>, mut saved: Option<u64>) {
        let mut watched: Option<WatchedFile> = None;
        let mut purge = interval(PURGE);
        purge.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                renamed = files.changed() => {
                    if renamed.is_err() {
                        self.save(&mut saved).await;
                        return;
                    }
                    let file = files.borrow_and_update().clone();
                    watched = file.map(|file| WatchedFile::new(file, MAX_FILE));
                }
                read = changed(&mut watched) => self.read(read),
                () = self.list.written() => {
                    self.list.announce();
                    self.measure();
                    self.save(&mut saved).await;
                    sleep(REST).await;
                }
                _ = purge.tick() => {
                    self.list.purge(self.clock.wall());
                    self.measure();
                    self.save(&mut saved).await;
                }
            }
        }
    }

    /// What the file says now; one that says nothing keeps what it said before.
    fn read(&self, read: std::io::Result<Vec<u8>>) {
        match said(read) {
            Ok(said) => self.replace(&said),
            Err(error) => {
                tracing::error!(
                    "the file of revocations can't be read, the last good ones stay: {error}"
                );
                self.metrics.revoked(RevocationSource::File, RevocationResult::Unreadable);
            }
        }
    }

    fn replace(&self, said: &[Revocation]) {
        let result = match self.list.replace_file(said, self.clock.wall()) {
            Ok(()) => {
                tracing::info!(entries = said.len(), "revocations of the file are in force");
                RevocationResult::Ok
            }
            Err(full) => {
                tracing::error!(
                    "the file's revocations are not in force, the last ones stay: {full}"
                );
                RevocationResult::Full
            }
        };
        self.metrics.revoked(RevocationSource::File, result);
    }

    /// Writes what was told, unless that is what was written last.
    async fn save(&self, saved: &mut Option<u64>) {
        let version = self.list.version();
        let Some(folder) = self.folder.clone() else {
            return self.list.saved(version, false);
        };
        let (list, before) = (Arc::clone(&self.list), *saved);
        let written = spawn_blocking(move || {
            let told = list.told();
            let now = Some(fingerprint(&told));
            if now != before {
                folder.write(&kept_name(), told.as_bytes())?;
            }
            Ok::<_, std::io::Error>(now)
        });
        match written.await.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked))) {
            Ok(now) => *saved = now,
            Err(error) => {
                *saved = None;
                tracing::error!(%error, "revocations can't be kept on disk");
            }
        }
        self.list.saved(version, saved.is_some());
    }

    fn measure(&self) {
        for &kind in RevocationKind::ALL {
            self.metrics.revocations(kind, self.list.count(kind));
        }
    }
}

impl Keeping {
    /// Puts what is revoked from the start in force, and begins to keep the list.
    pub(super) fn start(surroundings: &Surroundings, compiled: &Compiled) -> Self {
        let keeper = Keeper {
            list: Arc::clone(&surroundings.revocations),
            metrics: Arc::clone(&surroundings.metrics),
            clock: surroundings.clock.clone(),
            folder: compiled.snapshot.state_dir().cloned(),
        };
        // Never more than there is room for: it was in such a list before.
        if let Err(full) = keeper.list.revoke(&compiled.revoked.told, keeper.clock.wall()) {
            tracing::error!("kept revocations are not in force: {full}");
        }
        let (file, files) = watch::channel(None);
        // What is on disk already need not be written.
        let saved = fingerprint(&keeper.list.told());
        let task = tokio::spawn(keeper.clone().run(files, Some(saved)));
        let keeping = Self { keeper, file, task };
        keeping.follow(compiled.snapshot.revocations_file(), &compiled.revoked.file);
        keeping
    }

    /// Puts what another configuration's file says in force, and watches that file.
    pub(super) fn follow(&self, file: Option<&Path>, said: &[Revocation]) {
        if file.is_some() || self.file.borrow().is_some() {
            self.keeper.replace(said);
        }
        self.file.send_replace(file.map(Path::to_owned));
    }

    /// Writes what was told last, and ends.
    pub(super) async fn end(self) {
        drop(self.file);
        if self.task.await.is_err() {
            tracing::error!("revocations could not be kept to the end");
        }
    }
}

fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

async fn changed(watched: &mut Option<WatchedFile>) -> std::io::Result<Vec<u8>> {
    match watched {
        Some(file) => file.changed().await,
        None => pending().await,
    }
}

//! Certificates while the gateway runs: their files are followed, and what changes is put in force
//! without a reload.
//!
//! On the control thread, with the disk's share on one that may wait: no handshake waits for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::Clock;
use crate::snapshot::{ListenerSpec, Surroundings};
use crate::telemetry::metrics::Metrics;
use crate::tls::server::{Renewal, ServerTls};
use crate::watched_file::WatchedFile;

/// How often the files are looked at: also whoever swaps a symbolic link on the way is noticed.
const LOOK: Duration = Duration::from_secs(1);

/// More than any chain, key or list of revoked certificates has.
const LARGEST: usize = 64 * 1024 * 1024;

/// Follows the files of every listener.
#[derive(Debug)]
pub(super) struct Renewing {
    /// The work ends when this is dropped.
    listeners: watch::Sender<Vec<ServerTls>>,
    _task: JoinHandle<()>,
}

impl Renewing {
    pub(super) fn start(surroundings: &Surroundings, specs: &[ListenerSpec]) -> Self {
        let (listeners, followed) = watch::channel(Vec::new());
        let (metrics, clock) = (Arc::clone(&surroundings.metrics), surroundings.clock.clone());
        let renewing = Self { listeners, _task: tokio::spawn(run(followed, metrics, clock)) };
        renewing.follow(specs);
        renewing
    }

    /// From now on these listeners' files.
    pub(super) fn follow(&self, specs: &[ListenerSpec]) {
        let listeners = specs.iter().filter_map(|spec| spec.tls.clone()).collect();
        self.listeners.send_replace(listeners);
    }
}

/// A listener's settings, and the files behind them.
struct Followed {
    tls: ServerTls,
    files: Vec<WatchedFile>,
}

async fn run(mut listeners: watch::Receiver<Vec<ServerTls>>, metrics: Arc<Metrics>, clock: Clock) {
    let mut followed: Vec<Followed> = Vec::new();
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = listeners.changed() => {
                if changed.is_err() {
                    return;
                }
                followed = listeners.borrow_and_update().iter().map(Followed::new).collect();
            }
            _ = look.tick(), if !followed.is_empty() => {
                let (metrics, clock) = (Arc::clone(&metrics), clock.clone());
                let looked = spawn_blocking(move || {
                    followed.iter_mut().for_each(|one| one.look(&metrics, &clock));
                    followed
                });
                // It can't be had back from a thread that panicked; the next reload brings it.
                followed = looked.await.unwrap_or_default();
            }
        }
    }
}

impl Followed {
    fn new(tls: &ServerTls) -> Self {
        let files = tls.files().into_iter().map(|file| WatchedFile::new(file, LARGEST)).collect();
        Self { tls: tls.clone(), files }
    }

    fn look(&mut self, metrics: &Metrics, clock: &Clock) {
        // Each is looked at, so that each remembers what it has seen.
        let changed = self.files.iter_mut().filter_map(WatchedFile::look).count();
        if changed == 0 {
            return;
        }
        match self.tls.renew(clock.wall()) {
            Ok(renewals) => renewals.iter().for_each(|renewal| tell(renewal, metrics)),
            Err(error) => {
                metrics.certificate_reload_failed();
                tracing::error!(%error, "renewed certificates can't be put in force");
            }
        }
    }
}

fn tell(renewal: &Renewal, metrics: &Metrics) {
    match renewal {
        Renewal::Certificate(certificate) => {
            metrics.certificate_not_after(certificate.name(), certificate.not_after());
            tracing::info!(certificate = certificate.name(), "a renewed certificate is served");
        }
        Renewal::ClientAuth => tracing::info!("what counts for clients' certificates has changed"),
        Renewal::Failed(error) => {
            metrics.certificate_reload_failed();
            tracing::error!("a changed file can't be used, the last good one stays: {error}");
        }
    }
}

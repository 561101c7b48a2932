//! What the admin address shows of the running gateway.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use crate::admin::{self, Admin, Readiness, Refused, ReloadRequest};
use crate::auth::revocation::{Revocation, Source, parse_lines};
use crate::clock::Clock;
use crate::snapshot::{Snapshot, SnapshotCell, Surroundings};
use crate::telemetry::labels::{RevocationKind, RevocationResult, RevocationSource};
use crate::telemetry::metrics::Metrics;

/// The running gateway, as its operator sees it.
#[derive(Debug)]
pub(super) struct View {
    cell: Arc<SnapshotCell>,
    draining: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl admin::State for View {
    fn readiness(&self) -> Readiness {
        if self.draining.load(Ordering::Acquire) {
            return Readiness::Draining;
        }
        let (_, snapshot) = self.cell.load();
        match snapshot.issuer_without_keys() {
            Some(_) => Readiness::KeysUnavailable,
            None => Readiness::Ready,
        }
    }

    fn routes(&self) -> serde_json::Value {
        self.cell.load().1.routes_json()
    }

    fn issuers(&self) -> serde_json::Value {
        self.cell.load().1.issuers_json()
    }

    fn upstreams(&self) -> serde_json::Value {
        self.cell.load().1.upstreams_json()
    }

    fn revocations(&self) -> serde_json::Value {
        let (_, snapshot) = self.cell.load();
        let list = snapshot.revocations();
        let entries = list.list(SHOWN).into_iter().map(|(one, source)| {
            let mut line = one.to_json();
            let from = match source {
                Source::File => "file",
                Source::Told => "told",
            };
            line.insert("from".to_owned(), from.into());
            line
        });
        let counts = RevocationKind::ALL.iter().map(|&kind| (kind.as_str(), list.count(kind)));
        serde_json::json!({
            "counts": counts.collect::<BTreeMap<_, _>>(),
            "entries": entries.collect::<Vec<_>>(),
        })
    }

    fn config(&self) -> serde_json::Value {
        let (generation, snapshot) = self.cell.load();
        let source = snapshot.source();
        serde_json::json!({
            "generation": generation,
            "file": source.name(),
            "text": source.masked(),
        })
    }
}

impl admin::Revoke for View {
    fn revoke(&self, lines: &str) -> Result<usize, Refused> {
        let (_, snapshot) = self.cell.load();
        let now = self.clock.wall();
        let revoked = self.read(&snapshot, lines).and_then(|list| {
            let full = |full: crate::auth::revocation::Full| Refused::Full(full.to_string());
            snapshot.revocations().revoke(&list, now).map_err(full)?;
            Ok(list.len())
        });
        self.metrics.revoked(
            RevocationSource::Admin,
            match &revoked {
                Ok(_) => RevocationResult::Ok,
                Err(Refused::Full(_)) => RevocationResult::Full,
                Err(Refused::Unreadable(_)) => RevocationResult::Unreadable,
            },
        );
        revoked
    }

    fn take_back(&self, lines: &str) -> Result<usize, Refused> {
        let (_, snapshot) = self.cell.load();
        let list = self.read(&snapshot, lines)?;
        Ok(snapshot.revocations().take_back(&list))
    }

    fn kept(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        let (_, snapshot) = self.cell.load();
        Box::pin(async move { snapshot.revocations().kept().await })
    }
}

impl View {
    /// Lines of issuers that exist: a name that is mistyped would revoke nothing.
    fn read(&self, snapshot: &Snapshot, lines: &str) -> Result<Vec<Revocation>, Refused> {
        let list = parse_lines(lines, Some(self.clock.wall()))
            .map_err(|error| Refused::Unreadable(error.to_string()))?;
        match list.iter().find(|one| snapshot.issuer_named(&one.issuer).is_none()) {
            Some(one) => Err(Refused::Unreadable(format!("there is no issuer `{}`", one.issuer))),
            None if list.is_empty() => Err(Refused::Unreadable("nothing is named".to_owned())),
            None => Ok(list),
        }
    }
}

impl View {
    /// What the admin address tells and does.
    pub(super) fn admin(
        cell: &Arc<SnapshotCell>,
        draining: &Arc<AtomicBool>,
        surroundings: &Surroundings,
        reload: mpsc::Sender<ReloadRequest>,
    ) -> Admin {
        let view = Arc::new(Self {
            cell: Arc::clone(cell),
            draining: Arc::clone(draining),
            metrics: Arc::clone(&surroundings.metrics),
            clock: surroundings.clock.clone(),
        });
        let metrics = Arc::clone(&surroundings.metrics);
        Admin { metrics, state: view.clone(), revoke: view, reload }
    }
}

/// Entries that are shown at most; the counts are exact.
const SHOWN: usize = 1000;

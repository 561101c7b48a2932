//! What the admin address shows of the running gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::admin::{self, Readiness};
use crate::snapshot::SnapshotCell;

/// The running gateway, read-only.
#[derive(Debug)]
pub(super) struct View {
    pub(super) cell: Arc<SnapshotCell>,
    pub(super) draining: Arc<AtomicBool>,
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

//! What a worker's gateway holds between requests.

use std::num::NonZeroUsize;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Request, Response};
use parking_lot::Mutex;

use super::exchange::Body;
use super::{handle, refused_head};
use crate::auth::LocalCache;
use crate::clock::Clock;
use crate::proxy::Pools;
use crate::server::{ConnectionInfo, Handler, RefusedHead};
use crate::snapshot::{Snapshot, SnapshotCell};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::record::Record;

/// The request handler of one worker; cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    worker: Arc<PerWorker>,
}

/// One worker's own state. Its locks are taken by that worker's tasks alone, never across await.
#[derive(Debug)]
struct PerWorker {
    cell: Arc<SnapshotCell>,
    /// The snapshot as this worker last saw it.
    current: Mutex<Current>,
    pools: Arc<Pools>,
    tokens: LocalCache,
    metrics: Arc<Metrics>,
    access_log: Arc<AccessLog>,
    clock: Clock,
}

#[derive(Debug)]
struct Current {
    generation: u64,
    snapshot: Arc<Held>,
}

/// A snapshot as one worker holds it. The `Arc` around it is that worker's own, so that a request's
/// clone of it touches no counter that other cores write.
#[derive(Debug)]
pub(super) struct Held(Arc<Snapshot>);

impl Deref for Held {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0
    }
}

impl Gateway {
    /// The gateway of one of `workers` workers, seeing what `cell` holds.
    pub fn new(
        workers: NonZeroUsize,
        cell: Arc<SnapshotCell>,
        metrics: Arc<Metrics>,
        access_log: Arc<AccessLog>,
        clock: Clock,
    ) -> Self {
        let (generation, snapshot) = cell.load();
        let current = Mutex::new(Current { generation, snapshot: Arc::new(Held(snapshot)) });
        Self {
            worker: Arc::new(PerWorker {
                cell,
                current,
                pools: Arc::new(Pools::new(workers)),
                tokens: LocalCache::new(),
                metrics,
                access_log,
                clock,
            }),
        }
    }

    /// The snapshot a new request begins with; when the generation has moved, pools of upstreams
    /// that are gone are closed and this worker's cached tokens looked up anew.
    pub(super) fn snapshot(&self) -> Arc<Held> {
        let worker = &*self.worker;
        let mut current = worker.current.lock();
        if current.generation != worker.cell.generation() {
            let (generation, snapshot) = worker.cell.load();
            worker.pools.retain(snapshot.upstreams());
            worker.tokens.clear();
            *current = Current { generation, snapshot: Arc::new(Held(snapshot)) };
        }
        Arc::clone(&current.snapshot)
    }

    /// Lets go of a snapshot that is no longer installed, closes idle connections past their time
    /// and takes back endpoints that were ejected long enough. Called by the worker's own tick, so
    /// that an idle worker holds nothing old.
    pub fn sweep(&self) {
        for upstream in self.snapshot().upstreams() {
            upstream.take_back();
        }
        self.worker.pools.sweep();
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.worker.clock
    }

    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.worker.metrics
    }

    pub(super) fn pools(&self) -> &Arc<Pools> {
        &self.worker.pools
    }

    pub(super) fn tokens(&self) -> &LocalCache {
        &self.worker.tokens
    }

    pub(super) fn record(&self, record: &Record<'_>) {
        self.worker.metrics.observe(record);
        self.worker.access_log.write(record);
    }
}

impl Handler for Gateway {
    type Body = Body;

    async fn handle(
        &self,
        connection: &Arc<ConnectionInfo>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        handle::handle(self, connection, request).await
    }

    fn abandoned(&self, connection: &Arc<ConnectionInfo>, request: Request<Incoming>) {
        handle::abandoned(self, connection, request);
    }

    fn refused_head(&self, connection: &Arc<ConnectionInfo>, refused: RefusedHead) -> Bytes {
        refused_head::refuse(self, connection, &refused)
    }
}

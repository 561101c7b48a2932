//! The metrics of one app: registering names, counting, and the text that a scrape gets.
//!
//! Owns every series. The request path adds to counts of its own thread (`counts`); a scrape takes
//! them in, so it is exact and workers never flush. Rare events go to the series directly. Names
//! come from the configuration by registration and words from closed lists: nothing of a client's
//! becomes a label (CVE-2022-21698).

use std::cell::RefCell;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use prometheus::process_collector::ProcessCollector;
use prometheus::{IntCounterVec, IntGauge, Registry, TextEncoder};

use super::counts::{Counts, Source};
use super::families::Families;
use super::ids::{IssuerId, ListenerId, Names, RouteId, UpstreamId};
use super::labels::{
    ConnectionState, FetchResult, HandshakeResult, PooledState, ProxyHeaderResult, ReloadResult,
    RevocationKind, RevocationResult, RevocationSource, UpstreamFault,
};
use super::per_thread::{Local, PerThread, Slot};
use super::record::Record;
use crate::clock::UnixTime;

/// The metrics of one app.
///
/// # Concurrency
/// Locks are taken in the order back, front, names, then `prometheus`' own; a worker takes its
/// uncontended front lock alone unless it meets a histogram for the first time.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    families: Families,
    names: RwLock<Names>,
    counts: PerThread<Counts>,
    /// Reasons ever given for skipped keys, so that a reason that is gone reads as 0.
    skipped: Mutex<Vec<(IssuerId, &'static str)>>,
}

impl Metrics {
    /// An empty set, with `build_info` and the process' own metrics.
    #[expect(
        clippy::expect_used,
        reason = "names and labels are constants, registered once; every test would fail"
    )]
    pub fn new() -> Arc<Self> {
        let registry = Registry::new();
        let families = Families::new(&registry).expect("each family is well formed and unique");
        registry
            .register(Box::new(ProcessCollector::for_self()))
            .expect("no family starts with `process_`");
        families.build_info.with_label_values(&[VERSION, REVISION]).set(1);
        Arc::new(Self {
            registry,
            families,
            names: RwLock::default(),
            counts: PerThread::new(&COUNTS),
            skipped: Mutex::default(),
        })
    }

    /// All of it in the Prometheus text format 0.0.4. Takes every thread's counts in first.
    pub fn render(&self) -> String {
        self.counts.drain(|counts| counts.flush(&self.families, &self.names.read()));
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be written");
        }
        text
    }
}

// --- names: idempotent, for `snapshot::compile`

impl Metrics {
    /// The listener of this name.
    pub fn listener(&self, name: &str) -> ListenerId {
        self.families.http_in_flight.with_label_values(&[name]).add(0);
        self.names.write().add_listener(name)
    }

    /// The route of this name.
    pub fn route(&self, name: &str) -> RouteId {
        self.names.write().add_route(name)
    }

    /// The issuer of this name.
    pub fn issuer(&self, name: &str) -> IssuerId {
        self.names.write().add_issuer(name)
    }

    /// The upstream of this name with these endpoint labels, in the order of its endpoints.
    pub fn upstream(&self, name: &str, endpoints: &[&str]) -> UpstreamId {
        self.families.upstream_retries.with_label_values(&[name]).inc_by(0);
        self.families.upstream_reused.with_label_values(&[name]).inc_by(0);
        self.families.upstream_queue_depth.with_label_values(&[name]).add(0);
        for state in PooledState::ALL {
            self.families.upstream_connections.with_label_values(&[name, state.as_str()]).add(0);
        }
        self.names.write().add_upstream(name, endpoints)
    }
}

// --- upstreams: rare, so directly

impl Metrics {
    /// Whether requests may be sent to an endpoint. `endpoint` is its index in the list that
    /// [`Self::upstream`] was given.
    pub fn endpoint_up(&self, upstream: UpstreamId, endpoint: usize, up: bool) {
        let names = self.names.read();
        let Some(names) = names.upstream(upstream) else { return };
        let gauges = &self.families.upstream_endpoint_up;
        gauges.with_label_values(&[&names.name, names.endpoint(endpoint)]).set(up.into());
    }

    /// Forgets what [`Self::endpoint_up`] said of every endpoint: a snapshot that is installed says
    /// it anew, and not of those that are gone.
    pub fn forget_endpoints(&self) {
        self.families.upstream_endpoint_up.reset();
    }

    /// Counts a request as waiting for an endpoint until the guard is dropped.
    pub fn queued(&self, upstream: UpstreamId) -> Queued {
        let names = self.names.read();
        let name = names.upstream(upstream).map_or("-", |names| &names.name);
        let gauge = self.families.upstream_queue_depth.with_label_values(&[name]);
        gauge.inc();
        Queued(gauge)
    }
}

// --- request path: this thread's own counts

impl Metrics {
    /// Counts an exchange that is over.
    pub fn observe(&self, record: &Record<'_>) {
        let source = Source { families: &self.families, names: &self.names };
        self.counts.with(|slot| slot.front.lock().observe(record, &source));
    }

    /// Counts an exchange as in flight until the guard is dropped.
    pub fn in_flight(&self, listener: ListenerId) -> InFlight {
        self.counts.with(|slot| {
            *slot.front.lock().in_flight(listener) += 1;
            InFlight { slot: Arc::clone(slot), listener }
        })
    }

    /// Counts a downstream connection in its state until the guard is dropped.
    pub fn listener_connection(
        &self,
        listener: ListenerId,
        state: ConnectionState,
    ) -> ListenerConnection {
        let slot = self.counts.with(Arc::clone);
        let connection = ListenerConnection { slot, listener, state };
        connection.add(1);
        connection
    }

    /// Counts an upstream connection in its state until the guard is dropped.
    pub fn upstream_connection(
        &self,
        upstream: UpstreamId,
        state: PooledState,
    ) -> UpstreamConnection {
        let slot = self.counts.with(Arc::clone);
        let connection = UpstreamConnection { slot, upstream, state };
        connection.add(1);
        connection
    }

    /// Counts a failed attempt at an endpoint, retried or not. `endpoint` is its index in the list
    /// that [`Self::upstream`] was given.
    pub fn upstream_error(&self, upstream: UpstreamId, endpoint: usize, fault: UpstreamFault) {
        self.counts.with(|slot| slot.front.lock().upstream_error(upstream, endpoint, fault));
    }
}

// --- rare events

impl Metrics {
    /// A fetch of an issuer's keys ended.
    pub fn jwks_fetch(&self, issuer: IssuerId, result: FetchResult) {
        self.count_for(&self.families.jwks_fetches, issuer, &[result.as_str()]);
    }

    /// An issuer's keys were read, or confirmed, at `at`; `keys` of them are usable.
    pub fn jwks_success(&self, issuer: IssuerId, at: UnixTime, keys: usize) {
        self.jwks_known(issuer, keys);
        let names = self.names.read();
        let Some(issuer) = names.issuer(issuer) else { return };
        self.families.jwks_last_success.with_label_values(&[issuer]).set(seconds(at));
    }

    /// So many keys of an issuer are usable: those of the configuration are read but once.
    pub fn jwks_known(&self, issuer: IssuerId, keys: usize) {
        let names = self.names.read();
        let Some(issuer) = names.issuer(issuer) else { return };
        let keys = i64::try_from(keys).unwrap_or(i64::MAX);
        self.families.jwks_keys.with_label_values(&[issuer]).set(keys);
    }

    /// How many keys of an issuer's current set are skipped, by words of the caller's closed list.
    /// A word that is not named has none any more.
    pub fn jwks_skipped(&self, issuer: IssuerId, counts: &[(&'static str, usize)]) {
        let mut known = self.skipped.lock();
        for (reason, _) in counts {
            if !known.contains(&(issuer, *reason)) {
                known.push((issuer, *reason));
            }
        }
        let names = self.names.read();
        let Some(name) = names.issuer(issuer) else { return };
        for (_, reason) in known.iter().filter(|(of, _)| *of == issuer) {
            let count: usize = counts.iter().filter(|(of, _)| of == reason).map(|(_, n)| n).sum();
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.families.jwks_keys_skipped.with_label_values(&[name, *reason]).set(count);
        }
    }

    /// A token named a key that its issuer does not have.
    pub fn unknown_kid(&self, issuer: IssuerId) {
        self.count_for(&self.families.unknown_kid, issuer, &[]);
    }

    /// A TLS handshake ended. `version` is `1.2`, `1.3`, or `-` if none was agreed on.
    pub fn tls_handshake(
        &self,
        listener: ListenerId,
        version: &'static str,
        result: HandshakeResult,
    ) {
        if let Some(listener) = self.names.read().listener(listener) {
            let labels = [listener, version, result.as_str()];
            self.families.tls_handshakes.with_label_values(&labels).inc();
        }
    }

    /// A balancer's PROXY protocol header was read, or was not there.
    pub fn proxy_header(&self, listener: ListenerId, result: ProxyHeaderResult) {
        if let Some(listener) = self.names.read().listener(listener) {
            let labels = [listener, result.as_str()];
            self.families.proxy_headers.with_label_values(&labels).inc();
        }
    }

    /// When the certificate of this name (of the configuration) ends.
    pub fn certificate_not_after(&self, name: &str, at: UnixTime) {
        self.families.certificate_not_after.with_label_values(&[name]).set(seconds(at));
    }

    /// A certificate could not be read again.
    pub fn certificate_reload_failed(&self) {
        self.families.certificate_reload_failures.inc();
    }

    /// Somebody revoked something, or tried to.
    pub fn revoked(&self, source: RevocationSource, result: RevocationResult) {
        self.families.revocations_read.with_label_values(&[source.as_str(), result.as_str()]).inc();
    }

    /// How many entries of a kind the list of revoked tokens has.
    pub fn revocations(&self, kind: RevocationKind, entries: usize) {
        let entries = i64::try_from(entries).unwrap_or(i64::MAX);
        self.families.revocations.with_label_values(&[kind.as_str()]).set(entries);
    }

    /// A configuration was installed or refused at `at`; the first one counts as well.
    pub fn reload(&self, result: ReloadResult, at: UnixTime) {
        self.families.reloads.with_label_values(&[result.as_str()]).inc();
        match result {
            ReloadResult::Failed => self.families.reload_successful.set(0),
            ReloadResult::Ok => {
                self.families.reload_successful.set(1);
                self.families.reload_success_timestamp.set(seconds(at));
            }
        }
    }

    /// How many tokens the cache holds.
    pub fn auth_cache_entries(&self, entries: u64) {
        self.families.auth_cache_entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    /// Lines that the access log lost.
    pub fn access_log_dropped(&self, lines: u64) {
        self.families.access_log_dropped.inc_by(lines);
    }

    fn count_for(&self, counters: &IntCounterVec, issuer: IssuerId, more: &[&str]) {
        if let Some(issuer) = self.names.read().issuer(issuer) {
            let labels: Vec<_> = [issuer].iter().chain(more).copied().collect();
            counters.with_label_values(&labels).inc();
        }
    }
}

// === impl Queued ===

/// A request that waits for an endpoint. See [`Metrics::queued`].
#[derive(Debug)]
#[must_use = "the request counts as served when this is dropped"]
pub struct Queued(IntGauge);

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.dec();
    }
}

// === impl InFlight ===

/// An exchange that is not over. See [`Metrics::in_flight`].
#[derive(Debug)]
#[must_use = "the exchange counts as over when this is dropped"]
pub struct InFlight {
    slot: Arc<Slot<Counts>>,
    listener: ListenerId,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        *self.slot.front.lock().in_flight(self.listener) -= 1;
    }
}

// === impl ListenerConnection ===

/// An open connection of a client. See [`Metrics::listener_connection`].
#[derive(Debug)]
#[must_use = "the connection counts as closed when this is dropped"]
pub struct ListenerConnection {
    slot: Arc<Slot<Counts>>,
    listener: ListenerId,
    state: ConnectionState,
}

impl ListenerConnection {
    /// Counts the connection in another state from now on; no scrape sees it in both or in neither.
    pub fn set(&mut self, state: ConnectionState) {
        if self.state == state {
            return;
        }
        let mut counts = self.slot.front.lock();
        for (state, delta) in [(self.state, -1), (state, 1)] {
            if let Some(count) = counts.listener_connections(self.listener, state) {
                *count += delta;
            }
        }
        drop(counts);
        self.state = state;
    }

    fn add(&self, delta: i64) {
        let mut counts = self.slot.front.lock();
        if let Some(count) = counts.listener_connections(self.listener, self.state) {
            *count += delta;
        }
    }
}

impl Drop for ListenerConnection {
    fn drop(&mut self) {
        self.add(-1);
    }
}

// === impl UpstreamConnection ===

/// An open connection to an upstream. See [`Metrics::upstream_connection`].
#[derive(Debug)]
#[must_use = "the connection counts as closed when this is dropped"]
pub struct UpstreamConnection {
    slot: Arc<Slot<Counts>>,
    upstream: UpstreamId,
    state: PooledState,
}

impl UpstreamConnection {
    /// Counts the connection in another state from now on; no scrape sees it in both or in neither.
    pub fn set(&mut self, state: PooledState) {
        if self.state == state {
            return;
        }
        let mut counts = self.slot.front.lock();
        for (state, delta) in [(self.state, -1), (state, 1)] {
            if let Some(count) = counts.upstream_connections(self.upstream, state) {
                *count += delta;
            }
        }
        drop(counts);
        self.state = state;
    }

    fn add(&self, delta: i64) {
        let mut counts = self.slot.front.lock();
        if let Some(count) = counts.upstream_connections(self.upstream, self.state) {
            *count += delta;
        }
    }
}

impl Drop for UpstreamConnection {
    fn drop(&mut self) {
        self.add(-1);
    }
}

/// Whole seconds: a gauge's timestamps need no more.
fn seconds(at: UnixTime) -> i64 {
    i64::try_from(at.as_secs()).unwrap_or(i64::MAX)
}

thread_local! {
    static COUNTS: Local<Counts> = const { RefCell::new(Vec::new()) };
}

/// The version of this build.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit of this build, if whoever built it said so.
const REVISION: &str = match option_env!("PORTCULLIS_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;

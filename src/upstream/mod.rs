//! Upstreams: named groups of endpoints, the choice among them, and the connections to them.
//!
//! Owns the addresses an application is reached at, the requests in flight to each, the line of
//! those that wait, what is believed of an endpoint's health, and the idle connections that a
//! worker keeps. Knows nothing of routes or tokens and sends what it is
//! given; [`crate::proxy`] decides what that is. An endpoint's bytes are not trusted here either:
//! they reach [`crate::proxy`] only as a head and a body that can be read in one way.

mod absence;
pub mod balance;
mod check;
pub mod connect;
pub mod connection;
pub mod endpoint;
mod framing;
pub mod health;
mod http2;
mod idle;
pub mod pool;
mod queue;
mod receiving;
pub mod resolve;
pub(crate) mod retries;
mod sending;
pub mod sticky;
pub(crate) mod stream;
pub mod switched;
pub(crate) mod upload;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::time::Duration;

use absence::Absentees;
pub(crate) use absence::{Stay, is_absent};
pub use balance::Balance;
use balance::{Balancer, Choice, Key, Rules};
use endpoint::InFlight;
pub use endpoint::{Address, Endpoint};
use health::{Check, Eject, Times};
use idle::Learned;
use parking_lot::Mutex;
use queue::Queue;
use resolve::Name;
use retries::{Retries, Retrying};
pub use sending::Message;
use sticky::Marks;

use tokio::time::timeout;

use crate::http::proxy_protocol::Version;
use crate::telemetry::ids::UpstreamId;
use crate::telemetry::labels::{PooledState, UpstreamFault};
use crate::telemetry::metrics::{Metrics, UpstreamConnection};

/// A named group of interchangeable endpoints.
///
/// Shared by all workers and, while its settings are unchanged, by successive snapshots.
#[derive(Debug)]
pub struct Upstream {
    id: u64,
    name: String,
    kind: Kind,
    protocol: Protocol,
    endpoints: Box<[Arc<Endpoint>]>,
    /// Whose addresses stand in some of them.
    names: Box<[Name]>,
    resolving: AtomicBool,
    balance: Balance,
    marks: Option<Marks>,
    balancer: Balancer,
    queue: Arc<Queue>,
    queue_timeout: Duration,
    absentees: Absentees,
    retries: Retries,
    eject: Option<Eject>,
    check: Option<Check>,
    checking: AtomicBool,
    /// Held while it is decided whether an endpoint is ejected: never the last.
    ejecting: Mutex<()>,
    times: Times,
    timeouts: Timeouts,
    idle_connections: usize,
    max_tunnels: usize,
    names_clients: Option<Version>,
    fingerprint: u64,
    open: AtomicUsize,
    metrics: Arc<Metrics>,
    metrics_id: UpstreamId,
}

/// What an [`Upstream`] is made from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name in configuration, logs and metrics.
    pub name: String,
    /// Which application server it is.
    pub kind: Kind,
    /// What all its endpoints speak.
    pub protocol: Protocol,
    /// Its endpoints, in the order of the configuration.
    pub endpoints: Vec<endpoint::Settings>,
    /// Names whose addresses are endpoints, too, behind those.
    pub names: Vec<resolve::Settings>,
    /// How one endpoint is chosen for a request.
    pub balance: Balance,
    /// What its endpoints are called in cookies, where those lead back to them.
    pub marks: Option<Marks>,
    /// Requests in flight to one endpoint; contract default 256.
    pub max_requests: usize,
    /// Requests that wait while every endpoint is full, and for how long; contract default 1024, 5 s.
    pub queue: (usize, Duration),
    /// Attempts beyond the first; contract default 2.
    pub retries: u32,
    /// When failures eject an endpoint; contract default 5 in a row, for 1 s.
    pub eject: Option<Eject>,
    /// How endpoints are checked; contract default not at all.
    pub check: Option<Check>,
    /// How long an endpoint that is back has less than its share; contract default 0.
    pub slow_start: Duration,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// Idle connections kept, over all workers and endpoints; contract default 64, 0 keeps none.
    pub idle_connections: usize,
    /// Switched connections to one endpoint at the same time; contract default 1024.
    pub max_tunnels: usize,
    /// Whether connections begin with a header that names the client they are made for; none of
    /// those is kept for another request. Contract default not.
    pub names_clients: Option<Version>,
    /// A hash of every expanded setting above: equal means that pools and counts may be kept.
    pub fingerprint: u64,
    /// Where its connections and failures are counted.
    pub metrics: Arc<Metrics>,
}

impl Settings {
    /// Counts it from now on, with each endpoint and each place for one.
    fn count(&self) -> UpstreamId {
        let fixed = self.endpoints.iter().map(|one| one.label.clone());
        let named = self.names.iter().flat_map(resolve::Settings::labels);
        let labels: Vec<_> = fixed.chain(named).collect();
        let labels: Vec<_> = labels.iter().map(String::as_str).collect();
        self.metrics.upstream(&self.name, &labels)
    }
}

/// A version of HTTP, as an endpoint speaks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1: one request at a time on a connection.
    Http1,
    /// HTTP/2: many streams on a connection.
    Http2,
}

/// The application server's habits that forwarding must respect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An ASGI server, as uvicorn is.
    Asgi,
    /// A gRPC server: responses have trailers, and streams may rest for long.
    Grpc,
    /// Any HTTP server: bodies of unknown length are sent chunked.
    Http,
    /// Node's own HTTP server.
    Node,
    /// A WSGI server: the application reads a chunked body as empty, so it gets a Content-Length.
    Wsgi,
}

/// How long each step of an exchange with an endpoint may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Name resolution and connecting, together; contract default 3 s.
    pub connect: Duration,
    /// From the request's last byte to the response's first; contract default 60 s.
    pub response: Duration,
    /// Between two reads of a response's body; contract default 60 s.
    pub read: Duration,
    /// How long an unused connection is kept; contract default 1500 ms.
    pub idle: Duration,
    /// Whether that is only where it begins, and what the endpoints do decides.
    pub learns_idle: bool,
}

impl Upstream {
    /// Compiles the settings. Nothing is resolved or connected yet.
    pub fn new(settings: Settings) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let metrics_id = settings.count();
        let (size, queue_timeout) = settings.queue;
        let queue = Arc::new(Queue::new(size, &settings.metrics, metrics_id));
        let endpoints = settings.endpoints.into_iter();
        let timeouts = settings.timeouts;
        let learned = || timeouts.learns_idle.then(|| Learned::new(timeouts.idle));
        let marks = settings.marks.as_ref();
        let mut endpoints: Vec<_> =
            endpoints.map(|one| Arc::new(Endpoint::new(one, &queue, learned(), marks))).collect();
        let names = Name::places(&settings.names, &mut endpoints, |name, nth| {
            Endpoint::vacant(name, nth, &queue, learned())
        });
        let times = Times::start();
        let rules = Rules {
            round_robin: settings.balance == Balance::RoundRobin,
            moving: !names.is_empty(),
            slow_start: settings.slow_start,
            max_requests: settings.max_requests,
            times,
        };
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            name: settings.name,
            kind: settings.kind,
            protocol: settings.protocol,
            balance: settings.balance,
            balancer: Balancer::new(rules, &endpoints),
            endpoints: endpoints.into(),
            names,
            resolving: AtomicBool::new(false),
            marks: settings.marks,
            queue,
            queue_timeout,
            absentees: Absentees::default(),
            retries: Retries::new(
                settings.retries,
                Queue::new(size, &settings.metrics, metrics_id),
            ),
            eject: settings.eject,
            check: settings.check,
            checking: AtomicBool::new(false),
            ejecting: Mutex::new(()),
            times,
            timeouts,
            // A connection that names one client must never carry another's request.
            idle_connections: match settings.names_clients {
                None => settings.idle_connections,
                Some(_) => 0,
            },
            max_tunnels: settings.max_tunnels,
            names_clients: settings.names_clients,
            fingerprint: settings.fingerprint,
            open: AtomicUsize::new(0),
            metrics: settings.metrics,
            metrics_id,
        }
        .found_before(settings.names)
    }

    /// Unique in this process, never reused.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The name in configuration, logs and metrics.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which application server it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What all its endpoints speak.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Its endpoints, in the order of the configuration.
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// How one endpoint is chosen for a request.
    pub fn balance(&self) -> Balance {
        self.balance
    }

    /// How long each step may take.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Idle connections kept, over all workers and endpoints.
    pub fn idle_connections(&self) -> usize {
        self.idle_connections
    }

    /// Switched connections to one endpoint at the same time.
    pub fn max_tunnels(&self) -> usize {
        self.max_tunnels
    }

    /// Whether connections begin with a PROXY protocol header, and in which version.
    pub fn names_clients(&self) -> Option<Version> {
        self.names_clients
    }

    /// The hash of the settings it was made from.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Its index in the metrics.
    pub fn metrics_id(&self) -> UpstreamId {
        self.metrics_id
    }

    /// Open connections to all endpoints, idle or in use.
    pub fn open_connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Requests in flight to all endpoints.
    pub fn in_flight(&self) -> usize {
        self.endpoints.iter().map(|endpoint| endpoint.in_flight()).sum()
    }

    /// Requests that wait: for an endpoint's slot, its return, or their turn to be sent again.
    pub fn waiting(&self) -> usize {
        self.queue.waiting() + self.absentees.waiting() + self.retries.waiting()
    }

    /// An endpoint for the next request, none of the `tried` ones, with a slot there.
    pub(crate) fn choose(&self, tried: &[usize], key: Key) -> Choice {
        // Who comes while others wait has to wait, too.
        if tried.is_empty() && self.queue.waiting() > 0 {
            return Choice::Full;
        }
        self.balancer.choose(&self.endpoints, tried, key)
    }

    /// The endpoint that this key names and that its requests come back to: it is up, and no backup
    /// that has to rest. Full is not gone.
    pub(crate) fn leads_to(&self, key: Key) -> Option<usize> {
        match key {
            Key::Mark(mark) => balance::marked(&self.endpoints, mark),
            Key::Hash(_) | Key::None => None,
        }
    }

    /// Waits in line for an endpoint with a slot, none of the `tried` ones.
    ///
    /// # Errors
    /// The line is too long, or the time in it was over; or no endpoint is up any more.
    pub(crate) async fn wait(
        &self,
        tried: &[usize],
        key: Key,
    ) -> Result<(usize, InFlight), Unserved> {
        let place = self.queue.enter().ok_or(Unserved::Full)?;
        let served = async {
            loop {
                if place.is_first() {
                    // Pairs with the one of `health_changed`: see there.
                    fence(Ordering::SeqCst);
                    match self.balancer.choose(&self.endpoints, tried, key) {
                        Choice::Claimed(index, slot) => return Ok((index, slot)),
                        Choice::None => return Err(Unserved::Unhealthy),
                        Choice::Full => {}
                    }
                }
                place.called().await;
            }
        };
        timeout(self.queue_timeout, served).await.unwrap_or(Err(Unserved::Full))
    }

    /// Attempts beyond the first that one request may have.
    pub(crate) fn retries(&self) -> usize {
        self.retries.limit()
    }

    /// Waits until a request that may have been received may be sent again; until the guard is
    /// dropped it counts as one of those. `None` if too many wait, or for too long.
    pub(crate) async fn retry(self: &Arc<Self>) -> Option<Retrying> {
        self.retries.turn(self, self.queue_timeout).await
    }

    /// Counts a failed attempt at the endpoint with this id.
    pub(crate) fn failed(&self, endpoint: u64, fault: UpstreamFault) {
        if fault == UpstreamFault::Refused {
            self.names.iter().for_each(Name::doubt);
        }
        if let Some(index) = self.endpoints.iter().position(|one| one.id() == endpoint) {
            self.metrics.upstream_error(self.metrics_id, index, fault);
        }
    }

    /// An endpoint answered a request: whatever it had failed before is forgotten.
    pub(crate) fn answered(&self, index: usize) {
        if let Some(endpoint) = self.endpoints.get(index) {
            endpoint.health().answered();
        }
    }

    /// An endpoint failed a request by a fault of its own; too often in a row, and it gets none for a
    /// while, unless there is no other. Then those that got none may be better by now.
    pub(crate) fn suspect(&self, index: usize) {
        let (Some(eject), Some(endpoint)) = (&self.eject, self.endpoints.get(index)) else {
            return;
        };
        if !endpoint.health().failed(eject) {
            return;
        }
        let _one_at_a_time = self.ejecting.lock();
        let others = self.endpoints.iter().enumerate().filter(|(other, _)| *other != index);
        if !endpoint.health().is_up() {
            return;
        }
        let now = self.times.now();
        if !others.clone().any(|(_, one)| one.health().is_up()) {
            for (other, one) in others.filter(|(_, one)| one.health().recall(eject, now)) {
                self.metrics.endpoint_up(self.metrics_id, other, one.health().is_up());
                self.health_changed();
            }
            return;
        }
        let time = endpoint.health().eject(eject, now);
        self.metrics.endpoint_up(self.metrics_id, index, false);
        tracing::warn!(
            upstream = self.name,
            endpoint = endpoint.label(),
            seconds = time.as_secs_f64(),
            "ejected: too many requests failed there in a row"
        );
    }

    /// Takes back what was ejected long enough. To be called a few times a second.
    pub(crate) fn take_back(&self) {
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            if endpoint.health().is_ejected()
                && endpoint.health().take_back(self.eject.as_ref(), self.times.now())
            {
                self.metrics.endpoint_up(self.metrics_id, index, endpoint.health().is_up());
                self.health_changed();
            }
        }
    }

    /// Shows every endpoint's state in the metrics.
    pub(crate) fn show_health(&self) {
        let all = self.endpoints.iter().enumerate();
        for (index, endpoint) in all.filter(|(_, one)| !one.is_vacant()) {
            self.metrics.endpoint_up(self.metrics_id, index, endpoint.health().is_up());
        }
    }

    /// Begins the checks of its endpoints on the caller's runtime, where there are any; once, however
    /// often it is adopted.
    pub(crate) fn start_checks(self: &Arc<Self>) {
        if let Some(check) = &self.check
            && !self.checking.swap(true, Ordering::Relaxed)
        {
            check::start(self, check);
        }
    }

    /// Takes one check's result.
    fn checked(&self, index: usize, good: bool) {
        let (Some(check), Some(endpoint)) = (&self.check, self.endpoints.get(index)) else {
            return;
        };
        if endpoint.health().checked(good, check, self.times.now()) {
            self.metrics.endpoint_up(self.metrics_id, index, endpoint.health().is_up());
            let (upstream, endpoint) = (self.name.as_str(), endpoint.label());
            match good {
                true => tracing::info!(upstream, endpoint, "up: its checks are good again"),
                false => tracing::warn!(upstream, endpoint, "down: its checks fail"),
            }
            self.health_changed();
        }
    }

    /// More may be up now; and if none is, nobody needs to wait for that.
    fn health_changed(&self) {
        // What is believed is stored and read without an order. Without this fence and the one of
        // `wait`, the number of those who wait could be read here before the new belief is to be
        // seen, by one who read the old one just before: nobody would call.
        fence(Ordering::SeqCst);
        self.queue.call();
    }

    /// Counts a connection, in use at first, until the guard is dropped.
    fn connected(&self) -> UpstreamConnection {
        self.metrics.upstream_connection(self.metrics_id, PooledState::Active)
    }
}

/// Why a request got no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unserved {
    /// Every one is full, and so is the line, or the time in it was over.
    Full,
    /// None is up.
    Unhealthy,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An upstream of TCP endpoints on loopback with short timeouts.
    pub(crate) fn on_ports(ports: &[u16], balance: Balance) -> Settings {
        let tcp = |port: &u16| endpoint::Settings {
            address: Address::Tcp { host: "127.0.0.1".to_owned(), port: *port },
            label: format!("http://127.0.0.1:{port}"),
            weight: 1,
            backup: false,
        };
        Settings {
            name: "web".to_owned(),
            kind: Kind::Http,
            protocol: Protocol::Http1,
            endpoints: ports.iter().map(tcp).collect(),
            names: Vec::new(),
            balance,
            marks: None,
            max_requests: 256,
            queue: (1024, Duration::from_secs(5)),
            retries: 2,
            names_clients: None,
            eject: Some(Eject { after: 5, time: Duration::from_secs(1) }),
            check: None,
            slow_start: Duration::ZERO,
            timeouts: Timeouts {
                connect: Duration::from_secs(3),
                response: Duration::from_secs(10),
                read: Duration::from_secs(10),
                idle: Duration::from_secs(60),
                learns_idle: false,
            },
            idle_connections: 64,
            max_tunnels: 2,
            fingerprint: 1,
            metrics: Metrics::new(),
        }
    }

    #[test]
    fn every_upstream_and_endpoint_has_an_id_of_its_own() {
        let one = Upstream::new(on_ports(&[1, 2], Balance::RoundRobin));
        let two = Upstream::new(on_ports(&[1, 2], Balance::RoundRobin));
        assert_ne!(one.id(), two.id());
        assert_ne!(one.endpoints()[0].id(), one.endpoints()[1].id());
        assert_ne!(one.endpoints()[0].id(), two.endpoints()[0].id());
    }
}

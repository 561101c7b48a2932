//! Upstreams: named groups of endpoints, the choice among them, and the connections to them.
//!
//! Owns the addresses an application is reached at, the count of requests in flight to each, and
//! the idle connections that a worker keeps. Knows nothing of routes or tokens and sends what it is
//! given; [`crate::proxy`] decides what that is. An endpoint's bytes are not trusted here either:
//! they reach [`crate::proxy`] only as a head and a body that can be read in one way.

pub mod balance;
pub mod connect;
pub mod connection;
pub mod endpoint;
mod framing;
mod http2;
pub mod pool;
mod receiving;
mod sending;
pub(crate) mod stream;
pub mod switched;
pub(crate) mod upload;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

pub use balance::Balance;
use balance::Balancer;
pub use endpoint::{Address, Endpoint};
pub use sending::Message;

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
    balancer: Balancer,
    timeouts: Timeouts,
    idle_connections: usize,
    max_tunnels: usize,
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
    /// Address and label of each endpoint, in the order of the configuration.
    pub endpoints: Vec<(Address, String)>,
    /// How one endpoint is chosen for a request.
    pub balance: Balance,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// Idle connections kept, over all workers and endpoints; contract default 64, 0 keeps none.
    pub idle_connections: usize,
    /// Switched connections to one endpoint at the same time; contract default 1024.
    pub max_tunnels: usize,
    /// A hash of every expanded setting above: equal means that pools and counts may be kept.
    pub fingerprint: u64,
    /// Where its connections and failures are counted.
    pub metrics: Arc<Metrics>,
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
}

impl Upstream {
    /// Compiles the settings. Nothing is resolved or connected yet.
    pub fn new(settings: Settings) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let labels: Vec<_> = settings.endpoints.iter().map(|(_, label)| label.as_str()).collect();
        let metrics_id = settings.metrics.upstream(&settings.name, &labels);
        let endpoints = settings.endpoints.into_iter();
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            name: settings.name,
            kind: settings.kind,
            protocol: settings.protocol,
            endpoints: endpoints
                .map(|(address, label)| Arc::new(Endpoint::new(address, label)))
                .collect(),
            balancer: Balancer::new(settings.balance),
            timeouts: settings.timeouts,
            idle_connections: settings.idle_connections,
            max_tunnels: settings.max_tunnels,
            fingerprint: settings.fingerprint,
            open: AtomicUsize::new(0),
            metrics: settings.metrics,
            metrics_id,
        }
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
        self.balancer.balance()
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

    /// An endpoint for the next request, none of the `tried` ones; `None` if all were.
    pub(crate) fn pick(&self, tried: &[usize]) -> Option<usize> {
        self.balancer.pick(&self.endpoints, tried)
    }

    /// Counts a failed attempt at the endpoint with this id.
    pub(crate) fn failed(&self, endpoint: u64, fault: UpstreamFault) {
        if let Some(index) = self.endpoints.iter().position(|one| one.id() == endpoint) {
            self.metrics.upstream_error(self.metrics_id, index, fault);
        }
    }

    /// Counts a connection, in use at first, until the guard is dropped.
    fn connected(&self) -> UpstreamConnection {
        self.metrics.upstream_connection(self.metrics_id, PooledState::Active)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An upstream of TCP endpoints on loopback with short timeouts.
    pub(crate) fn on_ports(ports: &[u16], balance: Balance) -> Settings {
        let tcp = |port: &u16| {
            let address = Address::Tcp { host: "127.0.0.1".to_owned(), port: *port };
            (address, format!("http://127.0.0.1:{port}"))
        };
        Settings {
            name: "web".to_owned(),
            kind: Kind::Http,
            protocol: Protocol::Http1,
            endpoints: ports.iter().map(tcp).collect(),
            balance,
            timeouts: Timeouts {
                connect: Duration::from_secs(3),
                response: Duration::from_secs(10),
                read: Duration::from_secs(10),
                idle: Duration::from_secs(60),
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

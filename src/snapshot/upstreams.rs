//! Upstreams: named ones, and those written as a URL inside a route.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::compile::Compiling;
use super::fingerprint::Fingerprint;
use crate::config::{self, Endpoint, UpstreamRef};
use crate::telemetry::ids::UpstreamId;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Address, Balance, Kind, Settings, Timeouts, Upstream};

/// The compiled upstreams, by the name that routes know them by.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    by_name: HashMap<String, Arc<Upstream>>,
    in_order: Vec<Arc<Upstream>>,
}

impl Upstreams {
    /// Compiles every upstream that the configuration names or writes inside a route.
    pub(super) fn compile(compiling: &Compiling<'_>) -> Self {
        let mut upstreams = Self::default();
        for upstream in &compiling.config.upstreams {
            upstreams.add(compiling, settings(upstream, &compiling.surroundings.metrics));
        }
        for route in &compiling.config.routes {
            if let Some(UpstreamRef::Url { text, endpoint }) =
                route.upstream.as_ref().map(|upstream| &upstream.value)
                && !upstreams.by_name.contains_key(text)
            {
                let upstream = config::Upstream::of_url(text, endpoint);
                upstreams.add(compiling, settings(&upstream, &compiling.surroundings.metrics));
            }
        }
        upstreams
    }

    /// The upstream a route refers to.
    pub(super) fn find(&self, reference: &UpstreamRef) -> Option<(Arc<Upstream>, UpstreamId)> {
        let name = match reference {
            UpstreamRef::Name(name) => name,
            UpstreamRef::Url { text, .. } => text,
        };
        self.by_name.get(name).map(|upstream| (Arc::clone(upstream), upstream.metrics_id()))
    }

    pub(super) fn into_list(self) -> Vec<Arc<Upstream>> {
        self.in_order
    }

    /// Adopts the running one if nothing about it changed: its counts and pools go on.
    fn add(&mut self, compiling: &Compiling<'_>, mut settings: Settings) {
        settings.fingerprint = fingerprint(&settings);
        let running = compiling.previous.and_then(|snapshot| {
            snapshot.upstreams.iter().find(|old| {
                old.name() == settings.name && old.fingerprint() == settings.fingerprint
            })
        });
        let name = settings.name.clone();
        let upstream = running.map_or_else(|| Arc::new(Upstream::new(settings)), Arc::clone);
        self.in_order.push(Arc::clone(&upstream));
        self.by_name.insert(name, upstream);
    }
}

fn settings(upstream: &config::Upstream, metrics: &Arc<Metrics>) -> Settings {
    Settings {
        name: upstream.name.value.clone(),
        kind: match upstream.kind {
            config::Kind::Http => Kind::Http,
            config::Kind::Wsgi => Kind::Wsgi,
        },
        endpoints: upstream.endpoints.iter().map(|endpoint| address(&endpoint.value)).collect(),
        balance: match upstream.balance {
            config::Balance::LeastRequests => Balance::LeastRequests,
            config::Balance::RoundRobin => Balance::RoundRobin,
        },
        timeouts: Timeouts {
            connect: upstream.connect_timeout,
            response: upstream.response_timeout,
            read: upstream.read_timeout,
            idle: upstream.idle_timeout,
        },
        idle_connections: upstream.idle_connections,
        max_tunnels: upstream.max_tunnels,
        fingerprint: 0,
        metrics: Arc::clone(metrics),
    }
}

/// An endpoint's address, and its label in logs and metrics.
fn address(endpoint: &Endpoint) -> (Address, String) {
    match endpoint {
        Endpoint::Http { host, port } => {
            let shown = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            (Address::Tcp { host: host.clone(), port: *port }, format!("http://{shown}:{port}"))
        }
        Endpoint::Unix(path) => (Address::Unix(path.clone()), unix_label(path)),
    }
}

fn unix_label(path: &Path) -> String {
    format!("unix:{}", path.display())
}

fn fingerprint(settings: &Settings) -> u64 {
    let times = &settings.timeouts;
    Fingerprint::new()
        .add(&settings.name)
        .add(matches!(settings.kind, Kind::Wsgi))
        .add(&settings.endpoints)
        .add(matches!(settings.balance, Balance::RoundRobin))
        .add((times.connect, times.response, times.read, times.idle))
        .add(settings.idle_connections)
        .add(settings.max_tunnels)
        .finish()
}

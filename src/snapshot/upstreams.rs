//! Upstreams: named ones, and those written as a URL inside a route.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderName;

use super::compile::Compiling;
use super::fingerprint::Fingerprint;
use super::upstream_tls::{self, Secured};
use crate::auth::ClaimPath;
use crate::config::{self, Diagnostic, Endpoint, UpstreamEndpoint, UpstreamRef};
use crate::http::proxy_protocol::Version;
use crate::proxy::{BalanceBy, Sticky};
use crate::telemetry::ids::UpstreamId;
use crate::tls::client::Alpn;
use crate::upstream::health::{Check, Eject};
use crate::upstream::sticky::Marks;
use crate::upstream::{
    Address, Balance, Kind, Protocol, Settings, Timeouts, Upstream, endpoint, resolve,
};

/// The compiled upstreams, by the name that routes know them by.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    by_name: HashMap<String, Arc<Upstream>>,
    balanced_by: HashMap<String, config::Balance>,
    in_order: Vec<Arc<Upstream>>,
}

/// What a route's `upstream` stands for.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) upstream: Arc<Upstream>,
    pub(super) by: Option<BalanceBy>,
    pub(super) id: UpstreamId,
}

impl Upstreams {
    /// Compiles every upstream that the configuration names or writes inside a route.
    pub(super) fn compile(compiling: &mut Compiling<'_>) -> Self {
        let mut upstreams = Self::default();
        let config = compiling.config;
        for upstream in &config.upstreams {
            upstreams.add(compiling, upstream);
        }
        for reference in config.routes.iter().filter_map(|route| route.upstream.as_ref()) {
            if let UpstreamRef::Url { text, endpoint } = &reference.value
                && !upstreams.by_name.contains_key(text)
            {
                let upstream = config::Upstream::of_url(text, endpoint, reference.span.clone());
                upstreams.add(compiling, &upstream);
            }
        }
        upstreams
    }

    /// The upstream a route refers to.
    pub(super) fn find(&self, reference: &UpstreamRef) -> Option<Target> {
        let name = match reference {
            UpstreamRef::Name(name) => name,
            UpstreamRef::Url { text, .. } => text,
        };
        let upstream = Arc::clone(self.by_name.get(name)?);
        let by = self.balanced_by.get(name).and_then(balance_by);
        Some(Target { id: upstream.metrics_id(), upstream, by })
    }

    pub(super) fn into_list(self) -> Vec<Arc<Upstream>> {
        self.in_order
    }

    /// Adopts the running one if nothing about it changed: its counts and pools go on.
    fn add(&mut self, compiling: &mut Compiling<'_>, upstream: &config::Upstream) {
        // What is missing was told.
        let Some(mut settings) = settings(compiling, upstream) else { return };
        settings.fingerprint = fingerprint(&settings);
        let running = compiling.previous.and_then(|snapshot| {
            snapshot.upstreams.iter().find(|old| {
                old.name() == settings.name && old.fingerprint() == settings.fingerprint
            })
        });
        let name = settings.name.clone();
        self.balanced_by.insert(name.clone(), upstream.balance.value.clone());
        let upstream = running.map_or_else(|| Arc::new(Upstream::new(settings)), Arc::clone);
        self.in_order.push(Arc::clone(&upstream));
        self.by_name.insert(name, upstream);
    }
}

/// Names were judged while loading.
fn balance_by(balance: &config::Balance) -> Option<BalanceBy> {
    let by = match balance {
        config::Balance::LeastRequests | config::Balance::RoundRobin => return None,
        config::Balance::Sticky(name) => {
            return Some(BalanceBy::Sticky(Sticky::new(name.clone())));
        }
        config::Balance::Hash(by) => by,
    };
    match by {
        config::HashBy::Ip => Some(BalanceBy::Ip),
        config::HashBy::Header(name) => {
            HeaderName::try_from(name.as_str()).ok().map(BalanceBy::Header)
        }
        config::HashBy::Claim(name) => name.parse::<ClaimPath>().ok().map(BalanceBy::Claim),
        config::HashBy::Cookie(name) => Some(BalanceBy::Cookie(name.clone())),
    }
}

fn settings(compiling: &mut Compiling<'_>, upstream: &config::Upstream) -> Option<Settings> {
    let endpoints = endpoints(compiling, upstream)?;
    let preset = Preset::of(upstream.kind);
    let marks = marks(compiling, upstream)?;
    Some(Settings {
        name: upstream.name.value.clone(),
        kind: match upstream.kind {
            config::Kind::Asgi => Kind::Asgi,
            config::Kind::Grpc => Kind::Grpc,
            config::Kind::Http => Kind::Http,
            config::Kind::Node => Kind::Node,
            config::Kind::Wsgi => Kind::Wsgi,
        },
        protocol: protocol(upstream),
        endpoints,
        names: names(compiling, upstream),
        balance: match upstream.balance.value {
            config::Balance::LeastRequests => Balance::LeastRequests,
            config::Balance::RoundRobin => Balance::RoundRobin,
            config::Balance::Hash(_) => Balance::Keyed,
            config::Balance::Sticky(_) => Balance::Sticky,
        },
        marks,
        max_requests: upstream.max_requests,
        queue: (upstream.queue.size, upstream.queue.timeout),
        retries: upstream.retries,
        eject: match &upstream.eject {
            config::Eject::Off => None,
            config::Eject::After(eject) => Some(Eject { after: eject.after, time: eject.time }),
        },
        check: upstream.health.as_ref().map(|check| Check {
            path: check.path.value.clone(),
            host: check.host.as_ref().map(|host| host.value.clone()),
            interval: check.interval,
            timeout: check.timeout,
            fall: check.fall,
            rise: check.rise,
        }),
        slow_start: upstream.slow_start.unwrap_or_default(),
        timeouts: Timeouts {
            connect: upstream.connect_timeout,
            response: upstream.response_timeout.unwrap_or(preset.response),
            read: upstream.read_timeout.unwrap_or(preset.read),
            idle: match upstream.idle_timeout {
                Some(config::IdleTimeout::After(time)) => time,
                Some(config::IdleTimeout::Auto) | None => preset.idle,
            },
            learns_idle: upstream.idle_timeout == Some(config::IdleTimeout::Auto),
        },
        idle_connections: upstream.idle_connections,
        max_tunnels: upstream.max_tunnels,
        names_clients: match upstream.send_proxy_protocol.value {
            config::SendProxyProtocol::Off => None,
            config::SendProxyProtocol::V1 => Some(Version::V1),
            config::SendProxyProtocol::V2 => Some(Version::V2),
        },
        fingerprint: 0,
        metrics: Arc::clone(&compiling.surroundings.metrics),
    })
}

/// What endpoints are called in cookies, if they are; `None` after a diagnostic.
fn marks(compiling: &mut Compiling<'_>, upstream: &config::Upstream) -> Option<Option<Marks>> {
    let config::Balance::Sticky(_) = upstream.balance.value else { return Some(None) };
    if let Some(secret) = &upstream.sticky_secret {
        return Some(Some(Marks::new(secret.expose().as_bytes())));
    }
    let marks = Marks::of_this_process();
    if marks.is_none() {
        let message = "the system has no random bytes for the names of endpoints";
        compiling.report(
            Diagnostic::error(upstream.balance.span.clone(), message)
                .path(format!("upstream.{}.balance", upstream.name.value))
                .hint("set `sticky_secret`"),
        );
    }
    marks.map(Some)
}

/// What is spoken to all endpoints: loading made sure that they agree.
fn protocol(upstream: &config::Upstream) -> Protocol {
    let is_h2c = |one: &UpstreamEndpoint| matches!(one.0.url.value, Endpoint::H2c { .. });
    if upstream.kind == config::Kind::Grpc || upstream.endpoints.iter().any(is_h2c) {
        Protocol::Http2
    } else {
        Protocol::Http1
    }
}

/// What a kind of server means for settings that are not written (docs/upstream-kinds.md).
struct Preset {
    response: Duration,
    read: Duration,
    idle: Duration,
}

impl Preset {
    const fn of(kind: config::Kind) -> Self {
        let minute = Duration::from_secs(60);
        // Gunicorn closes an idle connection after 2 s, uvicorn and Node after 5 s.
        let (wait, idle) = match kind {
            config::Kind::Http | config::Kind::Wsgi => (minute, Duration::from_millis(1500)),
            config::Kind::Asgi | config::Kind::Node => (minute, Duration::from_secs(4)),
            // A call says by itself how long it may take (grpc-timeout), and one that waits for
            // events may say nothing for long.
            config::Kind::Grpc => (Duration::from_secs(60 * 60), Duration::from_secs(5 * 60)),
        };
        Self { response: wait, read: wait, idle }
    }
}

/// `None` after a diagnostic.
fn endpoints(
    compiling: &mut Compiling<'_>,
    upstream: &config::Upstream,
) -> Option<Vec<endpoint::Settings>> {
    let secured = |one: &UpstreamEndpoint| matches!(one.0.url.value, Endpoint::Https { .. });
    let tls = match upstream.endpoints.iter().any(secured) {
        true => {
            let alpn = match protocol(upstream) {
                Protocol::Http1 => Alpn::Http1,
                Protocol::Http2 => Alpn::Http2,
            };
            Some(upstream_tls::compile(compiling, upstream, alpn)?)
        }
        false => None,
    };
    let mut endpoints = Vec::new();
    let mut whole = true;
    for UpstreamEndpoint(one) in &upstream.endpoints {
        let endpoint = &one.url;
        if matches!(endpoint.value, Endpoint::Dns { .. }) {
            continue;
        }
        whole &= address(&endpoint.value, tls.as_ref()).is_some();
        match address(&endpoint.value, tls.as_ref()) {
            Some((address, label)) => endpoints.push(endpoint::Settings {
                address,
                label,
                weight: one.weight,
                backup: one.backup,
            }),
            None => compiling.report(
                Diagnostic::error(endpoint.span.clone(), "no certificate can be for this host")
                    .path(format!("upstream.{}.endpoints", upstream.name.value))
                    .hint("say which name its certificate has: `tls = { server_name = \"...\" }`"),
            ),
        }
    }
    whole.then_some(endpoints)
}

/// Names whose addresses are endpoints, and those that the running upstream of this name has found:
/// a reload begins with them.
fn names(compiling: &Compiling<'_>, upstream: &config::Upstream) -> Vec<resolve::Settings> {
    let running = || compiling.previous.into_iter().flat_map(|snapshot| &snapshot.upstreams);
    let name = |UpstreamEndpoint(one): &UpstreamEndpoint| {
        let Endpoint::Dns { host, port } = &one.url.value else { return None };
        let last = running().find_map(|upstream| upstream.last_of(host, *port));
        Some(resolve::Settings {
            host: host.clone(),
            port: *port,
            weight: one.weight,
            backup: one.backup,
            last: last.unwrap_or_default(),
        })
    };
    upstream.endpoints.iter().filter_map(name).collect()
}

/// An endpoint's address, and its label in logs and metrics.
fn address(endpoint: &Endpoint, tls: Option<&Secured>) -> Option<(Address, String)> {
    let label = |scheme: &str, host: &str, port: u16| match host.contains(':') {
        true => format!("{scheme}://[{host}]:{port}"),
        false => format!("{scheme}://{host}:{port}"),
    };
    Some(match endpoint {
        Endpoint::Http { host, port } => {
            (Address::Tcp { host: host.clone(), port: *port }, label("http", host, *port))
        }
        Endpoint::H2c { host, port } => {
            (Address::Tcp { host: host.clone(), port: *port }, label("h2c", host, *port))
        }
        Endpoint::Https { host, port } => {
            let destination = tls?.destination(host)?;
            let address = Address::Tls { host: host.clone(), port: *port, destination };
            (address, label("https", host, *port))
        }
        Endpoint::Unix(path) => (Address::Unix(path.clone()), unix_label(path)),
        Endpoint::Dns { .. } => return None,
    })
}

fn unix_label(path: &Path) -> String {
    format!("unix:{}", path.display())
}

fn fingerprint(settings: &Settings) -> u64 {
    let times = &settings.timeouts;
    Fingerprint::new()
        .add(&settings.name)
        .add((settings.kind, settings.protocol))
        .add(&settings.endpoints)
        .add(settings.names.iter().map(resolve::Settings::configured).collect::<Vec<_>>())
        .add(settings.balance)
        // Of the secret, and not the secret.
        .add(settings.marks.as_ref().map(|marks| marks.mark("").text()))
        .add((settings.max_requests, settings.queue, settings.retries))
        .add((settings.eject, &settings.check, settings.slow_start))
        .add((times.connect, times.response, times.read, times.idle, times.learns_idle))
        .add(settings.idle_connections)
        .add(settings.max_tunnels)
        .add(settings.names_clients)
        .finish()
}

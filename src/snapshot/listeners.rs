//! Listeners: certificates, redirects, and the slots that outlive a reload.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::compile::Compiling;
use super::plan::{ListenerPlan, Redirect};
use crate::config::{self, ClientAuthMode, Diagnostic, Listener, ListenerTls, Protocol};
use crate::http::{Networks, Scheme};
use crate::server::ListenAddress;
use crate::tls::certificate::{Certificate, CertificateError, Certificates, UnknownName};
use crate::tls::client_auth::{ClientAuth, ClientFiles, Demand};
use crate::tls::server::{Alpn, Files, MinVersion, Offer, ServerTls};

/// What the server needs of a listener: where it listens, and what it speaks there.
#[derive(Debug)]
pub struct ListenerSpec {
    /// The slot of its plan.
    pub slot: usize,
    /// Where it listens.
    pub address: ListenAddress,
    /// Its certificates and protocols; `None` for plain HTTP.
    pub tls: Option<ServerTls>,
    /// The peers whose connections begin with a PROXY protocol header.
    pub proxies: Networks,
    /// Where `address` stands in the file, for a bind that fails.
    pub span: std::ops::Range<usize>,
}

/// The compiled listeners.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) plans: Vec<Arc<ListenerPlan>>,
    pub(super) specs: Vec<ListenerSpec>,
}

/// Gives every listener its slot: the one it has in the running snapshot, else the next.
///
/// Connections carry the slot of the listener that accepted them, over reloads. Slots are never
/// reused: they are as many as names were ever configured in the life of the process.
pub(super) fn slots(compiling: &Compiling<'_>) -> HashMap<String, usize> {
    let mut slots: HashMap<String, usize> = compiling
        .previous
        .into_iter()
        .flat_map(|snapshot| snapshot.listeners.iter().enumerate())
        .map(|(slot, plan)| (plan.name.to_string(), slot))
        .collect();
    for listener in &compiling.config.listeners {
        let next = slots.len();
        slots.entry(listener.name.value.clone()).or_insert(next);
    }
    slots
}

pub(super) fn compile(compiling: &mut Compiling<'_>) -> Listeners {
    let config = compiling.config;
    let mut plans: Vec<_> =
        compiling.previous.map(|snapshot| snapshot.listeners.clone()).unwrap_or_default();
    let mut specs = Vec::new();
    let mut tls: HashMap<&str, ServerTls> = HashMap::new();
    for listener in &config.listeners {
        if let Some(settings) = &listener.tls
            && let Some(loaded) = server_tls(compiling, listener, settings)
        {
            tls.insert(&listener.name.value, loaded);
        }
    }
    for listener in &config.listeners {
        let Some(slot) = compiling.listener_slot(&listener.name.value) else { continue };
        redirects_to_tls(compiling, listener);
        let own = tls.get(listener.name.value.as_str()).cloned();
        let plan = Arc::new(plan(compiling, listener, own.clone(), &tls));
        if slot < plans.len() {
            if let Some(place) = plans.get_mut(slot) {
                *place = plan;
            }
        } else {
            plans.push(plan);
        }
        specs.push(ListenerSpec {
            slot,
            address: address(&listener.address.value),
            tls: own,
            proxies: networks(&listener.proxy_protocol),
            span: listener.address.span.clone(),
        });
    }
    Listeners { plans, specs }
}

/// Reports a redirect that leads nowhere safe: without one the listener would serve every route in
/// clear text, which is the last thing its `redirect_to` was written for.
fn redirects_to_tls(compiling: &mut Compiling<'_>, listener: &Listener) {
    let Some(to) = &listener.redirect_to else { return };
    let is_plain = |one: &Listener| one.name.value == to.value && one.tls.is_none();
    if compiling.config.listeners.iter().any(is_plain) {
        let message = format!("listener {} has no TLS", compiling.source.shown(to));
        compiling.report(
            Diagnostic::error(to.span.clone(), message)
                .path(format!("listener.{}.redirect_to", listener.name.value))
                .hint("redirect to a listener with a `tls` table"),
        );
    }
}

fn plan(
    compiling: &Compiling<'_>,
    listener: &Listener,
    own: Option<ServerTls>,
    tls: &HashMap<&str, ServerTls>,
) -> ListenerPlan {
    let redirect = listener.redirect_to.as_ref().and_then(|to| {
        let target = compiling.config.listeners.iter().find(|one| one.name.value == to.value)?;
        let tls = tls.get(to.value.as_str())?;
        Some(Redirect { port: public_port(target), tls: tls.clone() })
    });
    ListenerPlan {
        name: Arc::from(listener.name.value.as_str()),
        id: compiling.surroundings.metrics.listener(&listener.name.value),
        scheme: if listener.tls.is_some() { Scheme::Https } else { Scheme::Http },
        public_port: public_port(listener),
        redirect,
        asks_clients: own.clone().filter(|own| own.current().client_auth.is_some()),
        tls: own,
    }
}

fn public_port(listener: &Listener) -> u16 {
    listener.public_port.unwrap_or(match (&listener.address.value, listener.tls.is_some()) {
        (config::Address::Tcp { port, .. }, _) => *port,
        (config::Address::Unix(_), true) => 443,
        (config::Address::Unix(_), false) => 80,
    })
}

fn address(address: &config::Address) -> ListenAddress {
    match address {
        config::Address::Tcp { host, port } => {
            ListenAddress::Tcp { host: host.clone(), port: *port }
        }
        config::Address::Unix(path) => ListenAddress::Unix(path.clone()),
    }
}

/// Networks of peers as the file lists them.
pub(super) fn networks(listed: &[config::Spanned<config::PeerNetwork>]) -> Networks {
    let networks = listed.iter().filter_map(|one| match one.value {
        config::PeerNetwork::Network(network) => Some(network),
        config::PeerNetwork::Unix => None,
    });
    Networks::new(networks, listed.iter().any(|one| one.value == config::PeerNetwork::Unix))
}

// === TLS ===

fn server_tls(
    compiling: &mut Compiling<'_>,
    listener: &Listener,
    settings: &ListenerTls,
) -> Option<ServerTls> {
    let certificates = certificates(compiling, listener, settings);
    // Before giving up, so that all problems are told at once.
    let clients = client_files(settings);
    let client_auth = match &clients {
        Some(files) => Some(client_auth(compiling, listener, settings, files)?),
        None => None,
    };
    let pairs = settings.certificates.iter();
    let pairs = pairs.map(|pair| (pair.cert.value.clone(), pair.key.value.clone())).collect();
    let files = Files { pairs, clients };
    let made =
        ServerTls::new(offer(compiling, listener, settings), files, certificates?, client_auth);
    match made {
        Ok(tls) => Some(tls),
        Err(error) => {
            compiling.report(
                Diagnostic::error(settings.span.clone(), error.to_string())
                    .path(format!("listener.{}.tls", listener.name.value)),
            );
            None
        }
    }
}

fn offer(compiling: &Compiling<'_>, listener: &Listener, settings: &ListenerTls) -> Offer {
    let min_version = match settings.min_version {
        config::TlsVersion::V1_2 => MinVersion::Tls12,
        config::TlsVersion::V1_3 => MinVersion::Tls13,
    };
    let protocols = match &listener.protocols {
        None => vec![Alpn::H2, Alpn::Http1],
        Some(protocols) => protocols
            .iter()
            .map(|protocol| match protocol {
                Protocol::H2 => Alpn::H2,
                Protocol::Http1 => Alpn::Http1,
            })
            .collect(),
    };
    Offer { min_version, protocols, tickets: Arc::clone(&compiling.surroundings.tickets) }
}

fn certificates(
    compiling: &mut Compiling<'_>,
    listener: &Listener,
    tls: &ListenerTls,
) -> Option<Arc<Certificates>> {
    let mut entries = Vec::new();
    for pair in &tls.certificates {
        match Certificate::load(&pair.cert.value, &pair.key.value) {
            Ok(certificate) => {
                let name = pair.cert.value.display().to_string();
                let metrics = &compiling.surroundings.metrics;
                metrics.certificate_not_after(&name, certificate.not_after());
                compiling.expiry(pair, certificate.not_after());
                entries.push(Arc::new(certificate));
            }
            Err(error) => {
                let at = if error.path == pair.key.value { &pair.key } else { &pair.cert };
                let path = format!("listener.{}.tls.certificates", listener.name.value);
                let hint = "`portcullis init` writes a development certificate into certs/";
                unusable(compiling, at, &error, path, hint);
            }
        }
    }
    let unknown = match tls.unknown_name {
        config::UnknownName::First => UnknownName::First,
        config::UnknownName::Reject => UnknownName::Reject,
    };
    (entries.len() == tls.certificates.len()).then(|| Arc::new(Certificates::new(entries, unknown)))
}

/// Where the policy about clients' certificates is read from; `None` if nobody is asked.
fn client_files(tls: &ListenerTls) -> Option<ClientFiles> {
    let auth = tls.client_auth.as_ref()?;
    let demand = match auth.mode.as_ref()?.value {
        ClientAuthMode::Off => return None,
        ClientAuthMode::Request => Demand::Request,
        ClientAuthMode::Require => Demand::Require,
    };
    let crls = auth.crl.iter().map(|list| list.value.clone()).collect();
    Some(ClientFiles { demand, ca: auth.ca.as_ref()?.value.clone(), crls })
}

fn client_auth(
    compiling: &mut Compiling<'_>,
    listener: &Listener,
    tls: &ListenerTls,
    files: &ClientFiles,
) -> Option<Arc<ClientAuth>> {
    let auth = tls.client_auth.as_ref()?;
    match ClientAuth::load(files) {
        Ok(loaded) => {
            for list in &auth.crl {
                if loaded.is_overdue(&list.value, compiling.surroundings.clock.wall()) {
                    let message = "the list is overdue: every certificate of its issuer is refused";
                    compiling.report(
                        Diagnostic::warning(list.span.clone(), message)
                            .hint("put the authority's newest list there"),
                    );
                }
            }
            Some(Arc::new(loaded))
        }
        Err(error) => {
            let list = auth.crl.iter().find(|list| list.value == error.path);
            let at = list.or(auth.ca.as_ref())?;
            let (path, hint) = match list {
                Some(_) => ("crl", "PEM or DER, as the authority publishes it"),
                None => ("ca", "PEM, with the roots that sign your clients' certificates"),
            };
            let path = format!("listener.{}.tls.client_auth.{path}", listener.name.value);
            unusable(compiling, at, &error, path, hint);
            None
        }
    }
}

fn unusable(
    compiling: &mut Compiling<'_>,
    at: &config::Spanned<PathBuf>,
    error: &CertificateError,
    path: String,
    hint: &str,
) {
    if compiling.previous.is_some() {
        compiling.surroundings.metrics.certificate_reload_failed();
    }
    let message = format!("{}: {}", compiling.shown(at), error.fault);
    compiling.report(Diagnostic::error(at.span.clone(), message).path(path).hint(hint));
}

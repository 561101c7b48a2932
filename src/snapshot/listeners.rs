//! Listeners: certificates, redirects, and the slots that outlive a reload.

use std::collections::HashMap;
use std::sync::Arc;

use super::compile::Compiling;
use super::plan::{ListenerPlan, Redirect};
use crate::config::{self, Diagnostic, Listener, ListenerTls, Protocol};
use crate::http::Scheme;
use crate::server::ListenAddress;
use crate::tls::certificate::{Certificate, Certificates, UnknownName};
use crate::tls::server::{Alpn, MinVersion, ServerTls};

/// What the server needs of a listener: where it listens, and what it speaks there.
#[derive(Debug)]
pub struct ListenerSpec {
    /// The slot of its plan.
    pub slot: usize,
    /// Where it listens.
    pub address: ListenAddress,
    /// Its certificates and protocols; `None` for plain HTTP.
    pub tls: Option<ServerTls>,
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
    let mut certificates: HashMap<&str, Arc<Certificates>> = HashMap::new();
    for listener in &config.listeners {
        if let Some(tls) = &listener.tls
            && let Some(loaded) = load(compiling, listener, tls)
        {
            certificates.insert(&listener.name.value, loaded);
        }
    }
    for listener in &config.listeners {
        let Some(slot) = compiling.listener_slot(&listener.name.value) else { continue };
        redirects_to_tls(compiling, listener);
        let own = certificates.get(listener.name.value.as_str()).cloned();
        let plan = Arc::new(plan(compiling, listener, own.clone(), &certificates));
        if slot < plans.len() {
            if let Some(place) = plans.get_mut(slot) {
                *place = plan;
            }
        } else {
            plans.push(plan);
        }
        let tls = own.and_then(|own| server_tls(compiling, listener, own));
        specs.push(ListenerSpec {
            slot,
            address: address(&listener.address.value),
            tls,
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
    own: Option<Arc<Certificates>>,
    certificates: &HashMap<&str, Arc<Certificates>>,
) -> ListenerPlan {
    let redirect = listener.redirect_to.as_ref().and_then(|to| {
        let target = compiling.config.listeners.iter().find(|one| one.name.value == to.value)?;
        let certificates = certificates.get(to.value.as_str())?;
        Some(Redirect { port: public_port(target), certificates: Arc::clone(certificates) })
    });
    ListenerPlan {
        name: Arc::from(listener.name.value.as_str()),
        id: compiling.surroundings.metrics.listener(&listener.name.value),
        scheme: if listener.tls.is_some() { Scheme::Https } else { Scheme::Http },
        public_port: public_port(listener),
        redirect,
        certificates: own,
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

// === TLS ===

fn load(
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
                entries.push(certificate);
            }
            Err(error) => {
                if compiling.previous.is_some() {
                    compiling.surroundings.metrics.certificate_reload_failed();
                }
                let at = if error.path == pair.key.value { &pair.key } else { &pair.cert };
                let message = format!("{}: {}", compiling.shown(at), error.fault);
                let path = format!("listener.{}.tls.certificates", listener.name.value);
                compiling.report(
                    Diagnostic::error(at.span.clone(), message)
                        .path(path)
                        .hint("`portcullis init` writes a development certificate into certs/"),
                );
            }
        }
    }
    let unknown = match tls.unknown_name {
        config::UnknownName::First => UnknownName::First,
        config::UnknownName::Reject => UnknownName::Reject,
    };
    (entries.len() == tls.certificates.len()).then(|| Arc::new(Certificates::new(entries, unknown)))
}

fn server_tls(
    compiling: &mut Compiling<'_>,
    listener: &Listener,
    certificates: Arc<Certificates>,
) -> Option<ServerTls> {
    let tls = listener.tls.as_ref()?;
    let min_version = match tls.min_version {
        config::TlsVersion::V1_2 => MinVersion::Tls12,
        config::TlsVersion::V1_3 => MinVersion::Tls13,
    };
    let protocols: Vec<_> = match &listener.protocols {
        None => vec![Alpn::H2, Alpn::Http1],
        Some(protocols) => protocols
            .iter()
            .map(|protocol| match protocol {
                Protocol::H2 => Alpn::H2,
                Protocol::Http1 => Alpn::Http1,
            })
            .collect(),
    };
    let tickets = &compiling.surroundings.tickets;
    match ServerTls::new(certificates, min_version, &protocols, tickets) {
        Ok(tls) => Some(tls),
        Err(error) => {
            compiling.report(
                Diagnostic::error(tls.span.clone(), error.to_string())
                    .path(format!("listener.{}.tls", listener.name.value)),
            );
            None
        }
    }
}

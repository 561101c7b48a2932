//! Binding: every listener and the admin address, or a diagnostic for each that can't be.

use std::collections::HashMap;

use crate::config::{self, Diagnostic, Diagnostics, Loaded};
use crate::server::{self, Bound, ListenAddress};
use crate::snapshot::ListenerSpec;

/// What a bound listener is known by over reloads: its address, and its slot where the system
/// chooses the port, since two such addresses differ.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    address: ListenAddress,
    slot: Option<usize>,
}

impl Place {
    pub(super) fn of(spec: &ListenerSpec) -> Self {
        let slot = match &spec.address {
            ListenAddress::Tcp { port: 0, .. } => Some(spec.slot),
            ListenAddress::Tcp { .. } | ListenAddress::Unix(_) => None,
        };
        Self { address: spec.address.clone(), slot }
    }
}

/// Sockets that are bound and wait for their acceptors.
pub(super) type Sockets = HashMap<Place, Bound>;

pub(super) fn bind_all<'a>(
    loaded: &Loaded,
    specs: impl IntoIterator<Item = &'a ListenerSpec>,
) -> Result<Sockets, Diagnostics> {
    let mut bound = HashMap::new();
    let mut failed = Vec::new();
    for spec in specs {
        match server::bind(&spec.address) {
            Ok(socket) => {
                bound.insert(Place::of(spec), socket);
            }
            Err(error) => failed.push(not_bound(spec.span.clone(), &error)),
        }
    }
    if failed.is_empty() { Ok(bound) } else { Err(Diagnostics::new(loaded.source.clone(), failed)) }
}

fn not_bound(span: std::ops::Range<usize>, error: &std::io::Error) -> Diagnostic {
    let diagnostic = Diagnostic::error(span, format!("can't listen here: {error}"));
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            diagnostic.hint("is another process, or another gateway, using it?")
        }
        std::io::ErrorKind::PermissionDenied => {
            diagnostic.hint("ports below 1024 need CAP_NET_BIND_SERVICE")
        }
        _ => diagnostic,
    }
}

pub(super) fn bind_admin(loaded: &Loaded) -> Result<Bound, Diagnostics> {
    let address = &loaded.config.admin.address;
    let listen = match &address.value {
        config::Address::Tcp { host, port } => {
            ListenAddress::Tcp { host: host.clone(), port: *port }
        }
        config::Address::Unix(path) => ListenAddress::Unix(path.clone()),
    };
    server::bind(&listen).map_err(|error| {
        let diagnostic = not_bound(address.span.clone(), &error).path("admin.address");
        Diagnostics::new(loaded.source.clone(), vec![diagnostic])
    })
}

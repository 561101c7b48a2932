//! Binding: every listener and the admin address, or a diagnostic for each that can't be.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use crate::config::{self, Diagnostic, Diagnostics, Loaded};
use crate::server::{self, Bound, ListenAddress, Listening};
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

/// Binds what a configuration listens on and `running` does not yet. What `running` has of the same
/// port, and the configuration no more, is no obstacle.
pub(super) fn bind_all<'a>(
    loaded: &Loaded,
    specs: impl IntoIterator<Item = &'a ListenerSpec>,
    running: &HashMap<Place, Listening>,
) -> Result<Sockets, Diagnostics> {
    let specs: Vec<_> = specs.into_iter().map(|spec| (Place::of(spec), spec)).collect();
    let (staying, leaving): (Vec<_>, Vec<_>) =
        running.iter().partition(|(place, _)| specs.iter().any(|(other, _)| other == *place));
    let mut taken: Vec<_> = staying.iter().filter_map(|(_, one)| one.local_addr()).collect();
    let mut bound = HashMap::new();
    let mut failed = Vec::new();
    let mut in_the_way = Vec::new();
    for (place, spec) in specs.into_iter().filter(|(place, _)| !running.contains_key(place)) {
        let beside = of_same_port(&leaving, &spec.address);
        match server::bind(&spec.address) {
            Ok(socket) => {
                taken.extend(socket.local_addr());
                bound.insert(place, socket);
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse && !beside.is_empty() => {
                in_the_way.push((place, spec, beside));
            }
            Err(error) => failed.push(not_bound(spec.span.clone(), &error)),
        }
    }
    // Last, and only if nothing else is wrong: a connection that such a socket takes from one that
    // stays after all would be lost.
    for (place, spec, beside) in in_the_way {
        if !failed.is_empty() {
            break;
        }
        match beside_ours(spec, &beside, &mut taken) {
            Ok(socket) => {
                bound.insert(place, socket);
            }
            Err(error) => failed.push(not_bound(spec.span.clone(), &error)),
        }
    }
    if failed.is_empty() { Ok(bound) } else { Err(Diagnostics::new(loaded.source.clone(), failed)) }
}

fn of_same_port(leaving: &[(&Place, &Listening)], address: &ListenAddress) -> Vec<Listening> {
    let ListenAddress::Tcp { port, .. } = address else { return Vec::new() };
    let same = |one: &&Listening| one.local_addr().is_some_and(|address| address.port() == *port);
    leaving.iter().map(|(_, one)| *one).filter(same).cloned().collect()
}

/// While ports are shared, the system does not see that two of ours are the same.
fn beside_ours(
    spec: &ListenerSpec,
    leaving: &[Listening],
    taken: &mut Vec<SocketAddr>,
) -> io::Result<Bound> {
    let socket = server::bind_beside(&spec.address, leaving)?;
    let Some(address) = socket.local_addr() else { return Ok(socket) };
    // It was in use: by ours that leave, or by another program that shares with everybody.
    let ours = leaving.iter().filter_map(Listening::local_addr).any(|one| overlap(one, address));
    if !ours || taken.iter().any(|other| overlap(*other, address)) {
        return Err(rustix::io::Errno::ADDRINUSE.into());
    }
    taken.push(address);
    Ok(socket)
}

/// Whether a connection could be meant for both.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |wide: SocketAddr, narrow: SocketAddr| {
        wide.ip().is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4())
    };
    let meet = one.ip() == other.ip() || covers(one, other) || covers(other, one);
    one.port() == other.port() && meet
}

fn not_bound(span: std::ops::Range<usize>, error: &io::Error) -> Diagnostic {
    let diagnostic = Diagnostic::error(span, format!("can't listen here: {error}"));
    match error.kind() {
        ErrorKind::AddrInUse => {
            diagnostic.hint("is another process, or another gateway, using it?")
        }
        ErrorKind::PermissionDenied => {
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

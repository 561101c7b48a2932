//! One address of an upstream, and how busy it is.
//!
//! Owns the count of requests in flight, which all workers share; trusts the configuration that
//! named the address.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;

use crate::tls::client::Destination;

/// One address of an upstream.
#[derive(Debug)]
pub struct Endpoint {
    id: u64,
    address: Address,
    label: String,
    in_flight: CachePadded<AtomicUsize>,
    tunnels: AtomicUsize,
}

/// Where an endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A host and a port.
    Tcp {
        /// A name, or an IP address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// The same over TLS.
    Tls {
        /// A name, or an IP address without brackets.
        host: String,
        /// The port.
        port: u16,
        /// Who has to answer there.
        destination: Destination,
    },
    /// A unix socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// An idle endpoint; `label` names it in logs and metrics.
    pub fn new(address: Address, label: String) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            address,
            label,
            in_flight: CachePadded::new(AtomicUsize::new(0)),
            tunnels: AtomicUsize::new(0),
        }
    }

    /// Unique in this process, never reused.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The scheme that requests to it are for.
    pub fn scheme(&self) -> &'static str {
        match self.address {
            Address::Tcp { .. } | Address::Unix(_) => "http",
            Address::Tls { .. } => "https",
        }
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its name in logs and metrics.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Requests in flight, over all workers.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Switched connections, over all workers.
    pub fn tunnels(&self) -> usize {
        self.tunnels.load(Ordering::Relaxed)
    }

    /// Counts one switched connection until the guard is dropped; `None` if there are `max`.
    pub(crate) fn claim_tunnel(self: &Arc<Self>, max: usize) -> Option<TunnelClaim> {
        let free = |open: usize| (open < max).then_some(open + 1);
        self.tunnels.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
        Some(TunnelClaim(Arc::clone(self)))
    }

    /// Counts one request until the guard is dropped.
    pub(crate) fn claim(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }
}

/// One request in flight: a guard, so that a client that goes away is not counted for ever.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Endpoint>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One switched connection, or one that asks for it.
#[derive(Debug)]
pub(crate) struct TunnelClaim(Arc<Endpoint>);

impl Drop for TunnelClaim {
    fn drop(&mut self) {
        self.0.tunnels.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunnels_have_a_limit_and_come_back() {
        let endpoint = Arc::new(Endpoint::new(Address::Unix("/x".into()), "x".to_owned()));
        let held: Vec<_> = (0..3).filter_map(|_| endpoint.claim_tunnel(2)).collect();
        assert_eq!((held.len(), endpoint.tunnels()), (2, 2));
        drop(held);
        assert_eq!(endpoint.tunnels(), 0);
        assert!(endpoint.claim_tunnel(2).is_some());
        assert!(endpoint.claim_tunnel(0).is_none());
    }
}

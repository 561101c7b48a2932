//! One address of an upstream, and how busy it is.
//!
//! Owns the count of requests in flight, which all workers share; trusts the configuration that
//! named the address.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;

/// One address of an upstream.
#[derive(Debug)]
pub struct Endpoint {
    id: u64,
    address: Address,
    label: String,
    in_flight: CachePadded<AtomicUsize>,
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
        }
    }

    /// Unique in this process, never reused.
    pub fn id(&self) -> u64 {
        self.id
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

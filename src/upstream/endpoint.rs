//! One address of an upstream, how busy it is, and what is believed of it.
//!
//! Owns the count of requests in flight, which all workers share, and its limit; trusts the
//! configuration that named the address. Whoever lets go of a slot calls the first in line.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use super::absence::Presence;
use super::balance::hash;
use super::health::Health;
use super::idle::Learned;
use super::queue::Queue;
use super::sticky::{Mark, Marks};
use crate::tls::client::Destination;

/// One address of an upstream.
#[derive(Debug)]
pub struct Endpoint {
    id: u64,
    address: Address,
    label: String,
    label_hash: u64,
    mark: Option<Mark>,
    weight: u32,
    backup: bool,
    load: CachePadded<Load>,
    tunnels: AtomicUsize,
    presence: Presence,
    queue: Arc<Queue>,
    /// Where it is learned how long idle connections live.
    learned: Option<Arc<Learned>>,
}

/// What every choice of an endpoint reads, on one cache line.
#[derive(Debug, Default)]
struct Load {
    in_flight: AtomicUsize,
    health: Health,
}

/// What an [`Endpoint`] is made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Where it listens.
    pub address: Address,
    /// Its name in logs and metrics.
    pub label: String,
    /// Its share among the others, 1 to 1000; contract default 1.
    pub weight: u32,
    /// Used only while none of the others can be.
    pub backup: bool,
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
    /// An idle endpoint; `queue` is the line of those who wait for it or another.
    pub(super) fn new(
        settings: Settings,
        queue: &Arc<Queue>,
        learned: Option<Learned>,
        marks: Option<&Marks>,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            address: settings.address,
            label_hash: hash(settings.label.as_bytes()),
            mark: marks.map(|marks| marks.mark(&settings.label)),
            label: settings.label,
            weight: settings.weight,
            backup: settings.backup,
            load: CachePadded::default(),
            tunnels: AtomicUsize::new(0),
            presence: Presence::default(),
            queue: Arc::clone(queue),
            learned: learned.map(Arc::new),
        }
    }

    /// For how long an idle connection may be used again, where that is learned.
    pub fn idle_limit(&self) -> Option<Duration> {
        self.learned.as_ref().map(|learned| learned.limit())
    }

    /// Where that is learned.
    pub(super) fn learned(&self) -> Option<&Arc<Learned>> {
        self.learned.as_ref()
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

    /// What keys are mixed with, to rank it.
    pub(super) fn label_hash(&self) -> u64 {
        self.label_hash
    }

    /// What cookies call it, where they lead back to it.
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// Its share among the others.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Whether it is used only while none of the others can be.
    pub fn is_backup(&self) -> bool {
        self.backup
    }

    /// What is believed of it.
    pub fn health(&self) -> &Health {
        &self.load.health
    }

    /// Whether somebody listens there.
    pub(super) fn presence(&self) -> &Presence {
        &self.presence
    }

    /// Requests in flight, over all workers.
    pub fn in_flight(&self) -> usize {
        self.load.in_flight.load(Ordering::Relaxed)
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

    /// Counts one request until the guard is dropped; `None` if there are `max`.
    ///
    /// Never counted first and taken back: who is called while the count is too high for a moment
    /// would go on waiting. The read that finds no slot has its place in the one order of all
    /// `SeqCst` operations, too: who stands in line and finds none is seen by whoever frees one.
    pub(super) fn claim(self: &Arc<Self>, max: usize) -> Option<InFlight> {
        let free = |count: usize| (count < max).then_some(count + 1);
        self.load.in_flight.fetch_update(Ordering::SeqCst, Ordering::SeqCst, free).ok()?;
        Some(InFlight(Arc::clone(self)))
    }

    /// Counts one request, whatever the limit.
    #[cfg(test)]
    pub(crate) fn count(self: &Arc<Self>) -> InFlight {
        self.load.in_flight.fetch_add(1, Ordering::SeqCst);
        InFlight(Arc::clone(self))
    }
}

/// One request in flight: a guard, so that a client that goes away is not counted for ever.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Endpoint>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.load.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.0.queue.call();
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
pub(super) mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    /// An endpoint that nobody connects to.
    pub(in crate::upstream) fn unix(label: &str) -> Endpoint {
        weighted(label, 1, false)
    }

    pub(in crate::upstream) fn weighted(label: &str, weight: u32, backup: bool) -> Endpoint {
        called(label, weight, backup, None)
    }

    pub(in crate::upstream) fn called(
        label: &str,
        weight: u32,
        backup: bool,
        marks: Option<&Marks>,
    ) -> Endpoint {
        let metrics = Metrics::new();
        let queue = Queue::new(4, &metrics, metrics.upstream("web", &[]));
        let address = Address::Unix("/x".into());
        let settings = Settings { address, label: label.to_owned(), weight, backup };
        Endpoint::new(settings, &Arc::new(queue), None, marks)
    }

    #[test]
    fn requests_have_a_limit_and_come_back() {
        let endpoint = Arc::new(unix("x"));
        let held: Vec<_> = (0..3).filter_map(|_| endpoint.claim(2)).collect();
        assert_eq!((held.len(), endpoint.in_flight()), (2, 2));
        let beyond = endpoint.count();
        assert_eq!(endpoint.in_flight(), 3);
        drop((held, beyond));
        assert_eq!(endpoint.in_flight(), 0);
    }

    #[test]
    fn tunnels_have_a_limit_and_come_back() {
        let endpoint = Arc::new(unix("x"));
        let held: Vec<_> = (0..3).filter_map(|_| endpoint.claim_tunnel(2)).collect();
        assert_eq!((held.len(), endpoint.tunnels()), (2, 2));
        drop(held);
        assert_eq!(endpoint.tunnels(), 0);
        assert!(endpoint.claim_tunnel(2).is_some());
        assert!(endpoint.claim_tunnel(0).is_none());
    }
}

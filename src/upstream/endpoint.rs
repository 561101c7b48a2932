//! One address of an upstream, how busy it is, and what is believed of it.
//!
//! Owns the count of requests in flight, which all workers share, and its limit; trusts the
//! configuration that named the address. Whoever lets go of a slot calls the first in line.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

use super::absence::Presence;
use super::balance::hash;
use super::health::Health;
use super::idle::Learned;
use super::queue::Queue;
use super::resolve;
use super::sticky::{Mark, Marks};
use crate::tls::client::Destination;

/// One address of an upstream.
#[derive(Debug)]
pub struct Endpoint {
    id: AtomicU64,
    place: Place,
    label: String,
    label_hash: AtomicU64,
    /// 0 if it has none.
    mark: AtomicU64,
    weight: u32,
    backup: bool,
    load: CachePadded<Load>,
    tunnels: AtomicUsize,
    presence: Presence,
    queue: Arc<Queue>,
    /// Where it is learned how long idle connections live.
    learned: Option<Arc<Learned>>,
}

/// What leads to it.
#[derive(Debug)]
enum Place {
    Fixed(Address),
    /// One of the addresses of a name, while there are so many; the name is what checks call it.
    Named {
        name: String,
        at: Mutex<Option<SocketAddr>>,
    },
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
        Self {
            id: AtomicU64::new(next_id()),
            place: Place::Fixed(settings.address),
            label_hash: AtomicU64::new(hash(settings.label.as_bytes())),
            mark: AtomicU64::new(marks.map_or(0, |marks| marks.mark(&settings.label).number())),
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

    /// A place for the addresses of a name, the `nth` of them; nobody is there yet.
    pub(super) fn vacant(
        name: &resolve::Settings,
        nth: usize,
        queue: &Arc<Queue>,
        learned: Option<Learned>,
    ) -> Self {
        let endpoint = Self {
            id: AtomicU64::new(next_id()),
            place: Place::Named { name: authority(&name.host, name.port), at: Mutex::new(None) },
            label_hash: AtomicU64::new(0),
            mark: AtomicU64::new(0),
            label: format!("{}#{nth}", name.label()),
            weight: name.weight,
            backup: name.backup,
            load: CachePadded::default(),
            tunnels: AtomicUsize::new(0),
            queue: Arc::clone(queue),
            learned: learned.map(Arc::new),
            presence: Presence::default(),
        };
        endpoint.health().leave();
        endpoint
    }

    /// Somebody is there from now on, of whom nothing is known; 0 for `since` if it was always so.
    pub(super) fn occupy(&self, at: SocketAddr, marks: Option<&Marks>, since: u64) {
        let Place::Named { at: place, .. } = &self.place else { return };
        // As it would be written: it has the same share of keys and the same mark everywhere.
        let label = format!("http://{at}");
        let mut place = place.lock();
        self.id.store(next_id(), Ordering::Relaxed);
        self.label_hash.store(hash(label.as_bytes()), Ordering::Relaxed);
        self.mark.store(marks.map_or(0, |marks| marks.mark(&label).number()), Ordering::Relaxed);
        if let Some(learned) = &self.learned {
            learned.forget();
        }
        *place = Some(at);
        drop(place);
        // As far as the name knows.
        self.presence.reached();
        self.health().arrive(since);
    }

    /// Nobody is there any more: requests under way end, idle connections lead nowhere.
    pub(super) fn vacate(&self) {
        let Place::Named { at, .. } = &self.place else { return };
        self.health().leave();
        let mut at = at.lock();
        self.id.store(next_id(), Ordering::Relaxed);
        self.mark.store(0, Ordering::Relaxed);
        self.presence.forget();
        *at = None;
    }

    /// The address that a name has here, if any.
    pub fn resolved(&self) -> Option<SocketAddr> {
        match &self.place {
            Place::Fixed(_) => None,
            Place::Named { at, .. } => *at.lock(),
        }
    }

    /// Whether there is nobody, because a name has not as many addresses.
    pub fn is_vacant(&self) -> bool {
        matches!(&self.place, Place::Named { at, .. } if at.lock().is_none())
    }

    /// Where it listens now, and the id that it has there; `None` if there is nobody.
    pub fn reach(&self) -> Option<(u64, Cow<'_, Address>)> {
        match &self.place {
            Place::Fixed(address) => Some((self.id(), Cow::Borrowed(address))),
            Place::Named { at, .. } => {
                let at = at.lock();
                let (host, port) = at.map(|at| (at.ip().to_string(), at.port()))?;
                Some((self.id(), Cow::Owned(Address::Tcp { host, port })))
            }
        }
    }

    /// What a check names as its host, where none is configured.
    pub(super) fn host(&self) -> String {
        match &self.place {
            Place::Named { name, .. } => name.clone(),
            Place::Fixed(Address::Tcp { host, port } | Address::Tls { host, port, .. }) => {
                authority(host, *port)
            }
            Place::Fixed(Address::Unix(_)) => "localhost".to_owned(),
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

    /// Unique in this process, never reused; another one whenever another address is meant.
    pub fn id(&self) -> u64 {
        self.id.load(Ordering::Relaxed)
    }

    /// The scheme that requests to it are for.
    pub fn scheme(&self) -> &'static str {
        match self.place {
            Place::Fixed(Address::Tcp { .. } | Address::Unix(_)) | Place::Named { .. } => "http",
            Place::Fixed(Address::Tls { .. }) => "https",
        }
    }

    /// Its name in logs and metrics.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What keys are mixed with, to rank it.
    pub(super) fn label_hash(&self) -> u64 {
        self.label_hash.load(Ordering::Relaxed)
    }

    /// What cookies call it, where they lead back to it.
    pub(crate) fn mark(&self) -> Option<Mark> {
        Mark::of(self.mark.load(Ordering::Relaxed))
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

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn authority(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
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
    fn a_check_names_the_host_as_a_client_would() {
        assert_eq!(authority("app", 8000), "app:8000");
        assert_eq!(authority("::1", 8000), "[::1]:8000");
        assert_eq!(unix("x").host(), "localhost");
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

//! How many connections may be open: in all, and for one address (H19).
//!
//! One [`Connections`] is shared by every listener of the process. At the limit the connection
//! that has been parked longest makes room; if none is parked, new ones wait in the kernel's
//! queue, where they cost us nothing.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The open connections of the process and their limits.
#[derive(Debug)]
pub struct Connections {
    open: AtomicUsize,
    max: AtomicUsize,
    max_per_address: AtomicUsize,
    /// Bounded by the open connections: an entry goes with its last one.
    by_address: Mutex<HashMap<IpAddr, usize>>,
    parked: Mutex<Parked>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Parked {
    next: u64,
    /// By the order of parking; bounded by the open connections.
    waiting: BTreeMap<u64, Arc<Notify>>,
}

impl Connections {
    /// At most `max` open connections (at least 1), of one address at most `max_per_address`
    /// (0: no limit). An IPv6 /64 counts as one address: whoever has one has 2^64.
    pub fn new(max: usize, max_per_address: usize) -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(0),
            max: AtomicUsize::new(max.max(1)),
            max_per_address: AtomicUsize::new(max_per_address),
            by_address: Mutex::default(),
            parked: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// Other limits from now on; connections beyond them stay open.
    pub fn set_limits(&self, max: usize, max_per_address: usize) {
        self.max.store(max.max(1), Ordering::Relaxed);
        self.max_per_address.store(max_per_address, Ordering::Relaxed);
        self.freed.notify_waiters();
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Returns when none is open.
    pub async fn drained(&self) {
        loop {
            let freed = self.freed.notified();
            if self.open() == 0 {
                return;
            }
            freed.await;
        }
    }

    pub(super) fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Permit, Refusal> {
        let max = self.max.load(Ordering::Relaxed);
        let taken = self.open.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |open| {
            (open < max).then_some(open + 1)
        });
        if taken.is_err() {
            return Err(Refusal::Full);
        }
        // From here on the permit gives back whatever was counted.
        let mut permit = Permit { connections: Arc::clone(self), address: None, worker: None };
        if address.is_some_and(|address| !permit.count_for(address)) {
            return Err(Refusal::Address);
        }
        Ok(permit)
    }

    /// Asks the connection parked longest to close; false if none is parked.
    pub(super) fn evict(&self) -> bool {
        let longest = self.parked.lock().waiting.pop_first();
        longest.inspect(|(_, notify)| notify.notify_one()).is_some()
    }

    /// Returns after a connection closed or the limits changed. Take the future before looking.
    pub(super) fn freed(&self) -> tokio::sync::futures::Notified<'_> {
        self.freed.notified()
    }

    /// How many are parked.
    pub fn parked(&self) -> usize {
        self.parked.lock().waiting.len()
    }

    pub(super) fn park(&self, evicted: &Arc<Notify>) -> Parking<'_> {
        let mut parked = self.parked.lock();
        let order = parked.next;
        parked.next += 1;
        parked.waiting.insert(order, Arc::clone(evicted));
        Parking { connections: self, order }
    }
}

/// Why a connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its address has enough.
    Address,
    /// There are enough in all.
    Full,
}

/// The right of one connection to be open.
#[derive(Debug)]
pub(super) struct Permit {
    connections: Arc<Connections>,
    address: Option<IpAddr>,
    worker: Option<Arc<AtomicUsize>>,
}

impl Permit {
    /// Counts the connection as one of this worker's.
    pub(super) fn assign(&mut self, worker: &Arc<AtomicUsize>) {
        worker.fetch_add(1, Ordering::Relaxed);
        if let Some(before) = self.worker.replace(Arc::clone(worker)) {
            before.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Counts the connection as one of this address's; false if that has enough.
    pub(super) fn count_for(&mut self, address: IpAddr) -> bool {
        let address = network(address);
        let limit = self.connections.max_per_address.load(Ordering::Relaxed);
        let mut by_address = self.connections.by_address.lock();
        let count = by_address.entry(address).or_insert(0);
        if limit > 0 && *count >= limit {
            return false;
        }
        *count += 1;
        self.address = Some(address);
        true
    }

    pub(super) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(worker) = &self.worker {
            worker.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(address) = self.address {
            let mut by_address = self.connections.by_address.lock();
            if let Some(count) = by_address.get_mut(&address) {
                *count -= 1;
                if *count == 0 {
                    by_address.remove(&address);
                }
            }
        }
        self.connections.open.fetch_sub(1, Ordering::AcqRel);
        self.connections.freed.notify_waiters();
    }
}

/// A connection's place in the queue of those that make room.
#[derive(Debug)]
pub(super) struct Parking<'a> {
    connections: &'a Connections,
    order: u64,
}

impl Drop for Parking<'_> {
    fn drop(&mut self) {
        self.connections.parked.lock().waiting.remove(&self.order);
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn permits_are_counted_and_given_back() {
        let connections = Connections::new(3, 2);
        let worker = Arc::new(AtomicUsize::new(0));
        let mut a = connections.admit(ip("10.0.0.1")).unwrap();
        a.assign(&worker);
        assert_eq!(worker.load(Ordering::Relaxed), 1);
        let b = connections.admit(ip("::ffff:10.0.0.1")).unwrap();
        assert_eq!(connections.admit(ip("10.0.0.1")).unwrap_err(), Refusal::Address);
        assert_eq!(connections.open(), 2, "a refused one is not open");
        let c = connections.admit(ip("10.0.0.2")).unwrap();
        assert_eq!(connections.admit(None).unwrap_err(), Refusal::Full);
        drop((a, b, c));
        assert_eq!(connections.open(), 0);
        assert_eq!(worker.load(Ordering::Relaxed), 0);
        assert!(connections.by_address.lock().is_empty());
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let connections = Connections::new(9, 1);
        let _held = connections.admit(ip("2001:db8::1")).unwrap();
        assert!(connections.admit(ip("2001:db8::ffff:1")).is_err());
        assert!(connections.admit(ip("2001:db8:0:1::1")).is_ok());
    }

    #[tokio::test]
    async fn the_longest_parked_goes_first() {
        let connections = Connections::new(9, 0);
        let (first, second) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let _first = connections.park(&first);
        let second_place = connections.park(&second);
        assert!(connections.evict());
        first.notified().await;
        drop(second_place);
        assert!(!connections.evict());
    }

    #[tokio::test]
    async fn draining_waits_for_the_last() {
        let connections = Connections::new(9, 0);
        connections.drained().await;
        let held = connections.admit(None).unwrap();
        let waiting = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move { connections.drained().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        waiting.await.unwrap();
    }
}

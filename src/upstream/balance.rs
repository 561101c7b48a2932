//! The choice of an endpoint for a request.
//!
//! Owns the turn of round robin; reads the requests in flight, which may be a moment old: a choice
//! between two nearly equal endpoints may then fall on the busier one, which costs nothing.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;

use super::Endpoint;

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// The less busy of two endpoints drawn at random.
    ///
    /// Always taking the least busy would send every worker's next request to the same endpoint.
    LeastRequests,
    /// One after the other, over all workers.
    RoundRobin,
}

/// Chooses among the endpoints of one upstream.
#[derive(Debug)]
pub(super) struct Balancer {
    balance: Balance,
    turn: CachePadded<AtomicUsize>,
}

impl Balancer {
    pub(super) fn new(balance: Balance) -> Self {
        Self { balance, turn: CachePadded::new(AtomicUsize::new(0)) }
    }

    pub(super) fn balance(&self) -> Balance {
        self.balance
    }

    /// The index of an endpoint that is not in `tried`; `None` if there is no other.
    pub(super) fn pick(&self, endpoints: &[Arc<Endpoint>], tried: &[usize]) -> Option<usize> {
        let candidates = endpoints.len().saturating_sub(tried.len());
        match candidates {
            0 => None,
            1 => untried(tried, 0),
            _ => match self.balance {
                Balance::LeastRequests => less_busy(endpoints, tried, candidates),
                Balance::RoundRobin => {
                    let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                    untried(tried, turn % candidates)
                }
            },
        }
    }
}

/// The less busy of two different candidates drawn at random; of equals, the first drawn.
fn less_busy(endpoints: &[Arc<Endpoint>], tried: &[usize], candidates: usize) -> Option<usize> {
    let first = random(candidates);
    // One of the others, each as likely.
    let second = (first + 1 + random(candidates - 1)) % candidates;
    let (first, second) = (untried(tried, first)?, untried(tried, second)?);
    let busy = |index: usize| endpoints.get(index).map_or(usize::MAX, |e| e.in_flight());
    Some(if busy(second) < busy(first) { second } else { first })
}

/// The `nth` index that is not in `tried`, which holds a few different indices at most.
fn untried(tried: &[usize], nth: usize) -> Option<usize> {
    if tried.is_empty() {
        return Some(nth);
    }
    (0..=nth + tried.len()).filter(|index| !tried.contains(index)).nth(nth)
}

/// A number below `bound`, which is not 0, to spread load with (xorshift64*): not a secret, and
/// cheaper than asking the system.
fn random(bound: usize) -> usize {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0u8) | 1);
    }
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        state.set(x);
        let high = usize::try_from(x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33);
        high.unwrap_or_default() % bound
    })
}

#[cfg(test)]
mod tests {
    use super::super::Address;
    use super::*;

    fn endpoints(count: usize) -> Vec<Arc<Endpoint>> {
        let endpoint = |index| Endpoint::new(Address::Unix("/x".into()), format!("{index}"));
        (0..count).map(endpoint).map(Arc::new).collect()
    }

    #[test]
    fn round_robin_gives_each_endpoint_the_same_share() {
        let (endpoints, balancer) = (endpoints(3), Balancer::new(Balance::RoundRobin));
        let mut counts = [0; 3];
        for _ in 0..300 {
            counts[balancer.pick(&endpoints, &[]).unwrap()] += 1;
        }
        assert_eq!(counts, [100; 3]);
    }

    #[test]
    fn least_requests_avoids_the_busy_endpoint() {
        let (endpoints, balancer) = (endpoints(2), Balancer::new(Balance::LeastRequests));
        let _busy = endpoints[0].claim();
        for _ in 0..100 {
            assert_eq!(balancer.pick(&endpoints, &[]), Some(1));
        }
    }

    #[test]
    fn least_requests_keeps_endpoints_level() {
        let (endpoints, balancer) = (endpoints(4), Balancer::new(Balance::LeastRequests));
        let mut held = Vec::new();
        for _ in 0..400 {
            held.push(endpoints[balancer.pick(&endpoints, &[]).unwrap()].claim());
        }
        for endpoint in &endpoints {
            assert!((90..=110).contains(&endpoint.in_flight()), "{}", endpoint.in_flight());
        }
        drop(held);
        assert!(endpoints.iter().all(|endpoint| endpoint.in_flight() == 0));
    }

    #[test]
    fn idle_endpoints_share_alike() {
        let (endpoints, balancer) = (endpoints(3), Balancer::new(Balance::LeastRequests));
        let mut counts = [0; 3];
        for _ in 0..3000 {
            counts[balancer.pick(&endpoints, &[]).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }

    #[test]
    fn tried_endpoints_are_not_picked_again() {
        for balance in [Balance::LeastRequests, Balance::RoundRobin] {
            let (endpoints, balancer) = (endpoints(3), Balancer::new(balance));
            for _ in 0..50 {
                let first = balancer.pick(&endpoints, &[]).unwrap();
                let second = balancer.pick(&endpoints, &[first]).unwrap();
                let third = balancer.pick(&endpoints, &[first, second]).unwrap();
                let mut all = [first, second, third];
                all.sort_unstable();
                assert_eq!(all, [0, 1, 2]);
                assert_eq!(balancer.pick(&endpoints, &all), None);
            }
        }
    }

    #[test]
    fn no_endpoints_no_choice() {
        assert_eq!(Balancer::new(Balance::LeastRequests).pick(&[], &[]), None);
    }
}

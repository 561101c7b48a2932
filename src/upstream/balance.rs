//! The choice of an endpoint for a request.
//!
//! Owns the turn of round robin and the shares of weights; reads requests in flight and health,
//! which may be a moment old: a choice between two nearly equal endpoints may then fall on the
//! busier one, which costs nothing. What may not be old is a slot: it is claimed with the choice.
//! A client can at most choose among the configured endpoints, by the key it sends.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_utils::CachePadded;

use super::Endpoint;
use super::endpoint::InFlight;
use super::health::{Times, WHOLE};
use super::sticky::Mark;

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Balance {
    /// The less busy of two endpoints drawn at random.
    ///
    /// Always taking the least busy would send every worker's next request to the same endpoint.
    LeastRequests,
    /// One after the other, over all workers.
    RoundRobin,
    /// By a key of the request, so that the same key meets the same endpoint (rendezvous hashing:
    /// an endpoint that comes or goes moves only its own share). Requests without the key go to
    /// the less busy of two.
    Keyed,
    /// By the endpoint that the request's cookie names, if it is up and not full; without such a
    /// cookie, the less busy of two.
    Sticky,
}

/// What a request brings to the choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Key {
    /// Nothing.
    #[default]
    None,
    /// A hash of what it is balanced by, see [`hash`].
    Hash(u64),
    /// The endpoint that it was told to come back to.
    Mark(Mark),
}

/// What came of a choice.
#[derive(Debug)]
pub(crate) enum Choice {
    /// An endpoint, and a slot there.
    Claimed(usize, InFlight),
    /// Every endpoint that could be used has as many requests as it may have.
    Full,
    /// None of those that were not tried can be used.
    None,
}

/// Chooses among the endpoints of one upstream.
#[derive(Debug)]
pub(super) struct Balancer {
    round_robin: bool,
    turn: CachePadded<AtomicUsize>,
    shares: Shares,
    /// In their place where endpoints come and go.
    moving: Option<ArcSwap<Shares>>,
    slow_start: Duration,
    max_requests: usize,
    times: Times,
}

/// Of those that are no backups: where each one's share ends, and its index.
type Shares = Box<[(u64, usize)]>;

/// What the balancer knows beside the endpoints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) round_robin: bool,
    /// Some endpoints are places for the addresses of names.
    pub(super) moving: bool,
    pub(super) slow_start: Duration,
    pub(super) max_requests: usize,
    pub(super) times: Times,
}

impl Balancer {
    pub(super) fn new(rules: Rules, endpoints: &[Arc<Endpoint>]) -> Self {
        let shares = shares(endpoints);
        Self {
            round_robin: rules.round_robin,
            turn: CachePadded::new(AtomicUsize::new(0)),
            moving: rules.moving.then(|| ArcSwap::from_pointee(shares.clone())),
            shares,
            slow_start: rules.slow_start,
            max_requests: rules.max_requests,
            times: rules.times,
        }
    }

    /// Endpoints have come or gone.
    pub(super) fn rearrange(&self, endpoints: &[Arc<Endpoint>]) {
        if let Some(moving) = &self.moving {
            moving.store(Arc::new(shares(endpoints)));
        }
    }

    /// An endpoint that is not in `tried`, with a slot there.
    pub(super) fn choose(&self, endpoints: &[Arc<Endpoint>], tried: &[usize], key: Key) -> Choice {
        if tried.is_empty()
            && key == Key::None
            && let Some(index) = self.draw(endpoints)
            && let Some(slot) = self.claim(endpoints, index)
        {
            return Choice::Claimed(index, slot);
        }
        if let Key::Mark(mark) = key {
            let named = marked(endpoints, mark).filter(|index| !tried.contains(index));
            return match named.and_then(|index| Some((index, self.claim(endpoints, index)?))) {
                Some((index, slot)) => Choice::Claimed(index, slot),
                None => self.choose(endpoints, tried, Key::None),
            };
        }
        self.search(endpoints, tried, key)
    }

    /// The common case: the turn's endpoint or the less busy of two, if it can be used.
    fn draw(&self, endpoints: &[Arc<Endpoint>]) -> Option<usize> {
        match &self.moving {
            None => self.draw_from(&self.shares, endpoints),
            Some(moving) => self.draw_from(&moving.load(), endpoints),
        }
    }

    fn draw_from(&self, shares: &Shares, endpoints: &[Arc<Endpoint>]) -> Option<usize> {
        if let [(_, only)] = &**shares {
            return self.usable(endpoints, *only);
        }
        let total = shares.last()?.0;
        if self.round_robin {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) as u64;
            return self.usable(endpoints, index(shares, place(shares, turn % total))?);
        }
        let first = place(shares, random(total));
        let second = place(shares, random(total));
        // Its neighbour rather than itself; of equals, the first drawn.
        let second = if second == first { (first + 1) % shares.len() } else { second };
        let (first, second) = (index(shares, first)?, index(shares, second)?);
        match (self.usable(endpoints, first), self.usable(endpoints, second)) {
            (Some(first), Some(second)) => {
                let lighter = lighter(endpoints, second, first);
                Some(if lighter { second } else { first })
            }
            (one, other) => one.or(other),
        }
    }

    /// The index back, if requests may be sent there and a slow start lets this one through.
    fn usable(&self, endpoints: &[Arc<Endpoint>], index: usize) -> Option<usize> {
        let health = endpoints.get(index)?.health();
        let share = health.share(self.slow_start, || self.times.now());
        (health.is_up() && (share == WHOLE || random(WHOLE) < share)).then_some(index)
    }

    fn claim(&self, endpoints: &[Arc<Endpoint>], index: usize) -> Option<InFlight> {
        endpoints.get(index)?.claim(self.max_requests)
    }

    /// The best of all, in order of merit: the first with a slot. Backups only while no other is up.
    fn search(&self, endpoints: &[Arc<Endpoint>], tried: &[usize], key: Key) -> Choice {
        for backup in [false, true] {
            let mut usable: Vec<usize> = (0..endpoints.len())
                .filter(|index| {
                    endpoints
                        .get(*index)
                        .is_some_and(|one| one.is_backup() == backup && one.health().is_up())
                        && !tried.contains(index)
                })
                .collect();
            if usable.is_empty() {
                continue;
            }
            self.rank(endpoints, &mut usable, key);
            for index in usable {
                if let Some(slot) = self.claim(endpoints, index) {
                    return Choice::Claimed(index, slot);
                }
            }
            return Choice::Full;
        }
        Choice::None
    }

    /// The best first.
    fn rank(&self, endpoints: &[Arc<Endpoint>], usable: &mut [usize], key: Key) {
        let from = match self.round_robin {
            true => self.turn.fetch_add(1, Ordering::Relaxed),
            false => usize::try_from(random(usable.len() as u64)).unwrap_or_default(),
        };
        let middle = from % usable.len().max(1);
        usable.rotate_left(middle);
        match key {
            Key::Hash(key) => usable.sort_by(|a, b| {
                let score =
                    |index: &usize| endpoints.get(*index).map_or(0.0, |one| score(one, key));
                score(b).total_cmp(&score(a))
            }),
            Key::Mark(_) | Key::None if self.round_robin => {}
            Key::Mark(_) | Key::None => {
                usable.sort_by_key(|index| load(endpoints, *index));
            }
        }
    }
}

/// The shares of those that are there.
fn shares(endpoints: &[Arc<Endpoint>]) -> Shares {
    let mut end = 0;
    let all = endpoints.iter().enumerate();
    let primaries = all.filter(|(_, one)| !one.is_backup() && !one.is_vacant());
    let shares = primaries.map(|(index, one)| {
        end += u64::from(one.weight());
        (end, index)
    });
    shares.collect()
}

/// The share that holds this number.
fn place(shares: &Shares, number: u64) -> usize {
    shares.partition_point(|(end, _)| *end <= number)
}

/// Whose share it is.
fn index(shares: &Shares, place: usize) -> Option<usize> {
    shares.get(place).map(|(_, index)| *index)
}

/// The endpoint that is called so, if requests may be sent there: it is up, and no backup while
/// another than those is.
pub(super) fn marked(endpoints: &[Arc<Endpoint>], mark: Mark) -> Option<usize> {
    let index = endpoints.iter().position(|one| one.mark() == Some(mark))?;
    let endpoint = endpoints.get(index)?;
    let rests = || endpoints.iter().any(|one| !one.is_backup() && one.health().is_up());
    (endpoint.health().is_up() && !(endpoint.is_backup() && rests())).then_some(index)
}

/// Whether `one` has fewer requests in flight than `other`, for its weight.
fn lighter(endpoints: &[Arc<Endpoint>], one: usize, other: usize) -> bool {
    load(endpoints, one) < load(endpoints, other)
}

/// Requests in flight for its weight; whole numbers that compare as the quotients do.
fn load(endpoints: &[Arc<Endpoint>], index: usize) -> u64 {
    endpoints.get(index).map_or(u64::MAX, |one| {
        (one.in_flight() as u64).saturating_mul(1_000_000) / u64::from(one.weight().max(1))
    })
}

/// Weighted rendezvous hashing: `weight / -ln(u)`, with `u` in (0, 1) from key and endpoint.
fn score(endpoint: &Endpoint, key: u64) -> f64 {
    let mixed = mix(key ^ endpoint.label_hash());
    #[expect(clippy::cast_precision_loss, reason = "53 bits are kept, which is what is asked for")]
    let u = ((mixed >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    f64::from(endpoint.weight()) / -u.ln()
}

/// The same for the same bytes on every machine and in every release, so that gateways side by side
/// agree (FNV-1a).
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Spreads a number over 64 bits (the finalizer of SplitMix64).
fn mix(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A number below `bound`, which is not 0, to spread load with (xorshift64*): not a secret, and
/// cheaper than asking the system.
pub(super) fn random(bound: u64) -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0u8) | 1);
    }
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        state.set(x);
        (x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound.max(1)
    })
}

#[cfg(test)]
#[path = "balance_tests.rs"]
mod tests;

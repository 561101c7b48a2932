//! Rates: so many in so long, and so many at once, for each account (GCRA, the "leaky bucket as a
//! meter" of ATM).
//!
//! One number an account: when it will be whole again. Spending moves it on by one interval; more
//! than the burst ahead of now is too much. What is refused costs nothing more, so that a client
//! which keeps trying is let in at exactly the rate.
//!
//! # Bounded memory
//! Accounts are kept in a table of fixed size, at most 1 MiB a limiter: 64 shards of 128 sets of 8.
//! An account has a place in one set, chosen by a hash under keys that no client knows; where the
//! set is full, the account that is whole soonest gives way. One that is whole already says nothing
//! and is given up for nothing. An attacker who wants a guilty account forgotten has to drive the
//! other seven of its set deeper into debt than it is, and since nobody can tell which accounts
//! those are, all of the table: 65,536 times the requests that the one account would have saved.
//! Refusing strangers while the table is full would let the same attacker lock everybody out;
//! letting the table grow would let him have the memory.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

/// How much an account may spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    /// This many in a period.
    pub count: NonZeroU32,
    /// The period.
    pub period: Duration,
    /// This many at once, after a rest.
    pub burst: NonZeroU32,
}

impl Quota {
    /// Nanoseconds between two, when they come as fast as is allowed.
    fn interval(&self) -> u64 {
        let period = u64::try_from(self.period.as_nanos()).unwrap_or(u64::MAX);
        (period / u64::from(self.count.get())).max(1)
    }
}

/// Whose account.
#[derive(Clone, Debug, Hash)]
pub enum Account<'a> {
    /// A network's, as [`Account::of`] cuts it; `None` is everybody who has no address.
    Address(Option<IpAddr>),
    /// That of whoever sends these values of a header.
    Header(Vec<&'a [u8]>),
    /// That of tokens of this issuer with this value of a claim.
    Claim(&'a str, &'a str),
}

impl Account<'_> {
    /// The account of an address. In IPv6 it is the /64's, since whoever has one address there has
    /// 2^64 of them.
    pub fn of(address: Option<IpAddr>) -> Self {
        const NETWORK: u128 = u128::MAX << 64;
        Self::Address(address.map(|address| match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & NETWORK).into(),
        }))
    }
}

/// An account that is overdrawn, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait(pub Duration);

/// The accounts of one limit.
#[derive(Debug)]
pub struct Limiter {
    quota: Quota,
    interval: u64,
    /// How far ahead an account may be.
    tolerance: u64,
    hasher: RandomState,
    begun: Instant,
    shards: Box<[CachePadded<Mutex<Shard>>]>,
}

impl Limiter {
    /// No account has spent anything.
    pub fn new(quota: Quota, now: Instant) -> Self {
        let interval = quota.interval();
        Self {
            quota,
            interval,
            tolerance: interval.saturating_mul(u64::from(quota.burst.get())),
            hasher: RandomState::new(),
            begun: now,
            shards: (0..SHARDS).map(|_| CachePadded::default()).collect(),
        }
    }

    /// What each account may spend.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Spends one.
    ///
    /// # Errors
    /// It would be too much: nothing was spent.
    pub fn spend(&self, account: &Account<'_>, now: Instant) -> Result<(), Wait> {
        self.with(account, now, |set, tag, time| set.spend(tag, time, self))
    }

    /// Whether one could be spent.
    ///
    /// # Errors
    /// It would be too much.
    pub fn look(&self, account: &Account<'_>, now: Instant) -> Result<(), Wait> {
        self.with(account, now, |set, tag, time| set.next(tag, time, self).map(|_| ()))
    }

    fn with<T>(
        &self,
        account: &Account<'_>,
        now: Instant,
        act: impl FnOnce(&mut Set, u64, u64) -> Result<T, Wait>,
    ) -> Result<T, Wait> {
        let tag = self.hasher.hash_one(account);
        let elapsed = now.saturating_duration_since(self.begun).as_nanos();
        // The end of time comes in five centuries. Never 0, which is an empty place.
        let time = u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_add(1);
        let places = usize::try_from(tag % (SHARDS * SETS) as u64).unwrap_or(0);
        let Some(shard) = self.shards.get(places / SETS) else { return Err(Wait(Duration::ZERO)) };
        let mut shard = shard.lock();
        if shard.sets.is_empty() {
            shard.sets = vec![Set::default(); SETS];
        }
        match shard.sets.get_mut(places % SETS) {
            Some(set) => act(set, tag, time),
            None => Err(Wait(Duration::ZERO)),
        }
    }
}

/// Made when it is first used: a limit that nobody meets takes next to no memory.
#[derive(Debug, Default)]
struct Shard {
    sets: Vec<Set>,
}

/// Eight accounts: two cache lines.
#[derive(Clone, Debug, Default)]
struct Set {
    tags: [u64; WAYS],
    /// When each account is whole again; 0 in an empty place.
    whole: [u64; WAYS],
}

impl Set {
    /// The account's place (or that of whoever gives way), and when it would be whole again.
    fn next(&self, tag: u64, time: u64, limiter: &Limiter) -> Result<(usize, u64), Wait> {
        let places = || self.tags.iter().zip(&self.whole).enumerate();
        let own = places().find(|(_, (known, _))| **known == tag);
        let (place, whole) = match own {
            Some((place, (_, whole))) => (place, (*whole).max(time)),
            None => {
                let least = places().min_by_key(|(_, (_, whole))| **whole);
                (least.map_or(0, |(place, _)| place), time)
            }
        };
        let next = whole.saturating_add(limiter.interval);
        match next.saturating_sub(time.saturating_add(limiter.tolerance)) {
            0 => Ok((place, next)),
            early => Err(Wait(Duration::from_nanos(early))),
        }
    }

    fn spend(&mut self, tag: u64, time: u64, limiter: &Limiter) -> Result<(), Wait> {
        let (place, next) = self.next(tag, time, limiter)?;
        if let (Some(known), Some(whole)) = (self.tags.get_mut(place), self.whole.get_mut(place)) {
            (*known, *whole) = (tag, next);
        }
        Ok(())
    }
}

/// More than workers, so that two of them seldom want the same lock.
const SHARDS: usize = 64;
const SETS: usize = 128;
const WAYS: usize = 8;

#[cfg(test)]
#[path = "rate_tests.rs"]
mod tests;

use proptest::prelude::*;

use super::*;
use crate::clock::Clock;

fn quota(count: u32, period: Duration, burst: u32) -> Quota {
    let number = |n| NonZeroU32::new(n).unwrap();
    Quota { count: number(count), period, burst: number(burst) }
}

const MINUTE: Duration = Duration::from_secs(60);

/// A limiter, and the moment it began at.
fn limiter(count: u32, period: Duration, burst: u32) -> (Limiter, Instant) {
    let begun = Clock::system().now();
    (Limiter::new(quota(count, period, burst), begun), begun)
}

fn v4(n: u32) -> Account<'static> {
    Account::of(Some(IpAddr::from(n.to_be_bytes())))
}

fn address(text: &str) -> Account<'static> {
    Account::of(Some(text.parse().unwrap()))
}

#[test]
fn a_burst_and_then_the_rate() {
    let (limiter, begun) = limiter(10, MINUTE, 5);
    for _ in 0..5 {
        assert_eq!(limiter.spend(&v4(1), begun), Ok(()));
    }
    // One every six seconds from now on, however often it is tried.
    for _ in 0..100 {
        assert_eq!(limiter.spend(&v4(1), begun), Err(Wait(Duration::from_secs(6))));
    }
    assert_eq!(limiter.spend(&v4(2), begun), Ok(()), "another account is another account");
    let later = begun + Duration::from_millis(5999);
    assert_eq!(limiter.look(&v4(1), later), Err(Wait(Duration::from_millis(1))));
    let later = begun + Duration::from_secs(6);
    assert_eq!(limiter.look(&v4(1), later), Ok(()), "looking costs nothing");
    assert_eq!(limiter.spend(&v4(1), later), Ok(()));
    assert_eq!(limiter.spend(&v4(1), later), Err(Wait(Duration::from_secs(6))));
    // A long rest earns the burst, and no more.
    let later = begun + 100 * MINUTE;
    let spent = (0..100).filter(|_| limiter.spend(&v4(1), later).is_ok()).count();
    assert_eq!(spent, 5);
}

#[test]
fn an_address_has_one_account_however_it_is_spelled() {
    let (limiter, begun) = limiter(1, MINUTE, 1);
    assert!(limiter.spend(&address("192.0.2.1"), begun).is_ok());
    assert!(limiter.spend(&address("::ffff:192.0.2.1"), begun).is_err());
    assert!(limiter.spend(&address("2001:db8:0:1::1"), begun).is_ok());
    assert!(limiter.spend(&address("2001:db8:0:1:ffff::2"), begun).is_err(), "the same /64");
    assert!(limiter.spend(&address("2001:db8:0:2::1"), begun).is_ok());
    assert!(limiter.spend(&Account::of(None), begun).is_ok());
    assert!(limiter.spend(&Account::of(None), begun).is_err(), "nowhere is one place");
}

#[test]
fn accounts_of_different_kinds_are_different() {
    let (limiter, begun) = limiter(1, MINUTE, 1);
    for account in [
        Account::Header(vec![b"a"]),
        Account::Header(vec![b"a", b"a"]),
        Account::Header(vec![b"aa"]),
        Account::Header(vec![]),
        Account::Claim("main", "a"),
        Account::Claim("maina", ""),
        Account::Claim("other", "a"),
    ] {
        assert!(limiter.spend(&account, begun).is_ok(), "{account:?}");
        assert!(limiter.spend(&account, begun).is_err(), "{account:?}");
    }
}

#[test]
fn a_million_strangers_neither_grow_the_table_nor_get_the_guilty_forgotten() {
    let (limiter, begun) = limiter(60, MINUTE, 10);
    let guilty: Vec<_> = (0..100).map(v4).collect();
    for account in &guilty {
        while limiter.spend(account, begun).is_ok() {}
    }
    // Each once, as an attacker with very many addresses would: nobody is locked out for it.
    for stranger in 1_000..1_001_000 {
        assert!(limiter.spend(&v4(stranger), begun).is_ok());
    }
    let forgotten = guilty.iter().filter(|account| limiter.look(account, begun).is_ok()).count();
    assert_eq!(forgotten, 0);
    let accounts: usize = limiter.shards.iter().map(|shard| shard.lock().sets.len() * WAYS).sum();
    assert_eq!(accounts, SHARDS * SETS * WAYS);
    assert_eq!(size_of::<Set>() * SHARDS * SETS, 1 << 20);
}

#[test]
fn a_limit_that_nobody_meets_takes_no_table() {
    let (limiter, begun) = limiter(60, MINUTE, 10);
    let made = || limiter.shards.iter().filter(|shard| !shard.lock().sets.is_empty()).count();
    assert_eq!(made(), 0);
    assert!(limiter.spend(&v4(1), begun).is_ok());
    assert_eq!(made(), 1);
}

#[test]
fn threads_share_an_account() {
    let (limiter, begun) = limiter(1, MINUTE, 1000);
    let spent: usize = std::thread::scope(|scope| {
        let spend = || (0..1000).filter(|_| limiter.spend(&v4(1), begun).is_ok()).count();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(spend)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(spent, 1000);
}

proptest! {
    #[test]
    fn no_span_of_time_sees_more_than_its_rate_and_one_burst(
        count in 1_u32..1000,
        burst in 1_u32..100,
        steps in prop::collection::vec(0_u64..3_000, 1..200),
    ) {
        let (limiter, begun) = limiter(count, MINUTE, burst);
        let mut now = begun;
        let mut times = Vec::new();
        for step in steps {
            now += Duration::from_millis(step);
            match limiter.spend(&v4(7), now) {
                Ok(()) => times.push(now),
                // What it says to wait is exactly enough.
                Err(Wait(wait)) => {
                    prop_assert!(wait > Duration::ZERO);
                    prop_assert!(limiter.look(&v4(7), now + wait).is_ok());
                    prop_assert!(limiter.look(&v4(7), now + wait - Duration::from_nanos(1)).is_err());
                }
            }
        }
        for (first, one) in times.iter().enumerate() {
            for (last, other) in times.iter().enumerate().skip(first) {
                let most = (*other - *one).as_secs_f64() / 60.0 * f64::from(count);
                let spent = u32::try_from(last - first + 1).unwrap();
                prop_assert!(f64::from(spent) <= most + f64::from(burst) + 0.001);
            }
        }
    }
}

//! Authorization lines and the caches: what a hit may skip, and what it may not.

use std::time::Duration;

use super::*;
use crate::auth::Cause;
use crate::auth::token_cache::CacheKey;
use crate::telemetry::labels::Reason;

#[test]
fn a_second_request_with_the_token_is_a_hit() {
    let (mut gateway, set) = (Gateway::new(), strict_set());
    let first = now_or_never(gateway.ask(&set, &good())).unwrap();
    let second = now_or_never(gateway.ask(&set, &good())).unwrap();
    assert_eq!((first.cached, second.cached), (false, true));
    assert!(Arc::ptr_eq(&first.principal, &second.principal));
    gateway.local.clear();
    assert!(now_or_never(gateway.ask(&set, &good())).unwrap().cached, "the shared cache has it");
    gateway.cache = shared_cache();
    assert!(now_or_never(gateway.ask(&set, &good())).unwrap().cached, "the worker's has it again");
}

#[test]
fn a_hit_ends_with_the_token() {
    let (gateway, set) = (Gateway::new(), strict_set());
    let short = sign(&header(), &with(claims(), "exp", json!(NOW + 10)));
    assert!(now_or_never(gateway.ask(&set, &short)).is_ok());
    gateway.clock.set(UnixTime::from_millis((NOW + 40) * 1000 - 1));
    assert!(now_or_never(gateway.ask(&set, &short)).unwrap().cached, "leeway included");
    gateway.clock.set(UnixTime::from_secs(NOW + 40));
    let refusal = now_or_never(gateway.ask(&set, &short)).unwrap_err();
    assert_eq!(refusal.cause(), Cause::Expired);
    assert_eq!(refusal.issuer(), Some("main"));
}

#[test]
fn a_hit_ends_with_max_age_and_not_with_the_token() {
    let (gateway, set) = (Gateway::new(), strict_set());
    assert!(now_or_never(gateway.ask(&set, &good())).is_ok());
    gateway.clock.set(UnixTime::from_secs(NOW + 60));
    assert!(!now_or_never(gateway.ask(&set, &good())).unwrap().cached);
}

#[test]
fn a_clock_set_back_makes_a_token_too_young_again() {
    let (gateway, set) = (Gateway::new(), strict_set());
    assert!(now_or_never(gateway.ask(&set, &good())).is_ok());
    gateway.clock.set(UnixTime::from_secs(NOW - 31));
    let refusal = now_or_never(gateway.ask(&set, &good())).unwrap_err();
    assert_eq!(refusal.cause(), Cause::NbfInFuture);
}

#[test]
fn a_verdict_of_one_route_says_nothing_to_another() {
    let (gateway, keys) = (Gateway::new(), secret_keys());
    let issuer = Issuer::new(strict_settings(), Arc::clone(&keys));
    let set = IssuerSet::new(vec![issuer]).unwrap();
    assert!(now_or_never(gateway.ask(&set, &good())).is_ok());
    // The very issuer beside another one: the same verdict, but asked for again.
    let both = IssuerSet::new(vec![
        Issuer::new(strict_settings(), Arc::clone(&keys)),
        Issuer::new(IssuerSettings::simplejwt("django"), secret_keys()),
    ]);
    assert!(!now_or_never(gateway.ask(&both.unwrap(), &good())).unwrap().cached);
    let mut stricter = strict_settings();
    stricter.audience = Audience::OneOf(vec!["shop".to_owned()]);
    let other = IssuerSet::new(vec![Issuer::new(stricter, secret_keys())]).unwrap();
    let refusal = now_or_never(gateway.ask(&other, &good())).unwrap_err();
    assert_eq!(refusal.reason(), Reason::AudienceMismatch);
}

#[test]
fn a_verdict_of_one_key_set_says_nothing_about_another() {
    let gateway = Gateway::new();
    assert!(now_or_never(gateway.ask(&strict_set(), &good())).is_ok());
    // The same settings, another secret: what a reload with a rotated secret installs.
    let keys = KeySet::fixed(vec![from_secret(OTHER_SECRET).unwrap()]);
    let reloaded = IssuerSet::new(vec![Issuer::new(strict_settings(), keys)]).unwrap();
    let refusal = now_or_never(gateway.ask(&reloaded, &good())).unwrap_err();
    assert_eq!(refusal.reason(), Reason::BadSignature);
}

#[test]
fn a_reload_that_changes_nothing_keeps_verdicts() {
    let (gateway, keys) = (Gateway::new(), secret_keys());
    let set = || {
        let issuer = Issuer::new(strict_settings(), Arc::clone(&keys));
        IssuerSet::new(vec![issuer]).unwrap()
    };
    assert!(!now_or_never(gateway.ask(&set(), &good())).unwrap().cached);
    assert!(now_or_never(gateway.ask(&set(), &good())).unwrap().cached);
}

#[test]
fn a_refusal_that_time_can_turn_is_not_remembered() {
    let (gateway, set) = (Gateway::new(), strict_set());
    let early = sign(&header(), &with(claims(), "nbf", json!(NOW + 40)));
    assert!(now_or_never(gateway.ask(&set, &early)).is_err());
    gateway.clock.set(UnixTime::from_secs(NOW + 10));
    assert!(now_or_never(gateway.ask(&set, &early)).is_ok());
}

#[test]
fn without_room_or_time_nothing_is_kept() {
    let minute = Duration::from_secs(60);
    for cache in [
        TokenCache::new(0, 1 << 20, minute),
        TokenCache::new(1000, 0, minute),
        TokenCache::new(1000, 1 << 20, Duration::ZERO),
    ] {
        let gateway = Gateway { cache, ..Gateway::new() };
        let set = strict_set();
        for _ in 0..3 {
            assert!(!now_or_never(gateway.ask(&set, &good())).unwrap().cached);
        }
    }
}

#[test]
fn the_worker_s_cache_is_bounded_and_keeps_the_latest() {
    let (mut gateway, set) = (Gateway::new(), strict_set());
    let token = |n: usize| sign(&header(), &with(claims(), "jti", json!(n.to_string())));
    for n in 0..6000 {
        assert!(!now_or_never(gateway.ask(&set, &token(n))).unwrap().cached);
    }
    gateway.cache = shared_cache();
    let cached = |n: &usize| {
        let key = CacheKey::new(&token(*n), &set);
        gateway.local.find(&key, &set, now()).is_some()
    };
    assert!((5900..6000).all(|n| cached(&n)), "the latest hundred");
    let kept = (0..6000).filter(cached).count();
    assert!((3500..=4096).contains(&kept), "{kept} in 4096 places");
}

#[test]
fn two_lines_are_refused_before_a_cached_token_counts() {
    let (gateway, set) = (Gateway::new(), strict_set());
    assert!(now_or_never(gateway.ask(&set, &good())).is_ok());
    let mut twice = headers(&good());
    twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer x.y.z"));
    let refusal = now_or_never(gateway.ask_with(&set, &twice)).unwrap_err();
    assert_eq!(refusal.reason(), Reason::DuplicateCredentials);
    assert!(refusal.token_sent());
    let none = now_or_never(gateway.ask_with(&set, &HeaderMap::new())).unwrap_err();
    assert_eq!(none.reason(), Reason::TokenMissing);
    assert!(!none.token_sent());
}

#[test]
fn the_future_of_a_request_can_change_threads() {
    fn is_send<T: Send>(_: &T) {}
    let (gateway, set, headers) = (Gateway::new(), strict_set(), headers("x"));
    is_send(&gateway.ask_with(&set, &headers));
}

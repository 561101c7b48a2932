//! What the token caches keep, how much, and which refusals (attack J25).

use std::time::Duration;

use super::*;
use crate::auth::Cause;
use crate::auth::token_cache::CacheKey;

/// What the shared cache says of a token, without verifying anything.
fn refusal(gateway: &Gateway, set: &IssuerSet, token: &str) -> Option<Cause> {
    let found = gateway.cache.refusal(&CacheKey::new(token, set), set, gateway.clock.wall());
    found.map(|refusal| refusal.cause())
}

fn refused(gateway: &Gateway, set: &IssuerSet, token: &str) -> Cause {
    now_or_never(gateway.ask(set, token)).unwrap_err().cause()
}

fn forged() -> String {
    let signed = format!("{}.{}", base64(header().to_string()), base64(claims().to_string()));
    seal(&signed, OTHER_SECRET)
}

#[test]
fn j25_no_token_is_kept_in_memory() {
    let (gateway, set, token) = (Gateway::new(), strict_set(), good());
    assert!(now_or_never(gateway.ask(&set, &token)).is_ok());
    let key = CacheKey::new(&token, &set);
    assert_eq!(size_of_val(&key), 32 + 8, "a hash and a fingerprint");
    let entry = gateway.cache.find(&key, &set, now()).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    for text in entry.texts() {
        assert!(parts.iter().all(|part| !text.contains(part)), "{text}");
    }
    let debugged = format!("{:?} {:?}", gateway.cache, gateway.local);
    assert!(parts.iter().all(|part| !debugged.contains(part)));
    assert!(!debugged.contains("ada"), "claims are personal data");
}

#[test]
fn j25_the_shared_cache_is_bounded_in_bytes() {
    let bytes = 256 * 1024;
    let gateway = Gateway {
        cache: TokenCache::new(100_000, bytes, Duration::from_secs(60)),
        ..Gateway::new()
    };
    let set = strict_set();
    let mut weights = 0;
    for n in 0..1000 {
        let claims = with(claims(), "padding", json!("x".repeat(2000)));
        let token = sign(&header(), &with(claims, "jti", json!(n.to_string())));
        assert!(now_or_never(gateway.ask(&set, &token)).is_ok());
        let entry = gateway.local.find(&CacheKey::new(&token, &set), &set, now()).unwrap();
        assert!((2400..8000).contains(&entry.weight()), "{}", entry.weight());
        weights += u64::from(entry.weight());
    }
    gateway.cache.settle();
    let kept = gateway.cache.entries();
    assert!(weights > 10 * bytes);
    assert!(kept > 0 && kept <= bytes / 2400, "{kept} of 1000");
}

#[test]
fn j25_the_shared_cache_is_bounded_in_tokens() {
    for tokens in [1, 7, 100] {
        let cache = TokenCache::new(tokens, 1 << 30, Duration::from_secs(60));
        let gateway = Gateway { cache, ..Gateway::new() };
        for n in 0..300 {
            let token = sign(&header(), &with(claims(), "jti", json!(n.to_string())));
            assert!(now_or_never(gateway.ask(&strict_set(), &token)).is_ok());
        }
        gateway.cache.settle();
        let kept = gateway.cache.entries();
        assert!(kept > 0 && kept <= tokens, "{kept} of {tokens}");
    }
}

#[test]
fn j25_a_worker_leaves_huge_tokens_to_the_shared_cache() {
    let (gateway, set) = (Gateway::new(), strict_set());
    let items: Vec<Value> = (0..1000).map(|_| json!([])).collect();
    let token = sign(&header(), &with(claims(), "amplified", json!(items)));
    assert!(now_or_never(gateway.ask(&set, &token)).is_ok());
    let key = CacheKey::new(&token, &set);
    assert!(gateway.local.find(&key, &set, now()).is_none());
    assert!(gateway.cache.find(&key, &set, now()).unwrap().weight() > 16 * 1024);
}

#[test]
fn j25_a_worker_keeps_entries_of_up_to_16_kib() {
    let (gateway, set) = (Gateway::new(), strict_set());
    let kept = |padding: usize| {
        let items: Vec<Value> = (0..160).map(|_| json!([])).collect();
        let claims = with(claims(), "amplified", json!(items));
        let token = sign(&header(), &with(claims, "padding", json!("x".repeat(padding))));
        assert!(now_or_never(gateway.ask(&set, &token)).is_ok());
        let key = CacheKey::new(&token, &set);
        let weight = gateway.cache.find(&key, &set, now()).unwrap().weight();
        (weight, gateway.local.find(&key, &set, now()).is_some())
    };
    let (least, _) = kept(0);
    let fill = 16 * 1024 - usize::try_from(least).unwrap();
    assert_eq!(kept(fill), (16 * 1024, true));
    assert_eq!(kept(fill + 1), (16 * 1024 + 1, false));
}

#[test]
fn j25_a_worker_forgets_when_it_is_told_to() {
    let (gateway, set) = (Gateway::new(), strict_set());
    assert!(now_or_never(gateway.ask(&set, &good())).is_ok());
    let key = CacheKey::new(&good(), &set);
    assert!(gateway.local.find(&key, &set, now()).is_some());
    gateway.local.clear();
    assert!(gateway.local.find(&key, &set, now()).is_none());
    gateway.cache.settle();
    assert_eq!(gateway.cache.entries(), 1, "the shared cache does not");
    let other = sign(&header(), &with(claims(), "jti", json!("t2")));
    assert!(now_or_never(gateway.ask(&set, &other)).is_ok());
    gateway.cache.settle();
    assert_eq!(gateway.cache.entries(), 2);
}

#[test]
fn j25_a_bad_signature_is_remembered_for_seconds() {
    let (gateway, set, token) = (Gateway::new(), strict_set(), forged());
    assert_eq!(refusal(&gateway, &set, &token), None);
    assert_eq!(refused(&gateway, &set, &token), Cause::BadSignature);
    assert_eq!(refusal(&gateway, &set, &token), Some(Cause::BadSignature));
    assert_eq!(refused(&gateway, &set, &token), Cause::BadSignature);
    let seconds = |n: u64| UnixTime::from_secs(NOW + n);
    gateway.clock.set(seconds(9));
    assert_eq!(refusal(&gateway, &set, &token), Some(Cause::BadSignature));
    gateway.clock.set(seconds(10));
    assert_eq!(refusal(&gateway, &set, &token), None);
    // Nor for ever where the clock is set back.
    assert_eq!(refused(&gateway, &set, &token), Cause::BadSignature);
    gateway.clock.set(seconds(0));
    assert_eq!(refusal(&gateway, &set, &token), None);
}

#[test]
fn j25_a_refusal_of_one_route_says_nothing_to_another() {
    let (gateway, token) = (Gateway::new(), good());
    let mut stricter = strict_settings();
    stricter.audience = Audience::OneOf(vec!["shop".to_owned()]);
    let other = IssuerSet::new(vec![Issuer::new(stricter, secret_keys())]).unwrap();
    assert_eq!(refused(&gateway, &other, &token), Cause::AudNotAllowed);
    assert_eq!(refusal(&gateway, &other, &token), Some(Cause::AudNotAllowed));
    assert!(now_or_never(gateway.ask(&strict_set(), &token)).is_ok());
}

#[test]
fn j25_a_refusal_ends_with_the_keys_that_made_it() {
    let gateway = Gateway::new();
    let keys = KeySet::fixed(vec![from_secret(OTHER_SECRET).unwrap()]);
    let set = IssuerSet::new(vec![Issuer::new(strict_settings(), keys)]).unwrap();
    assert_eq!(refused(&gateway, &set, &good()), Cause::BadSignature);
    assert!(refusal(&gateway, &set, &good()).is_some());
    // The same settings with the right secret, as a reload installs them: the same cache key.
    let (reloaded, key) = (strict_set(), CacheKey::new(&good(), &set));
    assert_eq!(key, CacheKey::new(&good(), &reloaded));
    assert!(now_or_never(gateway.ask(&reloaded, &good())).is_ok());
}

#[test]
fn j25_what_time_or_a_fetch_can_turn_is_not_remembered() {
    let (gateway, set) = (Gateway::new(), strict_set());
    for (claims, cause) in [
        (with(claims(), "nbf", json!(NOW + 40)), Cause::NbfInFuture),
        (with(claims(), "iat", json!(NOW + 40)), Cause::IatInFuture),
        (with(claims(), "exp", json!(NOW - 40)), Cause::Expired),
        (with(claims(), "iss", json!("https://elsewhere/")), Cause::IssUnknown),
    ] {
        let token = sign(&header(), &claims);
        assert_eq!(refused(&gateway, &set, &token), cause);
        assert_eq!(refusal(&gateway, &set, &token), None, "{cause}");
    }
    let waits: Vec<&Cause> = Cause::ALL.iter().filter(|cause| cause.is_lasting()).collect();
    assert_eq!(waits.len(), 14);
    for cause in [Cause::KidUnknown, Cause::NoKeyFits, Cause::KeysUnavailable, Cause::AlgNotAllowed]
    {
        assert!(!cause.is_lasting(), "{cause}");
    }
}

#[test]
fn j25_where_two_issuers_may_judge_no_refusal_is_remembered() {
    let (gateway, token) = (Gateway::new(), forged());
    let mut any = IssuerSettings::new("any", ExpectedIss::Any, Audience::Any);
    any.algorithms = vec![Algorithm::ES256];
    let absent = IssuerSettings::simplejwt("django");
    let keys = || KeySet::fixed(Vec::new());
    let issuers =
        |list: Vec<IssuerSettings>| list.into_iter().map(|one| Issuer::new(one, keys())).collect();
    let two = IssuerSet::new(issuers(vec![any.clone(), absent.clone()])).unwrap();
    assert_eq!(two.keys_stamp(), None);
    for list in [vec![any], vec![absent, strict_settings()], vec![strict_settings()]] {
        assert!(IssuerSet::new(issuers(list)).unwrap().keys_stamp().is_some());
    }
    let mut twin = strict_settings();
    twin.name = "twin".to_owned();
    let twins = IssuerSet::new(vec![
        Issuer::new(strict_settings(), secret_keys()),
        Issuer::new(twin, secret_keys()),
    ])
    .unwrap();
    assert_eq!(refused(&gateway, &twins, &token), Cause::BadSignature);
    assert_eq!(refusal(&gateway, &twins, &token), None);
}

#[test]
fn j25_refusals_never_outgrow_their_room() {
    let (gateway, set) = (Gateway::new(), strict_set());
    let signed = format!("{}.{}", base64(header().to_string()), base64(claims().to_string()));
    for n in 0..6000_u32 {
        let token = seal(&signed, format!("{n:032}").as_bytes());
        assert_eq!(refused(&gateway, &set, &token), Cause::BadSignature);
    }
    gateway.cache.settle();
    let kept = gateway.cache.refusals();
    assert!(kept > 0 && kept <= 4096, "{kept}");
    assert_eq!(gateway.cache.entries(), 0, "and take no place from good ones");
    assert!(now_or_never(gateway.ask(&set, &good())).is_ok());
}

//! An issuer that is broken or lies, case by case: what each answer is called, and that no answer
//! costs a key that is known.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::issuer::{Answer, Issuer};
use super::key_set::{
    HOUR, JWKS, START, key, last_error, look_up, refetch, set_from, settings, started, until,
};
use crate::clock::Clock;
use crate::keys::jwks::{MAX_KEYS, SkipReason};
use crate::keys::signing::{Signer, jwks};
use crate::keys::{Found, Freshness, KeySet, RefreshSettings, Source};

/// Each answer at the start, where there are no keys yet, and later, where there are: the error is
/// the expected one, and the keys are what they were.
async fn each_is(settings: &RefreshSettings, cases: Vec<(&str, Answer, &str)>) {
    let signer = Signer::generate().unwrap();
    for (what, answer, expected) in cases {
        let (issuer, known) = started(&[&signer], settings.clone(), &Clock::system()).await;
        let before = key(look_up(&known, &signer));
        issuer.answer(JWKS, answer);
        let found = refetch(&known, "unknown").await;
        assert!(matches!(found, Found::Unavailable), "{what}: {found:?}");
        let new = set_from(Source::JwksUrl(issuer.url(JWKS)), settings.clone(), &Clock::system());
        until(|| last_error(&new).is_some()).await;
        assert!(matches!(look_up(&new, &signer), Found::Unavailable), "{what}");
        for set in [&known, &new] {
            let error = last_error(set).unwrap();
            assert!(error.contains(expected), "{what}: {error}");
        }
        assert!(Arc::ptr_eq(&before, &key(look_up(&known, &signer))), "{what}");
        assert!(!before.is_retired(), "{what}");
        assert_eq!(known.status().freshness, Freshness::Stale, "{what}");
        assert_eq!(new.status().freshness, Freshness::Unavailable, "{what}");
    }
}

fn ok(headers: &str, body: &[u8]) -> Answer {
    Answer::with_headers(200, headers, body)
}

fn raw(parts: &[&[u8]]) -> Answer {
    Answer::Raw(parts.concat())
}

fn good() -> Vec<u8> {
    jwks([&Signer::generate().unwrap()]).to_string().into_bytes()
}

#[tokio::test]
async fn j21_slow_answers_end_at_the_deadline() {
    let settings = RefreshSettings { fetch_timeout: Duration::from_millis(200), ..settings() };
    let good = good();
    let head = format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n", good.len());
    let late = "no answer in time";
    let cases = vec![
        ("nothing at all", Answer::Stall, late),
        ("a head byte by byte", Answer::Drip(vec![b'H'; 100_000]), late),
        ("a body byte by byte", Answer::Drip([head.as_bytes(), &good].concat()), late),
        ("a body that never ends", Answer::Drip([head.as_bytes(), &good[1..]].concat()), late),
    ];
    each_is(&settings, cases).await;
}

#[tokio::test]
async fn j21_huge_answers_are_cut_off() {
    let chunks = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    let endless =
        [b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice(), &chunks.repeat(16)]
            .concat();
    let lied = format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n", u64::MAX);
    let large = "larger than 512 KiB";
    let headers = format!("X: {}\r\n", "x".repeat(1 << 17));
    let cases = vec![
        ("a megabyte", ok("", &[b' '; 1 << 20]), large),
        ("endless chunks", Answer::Raw(endless), large),
        ("all lengths", raw(&[lied.as_bytes(), &[b' '; 1 << 20]]), "no usable response"),
        ("a head of 128 KiB", ok(&headers, b"{}"), "no usable response"),
    ];
    each_is(&settings(), cases).await;
}

#[tokio::test]
async fn j21_what_is_no_key_set_leaves_the_keys_alone() {
    let secret = json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0", "kid": "x" }] });
    let deep = [vec![b'['; 10_000], vec![b']'; 10_000]].concat();
    let (no_set, no_key) = ("not a JSON Web Key Set", "no usable key");
    let html = b"<!doctype html><title>Sign in</title>";
    let cases = vec![
        ("HTML", ok("Content-Type: text/html\r\n", html), no_set),
        ("nothing", ok("", b""), no_set),
        ("half a set", ok("", &good()[..60]), no_set),
        ("two sets", ok("", &[good(), good()].concat()), no_set),
        ("NUL", ok("", b"\0"), no_set),
        ("no UTF-8", ok("", b"{\"keys\":[\"\xff\"]}"), no_set),
        ("deep", ok("", &deep), no_set),
        ("a list", Answer::json(json!([])), no_set),
        ("another object", Answer::json(json!({ "error": "not found" })), no_set),
        ("keys as text", Answer::json(json!({ "keys": "none" })), no_set),
        ("keys as an object", Answer::json(json!({ "keys": { "a": {} } })), no_set),
        ("keys as null", Answer::json(json!({ "keys": null })), no_set),
        ("no keys", Answer::json(json!({ "keys": [] })), no_key),
        ("no objects", Answer::json(json!({ "keys": [1, "a", null, []] })), no_key),
        ("a secret", Answer::json(secret), no_key),
    ];
    each_is(&settings(), cases).await;
}

#[tokio::test]
async fn j21_other_answers_than_200_leave_the_keys_alone() {
    let good = good();
    let other = Issuer::start().await;
    other.answer(JWKS, Answer::Raw([b"HTTP/1.1 200 X\r\n\r\n", &*good].concat()));
    let away = format!("Location: {}\r\n", other.url(JWKS));
    let redirect = |status| Answer::with_headers(status, &away, &good);
    let answered = |status| Answer::with_headers(status, "", &good);
    let cases = vec![
        ("moved for good", redirect(301), "a redirect, and none is followed"),
        ("moved", redirect(302), "a redirect, and none is followed"),
        ("elsewhere", redirect(307), "a redirect, and none is followed"),
        ("unchanged, without being asked", answered(304), "a redirect"),
        ("no content", answered(204), "answered 204"),
        ("a part", answered(206), "answered 206"),
        ("not found", answered(404), "answered 404"),
        ("too many", answered(429), "answered 429"),
        ("trouble", answered(500), "answered 500"),
        ("a proxy's trouble", answered(503), "answered 503"),
    ];
    each_is(&settings(), cases).await;
    assert_eq!(other.received().len(), 0, "a redirect was followed");
}

#[tokio::test]
async fn j21_broken_messages_leave_the_keys_alone() {
    let good = good();
    let declared = |length: usize| {
        let head = format!("HTTP/1.1 200 X\r\nContent-Length: {length}\r\n\r\n");
        [head.as_bytes(), &good].concat()
    };
    let broken = "no usable response";
    let cases = vec![
        ("closed at once", Answer::Close, broken),
        ("reset at once", Answer::Reset(Vec::new()), broken),
        ("reset in the body", Answer::Reset(declared(good.len() + 1)), broken),
        ("another protocol", raw(&[b"SSH-2.0-OpenSSH_9.6\r\n"]), broken),
        ("shorter than it said", Answer::Raw(declared(good.len() + 1)), broken),
        ("longer than it said", Answer::Raw(declared(good.len() - 1)), "not a JSON Web Key Set"),
        (
            "two lengths",
            raw(&[b"HTTP/1.1 200 X\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"]),
            broken,
        ),
        (
            "a chunk cut off",
            raw(&[b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"]),
            broken,
        ),
        ("a coding", ok("Content-Encoding: gzip\r\n", b"\x1f\x8b\x08\0"), "content coding"),
        ("a coding that is not named", ok("", b"\x1f\x8b\x08\0"), "not a JSON Web Key Set"),
    ];
    each_is(&settings(), cases).await;
}

/// Half a megabyte of nothing, beside one key: what is kept and told of it is bounded.
#[tokio::test]
async fn j21_a_hundred_thousand_entries_cost_a_hundred() {
    let signer = Signer::generate().unwrap();
    let mut keys = vec![json!({}); 100_000];
    keys.insert(0, signer.jwk().clone());
    let issuer = Issuer::start().await;
    issuer.answer(JWKS, Answer::json(json!({ "keys": keys })));
    let set = set_from(Source::JwksUrl(issuer.url(JWKS)), settings(), &Clock::system());
    until(|| set.usable()).await;
    key(look_up(&set, &signer));
    until(|| !set.status().remote.unwrap().skipped.is_empty()).await;
    assert_eq!(set.status().remote.unwrap().skipped.len(), 2 * MAX_KEYS - 1);
}

/// Every kind of key that may not be used, beside one that may.
#[tokio::test]
async fn j21_one_bad_key_costs_no_good_one() {
    let (signer, twin) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    let changed = |name: &str, value: Value| {
        let mut jwk = twin.jwk().clone();
        jwk[name] = value;
        jwk
    };
    let mut keys = vec![
        json!(7),
        changed("x", json!("AA")),
        changed("kty", json!(["EC"])),
        changed("kty", json!("AKP")),
        changed("crv", json!("P-192")),
        changed("alg", json!("none")),
        changed("use", json!("enc")),
        changed("key_ops", json!(["encrypt"])),
        changed("kid", json!(5)),
        changed("d", json!("AAAA")),
        json!({ "kty": "oct", "k": "AAAA" }),
        json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" }),
        signer.jwk().clone(),
    ];
    let expected = [
        SkipReason::Malformed,
        SkipReason::Malformed,
        SkipReason::Malformed,
        SkipReason::Unsupported,
        SkipReason::Unsupported,
        SkipReason::Unsupported,
        SkipReason::WrongUse,
        SkipReason::WrongUse,
        SkipReason::BadKid,
        SkipReason::Private,
        SkipReason::Symmetric,
        SkipReason::Weak,
    ];
    let issuer = Issuer::start().await;
    issuer.answer(JWKS, Answer::json(json!({ "keys": keys })));
    let set = set_from(Source::JwksUrl(issuer.url(JWKS)), settings(), &Clock::system());
    until(|| set.usable()).await;
    key(look_up(&set, &signer));
    let reasons = |set: &KeySet| -> Vec<SkipReason> {
        set.status().remote.unwrap().skipped.iter().map(|one| one.reason).collect()
    };
    until(|| reasons(&set) == expected).await;
    assert_eq!(last_error(&set), None);

    // Beyond the first 64 entries nothing is looked at.
    keys.rotate_left(12);
    keys.resize(MAX_KEYS, json!({}));
    keys.push(twin.jwk().clone());
    issuer.answer(JWKS, Answer::json(json!({ "keys": keys })));
    assert!(matches!(refetch(&set, twin.kid()).await, Found::UnknownKid));
    key(look_up(&set, &signer));
    assert_eq!(reasons(&set).last(), Some(&SkipReason::TooMany));
}

#[tokio::test]
async fn j31_a_day_without_the_issuer_refuses_nobody_and_the_next_second_says_503() {
    let signer = Signer::generate().unwrap();
    let clock = Clock::fixed(START);
    let (issuer, set) = started(&[&signer], settings(), &clock).await;
    let before = key(look_up(&set, &signer));
    issuer.answer(JWKS, Answer::Close);
    for hour in 1..24 {
        clock.set(START.saturating_add(HOUR * hour));
        assert!(matches!(refetch(&set, "unknown").await, Found::Unavailable));
        assert!(Arc::ptr_eq(&before, &key(look_up(&set, &signer))), "hour {hour}");
        assert_eq!(set.status().freshness, Freshness::Stale);
    }
    clock.set(START.saturating_add(HOUR * 24 - Duration::from_millis(1)));
    key(look_up(&set, &signer));
    clock.set(START.saturating_add(HOUR * 24));
    assert!(matches!(look_up(&set, &signer), Found::Unavailable));
    assert_eq!(set.status().freshness, Freshness::Unavailable);
}

#[tokio::test]
async fn j21_two_rotations_in_a_row_leave_the_last_keys_alone_valid() {
    let signers: Vec<Signer> = (0..3).map(|_| Signer::generate().unwrap()).collect();
    let (issuer, set) = started(&[&signers[0]], settings(), &Clock::system()).await;
    let mut retired = vec![key(look_up(&set, &signers[0]))];
    for signer in &signers[1..] {
        issuer.answer(JWKS, Answer::json(jwks([signer])));
        retired.push(key(refetch(&set, signer.kid()).await));
    }
    let last = retired.pop().unwrap();
    assert!(!last.is_retired());
    assert!(retired.iter().all(|key| key.is_retired()));
    for old in &signers[..2] {
        assert!(matches!(look_up(&set, old), Found::UnknownKid));
    }
    assert_eq!(issuer.count(JWKS), 3, "one fetch for each rotation");

    // Twice between two fetches: the first rotation's key was never seen, and is not missed.
    let (skipped, newest) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    issuer.answer(JWKS, Answer::json(jwks([&skipped])));
    issuer.answer(JWKS, Answer::json(jwks([&newest])));
    key(refetch(&set, newest.kid()).await);
    assert!(matches!(refetch(&set, skipped.kid()).await, Found::UnknownKid));
}

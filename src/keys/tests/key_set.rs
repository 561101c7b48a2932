//! Live key sets against an issuer that misbehaves in every way it can.
//!
//! Counts decide, never durations: cool-downs and pauses are either nothing or an hour.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::runtime::Handle;
use tokio_rustls::TlsAcceptor;

use super::issuer::{Answer, Issuer};
use crate::clock::{Clock, UnixTime};
use crate::keys::refresher::MAX_WAITERS;
use crate::keys::signing::{Signer, jwks};
use crate::keys::{
    Algorithm, Found, Key, KeySet, MAX_CANDIDATES, Refresh, RefreshSettings, Source, SourceError,
    UrlError, from_secret,
};
use crate::telemetry::metrics::Metrics;
use crate::tls::client;

pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const START: UnixTime = UnixTime::from_secs(1_800_000_000);
pub(super) const JWKS: &str = "/jwks";

/// Fetches only when it must, and then at once.
pub(super) fn settings() -> RefreshSettings {
    let ca = rcgen::generate_simple_self_signed(vec!["unused.test".to_owned()]).unwrap();
    let tls = client::config(Some(ca.cert.pem().as_bytes())).unwrap();
    RefreshSettings {
        fetch_timeout: HOUR,
        refresh: Refresh::Every(HOUR),
        retry_first: HOUR,
        retry_longest: HOUR,
        unknown_kid_cooldown: Duration::ZERO,
        wait: HOUR,
        ..RefreshSettings::new(tls)
    }
}

pub(super) fn set_from(source: Source, settings: RefreshSettings, clock: &Clock) -> Arc<KeySet> {
    let set = KeySet::remote(source, settings, clock.clone(), Metrics::new(), "main").unwrap();
    set.start(&Handle::current());
    set
}

/// An issuer that publishes `signers`, and a set that has fetched them.
pub(super) async fn started(
    signers: &[&Signer],
    settings: RefreshSettings,
    clock: &Clock,
) -> (Issuer, Arc<KeySet>) {
    let issuer = Issuer::start().await;
    issuer.answer(JWKS, Answer::json(jwks(signers.iter().copied())));
    let set = set_from(Source::JwksUrl(issuer.url(JWKS)), settings, clock);
    until(|| set.usable() || last_error(&set).is_some()).await;
    assert!(set.usable(), "{:?}", last_error(&set));
    (issuer, set)
}

pub(super) async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("never came true");
}

pub(super) fn key(found: Found) -> Arc<Key> {
    match found {
        Found::Keys(keys) => Arc::clone(&keys[0]),
        Found::Unavailable | Found::UnknownKid => panic!("{found:?}"),
    }
}

pub(super) fn look_up(set: &KeySet, signer: &Signer) -> Found {
    set.candidates(Some(signer.kid()), Algorithm::ES256)
}

pub(super) async fn refetch(set: &KeySet, kid: &str) -> Found {
    set.candidates_after_refetch(Some(kid), Algorithm::ES256).await
}

pub(super) fn last_error(set: &KeySet) -> Option<String> {
    set.status().remote.unwrap().last_error.map(|error| error.to_string())
}

#[tokio::test]
async fn keys_are_unavailable_until_the_first_fetch() {
    let signer = Signer::generate().unwrap();
    let issuer = Issuer::start().await;
    issuer.answer(JWKS, Answer::json(jwks([&signer])));
    issuer.hold();
    let set = set_from(Source::JwksUrl(issuer.url(JWKS)), settings(), &Clock::system());
    until(|| issuer.count(JWKS) == 1).await;
    assert!(!set.usable());
    assert!(matches!(look_up(&set, &signer), Found::Unavailable));
    assert!(matches!(refetch(&set, signer.kid()).await, Found::Unavailable));
    issuer.release();
    until(|| set.usable()).await;
    set.start(&Handle::current());
    assert_eq!(key(look_up(&set, &signer)).kid(), Some(signer.kid()));
    assert_eq!(issuer.count(JWKS), 1);
}

#[tokio::test]
async fn j20_ten_thousand_unknown_kids_make_no_fetch_within_the_cool_down() {
    let signer = Signer::generate().unwrap();
    let settings = RefreshSettings { unknown_kid_cooldown: HOUR, ..settings() };
    let (issuer, set) = started(&[&signer], settings, &Clock::system()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..10_000 {
        let set = Arc::clone(&set);
        tasks.spawn(async move { refetch(&set, &format!("random-{number}")).await });
    }
    for found in tasks.join_all().await {
        assert!(matches!(found, Found::UnknownKid));
    }
    assert_eq!(issuer.count(JWKS), 1);
    key(look_up(&set, &signer));
}

#[tokio::test]
async fn j20_a_failed_fetch_starts_the_cool_down_too() {
    let issuer = Issuer::start().await;
    issuer.answer(JWKS, Answer::with_headers(500, "", b""));
    let settings = RefreshSettings { unknown_kid_cooldown: HOUR, ..settings() };
    let set = set_from(Source::JwksUrl(issuer.url(JWKS)), settings, &Clock::system());
    until(|| last_error(&set).is_some()).await;
    for number in 0..1000 {
        assert!(matches!(refetch(&set, &number.to_string()).await, Found::Unavailable));
    }
    assert_eq!(issuer.count(JWKS), 1);
}

#[tokio::test]
async fn j20_waiters_share_one_fetch_and_the_rest_do_not_wait() {
    let (old, new) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    let (issuer, set) = started(&[&old], settings(), &Clock::system()).await;
    issuer.answer(JWKS, Answer::json(jwks([&old, &new])));
    issuer.hold();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (set, kid) = (Arc::clone(&set), new.kid().to_owned());
        tasks.spawn(async move { refetch(&set, &kid).await });
    }
    for _ in 0..200 - MAX_WAITERS {
        let found = tasks.join_next().await.unwrap().unwrap();
        assert!(matches!(found, Found::Unavailable));
    }
    issuer.release();
    let found = tasks.join_all().await;
    assert_eq!(found.len(), MAX_WAITERS);
    for found in found {
        assert_eq!(key(found).kid(), Some(new.kid()));
    }
    assert_eq!(issuer.count(JWKS), 2);
}

#[tokio::test]
async fn waiters_that_go_away_make_room() {
    let signer = Signer::generate().unwrap();
    let (issuer, set) = started(&[&signer], settings(), &Clock::system()).await;
    issuer.hold();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..MAX_WAITERS {
        let set = Arc::clone(&set);
        tasks.spawn(async move { refetch(&set, "unknown").await });
    }
    until(|| issuer.count(JWKS) == 2).await;
    assert!(matches!(refetch(&set, "unknown").await, Found::Unavailable));
    tasks.shutdown().await;
    let waiting = tokio::spawn({
        let set = Arc::clone(&set);
        async move { refetch(&set, "unknown").await }
    });
    tokio::task::yield_now().await;
    issuer.release();
    assert!(matches!(waiting.await.unwrap(), Found::UnknownKid));
}

#[tokio::test]
async fn waiting_ends_before_a_slow_issuer_answers() {
    let signer = Signer::generate().unwrap();
    let settings = RefreshSettings { wait: Duration::from_millis(20), ..settings() };
    let (issuer, set) = started(&[&signer], settings, &Clock::system()).await;
    issuer.answer(JWKS, Answer::Stall);
    assert!(matches!(refetch(&set, "unknown").await, Found::Unavailable));
    key(look_up(&set, &signer));
}

#[tokio::test]
async fn rotation_keeps_what_stays_and_retires_what_goes() {
    let signers: Vec<Signer> = (0..3).map(|_| Signer::generate().unwrap()).collect();
    let (issuer, set) = started(&[&signers[0], &signers[1]], settings(), &Clock::system()).await;
    let (gone, kept) = (key(look_up(&set, &signers[0])), key(look_up(&set, &signers[1])));
    issuer.answer(JWKS, Answer::json(jwks([&signers[1], &signers[2]])));

    key(refetch(&set, signers[2].kid()).await);
    assert_eq!(issuer.count(JWKS), 2, "accepted within one forced fetch");
    assert!(gone.is_retired());
    assert!(!kept.is_retired());
    assert!(Arc::ptr_eq(&kept, &key(look_up(&set, &signers[1]))));
    assert!(matches!(look_up(&set, &signers[0]), Found::UnknownKid));

    issuer.answer(JWKS, Answer::json(jwks(&signers)));
    let back = key(refetch(&set, signers[0].kid()).await);
    assert!(gone.is_retired() && !back.is_retired());
}

#[tokio::test]
async fn j31_good_keys_outlive_the_issuer_until_they_are_stale() {
    let signer = Signer::generate().unwrap();
    let clock = Clock::fixed(START);
    let settings = RefreshSettings { stale_for: HOUR, ..settings() };
    let (issuer, set) = started(&[&signer], settings, &clock).await;
    issuer.answer(JWKS, Answer::Close);
    assert!(matches!(refetch(&set, "unknown").await, Found::Unavailable));
    key(look_up(&set, &signer));

    clock.set(START.saturating_add(HOUR - Duration::from_millis(1)));
    assert!(set.usable());
    clock.set(START.saturating_add(HOUR));
    assert!(!set.usable());
    assert!(matches!(look_up(&set, &signer), Found::Unavailable));
}

#[tokio::test]
async fn a_recovered_issuer_makes_stale_keys_good_again() {
    let signer = Signer::generate().unwrap();
    let clock = Clock::fixed(START);
    let settings =
        RefreshSettings { stale_for: HOUR, refresh: Refresh::Every(Duration::ZERO), ..settings() };
    let (issuer, set) = started(&[&signer], settings, &clock).await;
    let before = key(look_up(&set, &signer));
    clock.set(START.saturating_add(HOUR * 2));
    until(|| set.usable()).await;
    assert!(Arc::ptr_eq(&before, &key(look_up(&set, &signer))));
    assert!(issuer.count(JWKS) > 1);
}

#[tokio::test]
async fn an_unreachable_issuer_is_an_error_and_no_more() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    drop(listener);
    let set = set_from(Source::JwksUrl(url), settings(), &Clock::system());
    until(|| last_error(&set).is_some()).await;
    assert!(last_error(&set).unwrap().starts_with("no connection"));
}

/// Milliseconds of the fixed clock until the next fetch.
async fn until_next(set: &KeySet) -> u64 {
    let next = || set.status().remote.unwrap().next_refresh;
    until(|| next().is_some()).await;
    u64::try_from(next().unwrap().since(START).as_millis()).unwrap()
}

#[tokio::test]
async fn keys_are_renewed_at_four_fifths_of_their_lifetime_a_tenth_earlier_or_later() {
    let clock = Clock::fixed(START);
    let settings = RefreshSettings { refresh: Refresh::Auto, ..settings() };
    let signer = Signer::generate().unwrap();
    let mut seen = std::collections::HashSet::new();
    for (header, seconds) in [
        ("", 600),
        ("Cache-Control: public, max-age=1000\r\n", 1000),
        ("Cache-Control: max-age=1\r\n", 60),
        ("Cache-Control: no-store\r\n", 60),
        ("Cache-Control: max-age=31536000\r\n", 24 * 3600),
        ("Cache-Control: max-age=soon\r\n", 600),
    ] {
        let issuer = Issuer::start().await;
        let body = jwks([&signer]).to_string();
        issuer.answer(JWKS, Answer::with_headers(200, header, body.as_bytes()));
        for _ in 0..5 {
            let source = Source::JwksUrl(issuer.url(JWKS));
            let set = set_from(source, settings.clone(), &clock);
            let next = until_next(&set).await;
            let at = seconds * 800;
            assert!((at * 9 / 10 - 1..=at * 11 / 10 + 1).contains(&next), "{header}: {next} ms");
            seen.insert(next);
        }
    }
    assert!(seen.len() > 6, "no jitter: {seen:?}");
}

#[tokio::test]
async fn keys_are_renewed_before_they_are_too_old() {
    let clock = Clock::fixed(START);
    let settings = RefreshSettings { refresh: Refresh::Auto, stale_for: HOUR, ..settings() };
    let signer = Signer::generate().unwrap();
    let issuer = Issuer::start().await;
    let body = jwks([&signer]).to_string();
    let header = "Cache-Control: max-age=86400\r\n";
    issuer.answer(JWKS, Answer::with_headers(200, header, body.as_bytes()));
    let set = set_from(Source::JwksUrl(issuer.url(JWKS)), settings, &clock);
    let next = until_next(&set).await;
    assert!((43 * 60_000..54 * 60_000).contains(&next), "{next} ms");
}

#[tokio::test]
async fn pauses_between_failing_fetches_double_up_to_the_longest() {
    let clock = Clock::fixed(START);
    let settings = RefreshSettings {
        retry_first: Duration::from_secs(100),
        retry_longest: Duration::from_secs(350),
        ..settings()
    };
    let (issuer, set) = started(&[&Signer::generate().unwrap()], settings, &clock).await;
    issuer.answer(JWKS, Answer::Close);
    for seconds in [100, 200, 350, 350] {
        assert!(matches!(refetch(&set, "unknown").await, Found::Unavailable));
        let next = until_next(&set).await;
        assert!((seconds * 900 - 1..=seconds * 1100 + 1).contains(&next), "{seconds}: {next} ms");
    }
}

#[test]
fn j20_j21_the_defaults_are_the_promised_numbers() {
    let settings = RefreshSettings::new(None);
    let seconds = |duration: Duration| duration.as_secs_f64();
    assert_eq!(seconds(settings.fetch_timeout), 5.0);
    assert_eq!(seconds(settings.wait), 2.0);
    assert_eq!(seconds(settings.unknown_kid_cooldown), 10.0);
    assert_eq!(seconds(settings.retry_first), 1.0);
    assert_eq!(seconds(settings.retry_longest), 30.0);
    assert_eq!(seconds(settings.stale_for), 24.0 * 3600.0);
    assert_eq!(settings.refresh, Refresh::Auto);
    assert!(!settings.allow_http && settings.connect_to.is_none() && settings.store.is_none());
    assert_eq!((MAX_WAITERS, MAX_CANDIDATES), (1 + 64, 8));
    assert_eq!((crate::keys::MAX_DOCUMENT, crate::keys::jwks::MAX_KEYS), (512 * 1024, 64));
}

#[tokio::test]
async fn failing_fetches_are_tried_again() {
    let signer = Signer::generate().unwrap();
    let issuer = Issuer::start().await;
    let settings = RefreshSettings { retry_first: Duration::from_millis(1), ..settings() };
    let set = set_from(Source::JwksUrl(issuer.url(JWKS)), settings, &Clock::system());
    until(|| issuer.count(JWKS) >= 3).await;
    issuer.answer(JWKS, Answer::json(jwks([&signer])));
    until(|| set.usable()).await;
    assert_eq!(last_error(&set), None);
}

#[tokio::test]
async fn an_unchanged_document_confirms_the_keys() {
    let signer = Signer::generate().unwrap();
    let clock = Clock::fixed(START);
    let issuer = Issuer::start().await;
    let body = jwks([&signer]).to_string();
    issuer.answer(JWKS, Answer::with_headers(200, "ETag: \"v1\"\r\n", body.as_bytes()));
    issuer.answer_unchanged(Answer::Raw(b"HTTP/1.1 304 X\r\nETag: \"v1\"\r\n\r\n".to_vec()));
    let set = set_from(Source::JwksUrl(issuer.url(JWKS)), settings(), &clock);
    until(|| set.usable()).await;
    let before = key(look_up(&set, &signer));
    clock.set(START.saturating_add(HOUR));
    assert!(matches!(refetch(&set, "unknown").await, Found::UnknownKid));
    assert!(Arc::ptr_eq(&before, &key(look_up(&set, &signer))));
    assert_eq!(set.status().remote.unwrap().last_success, Some(START.saturating_add(HOUR)));
    assert!(issuer.received()[1].head.contains("if-none-match: \"v1\""));
}

#[tokio::test]
async fn discovery_finds_the_keys() {
    let signer = Signer::generate().unwrap();
    for (issuer_path, document) in [
        ("/", "/.well-known/openid-configuration"),
        ("", "/.well-known/openid-configuration"),
        ("/realms/main", "/realms/main/.well-known/openid-configuration"),
        ("/realms/main", "/.well-known/oauth-authorization-server/realms/main"),
    ] {
        let issuer = Issuer::start().await;
        let issuer_url = issuer.url(issuer_path);
        issuer.answer(
            document,
            Answer::json(json!({"issuer": issuer_url, "jwks_uri": issuer.url(JWKS)})),
        );
        issuer.answer(JWKS, Answer::json(jwks([&signer])));
        let set = set_from(Source::Discovery { issuer_url }, settings(), &Clock::system());
        until(|| set.usable()).await;
        key(look_up(&set, &signer));
        assert_eq!(issuer.count(document), 1);
    }
}

#[tokio::test]
async fn j21_discovery_believes_nobody_else() {
    let issuer = Issuer::start().await;
    issuer.answer(JWKS, Answer::json(jwks([&Signer::generate().unwrap()])));
    let document = "/.well-known/openid-configuration";
    let (own, keys) = (issuer.url("/"), issuer.url(JWKS));
    let cases = [
        (json!({"issuer": issuer.url(""), "jwks_uri": keys}), "another issuer's"),
        (json!({"issuer": "https://evil.example/", "jwks_uri": keys}), "another issuer's"),
        (json!({"issuer": [own], "jwks_uri": keys}), "lack issuer or jwks_uri"),
        (json!({"issuer": own}), "lack issuer or jwks_uri"),
        (json!({"issuer": own, "jwks_uri": "http://10.0.0.1/jwks"}), "plain http"),
        (json!({"issuer": own, "jwks_uri": "file:///etc/passwd"}), "not an absolute https URL"),
        (json!("text"), "lack issuer or jwks_uri"),
    ];
    for (metadata, expected) in cases {
        issuer.answer(document, Answer::json(metadata));
        let set =
            set_from(Source::Discovery { issuer_url: own.clone() }, settings(), &Clock::system());
        until(|| last_error(&set).is_some()).await;
        let error = last_error(&set).unwrap();
        assert!(error.contains(expected), "{error} is not: {expected}");
    }
    assert_eq!(issuer.count(JWKS), 0);
}

#[tokio::test]
async fn tls_verifies_the_name_of_the_url_wherever_it_connects() {
    let signer = Signer::generate().unwrap();
    let names = vec!["id.example.test".to_owned()];
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(names).unwrap();
    let private = rustls_pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], private)
        .unwrap();
    let issuer = Issuer::start_with(Some(TlsAcceptor::from(Arc::new(server)))).await;
    issuer.answer(JWKS, Answer::json(jwks([&signer])));
    let reached = |url: &str, tls: Option<_>| {
        let settings =
            RefreshSettings { connect_to: Some(issuer.address.to_string()), tls, ..settings() };
        set_from(Source::JwksUrl(url.to_owned()), settings, &Clock::system())
    };
    let trusting = client::config(Some(cert.pem().as_bytes())).ok();

    let good = reached("https://id.example.test:444/jwks", trusting.clone());
    until(|| good.usable()).await;
    key(look_up(&good, &signer));
    assert!(issuer.received()[0].head.contains("host: id.example.test:444\r\n"));

    for (url, tls) in [
        ("https://other.example.test/jwks", trusting),
        ("https://id.example.test/jwks", settings().tls),
    ] {
        let bad = reached(url, tls);
        until(|| last_error(&bad).is_some()).await;
        assert!(last_error(&bad).unwrap().starts_with("no TLS"), "{url}");
    }
    assert_eq!(issuer.count(JWKS), 1);
}

#[tokio::test]
async fn j21_an_https_issuer_may_not_step_down_to_plain_http() {
    let error = |source| {
        KeySet::remote(source, settings(), Clock::system(), Metrics::new(), "main").unwrap_err()
    };
    assert_eq!(
        error(Source::JwksUrl("http://id.example.com/jwks".to_owned())),
        SourceError::BadUrl(UrlError::PlainHttp)
    );
    assert_eq!(
        error(Source::Discovery { issuer_url: "https://id.example.com/?x".to_owned() }),
        SourceError::BadUrl(UrlError::Extra)
    );
    let settings = RefreshSettings { connect_to: Some("nowhere".to_owned()), ..settings() };
    let source = Source::JwksUrl("https://id.example.com/jwks".to_owned());
    let refused = KeySet::remote(source, settings, Clock::system(), Metrics::new(), "main");
    assert_eq!(refused.unwrap_err(), SourceError::BadConnectTo);
}

#[tokio::test]
async fn nobody_fetches_for_a_set_that_is_gone() {
    let signer = Signer::generate().unwrap();
    let (issuer, set) = started(&[&signer], settings(), &Clock::system()).await;
    until(|| set.status().remote.unwrap().next_refresh.is_some()).await;
    let weak = Arc::downgrade(&set);
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    drop(set);
    until(|| weak.strong_count() == 0 && tasks() < before).await;
    assert_eq!(issuer.count(JWKS), 1);
}

#[test]
fn keys_without_kid_are_tried_only_where_none_has_one() {
    let signers: Vec<Signer> =
        (0..MAX_CANDIDATES + 2).map(|_| Signer::generate().unwrap()).collect();
    let unnamed = |signer: &Signer| {
        let mut jwk = signer.jwk().clone();
        jwk.as_object_mut().unwrap().remove("kid");
        crate::keys::jwk::parse(&jwk).unwrap()
    };
    let count = |found| match found {
        Found::Keys(keys) => keys.len(),
        Found::Unavailable | Found::UnknownKid => 0,
    };
    let es256 = Algorithm::ES256;

    let nameless = KeySet::fixed(signers.iter().map(unnamed).collect());
    assert_eq!(count(nameless.candidates(Some("any"), es256)), MAX_CANDIDATES);
    assert_eq!(count(nameless.candidates(None, es256)), MAX_CANDIDATES);
    assert_eq!(count(nameless.candidates(None, Algorithm::RS256)), 0);

    let mixed = KeySet::fixed(vec![signers[0].key().unwrap(), unnamed(&signers[1])]);
    assert_eq!(count(mixed.candidates(Some("any"), es256)), 0);
    assert_eq!(count(mixed.candidates(Some(signers[0].kid()), es256)), 1);
    assert_eq!(count(mixed.candidates(None, es256)), 2);

    let refused = key(mixed.candidates(Some(signers[0].kid()), Algorithm::RS256));
    assert!(!refused.allows(Algorithm::RS256));
}

#[tokio::test]
async fn fixed_sets_never_change_and_never_wait() {
    let secret = from_secret(b"9f8a7c6e5d4b3a2918273645aabbccdd").unwrap();
    let set = KeySet::fixed(vec![secret]);
    set.start(&Handle::current());
    assert!(set.usable());
    assert!(matches!(set.candidates(None, Algorithm::HS256), Found::Keys(_)));
    assert!(matches!(set.candidates(None, Algorithm::RS256), Found::UnknownKid));
    let found = set.candidates_after_refetch(None, Algorithm::RS256).await;
    assert!(matches!(found, Found::UnknownKid));
    assert!(set.status().remote.is_none());
}

/// As in the gateway: the fetch runs on one thread's runtime, the requests on others'.
#[test]
fn requests_wait_on_other_threads_than_the_fetch() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (old, new) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    let control = runtime();
    let (issuer, set) = control.block_on(started(&[&old], settings(), &Clock::system()));
    issuer.answer(JWKS, Answer::json(jwks([&old, &new])));
    issuer.hold();
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..4).map(|_| scope.spawn(|| runtime().block_on(refetch(&set, new.kid())))).collect();
        control.block_on(async {
            until(|| issuer.count(JWKS) == 2).await;
            issuer.release();
            until(|| workers.iter().all(|worker| worker.is_finished())).await;
        });
        for worker in workers {
            assert_eq!(key(worker.join().unwrap()).kid(), Some(new.kid()));
        }
    });
}

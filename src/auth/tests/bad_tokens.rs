//! The bad-token guard: what it counts, and what it leaves alone.

use std::num::NonZeroU32;
use std::time::Duration;

use super::*;
use crate::auth::Cause;
use crate::keys::{RefreshSettings, Source};
use crate::limit::Quota;
use crate::telemetry::metrics::Metrics;

/// Three bad tokens at once, and one more a day.
fn guarded() -> Gateway {
    let (count, burst) = (NonZeroU32::MIN, NonZeroU32::new(3).unwrap());
    let quota = Quota { count, period: Duration::from_secs(86_400), burst };
    let budget = Limiter::new(quota, Clock::system().now());
    Gateway { budget: Some((budget, [192, 0, 2, 1].into())), ..Gateway::new() }
}

/// Asks as somebody else from now on.
fn is_now(gateway: &mut Gateway, client: &str) {
    gateway.budget.as_mut().unwrap().1 = client.parse().unwrap();
}

fn ask(gateway: &Gateway, token: &str) -> Result<Authenticated, Cause> {
    now_or_never(gateway.ask(&strict_set(), token)).map_err(|refusal| refusal.cause())
}

fn bad(n: usize) -> String {
    seal(&format!("{}.{}", base64(header().to_string()), base64(n.to_string())), OTHER_SECRET)
}

fn forged() -> String {
    let signed = format!("{}.{}", base64(header().to_string()), base64(claims().to_string()));
    seal(&signed, OTHER_SECRET)
}

#[test]
fn whoever_sends_too_many_bad_tokens_has_none_looked_at() {
    let mut gateway = guarded();
    for _ in 0..3 {
        assert_eq!(ask(&gateway, &forged()).unwrap_err(), Cause::BadSignature);
    }
    assert_eq!(ask(&gateway, &forged()).unwrap_err(), Cause::TooManyBadTokens);
    let refusal = now_or_never(gateway.ask(&strict_set(), &good())).unwrap_err();
    assert_eq!(refusal.cause(), Cause::TooManyBadTokens, "that it is good is not found out");
    assert_eq!(refusal.reason(), crate::telemetry::labels::Reason::RateLimited);
    let wait = refusal.retry_after().unwrap();
    assert!(wait > Duration::from_secs(86_000) && wait <= Duration::from_secs(86_400), "{wait:?}");
    // Another address is another client, unless it is the same one in another spelling.
    is_now(&mut gateway, "::ffff:192.0.2.1");
    assert_eq!(ask(&gateway, &good()).unwrap_err(), Cause::TooManyBadTokens);
    is_now(&mut gateway, "192.0.2.2");
    assert!(ask(&gateway, &good()).is_ok());
}

#[test]
fn a_good_token_in_the_cache_is_untouched() {
    let (gateway, set) = (guarded(), strict_set());
    let ask = |token: &str| now_or_never(gateway.ask(&set, token));
    assert!(ask(&good()).is_ok());
    let overdrawn = |_| ask(&forged()).unwrap_err().cause() == Cause::TooManyBadTokens;
    assert!((0..100).any(overdrawn));
    assert!(ask(&good()).unwrap().cached);
    gateway.local.clear();
    assert!(ask(&good()).unwrap().cached, "the shared cache is asked first too");
}

#[test]
fn good_tokens_cost_nothing_and_missing_ones_are_not_bad() {
    let gateway = guarded();
    for n in 0..20 {
        let token = sign(&header(), &with(claims(), "jti", json!(n)));
        assert!(!ask(&gateway, &token).unwrap().cached);
        let none = now_or_never(gateway.ask_with(&strict_set(), &HeaderMap::new())).unwrap_err();
        assert_eq!(none.cause(), Cause::NoCredentials);
        let large = "a".repeat(8 * 1024);
        assert_eq!(ask(&gateway, &large).unwrap_err(), Cause::TooLarge, "cut off unread");
    }
    assert_eq!(ask(&gateway, &forged()).unwrap_err(), Cause::BadSignature);
}

#[test]
fn every_failure_to_verify_counts() {
    let expired = sign(&header(), &with(claims(), "exp", json!(NOW - 3600)));
    let foreign = sign(&header(), &with(claims(), "iss", json!("https://evil.test/")));
    let without_claim = sign(&header(), &without(claims(), "token_use"));
    for (token, cause) in [
        (expired, Cause::Expired),
        (foreign, Cause::IssUnknown),
        (without_claim, Cause::ClaimNotAllowed),
        ("a.b".to_owned(), Cause::NotThreeParts),
        (bad(7), Cause::ClaimsNotObject),
        (forged(), Cause::BadSignature),
    ] {
        let gateway = guarded();
        for _ in 0..3 {
            assert_eq!(ask(&gateway, &token).unwrap_err(), cause);
        }
        assert_eq!(ask(&gateway, &token).unwrap_err(), Cause::TooManyBadTokens, "{cause}");
    }
}

#[test]
fn nobody_is_counted_where_there_is_no_guard() {
    let gateway = Gateway::new();
    for _ in 0..1000 {
        assert_eq!(ask(&gateway, &forged()).unwrap_err(), Cause::BadSignature);
    }
}

#[test]
fn an_issuer_without_keys_costs_its_clients_nothing() {
    // Never started: no keys are known.
    let refresh = RefreshSettings::new(crate::tls::client::config(None).unwrap());
    let source = Source::JwksUrl("http://127.0.0.1:1/jwks".to_owned());
    let keys = KeySet::remote(source, refresh, clock(), Metrics::new(), "main").unwrap();
    let mut settings = strict_settings();
    settings.algorithms = vec![Algorithm::ES256];
    let set = IssuerSet::new(vec![Issuer::new(settings, keys)]).unwrap();
    let token = sign(&json!({"alg": "ES256", "kid": "any"}), &claims());
    let gateway = guarded();
    for _ in 0..10 {
        let refusal = now_or_never(gateway.ask(&set, &token)).unwrap_err();
        assert_eq!(refusal.cause(), Cause::KeysUnavailable);
    }
}

//! Revoked tokens are refused, at once and from the caches too, and nobody else's are.

use super::*;
use crate::auth::revocation::parse_lines;
use crate::auth::{Cause, Unreadable, revoked_by_logout};
use crate::keys::signing::Signer;
use crate::telemetry::labels::Reason;

fn revoke(gateway: &Gateway, line: &Value) {
    let list = parse_lines(&line.to_string(), Some(gateway.clock.wall())).unwrap();
    gateway.revocations.revoke(&list, gateway.clock.wall()).unwrap();
}

fn cause(gateway: &Gateway, set: &IssuerSet, token: &str) -> Option<Cause> {
    now_or_never(gateway.ask(set, token)).err().map(|refusal| {
        assert_eq!(refusal.reason(), Reason::TokenRevoked);
        assert!(refusal.token_sent());
        assert!(refusal.issuer().is_some());
        refusal.cause()
    })
}

#[test]
fn a_revoked_id_is_refused_on_cache_hits_too() {
    let (gateway, set) = (Gateway::new(), strict_set());
    let other = sign(&header(), &with(claims(), "jti", json!("t2")));
    for token in [&good(), &other] {
        assert_eq!(cause(&gateway, &set, token), None);
    }
    assert!(now_or_never(gateway.ask(&set, &good())).unwrap().cached, "the control");
    revoke(&gateway, &json!({ "issuer": "main", "jti": "t1", "until": NOW + 330 }));
    assert_eq!(cause(&gateway, &set, &good()), Some(Cause::JtiRevoked));
    assert_eq!(cause(&gateway, &set, &other), None);
    // Without any cache it is the same.
    let uncached = Gateway { revocations: Arc::clone(&gateway.revocations), ..Gateway::new() };
    assert_eq!(cause(&uncached, &set, &good()), Some(Cause::JtiRevoked));
}

#[test]
fn a_watermark_takes_every_token_up_to_it_and_those_without_iat() {
    let (gateway, set) = (Gateway::new(), strict_set());
    let at = |iat: Value| sign(&header(), &with(claims(), "iat", iat));
    let ageless = sign(&header(), &without(claims(), "iat"));
    revoke(&gateway, &json!({ "issuer": "main", "sub": "ada", "before": NOW - 10 }));
    for token in
        [&at(json!(NOW - 11)), &at(json!(NOW - 10)), &at(json!(NOW as f64 - 9.5)), &ageless]
    {
        assert_eq!(cause(&gateway, &set, token), Some(Cause::SubjectRevoked));
    }
    assert_eq!(cause(&gateway, &set, &at(json!(NOW - 9))), None);
    let bob = sign(&header(), &with(with(claims(), "sub", json!("bob")), "iat", json!(NOW - 20)));
    assert_eq!(cause(&gateway, &set, &bob), None);
}

#[test]
fn an_issuer_s_revocation_says_nothing_of_another_s_tokens() {
    let (gateway, set) = (Gateway::new(), strict_set());
    for kind in ["jti", "sub"] {
        let value = if kind == "jti" { "t1" } else { "ada" };
        revoke(&gateway, &json!({ "issuer": "django", kind: value, "until": NOW + 1000 }));
        revoke(&gateway, &json!({ "issuer": "main", kind: "other", "until": NOW + 1000 }));
    }
    // A value counts as what it was named as.
    revoke(&gateway, &json!({ "issuer": "main", "jti": "ada", "until": NOW + 1000 }));
    revoke(&gateway, &json!({ "issuer": "main", "sub": "t1", "until": NOW + 1000 }));
    assert_eq!(cause(&gateway, &set, &good()), None);
}

#[test]
fn a_revoked_key_takes_all_its_tokens_along() {
    let (signer, mut settings) = (Signer::generate().unwrap(), strict_settings());
    settings.algorithms = vec![Algorithm::ES256];
    let keys = KeySet::fixed(vec![signer.key().unwrap()]);
    let set = IssuerSet::new(vec![Issuer::new(settings, keys)]).unwrap();
    let token = signer.sign(&serde_json::Map::new(), claims().as_object().unwrap()).unwrap();
    let gateway = Gateway::new();
    assert_eq!(cause(&gateway, &set, &token), None);
    revoke(&gateway, &json!({ "issuer": "main", "kid": signer.kid() }));
    assert_eq!(cause(&gateway, &set, &token), Some(Cause::KidRevoked));
}

#[test]
fn what_is_over_or_taken_back_counts_again() {
    let (gateway, set) = (Gateway::new(), strict_set());
    let line = json!({ "issuer": "main", "sub": "ada", "before": NOW, "until": NOW + 10 });
    revoke(&gateway, &line);
    assert_eq!(cause(&gateway, &set, &good()), Some(Cause::SubjectRevoked));
    gateway.clock.set(UnixTime::from_secs(NOW + 10));
    assert_eq!(cause(&gateway, &set, &good()), None);
    gateway.clock.set(now());
    assert_eq!(cause(&gateway, &set, &good()), Some(Cause::SubjectRevoked));
    let list = parse_lines(&line.to_string(), None).unwrap();
    assert_eq!(gateway.revocations.take_back(&list), 1);
    assert_eq!(cause(&gateway, &set, &good()), None);
    assert_eq!(gateway.revocations.take_back(&list), 0);
}

// === logout ===

fn refresh() -> Value {
    json!({
        "token_type": "refresh", "exp": NOW + 1000, "iat": NOW - 100, "jti": "r1", "user_id": 7,
    })
}

fn logout(claims: &Value) -> Result<crate::auth::revocation::Revocation, Unreadable> {
    let body = json!({ "refresh": sign(&header(), claims) }).to_string();
    now_or_never(revoked_by_logout(&simplejwt_set(), body.as_bytes(), &clock()))
}

#[test]
fn a_logout_revokes_its_user_up_to_now_for_as_long_as_tokens_may_live() {
    let revoked = logout(&refresh()).unwrap();
    let until = NOW + 2 * 1100;
    let line = json!({ "issuer": "django", "sub": "7", "before": NOW, "until": until });
    assert_eq!(Value::Object(revoked.to_json()), line);
    // An application whose clock is ahead, by less than the leeway.
    let mut settings = IssuerSettings::simplejwt("django");
    settings.leeway = std::time::Duration::from_secs(30);
    let set = IssuerSet::new(vec![Issuer::new(settings, secret_keys())]).unwrap();
    let ahead = sign(&header(), &with(refresh(), "iat", json!(NOW + 20)));
    let body = json!({ "refresh": ahead }).to_string();
    let revoked = now_or_never(revoked_by_logout(&set, body.as_bytes(), &clock())).unwrap();
    assert_eq!(revoked.before, Some(UnixTime::from_secs(NOW + 20)));
}

#[test]
fn only_a_refresh_token_that_verifies_signs_anybody_out() {
    assert!(logout(&refresh()).is_ok(), "the control");
    for claims in [
        with(refresh(), "token_type", json!("access")),
        with(refresh(), "token_type", json!("sliding")),
        without(refresh(), "token_type"),
        with(refresh(), "exp", json!(NOW - 1)),
        without(refresh(), "exp"),
        without(refresh(), "iat"),
        without(refresh(), "user_id"),
        with(refresh(), "user_id", json!("x".repeat(2000))),
    ] {
        assert_eq!(logout(&claims), Err(Unreadable), "{claims}");
    }
    let good = sign(&header(), &refresh());
    let forged = seal(good.rsplit_once('.').unwrap().0, OTHER_SECRET);
    for body in [
        json!({ "refresh": forged }).to_string(),
        json!({ "access": good }).to_string(),
        json!({ "refresh": [good] }).to_string(),
        json!([good]).to_string(),
        format!("refresh={good}"),
        format!("{{\"refresh\":\"{good}\",\"refresh\":\"x\"}}"),
        String::new(),
    ] {
        let read = now_or_never(revoked_by_logout(&simplejwt_set(), body.as_bytes(), &clock()));
        assert_eq!(read, Err(Unreadable), "{body}");
    }
}

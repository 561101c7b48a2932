//! Revoked tokens are refused, at once and from the caches too, and nobody else's are.

use super::*;
use crate::auth::revocation::parse_lines;
use crate::auth::{Cause, MAX_LOGOUT, Unreadable, revoked_by_logout};
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
    let hit = now_or_never(gateway.ask(&set, &good())).unwrap();
    assert!(hit.cached, "the control");
    assert!(!gateway.revocations.is_revoked(&hit.principal, now()));
    revoke(&gateway, &json!({ "issuer": "main", "jti": "t1", "until": NOW + 330 }));
    assert_eq!(cause(&gateway, &set, &good()), Some(Cause::JtiRevoked));
    assert_eq!(cause(&gateway, &set, &other), None);
    // A stream that it began before.
    assert!(gateway.revocations.is_revoked(&hit.principal, now()));
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

#[test]
fn an_entry_until_the_token_s_exp_covers_the_leeway_behind_it() {
    // As long as the configuration lets it be.
    let mut settings = strict_settings();
    settings.leeway = std::time::Duration::from_secs(300);
    let set = IssuerSet::new(vec![Issuer::new(settings, secret_keys())]).unwrap();
    let gateway = Gateway::new();
    let at = |exp: u64| sign(&header(), &with(claims(), "exp", json!(exp)));
    let lines = [
        json!({ "issuer": "main", "jti": "t1", "until": NOW + 300 }),
        json!({ "issuer": "main", "sub": "ada", "before": NOW, "until": NOW + 300 }),
    ];
    for line in lines {
        revoke(&gateway, &line);
        for past in [0, 299, 300, 599] {
            gateway.clock.set(UnixTime::from_secs(NOW + past));
            gateway.revocations.purge(gateway.clock.wall());
            assert!(cause(&gateway, &set, &at(NOW + 300)).is_some(), "{line} {past}");
        }
        // Of a token that lives longer, it says no more than it said.
        assert_eq!(cause(&gateway, &set, &at(NOW + 301)), None, "{line}");
        gateway.clock.set(now());
        let list = parse_lines(&line.to_string(), None).unwrap();
        assert_eq!(gateway.revocations.take_back(&list), 1);
    }
}

// === logout ===

fn refresh() -> Value {
    json!({
        "token_type": "refresh", "exp": NOW + 1000, "iat": NOW - 100, "jti": "r1", "user_id": 7,
    })
}

fn logout_beside(
    set: &IssuerSet,
    claims: &Value,
    own: Option<&Principal>,
) -> Result<Vec<Value>, Unreadable> {
    let body = json!({ "refresh": sign(&header(), claims) }).to_string();
    let revoked = now_or_never(revoked_by_logout(set, body.as_bytes(), own, &clock()))?;
    Ok(revoked.iter().map(|one| Value::Object(one.to_json())).collect())
}

fn logout(claims: &Value) -> Result<Vec<Value>, Unreadable> {
    logout_beside(&simplejwt_set(), claims, None)
}

/// simplejwt's, with room between its clock and ours.
fn with_leeway() -> Arc<IssuerSet> {
    let mut settings = IssuerSettings::simplejwt("django");
    settings.leeway = std::time::Duration::from_secs(30);
    IssuerSet::new(vec![Issuer::new(settings, secret_keys())]).unwrap()
}

#[test]
fn a_logout_revokes_its_user_up_to_now_for_as_long_as_tokens_may_live() {
    let revoked = logout(&refresh()).unwrap();
    let until = NOW + 2 * 1100;
    let line = json!({ "issuer": "django", "sub": "7", "before": NOW, "until": until });
    assert_eq!(revoked, [line]);
    // An application whose clock is ahead, by less than the leeway.
    let ahead = with(refresh(), "iat", json!(NOW + 20));
    assert_eq!(logout_beside(&with_leeway(), &ahead, None).unwrap()[0]["before"], NOW + 20);
    assert_eq!(MAX_LOGOUT, 16_384, "the 16 KiB of docs/revocation.md");
    // A token that lives for ever is remembered for twenty years.
    let endless = with(refresh(), "exp", json!(u64::MAX));
    assert_eq!(logout(&endless).unwrap()[0]["until"], NOW + 20 * 365 * 24 * 60 * 60);
}

#[test]
fn the_token_that_a_logout_came_with_is_revoked_and_a_user_s_own_takes_no_room() {
    let (set, until) = (with_leeway(), NOW + 2 * (1100 + 30));
    let access = |claims: Value| {
        let claims = with(with(claims, "token_type", json!("access")), "jti", json!("a1"));
        explained(&set, &sign(&header(), &claims)).1.unwrap()
    };
    let user = |before: u64, until: u64| json!({ "issuer": "django", "sub": "7", "before": before, "until": until });
    // Of the same user: within the one entry, however new it is and however long it lives.
    for (own, line) in [
        (access(refresh()), user(NOW, until)),
        (access(without(refresh(), "iat")), user(NOW, until)),
        (access(with(refresh(), "iat", json!(NOW + 20))), user(NOW + 20, until)),
        (access(with(refresh(), "exp", json!(NOW + 9000))), user(NOW, NOW + 9030)),
    ] {
        assert_eq!(logout_beside(&set, &refresh(), Some(&own)), Ok(vec![line]));
    }
    // Of somebody else, here or at another issuer: that one token, if it has a name.
    let other = access(with(refresh(), "user_id", json!(8)));
    let own = json!({ "issuer": "django", "jti": "a1", "until": NOW + 1030 });
    assert_eq!(logout_beside(&set, &refresh(), Some(&other)), Ok(vec![user(NOW, until), own]));
    let elsewhere = explained(&strict_set(), &sign(&header(), &with(claims(), "sub", json!("7"))));
    let own = json!({ "issuer": "main", "jti": "t1", "until": NOW + 330 });
    let revoked = logout_beside(&set, &refresh(), Some(&elsewhere.1.unwrap()));
    assert_eq!(revoked, Ok(vec![user(NOW, until), own]));
    for (length, entries) in [(1024, 2), (1025, 1)] {
        let claims = with(claims(), "jti", json!("x".repeat(length)));
        let own = explained(&strict_set(), &sign(&header(), &claims)).1.unwrap();
        assert_eq!(logout_beside(&set, &refresh(), Some(&own)).unwrap().len(), entries);
    }
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
        let set = simplejwt_set();
        let read = now_or_never(revoked_by_logout(&set, body.as_bytes(), None, &clock()));
        assert_eq!(read, Err(Unreadable), "{body}");
    }
}

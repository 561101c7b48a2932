//! Revoked tokens are refused, at once and from the caches too, and nobody else's are.

use super::*;
use crate::auth::Cause;
use crate::auth::revocation::parse_lines;
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

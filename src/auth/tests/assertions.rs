//! The signed assertion: what it says, for how long, and which keys are published for it.

use super::*;
use crate::auth::{Assertion, AssertionSettings};
use crate::keys::signing::Signer;

fn settings(ttl: u64, audience: Option<&str>) -> AssertionSettings {
    AssertionSettings {
        header: HeaderName::from_static("x-portcullis-assertion"),
        ttl: std::time::Duration::from_secs(ttl),
        issuer: "portcullis".to_owned(),
        audience: audience.map(str::to_owned),
    }
}

fn made(ttl: u64, audience: Option<&str>, previous: Option<&Assertion>) -> Assertion {
    Assertion::new(settings(ttl, audience), Arc::new(Signer::generate().unwrap()), previous)
}

fn ada() -> Arc<Principal> {
    explained(&strict_set(), &good()).1.unwrap()
}

fn part(token: &HeaderValue, at: usize) -> Value {
    let part = token.to_str().unwrap().split('.').nth(at).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn published(assertion: &Assertion) -> Vec<Value> {
    let document: Value = serde_json::from_slice(assertion.jwks()).unwrap();
    document["keys"].as_array().unwrap().clone()
}

#[test]
fn it_says_what_the_identity_headers_say_to_one_application() {
    let assertion = made(60, None, None);
    let token = assertion.sign(&ada(), "web", now()).unwrap();
    let said = json!({
        "iss": "portcullis", "aud": "web", "sub": "ada", "iat": NOW, "exp": NOW + 60,
        "issuer": "main", "identity": {"x-user": "ada", "x-roles": "admin,staff"},
    });
    assert_eq!(part(&token, 1), said);
    assert_eq!(part(&token, 0)["typ"], "portcullis-assertion+jwt");
    let named = made(60, Some("shop"), None).sign(&ada(), "web", now()).unwrap();
    assert_eq!(part(&named, 1)["aud"], "shop");
    assert_eq!(assertion.header(), "x-portcullis-assertion");
    assert!(format!("{assertion:?}").contains("x-portcullis-assertion"));
}

#[test]
fn it_never_outlives_the_token() {
    for (ttl, ends) in [(1, NOW + 1), (329, NOW + 329), (331, NOW + 330), (u64::MAX, NOW + 330)] {
        let token = made(ttl, None, None).sign(&ada(), "web", now()).unwrap();
        assert_eq!(part(&token, 1)["exp"], ends, "{ttl}");
    }
}

#[test]
fn a_key_that_was_used_stays_published_beside_the_one_in_use() {
    let first = made(60, None, None);
    assert_eq!(published(&first), [first.signer().published()]);
    let second = made(60, None, Some(&first));
    assert_eq!(published(&second), [second.signer().published(), first.signer().published()]);
    // The next generation with the same key: it is there once.
    let again = Assertion::new(settings(60, None), Arc::clone(second.signer()), Some(&second));
    assert_eq!(published(&again), published(&second));
    let mut latest = again;
    for _ in 0..4 {
        latest = made(60, None, Some(&latest));
    }
    assert_eq!(published(&latest).len(), 4);
    assert_eq!(published(&latest)[0], latest.signer().published());
}

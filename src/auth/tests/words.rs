//! What is told of tokens, settings and refusals, to people and to logs.

use super::*;
use crate::auth::verify::Step;
use crate::auth::{Cause, Denial, IssuerSetError, Place, Policy};
use crate::telemetry::labels::Reason;

fn told(set: &IssuerSet, header: &Value, claims: &Value) -> Vec<(Step, String)> {
    let (findings, result) = explained(set, &sign(header, claims));
    assert!(result.is_ok(), "{findings:?}");
    findings.into_iter().map(|found| (found.step, found.outcome.unwrap())).collect()
}

fn said(told: &[(Step, String)], step: Step) -> &str {
    &told.iter().find(|(at, _)| *at == step).unwrap().1
}

#[test]
fn explain_tells_every_step_in_order() {
    let told = told(&strict_set(), &header(), &claims());
    let steps: Vec<Step> = told.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, Step::ALL);
    for (step, words) in [
        (Step::Parts, "three parts of base64url"),
        (Step::Header, r#"alg "HS256", typ "jwt", without kid"#),
        (
            Step::Claims,
            r#""iss", "aud", "sub", "exp", "nbf", "iat", "jti", "token_use", "realm_access""#,
        ),
        (Step::Issuer, "main"),
        (Step::Type, "`jwt`"),
        (Step::Algorithm, "`HS256`"),
        (Step::Key, "the secret"),
        (Step::Signature, "the secret"),
        (Step::Lifetime, "not limited"),
        (Step::Audience, r#""api""#),
        (Step::Required, "present, with allowed values"),
        (Step::Identity, "written"),
    ] {
        assert_eq!(said(&told, step), words, "{step}");
    }
}

#[test]
fn explain_tells_times_and_how_far_they_are() {
    let mut settings = strict_settings();
    let set = |leeway: u64| {
        settings.leeway = std::time::Duration::from_secs(leeway);
        IssuerSet::new(vec![Issuer::new(settings.clone(), secret_keys())]).unwrap()
    };
    let ends = |at: u64, left: u64| format!("ends at {at} s, {left} s from now (leeway included)");
    let began = |at: u64, ago: u64| format!("began at {at} s, {ago} s ago (leeway included)");
    let [strict, lenient] = [0, 30].map(set);
    let told_strict = told(&strict, &header(), &without(claims(), "nbf"));
    assert_eq!(said(&told_strict, Step::Expiry), ends(NOW + 300, 300));
    assert_eq!(said(&told_strict, Step::NotBefore), "absent");
    assert_eq!(said(&told_strict, Step::IssuedAt), began(NOW, 0));
    let told_lenient = told(&lenient, &header(), &with(claims(), "iat", json!(NOW - 70)));
    assert_eq!(said(&told_lenient, Step::Expiry), ends(NOW + 330, 330));
    assert_eq!(said(&told_lenient, Step::NotBefore), began(NOW - 30, 30));
    assert_eq!(said(&told_lenient, Step::IssuedAt), began(NOW - 100, 100));
}

#[test]
fn the_steps_have_these_words() {
    let words: Vec<String> = Step::ALL.iter().map(Step::to_string).collect();
    assert_eq!(
        words.join(" "),
        "size parts header claims issuer type algorithm key signature expiry not_before issued_at \
         lifetime audience required identity"
    );
}

#[test]
fn explain_tells_what_the_settings_and_the_token_have_beside() {
    let mut settings = IssuerSettings::new("any", ExpectedIss::Any, Audience::Any);
    settings.algorithms = vec![Algorithm::HS256];
    settings.max_lifetime = Some(std::time::Duration::from_secs(900));
    let mut other = IssuerSettings::simplejwt("django");
    other.algorithms = vec![Algorithm::RS256];
    let set = IssuerSet::new(vec![
        Issuer::new(settings, secret_keys()),
        Issuer::new(other, KeySet::fixed(Vec::new())),
    ])
    .unwrap();
    let claims = json!({"exp": NOW + 9, "iat": NOW, "aud": ["a", "b"]});
    let told = told(&set, &with(header(), "kid", json!("k\"1")), &with(claims, "iss", json!("x")));
    for (step, words) in [
        (Step::Header, r#"alg "HS256", typ "jwt", kid "k\"1""#),
        (Step::Issuer, "any"),
        (Step::Lifetime, "within 900 s"),
        (Step::Audience, r#"["a","b"]"#),
    ] {
        assert_eq!(said(&told, step), words, "{step}");
    }
}

#[test]
fn keys_are_told_by_kid_or_thumbprint() {
    use crate::auth::describe;
    use crate::keys::signing::Signer;
    let key = |kid: &str| Arc::new(Signer::generate().unwrap().with_kid(kid).key().unwrap());
    assert_eq!(describe::keys(&[key("a"), key("b")]), r#"kid "a", kid "b""#);
    let secret = Arc::new(from_secret(SECRET).unwrap());
    assert_eq!(describe::keys(&[secret, key("c")]), r#"the secret, kid "c""#);
    assert_eq!(describe::audience(&crate::auth::Claims::default()), "absent");
}

#[test]
fn refusals_and_denials_say_their_word() {
    for cause in Cause::ALL {
        let refusal = Refusal::from(*cause);
        assert_eq!(refusal.to_string(), cause.as_str());
        assert_eq!(cause.to_string(), refusal.detail());
        assert!(!cause.as_str().is_empty());
    }
    let scope = Denial::InsufficientScope { scope: "a b".to_owned() };
    for (denial, words, reason) in [
        (Denial::Expired, "expired", Reason::TokenExpired),
        (Denial::Forbidden, "policy", Reason::Forbidden),
        (Denial::ForeignIssuer, "issuer", Reason::UnknownIssuer),
        (scope, "`a b`", Reason::InsufficientScope),
        (Denial::Unauthenticated, "no token", Reason::TokenMissing),
    ] {
        assert!(denial.to_string().contains(words), "{denial}");
        assert_eq!(denial.reason(), reason);
    }
}

#[test]
fn issuers_that_cannot_stand_together_are_named() {
    let ambiguous = IssuerSetError::Ambiguous { first: "a".into(), second: "b".into() };
    assert!(ambiguous.to_string().contains("`a` and `b`"));
    assert_eq!(IssuerSetError::Empty.to_string(), "no issuer is named");
}

#[test]
fn places_are_written_as_in_the_configuration() {
    for (place, words) in [
        (Place::Cookie("session".into()), "cookie:session"),
        (Place::Header(HeaderName::from_static("x-token")), "header:x-token"),
        (Place::Query("t".into()), "query:t"),
        (Place::WebSocketProtocol, "websocket_protocol"),
    ] {
        assert_eq!(place.to_string(), words);
    }
}

#[test]
fn settings_tell_their_issuers_and_identity_headers() {
    let set = strict_set();
    let names: Vec<_> = strict_settings().identity.names().cloned().collect();
    assert_eq!(names, ["x-user", "x-roles"]);
    let pairs = strict_settings().identity;
    let pairs: Vec<_> = pairs.pairs().iter().map(|(n, c)| format!("{n} {c}")).collect();
    assert_eq!(pairs, ["x-user sub", "x-roles /realm_access/roles"]);
    let token = Policy::Token { issuers: Arc::clone(&set), require: Require::nothing() };
    let anonymous = Policy::Anonymous { issuers: Arc::clone(&set) };
    for policy in [token, anonymous] {
        assert!(Arc::ptr_eq(policy.issuers().unwrap(), &set));
    }
    assert!(Policy::Public.issuers().is_none());
}

#[test]
fn a_principal_tells_its_issuer_and_no_claims_when_debugged() {
    let ada = explained(&strict_set(), &good()).1.unwrap();
    let text = format!("{ada:?}");
    assert!(text.contains("main") && text.contains("expires") && !text.contains("ada"), "{text}");
}

#[test]
fn a_principal_takes_the_memory_of_what_it_holds() {
    let (long, id) = ("s".repeat(3000), "i".repeat(2000));
    let claims = with(with(claims(), "sub", json!(long)), "jti", json!(id));
    let name = HeaderName::try_from(format!("x-{}", "n".repeat(998))).unwrap();
    let identity = IdentityHeaders::new([(name, "sub".parse().unwrap())]);
    let settings = IssuerSettings { identity, ..strict_settings() };
    let set = IssuerSet::new(vec![Issuer::new(settings, secret_keys())]).unwrap();
    let large = explained(&set, &sign(&header(), &claims)).1.unwrap();
    // The subject, the id, and the subject once more in a header.
    let texts = 3000 + 2000 + 1000 + 3000;
    let beside = large.bytes() - large.claims().bytes();
    assert!((texts..texts + 800).contains(&beside), "{beside} of {texts}");
}

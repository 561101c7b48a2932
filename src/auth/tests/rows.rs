//! Each attack of docs/security.md on a token itself, under its row's name.
//!
//! The tokens are those of `defects.rs`, by what they are refused for, and what only keys can show.

use super::defects::{Defect, cause_of, every_defect, refused, two_issuers};
use super::*;
use crate::auth::{Cause, Claims};
use crate::keys::jwk::{Origin, parse_from};
use crate::keys::signing::Signer;
use crate::keys::{WeakSecret, from_pem};

/// Every defect that is refused for one of these, and no fewer than `least`.
#[track_caller]
fn row(least: usize, details: &[&str]) {
    let chosen: Vec<Defect> =
        every_defect().into_iter().filter(|defect| details.contains(&defect.3)).collect();
    for detail in details {
        assert!(chosen.iter().any(|defect| defect.3 == *detail), "{detail} has no token");
    }
    assert!(chosen.len() >= least, "only {}", chosen.len());
    refused(chosen);
}

/// The defects of these names.
#[track_caller]
fn named(names: &[&str]) {
    let chosen: Vec<Defect> =
        every_defect().into_iter().filter(|defect| names.contains(&defect.0)).collect();
    assert_eq!(chosen.len(), names.len());
    refused(chosen);
}

#[test]
fn j1_a_token_without_a_signature_is_refused() {
    row(10, &["alg_none", "alg_unknown", "alg_missing", "alg_not_string"]);
    named(&["no signature", "empty secret"]);
}

#[test]
fn j2_a_public_key_is_no_secret() {
    let signer = Signer::generate().unwrap();
    let set = two_issuers(&signer);
    let claims = json!({"iss": "https://es.example.com/", "exp": NOW + 300}).to_string();
    let jwk = signer.jwk().to_string();
    for secret in [jwk.as_bytes(), signer.kid().as_bytes(), b""] {
        for algorithm in ["HS256", "HS384", "HS512"] {
            let header = json!({"alg": algorithm, "kid": signer.kid()}).to_string();
            let token = seal(&format!("{}.{}", base64(header), base64(&claims)), secret);
            assert_eq!(cause_of(&set, &token), Err(Cause::AlgNotAllowed), "{algorithm}");
        }
    }
    // Nor can one become a secret, or a secret a public key.
    assert_eq!(from_secret(jwk.as_bytes()).unwrap_err(), WeakSecret::KeyText);
    let pem = b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbL\n";
    assert_eq!(from_secret(pem).unwrap_err(), WeakSecret::KeyText);
    assert!(from_pem(SECRET).is_err());
}

#[test]
fn j3_a_key_is_used_with_its_own_algorithm_alone() {
    named(&["same family, other hash", "other family"]);
    // The issuer allows both, the secret is long enough for both, and the token is rightly signed.
    let secret = [7; 64];
    let jwk = |members: Value| {
        let mut jwk = json!({"kty": "oct", "k": base64(secret)});
        jwk.as_object_mut().unwrap().extend(members.as_object().cloned().unwrap());
        parse_from(&jwk, Origin::Own).unwrap()
    };
    let mut settings = strict_settings();
    settings.algorithms = vec![Algorithm::HS256, Algorithm::HS512];
    let set = |key| IssuerSet::new(vec![Issuer::new(settings.clone(), KeySet::fixed(vec![key]))]);
    let signed = format!("{}.{}", base64(header().to_string()), base64(claims().to_string()));
    let token = seal(&signed, &secret);
    assert_eq!(cause_of(&set(jwk(json!({}))).unwrap(), &token), Ok(()));
    assert_eq!(cause_of(&set(jwk(json!({"alg": "HS256"}))).unwrap(), &token), Ok(()));
    for named in [json!({"alg": "HS512"}), json!({"alg": "HS512", "kid": "a"})] {
        let refused = cause_of(&set(jwk(named)).unwrap(), &token);
        assert!(matches!(refused, Err(Cause::AlgNotAllowed | Cause::NoKeyFits)), "{refused:?}");
    }
}

#[test]
fn j9_a_kid_is_a_name_and_nothing_else() {
    row(4, &["kid_not_string", "kid_too_long"]);
    let signer = Signer::generate().unwrap();
    let set = two_issuers(&signer);
    let claims = json!({"iss": "https://es.example.com/", "exp": NOW + 300});
    let upper = signer.kid().to_uppercase();
    let spaced = format!("{} ", signer.kid());
    for kid in [
        "",
        "*",
        "../../../../dev/null",
        "/etc/passwd",
        "' OR '1'='1",
        "a' UNION SELECT 'secret' --",
        "http://169.254.169.254/key",
        "$(id)",
        "\0",
        &upper,
        &spaced,
    ] {
        let header = json!({ "kid": kid });
        let token = signer.sign(header.as_object().unwrap(), claims.as_object().unwrap()).unwrap();
        let refusal = explained(&set, &token).1.unwrap_err();
        assert_eq!(refusal.cause(), Cause::KidUnknown, "{kid}");
        let written = format!("{refusal} {refusal:?} {}", refusal.detail());
        assert!(kid.len() < 3 || !written.contains(kid), "{written}");
    }
    for (length, cause) in [(256, Cause::KidUnknown), (257, Cause::KidTooLong)] {
        let header = json!({ "kid": "k".repeat(length) });
        let token = signer.sign(header.as_object().unwrap(), claims.as_object().unwrap()).unwrap();
        assert_eq!(explained(&set, &token).1.unwrap_err().cause(), cause, "{length}");
    }
}

#[test]
fn j10_a_token_brings_no_key() {
    row(4, &["key_in_header"]);
    // Rightly signed with the key it brings, under the issuer's own `kid` or none.
    let (signer, evil) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    let set = two_issuers(&signer);
    let claims = json!({"iss": "https://es.example.com/", "exp": NOW + 300});
    for member in ["jwk", "jku", "x5u", "x5c"] {
        let header = json!({"kid": signer.kid(), member: evil.jwk()});
        let token = evil.sign(header.as_object().unwrap(), claims.as_object().unwrap()).unwrap();
        assert_eq!(cause_of(&set, &token), Err(Cause::KeyInHeader), "{member}");
    }
}

#[test]
fn j11_no_extension_changes_what_was_signed() {
    row(5, &["crit_in_header", "b64_in_header"]);
    // RFC 7797: the payload as it is, and the signature over it, by who has the secret.
    let header = base64(r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#);
    let token = seal(&format!("{header}.{}", base64(claims().to_string())), SECRET);
    assert_eq!(cause_of(&strict_set(), &token), Err(Cause::CritInHeader));
}

#[test]
fn j12_encrypted_compressed_and_nested_tokens_are_refused() {
    row(9, &["jwe", "not_three_parts", "enc_in_header", "zip_in_header", "nested_token"]);
    let inside = good();
    for (header, cause) in [
        (json!({"alg": "HS256", "cty": "JWT"}), Cause::NestedToken),
        (json!({"alg": "HS256"}), Cause::ClaimsNotJson),
    ] {
        assert_eq!(cause_of(&strict_set(), &write(header.to_string(), &inside)), Err(cause));
    }
}

#[test]
fn j13_a_name_stands_once() {
    row(4, &["header_duplicate_name", "claims_duplicate_name"]);
    // What passes on is what was checked: the one parse of the claims.
    let principal = explained(&strict_set(), &good()).1.unwrap();
    let expected = Claims::new(claims().as_object().cloned().unwrap());
    assert_eq!(principal.claims(), &expected);
}

#[test]
fn j14_a_token_has_one_spelling() {
    row(7, &["header_not_base64", "claims_not_base64", "signature_not_base64", "not_token68"]);
    named(&["claims swapped", "header swapped", "signature of another token", "only dots"]);
}

#[test]
fn j15_size_and_depth_are_bounded_before_anything_else() {
    row(10, &["too_large", "claims_not_json", "header_not_json", "header_not_object"]);
    let (findings, verdict) = explained(&strict_set(), &"a".repeat(8000));
    assert_eq!((findings.len(), verdict.unwrap_err().cause()), (1, Cause::TooLarge));
}

#[test]
fn j16_times_are_numbers_and_in_order() {
    row(
        16,
        &[
            "exp_missing",
            "exp_not_number",
            "expired",
            "nbf_in_future",
            "nbf_not_number",
            "iat_in_future",
            "iat_not_number",
        ],
    );
}

#[test]
fn j17_only_access_tokens_for_this_service_pass() {
    row(
        14,
        &[
            "typ_not_allowed",
            "typ_not_string",
            "aud_missing",
            "aud_not_allowed",
            "aud_wrong_type",
            "claim_missing",
            "claim_not_allowed",
        ],
    );
}

#[test]
fn j18_iss_is_one_string_and_exact() {
    row(7, &["iss_missing", "iss_not_string", "iss_unknown"]);
}

#[test]
fn j29_a_claim_becomes_one_bounded_line_or_refuses() {
    row(3, &["identity_not_scalar", "identity_too_long"]);
    for (sub, line) in [
        ("a\r\nX-Admin: 1", "a%0D%0AX-Admin: 1"),
        ("a\u{0}b", "a%00b"),
        ("\u{fc}ber,x", "%C3%BCber%2Cx"),
    ] {
        let token = sign(&header(), &with(claims(), "sub", json!(sub)));
        let principal = explained(&strict_set(), &token).1.unwrap();
        let (name, value) = principal.identity().iter().next().unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-user", line));
    }
}

#[test]
fn j29_a_number_that_stands_for_several_names_nobody() {
    // As JSON numbers are read, the first two are one.
    let written = |sub: &str| {
        let claims = claims().to_string().replace("\"ada\"", sub);
        let verdict = explained(&strict_set(), &write(header().to_string(), claims)).1;
        let principal = verdict.map_err(|refusal| refusal.cause())?;
        assert_eq!(principal.identity()[0].1, principal.subject().unwrap());
        Ok(principal.subject().unwrap().to_owned())
    };
    for sub in
        ["340282366920938463463374607431768211455", "340282366920938463463374607431768211456"]
    {
        assert_eq!(written(sub), Err(Cause::SubjectNotScalar));
    }
    for sub in ["-9223372036854775809", "1e22", "9007199254740992.0", "-9007199254740992.0"] {
        assert_eq!(written(sub), Err(Cause::SubjectNotScalar), "{sub}");
    }
    for sub in ["0", "-7", "18446744073709551615", "-9223372036854775808", "0.5"] {
        assert_eq!(written(sub).as_deref(), Ok(sub));
    }
}

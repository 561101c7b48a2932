//! Every way in which a token can be wrong that we could think of, each with its exact reason.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::auth::{Cause, Step};
use crate::keys::signing::Signer;
use crate::telemetry::labels::Reason;

/// Name, token, reason, detail.
pub(super) type Defect = (&'static str, String, &'static str, &'static str);

fn claim(name: &str, value: Value) -> String {
    sign(&header(), &with(claims(), name, value))
}

fn unclaimed(name: &str) -> String {
    sign(&header(), &without(claims(), name))
}

fn head(name: &str, value: Value) -> String {
    sign(&with(header(), name, value), &claims())
}

/// The good token's parts.
fn parts() -> [String; 3] {
    let token = good();
    let parts: Vec<&str> = token.split('.').collect();
    [parts[0].to_owned(), parts[1].to_owned(), parts[2].to_owned()]
}

fn shape() -> Vec<Defect> {
    let [h, c, s] = parts();
    let malformed = "token_malformed";
    vec![
        ("one part", "abc".to_owned(), malformed, "not_three_parts"),
        ("two parts", format!("{h}.{c}"), malformed, "not_three_parts"),
        ("four parts", format!("{h}.{c}.{s}.x"), malformed, "not_three_parts"),
        ("JWE in five parts", format!("{h}.{c}.{s}.a.b"), "token_unsupported", "jwe"),
        ("six parts", format!("{h}.{c}.{s}.a.b.c"), malformed, "not_three_parts"),
        ("only dots", "..".to_owned(), malformed, "header_not_json"),
        ("double dot", format!("{h}..{s}"), malformed, "claims_not_json"),
        ("no header", seal(&format!(".{c}"), SECRET), malformed, "header_not_json"),
        ("no signature", format!("{h}.{c}."), "bad_signature", "bad_signature"),
        ("padded header", seal(&format!("{h}=.{c}"), SECRET), malformed, "not_token68"),
        ("padded signature", format!("{h}.{c}.{s}="), malformed, "signature_not_base64"),
        ("plus in the header", seal(&format!("{h}+A.{c}"), SECRET), malformed, "header_not_base64"),
        (
            "slash in the claims",
            seal(&format!("{h}.{c}/A"), SECRET),
            malformed,
            "claims_not_base64",
        ),
        ("tilde", format!("{h}.{c}.~{s}"), malformed, "signature_not_base64"),
        ("dangling letter", format!("{h}.{c}.{}", cut(&s, 41)), malformed, "signature_not_base64"),
        ("stray bits", format!("{h}.{c}.{}", stray_bits(&s)), malformed, "signature_not_base64"),
        (
            "stray bits in the header",
            {
                let head = base64(format!("{} ", header()));
                assert_ne!(head.len() % 4, 0);
                seal(&format!("{}.{c}", stray_bits(&head)), SECRET)
            },
            malformed,
            "header_not_base64",
        ),
        ("too large", claim("pad", json!("x".repeat(6000))), "token_too_large", "too_large"),
    ]
}

fn cut(text: &str, letters: usize) -> String {
    text.chars().take(letters).collect()
}

/// The last letter replaced by one that decodes to the same bytes in a lenient decoder.
fn stray_bits(part: &str) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = *part.as_bytes().last().unwrap();
    let place = alphabet.iter().position(|letter| *letter == last).unwrap();
    format!("{}{}", cut(part, part.len() - 1), char::from(alphabet[place + 1]))
}

fn headers_of_tokens() -> Vec<Defect> {
    let malformed = "token_malformed";
    let unsupported = "token_unsupported";
    let algorithm = "algorithm_not_allowed";
    let raw = |text: &str| write(text, claims().to_string());
    vec![
        ("header is a list", raw("[]"), malformed, "header_not_object"),
        ("header is null", raw("null"), malformed, "header_not_object"),
        ("header is text", raw("\"HS256\""), malformed, "header_not_object"),
        ("header is cut", raw(r#"{"alg":"HS256""#), malformed, "header_not_json"),
        ("header with more", raw(r#"{"alg":"HS256"}{}"#), malformed, "header_not_json"),
        ("header with BOM", raw("\u{feff}{\"alg\":\"HS256\"}"), malformed, "header_not_json"),
        (
            "header not UTF-8",
            write(b"{\"alg\":\"HS256\",\"x\":\"\xff\"}", "{}"),
            malformed,
            "header_not_json",
        ),
        ("alg twice", raw(r#"{"alg":"none","alg":"HS256"}"#), malformed, "header_duplicate_name"),
        (
            "alg twice, escaped",
            raw(r#"{"alg":"HS256","\u0061lg":"HS256"}"#),
            malformed,
            "header_duplicate_name",
        ),
        ("no alg", raw("{}"), malformed, "alg_missing"),
        ("alg is a number", head("alg", json!(256)), malformed, "alg_not_string"),
        ("alg is null", head("alg", json!(null)), malformed, "alg_not_string"),
        ("alg is a list", head("alg", json!(["HS256"])), malformed, "alg_not_string"),
        ("alg none", head("alg", json!("none")), algorithm, "alg_none"),
        ("alg nOnE", head("alg", json!("nOnE")), algorithm, "alg_none"),
        ("alg none, unsigned", unsigned("none"), algorithm, "alg_none"),
        ("alg empty", head("alg", json!("")), algorithm, "alg_unknown"),
        ("alg lower case", head("alg", json!("hs256")), algorithm, "alg_unknown"),
        ("alg with a space", head("alg", json!("HS256 ")), algorithm, "alg_unknown"),
        ("alg of encryption", head("alg", json!("dir")), algorithm, "alg_unknown"),
        ("same family, other hash", head("alg", json!("HS512")), algorithm, "alg_not_allowed"),
        ("other family", head("alg", json!("RS256")), algorithm, "alg_not_allowed"),
        ("crit", head("crit", json!(["exp"])), unsupported, "crit_in_header"),
        ("crit empty", head("crit", json!([])), unsupported, "crit_in_header"),
        ("crit null", head("crit", json!(null)), unsupported, "crit_in_header"),
        ("b64", head("b64", json!(false)), unsupported, "b64_in_header"),
        ("b64 true", head("b64", json!(true)), unsupported, "b64_in_header"),
        ("zip", head("zip", json!("DEF")), unsupported, "zip_in_header"),
        ("enc", head("enc", json!("A128GCM")), unsupported, "enc_in_header"),
        ("jku", head("jku", json!("https://evil/")), unsupported, "key_in_header"),
        ("jwk", head("jwk", json!({"kty": "oct", "k": "AAAA"})), unsupported, "key_in_header"),
        ("x5u", head("x5u", json!("https://evil/")), unsupported, "key_in_header"),
        ("x5c", head("x5c", json!(["MIIB"])), unsupported, "key_in_header"),
        ("nested", head("cty", json!("JWT")), unsupported, "nested_token"),
        ("nested, long", head("cty", json!("application/jwt")), unsupported, "nested_token"),
        ("cty is a number", head("cty", json!(1)), malformed, "cty_not_string"),
        ("kid is a number", head("kid", json!(1)), malformed, "kid_not_string"),
        ("kid is null", head("kid", json!(null)), malformed, "kid_not_string"),
        ("kid is a list", head("kid", json!(["a"])), malformed, "kid_not_string"),
        ("kid is long", head("kid", json!("k".repeat(257))), malformed, "kid_too_long"),
        ("typ is a number", head("typ", json!(1)), malformed, "typ_not_string"),
        ("typ of DPoP", head("typ", json!("dpop+jwt")), "type_not_allowed", "typ_not_allowed"),
        ("typ of logout", head("typ", json!("logout+jwt")), "type_not_allowed", "typ_not_allowed"),
        ("typ empty", head("typ", json!("")), "type_not_allowed", "typ_not_allowed"),
        (
            "typ of another tree",
            head("typ", json!("text/jwt")),
            "type_not_allowed",
            "typ_not_allowed",
        ),
    ]
}

fn unsigned(algorithm: &str) -> String {
    format!("{}.{}.", base64(json!({"alg": algorithm}).to_string()), base64(claims().to_string()))
}

fn claims_of_tokens() -> Vec<Defect> {
    let malformed = "token_malformed";
    let refused = "claim_refused";
    let issuer = "unknown_issuer";
    let audience = "audience_mismatch";
    let early = "token_not_yet_valid";
    let expired = "token_expired";
    let raw = |text: &str| write(header().to_string(), text);
    let object = claims().to_string();
    let open = object.strip_suffix('}').unwrap();
    let deep = format!("{open},\"deep\":{}{}}}", "[".repeat(200), "]".repeat(200));
    vec![
        ("claims are a list", raw("[]"), malformed, "claims_not_object"),
        ("claims are text", raw("\"x\""), malformed, "claims_not_object"),
        ("claims are cut", raw(open), malformed, "claims_not_json"),
        ("claims with more", raw(&format!("{object}x")), malformed, "claims_not_json"),
        ("claims are deep", raw(&deep), malformed, "claims_not_json"),
        ("exp overflows", raw(&format!("{open},\"x\":1e400}}")), malformed, "claims_not_json"),
        (
            "sub twice",
            raw(&format!("{open},\"sub\":\"eve\"}}")),
            malformed,
            "claims_duplicate_name",
        ),
        (
            "role twice, deep",
            raw(&format!("{open},\"r\":{{\"a\":1,\"a\":2}}}}")),
            malformed,
            "claims_duplicate_name",
        ),
        ("no iss", unclaimed("iss"), issuer, "iss_missing"),
        ("iss of another", claim("iss", json!("https://evil.example/")), issuer, "iss_unknown"),
        ("iss without slash", claim("iss", json!("https://id.example.com")), issuer, "iss_unknown"),
        ("iss with prefix", claim("iss", json!(format!("{URL}x"))), issuer, "iss_unknown"),
        ("iss upper case", claim("iss", json!(URL.to_uppercase())), issuer, "iss_unknown"),
        ("iss is a list", claim("iss", json!([URL])), issuer, "iss_not_string"),
        ("iss is null", claim("iss", json!(null)), issuer, "iss_not_string"),
        ("iss is a number", claim("iss", json!(42)), issuer, "iss_not_string"),
        ("no exp", unclaimed("exp"), refused, "exp_missing"),
        ("exp is text", claim("exp", json!((NOW + 300).to_string())), refused, "exp_not_number"),
        ("exp is null", claim("exp", json!(null)), refused, "exp_not_number"),
        ("exp is a list", claim("exp", json!([NOW + 300])), refused, "exp_not_number"),
        ("exp is true", claim("exp", json!(true)), refused, "exp_not_number"),
        ("exp passed", claim("exp", json!(NOW - 31)), expired, "expired"),
        ("exp at the leeway's end", claim("exp", json!(NOW - 30)), expired, "expired"),
        ("exp floored", claim("exp", json!(NOW as f64 - 29.5)), expired, "expired"),
        ("exp negative", claim("exp", json!(-1)), expired, "expired"),
        ("exp zero", claim("exp", json!(0)), expired, "expired"),
        ("nbf in the future", claim("nbf", json!(NOW + 31)), early, "nbf_in_future"),
        ("nbf is text", claim("nbf", json!("0")), refused, "nbf_not_number"),
        ("nbf is null", claim("nbf", json!(null)), refused, "nbf_not_number"),
        ("iat in the future", claim("iat", json!(NOW + 31)), early, "iat_in_future"),
        ("iat in milliseconds", claim("iat", json!(NOW * 1000)), early, "iat_in_future"),
        ("iat is text", claim("iat", json!("now")), refused, "iat_not_number"),
        ("no aud", unclaimed("aud"), audience, "aud_missing"),
        ("aud of another", claim("aud", json!("shop")), audience, "aud_not_allowed"),
        ("aud with prefix", claim("aud", json!("api2")), audience, "aud_not_allowed"),
        ("aud upper case", claim("aud", json!("API")), audience, "aud_not_allowed"),
        ("aud empty list", claim("aud", json!([])), audience, "aud_not_allowed"),
        ("aud list of others", claim("aud", json!(["a", "b"])), audience, "aud_not_allowed"),
        ("aud in one text", claim("aud", json!("api web")), audience, "aud_not_allowed"),
        ("aud list with a number", claim("aud", json!(["api", 1])), audience, "aud_wrong_type"),
        ("aud of numbers", claim("aud", json!([1, 2])), audience, "aud_wrong_type"),
        ("aud is an object", claim("aud", json!({"api": true})), audience, "aud_wrong_type"),
        ("aud is null", claim("aud", json!(null)), audience, "aud_wrong_type"),
        ("no sub", unclaimed("sub"), refused, "claim_missing"),
        ("sub is null", claim("sub", json!(null)), refused, "claim_missing"),
        ("sub is an object", claim("sub", json!({})), refused, "subject_not_scalar"),
        ("jti is a list", claim("jti", json!(["a"])), refused, "jti_not_scalar"),
        ("id token", claim("token_use", json!("id")), refused, "claim_not_allowed"),
        ("no token_use", unclaimed("token_use"), refused, "claim_not_allowed"),
        (
            "identity is an object",
            claim("realm_access", json!({"roles": {"a": 1}})),
            refused,
            "identity_not_scalar",
        ),
        (
            "identity list of lists",
            claim("realm_access", json!({"roles": [["a"]]})),
            refused,
            "identity_not_scalar",
        ),
        (
            "identity too long",
            claim("realm_access", json!({"roles": "\u{fc}".repeat(700)})),
            refused,
            "identity_too_long",
        ),
    ]
}

fn signatures() -> Vec<Defect> {
    let [h, c, s] = parts();
    let bad = "bad_signature";
    let other = base64(with(claims(), "sub", json!("eve")).to_string());
    let other_header = base64(json!({"alg": "HS256"}).to_string());
    let signed = format!("{h}.{c}");
    vec![
        ("another secret", seal(&signed, OTHER_SECRET), bad, bad),
        ("empty secret", seal(&signed, b""), bad, bad),
        ("claims swapped", format!("{h}.{other}.{s}"), bad, bad),
        ("header swapped", format!("{other_header}.{c}.{s}"), bad, bad),
        ("signature cut", format!("{h}.{c}.{}", cut(&s, 40)), bad, bad),
        ("signature longer", format!("{h}.{c}.{s}AAAA"), bad, bad),
        ("signature of zeros", format!("{h}.{c}.{}", base64([0; 32])), bad, bad),
        (
            "signature of another token",
            {
                let token = claim("sub", json!("eve"));
                format!("{h}.{c}.{}", token.rsplit('.').next().unwrap())
            },
            bad,
            bad,
        ),
        (
            "signed without the dot",
            {
                let foreign = seal(&format!("{h}{c}"), SECRET);
                format!("{h}.{c}.{}", foreign.rsplit('.').next().unwrap())
            },
            bad,
            bad,
        ),
    ]
}

pub(super) fn every_defect() -> Vec<Defect> {
    [shape(), headers_of_tokens(), claims_of_tokens(), signatures()].concat()
}

#[test]
fn every_defect_has_its_exact_reason() {
    let defects = every_defect();
    assert!(defects.len() >= 100, "{}", defects.len());
    refused(defects);
}

/// Panics unless each is refused for its reason, by requests and `explain` alike.
#[track_caller]
pub(super) fn refused(defects: Vec<Defect>) {
    let set = strict_set();
    let gateway = Gateway::new();
    for (name, token, reason, detail) in defects {
        let refusal = now_or_never(gateway.ask(&set, &token)).expect_err(name);
        let found = (refusal.reason().as_str(), refusal.detail());
        assert_eq!(found, (reason, detail), "{name}");
        assert!(refusal.token_sent(), "{name}");
        // `explain` takes the same steps and says the same of all that reaches them.
        if refusal.cause() != Cause::NotToken68 {
            let (findings, verdict) = explained(&set, &token);
            assert_eq!(verdict.expect_err(name), refusal, "{name}");
            assert_eq!(findings.last().unwrap().outcome, Err(refusal.cause()), "{name}");
        }
    }
    assert!(now_or_never(gateway.ask(&set, &good())).is_ok(), "the control");
}

#[test]
fn what_looks_odd_but_is_right_passes() {
    let set = strict_set();
    for (name, token) in [
        ("good", good()),
        ("typ absent", sign(&json!({"alg": "HS256"}), &claims())),
        ("typ at+jwt", head("typ", json!("at+jwt"))),
        ("typ long, other case", head("typ", json!("application/AT+JWT"))),
        ("unknown header member", head("x", json!([1, {"a": null}]))),
        ("thumbprints in the header", head("x5t", json!("abc"))),
        ("other cty", head("cty", json!("text/plain"))),
        ("aud list", claim("aud", json!(["shop", "web"]))),
        ("exp within the leeway", claim("exp", json!(NOW - 29))),
        ("exp fractional", claim("exp", json!(NOW as f64 + 0.5))),
        ("exp huge", claim("exp", json!(u64::MAX))),
        ("exp beyond integers", claim("exp", json!(1e300))),
        ("nbf within the leeway", claim("nbf", json!(NOW + 30))),
        ("nbf negative", claim("nbf", json!(-5))),
        ("no nbf", unclaimed("nbf")),
        ("no iat", unclaimed("iat")),
        ("no jti", unclaimed("jti")),
        ("no roles", unclaimed("realm_access")),
        ("white space", write(" {\"alg\" : \"HS256\"} ", format!("\n{}\t", claims()))),
    ] {
        assert!(explained(&set, &token).1.is_ok(), "{name}");
    }
}

#[test]
fn every_cause_of_a_token_is_produced_or_named_elsewhere() {
    let produced: Vec<&str> = every_defect().into_iter().map(|(_, _, _, detail)| detail).collect();
    // From headers (`token.rs`, `places.rs`), keys (`live_keys.rs`, below), their absence, settings
    // (below), and `revoked.rs`.
    let elsewhere = [
        "cross_origin_cookie",
        "name_respelled",
        "duplicate_credentials",
        "no_credentials",
        "no_token",
        "other_scheme",
        "iat_missing",
        "keys_unavailable",
        "kid_unknown",
        "lifetime_too_long",
        "no_key_fits",
        // From the guard (`bad_tokens.rs`).
        "too_many_bad_tokens",
        "jti_revoked",
        "kid_revoked",
        "subject_revoked",
    ];
    for cause in Cause::ALL {
        let word = cause.as_str();
        assert!(produced.contains(&word) || elsewhere.contains(&word), "{word} has no test");
    }
}

#[test]
fn j16_a_token_may_not_live_longer_than_its_issuer_may_grant() {
    let mut settings = strict_settings();
    settings.max_lifetime = Some(Duration::from_secs(600));
    let set = IssuerSet::new(vec![Issuer::new(settings, secret_keys())]).unwrap();
    let ask = |iat: Value, exp: Value| {
        let token = sign(&header(), &with(with(claims(), "iat", iat), "exp", exp));
        cause_of(&set, &token)
    };
    assert_eq!(ask(json!(NOW), json!(NOW + 600)), Ok(()));
    assert_eq!(ask(json!(NOW as f64 + 0.9), json!(NOW as f64 + 600.9)), Ok(()));
    assert_eq!(ask(json!(NOW + 9), json!(NOW + 5)), Ok(()), "no time at all");
    for (iat, exp) in [
        (json!(NOW), json!(NOW + 601)),
        (json!(NOW - 400), json!(NOW + 201)),
        (json!(0), json!(NOW + 5)),
        (json!(-5), json!(NOW + 5)),
        (json!(NOW), json!(u64::MAX)),
        (json!(NOW), json!(1e300)),
    ] {
        assert_eq!(ask(iat.clone(), exp.clone()), Err(Cause::LifetimeTooLong), "{iat} {exp}");
    }
    assert_eq!(ask(json!(null), json!(NOW + 5)), Err(Cause::IatNotNumber));
    assert_eq!(explained(&set, &good()).1.map(|_| ()), Ok(()));
    let refusal = explained(&set, &unclaimed("iat")).1.unwrap_err();
    assert_eq!((refusal.reason(), refusal.detail()), (Reason::ClaimRefused, "iat_missing"));
    // Without the setting neither matters.
    for token in [unclaimed("iat"), claim("exp", json!(u64::MAX))] {
        assert!(explained(&strict_set(), &token).1.is_ok());
    }
}

#[test]
fn an_absent_typ_counts_as_jwt_where_only_access_tokens_are_taken() {
    let mut settings = strict_settings();
    settings.types = vec!["application/at+JWT".to_owned()];
    let set = IssuerSet::new(vec![Issuer::new(settings, secret_keys())]).unwrap();
    assert!(explained(&set, &head("typ", json!("AT+jwt"))).1.is_ok());
    for token in [good(), sign(&json!({"alg": "HS256"}), &claims())] {
        assert_eq!(explained(&set, &token).1.unwrap_err().cause(), Cause::TypNotAllowed);
    }
}

#[test]
fn j17_simplejwt_takes_access_tokens_and_no_other() {
    let set = simplejwt_set();
    let access = json!({
        "token_type": "access", "exp": NOW + 300, "iat": NOW, "jti": "a1b2", "user_id": "7",
    });
    let ask = |claims: Value| explained(&set, &sign(&header(), &claims)).1;
    let principal = ask(access.clone()).unwrap();
    assert_eq!(principal.subject(), Some("7"));
    assert_eq!(principal.jti(), Some("a1b2"));
    assert_eq!(principal.issuer(), None);
    assert_eq!(&**principal.issuer_name(), "django");
    let number = ask(with(access.clone(), "user_id", json!(7))).unwrap();
    assert_eq!(number.subject(), Some("7"));
    for (name, claims, cause) in [
        ("refresh", with(access.clone(), "token_type", json!("refresh")), Cause::ClaimNotAllowed),
        ("sliding", with(access.clone(), "token_type", json!("sliding")), Cause::ClaimNotAllowed),
        ("no type", without(access.clone(), "token_type"), Cause::ClaimNotAllowed),
        ("no jti", without(access.clone(), "jti"), Cause::ClaimMissing),
        ("no user", without(access.clone(), "user_id"), Cause::ClaimMissing),
        ("no exp", without(access.clone(), "exp"), Cause::ExpMissing),
        ("ends now", with(access.clone(), "exp", json!(NOW)), Cause::Expired),
        ("issued a second ahead", with(access.clone(), "iat", json!(NOW + 1)), Cause::IatInFuture),
        ("with iss", with(access, "iss", json!(URL)), Cause::IssUnknown),
    ] {
        assert_eq!(ask(claims).unwrap_err().cause(), cause, "{name}");
    }
    let hs384 = sign(&json!({"alg": "HS384", "typ": "JWT"}), &json!({"exp": NOW + 9}));
    assert_eq!(explained(&set, &hs384).1.unwrap_err().cause(), Cause::AlgNotAllowed);
}

pub(super) fn cause_of(set: &IssuerSet, token: &str) -> Result<(), Cause> {
    explained(set, token).1.map(|_| ()).map_err(|refusal| refusal.cause())
}

/// An issuer of asymmetric keys, and one that trusts a secret, on one route.
pub(super) fn two_issuers(signer: &Signer) -> Arc<IssuerSet> {
    let url = ExpectedIss::Url("https://es.example.com/".to_owned());
    let settings = IssuerSettings::new("es", url, Audience::Any);
    let es = Issuer::new(settings, KeySet::fixed(vec![signer.key().unwrap()]));
    IssuerSet::new(vec![es, Issuer::new(strict_settings(), secret_keys())]).unwrap()
}

#[test]
fn j19_keys_are_chosen_by_issuer_and_kid_alone() {
    let (signer, other) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    let set = two_issuers(&signer);
    let mine = json!({"iss": "https://es.example.com/", "exp": NOW + 300});
    let token = |signer: &Signer, header: Value, claims: &Value| {
        signer.sign(header.as_object().unwrap(), claims.as_object().unwrap()).unwrap()
    };
    let cause = |token: &str| cause_of(&set, token);
    assert_eq!(cause(&token(&signer, json!({}), &mine)), Ok(()));
    for (name, token, expected) in [
        ("unknown kid", token(&other, json!({}), &mine), Cause::KidUnknown),
        (
            "another's signature under a known kid",
            token(&other, json!({"kid": signer.kid()}), &mine),
            Cause::BadSignature,
        ),
        ("known key, other kid", token(&signer, json!({"kid": "x"}), &mine), Cause::KidUnknown),
        (
            "other curve's name",
            token(&signer, json!({"alg": "ES384"}), &mine),
            Cause::AlgNotAllowed,
        ),
        (
            "an algorithm that no key has, without kid",
            {
                let signed =
                    format!("{}.{}", base64(r#"{"alg":"RS256"}"#), base64(mine.to_string()));
                seal(&signed, SECRET)
            },
            Cause::NoKeyFits,
        ),
        (
            "the secret's algorithm with the public key as secret",
            {
                let signed =
                    format!("{}.{}", base64(r#"{"alg":"HS256"}"#), base64(mine.to_string()));
                seal(&signed, signer.jwk().to_string().as_bytes())
            },
            Cause::AlgNotAllowed,
        ),
        (
            "one issuer's key for another's iss",
            token(&signer, json!({}), &with(claims(), "iss", json!(URL))),
            Cause::AlgNotAllowed,
        ),
    ] {
        assert_eq!(cause(&token), Err(expected), "{name}");
    }
}

#[test]
fn several_owners_are_tried_and_the_likeliest_refusal_is_told() {
    let url = || ExpectedIss::Url(URL.to_owned());
    let audience = |name: &str| Audience::OneOf(vec![name.to_owned()]);
    let mut first = IssuerSettings::new("a", url(), audience("shop"));
    first.algorithms = vec![Algorithm::HS256];
    let mut second = IssuerSettings::new("b", url(), audience("api"));
    second.algorithms = vec![Algorithm::HS256];
    let other = KeySet::fixed(vec![from_secret(OTHER_SECRET).unwrap()]);
    let set = IssuerSet::new(vec![
        Issuer::new(first, secret_keys()),
        Issuer::new(second.clone(), secret_keys()),
        Issuer::new(IssuerSettings { name: "c".to_owned(), ..second }, other),
    ])
    .unwrap();
    let (findings, verdict) = explained(&set, &good());
    assert_eq!(&**verdict.unwrap().issuer_name(), "b");
    assert_eq!(findings.iter().filter(|finding| finding.step == Step::Type).count(), 2);
    let refusal = explained(&set, &claim("aud", json!("none"))).1.unwrap_err();
    assert_eq!((refusal.issuer(), refusal.cause()), (Some("a"), Cause::AudNotAllowed));
}

#[test]
fn explain_names_every_step_in_order() {
    let (findings, verdict) = explained(&strict_set(), &good());
    let principal = verdict.unwrap();
    let steps: Vec<Step> = findings.iter().map(|finding| finding.step).collect();
    assert_eq!(steps, Step::ALL);
    assert!(Step::ALL.is_sorted());
    for finding in &findings {
        let named = finding.issuer.is_some();
        assert_eq!(named, finding.step >= Step::Type, "{}", finding.step);
        assert!(finding.outcome.as_ref().is_ok_and(|text| !text.is_empty()), "{}", finding.step);
    }
    let lines: Vec<(&str, &str)> = principal
        .identity()
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(lines, [("x-user", "ada"), ("x-roles", "admin,staff")]);
    assert_eq!(principal.expires(), UnixTime::from_secs(NOW + 330));
    assert!(!format!("{principal:?}").contains("ada"), "claims are personal data");
}

#[test]
fn j14_each_single_letter_changed_is_refused() {
    let (set, token) = (strict_set(), good());
    for place in 0..token.len() {
        for letter in [b'A', b'z', b'_', b'.', b'='] {
            let mut bytes = token.clone().into_bytes();
            if bytes[place] == letter {
                continue;
            }
            bytes[place] = letter;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(explained(&set, &changed).1.is_err(), "{place} {}", char::from(letter));
        }
    }
}

#[test]
fn reasons_are_those_of_the_contract() {
    let allowed = [
        Reason::AlgorithmNotAllowed,
        Reason::AudienceMismatch,
        Reason::BadSignature,
        Reason::ClaimRefused,
        Reason::DuplicateCredentials,
        Reason::Forbidden,
        Reason::KeysUnavailable,
        Reason::RateLimited,
        Reason::TokenExpired,
        Reason::TokenMalformed,
        Reason::TokenMissing,
        Reason::TokenNotYetValid,
        Reason::TokenRevoked,
        Reason::TokenTooLarge,
        Reason::TokenUnsupported,
        Reason::TypeNotAllowed,
        Reason::UnknownIssuer,
        Reason::UnknownKey,
    ];
    for cause in Cause::ALL {
        assert!(allowed.contains(&cause.reason()), "{cause}");
        let twins = Cause::ALL.iter().filter(|other| other.as_str() == cause.as_str());
        assert_eq!(twins.count(), 1, "{cause}");
    }
}

proptest! {
    #[test]
    fn j15_no_bytes_panic_or_verify(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let set = strict_set();
        let text = String::from_utf8_lossy(&bytes);
        prop_assert!(explained(&set, &text).1.is_err());
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value);
            prop_assert!(now_or_never(Gateway::new().ask_with(&set, &headers)).is_err());
        }
    }

    #[test]
    fn nothing_token_shaped_verifies(token in "[A-Za-z0-9_=-]{0,80}(\\.[A-Za-z0-9_=-]{0,80}){0,5}") {
        prop_assert!(explained(&strict_set(), &token).1.is_err());
    }

    /// JSON of any kind where header and claims belong, rightly signed: refused or not, no panic,
    /// and never a principal whose time is over.
    #[test]
    fn signed_nonsense_never_panics(
        header in ".{0,60}",
        name in "(exp|nbf|iat|iss|aud|sub|jti|token_use|realm_access)",
        value in any_json(),
    ) {
        let _refused = explained(&strict_set(), &write(&header, claims().to_string()));
        let claims = with(claims(), &name, value);
        if let Ok(principal) = explained(&strict_set(), &sign(&super::header(), &claims)).1 {
            prop_assert!(principal.expires() > now());
            prop_assert_eq!(principal.issuer(), Some(URL));
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        Just(json!(URL)),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,5}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

//! Known answers for every algorithm, and everything a key may not be.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::keys::jwk::{MAX_KID, Origin, import, parse, parse_from};
use crate::keys::jwks::{MAX_KEYS, NotAKeySet, SkipReason, parse_set};
use crate::keys::{Algorithm, Key, KeyError, from_pem, from_secret};

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

fn rsa_jwk() -> Value {
    vectors()["signatures"][0]["jwk"].clone()
}

fn ec_jwk() -> Value {
    rfc7515_a3()
}

fn rfc7515_a3() -> Value {
    json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    })
}

/// Verifies a compact JWS, and refuses it when a bit of either part is flipped or the algorithm
/// is another.
fn assert_verifies(key: &Key, algorithm: Algorithm, message: &[u8], signature: &[u8]) {
    assert!(key.verify(algorithm, message, signature), "{algorithm}");
    let mut other = message.to_vec();
    other[0] ^= 1;
    assert!(!key.verify(algorithm, &other, signature), "{algorithm} message");
    for at in [0, signature.len() / 2, signature.len() - 1] {
        let mut other = signature.to_vec();
        other[at] ^= 1;
        assert!(!key.verify(algorithm, message, &other), "{algorithm} signature {at}");
    }
    let short = &signature[..signature.len() - 1];
    let long = [signature, &[0]].concat();
    for wrong in [short, &long, &[], &vec![0; signature.len()]] {
        assert!(!key.verify(algorithm, message, wrong), "{algorithm} length {}", wrong.len());
    }
    for other in Algorithm::ALL.iter().filter(|other| **other != algorithm) {
        assert!(!key.verify(*other, message, signature), "{algorithm} as {other}");
    }
}

#[test]
fn rfc_examples_verify() {
    let joe = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let a1 = import::hmac(&decode(
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
    ));
    assert_verifies(
        &a1,
        Algorithm::HS256,
        format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{joe}").as_bytes(),
        &decode("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
    );
    let a2 = parse(&json!({
        "kty": "RSA", "e": "AQAB",
        "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    })).unwrap();
    assert_verifies(
        &a2,
        Algorithm::RS256,
        format!("eyJhbGciOiJSUzI1NiJ9.{joe}").as_bytes(),
        &decode(
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
    );
    assert_verifies(
        &parse(&rfc7515_a3()).unwrap(),
        Algorithm::ES256,
        format!("eyJhbGciOiJFUzI1NiJ9.{joe}").as_bytes(),
        &decode(
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
    );
    let a4 = parse(&json!({
        "kty": "EC", "crv": "P-521",
        "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
        "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
    })).unwrap();
    assert_verifies(
        &a4,
        Algorithm::ES512,
        b"eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA",
        &decode(
            "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn",
        ),
    );
    // RFC 8037 appendix A.3 and A.4
    let ed25519 = parse(&json!({
        "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    }))
    .unwrap();
    assert_eq!(ed25519.thumbprint(), Some("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"));
    assert_verifies(
        &ed25519,
        Algorithm::EdDSA,
        b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
        &decode(
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    );
}

#[test]
fn another_implementations_signatures_verify_for_every_algorithm() {
    let vectors = vectors();
    let message = vectors["message"].as_str().unwrap().as_bytes();
    let mut seen = Vec::new();
    for vector in vectors["signatures"].as_array().unwrap() {
        let algorithm: Algorithm = vector["alg"].as_str().unwrap().parse().unwrap();
        let key = match vector["secret"].as_str() {
            Some(secret) => from_secret(secret.as_bytes()).unwrap(),
            None => parse(&vector["jwk"]).unwrap(),
        };
        assert_verifies(&key, algorithm, message, &decode(vector["signature"].as_str().unwrap()));
        seen.push(algorithm);
    }
    seen.sort_unstable();
    assert_eq!(seen.len(), Algorithm::ALL.len());
    assert!(Algorithm::ALL.iter().all(|algorithm| seen.contains(algorithm)));
}

#[test]
fn rfc7638_example_has_its_thumbprint() {
    let key = parse(&json!({
        "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    })).unwrap();
    assert_eq!(key.thumbprint(), Some("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"));
    assert_eq!(key.algorithms().collect::<Vec<_>>(), [Algorithm::RS256]);
}

#[test]
fn a_thumbprint_of_secp256k1_is_made_like_the_others() {
    // Computed with jwcrypto.
    let vectors = vectors();
    let mut signatures = vectors["signatures"].as_array().unwrap().iter();
    let vector = signatures.find(|vector| vector["alg"] == "ES256K").unwrap();
    assert_eq!(
        parse(&vector["jwk"]).unwrap().thumbprint(),
        Some("2k5GQc85D4eNt-TNi9MpgyKa6M3uG0NwEanTbqfJSG8")
    );
}

#[test]
fn a_leading_zero_changes_neither_key_nor_thumbprint() {
    let plain = parse(&rsa_jwk()).unwrap();
    let mut padded = rsa_jwk();
    let n = [vec![0], decode(padded["n"].as_str().unwrap())].concat();
    padded["n"] = URL_SAFE_NO_PAD.encode(n).into();
    assert_eq!(parse(&padded).unwrap().thumbprint(), plain.thumbprint());
}

#[test]
fn an_algorithm_in_the_jwk_is_the_only_one() {
    let mut jwk = rsa_jwk();
    assert_eq!(parse(&jwk).unwrap().algorithms().count(), 6);
    jwk["alg"] = "PS384".into();
    assert_eq!(parse(&jwk).unwrap().algorithms().collect::<Vec<_>>(), [Algorithm::PS384]);
}

/// `base` with members replaced or, where null, removed.
fn with(base: Value, members: Value) -> Value {
    let mut jwk = base;
    for (name, value) in members.as_object().unwrap() {
        jwk[name.as_str()] = value.clone();
    }
    jwk
}

#[track_caller]
fn skipped(cases: &[(Value, SkipReason)]) {
    for (jwk, reason) in cases {
        assert_eq!(parse(jwk).map(|_| ()).unwrap_err(), *reason, "{jwk}");
    }
}

fn ed_jwk() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
}

#[test]
fn j4_points_off_their_curve_are_refused() {
    use SkipReason::{Malformed, Unsupported};
    let jwk = |members| with(ec_jwk(), members);
    skipped(&[
        (jwk(json!({"crv": "P-384"})), Malformed),
        (jwk(json!({"crv": "P-521"})), Malformed),
        (jwk(json!({"crv": "secp256k1"})), Malformed),
        (jwk(json!({"crv": "secp224r1"})), Unsupported),
        (jwk(json!({"crv": "p-256"})), Unsupported),
        (jwk(json!({"crv": null})), Malformed),
        (jwk(json!({"alg": "ES384"})), Malformed),
        (jwk(json!({"alg": "ES256K"})), Malformed),
        (jwk(json!({"x": "AA"})), Malformed),
        (jwk(json!({"y": "AA"})), Malformed),
        (jwk(json!({"x": ec_jwk()["y"], "y": ec_jwk()["x"]})), Malformed),
        (jwk(json!({"x": "A".repeat(43), "y": "A".repeat(43)})), Malformed),
    ]);
}

#[test]
fn j6_rsa_keys_out_of_bounds_are_refused() {
    use SkipReason::{Malformed, Weak};
    let jwk = |members| with(rsa_jwk(), members);
    skipped(&[
        (jwk(json!({"n": null})), Malformed),
        (jwk(json!({"n": "AQAB=="})), Malformed),
        (jwk(json!({"e": "AQ"})), Weak),
        (jwk(json!({"e": "AQAA"})), Weak),
        (jwk(json!({"e": ""})), Weak),
        (jwk(json!({"n": URL_SAFE_NO_PAD.encode([0xff; 513])})), Weak),
        (vectors()["rsa_1024"].clone(), Weak),
    ]);
}

#[test]
fn j7_other_edwards_keys_are_refused() {
    use SkipReason::{Malformed, Unsupported};
    let jwk = |members| with(ed_jwk(), members);
    skipped(&[
        (jwk(json!({"crv": "Ed448"})), Unsupported),
        (jwk(json!({"crv": "X25519"})), Unsupported),
        (jwk(json!({"x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHUQ"})), Malformed),
        (jwk(json!({"alg": "ES256"})), Malformed),
    ]);
    // RFC 9864's name for the same.
    for name in ["EdDSA", "Ed25519"] {
        let key = parse(&jwk(json!({ "alg": name }))).unwrap();
        assert_eq!(key.algorithms().collect::<Vec<_>>(), [Algorithm::EdDSA]);
    }
}

#[test]
fn j22_secrets_and_private_keys_in_a_set_are_skipped() {
    use SkipReason::{Private, Symmetric};
    let private = || json!({"d": "AQAB"});
    skipped(&[
        (json!({"kty": "oct", "k": "c2VjcmV0"}), Symmetric),
        (json!({"kty": "oct", "k": "A".repeat(86), "alg": "HS256", "use": "sig"}), Symmetric),
        (with(rsa_jwk(), private()), Private),
        (with(ec_jwk(), private()), Private),
        (with(ed_jwk(), private()), Private),
        (with(rsa_jwk(), json!({"p": "AQAB"})), Private),
        (with(rsa_jwk(), json!({"dp": "AQAB"})), Private),
        (with(rsa_jwk(), json!({"oth": []})), Private),
    ]);
    let set = json!({ "keys": [
        {"kty": "oct", "kid": "s", "k": "A".repeat(86)},
        with(ec_jwk(), json!({"kid": "p", "d": "AQAB"})),
        with(rsa_jwk(), json!({"kid": "good"})),
    ]});
    let parsed = parse_set(set.to_string().as_bytes()).unwrap();
    assert_eq!(parsed.keys.iter().map(Key::kid).collect::<Vec<_>>(), [Some("good")]);
    assert_eq!(
        parsed.skipped.iter().map(|skipped| skipped.reason).collect::<Vec<_>>(),
        [Symmetric, Private]
    );
}

#[test]
fn j24_a_key_for_something_else_is_skipped() {
    use SkipReason::{Malformed, Unsupported, WrongUse};
    let jwk = |members| with(rsa_jwk(), members);
    skipped(&[
        (jwk(json!({"use": "enc"})), WrongUse),
        (jwk(json!({"use": ""})), WrongUse),
        (jwk(json!({"use": ["sig"]})), Malformed),
        (jwk(json!({"key_ops": ["encrypt"]})), WrongUse),
        (jwk(json!({"key_ops": []})), WrongUse),
        (jwk(json!({"key_ops": "verify"})), Malformed),
        (jwk(json!({"use": "sig", "key_ops": ["encrypt"]})), WrongUse),
        (jwk(json!({"alg": "RSA-OAEP"})), Unsupported),
        (jwk(json!({"alg": "none"})), Unsupported),
        (jwk(json!({"alg": "HS256"})), Malformed),
        (jwk(json!({"alg": "ES256"})), Malformed),
    ]);
}

#[test]
fn keys_that_must_not_be_used_say_why() {
    use SkipReason::{BadKid, Malformed, Unsupported};
    skipped(&[
        (json!("a string"), Malformed),
        (json!({}), Malformed),
        (json!({"kty": 1}), Malformed),
        (json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}), Unsupported),
        (with(rsa_jwk(), json!({"kid": 1})), BadKid),
        (with(rsa_jwk(), json!({"kid": ""})), BadKid),
        (with(rsa_jwk(), json!({"kid": "k".repeat(MAX_KID + 1)})), BadKid),
    ]);
    for harmless in [
        json!({"use": "sig", "key_ops": ["sign", "verify"]}),
        json!({"x5c": "wrong type", "x5t": 7, "unknown": {}}),
        json!({"kid": "k".repeat(MAX_KID)}),
        json!({"kid": null, "alg": null, "use": null}),
    ] {
        assert!(parse(&with(rsa_jwk(), harmless.clone())).is_ok(), "{harmless}");
    }
}

#[test]
fn an_operators_own_key_may_be_secret_or_private() {
    use SkipReason::{Malformed, Unsupported, Weak, WrongUse};
    let own = |jwk: &Value| parse_from(jwk, Origin::Own);
    let secret = |bytes: usize, members: Value| {
        with(json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(vec![7; bytes])}), members)
    };
    let algorithms = |jwk: &Value| own(jwk).map(|key| key.algorithms().collect::<Vec<_>>());
    use Algorithm::{HS256, HS384, HS512};
    for (jwk, expected) in [
        (secret(31, json!({})), Err(Weak)),
        (secret(32, json!({})), Ok(vec![HS256])),
        (secret(64, json!({})), Ok(vec![HS256, HS384, HS512])),
        (secret(64, json!({"alg": "HS384"})), Ok(vec![HS384])),
        (secret(47, json!({"alg": "HS384"})), Err(Weak)),
        (secret(0, json!({"alg": "HS256"})), Err(Weak)),
        (secret(64, json!({"alg": "ES256"})), Err(Malformed)),
        (secret(64, json!({"alg": "A256GCM"})), Err(Unsupported)),
        (secret(64, json!({"use": "enc"})), Err(WrongUse)),
        (secret(64, json!({"key_ops": ["sign"]})), Err(WrongUse)),
        (secret(64, json!({"k": 1})), Err(Malformed)),
        (with(ec_jwk(), json!({"d": "AQAB"})), Ok(vec![Algorithm::ES256])),
        (with(ec_jwk(), json!({"y": "AQAB"})), Err(Malformed)),
    ] {
        assert_eq!(algorithms(&jwk), expected, "{jwk}");
    }
    assert_eq!(own(&secret(64, json!({}))).unwrap().thumbprint(), None);
}

#[test]
fn j24_one_bad_key_never_costs_the_others() {
    let set = json!({ "keys": [
        {"kty": "AKP", "alg": "ML-DSA-44", "kid": "pq"},
        with(rsa_jwk(), json!({"kid": "good"})),
        17,
        with(ec_jwk(), json!({"kid": "enc", "use": "enc"})),
    ]});
    let parsed = parse_set(set.to_string().as_bytes()).unwrap();
    assert_eq!(parsed.keys.iter().map(Key::kid).collect::<Vec<_>>(), [Some("good")]);
    let skipped: Vec<_> =
        parsed.skipped.iter().map(|s| (s.index, s.kid.as_deref(), s.reason)).collect();
    assert_eq!(
        skipped,
        [
            (0, Some("pq"), SkipReason::Unsupported),
            (2, None, SkipReason::Malformed),
            (3, Some("enc"), SkipReason::WrongUse),
        ]
    );
}

#[test]
fn j23_one_kid_for_two_keys_makes_both_unusable() {
    let other_rsa = vectors()["other_rsa"].clone();
    let kid = json!({"kid": "a"});
    let set = |keys: &[Value]| parse_set(json!({ "keys": keys }).to_string().as_bytes()).unwrap();

    let clash = set(&[with(rsa_jwk(), kid.clone()), with(other_rsa, kid.clone())]);
    assert!(clash.keys.is_empty());
    assert!(clash.skipped.iter().all(|skipped| skipped.reason == SkipReason::DuplicateKid));
    assert_eq!(clash.skipped.len(), 2);

    // The algorithm tells these two apart, and the third is the first again.
    let apart =
        set(&[with(rsa_jwk(), kid.clone()), with(ec_jwk(), kid.clone()), with(rsa_jwk(), kid)]);
    assert_eq!((apart.keys.len(), apart.skipped.len()), (2, 0));
}

#[test]
fn a_key_is_the_same_by_id_material_and_algorithms() {
    let ec = |members: Value| parse(&with(ec_jwk(), members)).unwrap();
    let rsa = |members: Value| parse(&with(rsa_jwk(), members)).unwrap();
    let kid = |kid: &str| json!({ "kid": kid });
    assert!(ec(kid("a")).is_same(&ec(kid("a"))));
    assert!(ec(json!({})).is_same(&ec(json!({}))));
    assert!(!ec(kid("a")).is_same(&ec(kid("b"))));
    assert!(!ec(kid("a")).is_same(&ec(json!({}))));
    assert!(!ec(kid("a")).is_same(&rsa(kid("a"))));
    assert!(!rsa(json!({"alg": "RS256"})).is_same(&rsa(json!({"alg": "RS384"}))));
    // Nothing tells whether two secrets are one.
    let secret = || import::hmac(&[7; 64]);
    assert!(!secret().is_same(&secret()));
}

#[test]
fn keys_conflict_where_one_token_could_mean_either() {
    let ec = |members: Value| parse(&with(ec_jwk(), members)).unwrap();
    let rsa = |members: Value| parse(&with(rsa_jwk(), members)).unwrap();
    let other_rsa = |members: Value| {
        let other = vectors()["other_rsa"].clone();
        parse(&with(other, members)).unwrap()
    };
    let own = |bytes: [u8; 32], kid: &str| {
        let jwk = json!({"kty": "oct", "kid": kid, "k": URL_SAFE_NO_PAD.encode(bytes)});
        parse_from(&jwk, Origin::Own).unwrap()
    };
    let kid = || json!({ "kid": "a" });
    let pinned = |alg: &str| json!({ "kid": "a", "alg": alg });
    assert!(rsa(kid()).conflicts(&other_rsa(kid())));
    assert!(rsa(kid()).conflicts(&other_rsa(pinned("RS256"))));
    assert!(own([1; 32], "a").conflicts(&own([2; 32], "a")));
    for (one, other) in [
        (rsa(kid()), rsa(kid())),
        (rsa(kid()), ec(kid())),
        (rsa(kid()), other_rsa(json!({"kid": "b"}))),
        (rsa(json!({})), other_rsa(json!({}))),
        (rsa(pinned("RS256")), other_rsa(pinned("PS256"))),
        (own([1; 32], "a"), own([2; 32], "b")),
    ] {
        assert!(!one.conflicts(&other), "{one:?} {other:?}");
    }
}

#[test]
fn a_key_shows_its_id_and_thumbprint() {
    let key = parse(&with(ec_jwk(), json!({"kid": "a"}))).unwrap();
    let shown = format!("{key:?}");
    assert!(shown.contains("Some(\"a\")") && shown.contains(key.thumbprint().unwrap()), "{shown}");
}

#[test]
fn sets_are_bounded() {
    let keys: Vec<Value> =
        (0..MAX_KEYS + 3).map(|i| with(ec_jwk(), json!({"kid": i.to_string()}))).collect();
    let parsed = parse_set(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
    assert_eq!(parsed.keys.len(), MAX_KEYS);
    assert!(parsed.skipped.iter().all(|skipped| skipped.reason == SkipReason::TooMany));
    assert_eq!(parsed.skipped.len(), 3);
}

#[test]
fn what_is_no_set_is_an_error() {
    for document in ["", "<html></html>", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":null}"#] {
        assert_eq!(parse_set(document.as_bytes()).unwrap_err(), NotAKeySet, "{document}");
    }
    assert!(parse_set(br#"{"keys":[]}"#).unwrap().keys.is_empty());
}

#[test]
fn pem_files_give_the_same_keys_as_jwks() {
    let vectors = vectors();
    let pem = |name: &str| vectors["pem"][name].as_str().unwrap().as_bytes().to_vec();
    let message = vectors["message"].as_str().unwrap().as_bytes();
    let cases = [
        ("rsa_spki", "RS256"),
        ("rsa_pkcs1", "PS512"),
        ("certificate", "RS384"),
        ("es256", "ES256"),
        ("es384", "ES384"),
        ("es512", "ES512"),
        ("secp256k1", "ES256K"),
        ("ed25519", "EdDSA"),
    ];
    for (name, alg) in cases {
        let keys = from_pem(&pem(name)).unwrap();
        assert_eq!(keys.len(), 1, "{name}");
        let mut signatures = vectors["signatures"].as_array().unwrap().iter();
        let vector = signatures.find(|vector| vector["alg"] == alg).unwrap();
        let signature = decode(vector["signature"].as_str().unwrap());
        assert!(keys[0].verify(alg.parse().unwrap(), message, &signature), "{name}");
        assert_eq!(keys[0].thumbprint(), parse(&vector["jwk"]).unwrap().thumbprint(), "{name}");
    }
    let both = [pem("es256"), b"\n".to_vec(), pem("ed25519")].concat();
    assert_eq!(from_pem(&both).unwrap().len(), 2);
}

#[test]
fn pem_files_that_are_not_for_verifying_are_refused() {
    let vectors = vectors();
    let pem = |name: &str| vectors["pem"][name].as_str().unwrap().as_bytes().to_vec();
    let private = rcgen::KeyPair::generate().unwrap().serialize_pem();
    assert_eq!(from_pem(private.as_bytes()).unwrap_err(), KeyError::PrivateKey);
    let other_curve = from_pem(&pem("secp224r1")).unwrap_err();
    assert_eq!(other_curve, KeyError::Unusable(SkipReason::Unsupported));
    assert_eq!(from_pem(b"").unwrap_err(), KeyError::NoPublicKey);
    assert_eq!(from_pem(b"hello").unwrap_err(), KeyError::NoPublicKey);
    let garbage = b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    assert_eq!(from_pem(garbage).unwrap_err(), KeyError::Malformed);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        drop((parse_set(&bytes), from_pem(&bytes)));
    }

    #[test]
    fn any_members_are_read_without_panic(
        kty in "RSA|EC|OKP|oct|X", crv in "P-256|P-384|P-521|Ed25519|x",
        numbers in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..90), 4),
    ) {
        let text = |i: usize| URL_SAFE_NO_PAD.encode(&numbers[i]);
        let jwk = json!({"kty": kty, "crv": crv, "x": text(0), "y": text(1), "n": text(2), "e": text(3)});
        if let Ok(key) = parse(&jwk) {
            prop_assert!(key.algorithms().count() > 0);
        }
    }
}

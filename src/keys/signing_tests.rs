//! Whatever signs here verifies there, from every form in which a private key is kept.

use super::*;
use crate::keys::{KeyError, from_pem, jwks::parse_set};

fn members(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

/// Message and signature of a compact JWS.
fn parts(token: &str) -> (&str, Vec<u8>) {
    let (message, signature) = token.rsplit_once('.').unwrap();
    (message, URL_SAFE_NO_PAD.decode(signature).unwrap())
}

fn header(token: &str) -> Value {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice(&header).unwrap()
}

/// What openssl and jwcrypto wrote for one key of each kind.
fn private_keys() -> Value {
    serde_json::from_str(include_str!("tests/private_keys.json")).unwrap()
}

#[track_caller]
fn verifies(signer: &Signer) {
    let token = signer.sign(&Map::new(), &members(json!({ "sub": "ada" }))).unwrap();
    let algorithm = signer.algorithm();
    let expected = json!({ "alg": algorithm.as_str(), "kid": signer.kid(), "typ": "JWT" });
    assert_eq!(header(&token), expected);
    let (message, signature) = parts(&token);
    let set = parse_set(jwks([signer]).to_string().as_bytes()).unwrap();
    let key = &set.keys[0];
    assert_eq!((key.kid(), key.algorithms().count()), (Some(signer.kid()), 1));
    assert!(key.verify(algorithm, message.as_bytes(), &signature), "{algorithm}");
    assert!(!key.verify(algorithm, b"another message", &signature), "{algorithm}");
}

#[test]
fn what_is_signed_verifies_with_the_published_key() {
    for algorithm in Algorithm::ALL {
        match algorithm.is_symmetric() {
            true => assert_eq!(Signer::generate_for(*algorithm).map(|_| ()), Err(SigningFailed)),
            false => verifies(&Signer::generate_for(*algorithm).unwrap()),
        }
    }
    let signer = Signer::generate().unwrap();
    assert_eq!(signer.algorithm(), Algorithm::ES256);
    assert_eq!(signer.key().unwrap().thumbprint(), Some(signer.kid()));
    assert!(!format!("{signer:?}").contains("pair"));
    let renamed = signer.with_kid("mine");
    assert_eq!((renamed.kid(), &renamed.jwk()["kid"]), ("mine", &json!("mine")));
    verifies(&renamed);
}

#[test]
fn a_private_key_is_read_from_every_form() {
    for entry in private_keys().as_array().unwrap() {
        let text = |name: &str| entry[name].as_str().unwrap();
        let usual: Algorithm = text("alg").parse().unwrap();
        for form in ["pkcs8", "traditional"] {
            let Some(file) = entry[form].as_str() else { continue };
            let signer = Signer::from_pem(file.as_bytes(), None).unwrap();
            assert_eq!((signer.algorithm(), signer.kid()), (usual, text("thumbprint")), "{form}");
            verifies(&signer);
            assert_eq!(from_pem(file.as_bytes()).unwrap_err(), KeyError::PrivateKey);
        }
        let signer = Signer::from_jwk(&entry["jwk"], None).unwrap();
        assert_eq!((signer.algorithm(), signer.kid()), (usual, text("thumbprint")));
        verifies(&signer);
        let mut named = entry["jwk"].clone();
        named["kid"] = "named".into();
        assert_eq!(Signer::from_jwk(&named, None).unwrap().kid(), "named");
    }
}

#[test]
fn an_algorithm_that_does_not_fit_is_refused() {
    let keys = private_keys();
    let find = |alg: &str| {
        let found = keys.as_array().unwrap().iter().find(|entry| entry["alg"] == alg);
        found.unwrap().clone()
    };
    let rsa = find("RS256");
    let pem = rsa["pkcs8"].as_str().unwrap().as_bytes();
    let signer = Signer::from_pem(pem, Some(Algorithm::PS384)).unwrap();
    assert_eq!(signer.algorithm(), Algorithm::PS384);
    verifies(&signer);
    for wrong in [Algorithm::ES256, Algorithm::HS256, Algorithm::EdDSA] {
        let error = PrivateKeyError::Algorithm(wrong);
        assert_eq!(Signer::from_pem(pem, Some(wrong)).unwrap_err(), error);
        assert_eq!(Signer::from_jwk(&rsa["jwk"], Some(wrong)).unwrap_err(), error);
    }
    let mut named = rsa["jwk"].clone();
    named["alg"] = "PS256".into();
    assert_eq!(Signer::from_jwk(&named, None).unwrap().algorithm(), Algorithm::PS256);
    let error = Signer::from_jwk(&named, Some(Algorithm::RS256)).unwrap_err();
    assert_eq!(error, PrivateKeyError::Algorithm(Algorithm::RS256));
}

#[test]
fn what_is_no_private_key_says_why() {
    use PrivateKeyError::{Encrypted, Malformed, NoPrivateKey, Unusable};
    let pem = |label: &str, body: &str| {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    };
    for (file, error) in [
        (String::new(), NoPrivateKey),
        (pem("PUBLIC KEY", "AAAA"), NoPrivateKey),
        (pem("PRIVATE KEY", "AAAA"), Malformed),
        (pem("EC PRIVATE KEY", "AAAA"), Malformed),
        (pem("RSA PRIVATE KEY", "AAAA"), Malformed),
        (pem("ENCRYPTED PRIVATE KEY", "AAAA"), Encrypted),
        (pem("PRIVATE KEY", "*"), Malformed),
    ] {
        assert_eq!(Signer::from_pem(file.as_bytes(), None).unwrap_err(), error, "{file}");
    }
    let keys = private_keys();
    for entry in keys.as_array().unwrap() {
        let changed = |name: &str, value: Value| {
            let mut jwk = entry["jwk"].clone();
            jwk[name] = value;
            Signer::from_jwk(&jwk, None).map(|_| ()).unwrap_err()
        };
        assert_eq!(changed("d", Value::Null), NoPrivateKey);
        assert_eq!(changed("d", json!("*")), Malformed);
        assert_eq!(changed("kty", json!("AKP")), Unusable(SkipReason::Unsupported));
        assert_eq!(changed("alg", json!("RSA-OAEP")), Unusable(SkipReason::Unsupported));
        if entry["jwk"]["kty"] != "RSA" {
            assert_eq!(changed("crv", json!("X448")), Unusable(SkipReason::Unsupported));
            assert_eq!(changed("x", keys[0]["jwk"]["n"].clone()), Malformed);
        }
    }
}

#[test]
fn a_secret_signs_with_the_algorithms_it_is_long_enough_for() {
    let secret = b"nT8x!0qLr7#vZp2$Kd9@Wm4^Bf6&Hc1*Gy3(Js5)Xa+Ue=Qo-Ri_Pl~Yk|Mj:End";
    for (algorithm, asked) in [
        (Algorithm::HS256, None),
        (Algorithm::HS256, Some(Algorithm::HS256)),
        (Algorithm::HS384, Some(Algorithm::HS384)),
        (Algorithm::HS512, Some(Algorithm::HS512)),
    ] {
        let signer = SecretSigner::new(secret, asked).unwrap();
        assert_eq!(signer.algorithm(), algorithm);
        let token = signer.sign(&members(json!({"x": 1})), &Map::new()).unwrap();
        assert_eq!(header(&token), json!({"alg": algorithm.as_str(), "typ": "JWT", "x": 1}));
        let (message, signature) = parts(&token);
        let key = from_secret(secret).unwrap();
        assert!(key.verify(algorithm, message.as_bytes(), &signature));
        assert!(!format!("{signer:?}").contains("nT8x"));
    }
    let error = |secret: &[u8], asked| SecretSigner::new(secret, asked).unwrap_err();
    assert_eq!(error(b"short", None), PrivateKeyError::WeakSecret(WeakSecret::TooShort));
    let (short, rsa) = (&secret[..40], Some(Algorithm::RS256));
    assert_eq!(error(short, rsa), PrivateKeyError::Algorithm(Algorithm::RS256));
    let hs384 = Some(Algorithm::HS384);
    assert_eq!(error(short, hs384), PrivateKeyError::Algorithm(Algorithm::HS384));
}

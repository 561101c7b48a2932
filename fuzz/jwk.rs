//! One key of an issuer's set: what is taken is for signatures, for the algorithm it says, and
//! verifies what its owner signed and nothing else.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis::keys::jwk::parse;
use portcullis::keys::signing::Signer;
use portcullis::keys::{Algorithm, Key};
use serde_json::{Map, Value, json};

use super::pen;

/// A key, a text that it signed, and the signature.
static SIGNED: LazyLock<(Signer, String, Vec<u8>)> = LazyLock::new(|| {
    let signer = Signer::generate().expect("randomness");
    let claims = json!({ "sub": "ada" }).as_object().cloned().expect("an object");
    let token = signer.sign(&Map::new(), &claims).expect("signed");
    let (text, signature) = token.rsplit_once('.').expect("three parts");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    (signer, text.to_owned(), signature)
});

const OTHERS: &[&str] = &[
    r#""kty":"EC""#,
    r#""kty":"RSA""#,
    r#""kty":"OKP""#,
    r#""kty":"oct""#,
    r#""kty":7"#,
    r#""crv":"P-256""#,
    r#""crv":"P-384""#,
    r#""crv":"Ed25519""#,
    r#""alg":"ES256""#,
    r#""alg":"ES384""#,
    r#""alg":"HS256""#,
    r#""alg":"none""#,
    r#""alg":null"#,
    r#""use":"enc""#,
    r#""use":"sig""#,
    r#""key_ops":["verify"]"#,
    r#""key_ops":["sign"]"#,
    r#""key_ops":"verify""#,
    r#""d":"AQAB""#,
    r#""k":"c2VjcmV0""#,
    r#""kid":"""#,
    r#""kid":"other""#,
    r#""kid":["a"]"#,
    r#""x":"AAAA""#,
    r#""x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#,
    r#""y":"""#,
    r#""n":"AQAB","e":"AQAB""#,
    r#""e":"AQ""#,
];

pub(crate) fn check(data: &[u8]) {
    if let Ok(jwk) = serde_json::from_str::<Value>(&text(data)) {
        examine(&jwk);
    }
    if let Ok(jwk) = serde_json::from_slice::<Value>(data) {
        examine(&jwk);
    }
}

/// The key, nearly.
pub(crate) fn text(data: &[u8]) -> String {
    let members = SIGNED.0.jwk().as_object().expect("a JWK");
    let base: Vec<String> = members.iter().map(|(n, v)| format!("{n:?}:{v}")).collect();
    pen::object(data, &base.iter().map(String::as_str).collect::<Vec<_>>(), OTHERS)
}

fn examine(jwk: &Value) {
    let Ok(key) = parse(jwk) else { return };
    assert!(!matches!(jwk["kty"].as_str(), None | Some("oct")), "{jwk}");
    assert!(jwk.get("d").is_none(), "{jwk}");
    assert_ne!(jwk["use"], "enc", "{jwk}");
    assert_eq!(key.kid(), jwk["kid"].as_str(), "{jwk}");
    // Some issuers write `null` for what they leave out.
    if let Some(alg) = jwk.get("alg").filter(|alg| !alg.is_null()) {
        let names: Vec<_> = key.algorithms().map(|one| one.to_string()).collect();
        assert_eq!(names, [alg.as_str().expect("a name")], "{jwk}");
    }
    let printed: Value = serde_json::from_str(&jwk.to_string()).expect("JSON");
    let again = parse(&printed).expect("the same key");
    assert_eq!(again.thumbprint(), key.thumbprint());
    ask(&key);
}

/// Only the owner's own signature is good, and only over what was signed.
pub(crate) fn ask(key: &Key) {
    assert!(key.algorithms().count() > 0, "a key for nothing");
    let (signer, text, signature) = &*SIGNED;
    let owners = key.thumbprint() == Some(signer.kid()) && key.allows(Algorithm::ES256);
    assert_eq!(key.verify(Algorithm::ES256, text.as_bytes(), signature), owners);
    for algorithm in key.algorithms() {
        assert!(key.allows(algorithm) && algorithm != Algorithm::HS256);
        assert!(!key.verify(algorithm, b"another text", signature));
        assert!(!key.verify(algorithm, text.as_bytes(), b"no signature"));
    }
}

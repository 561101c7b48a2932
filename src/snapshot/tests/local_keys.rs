//! Keys in the configuration and in files: what is told while loading.

use std::fs;

use serde_json::json;

use super::Workshop;
use crate::keys::signing::{Signer, jwks};

fn text(source: &str) -> String {
    format!(
        r#"
        [listener.main]
        address = "127.0.0.1:8080"
        [issuer.main]
        url = "https://id.example.com/"
        audience = ["a"]
        {source}
        [[route]]
        path = "/*"
        upstream = "http://127.0.0.1:8000"
        "#
    )
}

#[test]
fn a_set_may_stand_in_the_configuration() {
    let workshop = Workshop::new();
    let signer = Signer::generate().unwrap();
    let inline = |set: &str| text(&format!("jwks = '{set}'"));
    let good = inline(&jwks([&signer]).to_string());
    let compiled = workshop.compile(&good, None);
    assert!(compiled.warnings.is_empty());
    let shown = compiled.snapshot.issuers_json();
    assert_eq!(shown[0]["state"], "fixed");
    assert_eq!(shown[0]["source"], json!({ "kind": "jwks" }));
    assert_eq!(shown[0]["keys"][0]["kid"], signer.kid());

    for (set, hint) in [
        ("{", "a JSON object with an array `keys`"),
        ("[]", "a JSON object with an array `keys`"),
        ("{\"keys\": {}}", "a JSON object with an array `keys`"),
        ("{\"keys\": []}", "it holds no keys at all"),
        ("{\"keys\": [1]}", "not used: keys[0] (malformed)"),
        ("{\"keys\": [{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}]}", "not used: keys[0] (symmetric)"),
    ] {
        let errors = workshop.try_compile(&inline(set), None).unwrap_err().render(false);
        assert!(errors.contains("^^"), "no caret: {errors}");
        assert!(errors.contains(hint), "{errors}");
    }
}

#[test]
fn keys_that_are_not_used_are_named() {
    let workshop = Workshop::new();
    let signer = Signer::generate().unwrap();
    let mut private = signer.jwk().clone();
    private["d"] = json!("secret");
    private["kid"] = json!("published");
    let mut keys = vec![signer.jwk().clone(), private, json!({ "kty": "AKP", "kid": "later" })];
    let set = |keys: &[serde_json::Value]| json!({ "keys": keys }).to_string();
    fs::write(workshop.path().join("keys.json"), set(&keys)).unwrap();
    let file = text("jwks_file = \"keys.json\"");
    let expected = "not used: keys[1] (private), keys[2] (unsupported)";
    assert_eq!(workshop.warnings(&file), [expected]);
    let shown = workshop.compile(&file, None).snapshot.issuers_json();
    let source = json!({ "kind": "jwks_file", "at": "keys.json" });
    assert_eq!(shown[0]["source"], source);
    assert_eq!(shown[0]["state"], "fresh");
    assert_eq!(
        shown[0]["skipped"],
        json!([
            { "index": 1, "kid": "published", "reason": "private" },
            { "index": 2, "kid": "later", "reason": "unsupported" },
        ])
    );
    assert!(!shown.to_string().contains("secret"));

    keys.extend((0..9).map(|_| json!({})));
    assert_eq!(
        workshop.warnings(&text(&format!("jwks = '{}'", set(&keys)))),
        ["not used: keys[1] (private), keys[2] (unsupported), keys[3] (malformed), \
          keys[4] (malformed), keys[5] (malformed), 6 more"]
    );

    fs::write(workshop.path().join("keys.json"), set(&keys[1..])).unwrap();
    assert_eq!(workshop.errors(&file), ["no key here may be used"]);
    fs::write(workshop.path().join("keys.json"), "<html>").unwrap();
    assert_eq!(workshop.errors(&file), ["not a JSON Web Key Set"]);
    fs::write(workshop.path().join("keys.json"), vec![b' '; 600_000]).unwrap();
    assert_eq!(workshop.errors(&file), ["larger than 512 KiB"]);
    fs::remove_file(workshop.path().join("keys.json")).unwrap();
    assert!(workshop.errors(&file)[0].contains("can't read"));
}

#[test]
fn pem_files_are_good_at_once() {
    let workshop = Workshop::new();
    for name in ["old.pem", "new.pem"] {
        let pem = rcgen::KeyPair::generate().unwrap().public_key_pem();
        fs::write(workshop.path().join(name), pem).unwrap();
    }
    let both = text("public_key = [\"old.pem\", \"new.pem\"]");
    let compiled = workshop.compile(&both, None);
    let shown = compiled.snapshot.issuers_json();
    assert_eq!(shown[0]["usable"], true);
    assert_eq!(shown[0]["keys"].as_array().unwrap().len(), 2);
    assert_eq!(shown[0]["source"], json!({ "kind": "public_key", "at": ["old.pem", "new.pem"] }));
}

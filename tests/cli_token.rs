//! `portcullis token`: what the verbs print, and how they end.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis::keys::Algorithm;
use portcullis::keys::signing::Signer;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::support::issuer::Issuer;
use crate::support::program::{Told, told, told_with_input};
use crate::support::token::{claims, ec, now, rsa, tampered};

const SECRET: &str = "q3Zt7Hn0sVb5Xw1Lr8Jk4Pd6Gf2MyCeA";

fn folder(files: &[(&str, String)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn configuration(issuer: &str) -> String {
    format!(
        "[listener.main]\naddress = \"127.0.0.1:0\"\n{issuer}\n\
         [[route]]\npath = \"/*\"\nupstream = \"http://127.0.0.1:9\"\nissuers = \"all\"\n"
    )
}

/// `{"kid":"a"}` and such, for a pretty JWS header.
fn members(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

// === verify --jws ===

/// A token over any payload, and the key file that verifies it.
fn jws(algorithm: Algorithm) -> (String, Value) {
    let signer = Signer::generate_for(algorithm).unwrap();
    let token = signer.sign(&Map::new(), &members(json!({"any": "claims"}))).unwrap();
    (token, signer.jwk().clone())
}

fn verify_jws(key: &Value, token: &str) -> Told {
    let folder = folder(&[("key.json", key.to_string())]);
    told(folder.path(), &["token", "verify", "--jws", "--key", "key.json", token])
}

#[track_caller]
fn accepted(key: &Value, token: &str) {
    let told = verify_jws(key, token).expect(0);
    assert!(told.stdout.contains("token      ok"), "{}", told.stdout);
}

#[track_caller]
fn refused(key: &Value, token: &str, reason: &str) {
    let told = verify_jws(key, token).expect(1);
    assert!(told.stdout.contains("token      refused: "), "{}", told.stdout);
    assert!(told.stdout.contains(reason), "not {reason}: {}", told.stdout);
}

fn hs(bytes: &[u8], members: Value) -> Value {
    let mut jwk = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(bytes) });
    jwk.as_object_mut().unwrap().extend(members.as_object().cloned().unwrap());
    jwk
}

/// HS256 over these very bytes.
fn seal(header: &str, payload: &[u8], secret: &[u8]) -> String {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let message = format!("{}.{}", part(header.as_bytes()), part(payload));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    let tag = aws_lc_rs::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", part(tag.as_ref()))
}

#[test]
fn a_jws_of_every_algorithm_verifies_with_its_jwk_alone() {
    for algorithm in Algorithm::ALL.iter().copied().filter(|one| !one.is_symmetric()) {
        let (token, jwk) = jws(algorithm);
        accepted(&jwk, &token);
        accepted(&json!({ "keys": [jwk] }), &token);
        refused(&jwk, &tampered(&token), "bad_signature");
    }
    // A payload of any bytes, an expired nothing, no `typ` that anybody expects.
    let zeros = [0; 32];
    let token = seal(r#"{"alg":"HS256","typ":"nonsense"}"#, b"\xff\x00not JSON", &zeros);
    accepted(&hs(&zeros, json!({})), &token);
    accepted(&hs(&zeros, json!({"alg": "HS256", "use": "sig", "key_ops": ["verify"]})), &token);
}

#[test]
fn a_jws_is_refused_for_its_structure_and_header() {
    let secret = [9; 32];
    let key = hs(&secret, json!({"kid": "a"}));
    let good = seal(r#"{"alg":"HS256"}"#, b"x", &secret);
    accepted(&key, &good);
    let (head, _) = good.rsplit_once('.').unwrap();
    for (token, reason) in [
        (String::new(), "not_three_parts"),
        ("a.b".to_owned(), "not_three_parts"),
        (format!("{good}.x.y"), "jwe"),
        (format!("{good}="), "signature_not_base64"),
        (format!("{head}. {}", good.rsplit('.').next().unwrap()), "signature_not_base64"),
        (format!(" {good}"), "header_not_base64"),
        (format!("{head}."), "bad_signature"),
        (format!("{{\"payload\":\"{good}\"}}"), "header_not_base64"),
        (seal(r#"{"alg":"none"}"#, b"x", &secret), "alg_none"),
        (seal(r#"{"alg":"HS1"}"#, b"x", &secret), "alg_unknown"),
        (seal(r#"{"alg":"HS384"}"#, b"x", &secret), "no_key_fits"),
        (seal(r#"{"alg":"HS256","kid":"b"}"#, b"x", &secret), "kid_unknown"),
        (seal(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, b"x", &secret), "crit_in_header"),
        (seal(r#"{"alg":"HS256","jwk":{}}"#, b"x", &secret), "key_in_header"),
        (seal(r#"{"alg":"HS256","alg":"HS256"}"#, b"x", &secret), "header_duplicate_name"),
    ] {
        refused(&key, &token, reason);
    }
}

#[test]
fn a_jws_is_refused_for_its_key() {
    let (token, jwk) = jws(Algorithm::ES256);
    let with = |name: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        jwk
    };
    accepted(&with("alg", Value::Null), &token);
    accepted(&with("kid", Value::Null), &token);
    accepted(&with("d", json!("AQAB")), &token);
    for (key, reason) in [
        (with("use", json!("enc")), "wrong_use"),
        (with("key_ops", json!(["encrypt"])), "wrong_use"),
        (with("alg", json!("ES224")), "unsupported"),
        (with("alg", json!("ES384")), "malformed"),
        (with("crv", json!("P-384")), "malformed"),
        (with("kty", json!("RSA")), "malformed"),
        (with("kid", json!("another")), "kid_unknown"),
        (with("y", jwk["x"].clone()), "malformed"),
        (json!({ "keys": [] }), "no usable key"),
        (json!({ "keys": [jwk, hs(&[1; 32], json!({}))] }), "mixes secrets and public keys"),
        (json!({ "keys": [jwk, { "kty": "AKP", "kid": "new" }] }), "ok"),
    ] {
        match reason {
            "ok" => accepted(&key, &token),
            reason => refused(&key, &token, reason),
        }
    }
    let token = seal(r#"{"alg":"HS256","kid":"a"}"#, b"x", &[1; 32]);
    let kid = || json!({"kid": "a"});
    let twice = json!({ "keys": [hs(&[1; 32], kid()), hs(&[2; 32], kid())] });
    refused(&twice, &token, "duplicate_kid");
    for (bytes, alg) in [(31, "HS256"), (0, "HS256"), (47, "HS384"), (63, "HS512")] {
        refused(&hs(&vec![1; bytes], json!({ "alg": alg })), &token, "weak");
    }
    refused(&hs(&[1; 32], json!({"alg": "A256GCM", "kid": "a"})), &token, "unsupported");
}

#[test]
fn a_jws_comes_from_standard_input_and_keys_from_pem_too() {
    let (token, jwk) = jws(Algorithm::EdDSA);
    let folder = folder(&[("key.json", jwk.to_string())]);
    let arguments = ["token", "verify", "--jws", "--key", "key.json", "-"];
    told_with_input(folder.path(), &arguments, &format!("{token}\n")).expect(0);
    told_with_input(folder.path(), &arguments, &format!("{token} \n")).expect(1);
    for wrong in [
        &["token", "verify", "--jws", &token][..],
        &["token", "verify", "--key", "key.json", &token],
        &["token", "verify", "--jws", "--key", "no-such-file", &token],
        &["token", "verify", "--jws", "--key", "key.json"],
        &["token", "verify", "--jws", "--key", "key.json", "--issuer", "a", &token],
        &["token"],
    ] {
        told(folder.path(), wrong).expect(2);
    }
    for text in ["", "[]", "hello", "{\"keys\":{}}", "-----BEGIN PUBLIC KEY-----\nAAAA"] {
        fs::write(folder.path().join("key.json"), text).unwrap();
        told(folder.path(), &arguments[..5]).expect(2);
        told(folder.path(), &["token", "verify", "--jws", "--key", "key.json", &token]).expect(2);
    }
    let pem = private_keys().last().unwrap()["pkcs8"].as_str().unwrap().to_owned();
    fs::write(folder.path().join("private.pem"), pem).unwrap();
    told(folder.path(), &["token", "verify", "--jws", "--key", "private.pem", &token]).expect(2);
}

// === sign and jwks ===

/// One private key of each kind.
fn private_keys() -> Vec<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/keys/tests/private_keys.json");
    serde_json::from_str::<Value>(&fs::read_to_string(file).unwrap())
        .unwrap()
        .as_array()
        .unwrap()
        .clone()
}

fn payload(token: &str) -> Value {
    let payload = URL_SAFE_NO_PAD.decode(token.trim().split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

#[test]
fn what_sign_signs_verifies_with_what_jwks_prints() {
    for entry in private_keys() {
        let pem = entry["pkcs8"].as_str().unwrap().to_owned();
        let folder = folder(&[("key.pem", pem), ("key.json", entry["jwk"].to_string())]);
        let jwks = told(folder.path(), &["token", "jwks", "key.pem"]).expect(0).stdout;
        assert!(!jwks.contains("\"d\""), "{jwks}");
        let set: Value = serde_json::from_str(&jwks).unwrap();
        assert_eq!(set["keys"][0]["kid"], entry["thumbprint"]);
        assert_eq!(set["keys"].as_array().unwrap().len(), 1);
        fs::write(folder.path().join("jwks.json"), jwks).unwrap();
        for key in ["key.pem", "key.json"] {
            let sign = ["token", "sign", "--key", key, "--claim", "sub=ada"];
            let token = told(folder.path(), &sign).expect(0).stdout;
            let verify = ["token", "verify", "--jws", "--key", "jwks.json", token.trim()];
            let told = told(folder.path(), &verify).expect(0);
            assert!(told.stdout.contains(entry["alg"].as_str().unwrap()), "{}", told.stdout);
        }
    }
}

#[test]
fn sign_writes_what_it_is_told_to() {
    let folder = folder(&[("secret", format!("{SECRET}\n"))]);
    let before = now();
    let arguments = [
        "token",
        "sign",
        "--secret-file",
        "secret",
        "--claims",
        r#"{"iss":"https://a/","n":1}"#,
        "--claim",
        "n=2",
        "--claim",
        "sub=ada",
        "--claim",
        "text=\"5\"",
        "--claim",
        r#"aud=["a","b"]"#,
        "--claim",
        "empty=",
        "--expires",
        "2h",
        "--kid",
        "k",
        "--typ",
        "at+jwt",
    ];
    let token = told(folder.path(), &arguments).expect(0).stdout;
    let mut claims = payload(&token);
    let times: Vec<i64> = ["iat", "exp"]
        .iter()
        .map(|name| claims.as_object_mut().unwrap().remove(*name).unwrap().as_i64().unwrap())
        .collect();
    assert!((before..=now()).contains(&times[0]));
    assert_eq!(times[1], times[0] + 7200);
    assert_eq!(
        claims,
        json!({"iss": "https://a/", "n": 2, "sub": "ada", "text": "5", "aud": ["a", "b"], "empty": ""})
    );
    let key = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "kid": "k"});
    let told_of = verify_jws(&key, token.trim()).expect(0);
    assert!(told_of.stdout.contains("typ \"at+jwt\""), "{}", told_of.stdout);
    let fixed =
        ["token", "sign", "--secret-file", "secret", "--claim", "exp=17", "--claim", "iat=5"];
    let token = told(folder.path(), &fixed).expect(0).stdout;
    assert_eq!(payload(&token), json!({"iat": 5, "exp": 17}));

    for (arguments, says) in [
        (&["--secret-file", "secret", "--alg", "HS512"][..], "cannot sign with HS512"),
        (&["--secret-file", "secret", "--alg", "hs256"], "unknown algorithm"),
        (&["--secret-file", "none"], "can't read"),
        (&["--key", "secret"], "no private key"),
        (&["--secret-file", "secret", "--claim", "x"], "name=value"),
        (&["--secret-file", "secret", "--claims", "[]"], "not a JSON object"),
        (&["--secret-file", "secret", "--expires", "soon"], "--expires"),
        (&[], "--key"),
    ] {
        let whole = [&["token", "sign"], arguments].concat();
        let told = told(folder.path(), &whole).expect(2);
        assert!(told.stderr.contains(says), "{whole:?}: {}", told.stderr);
        assert!(!told.stderr.contains(SECRET));
    }
}

#[test]
fn jwks_prints_public_keys_and_says_which_file_is_wrong() {
    let keys = private_keys();
    let pem = |at: usize| keys[at]["pkcs8"].as_str().unwrap().to_owned();
    let both = folder(&[("a.pem", pem(0)), ("b.pem", pem(1)), ("c.pem", "hello".to_owned())]);
    let told_of = told(both.path(), &["token", "jwks", "a.pem", "b.pem", "a.pem"]).expect(0);
    let set: Value = serde_json::from_str(&told_of.stdout).unwrap();
    let shown: Vec<_> =
        set["keys"].as_array().unwrap().iter().map(|key| (&key["kid"], &key["alg"])).collect();
    let [first, second] = [&keys[0]["thumbprint"], &keys[1]["thumbprint"]];
    assert_eq!(shown, [(first, &Value::Null), (second, &json!("ES256"))]);
    let wrong = told(both.path(), &["token", "jwks", "a.pem", "c.pem"]).expect(2);
    assert!(wrong.stderr.contains("c.pem: no public key"), "{}", wrong.stderr);
    assert_eq!(wrong.stdout, "");
    told(both.path(), &["token", "jwks"]).expect(2);
}

// === verify with the configuration ===

#[test]
fn verify_gives_the_verdict_of_requests() {
    let issuer = "[issuer.main]\nurl = \"https://id.example.com/\"\naudience = [\"api\"]\n\
                  secret = \"${KEY:-q3Zt7Hn0sVb5Xw1Lr8Jk4Pd6Gf2MyCeA}\"\nmax_lifetime = \"1h\"\n";
    let folder = folder(&[("gateway.toml", configuration(issuer)), ("secret", SECRET.to_owned())]);
    let token = |more: &[&str]| {
        let usual = [
            "token",
            "sign",
            "--secret-file",
            "secret",
            "--claim",
            "iss=https://id.example.com/",
            "--claim",
            "aud=api",
            "--claim",
            "sub=ada",
        ];
        told(folder.path(), &[&usual, more].concat()).expect(0).stdout.trim().to_owned()
    };
    let good = token(&[]);
    let told_of = told(folder.path(), &["token", "verify", &good]).expect(0);
    for line in
        ["  size ", "  signature ", "  lifetime ", "  identity ", "token      ok (issuer main)"]
    {
        assert!(told_of.stdout.contains(line), "{line}: {}", told_of.stdout);
    }
    let input = ["token", "verify", "--issuer", "main", "-"];
    told_with_input(folder.path(), &input, &format!(" {good}\n")).expect(0);
    for (token, reason) in [
        (tampered(&good), "bad_signature (bad_signature)"),
        (token(&["--claim", "exp=17"]), "token_expired (expired)"),
        (token(&["--expires", "2h"]), "claim_refused (lifetime_too_long)"),
        (token(&["--claim", "aud=web"]), "audience_mismatch (aud_not_allowed)"),
        (token(&["--claim", "iss=https://other/"]), "unknown_issuer (iss_unknown)"),
        ("x".to_owned(), "token_malformed (not_three_parts)"),
    ] {
        let told = told(folder.path(), &["token", "verify", &token]).expect(1);
        let line = format!("token      refused: {reason}\n");
        assert!(told.stdout.ends_with(&line), "{reason}: {}", told.stdout);
    }
    told(folder.path(), &["token", "verify", "--issuer", "nobody", &good]).expect(2);
    told(folder.path(), &["-c", "none.toml", "token", "verify", &good]).expect(2);
}

#[test]
fn verify_reads_key_files_and_fetches_only_when_told_to() {
    let live = Issuer::start(&[rsa()]);
    let jwks = json!({ "keys": [ec().jwk()] });
    let issuers = format!(
        "[issuer.file]\nurl = \"https://file.example.com/\"\naudience = [\"api\"]\njwks_file = \"jwks.json\"\n\
         [issuer.live]\nurl = \"{}\"\naudience = [\"api\"]\n",
        live.url()
    );
    let folder =
        folder(&[("gateway.toml", configuration(&issuers)), ("jwks.json", jwks.to_string())]);
    let of_file = ec().sign(&claims("https://file.example.com/", "ada"));
    told(folder.path(), &["token", "verify", "--issuer", "file", &of_file]).expect(0);
    told(folder.path(), &["token", "verify", &of_file]).expect(0);
    let of_live = rsa().sign(&claims(&live.url(), "ada"));
    let told_of = told(folder.path(), &["token", "verify", &of_live]).expect(1);
    assert!(told_of.stdout.contains("refused: keys_unavailable"), "{}", told_of.stdout);
    assert!(told_of.stderr.contains("keys of `live`"), "{}", told_of.stderr);
    assert_eq!(live.requests(), 0);
    told(folder.path(), &["token", "verify", "--fetch", &of_live]).expect(0);
    assert!(live.requests() > 0);

    // `explain` knows the file's keys, and asks nobody.
    let asked = live.requests();
    let explain = |token: &str| {
        told(folder.path(), &["explain", "GET", "http://localhost/x", "--token", token]).expect(0)
    };
    let told_of = explain(&of_file);
    assert!(told_of.stdout.contains("token      ok (issuer file)"), "{}", told_of.stdout);
    let told_of = explain(&of_live);
    assert!(told_of.stdout.contains("token      undecided"), "{}", told_of.stdout);
    assert!(told_of.stdout.contains("live: refused: keys_unavailable"), "{}", told_of.stdout);
    assert_eq!(live.requests(), asked);
}

// === inspect ===

#[test]
fn inspect_explains_every_member_and_believes_none() {
    let folder = folder(&[]);
    let token = seal(
        r#"{"alg":"HS256","kid":"k\u0007","typ":"at+jwt","x5t":"a"}"#,
        br#"{"iss":"https://a/","exp":1700000000,"iat":1699999700,"nbf":"x","weird\n":[1],"role":"r"}"#,
        b"whatever",
    );
    let told_of = told(folder.path(), &["token", "inspect", &token]).expect(0);
    for line in [
        "  alg          \"HS256\"\n                 HMAC with SHA-256: who verifies could sign, too\n",
        "  exp          1700000000\n                 ended Tue, 14 Nov 2023 22:13:20 GMT, ",
        "lives 5 min\n",
        "  nbf          \"x\"\n                 not a number: refused\n",
        "  weird\\n      [1]\n  role         \"r\"\nsignature\n  32 bytes, not verified\n",
    ] {
        assert!(told_of.stdout.contains(line), "{line:?}: {}", told_of.stdout);
    }
    assert!(!told_of.stdout.contains('\u{7}') && !told_of.stdout.contains("refused by every"));
    let unsigned = seal(r#"{"alg":"none"}"#, b"{}", b"");
    let told_of =
        told_with_input(folder.path(), &["token", "inspect", "-"], &format!("{unsigned}\n"));
    assert!(told_of.stdout.contains("refused by every gateway: algorithm_not_allowed (alg_none)"));
    for (token, reason) in [
        ("a.b.c.d.e", "token_unsupported (jwe)"),
        ("x", "token_malformed (not_three_parts)"),
        ("e30.e30=.x", "token_malformed (claims_not_base64)"),
        ("e30.W10.AA", "token_malformed (claims_not_object)"),
    ] {
        let told = told(folder.path(), &["token", "inspect", token]).expect(1);
        assert!(told.stderr.contains(reason), "{token}: {}", told.stderr);
    }
}

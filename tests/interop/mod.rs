//! Tokens and public keys that other implementations wrote: PyJWT, joserfc and jwcrypto from PyPI,
//! each with every signature algorithm it has.
//!
//! (jose and oidc-provider from npm are in `tests/peers`.)

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use portcullis::auth::{
    Audience, ExpectedIss, Issuer, IssuerSet, IssuerSettings, Lookup, Refusal, explain,
};
use portcullis::clock::Clock;
use portcullis::keys::jwks::parse_set;
use portcullis::keys::{Algorithm, Key, KeySet, from_secret};
use serde_json::{Value, json};

use crate::support::stack;
use crate::support::token::{ISSUER, claims};

/// What `mint.py` prints.
fn minted() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    let python = stack::environment(&folder.join("requirements.txt")).join("bin/python");
    let mut command = Command::new(python);
    command.args(["-W", "ignore"]).arg(folder.join("mint.py"));
    command.arg(claims(ISSUER, "ada").to_string());
    serde_json::from_str(&stack::run(&mut command)).unwrap()
}

/// The keys of an entry that may be used: none for what we do not know.
fn keys(entry: &Value) -> Vec<Key> {
    match entry["secret"].as_str() {
        Some(secret) => vec![from_secret(secret.as_bytes()).unwrap()],
        None => parse_set(json!({ "keys": [entry["jwk"]] }).to_string().as_bytes()).unwrap().keys,
    }
}

/// An issuer that takes every algorithm of its keys' family.
fn issuer(entry: &Value) -> Arc<IssuerSet> {
    let symmetric = entry["secret"].is_string();
    let url = ExpectedIss::Url(ISSUER.to_owned());
    let mut settings = IssuerSettings::new("main", url, Audience::OneOf(vec!["api".to_owned()]));
    settings.algorithms =
        Algorithm::ALL.iter().copied().filter(|one| one.is_symmetric() == symmetric).collect();
    IssuerSet::new(vec![Issuer::new(settings, KeySet::fixed(keys(entry)))]).unwrap()
}

fn verdict(set: &IssuerSet, token: &str) -> Result<String, Refusal> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let clock = Clock::system();
    let (_, verdict) = runtime.block_on(explain(set, token, Lookup::Known, &clock));
    verdict.map(|principal| principal.subject().unwrap().to_owned())
}

/// One letter of the token replaced by another of the alphabet.
fn altered(token: &str, place: usize) -> String {
    let mut bytes = token.as_bytes().to_vec();
    bytes[place] = if bytes[place] == b'A' { b'Q' } else { b'A' };
    String::from_utf8(bytes).unwrap()
}

#[test]
fn tokens_of_python_libraries_verify_for_every_algorithm() {
    let mut accepted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut unknown = Vec::new();
    let mut alterations = 0;
    for entry in minted() {
        let text = |name: &str| entry[name].as_str().unwrap().to_owned();
        let (library, alg, token) = (text("library"), text("alg"), text("token"));
        let name = format!("{library} {alg}");
        let set = issuer(&entry);
        let curve = entry["jwk"]["crv"].as_str().unwrap_or_default();
        if curve == "Ed448" || alg.starts_with("ML-DSA") {
            assert!(keys(&entry).is_empty(), "{name}");
            verdict(&set, &token).expect_err(&name);
            unknown.push(format!("{name} {curve}").trim_end().to_owned());
            continue;
        }
        assert_eq!(verdict(&set, &token).as_deref(), Ok("ada"), "{name}");
        for place in (0..token.len()).step_by(5).filter(|place| token.as_bytes()[*place] != b'.') {
            verdict(&set, &altered(&token, place)).expect_err(&name);
            alterations += 1;
        }
        accepted.entry(library).or_default().push(alg);
    }
    for (library, algorithms) in &mut accepted {
        algorithms.sort_unstable();
        println!("{library:9} {:2}: {}", algorithms.len(), algorithms.join(" "));
    }
    println!("not ours: {}; {alterations} altered letters refused", unknown.join(", "));
    // Every algorithm of ours, of every library.
    for library in ["PyJWT", "joserfc", "jwcrypto"] {
        for algorithm in Algorithm::ALL {
            let known = &accepted[library];
            assert!(known.iter().any(|one| one == algorithm.as_str()), "{library} {algorithm}");
        }
    }
    // RFC 9864's name of EdDSA.
    assert!(accepted["joserfc"].iter().any(|one| one == "Ed25519"));
    assert!(alterations > 2000, "{alterations}");
}

#[test]
fn a_token_of_secp256k1_counts_only_where_the_algorithm_is_named() {
    let entries = minted();
    let entry = entries.iter().find(|entry| entry["alg"] == "ES256K").unwrap();
    let url = ExpectedIss::Url(ISSUER.to_owned());
    let mut settings = IssuerSettings::new("main", url, Audience::Any);
    let set = |settings: &IssuerSettings| {
        let issuer = Issuer::new(settings.clone(), KeySet::fixed(keys(entry)));
        IssuerSet::new(vec![issuer]).unwrap()
    };
    let token = entry["token"].as_str().unwrap();
    assert_eq!(verdict(&set(&settings), token).unwrap_err().detail(), "alg_not_allowed");
    settings.algorithms = vec![Algorithm::ES256K];
    assert!(verdict(&set(&settings), token).is_ok());
}

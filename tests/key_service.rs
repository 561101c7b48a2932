//! Keys that outlive a restart, and key files that change, seen through a whole gateway.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::json;

use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::issuer::{Issuer, Mood};
use crate::support::process::Process;
use crate::support::token::{self, Signer};
use crate::support::upstream::Upstream;
use crate::support::{Response, eventually};

/// One issuer with these settings, one route that asks for its tokens, and a folder of state.
fn configuration(iss: &str, upstream: &Upstream, settings: &str, state: &Path) -> String {
    format!(
        r#"
        [listener.main]
        address = "127.0.0.1:0"
        [issuer.main]
        url = "{iss}"
        audience = ["api"]
        {settings}
        [[route]]
        path = "/*"
        upstream = "{}"
        [server]
        # One client sends a bad token for each good one; the guard has tests of its own.
        bad_tokens = "off"
        state_dir = "{}"
        "#,
        upstream.url(),
        state.display(),
    )
}

fn ask(client: &mut Client, token: &str) -> Response {
    client.get("/x", &format!("Authorization: Bearer {token}\r\n"))
}

fn issuers(gateway: &Gateway) -> serde_json::Value {
    gateway.admin("/issuers").expect(200).json()[0].clone()
}

/// The one file in a folder, once it is there.
fn kept(state: &Path) -> std::path::PathBuf {
    eventually("the keys are written", || {
        let entries = fs::read_dir(state).ok()?;
        let names = entries.map(|entry| entry.unwrap().path());
        names.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "json"))
    })
}

#[test]
fn j31_a_restart_while_the_issuer_is_down_refuses_no_good_token() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let upstream = Upstream::saying("reached");
    let issuer = Issuer::start(&[token::rsa(), token::ec(), token::ed()]);
    let iss = issuer.url();
    let text = configuration(&iss, &upstream, "", &state)
        + "[log]\nformat = \"json\"\n[admin]\naddress = \"127.0.0.1:0\"\n";
    let first = Process::run(folder.path(), &text, 1, &[]);
    let mut client = Client::tcp(first.listeners["main"]);
    let old = token::ec().good(&iss, "before");
    eventually("keys", || (ask(&mut client, &old).status == 200).then_some(()));
    kept(&state);
    // Killed, not drained: what counts is on disk already.
    first.signal(Signal::KILL);
    drop(first);

    // Once it answers with errors, and once there is nobody at its address.
    let mut down = Some(issuer);
    for round in 0..2 {
        match round {
            0 => down.as_ref().unwrap().set(Mood::Failing),
            _ => drop(down.take()),
        }
        let gateway = Process::run(folder.path(), &text, 1, &[]);
        let mut client = Client::tcp(gateway.listeners["main"]);
        ask(&mut client, &old).expect(200);
        for number in 0..100 {
            for signer in [token::rsa(), token::ec(), token::ed()] {
                let token = signer.good(&iss, &format!("user-{round}-{number}"));
                ask(&mut client, &token).expect(200);
                assert_eq!(ask(&mut client, &token::tampered(&token)).status, 401);
            }
        }
        let stranger = Signer::new_ec("stranger").good(&iss, "ada");
        assert_eq!(ask(&mut client, &stranger).status, 503, "nobody knows, and so no verdict");
    }
}

#[test]
fn what_a_restart_believes_is_shown_and_ends_with_the_first_fetch() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let upstream = Upstream::saying("reached");
    let (old, new) = (Signer::new_ec("old"), Signer::new_ec("new"));
    let issuer = Issuer::start(&[&old]);
    let settings = "unknown_kid_cooldown = \"1s\"";
    let text = configuration(&issuer.url(), &upstream, settings, &state);
    let by_old = old.good(&issuer.url(), "ada");

    let first = Setup::new().start(&text);
    eventually("fresh keys", || (issuers(&first)["state"] == "fresh").then_some(()));
    let file = kept(&state);
    first.drain();
    issuer.set(Mood::Failing);
    let second = Setup::new().start(&text);
    second.admin("/readyz").expect(200);
    let shown = issuers(&second);
    assert_eq!(shown["state"], "disk");
    assert_eq!(shown["source"]["kind"], "discovery");
    assert_eq!(shown["keys"][0]["kid"], "old");
    assert!(shown["fetch"]["age"].as_u64().is_some());
    let mut client = Client::tcp(second.address("main"));
    ask(&mut client, &by_old).expect(200);
    // Rotated meanwhile: once it can be asked its word counts, and the kept keys are gone.
    issuer.publish(&[&new]);
    issuer.set(Mood::Well);
    eventually("fresh keys", || (issuers(&second)["state"] == "fresh").then_some(()));
    assert_eq!(ask(&mut client, &by_old).status, 401);
    let new_file = || fs::read_to_string(&file).unwrap();
    eventually("the new key is kept", || new_file().contains("\"new\"").then_some(()));
    assert!(!new_file().contains("\"old\""));
    second.drain();

    fs::write(&file, "rubbish").unwrap();
    issuer.set(Mood::Failing);
    let third = Setup::new().start(&text);
    assert_eq!(third.admin("/readyz").status, 503);
    assert_eq!(issuers(&third)["state"], "unavailable");
    let mut client = Client::tcp(third.address("main"));
    assert_eq!(ask(&mut client, &new.good(&issuer.url(), "ada")).status, 503);
}

#[test]
fn a_changed_key_file_is_picked_up_by_itself_and_a_bad_one_changes_nothing() {
    let iss = "https://id.example.com/";
    let (old, new) = (Signer::new_ec("old"), Signer::new_ec("new"));
    let setup = Setup::new();
    let file = setup.folder().join("jwks.json");
    let state = setup.folder().join("state");
    let publish = |signers: &[&Signer]| {
        let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
        fs::write(&file, json!({ "keys": keys }).to_string()).unwrap();
    };
    publish(&[&old]);
    let upstream = Upstream::saying("reached");
    let settings = "jwks_file = \"jwks.json\"";
    let gateway = setup.start(&configuration(iss, &upstream, settings, &state));
    gateway.admin("/readyz").expect(200);
    let mut client = Client::tcp(gateway.address("main"));
    let (by_old, by_new) = (old.good(iss, "ada"), new.good(iss, "ada"));
    ask(&mut client, &by_old).expect(200);
    assert_eq!(ask(&mut client, &by_new).status, 401);

    publish(&[&old, &new]);
    eventually("the new key counts", || (ask(&mut client, &by_new).status == 200).then_some(()));
    ask(&mut client, &by_old).expect(200);

    fs::write(&file, "{\"keys\": [").unwrap();
    eventually("the bad file is told", || (issuers(&gateway)["state"] == "stale").then_some(()));
    for token in [&by_old, &by_new] {
        ask(&mut client, token).expect(200);
    }
    let failed = "portcullis_jwks_fetches_total{issuer=\"main\",result=\"failed\"}";
    assert!(gateway.metric(failed) >= 1.0);

    publish(&[&new]);
    eventually("the old key is gone", || (ask(&mut client, &by_old).status == 401).then_some(()));
    ask(&mut client, &by_new).expect(200);
    assert!(!state.read_dir().unwrap().any(|entry| entry.is_ok()), "files need no copy");
}

#[test]
fn keys_in_the_configuration_count_and_those_skipped_are_counted() {
    let iss = "https://id.example.com/";
    let setup = Setup::new();
    let state = setup.folder().join("state");
    let keys = json!({ "keys": [token::ec().jwk(), { "kty": "AKP", "kid": "later" }] });
    let upstream = Upstream::saying("reached");
    let gateway = setup.start(&configuration(iss, &upstream, &format!("jwks = '{keys}'"), &state));
    gateway.admin("/readyz").expect(200);
    let mut client = Client::tcp(gateway.address("main"));
    let good = token::ec().good(iss, "ada");
    ask(&mut client, &good).expect(200);
    assert_eq!(ask(&mut client, &token::tampered(&good)).status, 401);
    assert_eq!(issuers(&gateway)["skipped"][0]["kid"], "later");
    assert_eq!(gateway.metric("portcullis_jwks_keys{issuer=\"main\"}"), 1.0);
    let skipped = "portcullis_jwks_keys_skipped{issuer=\"main\",reason=\"unsupported\"}";
    assert_eq!(gateway.metric(skipped), 1.0);
}

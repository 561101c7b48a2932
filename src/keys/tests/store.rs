//! Keys that outlive the process: what is kept, what is believed of it, and for how long.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::issuer::{Answer, Issuer};
use super::key_set::{HOUR, JWKS, START, key, last_error, look_up, refetch, settings, until};
use crate::clock::{Clock, UnixTime};
use crate::keys::signing::{Signer, jwks};
use crate::keys::{Found, Freshness, KeySet, Refresh, RefreshSettings, Source, Store};
use crate::state_dir::{FileName, StateDir};
use crate::telemetry::metrics::Metrics;

/// A folder of state, and an issuer whose keys are kept there.
struct Kept {
    folder: tempfile::TempDir,
    clock: Clock,
    issuer: Issuer,
}

impl Kept {
    async fn new(signers: &[&Signer]) -> Self {
        let issuer = Issuer::start().await;
        issuer.answer(JWKS, Answer::json(jwks(signers.iter().copied())));
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self { folder, clock: Clock::fixed(START), issuer }
    }

    /// A set as another process would make it, not started.
    fn made(&self, bound_to: &str) -> Arc<KeySet> {
        let state = Arc::new(StateDir::open(self.folder.path()).unwrap());
        let settings = RefreshSettings {
            stale_for: HOUR,
            store: Some(Store::new(state, "main", &[bound_to.as_bytes()])),
            ..settings()
        };
        let source = Source::JwksUrl(self.issuer.url(JWKS));
        KeySet::remote(source, settings, self.clock.clone(), Metrics::new(), "main").unwrap()
    }

    /// A set that has fetched, and has kept what it got.
    async fn fetched(&self) -> Arc<KeySet> {
        let set = self.made("a");
        let before = fs::read(self.file()).ok();
        set.start(&tokio::runtime::Handle::current());
        until(|| set.status().freshness == Freshness::Fresh).await;
        until(|| fs::read(self.file()).ok() != before).await;
        set
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join(FileName::new("keys", "main").to_string())
    }

    fn document(&self) -> Value {
        serde_json::from_slice(&fs::read(self.file()).unwrap()).unwrap()
    }

    fn at(&self, since: Duration) {
        self.clock.set(START.saturating_add(since));
    }
}

#[tokio::test]
async fn kept_keys_count_at_once_and_as_old_as_they_are() {
    let signer = Signer::generate().unwrap();
    let kept = Kept::new(&[&signer]).await;
    drop(kept.fetched().await);
    kept.issuer.answer(JWKS, Answer::Close);

    kept.at(HOUR / 2);
    let set = kept.made("a");
    assert_eq!(key(look_up(&set, &signer)).kid(), Some(signer.kid()), "before anything is asked");
    set.start(&tokio::runtime::Handle::current());
    until(|| last_error(&set).is_some()).await;
    let status = set.status();
    assert_eq!(status.freshness, Freshness::Disk);
    assert_eq!(status.remote.unwrap().age, Some(HOUR / 2));
    key(look_up(&set, &signer));
    assert!(matches!(refetch(&set, "unknown").await, Found::Unavailable), "nobody knows");
    kept.at(HOUR);
    assert!(matches!(look_up(&set, &signer), Found::Unavailable), "not for another hour");
    assert!(!kept.made("a").usable());
}

#[tokio::test]
async fn the_issuers_word_replaces_what_was_kept() {
    let (old, new) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    let kept = Kept::new(&[&old]).await;
    drop(kept.fetched().await);
    kept.issuer.answer(JWKS, Answer::json(jwks([&new])));
    let set = kept.made("a");
    let before = key(look_up(&set, &old));
    set.start(&tokio::runtime::Handle::current());
    until(|| before.is_retired()).await;
    assert!(matches!(look_up(&set, &old), Found::UnknownKid));
    until(|| kept.document()["keys"][0]["kid"] == new.kid()).await;
    assert_eq!(kept.document()["keys"].as_array().unwrap().len(), 1, "a removed key is gone");
    assert!(matches!(look_up(&kept.made("a"), &old), Found::UnknownKid));
}

#[tokio::test]
async fn a_file_that_says_anything_else_is_not_used() {
    let signer = Signer::generate().unwrap();
    let kept = Kept::new(&[&signer]).await;
    drop(kept.fetched().await);
    let good = fs::read(kept.file()).unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut document: Value = serde_json::from_slice(&good).unwrap();
        change(&mut document);
        document.to_string().into_bytes()
    };
    let late = |by: Duration| START.saturating_add(by).as_millis();
    let mut private = signer.jwk().clone();
    private["d"] = json!("AAAA");
    let symmetric = json!({ "kty": "oct", "k": "c2VjcmV0", "kid": signer.kid() });
    let cases: [(&str, Vec<u8>); 13] = [
        ("nothing", Vec::new()),
        ("half of it", good[..good.len() / 2].to_vec()),
        ("twice", [good.clone(), good.clone()].concat()),
        ("no JSON", b"<html>".to_vec()),
        ("too much", vec![b' '; 1 << 20]),
        ("another format", with(&|one| one["format"] = json!(2))),
        ("another member", with(&|one| one["more"] = json!(1))),
        ("another issuer", with(&|one| one["bound_to"] = json!("00"))),
        ("the future", with(&|one| one["fetched"] = json!(late(Duration::from_secs(301))))),
        ("the past", with(&|one| one["fetched"] = json!(START.as_millis() - 3_600_000))),
        ("no keys", with(&|one| one["keys"] = json!([]))),
        ("a secret", with(&|one| one["keys"] = json!([symmetric]))),
        ("a private key", with(&|one| one["keys"] = json!([private]))),
    ];
    for (what, bytes) in cases {
        fs::write(kept.file(), bytes).unwrap();
        assert!(!kept.made("a").usable(), "{what}");
    }
    // A clock that was set back a little is no future.
    fs::write(kept.file(), with(&|one| one["fetched"] = json!(late(Duration::from_secs(299)))))
        .unwrap();
    let set = kept.made("a");
    assert_eq!(set.status().remote.unwrap().last_success, Some(START));

    fs::write(kept.file(), &good).unwrap();
    assert!(kept.made("a").usable());
    assert!(!kept.made("b").usable(), "reached in another way");
    fs::set_permissions(kept.file(), fs::Permissions::from_mode(0o606)).unwrap();
    assert!(!kept.made("a").usable(), "others may write to it");
    let elsewhere = kept.folder.path().join("elsewhere");
    fs::rename(kept.file(), &elsewhere).unwrap();
    symlink(&elsewhere, kept.file()).unwrap();
    assert!(!kept.made("a").usable(), "a link");
}

#[tokio::test]
async fn one_issuers_keys_are_not_anothers() {
    let signer = Signer::generate().unwrap();
    let kept = Kept::new(&[&signer]).await;
    drop(kept.fetched().await);
    let state = Arc::new(StateDir::open(kept.folder.path()).unwrap());
    let other = kept.folder.path().join(FileName::new("keys", "other").to_string());
    fs::copy(kept.file(), other).unwrap();
    let store = Some(Store::new(state, "other", &[b"a"]));
    let settings = RefreshSettings { store, ..settings() };
    let source = Source::JwksUrl(kept.issuer.url(JWKS));
    let clock = kept.clock.clone();
    let set = KeySet::remote(source, settings, clock, Metrics::new(), "other").unwrap();
    assert!(!set.usable());
}

#[tokio::test]
async fn nothing_private_is_written() {
    let signer = Signer::generate().unwrap();
    let mut odd = signer.jwk().clone();
    odd["x5c"] = json!(["certificate"]);
    odd["key_ops"] = json!(["verify"]);
    let private = json!({ "kty": "EC", "crv": "P-256", "kid": "p", "x": odd["x"], "y": odd["y"],
        "d": "cHJpdmF0ZQ" });
    let secret = json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "s" });
    let kept = Kept::new(&[]).await;
    kept.issuer.answer(JWKS, Answer::json(json!({ "keys": [odd, private, secret] })));
    drop(kept.fetched().await);
    let document = kept.document();
    let keys = document["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    let members: Vec<_> = keys[0].as_object().unwrap().keys().collect();
    assert_eq!(members, ["kty", "kid", "alg", "crv", "x", "y"]);
    let mode = fs::metadata(kept.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[tokio::test]
async fn a_confirmation_makes_kept_keys_younger() {
    let signer = Signer::generate().unwrap();
    let kept = Kept::new(&[]).await;
    let body = jwks([&signer]).to_string();
    kept.issuer.answer(JWKS, Answer::with_headers(200, "ETag: \"v1\"\r\n", body.as_bytes()));
    kept.issuer.answer_unchanged(Answer::Raw(b"HTTP/1.1 304 X\r\n\r\n".to_vec()));
    let set = kept.fetched().await;
    kept.at(HOUR / 2);
    assert!(matches!(refetch(&set, "unknown").await, Found::UnknownKid));
    until(|| kept.document()["fetched"] == START.saturating_add(HOUR / 2).as_millis()).await;
    kept.at(HOUR);
    assert!(kept.made("a").usable());
    // Not every fetch is a write: the time on disk is a minute behind at most.
    kept.at(HOUR / 2 + Duration::from_secs(59));
    assert!(matches!(refetch(&set, "unknown").await, Found::UnknownKid));
    assert_eq!(kept.document()["fetched"], START.saturating_add(HOUR / 2).as_millis());
}

#[tokio::test]
async fn a_set_that_was_replaced_leaves_the_file_alone() {
    let (old, new) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    let kept = Kept::new(&[&old]).await;
    let set = kept.fetched().await;
    let before = fs::read(kept.file()).unwrap();
    set.stop_keeping();
    kept.issuer.answer(JWKS, Answer::json(jwks([&new])));
    key(refetch(&set, new.kid()).await);
    // A fetch that comes after the one whose keys were not written.
    assert!(matches!(refetch(&set, "unknown").await, Found::UnknownKid));
    assert_eq!(fs::read(kept.file()).unwrap(), before);
}

#[tokio::test]
async fn a_folder_that_is_gone_costs_nothing_but_the_memory() {
    let (old, new) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    let kept = Kept::new(&[&old]).await;
    let set = kept.fetched().await;
    fs::remove_dir_all(kept.folder.path()).unwrap();
    kept.issuer.answer(JWKS, Answer::json(jwks([&new])));
    key(refetch(&set, new.kid()).await);
    assert_eq!(set.status().freshness, Freshness::Fresh);
}

/// Timers stand still while a machine sleeps: a day later the fetch of the next hours is overdue.
#[tokio::test]
async fn a_machine_that_wakes_up_fetches_at_once() {
    let signer = Signer::generate().unwrap();
    let kept = Kept::new(&[&signer]).await;
    let settings =
        RefreshSettings { stale_for: HOUR, refresh: Refresh::Every(HOUR * 10), ..settings() };
    let source = Source::JwksUrl(kept.issuer.url(JWKS));
    let clock = kept.clock.clone();
    let set = KeySet::remote(source, settings, clock, Metrics::new(), "main").unwrap();
    set.start(&tokio::runtime::Handle::current());
    until(|| set.status().remote.unwrap().next_refresh.is_some()).await;
    assert_eq!(kept.issuer.count(JWKS), 1);
    kept.clock.set(UnixTime::from_secs(START.as_secs() + 48 * 3600));
    assert!(!set.usable());
    // What the heartbeat does, without half a minute's wait.
    set.remote_part().unwrap().wake().notify_one();
    until(|| set.usable()).await;
    assert_eq!(kept.issuer.count(JWKS), 2);
}

//! Keys from the operator's own files, while the files change, break and vanish.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::key_set::{HOUR, START, key, last_error, look_up, refetch, set_from, settings, until};
use crate::clock::Clock;
use crate::keys::jwks::parse_set;
use crate::keys::signing::{Signer, jwks};
use crate::keys::{Algorithm, Found, Freshness, KeySet, RefreshSettings, Source, from_pem};
use crate::telemetry::metrics::Metrics;

fn publish(path: &Path, signers: &[&Signer]) {
    // As an editor does it: whoever looks sees the old or the new.
    let new = path.with_extension("new");
    fs::write(&new, jwks(signers.iter().copied()).to_string()).unwrap();
    fs::rename(new, path).unwrap();
}

/// A set that holds what loading read.
fn loaded(path: &Path, clock: &Clock) -> Arc<KeySet> {
    let settings = RefreshSettings { tls: None, stale_for: HOUR, ..settings() };
    let source = Source::File(path.to_owned());
    let set = KeySet::remote(source, settings, clock.clone(), Metrics::new(), "main").unwrap();
    set.holding(parse_set(&fs::read(path).unwrap()).unwrap())
}

#[tokio::test]
async fn files_count_from_the_first_request_on_and_by_themselves_when_they_change() {
    let (old, new) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    publish(&path, &[&old]);
    let set = loaded(&path, &Clock::system());
    let before = key(look_up(&set, &old));
    set.start(&tokio::runtime::Handle::current());
    publish(&path, &[&old, &new]);
    until(|| matches!(look_up(&set, &new), Found::Keys(_))).await;
    assert!(Arc::ptr_eq(&before, &key(look_up(&set, &old))), "a key that stays is not another");
    publish(&path, &[&new]);
    until(|| before.is_retired()).await;
    assert!(matches!(look_up(&set, &old), Found::UnknownKid));
    let status = set.status();
    assert_eq!(status.freshness, Freshness::Fresh);
    assert_eq!(status.remote.unwrap().next_refresh, None, "it is watched");
}

#[tokio::test]
async fn a_bad_file_keeps_the_last_good_keys_until_they_are_stale() {
    let (signer, next) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    publish(&path, &[&signer]);
    let clock = Clock::fixed(START);
    let set = loaded(&path, &clock);
    set.start(&tokio::runtime::Handle::current());
    // A good file does not age.
    clock.set(START.saturating_add(HOUR * 1000));
    key(look_up(&set, &signer));
    for (content, error) in [
        (&b"{"[..], "not a JSON Web Key Set"),
        (b"{\"keys\":[]}", "no usable key in the set"),
        (&[b' '; 1 << 20], "larger than 512 KiB"),
    ] {
        fs::write(&path, content).unwrap();
        until(|| last_error(&set).as_deref() == Some(error)).await;
        assert_eq!(set.status().freshness, Freshness::Stale);
        key(look_up(&set, &signer));
    }
    fs::remove_file(&path).unwrap();
    until(|| last_error(&set).is_some_and(|error| error.starts_with("unreadable"))).await;
    clock.set(START.saturating_add(HOUR * 1001));
    assert!(matches!(look_up(&set, &signer), Found::Unavailable));
    assert_eq!(set.status().freshness, Freshness::Unavailable);
    publish(&path, &[&next]);
    until(|| set.usable()).await;
    assert_eq!(last_error(&set), None);
    clock.set(START.saturating_add(HOUR * 9000));
    key(look_up(&set, &next));
}

#[tokio::test]
async fn a_file_that_turns_good_again_with_the_same_bytes_is_good() {
    let signer = Signer::generate().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    publish(&path, &[&signer]);
    let set = loaded(&path, &Clock::system());
    set.start(&tokio::runtime::Handle::current());
    let away = folder.path().join("away");
    fs::rename(&path, &away).unwrap();
    until(|| last_error(&set).is_some()).await;
    fs::rename(&away, &path).unwrap();
    until(|| last_error(&set).is_none()).await;
    assert_eq!(set.status().freshness, Freshness::Fresh);
}

#[tokio::test]
async fn pem_files_overlap_for_a_rotation() {
    let pem = || rcgen::KeyPair::generate().unwrap().public_key_pem();
    let (first, second, third) = (pem(), pem(), pem());
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old.pem"), folder.path().join("new.pem"));
    fs::write(&old, &first).unwrap();
    fs::write(&new, &second).unwrap();
    let source = Source::PemFiles(vec![old.clone(), new.clone()]);
    let set = set_from(source, settings(), &Clock::system());
    until(|| set.usable()).await;
    let thumbprints = || -> Vec<String> {
        match set.candidates(None, Algorithm::ES256) {
            Found::Keys(keys) => {
                keys.iter().map(|key| key.thumbprint().unwrap().to_owned()).collect()
            }
            Found::Unavailable | Found::UnknownKid => Vec::new(),
        }
    };
    let print = |pem: &str| from_pem(pem.as_bytes()).unwrap()[0].thumbprint().unwrap().to_owned();
    assert_eq!(thumbprints(), [print(&first), print(&second)], "both sign during the rotation");

    // As long as one is bad, all stay as they are: half a set would refuse good tokens.
    fs::write(&old, "no PEM").unwrap();
    until(|| last_error(&set).is_some()).await;
    fs::write(&new, &third).unwrap();
    until(|| last_error(&set).is_some()).await;
    assert_eq!(thumbprints(), [print(&first), print(&second)]);
    fs::write(&old, &second).unwrap();
    until(|| thumbprints() == [print(&second), print(&third)]).await;
}

#[tokio::test]
async fn looks_that_unknown_kids_ask_for_are_bounded_by_the_cool_down() {
    let (old, new) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    publish(&path, &[&old]);
    let settings = RefreshSettings { unknown_kid_cooldown: HOUR, ..settings() };
    let set = set_from(Source::File(path.clone()), settings, &Clock::system());
    until(|| set.usable()).await;
    for _ in 0..1000 {
        assert!(matches!(refetch(&set, "unknown").await, Found::UnknownKid));
    }
    publish(&path, &[&old, &new]);
    until(|| matches!(look_up(&set, &new), Found::Keys(_))).await;
}

#[tokio::test]
async fn a_file_is_read_again_when_a_kid_is_unknown() {
    let (old, new) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    fs::write(&path, jwks([&old]).to_string()).unwrap();
    let set = set_from(Source::File(path.clone()), settings(), &Clock::system());
    until(|| set.usable()).await;
    let before = key(look_up(&set, &old));
    fs::write(&path, jwks([&new]).to_string()).unwrap();
    key(refetch(&set, new.kid()).await);
    assert!(before.is_retired());
    fs::write(&path, vec![b' '; 1 << 20]).unwrap();
    assert!(matches!(refetch(&set, "unknown").await, Found::Unavailable));
    assert_eq!(last_error(&set).unwrap(), "larger than 512 KiB");
    fs::remove_file(&path).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
    assert!(matches!(refetch(&set, "unknown").await, Found::Unavailable));
    assert!(last_error(&set).unwrap().contains("not a regular file"));
    key(look_up(&set, &new));
}

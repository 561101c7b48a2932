//! What the file says and what the admin socket is told.

use super::*;

use std::fs;

use serde_json::json;

use crate::support::token::now;

#[test]
fn j26_a_revoked_token_is_refused_at_once_and_after_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let server = format!("state_dir = \"{}\"", state.path().join("kept").display());
    let (one, two, bob) = (token("ada", "t1"), token("ada", "t2"), token("bob", "t3"));
    let place = Place::start(Setup::new(), &server);
    for token in [&one, &two, &bob] {
        place.ask(token).expect(200);
        // From here on the caches know it.
        place.ask(token).expect(200);
    }
    let until = now() + 3600;
    let revoked =
        place.order("POST", &json!({"issuer": "main", "jti": "t1", "until": until}).to_string());
    assert_eq!(revoked.expect(200).json(), json!({ "revoked": 1, "kept": true }));
    place.is_revoked(&one);
    place.ask(&two).expect(200);
    let lines = format!("{}\n", json!({ "issuer": "main", "sub": "ada", "until": until }));
    place.order("POST", &lines).expect(200);
    place.is_revoked(&two);
    place.ask(&bob).expect(200);
    assert_eq!(place.metric("portcullis_revocations{kind=\"jti\"}"), 1.0);
    assert_eq!(place.metric("portcullis_revocations_total{result=\"ok\",source=\"admin\"}"), 2.0);
    let told: Vec<_> = place.gateway.drain();
    let refused = told.iter().find(|record| record["reason"] == "token_revoked").unwrap();
    assert_eq!(refused["detail"], "jti_revoked", "{refused}");

    let place = Place::start(Setup::new(), &server);
    place.is_revoked(&one);
    place.is_revoked(&two);
    place.ask(&bob).expect(200);
    // Taken back, and that is kept as well.
    assert_eq!(place.order("DELETE", &lines).expect(200).json()["taken_back"], 1);
    place.ask(&two).expect(200);
    drop(place);
    let place = Place::start(Setup::new(), &server);
    place.is_revoked(&one);
    place.ask(&two).expect(200);
}

#[test]
fn j26_the_file_is_followed_and_a_bad_one_keeps_the_last_good() {
    let setup = Setup::new();
    let file = setup.folder().join("revoked.jsonl");
    let line =
        |jti: &str| json!({ "issuer": "main", "jti": jti, "until": now() + 3600 }).to_string();
    fs::write(&file, line("t1")).unwrap();
    let place = Place::start(setup, "revocations = \"revoked.jsonl\"");
    let (one, two) = (token("ada", "t1"), token("ada", "t2"));
    place.is_revoked(&one);
    place.ask(&two).expect(200);

    fs::write(&file, format!("{}\n{}\n", line("t1"), line("t2"))).unwrap();
    eventually("the second line", || (place.ask(&two).status == 401).then_some(()));
    place.is_revoked(&one);
    // Half a line, as an editor may leave it.
    fs::write(&file, &line("t1")[..20]).unwrap();
    let unreadable = "portcullis_revocations_total{result=\"unreadable\",source=\"file\"}";
    eventually("the bad file", || (place.metric(unreadable) >= 1.0).then_some(()));
    place.is_revoked(&one);
    place.is_revoked(&two);
    // Renamed over, as tools do; what it says no more counts again.
    let next = file.with_extension("next");
    fs::write(&next, line("t2")).unwrap();
    fs::rename(&next, &file).unwrap();
    eventually("the first line gone", || (place.ask(&one).status == 200).then_some(()));
    place.is_revoked(&two);
    // At a start or a reload a bad file is told, not passed over.
    fs::write(&file, "{}").unwrap();
    let text = configuration(&place.upstream, "revocations = \"revoked.jsonl\"", "");
    let told = place.gateway.reload(&text).unwrap_err().to_string();
    assert!(told.contains("can't be read: line 1:"), "{told}");
    // Without the key the file says nothing.
    place.gateway.reload(&configuration(&place.upstream, "", "")).unwrap();
    place.ask(&two).expect(200);
}

#[test]
fn orders_are_refused_whole_and_say_why() {
    let place = Place::start(Setup::new(), "");
    let good = json!({ "issuer": "main", "sub": "ada" }).to_string();
    for (lines, why) in [
        (format!("{good}\n{{\"issuer\":\"main\"}}\n"), "line 2:"),
        (format!("{good}\n{{\"issuer\":\"mian\",\"sub\":\"ada\"}}\n"), "there is no issuer `mian`"),
        ("# nothing\n".to_owned(), "nothing is named"),
        (format!("{good}\u{0}"), "line 1:"),
    ] {
        let refused = place.order("POST", &lines).expect(422);
        assert!(refused.text().contains(why), "{}", refused.text());
    }
    let ada = token("ada", "t1");
    place.ask(&ada).expect(200);
    let kept = place.order("POST", &good).expect(200).json();
    assert_eq!(kept, json!({ "revoked": 1, "kept": false }), "no state_dir");
    place.is_revoked(&ada);
    let shown = place.order("GET", "").expect(200).json();
    assert_eq!(shown["counts"], json!({ "jti": 0, "kid": 0, "sub": 1 }));
    assert_eq!(shown["entries"][0]["sub"], "ada");
    assert_eq!(shown["entries"][0]["from"], "told");
}

#[test]
fn revocations_that_were_kept_and_cannot_be_read_end_the_start() {
    let state = tempfile::tempdir().unwrap();
    let server = format!("state_dir = \"{}\"", state.path().display());
    let place = Place::start(Setup::new(), &server);
    place.order("POST", &json!({ "issuer": "main", "sub": "ada" }).to_string()).expect(200);
    drop(place);
    let is_list = |path: &std::path::Path| path.to_string_lossy().contains("revocations");
    let entries = fs::read_dir(state.path()).unwrap().map(|entry| entry.unwrap().path());
    let kept = entries.into_iter().find(|path| is_list(path)).unwrap();
    fs::write(&kept, "{\"issuer\":").unwrap();
    let upstream = Upstream::saying("reached");
    let started =
        Setup::new().variable("KEY", SECRET).try_start(&configuration(&upstream, &server, ""));
    let told = started.err().unwrap().to_string();
    assert!(told.contains("can't be read") && told.contains("remove revocations-"), "{told}");
}

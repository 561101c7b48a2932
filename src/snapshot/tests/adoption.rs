//! What a reload takes over from the running snapshot, and what it must not.

use std::sync::Arc;

use super::{Compiled, Workshop};
use crate::keys::KeySet;
use crate::upstream::Upstream;

const SECRET: &str = "d2hvIHJlYWRzIHRoaXMgaGFzIHRpbWUgdG8gc3BhcmU5";

fn configuration(secret: &str, audience: &str, more: &str) -> String {
    format!(
        r#"
        [listener.main]
        address = "127.0.0.1:8080"
        [issuer.django]
        preset = "simplejwt"
        secret = "{secret}"
        audience = ["{audience}"]
        [upstream.web]
        endpoints = ["http://127.0.0.1:8000"]
        [[route]]
        path = "/*"
        upstream = "web"
        {more}
        "#
    )
}

fn keys(compiled: &Compiled) -> &Arc<KeySet> {
    compiled.snapshot.issuers()[0].keys()
}

fn upstream(compiled: &Compiled) -> &Arc<Upstream> {
    &compiled.snapshot.upstreams()[0]
}

#[test]
fn what_is_unchanged_goes_on() {
    let workshop = Workshop::new();
    let first = workshop.compile(&configuration(SECRET, "a", ""), None);
    let more = "[[route]]\npath = \"/a\"\nupstream = \"http://127.0.0.1:9\"\npublic = true";
    let second = workshop.compile(&configuration(SECRET, "a", more), Some(&first));
    assert!(Arc::ptr_eq(keys(&first), keys(&second)));
    assert!(Arc::ptr_eq(upstream(&first), upstream(&second)));
    assert!(Arc::ptr_eq(first.snapshot.tokens(), second.snapshot.tokens()));
    assert!(Arc::ptr_eq(first.snapshot.spool(), second.snapshot.spool()));
}

#[test]
fn another_secret_is_another_key_set() {
    let workshop = Workshop::new();
    let first = workshop.compile(&configuration(SECRET, "a", ""), None);
    let other = SECRET.replace('h', "g");
    let second = workshop.compile(&configuration(&other, "a", ""), Some(&first));
    assert!(!Arc::ptr_eq(keys(&first), keys(&second)));
    assert!(Arc::ptr_eq(upstream(&first), upstream(&second)));
}

#[test]
fn another_audience_is_another_issuer_with_the_same_keys() {
    let workshop = Workshop::new();
    let first = workshop.compile(&configuration(SECRET, "a", ""), None);
    let second = workshop.compile(&configuration(SECRET, "b", ""), Some(&first));
    assert!(Arc::ptr_eq(keys(&first), keys(&second)));
    let fingerprint = |compiled: &Compiled| compiled.snapshot.issuers()[0].fingerprint();
    assert_ne!(fingerprint(&first), fingerprint(&second), "cached tokens must not count");
}

#[test]
fn another_content_of_the_same_key_file_is_another_key_set() {
    let workshop = Workshop::new();
    let file = workshop.path().join("key.pem");
    let write = || {
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(&file, key.public_key_pem()).unwrap();
    };
    let text = r#"
        [listener.main]
        address = "127.0.0.1:8080"
        [issuer.main]
        url = "https://id.example.com/"
        audience = ["a"]
        public_key = "key.pem"
        [[route]]
        path = "/*"
        upstream = "http://127.0.0.1:8000"
        "#;
    write();
    let first = workshop.compile(text, None);
    let same = workshop.compile(text, Some(&first));
    assert!(Arc::ptr_eq(keys(&first), keys(&same)));
    write();
    let second = workshop.compile(text, Some(&same));
    assert!(!Arc::ptr_eq(keys(&first), keys(&second)));
}

#[test]
fn every_setting_of_an_upstream_makes_it_another() {
    let workshop = Workshop::new();
    let first = workshop.compile(&configuration(SECRET, "a", ""), None);
    for change in [
        "kind = \"wsgi\"",
        "balance = \"round_robin\"",
        "connect_timeout = \"1s\"",
        "response_timeout = \"1s\"",
        "read_timeout = \"1s\"",
        "idle_timeout = \"1s\"",
        "idle_timeout = \"auto\"",
        "idle_connections = 1",
        "max_tunnels = 1",
        "send_proxy_protocol = \"v1\"",
    ] {
        let text =
            configuration(SECRET, "a", "").replace("[[route]]", &format!("{change}\n[[route]]"));
        let second = workshop.compile(&text, Some(&first));
        assert!(!Arc::ptr_eq(upstream(&first), upstream(&second)), "{change}");
    }
}

#[test]
fn every_setting_of_the_key_source_makes_another_key_set() {
    let workshop = Workshop::new();
    let signer = crate::keys::signing::Signer::generate().unwrap();
    let set = crate::keys::signing::jwks([&signer]).to_string();
    std::fs::write(workshop.path().join("keys.json"), &set).unwrap();
    let inline = format!("jwks = '{set}'");
    let text = |change: &str| {
        format!(
            r#"
            [listener.main]
            address = "127.0.0.1:8080"
            [issuer.main]
            url = "https://id.example.com/"
            audience = ["a"]
            {change}
            [[route]]
            path = "/*"
            upstream = "http://127.0.0.1:8000"
            "#
        )
    };
    let first = workshop.compile(&text(""), None);
    assert!(Arc::ptr_eq(keys(&first), keys(&workshop.compile(&text(""), Some(&first)))));
    for change in [
        "jwks_url = \"https://id.example.com/jwks\"",
        "jwks_file = \"keys.json\"",
        &inline,
        "refresh = \"5m\"",
        "stale_for = \"1h\"",
        "unknown_kid_cooldown = \"20s\"",
        "allow_http = true",
        "connect_to = \"127.0.0.1:8443\"",
    ] {
        let second = workshop.compile(&text(change), Some(&first));
        assert!(!Arc::ptr_eq(keys(&first), keys(&second)), "{change}");
    }
}

#[test]
fn another_size_or_age_is_another_token_cache() {
    let workshop = Workshop::new();
    let first = workshop.compile(&configuration(SECRET, "a", ""), None);
    for change in ["[cache]\ntokens = 7", "[cache]\nmax_age = \"1m\""] {
        let second = workshop.compile(&configuration(SECRET, "a", change), Some(&first));
        assert!(!Arc::ptr_eq(first.snapshot.tokens(), second.snapshot.tokens()), "{change}");
    }
}

// === listeners ===

fn listeners(places: &[(&str, u16)]) -> String {
    let mut text = String::new();
    for (name, port) in places {
        text.push_str(&format!("[listener.{name}]\naddress = \"127.0.0.1:{port}\"\n"));
    }
    text + "[[route]]\npath = \"/*\"\nupstream = \"http://127.0.0.1:9\"\npublic = true\n"
}

/// The slot and the port of each listener of the configuration.
fn slots(compiled: &Compiled) -> Vec<(String, usize, u16)> {
    let plan = |slot| compiled.snapshot.listener(slot);
    let row = |slot| (plan(slot).name.to_string(), slot, plan(slot).public_port);
    compiled.listeners.iter().map(|spec| row(spec.slot)).collect()
}

#[test]
fn a_listener_keeps_its_slot_whatever_happens_around_it() {
    let workshop = Workshop::new();
    let row = |name: &str, slot, port| (name.to_owned(), slot, port);
    let first = workshop.compile(&listeners(&[("a", 1), ("b", 2)]), None);
    assert_eq!(slots(&first), [row("a", 0, 1), row("b", 1, 2)]);

    let swapped = workshop.compile(&listeners(&[("b", 1), ("a", 2)]), Some(&first));
    assert_eq!(slots(&swapped), [row("b", 1, 1), row("a", 0, 2)]);

    let renamed = workshop.compile(&listeners(&[("c", 1), ("a", 2)]), Some(&swapped));
    assert_eq!(slots(&renamed), [row("c", 2, 1), row("a", 0, 2)]);
    let left = renamed.snapshot.listener(1);
    assert_eq!(&*left.name, "b", "connections of a removed listener still find its plan");

    let back = workshop.compile(&listeners(&[("b", 3)]), Some(&renamed));
    assert_eq!(slots(&back), [row("b", 1, 3)]);
}

#[test]
fn a_route_names_its_listener_by_the_slot_that_connections_carry() {
    let workshop = Workshop::new();
    let named = |name: &str| {
        format!(
            "[[route]]\npath = \"/x\"\nupstream = \"http://127.0.0.1:9\"\npublic = true\nlisteners = [\"{name}\"]\n"
        )
    };
    let first = workshop.compile(&listeners(&[("a", 1), ("b", 2)]), None);
    let text = listeners(&[("b", 2), ("c", 1)]) + &named("b");
    let second = workshop.compile(&text, Some(&first));
    let found = |slot| second.snapshot.find(slot, "h", "/x", &hyper::Method::GET);
    assert!(matches!(found(1), crate::route::Found::Route(1)), "b, before and after");
    assert!(matches!(found(2), crate::route::Found::Route(0)), "c is not named");
    assert!(second.snapshot.names_listener(1, 1) && !second.snapshot.names_listener(1, 2));
}

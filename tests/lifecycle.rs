//! Reloads: nobody notices one, a bad one changes nothing, sockets stay.

use std::fs;
use std::path::Path;
use std::thread;

use rustix::process::Signal;
use serde_json::json;

use crate::support::certificate::Certificate;
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::load::{Load, Target, application, fresh, http2_streams, is_whole, keep_alive};
use crate::support::process::Process;
use crate::support::token;
use crate::support::token::ISSUER;
use crate::support::upstream::Upstream;

const RELOADS: usize = 100;
/// What clients under load see must be the same in every generation; much else is not.
pub(crate) fn configuration(folder: &Path, upstream: &str, generation: usize) -> String {
    let certificate = Certificate::make_once(folder);
    let odd = generation % 2;
    let extra = match odd {
        0 => "",
        _ => "[listener.extra]\naddress = \"unix:extra.sock\"\n",
    };
    format!(
        r#"
        [listener.plain]
        address = "127.0.0.1:0"
        [listener.https]
        address = "127.0.0.2:0"
        [listener.https.tls]
        certificates = [{{ cert = "{cert}", key = "{key}" }}]
        {extra}
        [issuer.main]
        url = "{ISSUER}"
        jwks_file = "jwks.json"
        audience = ["api"]
        leeway = "{leeway}s"
        [upstream.web]
        endpoints = ["{upstream}"]
        connect_timeout = "{connect_timeout}s"
        response_timeout = "10m"
        read_timeout = "10m"
        idle_timeout = "10m"
        [[route]]
        name = "all-{generation}"
        path = "/*"
        upstream = "web"
        public = true
        [[route]]
        path = "/guarded/*"
        upstream = "web"
        [[route]]
        path = "/generation/{generation}"
        upstream = "web"
        public = true
        [server]
        workers = 2
        max_streams = {streams}
        header_timeout = "10m"
        body_timeout = "10m"
        shutdown_timeout = "5m"
        "#,
        cert = certificate.cert.display(),
        key = certificate.key.display(),
        leeway = 30 + odd,
        connect_timeout = 30 + generation % 3,
        streams = 100 + odd,
    )
}

/// Writes what [`configuration`] refers to; a token of its issuer.
pub(crate) fn publish(folder: &Path) -> String {
    let keys = json!({ "keys": [token::ec().jwk()] }).to_string();
    fs::write(folder.join("jwks.json"), keys).unwrap();
    token::ec().good(ISSUER, "ada")
}

fn ready(gateway: &Gateway) {
    eventually("keys", || (gateway.admin("/readyz").status == 200).then_some(()));
}

fn target(gateway: &Gateway, certificate: &Certificate, token: String) -> Target {
    Target {
        plain: gateway.address("plain"),
        tls: gateway.address("https"),
        http1: certificate.client("http/1.1"),
        h2: certificate.client("h2"),
        token,
    }
}

#[test]
fn a_hundred_reloads_under_load_fail_no_request() {
    let upstream = application();
    let setup = Setup::new();
    let token = publish(setup.folder());
    let text = configuration(setup.folder(), &upstream.url(), 0);
    let certificate = Certificate::make_once(setup.folder());
    let gateway = setup.start(&text);
    ready(&gateway);
    let target = target(&gateway, &certificate, token);
    let load = Load::default();
    thread::scope(|scope| {
        let (load, target, token) = (&load, &target, &*target.token);
        let start = |client: Client, kind: &'static str, number| {
            scope.spawn(move || load.run(|| keep_alive(load, client, kind, number, token)));
        };
        start(Client::tcp(target.plain), "plain", 0);
        start(Client::tls(target.tls, &target.http1), "guarded", 1);
        start(Client::tls(target.tls, &target.http1), "stream", 2);
        start(Client::tcp(target.plain), "stream", 3);
        scope.spawn(move || load.run(|| http2_streams(load, target, 4)));
        scope.spawn(move || load.run(|| fresh(load, target, 5)));
        load.run(|| reload_many_times(&gateway, load, &upstream.url()));
        load.stop();
    });
    assert_eq!(target.plain, gateway.address("plain"), "the socket was another one");
    assert_eq!(target.tls, gateway.address("https"), "the socket was another one");
    let reloads = gateway.metric("portcullis_config_reloads_total{result=\"ok\"}");
    assert!(reloads >= 100.0, "{reloads}");
    let served = load.served();
    let bad = gateway.drain().into_iter().find(|record| record["status"] != 200);
    assert_eq!(bad, None, "of {served}");
}

fn reload_many_times(gateway: &Gateway, load: &Load, upstream: &str) {
    for generation in 1..=RELOADS {
        let served = load.served();
        let text = configuration(gateway.folder(), upstream, generation);
        gateway.reload(&text).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
        if generation % 2 == 1 {
            let mut extra = Client::unix(&gateway.folder().join("extra.sock"));
            is_whole(extra.get("/plain/unix", ""), "/plain/unix", 0);
        } else {
            assert!(!gateway.folder().join("extra.sock").exists());
        }
        // Some requests of every generation, whatever the machine's speed.
        eventually("the load goes on", || {
            (load.is_stopped() || load.served() >= served + 6).then_some(())
        });
    }
}

#[test]
fn a_bad_configuration_changes_nothing() {
    let upstream = application();
    let setup = Setup::new();
    let token = publish(setup.folder());
    let text = configuration(setup.folder(), &upstream.url(), 0);
    let gateway = setup.start(&text);
    ready(&gateway);
    let mut client = Client::tcp(gateway.address("plain"));
    let taken = Upstream::saying("I was here first");
    let second = format!("[listener.second]\naddress = \"{}\"\n", taken.address);
    let bad = [
        ("[[route", "nothing that could be read"),
        (&*text.replace("workers = 2", "workers = 3"), "a restart"),
        (&*text.replace("upstream = \"web\"", "upstream = \"wbe\""), "an unknown name"),
        (&*text.replace("/generation/0", "/plain/*/x"), "no pattern"),
        (&*text.replace("jwks.json", "missing.json"), "a missing file"),
        (&*format!("{second}{text}"), "a port that is taken"),
    ];
    for (text, what) in bad {
        let problems = gateway.reload(text).expect_err(what);
        assert!(problems.errors() > 0, "{what}");
        is_whole(client.get("/plain/x", ""), "/plain/x", 0);
        let authorization = format!("Authorization: Bearer {token}\r\n");
        is_whole(client.get("/guarded/x", &authorization), "/guarded/x", 0);
        assert_eq!(client.get("/guarded/x", "").status, 401);
        assert_eq!(gateway.listeners(), ["https", "plain"]);
        assert_eq!(gateway.metric("portcullis_config_last_reload_successful"), 0.0, "{what}");
    }
    gateway.reload(&text).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    assert_eq!(gateway.metric("portcullis_config_last_reload_successful"), 1.0);
}

#[test]
fn a_listener_that_is_gone_serves_what_it_has() {
    let upstream = application();
    let setup = Setup::new();
    publish(setup.folder());
    let with = configuration(setup.folder(), &upstream.url(), 1);
    let without = configuration(setup.folder(), &upstream.url(), 2);
    let gateway = setup.start(&with);
    let socket = gateway.folder().join("extra.sock");
    let mut half = Client::unix(&socket);
    is_whole(half.get("/plain/1", ""), "/plain/1", 0);
    let mut idle = Client::unix(&socket);
    is_whole(idle.get("/plain/2", ""), "/plain/2", 0);
    half.send("GET /plain/3 HTTP/1.1\r\nHo");
    gateway.reload(&without).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    assert!(!socket.exists(), "nobody could connect any more");
    idle.expect_end();
    half.send("st: localhost\r\n\r\n");
    let last = half.response();
    assert!(last.closes);
    is_whole(last, "/plain/3", 0);
    half.expect_end();
    gateway.reload(&with).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    let mut again = Client::unix(&socket);
    is_whole(again.get("/plain/4", ""), "/plain/4", 0);
}

#[test]
fn pooled_connections_outlive_a_reload_that_leaves_their_upstream_alone() {
    let upstream = application();
    let setup = Setup::new();
    publish(setup.folder());
    let text = |generation| configuration(setup.folder(), &upstream.url(), generation);
    let (first, same, another) = (text(0), text(6), text(1));
    let gateway = setup.start(&first);
    // One connection, so one worker, so one pool.
    let mut client = Client::tcp(gateway.address("plain"));
    let mut connection = || {
        is_whole(client.get("/plain/x", ""), "/plain/x", 0);
        upstream.received().pop().unwrap().connection
    };
    let before = connection();
    assert_eq!(connection(), before);
    gateway.reload(&same).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    assert_eq!(connection(), before);
    gateway.reload(&another).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    assert_ne!(connection(), before);
}

/// What was verified before a reload is asked for again if what it depends on has changed.
#[test]
fn a_reload_that_narrows_a_route_counts_for_cached_tokens() {
    let upstream = application();
    let setup = Setup::new();
    let token = publish(setup.folder());
    let text = configuration(setup.folder(), &upstream.url(), 0);
    let gateway = setup.start(&text);
    ready(&gateway);
    let authorization = format!("Authorization: Bearer {token}\r\n");
    let mut client = Client::tcp(gateway.address("plain"));
    for _ in 0..3 {
        is_whole(client.get("/guarded/x", &authorization), "/guarded/x", 0);
    }
    let changes = [
        ("audience = [\"api\"]", "audience = [\"another\"]", 401),
        ("algorithms", "algorithms = [\"RS256\"]", 401),
        ("path = \"/guarded/*\"", "path = \"/guarded/*\"\nrequire = { sub = [\"grace\"] }", 403),
    ];
    for (before, after, status) in changes {
        let narrower = match before {
            "algorithms" => text.replace("[upstream.web]", &format!("{after}\n[upstream.web]")),
            before => text.replace(before, after),
        };
        assert_ne!(narrower, text);
        gateway.reload(&narrower).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
        assert_eq!(client.get("/guarded/x", &authorization).status, status, "{after}");
        gateway.reload(&text).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
        is_whole(client.get("/guarded/x", &authorization), "/guarded/x", 0);
    }
}

#[test]
fn hangup_reloads_the_real_program() {
    let upstream = application();
    let folder = tempfile::tempdir().unwrap();
    publish(folder.path());
    let text = |generation| {
        let text = configuration(folder.path(), &upstream.url(), generation);
        format!("{text}\n[admin]\naddress = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n")
    };
    let mut process = Process::run(folder.path(), &text(0), 2, &[]);
    process.signal(Signal::HUP);
    let mut client = Client::tcp(process.listeners["plain"]);
    is_whole(client.get("/plain/x", ""), "/plain/x", 0);
    fs::write(folder.path().join("gateway.toml"), text(1)).unwrap();
    process.signal(Signal::HUP);
    eventually("the new listener", || folder.path().join("extra.sock").exists().then_some(()));
    fs::write(folder.path().join("gateway.toml"), "[[route").unwrap();
    process.signal(Signal::HUP);
    eventually("a complaint", || process.said().contains("[[route").then_some(()));
    is_whole(client.get("/plain/y", ""), "/plain/y", 0);
    process.signal(Signal::TERM);
    assert!(process.ended().success(), "{}", process.said());
}

#[test]
fn a_watched_file_is_applied_by_itself() {
    let upstream = application();
    let setup = Setup::new().watched();
    publish(setup.folder());
    let text = configuration(setup.folder(), &upstream.url(), 0);
    let gateway = setup.start(&text);
    let folder = gateway.folder().to_owned();
    gateway.rewrite(&configuration(&folder, &upstream.url(), 1));
    eventually("the new listener", || folder.join("extra.sock").exists().then_some(()));
    // As editors do it: a new file takes the old one's name.
    let next = folder.join("next.toml");
    let text = fs::read_to_string(gateway.file()).unwrap();
    fs::write(&next, text.replace("unix:extra.sock", "unix:other.sock")).unwrap();
    fs::rename(next, gateway.file()).unwrap();
    eventually("the other listener", || folder.join("other.sock").exists().then_some(()));
    eventually("the old one gone", || (!folder.join("extra.sock").exists()).then_some(()));
}

//! Several endpoints, and too few slots at them: who is asked, who waits, who is left alone.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use parking_lot::{Condvar, Mutex};

use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::token::{ISSUER, SECRET, Signer, claims};
use crate::support::upstream::{Then, Upstream};
use crate::support::{Response, eventually};

/// An application that answers only as many requests as the test lets through.
struct Turnstile {
    upstream: Upstream,
    gate: Arc<(Mutex<usize>, Condvar)>,
}

impl Turnstile {
    fn start() -> Self {
        let gate: Arc<(Mutex<usize>, Condvar)> = Arc::default();
        let behind = Arc::clone(&gate);
        let upstream = Upstream::start(move |_, stream| {
            let (free, freed) = &*behind;
            let mut free = free.lock();
            while *free == 0 {
                freed.wait(&mut free);
            }
            *free -= 1;
            drop(free);
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            Ok(Then::Keep)
        });
        Self { upstream, gate }
    }

    fn let_through(&self, count: usize) {
        *self.gate.0.lock() += count;
        self.gate.1.notify_all();
    }
}

impl Drop for Turnstile {
    fn drop(&mut self) {
        self.let_through(1_000_000);
    }
}

fn configuration(upstream: &str) -> String {
    format!(
        r#"
        [listener.plain]
        address = "127.0.0.1:0"
        [issuer.main]
        url = "{ISSUER}"
        audience = ["api"]
        secret = "${{KEY}}"
        [upstream.web]
        {upstream}
        [[route]]
        path = "/*"
        upstream = "web"
        public = true
        [[route]]
        path = "/token/*"
        upstream = "web"
        "#
    )
}

fn start(upstream: &str) -> Gateway {
    Setup::new().variable("KEY", SECRET).start(&configuration(upstream))
}

/// A request that has been sent and may have to wait.
fn send(gateway: &Gateway, path: &str) -> Client {
    let mut client = Client::tcp(gateway.address("plain"));
    client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    client
}

fn get(gateway: &Gateway, path: &str) -> Response {
    Client::tcp(gateway.address("plain")).get(path, "")
}

fn depth(gateway: &Gateway) -> f64 {
    gateway.metric("portcullis_upstream_queue_depth{upstream=\"web\"}")
}

fn until(what: &str, mut look: impl FnMut() -> bool) {
    eventually(what, || look().then_some(()));
}

#[test]
fn requests_beyond_the_slots_wait_in_order_and_those_beyond_the_line_are_refused() {
    let app = Turnstile::start();
    let gateway = start(&format!(
        "endpoints = [\"{}\"]\nmax_requests = 2\nqueue = {{ size = 3, timeout = \"60s\" }}",
        app.upstream.url()
    ));
    let mut clients = Vec::new();
    for nth in 0..5 {
        clients.push(send(&gateway, &format!("/{nth}")));
        let (served, waiting) = (app_count(nth + 1), (nth + 1).saturating_sub(2));
        until("it is served or waits", || {
            app.upstream.count() == served && depth(&gateway) as usize == waiting
        });
    }
    let refused = get(&gateway, "/beyond").expect(503);
    assert_eq!(refused.json()["code"], "queue_full");
    assert_eq!(refused.header("retry-after"), Some("5"));
    // One slot is free, and it is the first in line who gets it.
    app.let_through(1);
    until("the next one is served", || app.upstream.count() == 3);
    assert_eq!(depth(&gateway), 2.0);
    // Who leaves is out of the line.
    drop(clients.remove(3));
    until("the place is free", || depth(&gateway) as usize == 1);
    app.let_through(4);
    for mut client in clients {
        assert_eq!(client.response().status, 200);
    }
    let targets: Vec<_> =
        app.upstream.received().iter().map(|one| one.target().to_owned()).collect();
    let mut early: Vec<_> = targets[..2].to_vec();
    early.sort_unstable();
    assert_eq!(
        (early, &targets[2..]),
        (vec!["/0".into(), "/1".into()], &["/2".into(), "/4".into()][..])
    );
    assert_eq!(depth(&gateway), 0.0);
}

/// How many of so many requests two slots let through.
fn app_count(sent: usize) -> usize {
    sent.min(2)
}

#[test]
fn nobody_waits_longer_than_the_line_allows() {
    let app = Turnstile::start();
    let gateway = start(&format!(
        "endpoints = [\"{}\"]\nmax_requests = 1\nqueue = {{ timeout = \"50ms\" }}",
        app.upstream.url()
    ));
    let mut first = send(&gateway, "/first");
    until("it is served", || app.upstream.count() == 1);
    assert_eq!(get(&gateway, "/second").expect(503).json()["code"], "queue_full");
    app.let_through(1);
    assert_eq!(first.response().status, 200);
    assert_eq!(app.upstream.count(), 1);
    // A line of nobody refuses at once.
    gateway
        .reload(&configuration(&format!(
            "endpoints = [\"{}\"]\nmax_requests = 1\nqueue = {{ size = 0 }}",
            app.upstream.url()
        )))
        .unwrap();
    let held = send(&gateway, "/third");
    until("it is served", || app.upstream.count() == 2);
    get(&gateway, "/fourth").expect(503);
    drop(held);
}

#[test]
fn thousands_of_requests_find_their_way_through_few_slots() {
    let (most, now) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (seen, busy) = (Arc::clone(&most), Arc::clone(&now));
    let app = Upstream::start(move |_, stream| {
        seen.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::yield_now();
        busy.fetch_sub(1, Ordering::SeqCst);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        Ok(Then::Keep)
    });
    let gateway = start(&format!(
        "endpoints = [\"{}\"]\nmax_requests = 3\nqueue = {{ timeout = \"10m\" }}",
        app.url()
    ));
    thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                let mut client = Client::tcp(gateway.address("plain"));
                for _ in 0..100 {
                    assert_eq!(client.get("/", "").status, 200);
                }
            });
        }
    });
    assert_eq!(app.count(), 2400);
    assert!(most.load(Ordering::SeqCst) <= 3, "{most:?}");
    assert_eq!(depth(&gateway), 0.0);
}

/// Two applications that say their names, and one of them whether it is well.
struct Pair {
    well: Arc<AtomicBool>,
    one: Upstream,
    two: Upstream,
}

impl Pair {
    fn start() -> Self {
        let well = Arc::new(AtomicBool::new(true));
        let state = Arc::clone(&well);
        let one = Upstream::start(move |request, stream| {
            let status = match request.target() {
                "/healthz" if !state.load(Ordering::SeqCst) => 500,
                _ => 200,
            };
            write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 3\r\n\r\none")?;
            Ok(Then::Keep)
        });
        Self { well, one, two: Upstream::saying("two") }
    }

    /// As a configuration names them.
    fn urls(&self) -> String {
        format!("\"{}\", \"{}\"", self.one.url(), self.two.url())
    }
}

fn up(gateway: &Gateway, upstream: &Upstream) -> bool {
    let url = upstream.url();
    let sample = format!("portcullis_upstream_endpoint_up{{endpoint=\"{url}\",upstream=\"web\"}}");
    gateway.metric(&sample) == 1.0
}

fn counts(gateway: &Gateway, paths: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let mut client = Client::tcp(gateway.address("plain"));
    for path in paths {
        *counts.entry(client.get(&path, "").expect(200).text().to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn an_endpoint_whose_checks_fail_gets_nothing_until_they_are_good_and_over_a_reload() {
    let pair = Pair::start();
    let upstream = format!(
        "endpoints = [{}]\nhealth = {{ path = \"/healthz\", interval = \"10ms\", fall = 2, \
         host = \"app.test\" }}",
        pair.urls()
    );
    let gateway = start(&upstream);
    assert!(up(&gateway, &pair.one) && up(&gateway, &pair.two));
    pair.well.store(false, Ordering::SeqCst);
    until("the checks fail", || !up(&gateway, &pair.one));
    let asked = |path: String| move |_| path.clone();
    assert_eq!(counts(&gateway, (0..20).map(asked("/x".into()))), [("two".into(), 20)].into());
    // What a reload leaves alone is not thought well of anew.
    gateway.reload(&configuration(&upstream).replace("[[route]]", "# changed\n[[route]]")).unwrap();
    assert!(!up(&gateway, &pair.one) && up(&gateway, &pair.two));
    assert_eq!(counts(&gateway, (0..20).map(asked("/x".into()))), [("two".into(), 20)].into());
    let shown = gateway.admin("/upstreams").expect(200).json();
    assert_eq!(shown[0]["endpoints"][0]["up"], false, "{shown}");
    pair.well.store(true, Ordering::SeqCst);
    until("the checks are good", || up(&gateway, &pair.one));
    assert_eq!(counts(&gateway, (0..40).map(asked("/x".into()))).len(), 2);
    let checks = pair.one.received();
    let check = checks.iter().find(|one| one.target() == "/healthz").unwrap();
    assert_eq!(check.headers("host"), ["app.test"]);
    // An endpoint that is gone has no state any more.
    gateway.reload(&configuration(&format!("endpoints = [\"{}\"]", pair.two.url()))).unwrap();
    let gone = format!("endpoint_up{{endpoint=\"{}\"", pair.one.url());
    assert!(!gateway.admin("/metrics").text().contains(&gone));
}

#[test]
fn an_endpoint_that_fails_too_often_is_left_alone_and_taken_back() {
    let pair = Pair::start();
    let broken = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&broken);
    let shaky = Upstream::start(move |_, stream| {
        if state.load(Ordering::SeqCst) {
            return Ok(Then::Close);
        }
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nshaky")?;
        Ok(Then::Keep)
    });
    let gateway = start(&format!(
        "endpoints = [\"{}\", \"{}\"]\neject = {{ after = 3, time = \"100ms\" }}\n\
         balance = \"round_robin\"",
        shaky.url(),
        pair.two.url()
    ));
    // No client hears of it, since these may be sent again.
    let asked = |count| (0..count).map(|_| "/x".to_owned());
    assert_eq!(counts(&gateway, asked(20)), [("two".into(), 20)].into());
    assert!((3..20).contains(&shaky.count()), "{}", shaky.count());
    broken.store(false, Ordering::SeqCst);
    until("it is taken back", || up(&gateway, &shaky));
    assert_eq!(counts(&gateway, asked(40)).len(), 2);
    let failed = "portcullis_upstream_errors_total{endpoint=\"ENDPOINT\",reason=\"upstream_failed\",upstream=\"web\"}";
    assert!(gateway.metric(&failed.replace("ENDPOINT", &shaky.url())) >= 3.0);
}

#[test]
fn a_backup_serves_only_while_nobody_else_can() {
    let (daily, spare) = (Pair::start(), Upstream::saying("spare"));
    let gateway = start(&format!(
        "endpoints = [\"{}\", {{ url = \"{}\", backup = true }}]\n\
         health = {{ path = \"/healthz\", interval = \"10ms\", fall = 1, rise = 1 }}",
        daily.one.url(),
        spare.url()
    ));
    let asked = || (0..10).map(|_| "/x".to_owned());
    until("it is up", || up(&gateway, &daily.one));
    assert_eq!(counts(&gateway, asked()), [("one".into(), 10)].into());
    daily.well.store(false, Ordering::SeqCst);
    until("it is down", || !up(&gateway, &daily.one));
    assert_eq!(counts(&gateway, asked()), [("spare".into(), 10)].into());
}

#[test]
fn the_same_header_cookie_claim_or_address_meets_the_same_endpoint() {
    let apps = ["one", "two", "three", "four"].map(Upstream::saying);
    let urls = apps.each_ref().map(|app| format!("\"{}\"", app.url())).join(", ");
    let signer = Signer::hmac(SECRET.as_bytes());
    for (by, path, line) in [
        ("header:X-Tenant", "/x", None),
        ("cookie:sid", "/x", None),
        ("claim:sub", "/token/x", None),
        ("ip", "/x", Some("")),
    ] {
        let gateway = start(&format!("endpoints = [{urls}]\nbalance = \"hash:{by}\""));
        let lines = |nth: usize| match (by, line) {
            (_, Some(line)) => String::from(line),
            ("header:X-Tenant", _) => format!("X-Tenant: {nth}\r\n"),
            ("cookie:sid", _) => format!("Cookie: a=b; sid={nth}; c=d\r\n"),
            _ => {
                let token = signer.sign(&claims(ISSUER, &format!("user-{nth}")));
                format!("Authorization: Bearer {token}\r\n")
            }
        };
        let address = gateway.address("plain");
        let met = |nth: usize| {
            let client = [127, 0, 0, u8::try_from(nth + 1).unwrap()].into();
            let met = Client::tcp_from(client, address).get(path, &lines(nth)).expect(200);
            met.text().to_owned()
        };
        let first: Vec<_> = (0..24).map(met).collect();
        assert_eq!(first, (0..24).map(met).collect::<Vec<_>>(), "{by}");
        let different: std::collections::BTreeSet<_> = first.iter().collect();
        assert!(different.len() >= 3, "{by}: {different:?}");
    }
}

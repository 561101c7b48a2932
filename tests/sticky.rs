//! Clients that come back to their endpoint by a cookie of the gateway's own.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::certificate::Certificate;
use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::{Then, Upstream};
use crate::support::{Response, eventually};
use crate::websocket::{ASKS, SWITCHES};

/// An application that can be made unwell.
struct Application {
    upstream: Upstream,
    well: Arc<AtomicBool>,
}

impl Application {
    fn start(name: &'static str) -> Self {
        let well = Arc::new(AtomicBool::new(true));
        let seen = Arc::clone(&well);
        let upstream = Upstream::start(move |request, stream| {
            let (status, more) = match request.target() {
                "/healthz" if !seen.load(Ordering::SeqCst) => ("503 Service Unavailable", ""),
                "/ws" => {
                    write!(stream, "{SWITCHES}")?;
                    return Ok(Then::Keep);
                }
                "/cached" => {
                    ("200 OK", "Cache-Control: public, max-age=60\r\nSet-Cookie: app=1\r\n")
                }
                _ => ("200 OK", ""),
            };
            let length = name.len();
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{more}\r\n{name}")?;
            Ok(Then::Keep)
        });
        Self { upstream, well }
    }

    fn asked(&self, path: &str) -> Vec<String> {
        let mut received = self.upstream.received();
        received.retain(|one| one.target() == path);
        received.into_iter().map(|one| one.head).collect()
    }
}

const MORE: &str = "sticky_secret = \"0123456789abcdef0123456789abcdef\"";

fn text(apps: &[Application], more: &str) -> String {
    let urls: Vec<_> = apps.iter().map(|app| format!("\"{}\"", app.upstream.url())).collect();
    configuration(&urls.join(", "), more)
}

fn configuration(endpoints: &str, more: &str) -> String {
    format!(
        "[listener.plain]\naddress = \"127.0.0.1:0\"\n\
         [upstream.web]\nendpoints = [{endpoints}]\nbalance = \"sticky:srv\"\n{more}\n\
         [[route]]\npath = \"/*\"\nupstream = \"web\"\npublic = true\n"
    )
}

fn ask(gateway: &Gateway, path: &str, cookie: &str) -> Response {
    let line = if cookie.is_empty() { String::new() } else { format!("Cookie: {cookie}\r\n") };
    Client::tcp(gateway.address("plain")).get(path, &line)
}

/// The cookie that a response sets, as a client sends it back, and what else is said of it.
fn set(response: &Response) -> Option<(String, String)> {
    let lines = response.headers.iter().filter(|(name, _)| name == "set-cookie");
    let ours: Vec<_> =
        lines.filter_map(|(_, line)| line.starts_with("srv=").then_some(line)).collect();
    assert!(ours.len() < 2, "{ours:?}");
    let (pair, rest) = ours.first()?.split_once("; ")?;
    Some((pair.to_owned(), rest.to_owned()))
}

#[test]
fn a_client_comes_back_to_the_endpoint_that_answered_it_first() {
    let apps = ["one", "two", "three"].map(Application::start);
    let gateway = Setup::new().start(&text(&apps, MORE));
    let mut met = BTreeSet::new();
    for _ in 0..12 {
        let first = ask(&gateway, "/", "").expect(200);
        let (cookie, rest) = set(&first).unwrap();
        assert_eq!(rest, "Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(first.header("cache-control"), Some("private"));
        let value = cookie.strip_prefix("srv=").unwrap();
        assert!(value.len() == 16 && value.bytes().all(|byte| byte.is_ascii_hexdigit()));
        for _ in 0..5 {
            let again = ask(&gateway, "/again", &format!("a=1; {cookie}; b=2")).expect(200);
            assert_eq!(again.text(), first.text());
            assert_eq!((set(&again), again.header("cache-control")), (None, None));
        }
        met.insert((first.text().to_owned(), cookie));
    }
    assert!((2..=3).contains(&met.len()), "every endpoint has one name: {met:?}");
    // The application is not told, and keeps what is its own.
    let heads: Vec<_> = apps.iter().flat_map(|app| app.asked("/again")).collect();
    assert_eq!(heads.len(), 60);
    assert!(
        heads.iter().all(|head| head.contains("\r\ncookie: a=1; b=2\r\n") && !head.contains("srv"))
    );
    // Another gateway with the same secret, and this one after a reload, mean the same.
    let (name, cookie) = met.first().unwrap();
    let other = Setup::new().start(&text(&apps, &format!("retries = 0\n{MORE}")));
    gateway.reload(&text(&apps, &format!("retries = 1\n{MORE}"))).unwrap();
    for gateway in [&gateway, &other] {
        let answer = ask(gateway, "/", cookie);
        assert_eq!((answer.text(), set(&answer)), (name.as_str(), None));
    }
    // What names no endpoint is no cookie of ours: also not under another secret.
    gateway.reload(&text(&apps, &MORE.replace('0', "f"))).unwrap();
    for unknown in [cookie.as_str(), "srv=0000000000000000", "srv=127.0.0.1", "srv="] {
        assert!(set(&ask(&gateway, "/", unknown).expect(200)).is_some(), "{unknown}");
    }
}

#[test]
fn a_response_that_sets_the_cookie_is_not_for_caches() {
    let apps = ["one", "two"].map(Application::start);
    let gateway = Setup::new().start(&text(&apps, ""));
    let first = ask(&gateway, "/cached", "").expect(200);
    assert_eq!(first.header("cache-control"), Some("max-age=60, private"));
    assert!(first.headers.iter().any(|(_, value)| value == "app=1"));
    let again = ask(&gateway, "/cached", &set(&first).unwrap().0).expect(200);
    assert_eq!(again.header("cache-control"), Some("public, max-age=60"));
}

#[test]
fn an_endpoint_that_is_down_loses_its_clients() {
    let apps = ["one", "two"].map(Application::start);
    let health = "health = { path = \"/healthz\", interval = \"10ms\", fall = 1, rise = 1 }";
    let gateway = Setup::new().start(&text(&apps, &format!("{MORE}\n{health}")));
    let first = ask(&gateway, "/", "").expect(200);
    let (cookie, _) = set(&first).unwrap();
    let home = apps.iter().find(|app| app.asked("/").len() == 1).unwrap();
    let up = |wanted: f64| {
        let sample = format!(
            "portcullis_upstream_endpoint_up{{endpoint=\"{}\",upstream=\"web\"}}",
            home.upstream.url()
        );
        eventually("its state changes", || {
            ((gateway.metric(&sample) - wanted).abs() < 0.5).then_some(())
        });
    };
    home.well.store(false, Ordering::SeqCst);
    up(0.0);
    let moved = ask(&gateway, "/", &cookie).expect(200);
    assert_ne!(moved.text(), first.text());
    let (other, _) = set(&moved).unwrap();
    assert_ne!(other, cookie);
    home.well.store(true, Ordering::SeqCst);
    up(1.0);
    // It stays where it went.
    let stayed = ask(&gateway, "/", &other).expect(200);
    assert_eq!((stayed.text(), set(&stayed)), (moved.text(), None));
}

#[test]
fn no_cookie_opens_a_backup() {
    let (daily, spare) = (Application::start("daily"), Application::start("spare"));
    let endpoints = format!(
        "\"{}\", {{ url = \"{}\", backup = true }}",
        daily.upstream.url(),
        spare.upstream.url()
    );
    // Its name, from a gateway that has nothing else.
    let alone = format!("\"{}\"", spare.upstream.url());
    let gateway = Setup::new().start(&configuration(&alone, MORE));
    let (cookie, _) = set(&ask(&gateway, "/", "").expect(200)).unwrap();
    gateway.reload(&configuration(&endpoints, MORE)).unwrap();
    let answer = ask(&gateway, "/", &cookie).expect(200);
    assert_eq!(answer.text(), "daily");
    assert_ne!(set(&answer).unwrap().0, cookie);
}

#[test]
fn a_websocket_meets_its_endpoint_too_and_over_tls_the_cookie_is_secure() {
    let apps = ["one", "two"].map(Application::start);
    let setup = Setup::new();
    let certificate = Certificate::make(setup.folder());
    let tls = format!(
        "[listener.tls]\naddress = \"127.0.0.1:0\"\n[listener.tls.tls]\n\
         certificates = [{{ cert = '{}', key = '{}' }}]\n",
        certificate.cert.display(),
        certificate.key.display()
    );
    let gateway = setup.start(&format!("{}{tls}", text(&apps, MORE)));
    let mut client = Client::tls(gateway.address("tls"), &certificate.client("http/1.1"));
    let first = client.get("/", "").expect(200);
    let (cookie, rest) = set(&first).unwrap();
    assert_eq!(rest, "Path=/; HttpOnly; SameSite=Lax; Secure");
    for _ in 0..6 {
        let mut client = Client::tcp(gateway.address("plain"));
        client
            .send(format!("GET /ws HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n{ASKS}\r\n"));
        let head = client.head().expect(101);
        assert_eq!(set(&head), None);
    }
    let home = apps.iter().find(|app| !app.asked("/").is_empty()).unwrap();
    let handshakes = home.asked("/ws");
    assert_eq!(handshakes.len(), 6);
    assert!(handshakes.iter().all(|head| !head.contains("srv=")));
    let mut client = Client::tcp(gateway.address("plain"));
    client.send(format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{ASKS}\r\n"));
    assert!(set(&client.head().expect(101)).is_some());
}

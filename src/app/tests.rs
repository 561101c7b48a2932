//! A whole gateway in this process: its listeners over reloads, its records, its end.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::{AccessSink, App, Options};
use crate::clock::Clock;
use crate::config::{Diagnostics, Environment};
use crate::demo::certificate::Development;
use crate::demo::issuer::{Issuer, User};
use crate::reload::Origin;

struct Running {
    app: App,
    folder: TempDir,
}

impl Running {
    fn start(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(folder, text)
    }

    fn start_in(folder: TempDir, text: &str) -> Self {
        let file = folder.path().join("gateway.toml");
        fs::write(&file, with_admin(text)).unwrap();
        let options = Options {
            origin: Origin::File(file),
            environment: Environment::default(),
            clock: Clock::system(),
            access_log: AccessSink::File(folder.path().join("access.log")),
            watch: false,
        };
        let app = App::start(options).unwrap_or_else(|error| panic!("{error}"));
        Self { app, folder }
    }

    fn reload(&self, text: &str) -> Result<String, Diagnostics> {
        fs::write(self.folder.path().join("gateway.toml"), with_admin(text)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.app.reload())
    }

    fn address(&self, listener: &str) -> SocketAddr {
        self.app.bound_addrs()[listener]
    }

    /// The access records, when everything has ended.
    fn records(self) -> Vec<Value> {
        self.app.drain();
        let lines = fs::read_to_string(self.folder.path().join("access.log")).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn with_admin(text: &str) -> String {
    match text.contains("[admin]") {
        true => text.to_owned(),
        false => format!("{text}\n[admin]\naddress = \"127.0.0.1:0\"\n"),
    }
}

fn listener(name: &str) -> String {
    format!("[listener.{name}]\naddress = \"127.0.0.1:0\"\n")
}

fn public(path: &str, upstream: SocketAddr) -> String {
    format!("[[route]]\npath = \"{path}\"\nupstream = \"http://{upstream}\"\npublic = true\n")
}

/// Sends `request` whole and reads until the gateway closes.
fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
}

/// An application that answers by path, one request a connection.
fn application() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in socket.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
                let _gone = stream.write_all(answer(&head).as_bytes()).is_err();
                if head.contains("/endless") {
                    // Until nobody reads any more.
                    while stream.write_all(&[b'x'; 65_536]).is_ok() {}
                }
            });
        }
    });
    address
}

fn answer(head: &str) -> String {
    let path = head.split(' ').nth(1).unwrap_or_default();
    let proto = head.split("x-forwarded-proto: ").nth(1).and_then(|rest| rest.split('\r').next());
    let (status, rest) = match path {
        "/none" => ("204 No Content", "\r\n".to_owned()),
        "/same" => ("304 Not Modified", "etag: \"x\"\r\n\r\n".to_owned()),
        "/empty" => ("200 OK", "content-length: 0\r\n\r\n".to_owned()),
        "/chunked" => (
            "200 OK",
            "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-end: 1\r\n\r\n".to_owned(),
        ),
        "/closed" => ("200 OK", "\r\nabc".to_owned()),
        "/broken" => ("200 OK", "content-length: 10\r\n\r\nabc".to_owned()),
        "/endless" => ("200 OK", "content-length: 1000000000\r\n\r\n".to_owned()),
        _ if head.starts_with("head") => ("200 OK", "content-length: 5\r\n\r\n".to_owned()),
        _ => {
            let proto = proto.unwrap_or("none");
            ("200 OK", format!("content-length: {}\r\n\r\n{proto}", proto.len()))
        }
    };
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n{rest}")
}

// === records ===

#[test]
fn a_listener_moves_between_addresses_that_share_its_port() {
    let application = application();
    let at = |address: &str| {
        format!("[listener.main]\naddress = \"{address}\"\n") + &public("/*", application)
    };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let running = Running::start(&at(&format!(":{port}")));
    let local = SocketAddr::from(([127, 0, 0, 1], port));
    let answers = || ask(local, &request("GET", "/")).starts_with("HTTP/1.1 200");
    for address in ["127.0.0.1", "0.0.0.0", "localhost", "", "127.0.0.1"] {
        running.reload(&at(&format!("{address}:{port}"))).unwrap();
        assert!(answers(), "{address}");
    }
    // And nobody else may: neither another program, nor a second listener beside one that stays.
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = elsewhere.local_addr().unwrap();
    running.reload(&at(&taken.to_string())).unwrap_err();
    let two =
        at(&format!("127.0.0.1:{port}")) + &format!("[listener.more]\naddress = \":{port}\"\n");
    running.reload(&two).unwrap_err();
    let both = format!("[listener.a]\naddress = \"0.0.0.0:{port}\"\n")
        + &format!("[listener.b]\naddress = \":{port}\"\n")
        + &public("/*", application);
    running.reload(&both).unwrap_err();
    assert!(TcpListener::bind(("127.0.0.1", port)).is_err());
    assert!(answers());
}

#[test]
fn a_client_that_asks_and_leaves_at_once_has_its_record() {
    let application = application();
    let running = Running::start(&(listener("main") + &public("/*", application)));
    let address = running.address("main");
    for _ in 0..ONES_THAT_LEAVE {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request("GET", "/left").as_bytes()).unwrap();
    }
    // The drain waits for all that was accepted; what was accepted is in the order it came.
    assert!(ask(address, &request("GET", "/stayed")).starts_with("HTTP/1.1 200"));
    let records = running.records();
    let left: Vec<_> = records.iter().filter(|record| record["path"] == "/left").collect();
    assert_eq!(left.len(), ONES_THAT_LEAVE);
    for record in left {
        let status = record["status"].as_u64().unwrap();
        assert!(matches!(status, 200 | 499), "{record}");
    }
}

/// Enough that some are gone before anybody has looked at what they ask.
const ONES_THAT_LEAVE: usize = 50;

#[test]
fn every_exchange_has_one_record_that_says_how_it_ended() {
    let application = application();
    let gateway = Running::start(&(listener("main") + &public("/*", application)));
    let address = gateway.address("main");
    for (method, path) in [
        ("HEAD", "/head"),
        ("GET", "/none"),
        ("GET", "/same"),
        ("GET", "/empty"),
        ("GET", "/length"),
        ("GET", "/chunked"),
        ("GET", "/closed"),
        ("GET", "/broken"),
        ("GET", "/bad\\path"),
        ("HEAD", "/bad%"),
    ] {
        ask(address, &request(method, path));
    }
    let mut leaving = TcpStream::connect(address).unwrap();
    leaving.write_all(request("GET", "/endless").as_bytes()).unwrap();
    leaving.read_exact(&mut [0; 1000]).unwrap();
    drop(leaving);

    let mut ended: Vec<_> = gateway
        .records()
        .iter()
        .map(|record| {
            let text = |key: &str| record[key].as_str().unwrap_or("-").to_owned();
            let bytes =
                if text("path") == "/endless" { 0 } else { record["bytes_out"].as_u64().unwrap() };
            (text("path"), record["status"].as_u64().unwrap(), text("reason"), bytes)
        })
        .collect();
    ended.sort();
    let expected = [
        ("/bad%", 400, "bad_request", 0),
        ("/bad\\path", 400, "bad_request", 214),
        ("/broken", 200, "upstream_failed", 3),
        ("/chunked", 200, "-", 3),
        ("/closed", 200, "-", 3),
        ("/empty", 200, "-", 0),
        ("/endless", 499, "client_gone", 0),
        ("/head", 200, "-", 0),
        ("/length", 200, "-", 4),
        ("/none", 204, "-", 0),
        ("/same", 304, "-", 0),
    ];
    let expected = expected
        .map(|(path, status, reason, bytes)| (path.to_owned(), status, reason.to_owned(), bytes));
    // How long a refusal's body is does not matter here.
    for row in &mut ended {
        if row.0 == "/bad\\path" {
            assert!(row.3 > 0);
            row.3 = 214;
        }
    }
    assert_eq!(ended, expected);
}

#[test]
fn a_client_that_leaves_early_is_told_with_the_upstream_it_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = Running::start(&(listener("main") + &public("/*", silent.local_addr().unwrap())));
    let mut leaving = TcpStream::connect(gateway.address("main")).unwrap();
    leaving.write_all(request("GET", "/slow").as_bytes()).unwrap();
    let (held, _) = silent.accept().unwrap();
    drop(leaving);
    let records = gateway.records();
    drop(held);
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["reason"], "client_gone");
    assert!(records[0]["upstream"]["name"].as_str().unwrap().starts_with("http://127.0.0.1"));
}

// === listeners ===

#[test]
fn two_listeners_on_free_ports_both_listen() {
    let text = listener("a") + &listener("b") + &public("/*", application());
    let gateway = Running::start(&text);
    assert_ne!(gateway.address("a"), gateway.address("b"));
    let before = gateway.app.bound_addrs();
    for name in ["a", "b"] {
        assert!(ask(gateway.address(name), &request("GET", "/")).starts_with("HTTP/1.1 200"));
    }
    gateway.reload(&text).unwrap();
    assert_eq!(gateway.app.bound_addrs(), before, "sockets outlive configurations");
}

#[test]
fn listeners_come_and_go_with_reloads() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("gate.sock");
    let unix = "[listener.unix]\naddress = \"unix:gate.sock\"\n";
    let route = public("/*", application());
    let gateway = Running::start_in(folder, &(listener("a") + &route));
    let kept = gateway.address("a");

    gateway.reload(&(listener("a") + unix + &route)).unwrap();
    assert!(socket.exists());
    assert_eq!(gateway.address("a"), kept);

    gateway.reload(&(unix.to_owned() + &listener("c") + &route)).unwrap();
    assert!(ask(gateway.address("c"), &request("GET", "/")).starts_with("HTTP/1.1 200"));
    eventually(|| TcpStream::connect(kept).is_err());

    gateway.reload(&(listener("c") + &route)).unwrap();
    eventually(|| !socket.exists());
}

#[test]
fn a_reload_that_cannot_bind_changes_nothing_and_leaves_no_socket() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let route = public("/*", application());
    let gateway = Running::start(&(listener("a") + &route));
    let busy = format!("[listener.busy]\naddress = \"{}\"\n", taken.local_addr().unwrap());
    let unix = "[listener.unix]\naddress = \"unix:gate.sock\"\n";
    let errors = gateway.reload(&(listener("a") + unix + &busy + &route)).unwrap_err();
    assert_eq!(errors.errors(), 1, "{errors}");
    assert!(!gateway.folder.path().join("gate.sock").exists());
    assert!(ask(gateway.address("a"), &request("GET", "/")).starts_with("HTTP/1.1 200"));
}

#[test]
fn the_admin_socket_has_no_name_after_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let admin = folder.path().join("admin.sock");
    let text = listener("a") + &public("/*", application());
    let gateway = Running::start_in(folder, &(text + "[admin]\naddress = \"unix:admin.sock\"\n"));
    assert!(admin.exists());
    gateway.app.drain();
    assert!(!admin.exists());
}

#[test]
fn a_plain_connection_is_never_told_as_https() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path());
    let route = public("/*", application());
    let gateway = Running::start_in(folder, &(listener("main") + &route));
    let mut kept = TcpStream::connect(gateway.address("main")).unwrap();
    let mut proto = || {
        kept.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\nhttp") && kept.read(&mut byte).unwrap() == 1 {
            answer.push(byte[0]);
        }
        String::from_utf8(answer).unwrap()
    };
    assert!(proto().contains("content-length: 4"));
    let tls = "tls = { certificates = [{ cert = \"dev.crt\", key = \"dev.key\" }] }\n";
    gateway.reload(&(listener("main") + tls + &route)).unwrap();
    assert!(proto().contains("content-length: 4"), "http, not https");
}

fn certificate(folder: &Path) {
    let development = Development::provide(folder, &Clock::system()).unwrap();
    for (from, to) in [(development.cert(), "dev.crt"), (development.key(), "dev.key")] {
        if from != folder.join(to) {
            fs::copy(from, folder.join(to)).unwrap();
        }
    }
}

// === issuers ===

#[test]
fn a_new_issuer_has_its_keys_when_the_reload_is_over() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    let user = User { username: "u".to_owned(), password: "p".to_owned() };
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = Issuer::start(socket, &handle, user, Clock::system()).unwrap();
    let route = public("/*", application());
    let gateway = Running::start(&(listener("a") + &route));
    let protected = format!(
        "[issuer.main]\nurl = \"{}\"\naudience = \"any\"\n[[route]]\npath = \"/api/*\"\nupstream = \"http://127.0.0.1:9\"\n",
        issuer.url()
    );
    gateway.reload(&(listener("a") + &protected + &route)).unwrap();
    let ready = ask(
        gateway.app.admin_addr().unwrap(),
        &request("GET", "/readyz").replace("Host: h", "Host: localhost"),
    );
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
}

// === the end ===

#[tokio::test]
async fn an_app_may_be_dropped_inside_a_runtime() {
    let gateway = Running::start(&(listener("a") + &public("/*", application())));
    let address = gateway.address("a");
    drop(gateway);
    assert!(TcpStream::connect(address).is_err());
}

fn eventually(condition: impl Fn() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it never came");
}

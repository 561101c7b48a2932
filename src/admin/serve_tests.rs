//! The admin address over raw sockets: who may see and do what.

use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;

use super::*;
use crate::admin::{Readiness, Refused, ReloadRequest, Reloaded, Revoke, State};
use crate::telemetry::metrics::Metrics;

struct Documents(Readiness);

impl State for Documents {
    fn readiness(&self) -> Readiness {
        self.0
    }
    fn routes(&self) -> Value {
        json!({ "document": "routes" })
    }
    fn issuers(&self) -> Value {
        json!({ "document": "issuers" })
    }
    fn upstreams(&self) -> Value {
        json!({ "document": "upstreams" })
    }
    fn revocations(&self) -> Value {
        json!({ "document": "revocations" })
    }
    fn config(&self) -> Value {
        json!({ "document": "config" })
    }
}

/// Says yes to a line, no to an empty body, and has no room for `full`.
impl Revoke for Documents {
    fn revoke(&self, lines: &str) -> Result<usize, Refused> {
        match lines {
            "" => Err(Refused::Unreadable("line 1: no".to_owned())),
            "full" => Err(Refused::Full("no room".to_owned())),
            lines => Ok(lines.lines().count()),
        }
    }
    fn take_back(&self, lines: &str) -> Result<usize, Refused> {
        self.revoke(lines)
    }
    fn kept(&self) -> std::pin::Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(std::future::ready(true))
    }
}

struct Setup {
    admin: Arc<Admin>,
    reloads: mpsc::Receiver<ReloadRequest>,
    stop: watch::Sender<bool>,
}

impl Setup {
    fn new(readiness: Readiness) -> Self {
        let (reload, reloads) = mpsc::channel(1);
        let (stop, _) = watch::channel(false);
        let state = Arc::new(Documents(readiness));
        let (metrics, revoke) = (Metrics::new(), Arc::clone(&state) as Arc<dyn Revoke>);
        Self { admin: Arc::new(Admin { metrics, state, revoke, reload }), reloads, stop }
    }

    async fn tcp(&self) -> std::net::SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let socket = Socket::tcp(listener).unwrap();
        tokio::spawn(serve(Arc::clone(&self.admin), socket, self.stop.subscribe()));
        address
    }

    fn unix(&self, path: &Path) {
        let socket = Socket::unix(std::os::unix::net::UnixListener::bind(path).unwrap()).unwrap();
        tokio::spawn(serve(Arc::clone(&self.admin), socket, self.stop.subscribe()));
    }

    /// Answers the next reload.
    fn answer(mut self, with: Reloaded) -> tokio::task::JoinHandle<Self> {
        tokio::spawn(async move {
            self.reloads.recv().await.unwrap().reply.send(with).unwrap();
            self
        })
    }
}

async fn talk(mut stream: impl Stream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn ask(address: std::net::SocketAddr, line: &str, headers: &str) -> String {
    let stream = TcpStream::connect(address).await.unwrap();
    talk(stream, &format!("{line} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n")).await
}

#[track_caller]
fn assert_status(answer: &str, status: u16) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(answer.contains("cache-control: no-store\r\n"), "{answer}");
}

const LOCAL: &str = "Host: localhost:9180\r\n";

#[tokio::test]
async fn pages_for_anyone_ask_for_no_host() {
    let setup = Setup::new(Readiness::Ready);
    let address = setup.tcp().await;
    for path in ["/livez", "/readyz", "/healthz", "/metrics"] {
        let answer = ask(address, &format!("GET {path}"), "Host: evil.example\r\n").await;
        assert_status(&answer, 200);
    }
    let metrics = ask(address, "GET /metrics?x=1", "").await;
    assert!(metrics.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(metrics.contains("\nportcullis_build_info{"));
    let head = ask(address, "HEAD /metrics", "").await;
    assert_status(&head, 200);
    assert!(head.ends_with("\r\n\r\n"));
}

#[tokio::test]
async fn whoever_is_not_ready_lives_but_says_so() {
    for readiness in [Readiness::Draining, Readiness::KeysUnavailable, Readiness::Starting] {
        let address = Setup::new(readiness).tcp_kept().await;
        assert_status(&ask(address.0, "GET /livez", "").await, 200);
        let answer = ask(address.0, "GET /readyz", "").await;
        assert_status(&answer, 503);
        assert!(answer.ends_with(&format!("\r\n{}\n", readiness.as_str())));
    }
}

impl Setup {
    /// Keeps the setup alive beside its address.
    async fn tcp_kept(self) -> (std::net::SocketAddr, Self) {
        (self.tcp().await, self)
    }
}

#[tokio::test]
async fn documents_want_a_host_of_this_machine() {
    let setup = Setup::new(Readiness::Ready);
    let address = setup.tcp().await;
    for document in ["routes", "issuers", "upstreams", "revocations", "config"] {
        let line = format!("GET /{document}");
        for host in [LOCAL, "Host: 127.0.0.1\r\n", "Host: [::1]:80\r\n"] {
            let answer = ask(address, &line, host).await;
            assert_status(&answer, 200);
            let body = answer.split("\r\n\r\n").nth(1).unwrap();
            assert_eq!(serde_json::from_str::<Value>(body).unwrap()["document"], document);
        }
        for host in ["", "Host: evil.example\r\n", "Host: localhost\r\nHost: localhost\r\n"] {
            let answer = ask(address, &line, host).await;
            assert_status(&answer, 421);
            assert!(!answer.contains("document"));
        }
        let line = format!("GET http://evil.example/{document}");
        assert_status(&ask(address, &line, LOCAL).await, 421);
    }
    assert_status(&ask(address, "GET /", LOCAL).await, 404);
    assert_status(&ask(address, "GET /config/", LOCAL).await, 404);
}

#[tokio::test]
async fn nothing_but_reading_is_allowed() {
    let setup = Setup::new(Readiness::Ready);
    let address = setup.tcp().await;
    for path in ["/metrics", "/livez", "/readyz", "/healthz", "/routes", "/config"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            let answer = ask(address, &format!("{method} {path}"), LOCAL).await;
            assert_status(&answer, 405);
            assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
        }
    }
    let answer = ask(address, "GET /reload", LOCAL).await;
    assert_status(&answer, 405);
    assert!(answer.contains("allow: POST\r\n"), "{answer}");
}

#[tokio::test]
async fn a_page_in_a_browser_cannot_reload() {
    let mut setup = Setup::new(Readiness::Ready);
    let address = setup.tcp().await;
    for headers in [
        String::new(),
        "Portcullis-Action: other\r\n".to_owned(),
        "Portcullis-Action: reload\r\nOrigin: http://localhost\r\n".to_owned(),
        "Portcullis-Action: reload\r\nOrigin: null\r\n".to_owned(),
    ] {
        assert_status(&ask(address, "POST /reload", &format!("{LOCAL}{headers}")).await, 403);
    }
    let headers = "Host: evil.example\r\nPortcullis-Action: reload\r\n";
    assert_status(&ask(address, "POST /reload", headers).await, 421);
    assert!(setup.reloads.try_recv().is_err());
}

#[tokio::test]
async fn a_reload_says_what_came_of_it() {
    let setup = Setup::new(Readiness::Ready);
    let address = setup.tcp().await;
    let headers = format!("{LOCAL}Portcullis-Action: reload\r\nContent-Length: 0\r\n");

    let setup = setup.answer(Reloaded::Installed { generation: 7 });
    let answer = ask(address, "POST /reload", &headers).await;
    assert_status(&answer, 200);
    assert!(answer.contains("\"generation\": 7"), "{answer}");

    let refused = Reloaded::Refused { diagnostics: "line 3: no".to_owned() };
    let setup = setup.await.unwrap().answer(refused);
    let answer = ask(address, "POST /reload", &headers).await;
    assert_status(&answer, 422);
    assert!(answer.contains("line 3: no"), "{answer}");

    let mut setup = setup.await.unwrap();
    setup.reloads.close();
    assert_status(&ask(address, "POST /reload", &headers).await, 503);
}

#[tokio::test]
async fn a_second_reload_does_not_wait_for_the_first() {
    let setup = Setup::new(Readiness::Ready);
    let address = setup.tcp().await;
    let (reply, _kept) = tokio::sync::oneshot::channel();
    setup.admin.reload.try_send(ReloadRequest { reply }).unwrap();
    let headers = format!("{LOCAL}Portcullis-Action: reload\r\n");
    assert_status(&ask(address, "POST /reload", &headers).await, 503);
}

#[tokio::test]
async fn a_unix_socket_needs_no_host_and_no_action() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let setup = Setup::new(Readiness::Ready);
    setup.unix(&path);
    let _setup = setup.answer(Reloaded::Installed { generation: 1 });
    for (line, status) in [("GET /config", 200), ("POST /reload", 200), ("GET /reload", 405)] {
        let stream = UnixStream::connect(&path).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\nConnection: close\r\n\r\n");
        assert_status(&talk(stream, &request).await, status);
    }
}

#[tokio::test]
async fn revocations_are_written_over_the_unix_socket_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let setup = Setup::new(Readiness::Ready);
    let address = setup.tcp().await;
    setup.unix(&path);
    let long = "x".repeat((1 << 20) + 1);
    for (method, lines, status) in [
        ("POST", "a\nb", 200),
        ("DELETE", "a", 200),
        ("POST", "", 422),
        ("POST", "full", 507),
        ("PUT", "a", 405),
        ("POST", &long, 413),
    ] {
        let length = lines.len();
        let head = format!("Content-Length: {length}\r\nConnection: close\r\n\r\n{lines}");
        let stream = UnixStream::connect(&path).await.unwrap();
        let answer = talk(stream, &format!("{method} /revocations HTTP/1.1\r\n{head}")).await;
        assert_status(&answer, status);
        // The same from a page of a browser, or any program: not over TCP.
        for action in ["", "Portcullis-Action: reload\r\n"] {
            let lines = format!("{LOCAL}{action}Content-Length: 0\r\n");
            let answer = ask(address, &format!("{method} /revocations"), &lines).await;
            assert_status(&answer, if method == "PUT" { 405 } else { 403 });
        }
    }
}

#[tokio::test]
async fn a_body_is_not_waited_for() {
    let setup = Setup::new(Readiness::Ready);
    let address = setup.tcp().await;
    let headers = format!("{LOCAL}Content-Length: 1000000000\r\n");
    assert_status(&ask(address, "POST /config", &headers).await, 405);
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let setup = Setup::new(Readiness::Ready);
    let address = setup.tcp().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("GET /livez HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEAD));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 431");
}

#[tokio::test]
async fn remote_peers_get_the_four_pages_alone() {
    let setup = Setup::new(Readiness::Ready);
    for (path, status) in [
        ("/metrics", 200),
        ("/livez", 200),
        ("/readyz", 200),
        ("/healthz", 200),
        ("/routes", 403),
        ("/issuers", 403),
        ("/upstreams", 403),
        ("/config", 403),
        ("/revocations", 403),
        ("/reload", 403),
        ("/", 403),
        ("/other", 403),
    ] {
        let request = hyper::Request::get(path).header("host", "localhost").body(()).unwrap();
        let reply = answer(&setup.admin, Peer::Remote, &request).await;
        assert_eq!(reply.status().as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn connections_are_counted_and_remote_ones_apart() {
    let room = Room::new();
    let remote: Vec<_> = (0..MAX_CONNECTIONS).map(|_| room.admit(Peer::Remote).unwrap()).collect();
    assert!(room.admit(Peer::Remote).is_none());
    assert!(room.admit(Peer::Loopback).is_some());
    drop(remote);
    assert!(room.admit(Peer::Remote).is_some());
}

#[tokio::test]
async fn a_connection_too_many_is_closed_and_room_comes_back() {
    let setup = Setup::new(Readiness::Ready);
    let address = setup.tcp().await;
    let mut open = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\n\r\n").await.unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        open.push(stream);
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    // Closed without an answer, or reset.
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    drop(open);
    loop {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.0\r\n\r\n").await.unwrap_or(());
        if stream.read(&mut [0]).await.is_ok_and(|read| read == 1) {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn stopping_closes_every_connection() {
    let setup = Setup::new(Readiness::Ready);
    let address = setup.tcp().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\n\r\n").await.unwrap();
    stream.read_exact(&mut [0; 12]).await.unwrap();
    setup.stop.send(true).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(b"ok\n"));
}

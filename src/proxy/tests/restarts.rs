//! Endpoints that go away for a moment, with all that they had taken.

use std::io::{Read, Write};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::failures::closed_port;
use super::support::*;

/// An application on a unix socket, whose name can be taken away.
struct Away {
    folder: TempDir,
    gateway: Gateway,
}

impl Away {
    /// Without idle connections, which would last longer than the name.
    async fn start(queue: (usize, Duration), retries: u32, max_requests: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        Script::on_unix_socket(&path).await;
        let mut setup = Setup::on(&[]);
        setup.settings.endpoints = vec![unix_endpoint(&path)];
        setup.settings.idle_connections = 0;
        setup.settings.queue = queue;
        setup.settings.retries = retries;
        setup.settings.max_requests = max_requests;
        Self { folder, gateway: setup.start().await }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("app.sock")
    }

    fn stop(&self) {
        std::fs::rename(self.path(), self.folder.path().join("away")).unwrap();
    }

    fn go_on(&self) {
        std::fs::rename(self.folder.path().join("away"), self.path()).unwrap();
    }

    fn refused(&self) -> u64 {
        self.gateway.errors("upstream_refused")
    }
}

const LONG: Duration = Duration::from_secs(60);

const HERE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nhere";

/// A request that has been sent.
async fn send(gateway: &Gateway, path: &str) -> TcpStream {
    let mut client = gateway.connect().await;
    let text = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.write_all(text.as_bytes()).await.unwrap();
    client
}

async fn until(mut look: impl FnMut() -> bool) {
    while !look() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn requests_wait_for_an_application_that_is_restarted() {
    // With one slot, too: none is held while a request waits.
    for slots in [256, 1] {
        let away = Away::start((1024, LONG), 2, slots).await;
        assert_eq!(away.gateway.get("/").await.text(), "unix");
        away.stop();
        let (get, post, ()) = tokio::join!(
            away.gateway.get("/"),
            // Nothing of it was sent: it may wait, whatever it does.
            away.gateway.post("/", "body"),
            async {
                until(|| away.refused() >= 4 && away.gateway.upstream.waiting() == 2).await;
                assert!(away.gateway.upstream.in_flight() <= 1, "who waits holds no slot");
                away.go_on();
            }
        );
        assert_eq!((get.text(), post.text()), ("unix", "unix"));
        assert_eq!((away.gateway.upstream.in_flight(), away.gateway.upstream.waiting()), (0, 0));
    }
}

#[tokio::test]
async fn nobody_waits_for_what_was_never_there_or_is_gone_for_long() {
    let never = Away::start((1024, LONG), 2, 256).await;
    never.stop();
    assert_eq!(never.gateway.get("/").await.verdict(), "upstream_refused");
    assert_eq!(never.refused(), 1);
    let gone = Away::start((1024, Duration::from_millis(300)), 2, 256).await;
    assert_eq!(gone.gateway.get("/").await.text(), "unix");
    gone.stop();
    assert_eq!(gone.gateway.get("/").await.verdict(), "upstream_refused");
    let once = gone.refused();
    assert!(once > 1, "{once}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(gone.gateway.get("/").await.verdict(), "upstream_refused");
    assert_eq!(gone.refused(), once + 1);
    gone.go_on();
    assert_eq!(gone.gateway.get("/").await.text(), "unix");
}

#[tokio::test]
async fn without_a_line_or_retries_nobody_waits() {
    for (size, retries) in [(0, 2), (1024, 0)] {
        let away = Away::start((size, LONG), retries, 256).await;
        assert_eq!(away.gateway.get("/").await.text(), "unix");
        away.stop();
        assert_eq!(away.gateway.get("/").await.verdict(), "upstream_refused");
        assert_eq!(away.refused(), 1);
    }
}

#[tokio::test]
async fn a_client_that_leaves_waits_no_longer() {
    let away = Away::start((1, LONG), 2, 256).await;
    assert_eq!(away.gateway.get("/").await.text(), "unix");
    away.stop();
    let client = send(&away.gateway, "/").await;
    until(|| away.gateway.upstream.waiting() == 1).await;
    // The one place is taken.
    assert_eq!(away.gateway.get("/").await.verdict(), "upstream_refused");
    drop(client);
    until(|| away.gateway.upstream.waiting() == 0).await;
    away.go_on();
    assert_eq!(away.gateway.get("/").await.text(), "unix");
    assert_eq!(away.gateway.upstream.in_flight(), 0);
}

#[tokio::test]
async fn who_is_refused_waits_for_another_endpoint_that_is_full() {
    let slow = Script::start(|request| match request.line() {
        "GET /held HTTP/1.1" => reply("", Then::Stall),
        _ => ok("here"),
    })
    .await;
    let mut setup = Setup::on(&[slow.port, closed_port().await]);
    setup.settings.max_requests = 1;
    setup.settings.eject = None;
    let gateway = setup.start().await;
    // Round robin: the first is the one that is there.
    let held = send(&gateway, "/held").await;
    until(|| !slow.received().is_empty()).await;
    let (answer, ()) = tokio::join!(gateway.post("/", "body"), async {
        until(|| gateway.errors("upstream_refused") > 0 && gateway.upstream.waiting() > 0).await;
        drop(held);
    });
    assert_eq!(answer.text(), "here");
    assert_eq!(gateway.upstream.in_flight(), 0);
}

#[tokio::test]
async fn who_is_lost_waits_for_the_slot_that_another_got() {
    // The first connection lives until it is taken away, with a request that nobody answered.
    let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = first.local_addr().unwrap().port();
    let (lose, lost) = std::sync::mpsc::channel::<()>();
    let upstream = std::thread::spawn(move || {
        let (mut stream, _) = first.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        lost.recv().unwrap();
        drop(stream);
        for _ in 0..8 {
            let (mut stream, _) = first.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            stream.write_all(HERE.as_bytes()).unwrap();
        }
    });
    let mut setup = Setup::on(&[port]);
    setup.settings.max_requests = 1;
    let gateway = setup.start().await;
    let mut clients = Vec::new();
    for nth in 0..8 {
        clients.push(send(&gateway, &format!("/{nth}")).await);
    }
    until(|| gateway.upstream.waiting() == 7).await;
    lose.send(()).unwrap();
    for client in &mut clients {
        assert_eq!(read_answer(client).await.text(), "here");
    }
    upstream.join().unwrap();
}

#[tokio::test]
async fn a_whole_line_that_an_ending_program_takes_along_is_answered_by_the_next() {
    const LINE: usize = 40;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let upstream = std::thread::spawn(move || {
        // All arrive before the first is lost.
        let next = |_| {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            stream
        };
        drop((0..LINE).map(next).collect::<Vec<_>>());
        for mut stream in (0..LINE).map(next) {
            stream.write_all(HERE.as_bytes()).unwrap();
        }
    });
    let gateway = Gateway::start(&[port]).await;
    let mut clients = Vec::new();
    for nth in 0..LINE {
        clients.push(send(&gateway, &format!("/{nth}")).await);
    }
    for client in &mut clients {
        assert_eq!(read_answer(client).await.text(), "here");
    }
    upstream.join().unwrap();
    assert_eq!((gateway.upstream.in_flight(), gateway.upstream.waiting()), (0, 0));
}

/// Some end only when their last connection does, and nobody closes one that is in use.
#[tokio::test]
async fn a_server_that_listens_no_more_gets_its_connections_back() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (answer, answered) = std::sync::mpsc::channel::<()>();
    let upstream = std::thread::spawn(move || {
        let keep = HERE.replace("Connection: close\r\n", "");
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        drop(listener);
        stream.write_all(keep.as_bytes()).unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        answered.recv().unwrap();
        stream.write_all(keep.as_bytes()).unwrap();
        assert_eq!(stream.read(&mut [0; 4096]).unwrap(), 0, "another request");
        drop(stream);
        let (mut stream, _) = std::net::TcpListener::bind(address).unwrap().accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        stream.write_all(HERE.as_bytes()).unwrap();
    });
    let gateway = Gateway::start(&[address.port()]).await;
    assert_eq!(gateway.get("/").await.text(), "here");
    let mut held = send(&gateway, "/held").await;
    until(|| gateway.upstream.in_flight() == 1).await;
    let (waited, ()) = tokio::join!(gateway.post("/", "body"), async {
        until(|| gateway.upstream.waiting() == 1).await;
        answer.send(()).unwrap();
        assert_eq!(read_answer(&mut held).await.text(), "here");
    });
    assert_eq!(waited.text(), "here");
    upstream.join().unwrap();
}

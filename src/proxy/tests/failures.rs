//! What goes wrong on the upstream's side, and what it is called.

use std::time::Duration;

use super::support::*;
use tokio::net::TcpListener;

pub(super) async fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn a_refused_connection_moves_on_to_the_next_endpoint() {
    let upstream = Script::start(|_| ok("here")).await;
    let (one, two) = (closed_port().await, closed_port().await);
    let mut gateway = Gateway::start(&[one, two, upstream.port]).await;
    for path in ["/a", "/b", "/c", "/d"] {
        // A POST as well: nothing of it was sent.
        assert_eq!(gateway.post(path, "body").await.text(), "here");
        let trace = gateway.trace().await;
        assert_eq!(trace.endpoint, Some(2));
        assert!(trace.attempts <= 3);
    }
    assert_eq!(upstream.received().len(), 4);
}

#[tokio::test]
async fn no_more_than_three_endpoints_are_tried() {
    let mut ports = Vec::new();
    for _ in 0..5 {
        ports.push(closed_port().await);
    }
    let mut gateway = Gateway::start(&ports).await;
    assert_eq!(gateway.get("/").await.verdict(), "upstream_refused");
    assert_eq!(gateway.trace().await.attempts, 3);
    let mut gateway = Gateway::start(&ports[..1]).await;
    assert_eq!(gateway.get("/").await.verdict(), "upstream_refused");
    assert_eq!(gateway.trace().await.attempts, 1);
    assert_eq!(gateway.upstream.in_flight(), 0);
    assert_eq!(Gateway::start(&[]).await.get("/").await.verdict(), "no_healthy_endpoint");
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_times_out() {
    let mut upstream = Script::start(|_| reply("", Then::Stall)).await;
    let mut setup = Setup::on(&[upstream.port]);
    setup.settings.timeouts.response = Duration::from_millis(50);
    let gateway = setup.start().await;
    assert_eq!(gateway.get("/").await.verdict(), "upstream_timeout");
    assert_eq!(gateway.post("/", "body").await.verdict(), "upstream_timeout");
    upstream.connection_ended().await;
    upstream.connection_ended().await;
    assert_eq!(upstream.received().len(), 2);
}

#[tokio::test]
async fn an_upstream_that_closes_without_an_answer_failed() {
    for text in ["", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let upstream = Script::start(move |_| reply(text, Then::Close)).await;
        let gateway = Gateway::start(&[upstream.port]).await;
        assert_eq!(gateway.get("/").await.verdict(), "upstream_failed", "{text}");
    }
}

#[tokio::test]
async fn a_response_with_two_readings_is_refused() {
    let many = "X: y\r\n".repeat(101);
    let long = format!("X: {}\r\n", "y".repeat(70_000));
    for text in [
        "SSH-2.0-OpenSSH_9.9\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 99999 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nNo colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nabc",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: abc\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        &format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
        &format!("HTTP/1.1 200 OK\r\n{long}\r\n"),
    ] {
        let owned = text.to_owned();
        let upstream = Script::start(move |_| reply(&owned, Then::Stall)).await;
        let gateway = Gateway::start(&[upstream.port]).await;
        let shown = text.get(..100).unwrap_or(text);
        assert_eq!(gateway.get("/").await.verdict(), "upstream_bad_response", "{shown}");
        assert_eq!(gateway.upstream.open_connections(), 0);
        assert_eq!(upstream.received().len(), 1);
    }
}

#[tokio::test]
async fn interim_responses_are_counted() {
    for (count, verdict) in [(1, "200"), (16, "200"), (17, "upstream_bad_response")] {
        let text = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(count)
            + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let upstream = Script::start(move |_| reply(&text, Then::KeepAlive)).await;
        let gateway = Gateway::start(&[upstream.port]).await;
        for _ in 0..2 {
            assert_eq!(gateway.get("/").await.verdict(), verdict);
        }
    }
}

#[tokio::test]
async fn bytes_that_nobody_asked_for_are_no_response() {
    // A second response behind the first, as a poisoned pool would need it.
    let upstream = Script::start(|request| match request.connection {
        0 => reply(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
            Then::Stall,
        ),
        _ => ok("2"),
    })
    .await;
    let gateway = Gateway::start(&[upstream.port]).await;
    assert_eq!(gateway.get("/").await.text(), "1");
    assert_eq!(gateway.post("/", "x").await.text(), "2");
    assert_eq!(upstream.received()[1].connection, 1);
}

#[tokio::test]
async fn every_failed_attempt_is_counted_with_its_reason() {
    let upstream = Script::start(|request| match request.line().split(' ').nth(1).unwrap() {
        "/gone" => reply("", Then::Close),
        "/nonsense" => reply("SSH-2.0-OpenSSH_9.9\r\n", Then::Close),
        "/cut" => reply("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", Then::Close),
        "/stuck" => reply("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", Then::Stall),
        _ => ok("here"),
    })
    .await;
    // The first attempt fails and is made good by the second.
    let mut setup = Setup::on(&[closed_port().await, upstream.port]);
    setup.settings.timeouts.read = Duration::from_millis(50);
    let gateway = setup.start().await;
    assert_eq!(gateway.get("/").await.text(), "here");
    assert_eq!(gateway.errors("upstream_refused"), 1);

    let mut setup = Setup::on(&[upstream.port]);
    setup.settings.timeouts.read = Duration::from_millis(50);
    setup.settings.retries = 0;
    let gateway = setup.start().await;
    gateway.get("/gone").await;
    assert_eq!(gateway.errors("upstream_failed"), 1);
    gateway.get("/cut").await;
    assert_eq!(gateway.errors("upstream_failed"), 2);
    gateway.get("/nonsense").await;
    assert_eq!(gateway.errors("upstream_bad_response"), 1);
    gateway.get("/stuck").await;
    assert_eq!(gateway.errors("upstream_timeout"), 1);
    // A client that leaves too early is not the upstream's fault.
    let mut client = gateway.connect().await;
    let text = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab";
    tokio::io::AsyncWriteExt::write_all(&mut client, text).await.unwrap();
    drop(client);
    assert_eq!(gateway.get("/").await.text(), "here");
    let all = ["upstream_refused", "upstream_failed", "upstream_bad_response", "upstream_timeout"];
    assert_eq!(all.map(|reason| gateway.errors(reason)), [0, 2, 1, 1]);
}

/// An endpoint that reads no more, but keeps the connection: what the client still owes does not
/// matter any longer.
#[tokio::test]
async fn an_endpoint_that_is_deaf_times_out_whatever_the_client_owes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut setup = Setup::on(&[]);
    setup.settings.endpoints = vec![unix_endpoint(&path)];
    setup.settings.timeouts.response = Duration::from_millis(200);
    let gateway = setup.start().await;
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let upstream = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        assert!(stream.read(&mut head).unwrap() > 0);
        stream.shutdown(std::net::Shutdown::Read).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        assert!(ended.recv().is_err());
    });
    assert_eq!(gateway.get("/first").await.text(), "ok");
    let asked = gateway.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    let answer = tokio::time::timeout(Duration::from_secs(20), asked).await.expect("hangs");
    assert_eq!(answer.verdict(), "upstream_timeout");
    drop(done);
    upstream.join().unwrap();
    assert_eq!((gateway.upstream.in_flight(), gateway.upstream.open_connections()), (0, 0));
}

//! Bodies in both directions.

use std::time::Duration;

use super::super::*;
use super::support::*;
use crate::upstream::Kind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut request = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in body.chunks(10_007) {
        request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        request.extend_from_slice(piece);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    request
}

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}

async fn wsgi(port: u16, spool: Spool) -> Gateway {
    let mut setup = Setup::on(&[port]);
    setup.settings.kind = Kind::Wsgi;
    setup.spool = spool;
    setup.start().await
}

#[tokio::test]
async fn a_chunked_body_stays_chunked_for_http() {
    let upstream = Script::start(|_| ok("ok")).await;
    let gateway = Gateway::start(&[upstream.port]).await;
    let body = noise(300_000);
    assert_eq!(gateway.ask(chunked(&body)).await.verdict(), "200");
    let received = upstream.received();
    assert_eq!(received[0].all("transfer-encoding"), ["chunked"]);
    assert_eq!(received[0].body, body);
}

#[tokio::test]
async fn the_chunked_body_of_a_get_does_not_vanish() {
    let upstream = Script::start(|_| ok("ok")).await;
    let gateway = Gateway::start(&[upstream.port]).await;
    let request = "GET /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n0\r\nHost: evil\r\n\r\n";
    assert_eq!(gateway.ask(request).await.verdict(), "200");
    assert_eq!(gateway.get("/next").await.verdict(), "200");
    let received = upstream.received();
    assert_eq!(received[0].body, b"abc");
    assert_eq!((received[1].line(), received[1].connection), ("GET /next HTTP/1.1", 0));
}

#[tokio::test]
async fn wsgi_gets_a_length_whatever_the_body_is() {
    let upstream = Script::start(|_| ok("ok")).await;
    let gateway = wsgi(upstream.port, Spool::new(1 << 20, 16 << 20, None)).await;
    // Nothing, memory only, exactly its limit, one more, several pieces on disk.
    for length in [0, 1, 65_536, 65_537, 131_072, 1_000_000] {
        let body = noise(length);
        assert_eq!(gateway.ask(chunked(&body)).await.verdict(), "200");
        let received = upstream.received().pop().unwrap();
        assert_eq!(received.all("content-length"), [length.to_string()]);
        assert!(received.all("transfer-encoding").is_empty());
        assert!(received.body == body, "a body of {length} bytes arrived changed");
    }
    assert_eq!(gateway.spool.used(), (0, 0));
}

#[tokio::test]
async fn a_full_spool_refuses_before_the_upstream_is_asked() {
    let upstream = Script::start(|_| ok("ok")).await;
    for (memory, disk, length, verdict) in [
        (1_000, 1 << 20, 1_001, "spool_full"),
        (1_000, 1 << 20, 1_000, "200"),
        (1 << 20, 10_000, 80_000, "spool_full"),
        (1 << 20, 14_464, 80_000, "200"),
        (70_000, 1 << 20, 80_000, "spool_full"),
    ] {
        let gateway = wsgi(upstream.port, Spool::new(memory, disk, None)).await;
        let answer = gateway.ask(chunked(&noise(length))).await;
        assert_eq!(answer.verdict(), verdict, "{memory} {disk} {length}");
        assert_eq!(gateway.spool.used(), (0, 0));
    }
    assert_eq!(upstream.received().len(), 2);
}

#[tokio::test]
async fn a_spool_without_a_folder_is_our_own_fault() {
    let upstream = Script::start(|_| ok("ok")).await;
    let spool = Spool::new(1 << 20, 1 << 20, Some("/nonexistent".into()));
    let gateway = wsgi(upstream.port, spool).await;
    assert_eq!(gateway.ask(chunked(&noise(80_000))).await.verdict(), "internal");
    assert_eq!(gateway.ask(chunked(&noise(60_000))).await.verdict(), "200");
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let upstream = Script::start(|_| ok("ok")).await;
    for kind in [Kind::Http, Kind::Wsgi] {
        let mut setup = Setup::on(&[upstream.port]);
        setup.settings.kind = kind;
        setup.limits.max = 100_000;
        let gateway = setup.start().await;
        assert_eq!(gateway.ask(chunked(&noise(100_001))).await.verdict(), "body_too_large");
        assert_eq!(gateway.ask(chunked(&noise(100_000))).await.verdict(), "200");
    }
    // The part that was on its way was not taken for a whole request.
    assert!(upstream.received().iter().all(|request| request.body.len() == 100_000));
}

#[tokio::test]
async fn a_client_that_stops_sending_is_told_so() {
    let upstream = Script::start(|_| ok("ok")).await;
    for kind in [Kind::Http, Kind::Wsgi] {
        let mut setup = Setup::on(&[upstream.port]);
        setup.settings.kind = kind;
        setup.limits.idle = Duration::from_millis(100);
        let gateway = setup.start().await;
        let request =
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
        assert_eq!(gateway.ask(request).await.verdict(), "request_timeout");
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn a_malformed_client_body_is_the_clients_fault() {
    let upstream = Script::start(|_| ok("ok")).await;
    for kind in [Kind::Http, Kind::Wsgi] {
        let mut setup = Setup::on(&[upstream.port]);
        setup.settings.kind = kind;
        let gateway = setup.start().await;
        let request =
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n";
        assert_eq!(gateway.ask(request).await.verdict(), "bad_request");
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn a_slow_client_is_not_the_upstreams_timeout() {
    let upstream = Script::start(|_| ok("ok")).await;
    let mut setup = Setup::on(&[upstream.port]);
    setup.settings.timeouts.response = Duration::from_millis(60);
    let gateway = setup.start().await;
    let mut client = gateway.connect().await;
    let head = b"POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\n";
    client.write_all(head).await.unwrap();
    for byte in b"slow" {
        tokio::time::sleep(Duration::from_millis(150)).await;
        client.write_all(&[*byte]).await.unwrap();
    }
    assert_eq!(read_answer(&mut client).await.verdict(), "200");
    assert_eq!(upstream.received()[0].body, b"slow");
}

#[tokio::test]
async fn large_bodies_arrive_byte_for_byte() {
    let body = noise(3_000_000);
    let copy = body.clone();
    let upstream = Script::start(move |request| {
        let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n".to_vec();
        assert!(request.body == copy);
        bytes.extend_from_slice(&copy);
        reply(bytes, Then::KeepAlive)
    })
    .await;
    let gateway = Gateway::start(&[upstream.port]).await;
    let mut request = b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n".to_vec();
    request.extend_from_slice(&body);
    for _ in 0..2 {
        let answer = gateway.ask(&request).await;
        assert_eq!(answer.verdict(), "200");
        assert!(answer.body == body);
    }
    assert!(upstream.received().iter().all(|request| request.connection == 0));
}

#[tokio::test]
async fn half_a_body_never_looks_like_a_whole_one() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
    ] {
        for then in [Then::Close, Then::Reset] {
            let upstream = Script::start(move |_| reply(text, then)).await;
            let gateway = Gateway::start(&[upstream.port]).await;
            let answer = gateway.get("/").await;
            if text.contains("Length") {
                assert!(answer.body.len() < 10, "{answer:?}");
            } else {
                assert!(!answer.body.ends_with(b"0\r\n\r\n"), "{answer:?}");
            }
            assert_eq!(gateway.pools.idle(&gateway.upstream), 0);
            assert_eq!(gateway.upstream.in_flight(), 0);
            assert_eq!(gateway.upstream.open_connections(), 0);
        }
    }
}

#[tokio::test]
async fn a_body_that_stalls_is_cut_after_the_read_timeout() {
    let mut upstream =
        Script::start(|_| reply("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", Then::Stall))
            .await;
    let mut setup = Setup::on(&[upstream.port]);
    setup.settings.timeouts.read = Duration::from_millis(50);
    let gateway = setup.start().await;
    let answer = gateway.get("/").await;
    assert_eq!((answer.verdict(), answer.text()), ("200", "half"));
    upstream.connection_ended().await;
    assert_eq!(gateway.upstream.in_flight(), 0);
}

#[tokio::test]
async fn a_client_that_goes_away_closes_the_upstreams_connection() {
    let mut upstream = Script::start(|request| match request.line().contains("/body") {
        true => reply("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", Then::Stall),
        false => reply("", Then::Stall),
    })
    .await;
    let gateway = Gateway::start(&[upstream.port]).await;
    // Before a response, and within its body.
    for (nth, path) in ["/nothing", "/body"].iter().enumerate() {
        let mut client = gateway.connect().await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        if nth == 1 {
            client.read_u8().await.unwrap();
        }
        while upstream.received().len() <= nth {
            settle().await;
        }
        assert_eq!(gateway.upstream.in_flight(), 1);
        drop(client);
        assert_eq!(upstream.connection_ended().await, nth);
        assert_eq!(gateway.upstream.in_flight(), 0);
    }
    assert_eq!(gateway.upstream.open_connections(), 0);
}

#[tokio::test]
async fn an_early_response_is_passed_on_and_ends_the_connection() {
    let upstream = Script::start(|request| match request.line().contains("/early") {
        true => reply("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", Then::Stall),
        false => ok("fine"),
    })
    .await;
    let gateway = Gateway::start(&[upstream.port]).await;
    let mut client = gateway.connect().await;
    let head = "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nonly some";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    client.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 403");
    assert_eq!(gateway.get("/next").await.text(), "fine");
    assert_eq!(upstream.received()[1].connection, 1);
}

#[tokio::test]
async fn unix_sockets_are_endpoints_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    Script::on_unix_socket(&path).await;
    let mut setup = Setup::on(&[]);
    setup.settings.endpoints.push(unix_endpoint(&path));
    let mut gateway = setup.start().await;
    for nth in 0..3 {
        assert_eq!(gateway.get("/").await.text(), "unix");
        assert_eq!(gateway.trace().await.reused, nth > 0);
    }
}

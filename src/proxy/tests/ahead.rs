//! Responses that are read ahead of their clients.

use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::*;
use super::support::*;
use crate::proxy::ahead::may_be;
use crate::upstream::Kind;

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}

/// In chunks, or with its length.
fn response(body: &[u8], chunked: bool, then: Then) -> Reply {
    let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
    if chunked {
        bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        for piece in body.chunks(9_001) {
            bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            bytes.extend_from_slice(piece);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
    } else {
        bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        bytes.extend_from_slice(body);
    }
    reply(bytes, then)
}

async fn ahead(port: u16, spool: Spool) -> Gateway {
    let mut setup = Setup::on(&[port]);
    setup.settings.kind = Kind::Wsgi;
    setup.spool = spool;
    setup.start().await
}

fn roomy() -> Spool {
    Spool::new(1 << 20, 64 << 20, None)
}

/// Waits until nothing is in use, neither room nor connections.
async fn idle(gateway: &Gateway) {
    while gateway.spool.used() != (0, 0) || gateway.connections().0 > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn asked(gateway: &Gateway) -> TcpStream {
    let mut stream = gateway.connect().await;
    stream.write_all(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    stream
}

/// The data of chunks, or everything.
fn unchunked(answer: &Answer) -> Vec<u8> {
    if !answer.head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return answer.body.clone();
    }
    let (mut rest, mut data) = (&answer.body[..], Vec::new());
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            assert_eq!(rest, b"0\r\n\r\n");
            return data;
        }
        data.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
}

#[tokio::test]
async fn a_response_arrives_as_it_was_whatever_its_size() {
    for length in [0, 1, 9_000, 65_536, 65_537, 1_000_000, 3_000_000] {
        for chunked in [false, true] {
            let body = noise(length);
            let sent = response(&body, chunked, Then::KeepAlive);
            let upstream = Script::start(move |_| sent.clone()).await;
            // With room, with hardly any, with none.
            for spool in [roomy(), Spool::new(1 << 20, 1, None), Spool::new(1, 1, None)] {
                let gateway = ahead(upstream.port, spool).await;
                let answer = gateway.get("/x").await;
                assert_eq!(answer.verdict(), "200");
                assert!(unchunked(&answer) == body, "{length} bytes, chunked: {chunked}");
                idle(&gateway).await;
            }
        }
    }
}

#[tokio::test]
async fn the_application_is_free_while_its_client_reads_nothing() {
    let body = noise(20 << 20);
    let sent = response(&body, false, Then::KeepAlive);
    let upstream = Script::start(move |_| sent.clone()).await;
    let gateway = ahead(upstream.port, roomy()).await;
    let mut slow = asked(&gateway).await;
    // All of it is here, and the connection back in its pool.
    while gateway.connections() != (0, 1) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (memory, disk) = gateway.spool.used();
    assert!(memory <= 4 * 65_536, "{memory} bytes of memory");
    assert!(disk > 1 << 20, "{disk} bytes on disk");
    let answer = read_answer(&mut slow).await;
    assert!(answer.body == body);
    idle(&gateway).await;
}

#[tokio::test]
async fn uploads_keep_their_half_of_the_room() {
    let body = noise(20 << 20);
    let sent = response(&body, false, Then::KeepAlive);
    let upstream = Script::start(move |_| sent.clone()).await;
    let gateway = ahead(upstream.port, Spool::new(1 << 20, 2 << 20, None)).await;
    let mut slow = asked(&gateway).await;
    slow.read_u8().await.unwrap();
    let mut before = (0, 0);
    // It grows to its half and no further.
    for _ in 0..200 {
        before = gateway.spool.used();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(before.0 <= 1 << 19 && before.1 <= 1 << 20, "{before:?}");
    let upload = noise(1 << 20);
    let head = format!("POST /y HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", upload.len());
    let post = [head.as_bytes(), &upload].concat();
    assert_eq!(gateway.ask(post).await.verdict(), "200");
    drop(slow);
    idle(&gateway).await;
}

#[tokio::test]
async fn what_breaks_off_is_cut_behind_what_came() {
    for length in [100, 300_000] {
        let body = noise(length);
        let mut bytes =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", length + 1).into_bytes();
        bytes.extend_from_slice(&body);
        let upstream = Script::start(move |_| reply(&bytes, Then::Close)).await;
        let gateway = ahead(upstream.port, roomy()).await;
        let answer = gateway.get("/x").await;
        // How much of it the client still gets is hyper's business; never a whole response.
        assert!(body.starts_with(&answer.body), "{} of {length} bytes", answer.body.len());
        assert_eq!(gateway.errors("upstream_failed"), 1);
        idle(&gateway).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_everything_along() {
    let body = noise(8 << 20);
    let sent = response(&body, true, Then::Stall);
    let mut upstream = Script::start(move |_| sent.clone()).await;
    let gateway = ahead(upstream.port, Spool::new(1 << 20, 1 << 20, None)).await;
    let mut slow = asked(&gateway).await;
    slow.read_u8().await.unwrap();
    drop(slow);
    upstream.connection_ended().await;
    idle(&gateway).await;
}

#[test]
fn streams_by_their_nature_are_not_read_ahead() {
    let headers = |lines: &[(&'static str, &'static str)]| -> HeaderMap {
        let pair =
            |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        lines.iter().map(pair).collect()
    };
    assert!(may_be(&headers(&[])));
    assert!(may_be(&headers(&[("content-type", "text/html"), ("x-accel-buffering", "yes")])));
    for line in [
        ("content-type", "text/event-stream"),
        ("content-type", "Text/Event-Stream; charset=utf-8"),
        ("content-type", "application/grpc+proto"),
        ("x-accel-buffering", "no"),
        ("x-accel-buffering", "NO"),
    ] {
        assert!(!may_be(&headers(&[line])), "{line:?}");
    }
}

//! How HTTP/2 towards an endpoint is used: streams, refusals, ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use h2::Reason;
use hyper::body::Bytes;
use hyper::{Method, Response};
use tokio::sync::Barrier;

use super::{Place, call, echo};
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::h2_upstream::{Call, H2Upstream};

const GRPC: &str = "kind = \"grpc\"";

#[test]
fn one_connection_carries_many_streams() {
    let together = Arc::new(Barrier::new(50));
    let upstream = H2Upstream::start(100, move |call: Call| {
        let together = Arc::clone(&together);
        async move {
            together.wait().await;
            echo(call).await;
        }
    });
    // One worker: each has connections of its own.
    let place = Place::start(upstream, GRPC, "[server]\nworkers = 1\n");
    let client = place.client();
    let begun: Vec<_> = (0..50).map(|_| client.begin(call("/open.Echo/Get", b"x"))).collect();
    for one in begun {
        assert_eq!(client.finish(one).unwrap().body, b"x");
    }
    assert_eq!(place.upstream.most_streams(), [50]);
    let reused = "portcullis_upstream_connections_reused_total{upstream=\"calls\"}";
    assert_eq!(place.gateway.metric(reused), 49.0);
    let active = "portcullis_upstream_connections{state=\"idle\",upstream=\"calls\"}";
    assert_eq!(place.gateway.metric(active), 1.0);
}

#[test]
fn no_connection_carries_more_streams_than_its_endpoint_allows() {
    let together = Arc::new(Barrier::new(9));
    let upstream = H2Upstream::start(3, move |call: Call| {
        let together = Arc::clone(&together);
        async move {
            if call.head.uri().path() == "/open.Echo/Together" {
                together.wait().await;
            }
            echo(call).await;
        }
    });
    let place = Place::start(upstream, GRPC, "[server]\nworkers = 1\n");
    let client = place.client();
    // The endpoint's settings have to be known.
    client.send(call("/open.Echo/First", b"x")).unwrap();
    let begun: Vec<_> = (0..9).map(|_| client.begin(call("/open.Echo/Together", b"x"))).collect();
    for one in begun {
        assert_eq!(client.finish(one).unwrap().body, b"x");
    }
    let most = place.upstream.most_streams();
    assert!(most.iter().all(|most| *most <= 3), "{most:?}");
    assert!(most.len() >= 3, "{most:?}");
}

#[test]
fn a_refused_stream_is_begun_again_with_its_body_and_nothing_else_is() {
    let (refused, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&refused), Arc::clone(&failed));
    let upstream = H2Upstream::start(100, move |mut call: Call| {
        let (refused, failed) = (Arc::clone(&refused), Arc::clone(&failed));
        async move {
            match call.head.uri().path() {
                "/open.Echo/Refused" if refused.fetch_add(1, Ordering::SeqCst) % 2 == 0 => {
                    call.respond.send_reset(Reason::REFUSED_STREAM);
                }
                "/open.Echo/RefusedLate" if refused.fetch_add(1, Ordering::SeqCst) % 2 == 0 => {
                    drop(call.read().await);
                    call.respond.send_reset(Reason::REFUSED_STREAM);
                }
                "/open.Echo/Reset" => {
                    failed.fetch_add(1, Ordering::SeqCst);
                    call.respond.send_reset(Reason::CANCEL);
                }
                _ => echo(call).await,
            }
        }
    });
    let place = Place::start(upstream, GRPC, "");
    let client = place.client();
    for message in [&b""[..], b"short", &[b'x'; 40_000]] {
        for path in ["/open.Echo/Refused", "/open.Echo/RefusedLate"] {
            let response = client.send(call(path, message)).unwrap();
            assert_eq!(response.header("trailer:grpc-status"), Some("0"), "{path} {response:?}");
            assert!(response.body == message, "{path} {}", message.len());
        }
    }
    assert_eq!(counts.0.load(Ordering::SeqCst), 12);
    // Too much to keep: the client hears of it, and may try again itself.
    let response = client.send(call("/open.Echo/RefusedLate", &[b'x'; 200_000])).unwrap();
    assert_eq!(response.header("grpc-status"), Some("14"), "{response:?}");
    // Whatever else ends a stream may have come after the work was done, also for GET.
    let response = client.send(call("/open.Echo/Reset", b"x")).unwrap();
    assert_eq!(response.header("grpc-status"), Some("14"), "{response:?}");
    let mut get = call("/open.Echo/Reset", b"");
    *get.method_mut() = Method::GET;
    client.send(get).unwrap().expect(502);
    assert_eq!(counts.1.load(Ordering::SeqCst), 2);
}

#[test]
fn a_connection_that_goes_away_takes_no_request_with_it() {
    let place = Place::start(H2Upstream::after(2, 100, echo), GRPC, "[server]\nworkers = 1\n");
    let client = place.client();
    let response = client.send(call("/open.Echo/Get", b"kept")).unwrap();
    assert_eq!((response.status, &response.body[..]), (200, &b"kept"[..]), "{response:?}");
    let record = place.gateway.records_of("/open.Echo/Get", 1).remove(0);
    assert_eq!(record["upstream"]["attempts"], 3, "{record}");
}

#[test]
fn who_gives_up_is_heard_on_the_other_side() {
    let upstream = H2Upstream::start(100, |mut call: Call| async move {
        match call.head.uri().path() {
            "/open.Echo/Wait" => call.taken_back().await,
            "/open.Echo/Stream" => {
                let response = Response::builder().header("content-type", "application/grpc");
                let mut stream =
                    call.respond.send_response(response.body(()).unwrap(), false).unwrap();
                stream.send_data(Bytes::from_static(b"part"), false).unwrap();
                let reason = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
                call.shared.reset(reason.unwrap());
            }
            _ => {
                let response = Response::builder().header("content-type", "application/grpc");
                let mut stream =
                    call.respond.send_response(response.body(()).unwrap(), false).unwrap();
                stream.send_data(Bytes::from_static(b"part"), false).unwrap();
                // Until the data has left.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                stream.send_reset(Reason::INTERNAL_ERROR);
            }
        }
    });
    let place = Place::start(upstream, GRPC, "");
    let client = place.client();
    for (index, path) in ["/open.Echo/Wait", "/open.Echo/Stream"].into_iter().enumerate() {
        let begun = client.begin(call(path, b"x"));
        eventually("the call arrives", || (place.upstream.heads().len() > index).then_some(()));
        begun.abort();
        eventually("the stream is reset", || (place.upstream.resets().len() > index).then_some(()));
        assert_eq!(place.upstream.resets()[index], Reason::CANCEL);
        let record = place.gateway.records_of(path, 1).remove(0);
        assert_eq!(record["reason"], "client_gone", "{record}");
    }
    // An answer that breaks off is never a whole one.
    let broken = client.send(call("/open.Echo/Break", b"x")).unwrap_err();
    assert!(broken.contains("body"), "{broken}");
    let record = place.gateway.records_of("/open.Echo/Break", 1).remove(0);
    assert_eq!(record["reason"], "upstream_failed", "{record}");
    // The connection goes on for others.
    assert_eq!(place.upstream.most_streams().len(), 1);
}

#[test]
fn h13_what_follows_an_answer_without_a_body_goes_to_nobody() {
    let upstream = H2Upstream::start(100, |mut call: Call| async move {
        let status = if call.head.uri().path() == "/open.Echo/204" { 204 } else { 200 };
        let response = Response::builder().status(status).body(()).unwrap();
        let mut stream = call.respond.send_response(response, false).unwrap();
        drop(stream.send_data(Bytes::from_static(b"HTTP/1.1 200 OK\r\n\r\n"), true));
    });
    let place = Place::start(upstream, "", "");
    let mut client = Client::tcp(place.gateway.address("plain"));
    for (method, path) in [("GET", "204"), ("HEAD", "x"), ("GET", "204")] {
        client.send(format!("{method} /open.Echo/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let response = client.try_response(method).unwrap();
        assert!(response.body.is_empty(), "{response:?}");
    }
    let client = place.client();
    for (method, path) in [(Method::GET, "204"), (Method::HEAD, "x")] {
        let mut asked = call(&format!("/open.Echo/{path}"), b"");
        *asked.method_mut() = method;
        assert!(client.send(asked).unwrap().body.is_empty());
    }
}

#[test]
fn ordinary_requests_go_to_h2c_servers_too() {
    let upstream = H2Upstream::start(100, |mut call: Call| async move {
        let body = call.read().await;
        let method = call.head.method().clone();
        let response = Response::builder()
            .status(if method == Method::PUT { 201 } else { 200 })
            .header("content-length", body.len())
            .body(())
            .unwrap();
        if body.is_empty() || method == Method::HEAD {
            call.respond.send_response(response, true).unwrap();
            return;
        }
        let mut stream = call.respond.send_response(response, false).unwrap();
        stream.send_data(body.into(), true).unwrap();
    });
    let place = Place::start(upstream, "", "");
    let mut client = Client::tcp(place.gateway.address("plain"));
    client.get("/open.Echo/a?b=c", "").expect(200);
    let long = "x".repeat(500_000);
    for (framing, body, expected) in [
        ("Content-Length: 5".to_owned(), "hello".to_owned(), "hello"),
        ("Content-Length: 0".to_owned(), String::new(), ""),
        (
            "Transfer-Encoding: chunked".to_owned(),
            "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n".to_owned(),
            "hello!",
        ),
        (format!("Content-Length: {}", long.len()), long.clone(), long.as_str()),
    ] {
        client.send(format!(
            "PUT /open.Echo/x HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, x-gone\r\n\
             X-Gone: 1\r\nX-Stays: 1\r\n{framing}\r\n\r\n{body}"
        ));
        let response = client.response().expect(201);
        assert_eq!(response.text(), expected);
        assert_eq!(response.header("content-length"), Some(expected.len().to_string().as_str()));
    }
    let heads = place.upstream.heads();
    let (_, head) = &heads[0];
    assert_eq!((head.method(), head.uri().path()), (&Method::GET, "/open.Echo/a"));
    assert_eq!(head.uri().query(), Some("b=c"));
    assert_eq!(head.headers()["via"].to_str().unwrap().split(' ').next(), Some("1.1"));
    let (_, head) = heads.last().unwrap();
    assert!(head.headers().contains_key("x-stays") && !head.headers().contains_key("x-gone"));
    // Nothing is upgraded on a stream.
    client.send(format!(
        "GET /open.Echo/ws HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        crate::websocket::ASKS
    ));
    let response = client.response().expect(403);
    assert_eq!(response.json()["code"], "forbidden");
    assert_eq!(place.upstream.heads().len(), heads.len());
    // A length that the body does not keep is a broken request, and never a whole one.
    client.send("PUT /open.Echo/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf");
    drop(client);
    let record = place.gateway.records_of("/open.Echo/x", 5).pop().unwrap();
    assert_eq!(record["reason"], "client_gone", "{record}");
}

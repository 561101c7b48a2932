//! What each side sees of the other's head.

use super::support::*;

#[tokio::test]
async fn an_application_sees_what_we_say_and_nothing_hop_by_hop() {
    let upstream = Script::start(|_| ok("ok")).await;
    let gateway = Gateway::start(&[upstream.port]).await;
    let answer = gateway
        .ask(
            "GET http://test.example/a%20b?c=%2F HTTP/1.1\r\n\
             Host: test.example\r\n\
             Connection: x-hop, x-forwarded-for, x-request-id, via\r\n\
             X-Hop: 1\r\n\
             X-Forwarded-For: 10.0.0.1\r\n\
             Keep-Alive: timeout=5\r\n\
             Proxy-Authorization: Basic eA==\r\n\
             Upgrade: h2c\r\n\
             HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\
             TE: gzip\r\n\
             Expect: 100-continue\r\n\
             Cookie: a=1\r\n\
             Cookie: b=2\r\n\
             Authorization: Bearer kept\r\n\r\n",
        )
        .await;
    assert_eq!(answer.verdict(), "200");
    let seen = &upstream.received()[0];
    assert_eq!(seen.line(), "GET /a%20b?c=%2F HTTP/1.1");
    for gone in [
        "x-hop",
        "connection",
        "keep-alive",
        "proxy-authorization",
        "upgrade",
        "http2-settings",
        "te",
        "expect",
        "transfer-encoding",
        "content-length",
    ] {
        assert!(seen.all(gone).is_empty(), "{gone}: {}", seen.head);
    }
    for (name, value) in [
        ("host", "test.example"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-real-ip", "192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "test.example"),
        ("x-forwarded-port", "443"),
        ("x-request-id", "some-id"),
        ("via", "1.1 test"),
        ("cookie", "a=1; b=2"),
        ("authorization", "Bearer kept"),
    ] {
        assert_eq!(seen.all(name), [value], "{name}");
    }
}

#[tokio::test]
async fn connection_cannot_name_what_frames_or_authenticates() {
    let upstream = Script::start(|_| ok("ok")).await;
    let gateway = Gateway::start(&[upstream.port]).await;
    for name in ["host", "Authorization", "content-length", "Content-Type"] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {name}\r\n\r\n");
        assert_eq!(gateway.ask(request).await.verdict(), "bad_request", "{name}");
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn an_empty_body_is_announced_where_one_is_expected() {
    let upstream = Script::start(|_| ok("ok")).await;
    let gateway = Gateway::start(&[upstream.port]).await;
    for (method, expected) in
        [("POST", 1), ("PUT", 1), ("PATCH", 1), ("GET", 0), ("HEAD", 0), ("DELETE", 0)]
    {
        gateway.ask(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let seen = upstream.received().pop().unwrap();
        assert_eq!(seen.all("content-length").len(), expected, "{method}");
    }
}

#[tokio::test]
async fn a_client_sees_nothing_of_the_upstreams_connection() {
    let upstream = Script::start(|_| {
        reply(
            "HTTP/1.0 200 Fine\r\n\
             Connection: keep-alive, x-hop\r\n\
             Keep-Alive: timeout=5\r\n\
             X-Hop: 1\r\n\
             Proxy-Authenticate: Basic\r\n\
             Upgrade: h2c\r\n\
             Alt-Svc: h3=\":443\"\r\n\
             Trailer: X-T\r\n\
             Content-Length: 2\r\n\
             Set-Cookie: a=1\r\n\
             Set-Cookie: b=2\r\n\r\nhi",
            Then::KeepAlive,
        )
    })
    .await;
    let gateway = Gateway::start(&[upstream.port]).await;
    let answer = gateway.get("/").await;
    assert!(answer.head.starts_with("HTTP/1.1 200 Fine\r\n"), "{}", answer.head);
    let head = answer.head.to_lowercase();
    for gone in ["keep-alive", "x-hop", "proxy-auth", "upgrade", "alt-svc", "trailer"] {
        assert!(!head.contains(gone), "{gone}: {head}");
    }
    assert_eq!(head.matches("set-cookie").count(), 2);
    assert_eq!(answer.text(), "hi");
}

#[tokio::test]
async fn a_204_has_no_length() {
    let upstream = Script::start(|_| {
        reply("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", Then::KeepAlive)
    })
    .await;
    let gateway = Gateway::start(&[upstream.port]).await;
    assert!(!gateway.get("/").await.head.to_lowercase().contains("content-length"));
}

#[tokio::test]
async fn trailers_pass_only_to_those_who_ask() {
    let upstream = Script::start(|_| {
        reply(
            "HTTP/1.1 200 OK\r\nTrailer: X-Sum, Set-Cookie\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nhi\r\n0\r\nX-Sum: 1\r\nSet-Cookie: evil=1\r\nHost: evil\r\n\r\n",
            Then::KeepAlive,
        )
    })
    .await;
    let gateway = Gateway::start(&[upstream.port]).await;
    let with = gateway.ask("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n").await;
    assert!(with.text().ends_with("2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n"), "{}", with.text());
    let seen = upstream.received().pop().unwrap();
    assert_eq!(
        (seen.all("te"), seen.all("connection")),
        (vec!["trailers".into()], vec!["te".into()])
    );
    let without = gateway.get("/").await;
    assert!(without.text().ends_with("2\r\nhi\r\n0\r\n\r\n"), "{}", without.text());
    assert!(upstream.received().iter().all(|request| request.connection == 0));
}

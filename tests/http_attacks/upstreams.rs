//! H12, H13, H15: answers that could be two answers, or that nobody asked for.

use std::io::Write;

use super::{Site, token};
use crate::support::upstream::{Then, Upstream};

/// An application that answers `/open/evil` with these bytes, and everything else well.
fn evil(bytes: impl Into<Vec<u8>>, then: Then) -> Site {
    let bytes = bytes.into();
    let upstream = Upstream::start(move |request, stream| {
        if request.target() == "/open/evil" {
            stream.write_all(&bytes)?;
            return Ok(then);
        }
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")?;
        Ok(Then::Keep)
    });
    Site::with(upstream, "[server]\nworkers = 1\n")
}

/// Panics unless this answer becomes a 502 and leaves nothing behind.
#[track_caller]
fn is_refused(answer: &[u8], reasons: &[&str]) {
    let shown = answer.escape_ascii().to_string();
    let site = evil(answer, Then::Close);
    let mut client = site.client();
    client.send("GET /open/evil HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let response = client.try_response("GET").unwrap_or_else(|broken| panic!("{shown}: {broken}"));
    assert_eq!(response.status, 502, "{shown}");
    let reason = response.json()["code"].as_str().unwrap().to_owned();
    assert!(reasons.contains(&reason.as_str()), "{shown}: {reason}");
    assert_eq!(response.header("x-evil"), None, "{shown}");
    let good = client.get("/open/good", "").expect(200);
    assert_eq!(good.text(), "good", "{shown}");
}

#[test]
fn h13_answers_that_can_be_read_in_two_ways_are_502() {
    for head in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
        "Transfer-Encoding:\r\n",
        "X-Evil : a\r\n",
        "X Evil: a\r\n",
        "X-Evil: a\0b\r\n",
        "X-Evil: a\rb\r\n",
        "X-Evil\r\n",
        ": a\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\nX-Evil: 1\r\n{head}\r\n5\r\nhello\r\n0\r\n\r\n");
        is_refused(answer.as_bytes(), &["upstream_bad_response"]);
    }
}

#[test]
fn h13_what_is_no_answer_is_502() {
    let bad = &["upstream_bad_response"];
    for answer in [
        "hello\r\n\r\n",
        "HTTP/0.9 200 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 99 No\r\n\r\n",
        "HTTP/1.1 1000 No\r\n\r\n",
        "HTTP/1.1 abc No\r\n\r\n",
        "HTTP/1.1 -200 No\r\n\r\n",
        " HTTP/1.1 200 OK\r\n\r\n",
        "\0\0\0\x04\0\0\0\0\0",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    ] {
        is_refused(answer.as_bytes(), bad);
    }
    let endless = format!("HTTP/1.1 200 OK\r\nX-Evil: {}\r\n\r\n", "a".repeat(1 << 20));
    is_refused(endless.as_bytes(), bad);
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-Evil: a\r\n".repeat(10_000));
    is_refused(many.as_bytes(), bad);
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Le"] {
        is_refused(answer.as_bytes(), &["upstream_failed", "upstream_bad_response"]);
    }
}

#[test]
fn h13_an_answer_behind_an_answer_is_given_to_nobody() {
    let second = "HTTP/1.1 200 OK\r\nX-Evil: 1\r\nContent-Length: 4\r\n\r\nevil";
    for first in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    ] {
        let site = evil(format!("{first}{second}"), Then::Keep);
        let mut client = site.client();
        let response = client.get("/open/evil", "");
        assert!(matches!(response.status, 200 | 204 | 304), "{first:?}: {}", response.status);
        for _ in 0..3 {
            let response = client.get("/open/good", "").expect(200);
            assert_eq!((response.text(), response.header("x-evil")), ("good", None), "{first:?}");
        }
    }
}

#[test]
fn h13_a_body_that_breaks_off_is_not_a_whole_one() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
    ] {
        let site = evil(answer, Then::Close);
        let mut client = site.client();
        client.send("GET /open/evil HTTP/1.1\r\nHost: localhost\r\n\r\n");
        match client.try_response("GET") {
            // Broken before its head went out.
            Ok(response) => assert_eq!(response.status, 502, "{answer:?}"),
            Err(_cut) => {}
        }
        let record = site.gateway.records(1).remove(0);
        assert_ne!(record["reason"], serde_json::Value::Null, "{answer:?}: {record}");
    }
}

#[test]
fn h13_a_clients_view_has_nothing_of_the_connection_behind() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: x-internal, keep-alive\r\nX-Internal: 1\r\n\
                  Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\n\
                  Alt-Svc: h3=\":443\"\r\nX-Kept: 1\r\nContent-Length: 5\r\n\r\nhello";
    let site = evil(answer, Then::Keep);
    let response = site.client().get("/open/evil", "").expect(200);
    for gone in
        ["connection", "x-internal", "keep-alive", "proxy-authenticate", "upgrade", "alt-svc"]
    {
        assert_eq!(response.header(gone), None);
    }
    assert_eq!(response.header("x-kept"), Some("1"));
}

#[test]
fn h12_a_switch_of_protocols_that_nobody_asked_for_is_502() {
    for lines in [
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\n",
        "",
    ] {
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{lines}\r\nraw bytes");
        is_refused(answer.as_bytes(), &["upstream_bad_response"]);
        // Nor when the client asked: this gateway did not pass that on.
        let site = evil(answer.clone(), Then::Close);
        let asked = site.client().get("/open/evil", lines);
        assert_eq!(asked.status, 502, "{answer:?}");
    }
}

#[test]
fn h15_interim_answers_come_to_an_end() {
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let site = evil(
        format!("{}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", early.repeat(3)),
        Then::Keep,
    );
    assert_eq!(site.client().get("/open/evil", "").expect(200).text(), "ok");
    is_refused(early.repeat(1000).as_bytes(), &["upstream_bad_response"]);
    // For ever.
    let upstream = Upstream::start(move |_, stream| {
        loop {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
    });
    let site = Site::with(upstream, "");
    site.client().get("/open/evil", "").expect(502);
}

#[test]
fn h13_a_failure_is_counted_once() {
    for (answer, reason) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", "upstream_bad_response"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", "upstream_failed"),
    ] {
        let site = evil(answer, Then::Close);
        let mut client = site.client();
        client.send("GET /open/evil HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let _cut = client.try_response("GET").is_err();
        site.gateway.records(1);
        let text = site.gateway.admin("/metrics").expect(200).text().to_owned();
        let counted: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("portcullis_upstream_errors_total{"))
            .filter(|line| !line.ends_with(" 0"))
            .collect();
        let [line] = counted[..] else { panic!("{counted:?}") };
        assert!(line.contains(reason) && line.ends_with(" 1"), "{line}");
    }
}

/// An answer that says it may be kept by everybody, to a request with somebody's token.
#[test]
fn h27_an_answer_is_nobody_elses() {
    let site = Site::with(
        Upstream::start(|request, stream| {
            let who = request.headers("authorization").concat();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=3600\r\nVary: Accept\r\n\
                 ETag: \"1\"\r\nX-Who: {}\r\nContent-Length: 2\r\n\r\nok",
                who.len()
            )?;
            Ok(Then::Keep)
        }),
        "",
    );
    let get = |path: &str, headers: &str| {
        site.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")).expect(200)
    };
    let token = token();
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let first = get("/private/x", &bearer);
    assert_eq!(first.header("cache-control"), Some("public, max-age=3600"));
    assert_eq!((first.header("vary"), first.header("etag")), (Some("Accept"), Some("\"1\"")));
    // Each asks the application anew, whatever was answered before and to whom.
    assert_ne!(first.header("x-who"), get("/open/x", "").header("x-who"));
    for count in 3..=6 {
        get("/open/x", "If-None-Match: \"1\"\r\n");
        assert_eq!(site.upstream.count(), count);
    }
}

//! H1: a request within a request. What the gateway takes for one message must be one message for
//! whoever is behind it, and what it refuses must not leave half a message on the connection.

use super::{Site, Upstream, bearer, open};

/// What an attacker hides in a body.
const HIDDEN: &str = "GET /open/hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn h1_transfer_codings_other_than_chunked_once_are_refused() {
    let site = Site::start();
    for lines in [
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: cow, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer-Encoding\0: chunked\r\n",
    ] {
        site.refuses(open(lines, "0\r\n\r\n"), 400, "bad_request");
        // The same, with a length beside it and a request behind it.
        let both = format!("Content-Length: 5\r\n{lines}");
        hides(&site, &open(&both, &format!("0\r\n\r\n{HIDDEN}")));
    }
    let old =
        "POST /open/x HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    site.refuses(old, 400, "bad_request");
    assert_eq!(site.upstream.count(), 0);
}

#[test]
fn h1_lengths_that_are_not_one_number_are_refused() {
    let site = Site::start();
    for lines in [
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 5;\r\n",
        "Content-Length: 5e0\r\n",
        "Content-Length: 5.0\r\n",
        "Content-Length: \"5\"\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551621\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 6\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 05\r\nContent-Length: 6\r\n",
        "Content-Length : 5\r\n",
        "Content-Length:\r\n 5\r\n",
    ] {
        site.refuses(open(lines, "hello"), 400, "bad_request");
    }
}

#[test]
fn h1_cl_te_and_te_cl_hide_nothing() {
    let chunk = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
    let ended = format!("0\r\n\r\n{HIDDEN}");
    for (lines, body) in [
        (format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", ended.len()), &ended),
        (format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", ended.len()), &ended),
        ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n".to_owned(), &chunk),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n".to_owned(), &chunk),
        ("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n".to_owned(), &chunk),
    ] {
        hides(&Site::start(), &open(&lines, body));
    }
}

/// Panics if the hidden request comes out anywhere: as a request behind the gateway, or as a second
/// response before it.
#[track_caller]
fn hides(site: &Site, bytes: &str) {
    let before = site.upstream.count();
    let mut client = site.client();
    client.send(bytes);
    let response = client.response();
    assert!(response.closes, "{bytes:?} leaves the connection open after {}", response.status);
    client.expect_end();
    for request in site.upstream.received().iter().skip(before) {
        assert_eq!(request.target(), "/open/first", "{bytes:?}");
        let framings = [request.headers("content-length"), request.headers("transfer-encoding")];
        assert_eq!(framings.concat().len(), 1, "{bytes:?}: {}", request.head);
    }
}

#[test]
fn h1_a_repeated_equal_length_is_sent_on_once_or_not_at_all() {
    let site = Site::start();
    let lines = "Content-Length: 5\r\nContent-Length: 5\r\n";
    let response = site.ask(open(lines, "hello"));
    match response.status {
        400 => assert_eq!(site.upstream.count(), 0),
        _ => assert_eq!(site.only().headers("content-length"), ["5"]),
    }
}

#[test]
fn h1_a_body_is_never_a_request() {
    // CL.0: an application that ignores bodies must get this one as a body nevertheless.
    for method in ["GET", "POST", "DELETE", "OPTIONS", "PROPFIND"] {
        let site = Site::start();
        let mut client = site.client();
        let length = HIDDEN.len();
        client.send(format!(
            "{method} /open/first HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{HIDDEN}"
        ));
        client.response().expect(200);
        client.get("/open/second", "").expect(200);
        assert_eq!(site.targets(), ["/open/first", "/open/second"], "{method}");
        assert_eq!(site.upstream.received()[0].body, HIDDEN.as_bytes(), "{method}");
    }
}

#[test]
fn h1_malformed_chunks_end_the_request() {
    let site = Site::start();
    for body in [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5_0\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloworld\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
        "5;\nx\r\nhello\r\n0\r\n\r\n",
        "0\r\nbad trailer\r\n\r\n",
    ] {
        let mut client = site.client();
        client.send(open("Transfer-Encoding: chunked\r\n", body));
        let response = client.response();
        assert_eq!((response.status, response.closes), (400, true), "{body:?}");
        client.expect_end();
    }
    assert_eq!(site.upstream.count(), 0, "{:?}", site.upstream.received());
}

#[test]
fn h1_line_ends_are_written_anew() {
    let site = Site::start();
    let response = site.ask("GET /open/first HTTP/1.1\nHost: localhost\nX-One: 1\n\n");
    if response.status == 200 {
        let head = site.only().head;
        assert!(!head.replace("\r\n", "").contains(['\r', '\n']), "{head:?}");
    }
    for lines in ["X: a\rGET /open/hidden HTTP/1.1\r\n", "X: a\r\r\n", "X\r: a\r\n", "X: a\0b\r\n"]
    {
        site.refuses(open(lines, ""), 400, "bad_request");
    }
}

#[test]
fn h1_a_refused_requests_body_is_not_the_next_request() {
    let site = Site::start();
    let length = HIDDEN.len();
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{HIDDEN}\r\n0\r\n\r\n");
    let counted = format!("Content-Length: {length}\r\n\r\n{HIDDEN}");
    for framed in [&chunked, &counted] {
        for refused in ["/private", "/open/..%2fb", "//open"] {
            let mut client = site.client();
            client.send(format!("POST {refused} HTTP/1.1\r\nHost: localhost\r\n{framed}"));
            let response = client.response();
            assert!(matches!(response.status, 400 | 401), "{}", response.status);
            // A client that sends on gets the answer to what it sends, or none.
            let after = "GET /open/after HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            if client.try_send(after).is_ok()
                && let Ok(response) = client.try_response("GET")
            {
                response.expect(200);
            }
        }
    }
    assert!(site.targets().iter().all(|target| target == "/open/after"), "{:?}", site.targets());
}

#[test]
fn h1_a_pipelined_request_after_an_error_is_served_or_cut_off_but_never_confused() {
    let site = Site::start();
    let mut client = site.client();
    client.send(
        "GET /private HTTP/1.1\r\nHost: localhost\r\n\r\n\
         GET /open/second HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    client.response().expect(401);
    client.response().expect(200);
    assert_eq!(site.targets(), ["/open/second"]);

    // After a malformed head nobody knows where the next one begins.
    for malformed in [
        "GET /open/a HTTP/1.1\r\n\r\n",
        "GET /open/a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /open/a HTTP/1.1\r\nHost: localhost\r\nbad name: x\r\n\r\n",
        "GET /open/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: x\r\n\r\n",
    ] {
        let mut client = site.client();
        client.send(format!("{malformed}GET /open/third HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        client.response().expect(400);
        client.expect_end();
    }
    assert_eq!(site.targets(), ["/open/second"]);
}

#[test]
fn h1_a_chunked_body_of_a_get_does_not_vanish() {
    let body = "5\r\nhello\r\n0\r\n\r\n";
    let request = format!(
        "GET /first HTTP/1.1\r\nHost: localhost\r\n{}Transfer-Encoding: chunked\r\n\r\n{body}",
        bearer()
    );
    let site = Site::start();
    site.ask(&request).expect(200);
    let received = site.only();
    assert_eq!(received.headers("transfer-encoding"), ["chunked"]);
    assert_eq!(received.body, body.as_bytes());

    // Django would take a chunked body for none.
    let more = "[upstream.app]\nendpoints = [\"APPLICATION\"]\nkind = \"wsgi\"\n\
                [[route]]\npath = \"/wsgi/*\"\nupstream = \"app\"\n";
    let site = Site::with(Upstream::saying("reached"), more);
    site.ask(request.replace("/first", "/wsgi/first")).expect(200);
    let received = site.only();
    assert_eq!(received.headers("content-length"), ["5"]);
    assert_eq!(received.headers("transfer-encoding"), [""; 0]);
    assert_eq!(received.body, b"hello");
}

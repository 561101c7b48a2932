//! H18: clients that send or take one byte at a time. Short deadlines, long waits: only what comes
//! in the end is looked at.

use std::io::Write;

use super::Site;
use crate::support::eventually;
use crate::support::upstream::{Then, Upstream};

fn impatient(upstream: Upstream) -> Site {
    let more = "[server]\nheader_timeout = \"200ms\"\nbody_timeout = \"200ms\"\n\
                write_timeout = \"200ms\"\nhandshake_timeout = \"200ms\"\n";
    Site::with(upstream, more)
}

#[test]
fn h18_a_head_that_does_not_end_is_408() {
    let site = impatient(Upstream::saying("reached"));
    for bytes in [
        "G",
        "GET /open/x HTTP/1.1\r\n",
        "GET /open/x HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n",
        "GET /open/x HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n\r",
    ] {
        let mut client = site.client();
        client.send(bytes);
        let response = client.response().expect(408);
        assert!(response.closes);
        client.expect_end();
    }
    let record = site.gateway.records(4).remove(0);
    assert_eq!((&record["status"], &record["reason"]), (&408.into(), &"request_timeout".into()));
    assert_eq!(record["route"], "-");
    assert_eq!(site.upstream.count(), 0);
}

#[test]
fn h18_a_body_that_does_not_end_is_408() {
    for kind in ["http", "wsgi"] {
        let more = format!(
            "[server]\nbody_timeout = \"200ms\"\n\
             [upstream.app]\nendpoints = [\"APPLICATION\"]\nkind = \"{kind}\"\n\
             [[route]]\npath = \"/slow/*\"\nupstream = \"app\"\npublic = true\n"
        );
        let site = Site::with(Upstream::saying("reached"), &more);
        for framing in
            ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"]
        {
            let mut client = site.client();
            client.send(format!("POST /slow/x HTTP/1.1\r\nHost: localhost\r\n{framing}"));
            let response = client.response().expect(408);
            assert_eq!(response.json()["code"], "request_timeout", "{kind} {framing:?}");
            assert!(response.closes);
        }
        // What is cut off may be seen, but never for a whole body.
        for request in site.upstream.received() {
            assert_eq!(request.headers("content-length"), ["10"], "{kind}");
            assert_eq!(request.body, b"hello", "{kind}");
        }
    }
}

#[test]
fn h18_a_client_that_takes_nothing_is_closed() {
    let upstream = Upstream::start(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        let piece = [b'x'; 0x10000];
        loop {
            stream.write_all(b"10000\r\n")?;
            stream.write_all(&piece)?;
            stream.write_all(b"\r\n")?;
        }
    });
    let site = impatient(upstream);
    let mut client = site.client();
    client.send("GET /open/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let record = site.gateway.records(1).remove(0);
    assert_eq!((&record["status"], &record["reason"]), (&499.into(), &"client_gone".into()));
    drop(client);
}

#[test]
fn h18_a_handshake_that_does_not_end_is_closed() {
    let site = impatient(Upstream::saying("reached"));
    let mut client = crate::support::client::Client::tcp(site.secured());
    client.send([22, 3, 1]);
    eventually("the handshake is given up", || {
        let failed =
            "portcullis_tls_handshakes_total{listener=\"tls\",result=\"timed_out\",version=\"-\"}";
        (site.gateway.metric(failed) >= 1.0).then_some(())
    });
    client.expect_end();
}

#[test]
fn h18_an_application_that_stalls_is_504() {
    let upstream = Upstream::start(|_, _| {
        std::thread::sleep(crate::support::HUNG);
        Ok(Then::Close)
    });
    let more = "[upstream.app]\nendpoints = [\"APPLICATION\"]\nresponse_timeout = \"200ms\"\n\
                [[route]]\npath = \"/stall/*\"\nupstream = \"app\"\npublic = true\n";
    let site = Site::with(upstream, more);
    let response = site.client().get("/stall/x", "").expect(504);
    assert_eq!(response.json()["code"], "upstream_timeout");
}

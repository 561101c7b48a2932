//! H14, H28 and the limits of bodies: what is cut off is never taken for the whole, and what was
//! sent once is not sent again.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use super::{Site, bearer, open};
use crate::support::HUNG;
use crate::support::upstream::{Then, Upstream};

/// One chunk of this many bytes.
fn chunk(length: usize) -> String {
    format!("{length:x}\r\n{}\r\n", "x".repeat(length))
}

#[test]
fn a_body_beyond_its_limit_is_413_and_never_whole_behind_the_gateway() {
    // Reads one connection to its end, and says what came.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let reading = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(HUNG)).unwrap();
        let mut bytes = Vec::new();
        // A reset ends it as well.
        drop(stream.read_to_end(&mut bytes));
        bytes
    });
    let more = format!(
        "[[route]]\npath = \"/small/*\"\nupstream = \"{url}\"\npublic = true\nmax_body = \"1KiB\"\n"
    );
    let site = Site::with(Upstream::saying("reached"), &more);
    let mut client = site.client();
    client.send("POST /small/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(chunk(1000));
    client.send(chunk(1000));
    let response = client.response().expect(413);
    assert_eq!(response.json()["code"], "body_too_large");
    assert!(response.closes, "what the client sends on would be read as a request");
    let bytes = reading.join().unwrap();
    assert!(!bytes.ends_with(b"0\r\n\r\n"), "the application took the part for the whole");

    // Told beforehand, nobody is asked.
    site.refuses(
        "POST /small/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1025\r\n\r\n",
        413,
        "body_too_large",
    );
}

#[test]
fn a_gathered_body_beyond_its_limit_reaches_nobody() {
    let more = "[upstream.app]\nendpoints = [\"APPLICATION\"]\nkind = \"wsgi\"\n\
                [[route]]\npath = \"/wsgi/*\"\nupstream = \"app\"\npublic = true\nmax_body = \"1KiB\"\n";
    let site = Site::with(Upstream::saying("reached"), more);
    let head = "POST /wsgi/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = format!("{}{}0\r\n\r\n", chunk(1000), chunk(1000));
    site.refuses(format!("{head}{body}"), 413, "body_too_large");
}

#[test]
fn h14_request_trailers_end_with_us() {
    let site = Site::start();
    let body = "5\r\nhello\r\n0\r\nX-User: root\r\nAuthorization: Bearer x\r\nContent-Length: 0\r\n\
                Transfer-Encoding: chunked\r\nHost: evil.test\r\n\r\n";
    let lines = "Transfer-Encoding: chunked\r\nTrailer: X-User, Host\r\n";
    let response = site.ask(open(lines, body));
    if response.status == 200 {
        let received = site.only();
        assert_eq!(received.body, b"5\r\nhello\r\n0\r\n\r\n");
        assert_eq!(received.headers("trailer"), [""; 0]);
    } else {
        assert_eq!((response.status, site.upstream.count()), (400, 0));
    }
}

#[test]
fn h14_response_trailers_pass_only_where_asked_for() {
    let upstream = Upstream::start(|_, stream| {
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
             5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
        )?;
        Ok(Then::Keep)
    });
    let site = Site::with(upstream, "");
    // The tests' client takes a trailer for an error.
    let response = site.client().get("/open/x", "").expect(200);
    assert_eq!((response.text(), response.header("trailer")), ("hello", None));
}

#[test]
fn h28_a_post_that_was_sent_is_never_sent_again() {
    let upstream = Upstream::start(|request, stream| {
        if request.head.starts_with("POST") {
            return Ok(Then::Close);
        }
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        Ok(Then::Keep)
    });
    let site = Site::with(upstream, "[server]\nworkers = 1\n");
    for attempt in 1..=5 {
        // Leaves an idle connection behind, on which the loss could be explained.
        site.client().get("/open/warm", "").expect(200);
        for lines in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
            let body = if lines.starts_with('C') { "hello" } else { "5\r\nhello\r\n0\r\n\r\n" };
            let response = site.ask(open(lines, body)).expect(502);
            assert_eq!(response.json()["code"], "upstream_failed");
        }
        let posts = site.targets().iter().filter(|target| *target == "/open/first").count();
        assert_eq!(posts, 2 * attempt);
    }
}

#[test]
fn h28_a_request_that_reached_nobody_is_sent_once_elsewhere() {
    // A port at which nobody listens.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let more = format!(
        "[upstream.two]\nendpoints = [\"http://{gone}\", \"APPLICATION\"]\nbalance = \"round_robin\"\n\
         [[route]]\npath = \"/two/*\"\nupstream = \"two\"\n"
    );
    let site = Site::with(Upstream::saying("reached"), &more);
    for round in 1..=6 {
        let request = format!(
            "POST /two/x HTTP/1.1\r\nHost: localhost\r\n{}Content-Length: 5\r\n\r\nhello",
            bearer()
        );
        site.ask(request).expect(200);
        assert_eq!(site.upstream.count(), round);
        assert_eq!(site.upstream.received()[round - 1].body, b"hello");
    }
}

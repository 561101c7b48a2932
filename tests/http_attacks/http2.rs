//! H2, H5, H16, H17: what becomes a second request, another host or a flood when HTTP/2 is taken
//! apart and written anew as HTTP/1.1.

use std::io::Write;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Fate, Frames, HEADERS, PING, RST_STREAM,
    SETTINGS, block,
};
use super::{Site, bearer, token};
use crate::support::caller::{Body, http2};
use crate::support::upstream::{Then, Upstream};

type Header<'a> = (&'a [u8], &'a [u8]);

const METHOD: Header<'_> = (b":method", b"POST");
const SCHEME: Header<'_> = (b":scheme", b"https");
const PATH: Header<'_> = (b":path", b"/open/first");
const AUTHORITY: Header<'_> = (b":authority", b"localhost");

/// A good request's pseudo-headers, and then these.
fn with<'a>(more: &[Header<'a>]) -> Vec<Header<'a>> {
    let mut headers = vec![METHOD, SCHEME, PATH, AUTHORITY];
    headers.extend_from_slice(more);
    headers
}

impl Site {
    fn frames(&self) -> Frames {
        Frames::connect(self.secured(), &self.certificate.client("h2"))
    }

    /// Panics unless a request of these headers is refused and reaches nobody.
    #[track_caller]
    fn refuses_frames(&self, headers: &[Header<'_>], body: &[u8]) {
        let shown: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{}: {}", name.escape_ascii(), value.escape_ascii()))
            .collect();
        let mut frames = self.frames();
        frames.request(1, headers, body);
        if let Fate::Answered(body) = frames.fate(1)
            && !body.is_empty()
        {
            let problem: serde_json::Value = serde_json::from_slice(&body)
                .unwrap_or_else(|_| panic!("{shown:?} got {:?}", String::from_utf8_lossy(&body)));
            let status = problem["status"].as_u64().unwrap();
            assert!((400..500).contains(&status), "{shown:?}: {problem}");
        }
        assert_eq!(self.targets(), [""; 0], "{shown:?}");
    }
}

#[test]
fn h2_a_good_request_passes_and_carries_one_framing() {
    let site = Site::start();
    for (headers, body) in [
        (with(&[]), &b""[..]),
        (with(&[(b"content-length", b"5")]), b"hello"),
        (with(&[(b"te", b"trailers")]), b"hello"),
    ] {
        let mut frames = site.frames();
        frames.request(1, &headers, body);
        assert!(matches!(frames.fate(1), Fate::Answered(body) if body == b"reached"));
    }
    let framings: Vec<_> = site
        .upstream
        .received()
        .iter()
        .map(|r| [r.headers("content-length"), r.headers("transfer-encoding")].concat().join("|"))
        .collect();
    assert_eq!(framings, ["0", "5", "chunked"]);
}

#[test]
fn h2_lengths_that_contradict_the_frames_are_refused() {
    let site = Site::start();
    let hidden = b"GET /open/hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (lengths, body) in [
        (&[&b"0"[..]][..], &hidden[..]),
        (&[b"4"], hidden),
        (&[b"999"], hidden),
        (&[b"0", b"46"], hidden),
        (&[b"46", b"0"], hidden),
        (&[b"46, 46"], hidden),
        (&[b"+46"], hidden),
        (&[b"-1"], hidden),
        (&[b""], hidden),
        (&[b"0x2e"], hidden),
        (&[b"5"], b""),
    ] {
        let more: Vec<Header<'_>> =
            lengths.iter().map(|length| (&b"content-length"[..], *length)).collect();
        site.refuses_frames(&with(&more), body);
    }
}

/// The head says that there is no body, and leaves the stream open: the gateway has all the time it
/// needs to pass the request on before the body comes that contradicts it.
#[test]
fn h2_a_body_that_was_announced_as_none_reaches_nobody() {
    let site = Site::start();
    let mut frames = site.frames();
    let headers = with(&[(b"content-length", b"0")]);
    assert!(frames.send(HEADERS, END_HEADERS, 1, &block(&headers)));
    // Another stream's answer comes from the application, so that the first would be there, too.
    frames.request(3, &with(&[]), b"");
    assert!(matches!(frames.fate(3), Fate::Answered(body) if body == b"reached"));
    frames.send(DATA, END_STREAM, 1, b"GET /open/hidden HTTP/1.1\r\n\r\n");
    assert!(!matches!(frames.fate(1), Fate::Answered(body) if body == b"reached"));
    assert_eq!(site.targets(), ["/open/first"], "the good one alone");
}

/// Some clients close the stream with an empty frame of its own.
#[test]
fn h2_no_body_may_end_with_an_empty_frame() {
    let site = Site::start();
    let mut frames = site.frames();
    let headers = with(&[(b"content-length", b"0")]);
    assert!(frames.send(HEADERS, END_HEADERS, 1, &block(&headers)));
    assert!(frames.send(DATA, END_STREAM, 1, b""));
    assert!(matches!(frames.fate(1), Fate::Answered(body) if body == b"reached"));
}

#[test]
fn h2_fields_of_an_http1_connection_are_refused() {
    let site = Site::start();
    let hidden = b"0\r\n\r\nGET /open/hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for more in [
        (&b"transfer-encoding"[..], &b"chunked"[..]),
        (b"transfer-encoding", b"identity"),
        (b"connection", b"transfer-encoding"),
        (b"connection", b"close"),
        (b"keep-alive", b"timeout=5"),
        (b"proxy-connection", b"close"),
        (b"upgrade", b"h2c"),
        (b"te", b"gzip"),
        (b"te", b"trailers, chunked"),
    ] {
        site.refuses_frames(&with(&[more]), hidden);
    }
}

#[test]
fn h2_a_value_is_the_same_to_the_next_hop() {
    let site = Site::start();
    for more in [
        (&b"x-a"[..], &b" b"[..]),
        (b"x-a", b"\tb"),
        (b"x-a", b"b "),
        (b"x-a", b" "),
        (b"cookie", b"a=b "),
        (b"authorization", b" Bearer e30.e30.AA"),
    ] {
        site.refuses_frames(&with(&[more]), b"hello");
    }
}

#[test]
fn h2_line_ends_and_controls_are_in_no_field() {
    let site = Site::start();
    let evil = b"a\r\nTransfer-Encoding: chunked\r\nX: y";
    for more in [
        (&b"x-a"[..], &evil[..]),
        (b"x-a", b"a\nb"),
        (b"x-a", b"a\rb"),
        (b"x-a", b"a\0b"),
        (b"x-a: b\r\nx-c", b"d"),
        (b"x-a\r\n\r\nGET /open/hidden HTTP/1.1\r\n", b""),
        (b"", b"x"),
        (b"X-A", b"upper case"),
        (b"x a", b"b"),
        (b"x:a", b"b"),
        (b"x\0a", b"b"),
        (b"x-\xff", b"b"),
        (b"transfer-encoding ", b"chunked"),
        (b"cookie", b"a=b\r\nX-User: root"),
    ] {
        site.refuses_frames(&with(&[more]), b"hello");
    }
}

#[test]
fn h2_pseudo_headers_are_whole_single_and_first() {
    let site = Site::start();
    let cases: &[&[Header<'_>]] = &[
        &[SCHEME, PATH, AUTHORITY],
        &[METHOD, SCHEME, AUTHORITY],
        &[METHOD, PATH, AUTHORITY],
        &[METHOD, METHOD, SCHEME, PATH, AUTHORITY],
        &[METHOD, SCHEME, PATH, (b":path", b"/open/hidden"), AUTHORITY],
        &[METHOD, SCHEME, PATH, AUTHORITY, (b":authority", b"other")],
        &[METHOD, SCHEME, AUTHORITY, (b"x-a", b"b"), PATH],
        &[METHOD, SCHEME, PATH, AUTHORITY, (b":status", b"200")],
        &[METHOD, SCHEME, PATH, AUTHORITY, (b":unknown", b"x")],
        &[METHOD, SCHEME, PATH, AUTHORITY, (b":protocol", b"websocket")],
        &[METHOD, SCHEME, (b":path", b""), AUTHORITY],
        &[METHOD, SCHEME, (b":path", b"open/first"), AUTHORITY],
        &[METHOD, SCHEME, (b":path", b"*"), AUTHORITY],
        &[METHOD, SCHEME, (b":path", b"/open/a b"), AUTHORITY],
        &[METHOD, SCHEME, (b":path", b"/open/x HTTP/1.1\r\nX-User: root\r\n"), AUTHORITY],
        &[METHOD, SCHEME, (b":path", b"/open/\\..\\x"), AUTHORITY],
        &[METHOD, SCHEME, (b":path", b"/open/\0"), AUTHORITY],
        &[METHOD, SCHEME, (b":path", b"https://localhost/open/x"), AUTHORITY],
        &[METHOD, SCHEME, (b":path", b"//localhost/open/x"), AUTHORITY],
        &[(b":method", b"GET /open/hidden HTTP/1.1\r\n"), SCHEME, PATH, AUTHORITY],
        &[(b":method", b"G T"), SCHEME, PATH, AUTHORITY],
        &[(b":method", b""), SCHEME, PATH, AUTHORITY],
        &[(b":method", b"CONNECT"), AUTHORITY],
        &[(b":method", b"CONNECT"), SCHEME, PATH, AUTHORITY],
        &[(b":method", b"TRACE"), SCHEME, PATH, AUTHORITY],
        &[METHOD, (b":scheme", b"ftp"), PATH, AUTHORITY],
        &[METHOD, (b":scheme", b"https://evil/?"), PATH, AUTHORITY],
        &[METHOD, (b":scheme", b""), PATH, AUTHORITY],
    ];
    for headers in cases {
        site.refuses_frames(headers, b"hello");
    }
}

#[test]
fn h5_over_http2_the_authority_and_the_host_agree() {
    let site = Site::start();
    let cases: &[&[Header<'_>]] = &[
        &[METHOD, SCHEME, PATH],
        &[METHOD, SCHEME, PATH, AUTHORITY, (b"host", b"other")],
        &[METHOD, SCHEME, PATH, AUTHORITY, (b"host", b"localhost:1")],
        &[METHOD, SCHEME, PATH, AUTHORITY, (b"host", b"localhost"), (b"host", b"localhost")],
        &[METHOD, SCHEME, PATH, AUTHORITY, (b"host", b"")],
        &[METHOD, SCHEME, PATH, AUTHORITY, (b"host", b"a b")],
        &[METHOD, SCHEME, PATH, (b":authority", b"")],
        &[METHOD, SCHEME, PATH, (b":authority", b"user@localhost")],
        &[METHOD, SCHEME, PATH, (b":authority", b"localhost:80:80")],
        &[METHOD, SCHEME, PATH, (b":authority", b"localhost/x")],
        &[METHOD, SCHEME, PATH, (b":authority", b"localhost\r\nX-User: root")],
    ];
    for headers in cases {
        site.refuses_frames(headers, b"");
    }
    for headers in [
        with(&[(b"host", b"localhost")]),
        with(&[(b"host", b"LOCALHOST:443")]),
        vec![METHOD, SCHEME, PATH, (b"host", b"localhost")],
    ] {
        let mut frames = site.frames();
        frames.request(1, &headers, b"");
        assert!(matches!(frames.fate(1), Fate::Answered(body) if body == b"reached"));
        let received = site.upstream.received().pop().unwrap();
        assert_eq!(received.headers("host"), ["localhost"]);
        assert_eq!(received.headers("x-forwarded-host"), ["localhost"]);
    }
}

#[test]
fn h4_h10_h11_hold_over_http2_too() {
    let site = Site::start();
    let authorization = format!("Bearer {}", token());
    let mut frames = site.frames();
    let headers = [
        (&b":method"[..], &b"GET"[..]),
        SCHEME,
        (b":path", b"/private"),
        AUTHORITY,
        (b"authorization", authorization.as_bytes()),
        (b"x-user", b"root"),
        (b"x_user", b"root"),
        (b"x.user", b"root"),
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"x_forwarded_for", b"10.0.0.1"),
        (b"forwarded", b"for=10.0.0.1"),
        (b"x-real-ip", b"10.0.0.1"),
        (b"script_name", b"/x"),
        (b"x-forwarded-proto", b"http"),
    ];
    frames.request(1, &headers, b"");
    assert!(matches!(frames.fate(1), Fate::Answered(body) if body == b"reached"));
    let received = site.only();
    assert_eq!(received.headers("x-user"), ["ada"]);
    assert_eq!(received.headers("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(received.headers("x-forwarded-proto"), ["https"]);
    for evil in ["root", "10.0.0.1", "script"] {
        assert!(!received.head.contains(evil), "{}", received.head);
    }
    assert!(bearer().contains("Bearer"), "sent on as it came");
    assert_eq!(received.headers("authorization"), [authorization.as_str()]);
}

#[test]
fn h2_cookies_are_joined_into_one_line() {
    let site = Site::start();
    let mut frames = site.frames();
    let more: [Header<'_>; 3] =
        [(b"cookie", b"sessionid=1"), (b"cookie", b"csrftoken=2"), (b"cookie", b"a=b; c=d")];
    frames.request(1, &with(&more), b"");
    assert!(matches!(frames.fate(1), Fate::Answered(_)));
    assert_eq!(site.only().headers("cookie"), ["sessionid=1; csrftoken=2; a=b; c=d"]);
}

#[test]
fn h14_trailers_over_http2_end_with_us() {
    let site = Site::start();
    let mut frames = site.frames();
    assert!(frames.send(HEADERS, END_HEADERS, 1, &block(&with(&[]))));
    assert!(frames.send(DATA, 0, 1, b"hello"));
    let trailers: [Header<'_>; 3] =
        [(b"x-user", b"root"), (b"authorization", b"Bearer x"), (b"x-checksum", b"1")];
    assert!(frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&trailers)));
    assert!(matches!(frames.fate(1), Fate::Answered(body) if body == b"reached"));
    assert_eq!(site.only().body, b"5\r\nhello\r\n0\r\n\r\n");
}

/// An application that answers nothing until it is told to.
fn stalled() -> (Upstream, Arc<(Mutex<bool>, Condvar)>) {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let shared = Arc::clone(&gate);
    let upstream = Upstream::start(move |request, stream| {
        if request.target() != "/open/quick" {
            shared.1.wait_while(&mut shared.0.lock(), |open| !*open);
        }
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        Ok(Then::Keep)
    });
    (upstream, gate)
}

#[test]
fn h16_a_client_that_takes_back_what_it_asks_is_closed() {
    let (upstream, gate) = stalled();
    let site = Site::with(upstream, "");
    let mut frames = site.frames();
    let headers = block(&with(&[]));
    let mut stream = 1;
    // Sends until the connection is closed; a gateway that takes them all never closes it.
    while stream < 20_000
        && frames.send(HEADERS, END_HEADERS | END_STREAM, stream, &headers)
        && frames.send(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
    {
        stream += 2;
    }
    frames.end();
    *gate.0.lock() = true;
    gate.1.notify_all();
    // Others are served as before.
    let quick = http2("GET", "/open/quick", &[], Body::None);
    site.h2().send(quick).unwrap().expect(200);
}

#[test]
fn h17_endless_heads_and_empty_frames_end_the_connection() {
    let site = Site::start();
    let head = block(&with(&[]));
    let filler = block(&[(b"x-filler", &[b'a'; 1000])]);

    // CONTINUATION for ever.
    let mut frames = site.frames();
    let mut open = frames.send(HEADERS, END_STREAM, 1, &head);
    for _ in 0..10_000 {
        open = open && frames.send(CONTINUATION, 0, 1, &filler);
    }
    frames.end();

    // DATA without data for ever.
    let mut frames = site.frames();
    let mut open = frames.send(HEADERS, END_HEADERS, 1, &head);
    for _ in 0..200_000 {
        open = open && frames.send(DATA, 0, 1, b"");
        if !open {
            break;
        }
    }
    frames.end();

    // A list of headers that is small on the wire: one field put in the table, named a lot.
    let mut frames = site.frames();
    let mut bomb = head.clone();
    bomb.extend_from_slice(&[0x40, 3]);
    bomb.extend_from_slice(b"x-a");
    bomb.extend_from_slice(&[127, 0x81, 0x1c]);
    bomb.extend_from_slice(&[b'a'; 3712]);
    bomb.extend_from_slice(&[0x80 | 62; 8000]);
    frames.request(1, &[], b"");
    let mut frames = site.frames();
    assert!(frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &bomb));
    assert!(!matches!(frames.fate(1), Fate::Answered(body) if body == b"reached"));

    // Pings and settings are answered one at a time; the connection lives on or is closed.
    let mut frames = site.frames();
    for _ in 0..1000 {
        if !(frames.send(PING, 0, 0, b"pingpong") && frames.send(SETTINGS, 0, 0, &[])) {
            break;
        }
        while let Some(frame) = frames.next() {
            if frame.kind == PING && frame.flags & ACK != 0 {
                break;
            }
        }
    }
    assert_eq!(site.targets(), [""; 0]);
    site.h2().send(http2("GET", "/open/quick", &[], Body::None)).unwrap().expect(200);
}

#[test]
fn h2_a_body_that_is_taken_back_is_never_whole_behind_the_gateway() {
    let site = Site::start();
    let mut frames = site.frames();
    // So that a connection to the application waits, and all can happen at once.
    frames.request(1, &with(&[]), b"first");
    assert!(matches!(frames.fate(1), Fate::Answered(_)));
    for (stream, reason) in (3_u32..).step_by(2).zip([0_u32, 8, 2, 5]) {
        frames.send(HEADERS, END_HEADERS, stream, &block(&with(&[])));
        frames.send(DATA, 0, stream, b"half of a paym");
        frames.send(RST_STREAM, 0, stream, &reason.to_be_bytes());
    }
    frames.request(101, &with(&[]), b"last");
    assert!(matches!(frames.fate(101), Fate::Answered(_)));
    // A record each, so that none is still on its way.
    drop(site.gateway.records(6));
    assert_eq!(site.targets().len(), 2, "{:?}", site.upstream.received());
}

//! A request with cookies, a query and subprotocols: a credential is found only where every reader
//! finds the same, and none is left for any reader once it was taken out.

use hyper::Request;
use hyper::header::{COOKIE, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use hyper::http::request::Parts;
use portcullis::http::credential::{Occurrence, cookie, query, reads_as, subprotocol};

use super::pen;

const NAME: &str = "t";

pub(crate) fn check(data: &[u8]) {
    examine(data);
    examine(pen::words(data, WORDS).as_bytes());
}

const WORDS: &[&str] = &[
    "t",
    "T",
    "%74",
    "t=",
    "t=a",
    "=",
    "&",
    ";",
    ", ",
    ",",
    " ",
    "[",
    "]",
    "+",
    "bearer",
    "Bearer",
    "bearer, a",
    "\u{a0}",
    "\"",
    "%",
    "x=1",
    ".",
];

fn examine(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(request) = Request::get(format!("/?{text}")).body(())
    {
        in_query(request.into_parts().0);
    }
    // Two lines, as HTTP/2 clients send them.
    let lines = || bytes.split(|byte| *byte == b'|');
    let head = |name: HeaderName| {
        let mut parts = Request::new(()).into_parts().0;
        for line in lines() {
            parts.headers.append(&name, HeaderValue::from_bytes(line).ok()?);
        }
        Some(parts)
    };
    if let Some(parts) = head(COOKIE) {
        in_cookies(parts);
    }
    if let Some(parts) = head(SEC_WEBSOCKET_PROTOCOL) {
        among_subprotocols(parts);
    }
}

fn in_query(mut parts: Parts) {
    let text = parts.uri.query().unwrap_or_default().to_owned();
    if let Occurrence::One(value) = query::find(&text, NAME) {
        let exact: Vec<_> = text.split('&').filter(|one| one.starts_with("t=")).collect();
        assert_eq!(exact.len(), 1, "{text:?}");
        assert_eq!(&exact[0].as_bytes()[2..], value, "{text:?}");
    }
    query::take_out(&mut parts, NAME);
    let left = parts.uri.query().unwrap_or_default();
    assert_eq!(query::find(left, NAME), Occurrence::Absent, "{text:?} -> {left:?}");
    for piece in left.split(['&', ';']) {
        let written = piece.split('=').next().unwrap_or_default();
        assert!(!reads_as(written.as_bytes(), NAME.as_bytes()), "{text:?} -> {left:?}");
    }
}

fn in_cookies(mut parts: Parts) {
    let shown = format!("{:?}", parts.headers);
    if let Occurrence::One(value) = cookie::find(&parts.headers, NAME) {
        let lines =
            parts.headers.get_all(COOKIE).iter().flat_map(|line| {
                line.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii)
            });
        let exact: Vec<_> = lines.filter(|piece| piece.starts_with(b"t=")).collect();
        assert_eq!(exact.len(), 1, "{shown}");
        assert_eq!(&exact[0][2..], value, "{shown}");
    }
    cookie::take_out(&mut parts.headers, NAME);
    assert_eq!(cookie::find(&parts.headers, NAME), Occurrence::Absent, "{shown}");
    for line in parts.headers.get_all(COOKIE) {
        for piece in line.as_bytes().split(|byte| b";, \t".contains(byte)) {
            let named = piece.split(|byte| *byte == b'=').next().unwrap_or_default();
            let has_value = named.len() < piece.len();
            assert!(!(has_value && reads_as(named, NAME.as_bytes())), "{shown} -> {line:?}");
        }
    }
}

fn among_subprotocols(mut parts: Parts) {
    let shown = format!("{:?}", parts.headers);
    let held = subprotocol::find(&parts.headers) != Occurrence::Absent;
    assert_eq!(subprotocol::take_out(&mut parts.headers), held, "{shown}");
    assert_eq!(subprotocol::find(&parts.headers), Occurrence::Absent, "{shown}");
    for line in parts.headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
        let mut elements = line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let marked = elements.any(|one| one.eq_ignore_ascii_case(subprotocol::MARKER.as_bytes()));
        assert!(!marked, "{shown} -> {line:?}");
    }
}

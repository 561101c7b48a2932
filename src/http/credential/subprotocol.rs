//! A credential among the subprotocols of a WebSocket: the only thing that a browser's page can say
//! in the handshake (RFC 6455 section 4.1).
//!
//! `new WebSocket(url, ["bearer", token, "app.v1"])` sends `Sec-WebSocket-Protocol: bearer, TOKEN,
//! app.v1`: the word `bearer`, and the token as the next element. Both are taken out before the
//! application sees the handshake; what is left are the application's own subprotocols.

use hyper::Method;
use hyper::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use hyper::http::request::Parts;

use super::spelling::Occurrence;
use crate::http::upgrade::is_extended;

/// The element before the token.
pub const MARKER: &str = "bearer";

/// Whether it asks for a WebSocket: over HTTP/1.1, or by an extended CONNECT (RFC 8441), which is a
/// GET by now.
pub fn is_websocket(parts: &Parts) -> bool {
    let upgrades = || {
        let lines = parts.headers.get_all(UPGRADE).iter();
        lines.flat_map(elements).any(|word| word.eq_ignore_ascii_case(b"websocket"))
    };
    parts.method == Method::GET && (upgrades() || is_extended(parts))
}

/// What all lines together hold behind the marker.
pub fn find(headers: &HeaderMap) -> Occurrence<'_> {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let mut elements = lines.flat_map(elements);
    let mut found = Occurrence::Absent;
    while let Some(element) = elements.next() {
        if !is_marker(element) {
            continue;
        }
        let token = elements.next().unwrap_or_default();
        let one = match element == MARKER.as_bytes() {
            true => Occurrence::once(token),
            false => Occurrence::Respelled,
        };
        // `bearer, bearer, x`: which one is the marker?
        let again = if is_marker(token) { Occurrence::Respelled } else { Occurrence::Absent };
        found = found.and(one).and(again);
    }
    found
}

/// Takes marker and token out; whether there were any. What is left becomes one line.
pub fn take_out(headers: &mut HeaderMap) -> bool {
    if find(headers) == Occurrence::Absent {
        return false;
    }
    let mut kept: Vec<u8> = Vec::new();
    let mut after_marker = false;
    for element in headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().flat_map(elements) {
        let is_token = std::mem::replace(&mut after_marker, is_marker(element));
        if is_token || after_marker {
            continue;
        }
        if !kept.is_empty() {
            kept.extend_from_slice(b", ");
        }
        kept.extend_from_slice(element);
    }
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    if !kept.is_empty()
        && let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(kept))
    {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
    true
}

/// Chooses the marker where the application chose none of its own: a browser that offered
/// subprotocols ends the connection if the answer names none.
pub fn answer(headers: &mut HeaderMap) {
    if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(MARKER));
    }
}

fn is_marker(element: &[u8]) -> bool {
    element.eq_ignore_ascii_case(MARKER.as_bytes())
}

fn elements(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let elements = line.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    elements.filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use hyper::ext::Protocol;
    use hyper::{Request, Version};
    use proptest::prelude::*;

    use super::*;
    use crate::http::upgrade::take_extended_connect;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers
                .append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn the_token_is_what_follows_the_marker() {
        use Occurrence::{Absent, Empty, One, Respelled, Several};
        for (lines, expected) in [
            (&[][..], Absent),
            (&["app.v1, app.v2"], Absent),
            (&["bearers, x", "xbearer"], Absent),
            (&["bearer, abc"], One(&b"abc"[..])),
            (&["app.v1, bearer, abc, app.v2"], One(b"abc")),
            (&["app.v1,bearer,abc"], One(b"abc")),
            (&["bearer", "abc"], One(b"abc")),
            (&["bearer, , abc"], One(b"abc")),
            (&["bearer"], Empty),
            (&["app.v1, bearer"], Empty),
            (&["Bearer, abc"], Respelled),
            (&["bearer, a, bearer, b"], Several),
            (&["bearer, a, BEARER, b"], Several),
            (&["bearer, bearer, a"], Several),
            (&["bearer, bearer"], Several),
            (&["bearer, a", "bearer"], Several),
        ] {
            assert_eq!(find(&headers(lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn the_application_s_own_subprotocols_are_left() {
        for (lines, expected) in [
            (&["app.v1", "app.v2"][..], &["app.v1", "app.v2"][..]),
            (&["bearer, x"], &[]),
            (&["app.v1, bearer, x, app.v2"], &["app.v1, app.v2"]),
            (&["app.v1, bearer", "x, app.v2"], &["app.v1, app.v2"]),
            (&["bearer, bearer, x, app.v1"], &["app.v1"]),
        ] {
            let mut headers = headers(lines);
            assert_eq!(take_out(&mut headers), lines != expected);
            let left: Vec<_> = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().collect();
            assert_eq!(left, expected, "{lines:?}");
        }
    }

    #[test]
    fn the_marker_answers_where_the_application_chose_nothing() {
        let mut none = HeaderMap::new();
        answer(&mut none);
        assert_eq!(none[SEC_WEBSOCKET_PROTOCOL], "bearer");
        let mut own = headers(&["app.v1"]);
        answer(&mut own);
        assert_eq!(own[SEC_WEBSOCKET_PROTOCOL], "app.v1");
    }

    #[test]
    fn a_websocket_is_asked_for_by_upgrade_or_extended_connect() {
        let asks = |method: &str, upgrade: Option<&str>, protocol: Option<&'static str>| {
            let mut request = Request::builder().method(method).uri("/");
            if let Some(upgrade) = upgrade {
                request = request.header(UPGRADE, upgrade);
            }
            if let Some(protocol) = protocol {
                request = request.extension(Protocol::from_static(protocol));
            }
            let mut parts = request.version(Version::HTTP_2).body(()).unwrap().into_parts().0;
            take_extended_connect(&mut parts);
            is_websocket(&parts)
        };
        assert!(asks("GET", Some("websocket"), None) && asks("GET", Some("h2c, WebSocket"), None));
        assert!(asks("CONNECT", None, Some("websocket")));
        assert!(!asks("GET", None, None) && !asks("POST", Some("websocket"), None));
        assert!(!asks("GET", Some("h2c"), None) && !asks("CONNECT", None, Some("connect-udp")));
        assert!(!asks("CONNECT", None, None) && !asks("GET", None, Some("websocket")));
    }

    proptest! {
        #[test]
        fn nothing_is_left_that_anybody_would_find(
            lines in prop::collection::vec("(bearer|Bearer|[ab]|,| ){0,12}", 0..3),
        ) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let mut headers = headers(&lines);
            let held = find(&headers) != Occurrence::Absent;
            prop_assert_eq!(take_out(&mut headers), held);
            prop_assert_eq!(find(&headers), Occurrence::Absent);
        }

        #[test]
        fn no_line_panics(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let mut headers = HeaderMap::new();
                headers.append(SEC_WEBSOCKET_PROTOCOL, value);
                find(&headers);
                take_out(&mut headers);
            }
        }
    }
}

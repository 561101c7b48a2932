//! The switch from HTTP/1.1 to WebSocket (RFC 9110 section 7.8, RFC 6455 section 4).
//!
//! Both sides have to say the same thing in the one way there is: a gateway that believes in a
//! switch which the application did not make forwards the client's next bytes as if they were
//! nobody's request (attack H12). What is not such a request is an ordinary one, whose `Upgrade`
//! ends here.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode, Version};

use super::hop_by_hop;

/// Whether the request asks to switch to WebSocket, and to nothing else. It must not have a body:
/// that would be bytes before the switch which might be taken for bytes after it.
pub fn asks_for_websocket(parts: &Parts) -> bool {
    let headers = &parts.headers;
    // First what nearly no request has.
    headers.contains_key(header::UPGRADE)
        && parts.version == Version::HTTP_11
        && parts.method == Method::GET
        && is_websocket(headers)
        && sole(headers, &KEY).is_some()
        && !headers.contains_key(header::CONTENT_LENGTH)
        && !headers.contains_key(header::TRANSFER_ENCODING)
}

/// Whether the response makes that switch.
pub fn switches_to_websocket(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS && is_websocket(headers)
}

/// Says so for the next hop.
pub fn set_websocket(headers: &mut HeaderMap) {
    headers.remove(header::TE);
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

fn is_websocket(headers: &HeaderMap) -> bool {
    sole(headers, &header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && hop_by_hop::names(headers, b"upgrade")
}

/// The value of a header that stands once.
fn sole<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

const KEY: HeaderName = header::SEC_WEBSOCKET_KEY;

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    const GOOD: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ];

    fn parts(lines: &[(&str, &str)]) -> Parts {
        let mut request = Request::get("/");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_the_one_switch_is_asked_for() {
        assert!(asks_for_websocket(&parts(&GOOD)));
        for (name, value) in [
            ("connection", "keep-alive"),
            ("upgrade", "h2c"),
            ("upgrade", "websocket, h2c"),
            ("upgrade", "websocket/13"),
            ("upgrade", ""),
        ] {
            let lines: Vec<_> = GOOD
                .iter()
                .map(|line| if line.0 == name { (name, value) } else { *line })
                .collect();
            assert!(!asks_for_websocket(&parts(&lines)), "{name}: {value}");
        }
        for more in [
            ("upgrade", "websocket"),
            ("upgrade", "h2c"),
            ("sec-websocket-key", "x"),
            ("content-length", "0"),
            ("transfer-encoding", "chunked"),
        ] {
            assert!(!asks_for_websocket(&parts(&[&GOOD[..], &[more]].concat())), "{more:?}");
        }
        for without in ["connection", "upgrade", "sec-websocket-key"] {
            let lines: Vec<_> = GOOD.into_iter().filter(|line| line.0 != without).collect();
            assert!(!asks_for_websocket(&parts(&lines)), "{without}");
        }
        let mut other = parts(&GOOD);
        other.version = Version::HTTP_10;
        assert!(!asks_for_websocket(&other));
        let mut other = parts(&GOOD);
        other.method = Method::POST;
        assert!(!asks_for_websocket(&other));
    }

    #[test]
    fn a_switch_is_made_by_a_101_that_says_to_what() {
        let made = |status: u16, lines: &[(&str, &str)]| {
            switches_to_websocket(StatusCode::from_u16(status).unwrap(), &parts(lines).headers)
        };
        let good = [("connection", "Upgrade"), ("upgrade", "websocket")];
        assert!(made(101, &good));
        assert!(!made(200, &good));
        assert!(!made(101, &good[..1]));
        assert!(!made(101, &good[1..]));
        assert!(!made(101, &[good[0], ("upgrade", "h2c")]));
        assert!(!made(101, &[good[0], good[1], good[1]]));
    }

    #[test]
    fn the_next_hop_is_told_the_same() {
        let mut headers = HeaderMap::new();
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        set_websocket(&mut headers);
        assert_eq!(headers.len(), 2);
        assert!(switches_to_websocket(StatusCode::SWITCHING_PROTOCOLS, &headers));
    }
}

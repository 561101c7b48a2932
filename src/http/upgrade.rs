//! The switch from HTTP/1.1 to WebSocket (RFC 9110 section 7.8, RFC 6455 section 4), and what stands
//! for it in HTTP/2: an extended CONNECT (RFC 8441), which is treated as the GET that it means from
//! its arrival on, so that no rule knows of two kinds.
//!
//! Both sides have to say the same thing in the one way there is: a gateway that believes in a
//! switch which the application did not make forwards the client's next bytes as if they were
//! nobody's request (attack H12). What is not such a request is an ordinary one, whose `Upgrade`
//! ends here.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::ext::Protocol;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode, Version};

use super::hop_by_hop;

/// Whether the request asks to switch to WebSocket, and to nothing else. It must not have a body:
/// that would be bytes before the switch which might be taken for bytes after it.
pub fn asks_for_websocket(parts: &Parts) -> bool {
    let headers = &parts.headers;
    if is_extended(parts) {
        return true;
    }
    // First what nearly no request has.
    headers.contains_key(header::UPGRADE)
        && parts.version == Version::HTTP_11
        && parts.method == Method::GET
        && is_websocket(headers)
        && sole(headers, &KEY).is_some()
        && !headers.contains_key(header::CONTENT_LENGTH)
        && !headers.contains_key(header::TRANSFER_ENCODING)
}

/// The mark of a request that came as an extended CONNECT.
#[derive(Clone, Copy, Debug)]
struct Extended;

/// Makes an extended CONNECT for a WebSocket the GET that it stands for. Whatever else is asked for
/// in this way stays a CONNECT, which nobody serves.
pub fn take_extended_connect(parts: &mut Parts) {
    let asked = parts.method == Method::CONNECT
        && parts.version == Version::HTTP_2
        && parts.extensions.get::<Protocol>().is_some_and(|one| one.as_str() == "websocket")
        && !parts.headers.contains_key(header::CONTENT_LENGTH);
    if asked {
        parts.method = Method::GET;
        parts.extensions.insert(Extended);
    }
}

/// Whether the request came as an extended CONNECT.
pub fn is_extended(parts: &Parts) -> bool {
    parts.extensions.get::<Extended>().is_some()
}

/// A key of our own in the place of the client's, who has none over HTTP/2: the endpoint proves with
/// its answer that it understood. `None` if the system has no random bytes.
pub fn set_key(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).ok()?;
    let key = HeaderValue::try_from(STANDARD.encode(bytes)).ok()?;
    headers.insert(KEY, key.clone());
    Some(key)
}

/// Whether the answer proves that its sender read `key` (RFC 6455 section 4.2.2).
pub fn proves(headers: &HeaderMap, key: &HeaderValue) -> bool {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), GUID].concat());
    let expected = STANDARD.encode(hash.as_ref());
    sole(headers, &header::SEC_WEBSOCKET_ACCEPT).is_some_and(|value| value == expected.as_str())
}

/// The head of a switch as the answer to an extended CONNECT: that it is one, its status says.
pub fn leave_to_status(headers: &mut HeaderMap) {
    for name in [header::CONNECTION, header::UPGRADE, header::SEC_WEBSOCKET_ACCEPT] {
        headers.remove(name);
    }
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
    fn an_extended_connect_for_a_websocket_is_a_get_and_no_other_is() {
        let connect = |protocol: Option<&'static str>, version, length: bool| {
            let mut request = Request::connect("https://a/b").version(version);
            if let Some(protocol) = protocol {
                request = request.extension(Protocol::from_static(protocol));
            }
            if length {
                request = request.header("content-length", "0");
            }
            let mut parts = request.body(()).unwrap().into_parts().0;
            take_extended_connect(&mut parts);
            (parts.method.clone(), asks_for_websocket(&parts))
        };
        let h2 = Version::HTTP_2;
        assert_eq!(connect(Some("websocket"), h2, false), (Method::GET, true));
        let not = (Method::CONNECT, false);
        assert_eq!(connect(Some("connect-udp"), h2, false), not);
        assert_eq!(connect(Some("WebSocket"), h2, false), not);
        assert_eq!(connect(None, h2, false), not);
        assert_eq!(connect(Some("websocket"), h2, true), not);
        assert_eq!(connect(Some("websocket"), Version::HTTP_11, false), not);
    }

    #[test]
    fn an_answer_proves_that_the_key_was_read() {
        // RFC 6455 section 1.3.
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        let mut headers = HeaderMap::new();
        assert!(!proves(&headers, &key));
        let accept = HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        headers.append(header::SEC_WEBSOCKET_ACCEPT, accept.clone());
        assert!(proves(&headers, &key));
        headers.append(header::SEC_WEBSOCKET_ACCEPT, accept);
        assert!(!proves(&headers, &key), "twice");
        let mut other = HeaderMap::new();
        let fresh = set_key(&mut other).unwrap();
        assert_eq!(other[KEY], fresh);
        assert!(!proves(&headers, &fresh));
        assert_ne!(set_key(&mut other).unwrap(), fresh);
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

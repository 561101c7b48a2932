//! What Portcullis tells applications about a request: forwarding headers, `Via`, the request id.
//!
//! Owns these headers' values. Trusts the socket for the peer's address and nothing that the
//! request says about itself: every value is set, never appended to, since Django reads the
//! leftmost of a list. `Via` alone is appended to (RFC 9110 section 7.6.3), and shows loops.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::net::IpAddr;

use hyper::Version;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::authority::Scheme;

/// Where a request came from and what it asked for, as this gateway saw it.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The peer's address; `None` on a unix socket, which has none worth telling.
    pub peer: Option<IpAddr>,
    /// How the client reached us.
    pub scheme: Scheme,
    /// The host as the client wrote it.
    pub host: &'a HeaderValue,
    /// The listener's public port.
    pub port: u16,
}

/// Sets `X-Forwarded-For`, `-Proto`, `-Host`, `-Port` and `X-Real-IP`; without a peer's address
/// the first and the last are removed.
pub fn set_forwarded(headers: &mut HeaderMap, origin: &Origin<'_>) {
    const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
    const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
    const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
    const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
    match origin.peer.and_then(address_value) {
        Some(address) => {
            headers.insert(FOR, address.clone());
            headers.insert(REAL_IP, address);
        }
        None => {
            headers.remove(FOR);
            headers.remove(REAL_IP);
        }
    }
    headers.insert(PROTO, HeaderValue::from_static(origin.scheme.as_str()));
    headers.insert(HOST, origin.host.clone());
    headers.insert(PORT, HeaderValue::from(origin.port));
}

/// A fresh request id: 128 bits as 32 hexadecimal digits.
///
/// SipHash of a counter under keys that the operating system gave this thread: nothing to lock,
/// nothing to ask the system for, no two alike. An id, not a secret.
pub fn request_id() -> HeaderValue {
    thread_local! {
        static KEYS: (RandomState, Cell<u64>) = (RandomState::new(), const { Cell::new(0) });
    }
    let (high, low) = KEYS.with(|(keys, counter)| {
        let count = counter.get();
        counter.set(count.wrapping_add(1));
        (keys.hash_one((count, 0_u8)), keys.hash_one((count, 1_u8)))
    });
    let mut text = [0; 32];
    write_value(&mut text, format_args!("{high:016x}{low:016x}"))
        .unwrap_or_else(|| HeaderValue::from_static("-"))
}

/// This gateway's entry in `Via`.
#[derive(Clone, Debug)]
pub struct Via {
    pseudonym: String,
    http_10: HeaderValue,
    http_11: HeaderValue,
    http_2: HeaderValue,
}

impl Via {
    /// For a gateway called `pseudonym`; characters that no token may hold become `-`.
    pub fn new(pseudonym: &str) -> Self {
        let mut pseudonym = pseudonym.replace(
            |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~')),
            "-",
        );
        if pseudonym.is_empty() {
            pseudonym.push('-');
        }
        let entry = |version: &str| {
            HeaderValue::from_str(&format!("{version} {pseudonym}"))
                .unwrap_or_else(|_| HeaderValue::from_static("1.1 -"))
        };
        Self { http_10: entry("1.0"), http_11: entry("1.1"), http_2: entry("2"), pseudonym }
    }

    /// Whether the request has passed this gateway before.
    ///
    /// Looks at every entry of every line. To be asked before `Connection: via` can have removed
    /// them.
    pub fn seen_in(&self, headers: &HeaderMap) -> bool {
        headers.get_all(header::VIA).iter().any(|line| {
            line.as_bytes().split(|&byte| byte == b',').any(|entry| {
                let mut words =
                    entry.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
                words.nth(1).is_some_and(|by| by.eq_ignore_ascii_case(self.pseudonym.as_bytes()))
            })
        })
    }

    /// Adds this gateway's entry; `version` is that of the message received.
    pub fn append(&self, headers: &mut HeaderMap, version: Version) {
        let entry = match version {
            Version::HTTP_10 => &self.http_10,
            Version::HTTP_2 => &self.http_2,
            _ => &self.http_11,
        };
        headers.append(header::VIA, entry.clone());
    }
}

/// A dual-stack listener sees IPv4 peers as `::ffff:192.0.2.1`; applications compare addresses
/// with lists of the plain form.
fn address_value(address: IpAddr) -> Option<HeaderValue> {
    const LONGEST: usize = 45;
    write_value(&mut [0; LONGEST], format_args!("{}", address.to_canonical()))
}

fn write_value(buffer: &mut [u8], text: std::fmt::Arguments<'_>) -> Option<HeaderValue> {
    let size = buffer.len();
    let mut rest = &mut *buffer;
    rest.write_fmt(text).ok()?;
    let written = size - rest.len();
    HeaderValue::from_bytes(buffer.get(..written)?).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn forwarding_headers_are_set_never_appended() {
        let mut headers = HeaderMap::new();
        for name in ["x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-host"] {
            headers.append(name, HeaderValue::from_static("evil"));
            headers.append(name, HeaderValue::from_static("eviler"));
        }
        let host = HeaderValue::from_static("App.example:8443");
        let peer = Some("::ffff:192.0.2.7".parse().unwrap());
        let origin = Origin { peer, scheme: Scheme::Https, host: &host, port: 443 };
        set_forwarded(&mut headers, &origin);
        for (name, expected) in [
            ("x-forwarded-for", "192.0.2.7"),
            ("x-real-ip", "192.0.2.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "App.example:8443"),
            ("x-forwarded-port", "443"),
        ] {
            assert_eq!(headers.get_all(name).iter().collect::<Vec<_>>(), [expected], "{name}");
        }
        set_forwarded(&mut headers, &Origin { peer: None, scheme: Scheme::Http, ..origin });
        assert!(!headers.contains_key("x-forwarded-for") && !headers.contains_key("x-real-ip"));
        assert_eq!(headers["x-forwarded-proto"], "http");
    }

    #[test]
    fn the_longest_addresses_fit() {
        for text in
            ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "255.255.255.255", "::", "2001:db8::1"]
        {
            assert_eq!(address_value(text.parse().unwrap()).unwrap(), text);
        }
    }

    #[test]
    fn request_ids_are_long_and_differ() {
        let ids: HashSet<HeaderValue> = (0..1000).map(|_| request_id()).collect();
        assert_eq!(ids.len(), 1000);
        let elsewhere = std::thread::spawn(request_id).join().unwrap();
        assert!(!ids.contains(&elsewhere));
        for id in ids {
            assert!(id.len() == 32 && id.as_bytes().iter().all(u8::is_ascii_hexdigit));
        }
    }

    #[test]
    fn via_shows_loops_on_any_line_and_nothing_else() {
        let via = Via::new("portcullis-1a2b");
        let mut headers = HeaderMap::new();
        headers.append(header::VIA, HeaderValue::from_static("1.0 fred, 1.1 portcullis-1a2bc"));
        headers.append(header::VIA, HeaderValue::from_static("portcullis-1a2b"));
        assert!(!via.seen_in(&headers), "a longer name, or no protocol, is not ours");
        let mut looped = headers.clone();
        looped.append(header::VIA, HeaderValue::from_static("1.1 x,HTTP/2  PORTCULLIS-1A2B (c)"));
        assert!(via.seen_in(&looped));
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            let mut own = headers.clone();
            via.append(&mut own, version);
            assert!(via.seen_in(&own));
        }
    }

    #[test]
    fn a_pseudonym_is_always_a_token() {
        let via = Via::new("my gate, (1)\r\n");
        let mut headers = HeaderMap::new();
        via.append(&mut headers, Version::HTTP_2);
        assert_eq!(headers[header::VIA], "2 my-gate---1---");
        assert!(via.seen_in(&headers));
        assert!(!Via::new("").pseudonym.is_empty());
    }
}

//! What Portcullis tells applications about a request: forwarding headers, `Via`, the request id.
//!
//! Owns these headers' values. Trusts the socket for the peer's address and nothing that the
//! request says about itself: every value is set, never appended to, since Django reads the
//! leftmost of a list. `Via` alone is appended to (RFC 9110 section 7.6.3), and shows loops.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use hyper::Version;
use hyper::header::{self, HeaderMap, HeaderValue};

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

/// Writes `X-Forwarded-For`, `-Proto`, `-Host`, `-Port` and `X-Real-IP` as lines of a head; without
/// a peer's address neither the first nor the last. None of these may stand in it already.
pub fn write_forwarded(head: &mut Vec<u8>, origin: &Origin<'_>) {
    if let Some(peer) = origin.peer {
        head.extend_from_slice(b"x-forwarded-for: ");
        write_address(head, peer);
        head.extend_from_slice(b"\r\nx-real-ip: ");
        write_address(head, peer);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"x-forwarded-proto: ");
    head.extend_from_slice(origin.scheme.as_str().as_bytes());
    head.extend_from_slice(b"\r\nx-forwarded-host: ");
    head.extend_from_slice(origin.host.as_bytes());
    head.extend_from_slice(b"\r\nx-forwarded-port: ");
    head.extend_from_slice(itoa::Buffer::new().format(origin.port).as_bytes());
    head.extend_from_slice(b"\r\n");
}

/// Appends an address. A dual-stack listener sees IPv4 peers as `::ffff:192.0.2.1`; applications
/// compare addresses with lists of the plain form.
pub fn write_address(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        IpAddr::V6(address) => out.extend_from_slice(address.to_string().as_bytes()),
    }
}

/// A fresh request id: 128 bits as 32 hexadecimal digits.
///
/// 64 bits are this thread's own, from the operating system; 64 are a counter, spread over them by
/// an odd factor, which no two counts share: nothing to lock, nothing to ask the system for, no two
/// alike. An id, not a secret.
pub fn request_id() -> HeaderValue {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    thread_local! {
        static NEXT: (u64, Cell<u64>) = {
            let keys = RandomState::new();
            (keys.hash_one(0_u8), Cell::new(keys.hash_one(1_u8)))
        };
    }
    let (high, low) = NEXT.with(|(thread, next)| {
        let low = next.get();
        next.set(low.wrapping_add(SPREAD));
        (*thread, low)
    });
    let mut text = [b'0'; 32];
    let bytes = high.to_be_bytes().into_iter().chain(low.to_be_bytes());
    for (digits, byte) in text.chunks_exact_mut(2).zip(bytes) {
        for (digit, nibble) in digits.iter_mut().zip([byte >> 4, byte & 15]) {
            *digit = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
        }
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
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

    /// This gateway's entry; `version` is that of the message received.
    pub fn entry(&self, version: Version) -> &HeaderValue {
        match version {
            Version::HTTP_10 => &self.http_10,
            Version::HTTP_2 => &self.http_2,
            _ => &self.http_11,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn forwarded(peer: Option<&str>, scheme: Scheme, host: &str, port: u16) -> String {
        let host = HeaderValue::from_str(host).unwrap();
        let peer = peer.map(|peer| peer.parse().unwrap());
        let mut head = Vec::new();
        write_forwarded(&mut head, &Origin { peer, scheme, host: &host, port });
        String::from_utf8(head).unwrap()
    }

    #[test]
    fn forwarding_headers_say_what_the_socket_says() {
        assert_eq!(
            forwarded(Some("::ffff:192.0.2.7"), Scheme::Https, "App.example:8443", 443),
            "x-forwarded-for: 192.0.2.7\r\nx-real-ip: 192.0.2.7\r\nx-forwarded-proto: https\r\n\
             x-forwarded-host: App.example:8443\r\nx-forwarded-port: 443\r\n"
        );
        assert_eq!(
            forwarded(None, Scheme::Http, "a", 80),
            "x-forwarded-proto: http\r\nx-forwarded-host: a\r\nx-forwarded-port: 80\r\n"
        );
    }

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for text in
            ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "255.255.255.255", "::", "2001:db8::1"]
        {
            let mut written = Vec::new();
            write_address(&mut written, text.parse().unwrap());
            assert_eq!(String::from_utf8(written).unwrap(), text);
        }
        let mut mapped = Vec::new();
        write_address(&mut mapped, "::ffff:203.0.113.9".parse().unwrap());
        assert_eq!(mapped, b"203.0.113.9");
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
            own.append(header::VIA, via.entry(version).clone());
            assert!(via.seen_in(&own));
        }
    }

    #[test]
    fn a_pseudonym_is_always_a_token() {
        let via = Via::new("my gate, (1)\r\n");
        let mut headers = HeaderMap::new();
        headers.append(header::VIA, via.entry(Version::HTTP_2).clone());
        assert_eq!(headers[header::VIA], "2 my-gate---1---");
        assert!(via.seen_in(&headers));
        assert!(!Via::new("").pseudonym.is_empty());
    }
}

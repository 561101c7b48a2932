//! The authority of a request: which host, which port, in one spelling.
//!
//! Owns the syntax of hosts. Trusts nothing: the text is a client's `Host`, `:authority` or
//! absolute target. Refuses user information, empty hosts, empty labels, escapes, bytes beyond
//! ASCII and whatever else no name in a certificate or a configuration could equal (RFC 9110
//! section 7.2, RFC 3986 section 3.2.2, stricter: names are DNS names).

use std::fmt;
use std::net::Ipv6Addr;

/// How the client reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In clear text.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The word in URLs and in `X-Forwarded-Proto`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that need not be written.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A host and a port that differs from the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    /// Reads `host`, `host:port` or `[v6]:port`; `None` if it is none of them.
    ///
    /// An empty port (`host:`) is RFC 3986 syntax and counts as none. Port 0 is refused: nobody
    /// can be reached there.
    pub fn parse(text: &str, scheme: Scheme) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(literal) => {
                let (inside, after) = literal.split_once(']')?;
                let port = if after.is_empty() { "" } else { after.strip_prefix(':')? };
                (ipv6(inside)?, port)
            }
            None => {
                let colon = text.bytes().position(|byte| byte == b':');
                let (name, port) = match colon {
                    Some(at) => (text.get(..at)?, text.get(at + 1..)?),
                    None => (text, ""),
                };
                (dns_name(name)?, port)
            }
        };
        let port = match port {
            "" => None,
            // By hand, since `u16::from_str` takes a leading `+`.
            digits if digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse::<u16>().ok().filter(|&port| port != 0)?)
            }
            _ => return None,
        };
        Some(Self { host, port: port.filter(|&port| port != scheme.default_port()) })
    }

    /// The host in lower case without a final dot; an IPv6 address in brackets, shortest form.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, unless it is the scheme's own.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// A host without a port, in the form of [`Authority::host`]; `None` if it is malformed.
pub fn canonical_host(text: &str) -> Option<String> {
    match text.strip_prefix('[') {
        Some(literal) => ipv6(literal.strip_suffix(']')?),
        None => dns_name(text),
    }
}

/// Zone identifiers (`fe80::1%25eth0`) mean nothing to another machine and are refused.
fn ipv6(inside: &str) -> Option<String> {
    let address: Ipv6Addr = inside.parse().ok()?;
    Some(format!("[{address}]"))
}

/// A DNS name or IPv4 address; `_` is let in because container networks name services with it.
fn dns_name(text: &str) -> Option<String> {
    const LONGEST_NAME: usize = 253;
    const LONGEST_LABEL: usize = 63;
    let name = text.strip_suffix('.').unwrap_or(text);
    // By bytes: every request comes by here, and no piece of UTF-8 is taken for one of these.
    let is_name = name.len() <= LONGEST_NAME
        && name.as_bytes().split(|byte| *byte == b'.').all(|label| {
            (1..=LONGEST_LABEL).contains(&label.len())
                && label.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'_')
        });
    is_name.then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Option<String> {
        Authority::parse(text, Scheme::Https).map(|authority| authority.to_string())
    }

    #[test]
    fn one_spelling_for_each_host() {
        for (text, expected) in [
            ("example.com", "example.com"),
            ("EXAMPLE.com.", "example.com"),
            ("example.com:443", "example.com"),
            ("example.com:0443", "example.com"),
            ("example.com:", "example.com"),
            ("example.com:8443", "example.com:8443"),
            ("example.com.:80", "example.com:80"),
            ("my_service:8000", "my_service:8000"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("[::1]", "[::1]"),
            ("[0:0:0:0:0:0:0:1]:443", "[::1]"),
            ("[2001:DB8::A]:8080", "[2001:db8::a]:8080"),
        ] {
            assert_eq!(parsed(text).as_deref(), Some(expected), "{text}");
        }
        let plain = Authority::parse("a:443", Scheme::Http).unwrap();
        assert_eq!((plain.host(), plain.port()), ("a", Some(443)));
        assert_eq!(Authority::parse("a:80", Scheme::Http).unwrap().port(), None);
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long_label = "a".repeat(64);
        let long_name = "a.".repeat(127) + "a";
        for text in [
            "",
            ".",
            "..",
            ":80",
            "a..b",
            ".a",
            "a..",
            "user@a",
            "user:pw@a",
            "@a",
            "a b",
            " a",
            "a ",
            "a\t",
            "a,b",
            "a/b",
            "a/",
            "a\\b",
            "a?b",
            "a#b",
            "a%41",
            "%61",
            "a:b",
            "a:+80",
            "a:-1",
            "a:65536",
            "a:0",
            "a:000080",
            "a:80:80",
            "a: 80",
            "::1",
            "[::1",
            "::1]",
            "[]",
            "[::1]x",
            "[::1]80",
            "[::1]:x",
            "[fe80::1%25eth0]",
            "[fe80::1%eth0]",
            "[v1.a]",
            "[127.0.0.1]",
            "[a]",
            "a[b]",
            "b\u{fc}cher.de",
            "a\u{0}",
            "a;b",
            "a'b",
            "a*",
            "*.a",
            "a~b",
            "a(b)",
            "<a>",
            &long_label,
            &long_name,
        ] {
            assert_eq!(parsed(text), None, "{text:?}");
        }
    }

    #[test]
    fn hosts_alone_have_no_port() {
        assert_eq!(canonical_host("A.b.").as_deref(), Some("a.b"));
        assert_eq!(canonical_host("[::0001]").as_deref(), Some("[::1]"));
        assert_eq!(canonical_host("a:80"), None);
        assert_eq!(canonical_host("[::1]:80"), None);
    }

    proptest! {
        #[test]
        fn any_text_parses_to_a_fixed_point_or_not_at_all(text in "[a-zA-Z0-9_.:@%\\[\\]-]{0,12}|.{0,20}") {
            if let Some(once) = parsed(&text) {
                prop_assert_eq!(parsed(&once), Some(once));
            }
        }
    }
}

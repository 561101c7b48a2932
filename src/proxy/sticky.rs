//! The cookie by which a client comes back to its endpoint (`balance = "sticky:COOKIE"`).
//!
//! Owns its attributes, and what a response that sets it may no longer say to caches: stored, it
//! would send other clients to this one's endpoint. It is ours alone: what could be read as it is
//! taken out of what goes on, and what a client makes of it leads to no endpoint that it may not
//! meet anyway.

use hyper::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};

use crate::http::authority::Scheme;
use crate::http::credential::{Occurrence, cookie};
use crate::upstream::Upstream;
use crate::upstream::balance::Key;
use crate::upstream::sticky::Mark;

/// The gateway's own cookie.
#[derive(Debug)]
pub struct Sticky(String);

/// What caches in front of an origin read instead of Cache-Control (RFC 9213, and before it).
const TARGETED: [HeaderName; 2] =
    [HeaderName::from_static("cdn-cache-control"), HeaderName::from_static("surrogate-control")];

impl Sticky {
    /// A cookie of this name, which is a token.
    pub fn new(name: String) -> Self {
        Self(name)
    }

    /// The endpoint that a request names; [`Key::None`] if it names none, or two.
    pub(super) fn key(&self, headers: &HeaderMap) -> Key {
        match cookie::find(headers, &self.0) {
            Occurrence::One(value) => Mark::parse(value).map_or(Key::None, Key::Mark),
            Occurrence::Absent
            | Occurrence::Empty
            | Occurrence::Respelled
            | Occurrence::Several => Key::None,
        }
    }

    /// The application is not told.
    pub(super) fn take_out(&self, headers: &mut HeaderMap) {
        cookie::take_out(headers, &self.0);
    }

    /// Tells the client which endpoint answered, unless it is to come back to the one it named.
    pub(super) fn set(
        &self,
        upstream: &Upstream,
        key: Key,
        answered: Option<usize>,
        scheme: Scheme,
        headers: &mut HeaderMap,
    ) {
        if upstream.leads_to(key).is_some() {
            return;
        }
        let endpoint = answered.and_then(|index| upstream.endpoints().get(index));
        let Some(mark) = endpoint.and_then(|endpoint| endpoint.mark()) else { return };
        let secure = match scheme {
            Scheme::Http => "",
            Scheme::Https => "; Secure",
        };
        let line = format!("{}={}; Path=/; HttpOnly; SameSite=Lax{secure}", self.0, mark.text());
        if let Ok(line) = HeaderValue::try_from(line) {
            headers.append(SET_COOKIE, line);
            make_private(headers);
        }
    }
}

/// For this client alone (RFC 9111 section 5.2.2.7).
fn make_private(headers: &mut HeaderMap) {
    for name in TARGETED {
        headers.remove(name);
    }
    let mut kept: Vec<u8> = Vec::new();
    for line in headers.get_all(CACHE_CONTROL) {
        // A quoted string may hold a comma; cut there, its parts say the same or less.
        for directive in line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let name = directive.split(|byte| *byte == b'=').next().unwrap_or_default();
            let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
            if directive == name && (is(b"no-store") || is(b"private")) {
                return;
            }
            if !directive.is_empty() && !is(b"public") && !is(b"s-maxage") {
                kept.extend_from_slice(directive);
                kept.extend_from_slice(b", ");
            }
        }
    }
    kept.extend_from_slice(b"private");
    let value = HeaderValue::from_bytes(&kept);
    headers.insert(CACHE_CONTROL, value.unwrap_or(HeaderValue::from_static("no-store")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_that_sets_the_cookie_is_for_one_client() {
        for (lines, expected) in [
            (&[][..], &["private"][..]),
            (&["public, max-age=60"], &["max-age=60, private"]),
            (
                &["max-age=60", "S-MaxAge=5,must-revalidate"],
                &["max-age=60, must-revalidate, private"],
            ),
            (&["Private, max-age=60"], &["Private, max-age=60"]),
            (&["no-store"], &["no-store"]),
            (&["private=\"x-a\", max-age=1"], &["private=\"x-a\", max-age=1, private"]),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("cdn-cache-control", HeaderValue::from_static("max-age=600"));
            for line in lines {
                headers.append(CACHE_CONTROL, line.parse().unwrap());
            }
            make_private(&mut headers);
            let said: Vec<_> = headers.get_all(CACHE_CONTROL).iter().collect();
            assert_eq!(said, expected, "{lines:?}");
            assert!(!headers.contains_key("cdn-cache-control"));
        }
    }

    #[test]
    fn what_names_an_endpoint_has_one_reading() {
        let sticky = Sticky::new("srv".to_owned());
        let key = |line: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("cookie", HeaderValue::from_static(line));
            sticky.key(&headers)
        };
        assert!(matches!(key("a=1; srv=00000000000000ff"), Key::Mark(_)));
        for line in ["a=1", "srv=", "srv=10.0.0.1", "srv=00000000000000ff; srv=00000000000000fe"] {
            assert_eq!(key(line), Key::None, "{line}");
        }
    }
}

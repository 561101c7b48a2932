//! Hop-by-hop headers: what belongs to one connection ends with it (RFC 9110 section 7.6.1).
//!
//! Owns the removal in both directions. Trusts nothing in `Connection`: it names headers to be
//! removed, so a client can use it to remove what another hop relies on. Therefore it is obeyed
//! *before* Portcullis sets headers of its own, all lines of it are read, and naming what frames,
//! addresses or authenticates the request is refused.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::head::HeadError;
use super::headers::is_spelling_of;

/// The headers of one request that end here.
#[derive(Debug)]
pub struct HopByHop {
    nominated: Vec<HeaderName>,
}

impl HopByHop {
    /// Reads every line of `Connection`.
    ///
    /// # Errors
    /// [`HeadError::BadRequest`] if it names Host, a credential or a content header.
    pub fn of_request(headers: &HeaderMap) -> Result<Self, HeadError> {
        let nominated = nominated(headers);
        if nominated.iter().any(is_end_to_end) {
            return Err(HeadError::BadRequest("`Connection` names a header of the request itself"));
        }
        Ok(Self { nominated })
    }

    /// Whether the header goes no further.
    pub fn contains(&self, name: &HeaderName) -> bool {
        is_always(name) || self.nominated.contains(name)
    }
}

/// Whether the sender of a request takes trailers. `TE` is hop-by-hop and this the one word of it
/// that means something to the next hop; a sender over HTTP/1.1 owes a `Connection: TE` beside it.
pub fn wants_trailers(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::TE)
        .iter()
        .any(|line| tokens(line).any(|token| token.eq_ignore_ascii_case(b"trailers")))
}

/// Removes them from a response, and `Alt-Svc`: the alternative is the upstream's, not ours.
///
/// An upstream is not refused for what its `Connection` names, but cannot delete its content
/// headers by it either.
pub fn strip_response(headers: &mut HeaderMap) {
    let mut nominated = nominated(headers);
    nominated.retain(|name| !is_end_to_end(name));
    for name in nominated {
        headers.remove(name);
    }
    while let Some(name) = headers.keys().find(|name| is_always(name) || *name == header::ALT_SVC) {
        let name = name.clone();
        headers.remove(name);
    }
}

/// Per connection whether nominated or not. `HTTP2-Settings` belongs to h2c upgrades, which a
/// gateway must not pass on: the upgraded connection would bypass it.
fn is_always(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Whether `Connection` names `token`, on any of its lines.
pub(super) fn names(headers: &HeaderMap, token: &[u8]) -> bool {
    let mut named = headers.get_all(header::CONNECTION).iter().flat_map(tokens);
    named.any(|one| one.eq_ignore_ascii_case(token))
}

fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(tokens)
        // What nearly every client sends needs no look-up: one goes anyway, one names no header.
        .filter(|token| {
            !token.eq_ignore_ascii_case(b"keep-alive") && !token.eq_ignore_ascii_case(b"close")
        })
        // What is no header name cannot be the name of a header in the map.
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .collect()
}

/// In every spelling: `Connection: content_length` asks an application that folds names for the
/// same thing.
fn is_end_to_end(name: &HeaderName) -> bool {
    const PREFIX: &str = "content-";
    let name = name.as_str();
    ["authorization", "cookie", "host"].iter().any(|listed| is_spelling_of(name, listed))
        || name.get(..PREFIX.len()).is_some_and(|start| is_spelling_of(start, PREFIX))
}

fn tokens(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes()
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|&(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
            .collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    fn strip_request(headers: &mut HeaderMap) {
        let gone = HopByHop::of_request(headers).unwrap();
        let names: Vec<HeaderName> = headers.keys().cloned().collect();
        for name in names.into_iter().filter(|name| gone.contains(name)) {
            headers.remove(name);
        }
    }

    #[test]
    fn every_line_of_connection_counts() {
        let mut headers = map(&[
            ("connection", "close, X-One"),
            ("connection", ""),
            ("connection", " ,x-two,, keep-alive"),
            ("connection", "not a token, x-three"),
            ("x-one", "1"),
            ("x-two", "1"),
            ("x-three", "1"),
            ("x-four", "1"),
        ]);
        strip_request(&mut headers);
        assert_eq!(names(&headers), ["x-four"]);
    }

    #[test]
    fn nominated_or_not_connection_headers_go() {
        let mut headers = map(&[
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authenticate", "Basic"),
            ("proxy-authorization", "Basic x"),
            ("te", "gzip"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("host", "a"),
            ("content-length", "1"),
        ]);
        strip_request(&mut headers);
        assert_eq!(names(&headers), ["content-length", "host"]);
    }

    #[test]
    fn of_te_trailers_alone_counts() {
        assert!(wants_trailers(&map(&[("te", "gzip;q=0.5"), ("te", "deflate, Trailers")])));
        assert!(!wants_trailers(&map(&[("te", "gzip")])));
        assert!(HopByHop::of_request(&map(&[])).unwrap().contains(&header::TE));
    }

    #[test]
    fn connection_must_not_name_the_request_itself() {
        for token in [
            "Host",
            "authorization",
            "Content-Length",
            "content-type",
            "content_length",
            "Cookie",
            "close, host",
            "x, content-anything",
        ] {
            let mut headers = HeaderMap::new();
            headers.append(header::CONNECTION, HeaderValue::from_static("close"));
            headers.append(header::CONNECTION, HeaderValue::from_str(token).unwrap());
            assert!(HopByHop::of_request(&headers).is_err(), "{token}");
        }
    }

    #[test]
    fn responses_lose_alt_svc_and_keep_their_content_headers() {
        let mut headers = map(&[
            ("connection", "x-one, content-type"),
            ("x-one", "1"),
            ("content-type", "text/html"),
            ("alt-svc", "h3=\":443\""),
            ("transfer-encoding", "chunked"),
            ("server", "gunicorn"),
        ]);
        strip_response(&mut headers);
        assert_eq!(names(&headers), ["content-type", "server"]);
    }
}

//! Hop-by-hop headers: what belongs to one connection ends with it (RFC 9110 section 7.6.1).
//!
//! Owns the removal in both directions. Trusts nothing in `Connection`: it names headers to be
//! removed, so a client can use it to remove what another hop relies on. Therefore it is obeyed
//! *before* Portcullis sets headers of its own, all lines of it are read, and naming what frames,
//! addresses or authenticates the request is refused.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::head::HeadError;
use super::headers::is_spelling_of;

/// Removes them from a request. Of `TE` only `trailers` comes back; a sender over HTTP/1.1 then
/// owes a `Connection: TE` beside it.
///
/// # Errors
/// [`HeadError::BadRequest`] if `Connection` names Host, a credential or a content header.
pub fn strip_request(headers: &mut HeaderMap) -> Result<(), HeadError> {
    let nominated = nominated(headers);
    if nominated.iter().any(is_end_to_end) {
        return Err(HeadError::BadRequest("`Connection` names a header of the request itself"));
    }
    let wants_trailers = headers
        .get_all(header::TE)
        .iter()
        .any(|line| tokens(line).any(|token| token.eq_ignore_ascii_case(b"trailers")));
    remove_all(headers, nominated);
    if wants_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    Ok(())
}

/// Removes them from a response, and `Alt-Svc`: the alternative is the upstream's, not ours.
///
/// An upstream is not refused for what its `Connection` names, but cannot delete its content
/// headers by it either.
pub fn strip_response(headers: &mut HeaderMap) {
    let mut nominated = nominated(headers);
    nominated.retain(|name| !is_end_to_end(name));
    remove_all(headers, nominated);
    headers.remove(header::ALT_SVC);
}

/// Per connection whether nominated or not. `HTTP2-Settings` belongs to h2c upgrades, which a
/// gateway must not pass on: the upgraded connection would bypass it.
const ALWAYS: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

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

fn remove_all(headers: &mut HeaderMap, nominated: Vec<HeaderName>) {
    for name in nominated {
        headers.remove(name);
    }
    for name in &ALWAYS {
        headers.remove(name);
    }
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
        strip_request(&mut headers).unwrap();
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
        strip_request(&mut headers).unwrap();
        assert_eq!(names(&headers), ["content-length", "host"]);
    }

    #[test]
    fn te_comes_back_as_trailers_alone() {
        let mut headers =
            map(&[("te", "gzip;q=0.5"), ("te", "deflate, Trailers"), ("connection", "te")]);
        strip_request(&mut headers).unwrap();
        assert_eq!(headers.get_all(header::TE).iter().collect::<Vec<_>>(), ["trailers"]);
        assert_eq!(headers.len(), 1);
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
            assert!(strip_request(&mut headers).is_err(), "{token}");
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

//! A response as the client may see it.
//!
//! Owns the refusal of responses that can be read in two ways: what hyper merges silently, another
//! hop would perhaps read differently, and the bytes in between would be a response that nobody
//! asked for. Trusts the application for everything that is content.

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode, Version};

use super::{Body, Failure, Outgoing};
use crate::http::hop_by_hop;
use crate::upstream::pool::Lease;

/// Checks the head and rewrites it; the body holds the connection from here on.
pub(super) fn accept(
    response: Response<Incoming>,
    lease: Lease<Outgoing>,
    trailers: bool,
) -> Result<Response<Body>, Failure> {
    let (mut parts, incoming) = response.into_parts();
    // Nobody asked to switch protocols; what follows would not be HTTP.
    if parts.status.is_informational() {
        return Err(Failure::BadResponse);
    }
    check_framing(&parts.headers)?;
    let announced = trailers.then(|| parts.headers.get(header::TRAILER).cloned()).flatten();
    hop_by_hop::strip_response(&mut parts.headers);
    if let Some(announced) = announced {
        parts.headers.insert(header::TRAILER, announced);
    }
    if parts.status == StatusCode::NO_CONTENT {
        // RFC 9110 section 8.6 forbids it there.
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    parts.version = Version::HTTP_11;
    Ok(Response::from_parts(parts, Body::new(incoming, lease, trailers)))
}

/// One framing, unmistakable (RFC 9112 section 6.3).
fn check_framing(headers: &HeaderMap) -> Result<(), Failure> {
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let one = match (encodings.next(), lengths.next()) {
        (None, None) => true,
        (Some(encoding), None) => encoding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (None, Some(length)) => is_number(length),
        (Some(_), Some(_)) => false,
    };
    if one && encodings.next().is_none() && lengths.next().is_none() {
        Ok(())
    } else {
        Err(Failure::BadResponse)
    }
}

/// hyper does not look at the length of a response that has no body; the client's side will.
fn is_number(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|text| {
        text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u64>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderName;

    #[test]
    fn framing_has_one_reading() {
        let check = |lines: &[(&'static str, &'static str)]| {
            let map = lines.iter().map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            });
            check_framing(&map.collect()).is_ok()
        };
        assert!(check(&[]));
        assert!(check(&[("content-length", "0")]));
        assert!(check(&[("transfer-encoding", "chunked")]));
        assert!(check(&[("transfer-encoding", "Chunked")]));
        for refused in [
            &[("content-length", "5"), ("transfer-encoding", "chunked")][..],
            &[("content-length", "5"), ("content-length", "5")],
            &[("content-length", "5, 5")],
            &[("content-length", "+5")],
            &[("content-length", "")],
            &[("content-length", "18446744073709551616")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "chunked, identity")],
            &[("transfer-encoding", "identity")],
            &[("transfer-encoding", "")],
        ] {
            assert!(!check(refused), "{refused:?}");
        }
    }
}

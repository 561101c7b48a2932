//! A response as the client may see it.
//!
//! Owns what is taken out of a response's head. Trusts the application for everything that is
//! content; that its framing has one reading was seen to when the head was read.

use hyper::header;
use hyper::{Response, StatusCode, Version};

use super::{Body, Outgoing, stream};
use crate::http::hop_by_hop;
use crate::upstream::pool::Lease;

/// Rewrites the head; the body holds the connection from here on.
pub(super) fn accept(
    response: Response<()>,
    lease: Lease<Outgoing>,
    trailers: bool,
) -> Response<Body> {
    rewritten(response, trailers).map(|()| Body::new(lease, trailers))
}

/// The same of a response whose body comes on a stream.
pub(super) fn accept_stream(
    response: Response<()>,
    body: stream::Body,
    trailers: bool,
) -> Response<Body> {
    rewritten(response, trailers).map(|()| Body::of_stream(body, trailers))
}

fn rewritten(response: Response<()>, trailers: bool) -> Response<()> {
    let (mut parts, ()) = response.into_parts();
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
    Response::from_parts(parts, ())
}

//! A request as the application sees it.
//!
//! Owns the order in which a head is rewritten: first everything goes that belongs to the client's
//! connection, since `Connection` may name any header, then Portcullis sets its own, which a client
//! can so neither remove nor shadow. Owns the framing, too: one of Content-Length and chunked, from
//! what the body knows of itself and never from what the client's headers say.

use std::sync::Arc;

use hyper::body::Body as _;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Uri, Version};

use super::buffer::{Spool, gather};
use super::{Failure, Forward, Outgoing};
use crate::http::body::RequestBody;
use crate::http::{forwarded, headers, hop_by_hop};
use crate::upstream::Kind;

/// A request that is ready to be sent.
pub(super) struct Prepared {
    pub(super) request: Request<Outgoing>,
    /// The client takes trailers.
    pub(super) trailers: bool,
}

/// Rewrites the head, and gathers the body if the application cannot take it as it comes.
pub(super) async fn prepare(
    request: Request<RequestBody>,
    kind: Kind,
    identity: &[(HeaderName, HeaderValue)],
    ctx: &Forward<'_>,
) -> Result<Prepared, Failure> {
    let (mut parts, body) = request.into_parts();
    rewrite(&mut parts, identity, ctx)?;
    let trailers = parts.headers.contains_key(header::TE);
    let body = frame(&mut parts, body, kind, ctx.spool).await?;
    Ok(Prepared { request: Request::from_parts(parts, body), trailers })
}

fn rewrite(
    parts: &mut Parts,
    identity: &[(HeaderName, HeaderValue)],
    ctx: &Forward<'_>,
) -> Result<(), Failure> {
    let map = &mut parts.headers;
    hop_by_hop::strip_request(map).map_err(|_| Failure::BadRequest)?;
    // `100 Continue` is between the client and us: it was or will be answered here.
    map.remove(header::EXPECT);
    headers::join_cookies(map);
    if map.contains_key(header::TE) {
        // RFC 9110 section 10.1.4.
        map.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    forwarded::set_forwarded(map, &ctx.origin);
    for (name, value) in identity {
        map.insert(name, value.clone());
    }
    ctx.via.append(map, parts.version);
    let (name, value) = ctx.request_id;
    map.insert(name, value.clone());
    // Also for HTTP/2, whose requests name their host elsewhere.
    map.insert(header::HOST, ctx.origin.host.clone());
    parts.version = Version::HTTP_11;
    parts.uri = origin_form(std::mem::take(&mut parts.uri));
    parts.extensions.clear();
    Ok(())
}

/// Path and query alone: an absolute form would be a second host to disagree about.
fn origin_form(uri: Uri) -> Uri {
    let target = uri.into_parts().path_and_query;
    Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")))
}

/// Makes head and body agree on one framing.
async fn frame(
    parts: &mut Parts,
    body: RequestBody,
    kind: Kind,
    spool: &Arc<Spool>,
) -> Result<Outgoing, Failure> {
    let length = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
    match (length, kind) {
        (Some(length), _) => {
            set_length(&mut parts.headers, &parts.method, length);
            Ok(if length == 0 { Outgoing::empty() } else { Outgoing::stream(body) })
        }
        (None, Kind::Http) => {
            parts.headers.remove(header::CONTENT_LENGTH);
            // hyper would drop the body of a GET without this.
            let chunked = HeaderValue::from_static("chunked");
            parts.headers.insert(header::TRANSFER_ENCODING, chunked);
            Ok(Outgoing::stream(body))
        }
        (None, Kind::Wsgi) => {
            // Boxed: few requests need it, and every one's future is moved whole.
            let gathered = Box::pin(gather(body, spool)).await?;
            set_length(&mut parts.headers, &parts.method, gathered.remaining());
            Ok(Outgoing::gathered(gathered))
        }
    }
}

/// An empty body is announced only where one is expected (RFC 9110 section 8.6), or was before.
fn set_length(headers: &mut HeaderMap, method: &Method, length: u64) {
    let expected = matches!(*method, Method::PATCH | Method::POST | Method::PUT);
    if length > 0 || expected || headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

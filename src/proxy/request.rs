//! A request as the application sees it.
//!
//! Owns what is written of a head: nothing that belongs to the client's connection, which may name
//! any header in `Connection`, then Portcullis' own lines, which a client can so neither remove nor
//! shadow. Owns the framing, too: one of Content-Length and chunked, from what the body knows of
//! itself and never from what the client's headers say.

use std::sync::Arc;

use hyper::body::Body as _;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request};

use super::buffer::{Spool, gather};
use super::retry::is_idempotent;
use super::{BalanceBy, Failure, Forward, Outgoing, Proxy, head_limits};
use crate::http::body::RequestBody;
use crate::http::forwarded::write_forwarded;
use crate::http::headers::{join_cookies, write_line};
use crate::http::hop_by_hop::{HopByHop, wants_trailers};
use crate::upstream::{Kind, Message};

/// A request that is ready to be sent.
pub(super) struct Prepared {
    pub(super) message: Message<Outgoing>,
    /// It may be sent twice.
    pub(super) repeatable: bool,
    /// The client takes trailers.
    pub(super) trailers: bool,
}

/// Writes the head, and gathers the body if the application cannot take it as it comes.
pub(super) async fn prepare(
    request: Request<RequestBody>,
    proxy: &Proxy,
    identity: &[(HeaderName, HeaderValue)],
    ctx: &Forward<'_>,
) -> Result<Prepared, Failure> {
    let (mut parts, body) = request.into_parts();
    let (mut head, asked) = begin_head(&mut parts, proxy, identity, ctx)?;
    let kind = proxy.upstream.kind();
    let trailers = asked || kind == Kind::Grpc;
    head_limits::check(kind, &head)?;
    let (body, length) = frame(body, proxy, ctx.spool).await?;
    write_framing(&mut head, length, &parts);
    head.extend_from_slice(b"\r\n");
    let repeatable = length == Some(0) && is_idempotent(&parts.method);
    let to_head = parts.method == Method::HEAD;
    Ok(Prepared {
        message: Message { head, body, length, to_head, may_switch: false },
        repeatable,
        trailers,
    })
}

/// The head of a request but for its framing, and whether the client takes trailers.
pub(super) fn begin_head(
    parts: &mut Parts,
    proxy: &Proxy,
    identity: &[(HeaderName, HeaderValue)],
    ctx: &Forward<'_>,
) -> Result<(Vec<u8>, bool), Failure> {
    join_cookies(&mut parts.headers);
    take_out_sticky(parts, proxy);
    let trailers = wants_trailers(&parts.headers);
    let mut head = write_head(parts, proxy, identity, ctx)?;
    if trailers {
        // RFC 9110 section 10.1.4.
        head.extend_from_slice(b"te: trailers\r\nconnection: te\r\n");
    }
    Ok((head, trailers))
}

/// Writes the head of a request that asks to switch to WebSocket; it has no body.
pub(super) fn prepare_switch(
    request: Request<RequestBody>,
    proxy: &Proxy,
    identity: &[(HeaderName, HeaderValue)],
    ctx: &Forward<'_>,
) -> Result<Message<Outgoing>, Failure> {
    let (mut parts, _empty) = request.into_parts();
    join_cookies(&mut parts.headers);
    take_out_sticky(&mut parts, proxy);
    let mut head = write_head(&parts, proxy, identity, ctx)?;
    head.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n\r\n");
    let body = Outgoing::empty();
    Ok(Message { head, body, length: Some(0), to_head: false, may_switch: true })
}

/// A cookie that is ours is not the application's affair.
fn take_out_sticky(parts: &mut Parts, proxy: &Proxy) {
    if let Some(sticky) = proxy.by.as_ref().and_then(BalanceBy::sticky) {
        sticky.take_out(&mut parts.headers);
    }
}

/// Everything but the framing.
fn write_head(
    parts: &Parts,
    proxy: &Proxy,
    identity: &[(HeaderName, HeaderValue)],
    ctx: &Forward<'_>,
) -> Result<Vec<u8>, Failure> {
    let hop_by_hop = HopByHop::of_request(&parts.headers).map_err(|_| Failure::BadRequest)?;
    let mut head = Vec::with_capacity(HEAD);
    head.extend_from_slice(parts.method.as_str().as_bytes());
    head.push(b' ');
    // Path and query alone: an absolute form would be a second host to disagree about.
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    head.extend_from_slice(target.as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\n");
    // From here also for HTTP/2, whose requests name their host elsewhere.
    write_line(&mut head, &header::HOST, ctx.origin.host);
    let (request_id_name, request_id) = ctx.request_id;
    for (name, value) in &parts.headers {
        let ours = is_ours(name)
            || name == request_id_name
            || identity.iter().any(|(asserted, _)| asserted == name)
            || ctx.assertion.is_some_and(|(asserted, _)| asserted == name)
            || proxy.edits.as_deref().is_some_and(|edits| edits.withholds(name));
        if !ours && !hop_by_hop.contains(name) {
            write_line(&mut head, name, value);
        }
    }
    if let Some(edits) = &proxy.edits {
        edits.write(&mut head);
    }
    write_forwarded(&mut head, &ctx.origin);
    for (name, value) in identity {
        write_line(&mut head, name, value);
    }
    for (name, value) in ctx.client_certificate.unwrap_or_default() {
        write_line(&mut head, name, value);
    }
    if let Some((name, value)) = ctx.assertion {
        write_line(&mut head, name, value);
    }
    write_line(&mut head, &header::VIA, ctx.via.entry(parts.version));
    write_line(&mut head, request_id_name, request_id);
    Ok(head)
}

/// Lines that are written from what Portcullis knows, whatever the client said.
fn is_ours(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-length"
            | "expect"
            | "host"
            | "x-forwarded-for"
            | "x-forwarded-host"
            | "x-forwarded-port"
            | "x-forwarded-proto"
            | "x-real-ip"
    )
}

/// The body as it will be sent, with its length unless it is sent in chunks.
async fn frame(
    body: RequestBody,
    proxy: &Proxy,
    spool: &Arc<Spool>,
) -> Result<(Outgoing, Option<u64>), Failure> {
    let length = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
    if body.is_end_stream() {
        return Ok((Outgoing::empty(), length));
    }
    if length == Some(0) {
        // Over HTTP/2 the stream is still open, and what comes may contradict the announcement.
        // Once that is refused, nobody must have been asked (H2).
        Box::pin(body.end()).await.map_err(|error| Failure::from(&error))?;
        return Ok((Outgoing::empty(), length));
    }
    // A WSGI application takes a body without a length for none, whatever is buffered.
    let needs_length = length.is_none() && matches!(proxy.upstream.kind(), Kind::Wsgi);
    if !proxy.buffers_requests && !needs_length {
        return Ok((Outgoing::stream(body), length));
    }
    // Boxed: few requests need it, and every one's future is moved whole.
    let gathered = Box::pin(gather(body, spool)).await?;
    let length = gathered.remaining();
    Ok((Outgoing::gathered(gathered), Some(length)))
}

/// An empty body is announced only where one is expected (RFC 9110 section 8.6), or was before.
fn write_framing(head: &mut Vec<u8>, length: Option<u64>, parts: &Parts) {
    let expected = matches!(parts.method, Method::PATCH | Method::POST | Method::PUT);
    match length {
        None => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Some(0) if !expected && !parts.headers.contains_key(header::CONTENT_LENGTH) => {}
        Some(length) => {
            head.extend_from_slice(b"content-length: ");
            head.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            head.extend_from_slice(b"\r\n");
        }
    }
}

/// Room for most heads, a token included, without growing.
const HEAD: usize = 2048;

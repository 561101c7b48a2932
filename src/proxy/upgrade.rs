//! A request that asks to switch to WebSocket, and the endpoint's answer.
//!
//! Owns the rule that nobody switches alone: the client has asked in the one right way (checked
//! before), the endpoint has to answer 101 and name the protocol, and until then not a byte behind
//! the request's head goes on (attack H12). Whether the endpoint proves that it read the client's
//! key is for the client to check. Always over a connection of its own: one from the pool might be
//! closed at that moment, and a switch is not for trying twice.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use hyper::header::CONTENT_LENGTH;
use hyper::{Request, Response, StatusCode};

use super::request::prepare_switch;
use super::tunnel::Tunnel;
use super::{BalanceBy, Failure, Forward, Outgoing, Proxy, Trace, Upgrade, response};
use crate::auth::Permit;
use crate::http::body::RequestBody;
use crate::http::{hop_by_hop, upgrade};
use crate::telemetry::labels::UpstreamFault;
use crate::upstream::balance::{Choice, Key};
use crate::upstream::connection::Connection;
use crate::upstream::endpoint::TunnelClaim;
use crate::upstream::pool::Lease;
use crate::upstream::{Message, Unserved, Upstream, is_absent};

pub(super) async fn run(
    permit: &Permit<'_, Proxy>,
    request: Request<RequestBody>,
    ctx: &Forward<'_>,
    trace: &mut Trace,
) -> Result<Upgrade, Failure> {
    let upstream = &permit.action().upstream;
    let identity = permit.principal().map_or(&[][..], |principal| principal.identity());
    let by = permit.action().by.as_ref();
    let principal = permit.principal().map(Arc::as_ref);
    let key = by.map_or(Key::None, |by| by.key(request.headers(), principal, ctx));
    let request = prepare_switch(request, permit.action(), identity, ctx)?;
    let start = ctx.clock.now();
    let (lease, claim) = connect(upstream, key, ctx, trace).await?;
    let endpoint = lease.connection.endpoint();
    let mut answered = ask(lease, claim, request).await;
    if let (Some(sticky), Ok(answer)) = (by.and_then(BalanceBy::sticky), &mut answered) {
        let headers = match answer {
            Upgrade::Answered(response) => response.headers_mut(),
            Upgrade::Switched(response, _) => response.headers_mut(),
        };
        sticky.set(upstream, key, trace.endpoint, ctx.origin.scheme, headers);
    }
    trace.first_byte = Some(ctx.clock.now().duration_since(start));
    trace.status = match &answered {
        Ok(Upgrade::Answered(response)) => Some(response.status()),
        Ok(Upgrade::Switched(..)) => Some(StatusCode::SWITCHING_PROTOCOLS),
        Err(_) => None,
    };
    if let Some(fault) = answered.as_ref().err().and_then(|failure| failure.fault()) {
        upstream.failed(endpoint, fault);
    }
    answered
}

/// A fresh connection to an endpoint that has room for a tunnel.
async fn connect(
    upstream: &Arc<Upstream>,
    key: Key,
    ctx: &Forward<'_>,
    trace: &mut Trace,
) -> Result<(Lease<Outgoing>, TunnelClaim), Failure> {
    let mut stay = None;
    loop {
        match try_each(upstream, key, ctx, trace).await {
            Err(Unconnected { failure, absent }) => {
                if !absent || !upstream.until_back(&mut stay).await {
                    return Err(failure);
                }
            }
            Ok(connected) => return Ok(connected),
        }
    }
}

/// Why there is no connection, and whether nobody listened at one of them.
struct Unconnected {
    failure: Failure,
    absent: bool,
}

/// The same, of each endpoint once.
async fn try_each(
    upstream: &Arc<Upstream>,
    key: Key,
    ctx: &Forward<'_>,
    trace: &mut Trace,
) -> Result<(Lease<Outgoing>, TunnelClaim), Unconnected> {
    let mut tried = Vec::new();
    let mut last = None;
    let mut absent = false;
    let mut refusals = 0;
    while refusals <= upstream.retries() {
        let (index, slot) = match upstream.choose(&tried, key) {
            Choice::Claimed(index, slot) => (index, slot),
            Choice::Full => match upstream.wait(&tried, key).await {
                Ok(place) => place,
                Err(Unserved::Full) => {
                    return Err(Unconnected { failure: Failure::QueueFull, absent: false });
                }
                Err(Unserved::Unhealthy) => break,
            },
            Choice::None => break,
        };
        tried.push(index);
        let Some(endpoint) = upstream.endpoints().get(index) else { break };
        let Some(claim) = endpoint.claim_tunnel(upstream.max_tunnels()) else {
            last = last.or(Some(Failure::TunnelsFull));
            continue;
        };
        trace.endpoint = Some(index);
        trace.attempts += 1;
        match Connection::open(upstream, endpoint, ctx.made_for()).await {
            Ok(connection) => return Ok((Lease::new(connection, slot, ctx.pools), claim)),
            Err(error) => {
                upstream.failed(endpoint.id(), UpstreamFault::Refused);
                upstream.suspect(index);
                last = Some(Failure::Refused);
                absent |= is_absent(&error);
                refusals += 1;
            }
        }
    }
    Err(Unconnected { failure: last.unwrap_or(Failure::NoHealthyEndpoint), absent })
}

async fn ask(
    mut lease: Lease<Outgoing>,
    claim: TunnelClaim,
    request: Message<Outgoing>,
) -> Result<Upgrade, Failure> {
    let time = lease.connection.upstream().timeouts().response;
    lease.connection.send(request);
    lease.connection.arm(time);
    let answer = poll_fn(|cx| match lease.connection.poll_head(cx) {
        Poll::Ready(answer) => Poll::Ready(answer.map_err(Failure::from)),
        Poll::Pending => lease.connection.poll_timer(cx).map(|()| Err(Failure::TimedOut)),
    })
    .await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Upgrade::Answered(response::accept(answer, lease, false)));
    }
    if !upgrade::switches_to_websocket(answer.status(), answer.headers()) {
        return Err(Failure::BadResponse);
    }
    let switched = lease.detach().into_switched().ok_or(Failure::BadResponse)?;
    let (mut parts, ()) = answer.into_parts();
    hop_by_hop::strip_response(&mut parts.headers);
    // RFC 9110 section 8.6: a 101 has neither a body nor a length.
    parts.headers.remove(CONTENT_LENGTH);
    upgrade::set_websocket(&mut parts.headers);
    Ok(Upgrade::Switched(Response::from_parts(parts, ()), Tunnel::new(switched, claim)))
}

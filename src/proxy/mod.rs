//! Forwarding a permitted request to an upstream and its response back.
//!
//! Owns what an application sees of a request (head and framing), the attempts at its endpoints,
//! and the response until its last byte. The upstream comes out of a [`Permit`] and from nowhere
//! else. Refuses responses with two readings; never sends a request twice that might have been
//! received once, unless it is idempotent, has no body, and got no byte of an answer.

mod ahead;
mod balance_by;
mod body;
mod buffer;
mod error;
mod forward;
mod head_limits;
mod outgoing;
mod request;
mod response;
mod retry;
mod sticky;
mod stream;
#[cfg(test)]
mod tests;
mod tunnel;
mod upgrade;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};

use crate::auth::Permit;
use crate::clock::Clock;
use crate::http::RequestEdits;
use crate::http::body::RequestBody;
use crate::http::forwarded::{Origin, Via};
use crate::upstream::Upstream;
use crate::upstream::connect::MadeFor;

pub use balance_by::BalanceBy;
pub use body::Body;
pub use buffer::Spool;
pub use error::{Failure, Retry, Side};
pub use outgoing::Outgoing;
pub use sticky::Sticky;
pub use tunnel::{End, Flow, Tunnel};

/// The action of a route that forwards.
#[derive(Debug)]
pub struct Proxy {
    /// Where to.
    pub upstream: Arc<Upstream>,
    /// What is changed of requests' headers on the way, if anything is.
    pub edits: Option<Box<RequestEdits>>,
    /// Whether a request is sent only once its body is here as a whole.
    pub buffers_requests: bool,
    /// Whether a response is read as fast as it comes, whatever its client takes.
    pub buffers_responses: bool,
    /// What decides about the endpoint, if a request's key does.
    pub by: Option<BalanceBy>,
}

/// The idle upstream connections of one worker.
pub type Pools = crate::upstream::pool::Pools<Outgoing>;

/// What forwarding needs beside the request and the permit.
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a> {
    /// The worker's own.
    pub pools: &'a Arc<Pools>,
    /// Room for gathered bodies.
    pub spool: &'a Arc<Spool>,
    /// Where the request came from.
    pub origin: Origin<'a>,
    /// This gateway's entry in `Via`.
    pub via: &'a Via,
    /// The request id with the name of its header.
    pub request_id: (&'a HeaderName, &'a HeaderValue),
    /// What the application is told about the principal under our signature.
    pub assertion: Option<(&'a HeaderName, &'a HeaderValue)>,
    /// What the application is told of the client's certificate; a client's own lines of these
    /// names were removed.
    pub client_certificate: Option<&'a [(HeaderName, HeaderValue)]>,
    /// The client's own port; 0 where a proxy named the client.
    pub client_port: u16,
    /// For the time to the first byte.
    pub clock: &'a Clock,
}

impl Forward<'_> {
    /// For whom a connection to an endpoint is made.
    fn made_for(&self) -> MadeFor {
        let client = self.origin.client.map(|address| SocketAddr::new(address, self.client_port));
        MadeFor { client, port: self.origin.port }
    }
}

/// How a request was forwarded, for its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The index of the endpoint tried last, in [`Upstream::endpoints`].
    pub endpoint: Option<usize>,
    /// Connections the request was tried on, those that could not be made included.
    pub attempts: u32,
    /// From the choice of the first endpoint to the response's head.
    pub first_byte: Option<Duration>,
    /// Whether the last attempt was on a connection used before.
    pub reused: bool,
    /// The upstream's status.
    pub status: Option<StatusCode>,
}

/// Forwards `request` to the upstream of the permit's action; `trace` tells how far it came, also
/// when the future is dropped.
///
/// The request's head must be checked, its path canonical, and every header that Portcullis
/// asserts removed. Dropping the future, or the response's body, ends the exchange and closes the
/// upstream's connection.
///
/// # Errors
/// Why there is no response; its body may still fail.
pub async fn forward(
    permit: Permit<'_, Proxy>,
    request: Request<RequestBody>,
    ctx: Forward<'_>,
    trace: &mut Trace,
) -> Result<Response<Body>, Failure> {
    forward::run(&permit, request, &ctx, trace).await
}

/// The head that [`forward()`] would send, but for its framing, which the body decides.
///
/// # Errors
/// The request can't be forwarded.
pub fn head(
    permit: &Permit<'_, Proxy>,
    mut parts: Parts,
    ctx: &Forward<'_>,
) -> Result<Vec<u8>, Failure> {
    let identity = permit.principal().map_or(&[][..], |principal| principal.identity());
    let (head, _) = request::begin_head(&mut parts, permit.action(), identity, ctx)?;
    head_limits::check(permit.action().upstream.kind(), &head)?;
    Ok(head)
}

/// What came of a request to switch to WebSocket.
#[derive(Debug)]
pub enum Upgrade {
    /// An ordinary response: the application did not switch.
    Answered(Response<Body>),
    /// The head of the 101, and what follows it.
    Switched(Response<()>, Tunnel),
}

/// Forwards a request that asks to switch to WebSocket; otherwise like [`forward()`].
///
/// # Errors
/// Why there is no response.
pub async fn upgrade(
    permit: Permit<'_, Proxy>,
    request: Request<RequestBody>,
    ctx: Forward<'_>,
    trace: &mut Trace,
) -> Result<Upgrade, Failure> {
    upgrade::run(&permit, request, &ctx, trace).await
}

//! An exchange that leaves HTTP: its record is written when the tunnel ends.
//!
//! The token comes first, as for any request; then the route has to allow it, and then both sides
//! have to switch. The tunnel is a task of its own, since hyper's is over with the 101.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use super::accel;
use super::arrived::{Arrived, assertion, context, hand_over};
use super::body::Inner;
use super::exchange::Exchange;
use super::handle::permit;
use super::reject::Reject;
use super::state::Gateway;
use super::steps;
use super::stream_end::{Bound, bind};
use crate::auth::{Guarded, Owed};
use crate::http::credential::subprotocol;
use crate::http::{cors, upgrade};
use crate::proxy::{self, End, Failure, Flow, Forward, Trace, Tunnel, Upgrade};
use crate::server::InUse;
use crate::snapshot::plan::{Proxied, RoutePlan};
use crate::telemetry::labels::Reason;

/// A tunnel whose client has not been told yet.
#[derive(Debug)]
pub(super) struct Waiting {
    tunnel: Tunnel,
    client: OnUpgrade,
    /// The stream of a connection that has others; it ends with no exchange of the connection.
    stream: Option<InUse>,
    /// The token that it ends with.
    bound: Option<Bound>,
}

/// Answers a request to switch to WebSocket.
pub(super) async fn open(
    gateway: &Gateway,
    exchange: &mut Exchange,
    route: &RoutePlan,
    guarded: &Guarded<Proxied>,
    arrived: Arrived<'_>,
) -> Result<Response<Inner>, Reject> {
    let Arrived { mut parts, body, host, .. } = arrived;
    let permit = permit(gateway, exchange, route, guarded, &parts).await?;
    steps::switches(route, &parts)?;
    let owed = hand_over(guarded, &permit, &mut parts);
    let names_files = permit.action().internal.is_some();
    let permit = permit.into_part(|proxied| &proxied.proxy);
    let key = match upgrade::is_extended(&parts) {
        true => Some(upgrade::set_key(&mut parts.headers).ok_or(Reject::Internal)?),
        false => None,
    };
    // hyper leaves it with every request that has `Upgrade`, and every CONNECT.
    let client = parts.extensions.remove::<OnUpgrade>().ok_or(Reject::Internal)?;
    let revocations = exchange.snapshot().revocations();
    let ends = route.streams;
    let bound = || Bound::of(&permit, ends, revocations, gateway.clock());
    let bound = ends.upgrades.then(bound).flatten();
    exchange.received = Some(body.counter());
    let (snapshot, id) = (Arc::clone(exchange.snapshot()), exchange.request_id.clone());
    let (told, shown) = (exchange.told.clone(), exchange.shown());
    let signed = assertion(&snapshot, &permit, gateway.clock())?;
    let ctx = Forward {
        assertion: signed.as_deref().map(|(name, value)| (name, value)),
        client_certificate: shown.as_deref().map(Vec::as_slice),
        ..context(gateway, exchange, &snapshot, told.as_deref(), (&host, &id))
    };
    let trace = exchange.forwarded.insert(Trace::default());
    let request = Request::from_parts(parts, body);
    let answered = proxy::upgrade(permit, request, ctx, trace).await;
    let mut response = match answered.map_err(Reject::Proxy)? {
        // Success would be taken for the switch.
        Upgrade::Answered(response) if key.is_some() && response.status().is_success() => {
            return Err(Reject::Proxy(Failure::BadResponse));
        }
        Upgrade::Answered(response) => {
            // An event stream is one, whatever was asked for.
            bind(response.map(Inner::from), bound.filter(|_| ends.bodies))
        }
        Upgrade::Switched(mut head, tunnel) => {
            if owed == Owed::Subprotocol {
                subprotocol::answer(head.headers_mut());
            }
            let stream = match key {
                Some(key) => Some(on_stream(exchange, &mut head, &key)?),
                None => None,
            };
            head.map(|()| Inner::Tunnel(Box::new(Waiting { tunnel, client, stream, bound })))
        }
    };
    if route.cors.is_some() {
        cors::strip(response.headers_mut());
    }
    if names_files {
        accel::hide(response.headers_mut());
    }
    Ok(response)
}

/// The switch as the answer to an extended CONNECT. Its client sent no key that it could check the
/// endpoint's answer by: that is done here.
fn on_stream(
    exchange: &Exchange,
    head: &mut Response<()>,
    key: &HeaderValue,
) -> Result<InUse, Reject> {
    if !upgrade::proves(head.headers(), key) {
        return Err(Reject::Proxy(Failure::BadResponse));
    }
    upgrade::leave_to_status(head.headers_mut());
    *head.status_mut() = StatusCode::OK;
    Ok(exchange.connection().hold())
}

/// Whether a response would be taken for a switch that it is not.
pub(super) fn feigns(response: &Response<Inner>) -> bool {
    response.status().is_success() && !matches!(response.body(), Inner::Tunnel(_))
}

/// Sends the head of the switch and goes on behind it.
pub(super) fn begin(
    exchange: Box<Exchange>,
    waiting: Waiting,
    status: StatusCode,
    headers: HeaderMap,
) -> Response<Bytes> {
    tokio::spawn(run(exchange, waiting));
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

async fn run(exchange: Box<Exchange>, waiting: Waiting) {
    let Waiting { mut tunnel, client, stream: _stream, bound } = waiting;
    let flow = Arc::new(Flow::default());
    let mut passing = Passing { exchange, flow: Arc::clone(&flow) };
    // The client may be gone before it has the switch.
    let Ok(client) = client.await else { return };
    passing.exchange.switched();
    let received = passing.exchange.received.get_or_insert_default();
    let received = Arc::clone(received);
    let mut ending = bound.map(Bound::watch);
    let mut carrying = pin!(tunnel.carry(TokioIo::new(client), &received, &flow));
    let ended = poll_fn(|cx| {
        // First: a tunnel that always has something to carry ends as well.
        if let Some(ending) = &mut ending
            && let Poll::Ready(reason) = ending.poll(cx)
        {
            return Poll::Ready(Err(reason));
        }
        carrying.as_mut().poll(cx).map(Ok)
    });
    match ended.await {
        Ok(End::Closed) => {}
        Ok(End::ClientGone) => passing.exchange.end(Reason::ClientGone),
        Ok(End::Idle) => passing.exchange.note("tunnel_idle"),
        Ok(End::UpstreamFailed) => passing.exchange.end(Reason::UpstreamFailed),
        Err(reason) => passing.exchange.end(reason),
    }
}

/// The exchange of a tunnel; whenever it is dropped, also by a worker that ends, its record counts
/// what has passed.
struct Passing {
    exchange: Box<Exchange>,
    flow: Arc<Flow>,
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.exchange.sent(self.flow.sent());
    }
}

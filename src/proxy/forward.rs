//! The attempts at a request's endpoints.
//!
//! Owns the order of attempts: an idle connection first, a fresh one if that turns out to be closed,
//! another endpoint if this one cannot be reached, as often as the upstream's `retries` allow. A
//! request of which no byte was written may be sent anywhere, and waits where nobody listens for a
//! moment; about any other, `retry` decides, and the upstream's budget. One slot at an endpoint is
//! held throughout an attempt, and none between two.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::{Request, Response};

use super::outgoing::Upload;
use super::request::{Prepared, prepare};
use super::{BalanceBy, Body, Failure, Forward, Outgoing, Proxy, Retry, Trace, ahead, response};
use crate::auth::Permit;
use crate::http::body::RequestBody;
use crate::telemetry::labels::UpstreamFault;
use crate::upstream::balance::{Choice, Key};
use crate::upstream::connection::Connection;
use crate::upstream::endpoint::InFlight;
use crate::upstream::pool::Lease;
use crate::upstream::retries::Retrying;
use crate::upstream::{Message, Protocol, Stay, Unserved, Upstream, is_absent};

/// Forwards the request; what is known of its way is in `trace`, even if the future is dropped.
pub(super) async fn run(
    permit: &Permit<'_, Proxy>,
    request: Request<RequestBody>,
    ctx: &Forward<'_>,
    trace: &mut Trace,
) -> Result<Response<Body>, Failure> {
    let upstream = &permit.action().upstream;
    let identity = permit.principal().map_or(&[][..], |principal| principal.identity());
    let by = permit.action().by.as_ref();
    let principal = permit.principal().map(Arc::as_ref);
    let key = by.map_or(Key::None, |by| by.key(request.headers(), principal, ctx));
    let prepared = prepare(request, permit.action(), identity, ctx).await?;
    let Prepared { message, repeatable, trailers } = prepared;
    let attempts = Attempts {
        upstream,
        ctx,
        trace,
        repeatable,
        trailers,
        key,
        repeated: 0,
        again: None,
        stay: None,
    };
    let mut response = attempts.run(message).await?;
    if let Some(sticky) = by.and_then(BalanceBy::sticky) {
        sticky.set(upstream, key, trace.endpoint, ctx.origin.scheme, response.headers_mut());
    }
    if !permit.action().buffers_responses {
        return Ok(response);
    }
    // Boxed: most upstreams go without.
    Ok(Box::pin(ahead::read(response, ctx.spool)).await)
}

pub(super) struct Attempts<'a> {
    pub(super) upstream: &'a Arc<Upstream>,
    pub(super) ctx: &'a Forward<'a>,
    pub(super) trace: &'a mut Trace,
    repeatable: bool,
    pub(super) trailers: bool,
    /// What decides about the endpoint.
    key: Key,
    /// How often it was sent again although it may have been received.
    repeated: usize,
    /// Held while that is so beyond what idle connections explain.
    again: Option<Retrying>,
    /// Held once it has waited for an endpoint to come back.
    stay: Option<Box<Stay>>,
}

/// How one attempt ended.
pub(super) enum Attempt {
    /// Nobody listens there now: the request is whole.
    Absent(Message<Outgoing>),
    Answered(Response<Body>),
    Broken(Failure),
    /// Some was written, which the endpoint may have acted upon: the request is whole.
    Lost(Message<Outgoing>, Failure),
    /// Nothing was written: the request is whole.
    Unsent(Message<Outgoing>, Failure),
}

impl Attempts<'_> {
    async fn run(mut self, mut request: Message<Outgoing>) -> Result<Response<Body>, Failure> {
        others_first().await;
        let start = self.ctx.clock.now();
        let mut tried = Vec::new();
        let mut failure = None;
        let mut absent = false;
        loop {
            let place = match failure {
                Some(why) if tried.len() > self.upstream.retries() => Err(why),
                _ => self.endpoint(&tried, failure).await,
            };
            let (index, slot) = match place {
                Ok(place) => place,
                // Boxed, as all that few requests come to: every one's future is moved whole.
                Err(Failure::NoHealthyEndpoint | Failure::Refused)
                    if absent && Box::pin(self.upstream.until_back(&mut self.stay)).await =>
                {
                    tried.clear();
                    failure = None;
                    continue;
                }
                Err(why) => return Err(why),
            };
            let attempt = self.at_endpoint(index, slot, request).await;
            if attempt.is_the_endpoints_fault() {
                self.upstream.suspect(index);
            }
            absent |= matches!(attempt, Attempt::Absent(_));
            match attempt {
                Attempt::Answered(response) => {
                    self.upstream.answered(index);
                    if let Some(again) = self.again.take() {
                        again.answered();
                    }
                    self.trace.first_byte = Some(self.ctx.clock.now().duration_since(start));
                    return Ok(response);
                }
                Attempt::Broken(failure) => return Err(failure),
                Attempt::Lost(back, why) => {
                    if !self.may_repeat(why) || !Box::pin(self.turn()).await {
                        return Err(why);
                    }
                    request = back;
                    failure = Some(why);
                }
                Attempt::Absent(back) => (request, failure) = (back, Some(Failure::Refused)),
                Attempt::Unsent(back, why) => (request, failure) = (back, Some(why)),
            }
            tried.push(index);
        }
    }

    /// Where to try next, with a slot there.
    async fn endpoint(
        &self,
        tried: &[usize],
        failure: Option<Failure>,
    ) -> Result<(usize, InFlight), Failure> {
        let none: &[usize] = &[];
        // Where an answer was lost another may come: behind one endpoint stand many workers.
        let twice = (failure == Some(Failure::Failed)).then_some(none);
        let mut full = None;
        for tried in [Some(tried), twice].into_iter().flatten() {
            match self.upstream.choose(tried, self.key) {
                Choice::Claimed(index, slot) => return Ok((index, slot)),
                Choice::Full => full = Some(tried),
                Choice::None => {}
            }
        }
        let why = failure.unwrap_or(Failure::NoHealthyEndpoint);
        let Some(tried) = full else { return Err(why) };
        Box::pin(self.upstream.wait(tried, self.key)).await.map_err(|unserved| match unserved {
            Unserved::Full => Failure::QueueFull,
            Unserved::Unhealthy => why,
        })
    }

    /// Whether a request may be sent again that the endpoint may have acted upon (RFC 9110 section
    /// 9.2.2); then it counts.
    fn may_repeat(&mut self, failure: Failure) -> bool {
        let may = self.repeatable
            && failure.retry() == Retry::IfRepeatable
            && self.repeated < self.upstream.retries();
        self.repeated += usize::from(may);
        may
    }

    /// Waits for a turn within the budget: nothing but the endpoint's failure explains this one.
    async fn turn(&mut self) -> bool {
        match &self.again {
            Some(again) => again.lost(),
            None => self.again = self.upstream.retry().await,
        }
        self.again.is_some()
    }

    /// On an idle connection, or else on a fresh one.
    async fn at_endpoint(
        &mut self,
        index: usize,
        mut slot: InFlight,
        mut request: Message<Outgoing>,
    ) -> Attempt {
        let Some(endpoint) = self.upstream.endpoints().get(index) else {
            return Attempt::Unsent(request, Failure::Refused);
        };
        self.trace.endpoint = Some(index);
        let pools = self.ctx.pools;
        if self.upstream.protocol() == Protocol::Http2 {
            // Boxed: few upstreams are spoken to so, and every request's future is moved whole.
            return Box::pin(self.on_stream(endpoint, slot, request)).await;
        }
        if let Some(connection) = pools.take(self.upstream, endpoint, self.repeatable) {
            self.begin(true);
            let lease = Lease::new(connection, slot, pools);
            match self.on_connection(lease, request).await {
                (Attempt::Unsent(back, _), Some(kept)) => (request, slot) = (back, kept),
                // An endpoint that closes idle connections explains it.
                (Attempt::Lost(back, failure), Some(kept)) if self.may_repeat(failure) => {
                    (request, slot) = (back, kept);
                }
                (attempt, _) => return attempt,
            }
        }
        self.begin(false);
        // Boxed: most requests never come here, and each one's future is moved whole.
        match Box::pin(Connection::open(self.upstream, endpoint, self.ctx.made_for())).await {
            Ok(connection) => {
                let lease = Lease::new(connection, slot, pools);
                self.on_connection(lease, request).await.0
            }
            Err(error) => {
                self.upstream.failed(endpoint.id(), UpstreamFault::Refused);
                match is_absent(&error) {
                    true => Attempt::Absent(request),
                    false => Attempt::Unsent(request, Failure::Refused),
                }
            }
        }
    }

    pub(super) fn begin(&mut self, reused: bool) {
        self.trace.attempts += 1;
        self.trace.reused = reused;
        self.trace.status = None;
    }

    async fn on_connection(
        &mut self,
        mut lease: Lease<Outgoing>,
        request: Message<Outgoing>,
    ) -> (Attempt, Option<InFlight>) {
        let mut wait = Wait { upload: request.body.upload(), armed: None };
        lease.connection.send(request);
        let ended = poll_fn(|cx| match lease.connection.poll_head(cx) {
            Poll::Ready(ended) => Poll::Ready(ended.map_err(Failure::from)),
            Poll::Pending => wait.poll(&mut lease, cx).map(Err),
        })
        .await;
        match ended {
            Ok(response) => {
                self.trace.status = Some(response.status());
                (Attempt::Answered(response::accept(response, lease, self.trailers)), None)
            }
            Err(failure) => self.unanswered(lease, failure),
        }
    }

    /// What became of the request, and the slot for one that may be sent again.
    fn unanswered(
        &self,
        mut lease: Lease<Outgoing>,
        failure: Failure,
    ) -> (Attempt, Option<InFlight>) {
        // Retried or not: an operator should see what retries hide.
        if let Some(fault) = failure.fault() {
            self.upstream.failed(lease.connection.endpoint(), fault);
        }
        let attempt = match lease.connection.take_back() {
            Some((request, true)) => Attempt::Lost(request, failure),
            Some((request, false)) if failure == Failure::Failed => {
                Attempt::Unsent(request, failure)
            }
            Some((_, false)) | None => Attempt::Broken(failure),
        };
        (attempt, Some(lease.into_slot()))
    }
}

impl Attempt {
    /// Whether the endpoint failed. A connection that it closed while idle never gets here alone: a
    /// fresh one is tried, unless the request may not be sent again.
    fn is_the_endpoints_fault(&self) -> bool {
        match self {
            Self::Absent(_) => true,
            Self::Answered(_) => false,
            Self::Broken(failure) | Self::Lost(_, failure) | Self::Unsent(_, failure) => {
                failure.fault().is_some()
            }
        }
    }
}

/// Lets the worker's tasks that are ready now go first.
///
/// What they all send to their endpoints so leaves in one burst. Sent one at a time, between the
/// work on two requests, each would find its receiver asleep, and waking it is the dearest part of
/// a small write. Not `yield_now`, which asks the system for news before it goes on.
async fn others_first() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The wait for a response's head.
///
/// It may last for the response timeout after the last progress of the request's body; while it is
/// the client who keeps the body waiting, that body's own limits hold instead.
struct Wait {
    upload: Option<Arc<Upload>>,
    /// The body's progress when the timer was set.
    armed: Option<u64>,
}

impl Wait {
    fn poll(&mut self, lease: &mut Lease<Outgoing>, cx: &mut Context<'_>) -> Poll<Failure> {
        let connection = &mut lease.connection;
        let time = connection.upstream().timeouts().response;
        let steps = self.upload.as_ref().map_or(0, |upload| upload.steps());
        if self.armed != Some(steps) {
            self.armed = Some(steps);
            connection.arm(time);
        }
        if connection.poll_timer(cx).is_ready() {
            // To an endpoint that takes no more, nobody owes anything.
            let awaits_client = !connection.is_deaf()
                && self.upload.as_ref().is_some_and(|upload| upload.awaits_client());
            connection.arm(time);
            if !awaits_client || connection.poll_timer(cx).is_ready() {
                return Poll::Ready(Failure::TimedOut);
            }
        }
        Poll::Pending
    }
}

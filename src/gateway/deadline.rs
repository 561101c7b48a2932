//! Exchanges that may take only so long as a whole (`timeout` of a route).
//!
//! Before the response's head the client gets a 504; afterwards the response is cut, so that nobody
//! takes the part for the whole. What has left HTTP is not timed: its token is.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::arrived::Arrived;
use super::body::{BodyError, Inner};
use super::exchange::Exchange;
use super::handle;
use super::reject::Reject;
use super::state::Gateway;
use crate::auth::Guarded;
use crate::proxy::Failure;
use crate::snapshot::plan::{Proxied, RoutePlan};

/// Forwards within what is left of `whole` since the request's head arrived.
pub(super) async fn forward(
    gateway: &Gateway,
    exchange: &mut Exchange,
    route: &RoutePlan,
    guarded: &Guarded<Proxied>,
    arrived: Arrived<'_>,
    whole: Duration,
) -> Result<Response<Inner>, Reject> {
    let mut timer = Box::pin(sleep(whole.saturating_sub(exchange.elapsed())));
    let response = {
        let mut forwarding = pin!(handle::forward(gateway, exchange, route, guarded, arrived));
        poll_fn(|cx| match forwarding.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => {
                timer.as_mut().poll(cx).map(|()| Err(Reject::Proxy(Failure::TimedOut)))
            }
        })
        .await?
    };
    Ok(response.map(|inner| match inner {
        Inner::Tunnel(_) => inner,
        inner if inner.is_end_stream() => inner,
        inner => Inner::Timed(Box::new(Timed { inner, timer })),
    }))
}

/// A response's body that ends at a moment.
#[derive(Debug)]
pub(super) struct Timed {
    inner: Inner,
    timer: Pin<Box<Sleep>>,
}

impl Body for Timed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        // First: a body that always has something to say ends as well.
        if this.timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(BodyError::Proxy(Failure::TimedOut))));
        }
        Pin::new(&mut this.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

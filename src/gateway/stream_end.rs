//! Streams that end with the token which began them (attack J26): what was allowed when it began
//! must not go on for hours after the token has ended or was revoked.
//!
//! A stream ends at the moment from which a request with its token would be refused: `exp` plus the
//! issuer's leeway, plus the route's grace; if the token is revoked, at once. It is cut: a tunnel's
//! bytes are none of ours, and a response must not look complete. A key that its issuer withdraws
//! cuts nothing, since rotation says nothing about a token; to revoke a key does.
//!
//! Each such stream has one small task, which sleeps until its end or until something is revoked.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::body::{BodyError, Inner};
use crate::auth::{Permit, Principal, Revocations};
use crate::clock::{Clock, UnixTime};
use crate::snapshot::plan::StreamEnds;
use crate::telemetry::labels::Reason;

/// The token that a stream ends with.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    principal: Arc<Principal>,
    until: UnixTime,
    revocations: Arc<Revocations>,
    clock: Clock,
}

/// Tells when a stream is over.
#[derive(Debug)]
pub(super) struct Ending {
    over: oneshot::Receiver<Reason>,
    task: AbortHandle,
}

/// A sleep is cut in pieces, since the wall clock may be moved meanwhile.
const LOOK: Duration = Duration::from_secs(60);

impl Bound {
    /// By a permit of the route; `None` if there is no token, as on public routes.
    pub(super) fn of<A>(
        permit: &Permit<'_, A>,
        ends: StreamEnds,
        revocations: &Arc<Revocations>,
        clock: &Clock,
    ) -> Option<Self> {
        Some(Self {
            principal: Arc::clone(permit.principal()?),
            until: permit.valid_until()?.saturating_add(ends.grace),
            revocations: Arc::clone(revocations),
            clock: clock.clone(),
        })
    }

    /// Begins to watch.
    pub(super) fn watch(self) -> Ending {
        let (over, receiver) = oneshot::channel();
        let task = tokio::spawn(async move {
            let reason = self.ended().await;
            // The stream may end at the same moment.
            let _late = over.send(reason).is_err();
        });
        Ending { over: receiver, task: task.abort_handle() }
    }

    async fn ended(self) -> Reason {
        let mut changes = self.revocations.changes();
        loop {
            let now = self.clock.wall();
            if self.revocations.is_revoked(&self.principal, now) {
                return Reason::TokenRevoked;
            }
            if now >= self.until {
                return Reason::TokenExpired;
            }
            let left = self.until.since(now).min(LOOK);
            // Over, changed, or nobody left to revoke anything: each time it is looked at again.
            if let Ok(Err(_gone)) = timeout(left, changes.changed()).await {
                tokio::time::sleep(left).await;
            }
        }
    }
}

impl Ending {
    /// Ready when the stream has to be cut, with why.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Reason> {
        // A task that is gone has left nobody to say that the token still counts.
        Pin::new(&mut self.over).poll(cx).map(|over| over.unwrap_or(Reason::Internal))
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === bodies ===

/// A response's body that ends with its token.
#[derive(Debug)]
pub(super) struct Bounded {
    inner: Inner,
    end: End,
}

#[derive(Debug)]
enum End {
    /// Not asked for yet: most bodies are there with their first piece.
    Asleep(Option<Bound>),
    Watched(Ending),
    Over(Reason),
}

/// The response, cut when its token is over.
pub(super) fn bind(response: Response<Inner>, bound: Option<Bound>) -> Response<Inner> {
    match bound {
        Some(bound) if !response.body().is_end_stream() => response.map(|inner| {
            Inner::Bounded(Box::new(Bounded { inner, end: End::Asleep(Some(bound)) }))
        }),
        Some(_) | None => response,
    }
}

impl End {
    /// Why the body is over; if it is not, the task is woken when it is.
    fn poll(&mut self, cx: &mut Context<'_>) -> Option<Reason> {
        let reason = match self {
            Self::Asleep(_) => None,
            Self::Watched(ending) => match ending.poll(cx) {
                Poll::Pending => None,
                Poll::Ready(reason) => Some(reason),
            },
            Self::Over(reason) => Some(*reason),
        }?;
        *self = Self::Over(reason);
        Some(reason)
    }
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some(reason) = this.end.poll(cx) {
            return Poll::Ready(Some(Err(BodyError::TokenEnded(reason))));
        }
        let frame = Pin::new(&mut this.inner).poll_frame(cx);
        if let End::Asleep(bound) = &mut this.end
            && !this.inner.is_end_stream()
            && let Some(bound) = bound.take()
        {
            this.end = End::Watched(bound.watch());
            if let Some(reason) = this.end.poll(cx) {
                return Poll::Ready(Some(Err(BodyError::TokenEnded(reason))));
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

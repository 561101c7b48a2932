//! One HTTP/1.1 connection to an endpoint, driven by whoever uses it.
//!
//! Owns the socket, the request that is being sent, the response that is being received, and one
//! timer. There is no task behind a connection: the exchange that holds it polls it in place, so a
//! request wakes no other task and dropping the exchange closes the socket. An idle connection is
//! polled by nobody; [`Connection::settle`] looks at it when it is put away, taken out or swept.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep};

use super::connect::{MadeFor, Stream, connect};
use super::idle::Learned;
use super::receiving::{Ended, Receiving};
use super::sending::{Message, Sending};
use super::switched::Switched;
use super::{Endpoint, Upstream};
use crate::telemetry::labels::{PooledState, UpstreamFault};
use crate::telemetry::metrics::UpstreamConnection;

/// An open connection that sends requests with bodies of type `B`.
#[derive(Debug)]
pub struct Connection<B> {
    stream: Stream,
    /// The request of the exchange under way.
    sending: Option<Sending<B>>,
    /// Sending failed: what the endpoint still says counts, but it is the last.
    deaf: bool,
    receiving: Receiving,
    /// One timer for the connection's life: moving it later is far cheaper than making a new one.
    timer: Pin<Box<Sleep>>,
    endpoint: u64,
    learning: Option<Learning>,
    gauge: UpstreamConnection,
    open: Open,
}

/// What is noted where it is learned how long its endpoint keeps idle connections.
#[derive(Debug)]
pub(super) struct Learning {
    pub(super) learned: Arc<Learned>,
    /// When the last response's head was here.
    pub(super) answered: Instant,
}

/// Why an exchange on a connection came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken<E> {
    /// The request's body failed.
    Body(E),
    /// The connection ended, or could not be read or written.
    Closed,
    /// The request's body is longer or shorter than its head says.
    Length,
    /// The response is not HTTP/1.1, or can be read in two ways.
    Malformed,
}

/// A piece of a response's body, or why there is none.
pub type NextFrame<E> = Result<Frame<Bytes>, Broken<E>>;

/// Counts an open connection in its upstream.
#[derive(Debug)]
pub(super) struct Open(Arc<Upstream>);

impl<B: Body<Data = Bytes> + Unpin> Connection<B> {
    /// Connects to an endpoint of `upstream` within its connect timeout. Where the endpoint is told
    /// for whom, the connection is never pooled: see [`Upstream::names_clients`].
    ///
    /// # Errors
    /// What the system said; [`io::ErrorKind::TimedOut`] when the time was over.
    pub async fn open(
        upstream: &Arc<Upstream>,
        endpoint: &Endpoint,
        made_for: MadeFor,
    ) -> io::Result<Box<Self>> {
        let opening = upstream.names_clients().map(|version| made_for.header(version));
        let within = upstream.timeouts().connect;
        let (id, address) = endpoint.reach().ok_or(io::ErrorKind::NotFound)?;
        let stream = connect(&address, within, opening.as_deref()).await;
        upstream.connecting(endpoint, &stream);
        Ok(Box::new(Self {
            stream: stream?,
            sending: None,
            deaf: false,
            receiving: Receiving::new(),
            timer: Box::pin(sleep(upstream.timeouts().response)),
            endpoint: id,
            learning: endpoint
                .learned()
                .map(|learned| Learning { learned: Arc::clone(learned), answered: Instant::now() }),
            gauge: upstream.connected(),
            open: Open::count(upstream),
        }))
    }

    /// Begins an exchange; nothing moves until [`Connection::poll_head`] is called.
    pub fn send(&mut self, message: Message<B>) {
        self.receiving.begin(message.may_switch);
        self.sending = Some(Sending::new(message));
    }

    /// Sends the request as far as that goes without waiting, and waits for the response's head.
    ///
    /// # Errors
    /// Why there will be none. [`Connection::take_back`] tells what became of the request.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, Broken<B::Error>>> {
        self.drive(cx)?;
        let to_head = self.sending.as_ref().is_some_and(Sending::to_head);
        let head = self.receiving.poll_head(&mut self.stream, to_head, cx);
        if let (Some(learning), Poll::Ready(Ok(head))) = (&mut self.learning, &head) {
            learning.learned.hear(head.headers());
            learning.answered = Instant::now();
        }
        head.map(|head| head.map_err(Broken::from))
    }

    /// The next piece of the response's body; `None` behind the last. What is left of the request
    /// goes on being sent.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<NextFrame<B::Error>>> {
        self.drive(cx)?;
        let frame = self.receiving.poll_frame(&mut self.stream, cx);
        frame.map(|frame| frame.map(|frame| frame.map_err(Broken::from)))
    }

    /// Sends what can be sent now.
    ///
    /// An endpoint that stops reading may still have an answer, such as 413: only a body that fails
    /// is an error here.
    fn drive(&mut self, cx: &mut Context<'_>) -> Result<(), Broken<B::Error>> {
        let Some(sending) = self.sending.as_mut().filter(|_| !self.deaf) else { return Ok(()) };
        if !sending.is_complete() {
            match sending.poll(&mut self.stream, cx) {
                Poll::Pending | Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(Broken::Closed)) => self.deaf = true,
                Poll::Ready(Err(broken)) => return Err(broken),
            }
        }
        if let Poll::Ready(Err(_)) = self.stream.poll_sent(cx) {
            self.deaf = true;
        }
        Ok(())
    }

    /// Whether the endpoint takes no more of the request, which then stays as it is.
    pub fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// Whether the response has no byte left.
    pub fn is_answered(&self) -> bool {
        self.receiving.is_complete()
    }

    /// Bytes of the response's body that are still to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        self.receiving.length()
    }

    /// The request of a broken exchange, whole, unless some of its body is spent; and whether a byte
    /// of it has left, so that the endpoint may have acted on it.
    pub fn take_back(&mut self) -> Option<(Message<B>, bool)> {
        let sending = self.sending.take()?;
        let begun = sending.has_begun();
        sending.into_message().map(|message| (message, begun))
    }

    /// What is left after a 101; `None` if the endpoint has not read the whole request.
    pub fn into_switched(mut self) -> Option<Switched> {
        if self.deaf || !self.sending.as_ref().is_none_or(Sending::is_complete) {
            return None;
        }
        self.gauge.set(PooledState::Tunnel);
        Some(Switched::new(self.stream, self.receiving.into_input(), self.gauge, self.open))
    }

    /// Whether the connection is between two requests and open, as far as is known now.
    pub fn settle(&mut self) -> bool {
        let sent = !self.deaf && self.sending.as_ref().is_none_or(Sending::is_complete);
        if !sent || !self.receiving.is_settled() {
            return false;
        }
        let mut nobody = Context::from_waker(Waker::noop());
        if !matches!(self.stream.poll_sent(&mut nobody), Poll::Ready(Ok(()))) {
            return false;
        }
        self.sending = None;
        // Nobody waits for an idle connection, and a waker left behind would keep a task alive.
        self.receiving.is_quiet(&mut self.stream, &mut nobody)
    }

    /// Sets the one timer to go off after `time` from now.
    pub fn arm(&mut self, time: Duration) {
        let now = Instant::now();
        // Longer than any sensible setting: some day is as good as never.
        const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);
        self.timer.as_mut().reset(now.checked_add(time).unwrap_or(now + NEVER));
    }

    /// Ready when the timer has gone off.
    pub fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().poll(cx)
    }

    /// What it is learned with how long its endpoint keeps idle connections, where that is wanted.
    pub(super) fn learning(&self) -> Option<&Learning> {
        self.learning.as_ref()
    }

    /// As if the last response's head had been here at that time.
    #[cfg(test)]
    pub(super) fn answered_at(&mut self, at: Instant) {
        if let Some(learning) = &mut self.learning {
            learning.answered = at;
        }
    }

    /// Counts it as in use or as idle from now on.
    pub(super) fn count_as(&mut self, state: PooledState) {
        self.gauge.set(state);
    }

    /// Counts a failure of its endpoint.
    pub(crate) fn failed(&self, fault: UpstreamFault) {
        self.open.0.failed(self.endpoint, fault);
    }

    /// The upstream it belongs to.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.open.0
    }

    /// The id of the endpoint it leads to.
    pub fn endpoint(&self) -> u64 {
        self.endpoint
    }
}

impl<E> From<Ended> for Broken<E> {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Closed | Ended::Broke => Self::Closed,
            Ended::Malformed => Self::Malformed,
        }
    }
}

impl Open {
    /// One more connection of `upstream`, until it is dropped.
    pub(super) fn count(upstream: &Arc<Upstream>) -> Self {
        upstream.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(upstream))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

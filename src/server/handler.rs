//! The seam to whoever answers requests, and the bookkeeping around each answer.
//!
//! Hyper calls a [`Handler`] once for each request. What it returns is wrapped, so that the
//! connection knows how many exchanges are alive: until the last byte of a response was taken,
//! the exchange is, whatever the handler did.

use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::{HttpService, service_fn};
use hyper::{Request, Response, StatusCode};

use super::activity::{Activity, Stall};
use super::connection::{ConnectionInfo, Protocol};

/// Answers requests.
pub trait Handler: Clone + Send + Sync + 'static {
    /// What a response's body is.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static;

    /// Answers one request. Dropped before it is done if the client takes the request back.
    fn handle(
        &self,
        connection: &Arc<ConnectionInfo>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// The client took a request back before [`Handler::handle`] was asked: hyper drops it at once
    /// if the end of the connection came with it. For the record that every request gets.
    fn abandoned(&self, connection: &Arc<ConnectionInfo>, request: Request<Incoming>);

    /// A request's head was refused before it was one. For the record that every answer gets;
    /// returns the body of the answer, a problem (RFC 9457). Where hyper has answered already
    /// ([`Refusal::Malformed`], [`Refusal::TooLong`]) nobody reads it.
    fn refused_head(&self, connection: &Arc<ConnectionInfo>, refused: RefusedHead) -> Bytes;
}

/// A head that never became a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedHead {
    /// What was wrong with it.
    pub refusal: Refusal,
    /// From its first byte to its refusal.
    pub elapsed: Duration,
}

/// What keeps a head from being a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// HTTP/2 where it was not agreed on.
    Http2,
    /// No head of HTTP/1.
    Malformed,
    /// HTTP on a port that speaks TLS.
    PlainText,
    /// Longer than it may be.
    TooLong,
    /// Not complete in time.
    TooSlow,
}

/// What one connection's exchanges share.
#[derive(Debug)]
pub(super) struct Shared<H> {
    pub(super) handler: H,
    pub(super) info: Arc<ConnectionInfo>,
}

/// The service that hyper calls for each request of a connection.
pub(super) fn service<H: Handler>(
    shared: &Arc<Shared<H>>,
) -> impl HttpService<Incoming, ResBody = Answer<H::Body>, Error = Infallible, Future: Send + 'static>
+ Send
+ 'static {
    let shared = Arc::clone(shared);
    service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        let mut call = Call::begin(&shared.info, !request.body().is_end_stream());
        let mut unasked = Unasked { shared, request: Some(request) };
        in_place(move || async move {
            // It is there until it is taken here.
            let Some(request) = unasked.request.take() else { return pending().await };
            let shared = &unasked.shared;
            let mut response = shared.handler.handle(&shared.info, request).await;
            call.responded = true;
            // After a 101 there is nothing left to close, and its `Connection` says what it is.
            let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            if call.activity.is_draining() && shared.info.protocol == Protocol::Http1 && !switches {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Answer { body, call }))
        })
    })
}

/// A request that nobody was asked to answer yet.
struct Unasked<H: Handler> {
    shared: Arc<Shared<H>>,
    request: Option<Request<Incoming>>,
}

impl<H: Handler> Drop for Unasked<H> {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            self.shared.handler.abandoned(&self.shared.info, request);
        }
    }
}

/// Makes a future where it will stay. An exchange's is several kilobytes, most of them empty when
/// it begins: handed on by value, all of it would be copied at every step.
fn in_place<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::into_pin(Box::write(Box::new_uninit(), make()))
}

/// An exchange that is alive.
struct Call {
    activity: Arc<Activity>,
    responded: bool,
    stall: Option<Arc<Stall>>,
}

impl Call {
    fn begin(info: &ConnectionInfo, has_body: bool) -> Self {
        let activity = Arc::clone(&info.activity);
        activity.begin(has_body);
        let stall = match info.protocol {
            Protocol::Http1 => None,
            Protocol::Http2 => {
                let stall = Stall::new();
                *activity.beginning.lock() = Some(Arc::clone(&stall));
                Some(stall)
            }
        };
        Self { activity, responded: false, stall }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.activity.end(self.responded);
    }
}

/// A handler's body with the exchange that it ends.
pub(super) struct Answer<B> {
    body: B,
    call: Call,
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(context);
        if let Some(stall) = &this.call.stall {
            match &frame {
                Poll::Pending => stall.waiting(),
                Poll::Ready(_) => stall.handed_out(),
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

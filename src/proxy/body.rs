//! The body of a response on its way to the client.
//!
//! Owns the upstream's connection and the count of its request until the last byte: a complete
//! body gives the connection back to its pool, anything else closes it. An endpoint is not trusted
//! to go on: it has the read timeout for each piece. The timer runs only while the client waits,
//! so a slow client costs the endpoint nothing.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderMap, HeaderName};

use super::{Failure, Outgoing, Side};
use crate::http::hop_by_hop;
use crate::telemetry::labels::UpstreamFault;
use crate::upstream::pool::Lease;

/// The body of an upstream's response.
#[derive(Debug)]
pub struct Body {
    incoming: Incoming,
    /// `None` once the body has ended, well or not.
    lease: Option<Lease<Outgoing>>,
    trailers: bool,
    /// The timer runs for the piece that is awaited.
    armed: bool,
}

impl Body {
    /// The body of the response that `lease` has received the head of; trailers are dropped unless
    /// the client takes them.
    pub(super) fn new(incoming: Incoming, lease: Lease<Outgoing>, trailers: bool) -> Self {
        let mut body = Self { incoming, lease: Some(lease), trailers, armed: false };
        if body.incoming.is_end_stream() {
            body.complete();
        }
        body
    }

    fn complete(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }

    /// Waits for the next piece, but not for ever.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        let Some(lease) = &mut self.lease else { return Poll::Pending };
        let connection = &mut lease.connection;
        if !self.armed {
            let time = connection.upstream().timeouts().read;
            connection.arm(time);
            self.armed = true;
        }
        ready!(connection.poll_timer(cx));
        connection.failed(UpstreamFault::Timeout);
        self.lease = None;
        Poll::Ready(Failure::TimedOut)
    }

    /// What becomes of what hyper has read.
    fn receive(
        &mut self,
        frame: Option<Result<Frame<Bytes>, hyper::Error>>,
    ) -> Option<Result<Frame<Bytes>, Failure>> {
        self.armed = false;
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Some(Err(self.broken(&error))),
            None => {
                self.complete();
                return None;
            }
        };
        match frame.into_data() {
            Ok(data) => {
                // A known length ends here: the client's side may not ask for more.
                if self.incoming.is_end_stream() {
                    self.complete();
                }
                Some(Ok(Frame::data(data)))
            }
            Err(frame) => {
                self.complete();
                let trailers = frame.into_trailers().ok().filter(|_| self.trailers)?;
                Some(Ok(Frame::trailers(without_framing(trailers))))
            }
        }
    }

    /// Closes the connection and says why.
    fn broken(&mut self, error: &hyper::Error) -> Failure {
        // If the client's body failed, the connection did because of it.
        let lease = self.lease.take();
        let connection = lease.as_ref().map(|lease| &lease.connection);
        let cause = connection.and_then(|connection| connection.failure()).map(Failure::from);
        let failure =
            cause.filter(|cause| cause.side() != Side::Upstream).unwrap_or_else(|| error.into());
        if let (Some(connection), Some(fault)) = (connection, failure.fault()) {
            connection.failed(fault);
        }
        failure
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = self.get_mut();
        let Some(lease) = &mut this.lease else { return Poll::Ready(None) };
        // What was read before comes first; only then is the connection asked for more.
        let mut frame = Pin::new(&mut this.incoming).poll_frame(cx);
        if frame.is_pending() {
            lease.connection.drive(cx);
            frame = Pin::new(&mut this.incoming).poll_frame(cx);
        }
        match frame {
            Poll::Ready(frame) => Poll::Ready(this.receive(frame)),
            Poll::Pending => this.poll_timer(cx).map(|failure| Some(Err(failure))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.lease.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.lease.is_none() { SizeHint::with_exact(0) } else { self.incoming.size_hint() }
    }
}

/// RFC 9110 section 6.5.1: a recipient may merge trailers into the head, where these would change
/// how the message is framed, routed, stored or who it is from.
fn without_framing(mut trailers: HeaderMap) -> HeaderMap {
    const NEVER: [HeaderName; 9] = [
        header::AUTHORIZATION,
        header::CACHE_CONTROL,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::HOST,
        header::LOCATION,
        header::SET_COOKIE,
    ];
    hop_by_hop::strip_response(&mut trailers);
    for name in NEVER {
        trailers.remove(name);
    }
    trailers
}

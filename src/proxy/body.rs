//! The body of a response on its way to the client.
//!
//! Owns the upstream's connection and the count of its request until the last byte: a complete
//! body gives the connection back to its pool, anything else closes it. An endpoint is not trusted
//! to go on: it has the read timeout for each piece. The timer runs only while the client waits,
//! so a slow client costs the endpoint nothing.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{self, HeaderMap, HeaderName};

use super::ahead::Ahead;
use super::{Failure, Outgoing, stream};
use crate::http::hop_by_hop;
use crate::telemetry::labels::UpstreamFault;
use crate::upstream::connection::{Broken, NextFrame};
use crate::upstream::pool::Lease;

/// The body of an upstream's response.
#[derive(Debug)]
pub struct Body {
    /// `None` once the body has ended, well or not.
    lease: Option<Lease<Outgoing>>,
    /// What comes on a stream instead; boxed, since most bodies do not.
    stream: Option<Box<stream::Body>>,
    trailers: bool,
    /// The timer runs for the piece that is awaited.
    armed: bool,
    /// Somebody reads the response ahead, and has the lease.
    ahead: Option<Box<Ahead>>,
}

impl Body {
    /// The body of the response that `lease` has received the head of; trailers are dropped unless
    /// the client takes them.
    pub(super) fn new(lease: Lease<Outgoing>, trailers: bool) -> Self {
        let mut body =
            Self { lease: Some(lease), stream: None, trailers, armed: false, ahead: None };
        body.complete_if_answered();
        body
    }

    /// The body that comes on a stream.
    pub(super) fn of_stream(body: stream::Body, trailers: bool) -> Self {
        let stream = Some(body).filter(|body| !body.is_end_stream()).map(Box::new);
        Self { lease: None, stream, trailers, armed: false, ahead: None }
    }

    /// A response that is read ahead.
    pub(super) fn ahead(ahead: Ahead) -> Self {
        let ahead = Some(Box::new(ahead));
        Self { lease: None, stream: None, trailers: true, armed: false, ahead }
    }

    /// A known length ends here: the client's side may not ask for more.
    fn complete_if_answered(&mut self) {
        if self.lease.as_ref().is_some_and(|lease| lease.connection.is_answered()) {
            self.complete();
        }
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

    /// What becomes of what was read.
    fn receive(
        &mut self,
        frame: Option<NextFrame<Failure>>,
    ) -> Option<Result<Frame<Bytes>, Failure>> {
        self.armed = false;
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(broken)) => return Some(Err(self.broken(broken))),
            None => {
                self.complete();
                return None;
            }
        };
        match frame.into_data() {
            Ok(data) => {
                self.complete_if_answered();
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
    fn broken(&mut self, broken: Broken<Failure>) -> Failure {
        let failure = Failure::from(broken);
        if let (Some(lease), Some(fault)) = (self.lease.take(), failure.fault()) {
            lease.connection.failed(fault);
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
        let Some(lease) = &mut this.lease else {
            return match (&mut this.ahead, &mut this.stream) {
                (Some(ahead), _) => ahead.poll_frame(cx),
                (None, Some(stream)) => stream.poll_frame(this.trailers, cx),
                (None, None) => Poll::Ready(None),
            };
        };
        match lease.connection.poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(this.receive(frame)),
            Poll::Pending => this.poll_timer(cx).map(|failure| Some(Err(failure))),
        }
    }

    fn is_end_stream(&self) -> bool {
        if let Some(ahead) = &self.ahead {
            return ahead.is_end_stream();
        }
        self.lease.is_none() && self.stream.as_ref().is_none_or(|stream| stream.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        if let Some(ahead) = &self.ahead {
            return ahead.size_hint();
        }
        if self.stream.as_ref().is_some_and(|stream| !stream.is_end_stream()) {
            return SizeHint::default();
        }
        match self.lease.as_ref().map(|lease| lease.connection.remaining()) {
            None => SizeHint::with_exact(0),
            Some(Some(length)) => SizeHint::with_exact(length),
            Some(None) => SizeHint::default(),
        }
    }
}

/// RFC 9110 section 6.5.1: a recipient may merge trailers into the head, where these would change
/// how the message is framed, routed, stored or who it is from.
pub(super) fn without_framing(mut trailers: HeaderMap) -> HeaderMap {
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

//! An exchange with an endpoint that is spoken to over HTTP/2.
//!
//! Owns the attempts at one endpoint, and the response's body until its last byte: dropped earlier,
//! it resets the stream, and the connection goes on for others. A request is sent again only where
//! the endpoint says that it did nothing about it, or where it never left.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::Response;
use hyper::body::Frame;

use super::body::without_framing;
use super::forward::{Attempt, Attempts};
use super::outgoing::Upload;
use super::{Failure, Outgoing, response};
use crate::telemetry::labels::UpstreamFault;
use crate::upstream::endpoint::InFlight;
use crate::upstream::stream::{Stream, Unanswered};
use crate::upstream::upload::Request;
use crate::upstream::{Endpoint, Message, Upstream, is_absent};

/// How often a stream is begun at one endpoint: a connection that has just said GOAWAY is no fault
/// of the request.
const BEGINS: usize = 3;

impl Attempts<'_> {
    /// On a stream of a connection that others share.
    pub(super) async fn on_stream(
        &mut self,
        endpoint: &Arc<Endpoint>,
        in_flight: InFlight,
        message: Message<Outgoing>,
    ) -> Attempt {
        let (upload, to_head) = (message.body.upload(), message.to_head);
        let mut request = Request::new(message, endpoint.scheme());
        for _ in 0..BEGINS {
            let connections = self.ctx.pools.streams();
            let claim = match connections.claim(self.upstream, endpoint).await {
                Ok(claim) => claim,
                Err(error) => {
                    self.begin(false);
                    self.upstream.failed(endpoint.id(), UpstreamFault::Refused);
                    return unconnected(request, &error);
                }
            };
            self.begin(claim.reused);
            let mut stream = match Stream::begin(claim, request) {
                Ok(stream) => stream,
                Err(back) => {
                    request = back;
                    continue;
                }
            };
            let failure = match self.head(&mut stream, upload.clone()).await {
                Ok(response) => {
                    self.trace.status = Some(response.status());
                    // What follows where nothing may (RFC 9110 section 6.4.1) is nobody's.
                    let status = response.status();
                    let none = to_head || matches!(status.as_u16(), 204 | 304);
                    let stream = Some(stream).filter(|stream| !none && !stream.is_answered());
                    let body = Body::new(stream, in_flight, self.upstream, endpoint.id());
                    return Attempt::Answered(response::accept_stream(
                        response,
                        body,
                        self.trailers,
                    ));
                }
                Err(failure) => failure,
            };
            match (failure, stream.take_back()) {
                (None, Some(back)) => request = back,
                (None, None) => return self.failed(endpoint, Failure::Failed),
                (Some(Failure::Failed), Some(back)) => {
                    self.upstream.failed(endpoint.id(), UpstreamFault::Failed);
                    return match back.into_message() {
                        Some(message) => Attempt::Lost(message, Failure::Failed),
                        None => Attempt::Broken(Failure::Failed),
                    };
                }
                (Some(failure), _) => return self.failed(endpoint, failure),
            }
        }
        unsent(request, Failure::Failed)
    }

    fn failed(&self, endpoint: &Endpoint, failure: Failure) -> Attempt {
        if let Some(fault) = failure.fault() {
            self.upstream.failed(endpoint.id(), fault);
        }
        Attempt::Broken(failure)
    }

    /// The response's head; without a failure, the endpoint did nothing about the request.
    async fn head(
        &self,
        stream: &mut Stream<Outgoing>,
        upload: Option<Arc<Upload>>,
    ) -> Result<Response<()>, Option<Failure>> {
        let time = self.upstream.timeouts().response;
        let mut armed = None;
        poll_fn(|cx| {
            if let Poll::Ready(answered) = stream.poll_head(cx) {
                return Poll::Ready(answered.map_err(|unanswered| match unanswered {
                    Unanswered::Broken(broken) => Some(Failure::from(broken)),
                    Unanswered::Refused => None,
                }));
            }
            let steps = upload.as_ref().map_or(0, |upload| upload.steps());
            if armed != Some(steps) {
                armed = Some(steps);
                stream.arm(time);
            }
            if stream.poll_timer(cx).is_ready() {
                // To an endpoint that takes no more, nobody owes anything.
                let awaits_client = !stream.is_deaf()
                    && upload.as_ref().is_some_and(|upload| upload.awaits_client());
                stream.arm(time);
                if !awaits_client || stream.poll_timer(cx).is_ready() {
                    return Poll::Ready(Err(Some(Failure::TimedOut)));
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Another endpoint may have it, unless some of its body is no longer there to be sent.
fn unsent(request: Request<Outgoing>, failure: Failure) -> Attempt {
    match request.into_message() {
        Some(message) => Attempt::Unsent(message, failure),
        None => Attempt::Broken(failure),
    }
}

/// The same where there was no connection.
fn unconnected(request: Request<Outgoing>, error: &std::io::Error) -> Attempt {
    match unsent(request, Failure::Refused) {
        Attempt::Unsent(message, _) if is_absent(error) => Attempt::Absent(message),
        attempt => attempt,
    }
}

/// The body of a response that comes on a stream.
#[derive(Debug)]
pub(super) struct Body {
    /// `None` once the body has ended, well or not.
    stream: Option<Stream<Outgoing>>,
    upstream: Arc<Upstream>,
    endpoint: u64,
    armed: bool,
    _in_flight: InFlight,
}

impl Body {
    fn new(
        stream: Option<Stream<Outgoing>>,
        in_flight: InFlight,
        upstream: &Arc<Upstream>,
        endpoint: u64,
    ) -> Self {
        Self {
            stream,
            upstream: Arc::clone(upstream),
            endpoint,
            armed: false,
            _in_flight: in_flight,
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.stream.is_none()
    }

    /// The next piece; trailers pass where `trailers` says so.
    pub(super) fn poll_frame(
        &mut self,
        trailers: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        let Poll::Ready(frame) = stream.poll_frame(cx) else {
            return self.poll_timer(cx).map(|failure| Some(Err(failure)));
        };
        self.armed = false;
        let frame = match frame {
            None => {
                self.stream = None;
                return Poll::Ready(None);
            }
            Some(Ok(frame)) => frame,
            Some(Err(broken)) => return Poll::Ready(Some(Err(self.broken(Failure::from(broken))))),
        };
        match frame.into_data() {
            Ok(data) => {
                if stream.is_answered() {
                    self.stream = None;
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Err(frame) => {
                self.stream = None;
                let frame = frame.into_trailers().ok().filter(|_| trailers);
                Poll::Ready(frame.map(|map| Ok(Frame::trailers(without_framing(map)))))
            }
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        let Some(stream) = &mut self.stream else { return Poll::Pending };
        if !self.armed {
            stream.arm(self.upstream.timeouts().read);
            self.armed = true;
        }
        ready!(stream.poll_timer(cx));
        Poll::Ready(self.broken(Failure::TimedOut))
    }

    /// Resets the stream and says why.
    fn broken(&mut self, failure: Failure) -> Failure {
        self.stream = None;
        if let Some(fault) = failure.fault() {
            self.upstream.failed(self.endpoint, fault);
        }
        failure
    }
}

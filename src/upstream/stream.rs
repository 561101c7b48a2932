//! One exchange on a stream of an HTTP/2 connection to an endpoint.
//!
//! Owns the response while it is received, and one timer; polled in place by whoever holds it, and
//! reset when it is dropped before its end. The endpoint is not trusted: heads are capped as over
//! HTTP/1.1, and lengths that contradict the frames end the exchange.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::ResponseFuture;
use hyper::body::{Body, Frame};
use hyper::header::{CONTENT_LENGTH, HeaderMap};
use hyper::{Response, Version};
use tokio::time::{Instant, Sleep, sleep};

use super::connection::{Broken, NextFrame};
use super::http2::Claim;
use super::upload::{Request, Upload};

/// An exchange under way.
#[derive(Debug)]
pub(crate) struct Stream<B> {
    upload: Upload<B>,
    answer: Answer,
    /// Interim responses so far.
    interim: usize,
    timer: Pin<Box<Sleep>>,
    _claim: Claim,
}

#[derive(Debug)]
enum Answer {
    Awaited(ResponseFuture),
    Body(RecvStream),
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum Unanswered<E> {
    /// The endpoint may have acted on the request.
    Broken(Broken<E>),
    /// It said that it has not: the stream was refused, or came after what its GOAWAY says was the
    /// last (RFC 9113 sections 6.8 and 8.7).
    Refused,
}

/// As over HTTP/1.1.
const MOST_HEADERS: usize = 100;
const MOST_INTERIM: usize = 16;

impl<B: Body<Data = Bytes> + Unpin> Stream<B> {
    /// Sends the head of a request.
    ///
    /// # Errors
    /// The request, of which nothing was sent: the connection takes no more streams.
    pub(crate) fn begin(claim: Claim, request: Request<B>) -> Result<Self, Request<B>> {
        let (upload, answer) = Upload::begin(claim.requests(), request)?;
        Ok(Self {
            upload,
            answer: Answer::Awaited(answer),
            interim: 0,
            timer: Box::pin(sleep(Duration::ZERO)),
            _claim: claim,
        })
    }

    /// Sends what can be sent now, and waits for the response's head.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, Unanswered<B::Error>>> {
        self.upload.drive(cx).map_err(Unanswered::Broken)?;
        let Answer::Awaited(answer) = &mut self.answer else {
            return Poll::Ready(Err(Unanswered::Broken(Broken::Closed)));
        };
        while let Poll::Ready(Some(Ok(_))) = answer.poll_informational(cx) {
            self.interim += 1;
            if self.interim > MOST_INTERIM {
                return Poll::Ready(Err(Unanswered::Broken(Broken::Malformed)));
            }
        }
        let response = match ready!(Pin::new(answer).poll(cx)) {
            Ok(response) => response,
            Err(error) if refused(&error) => return Poll::Ready(Err(Unanswered::Refused)),
            Err(error) => return Poll::Ready(Err(Unanswered::Broken(broken(&error)))),
        };
        let (mut parts, body) = response.into_parts();
        if parts.headers.len() > MOST_HEADERS
            || parts.headers.get_all(CONTENT_LENGTH).iter().count() > 1
            || parts.status.is_informational()
        {
            return Poll::Ready(Err(Unanswered::Broken(Broken::Malformed)));
        }
        parts.version = Version::HTTP_11;
        self.answer = Answer::Body(body);
        Poll::Ready(Ok(Response::from_parts(parts, ())))
    }

    /// The next piece of the response's body, or its trailers; `None` behind the last. What is left
    /// of the request goes on being sent.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<NextFrame<B::Error>>> {
        self.upload.drive(cx)?;
        let Answer::Body(body) = &mut self.answer else {
            return Poll::Ready(Some(Err(Broken::Closed)));
        };
        match ready!(body.poll_data(cx)) {
            Some(Ok(data)) => {
                // Whoever polls has room: the endpoint may send as much again. That it fails says
                // that the stream is over, which the next poll tells.
                let _over = body.flow_control().release_capacity(data.len()).is_err();
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            Some(Err(error)) => return Poll::Ready(Some(Err(broken(&error)))),
            None => {}
        }
        Poll::Ready(match ready!(body.poll_trailers(cx)) {
            Ok(Some(trailers)) if trailers.len() > MOST_HEADERS => Some(Err(Broken::Malformed)),
            Ok(trailers) => trailers.map(|trailers: HeaderMap| Ok(Frame::trailers(trailers))),
            Err(error) => Some(Err(broken(&error))),
        })
    }

    /// Whether the response has no byte left.
    pub(crate) fn is_answered(&self) -> bool {
        match &self.answer {
            Answer::Awaited(_) => false,
            Answer::Body(body) => body.is_end_stream(),
        }
    }

    /// Whether the endpoint takes no more of the request.
    pub(crate) fn is_deaf(&self) -> bool {
        self.upload.is_deaf()
    }

    /// The request, whole, if it may be sent again.
    pub(crate) fn take_back(self) -> Option<Request<B>> {
        self.upload.take_back()
    }

    /// Sets the one timer to go off after `time` from now.
    pub(crate) fn arm(&mut self, time: Duration) {
        let now = Instant::now();
        const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);
        self.timer.as_mut().reset(now.checked_add(time).unwrap_or(now + NEVER));
    }

    /// Ready when the timer has gone off.
    pub(crate) fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().poll(cx)
    }
}

/// Whether the endpoint said that it did nothing about the request. The h2 crate gives a GOAWAY of
/// the other side to the streams that came after its last, and to no others.
fn refused(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
}

fn broken<E>(error: &h2::Error) -> Broken<E> {
    // What the crate itself resets or ends is what the endpoint did wrong.
    if error.is_library() { Broken::Malformed } else { Broken::Closed }
}

//! The body of a request as it goes to an endpoint.
//!
//! Owns what the exchange must know while the connection has the body: whether it is complete, and
//! if not, whether the client or the endpoint keeps it waiting. Errors of the client's side go
//! through the connection as [`Failure`] and come out as the same.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::Failure;
use super::buffer::Gathered;
use crate::http::body::RequestBody;

/// What is sent to an endpoint after the head.
#[derive(Debug)]
pub struct Outgoing(Content);

#[derive(Debug)]
enum Content {
    Empty,
    Gathered(Box<Gathered>, Arc<Upload>),
    Stream(Box<RequestBody>, Arc<Upload>),
}

/// How far a body is, for the exchange that waits for the response.
#[derive(Debug, Default)]
pub(super) struct Upload {
    /// Counts frames and the end, so that progress is a number that has changed.
    steps: AtomicU64,
    /// The endpoint would take more, the client has not sent it yet.
    awaits_client: AtomicBool,
}

impl Outgoing {
    /// No body.
    pub(super) fn empty() -> Self {
        Self(Content::Empty)
    }

    /// A body that is here as a whole.
    pub(super) fn gathered(body: Gathered) -> Self {
        Self(Content::Gathered(Box::new(body), Arc::default()))
    }

    /// A body that is still arriving.
    pub(super) fn stream(body: RequestBody) -> Self {
        Self(Content::Stream(Box::new(body), Arc::default()))
    }

    /// Its progress, unless there is no body.
    pub(super) fn upload(&self) -> Option<Arc<Upload>> {
        match &self.0 {
            Content::Empty => None,
            Content::Gathered(_, upload) | Content::Stream(_, upload) => Some(Arc::clone(upload)),
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match &mut self.0 {
            Content::Empty => Poll::Ready(None),
            Content::Gathered(body, upload) => {
                let frame = Pin::new(body.as_mut()).poll_frame(cx);
                if frame.is_ready() {
                    upload.step();
                }
                frame
            }
            Content::Stream(body, upload) => {
                let frame = Pin::new(body.as_mut()).poll_frame(cx);
                match frame {
                    Poll::Ready(frame) => {
                        upload.step();
                        let failed = |error| Failure::from(&error);
                        Poll::Ready(frame.map(|frame| frame.map_err(failed)))
                    }
                    Poll::Pending => {
                        upload.awaits_client.store(true, Ordering::Relaxed);
                        Poll::Pending
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Empty => true,
            Content::Gathered(body, _) => body.is_end_stream(),
            Content::Stream(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Empty => SizeHint::with_exact(0),
            Content::Gathered(body, _) => body.size_hint(),
            Content::Stream(body, _) => body.size_hint(),
        }
    }
}

impl Upload {
    /// A number that changes with every piece sent.
    pub(super) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Whether it is the client who keeps the body waiting.
    pub(super) fn awaits_client(&self) -> bool {
        self.awaits_client.load(Ordering::Relaxed)
    }

    fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.awaits_client.store(false, Ordering::Relaxed);
    }
}

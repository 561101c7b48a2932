//! Where a response's bytes come from, and why they may end too early.
//!
//! Whoever makes them, `gateway::exchange` counts them.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};

use super::compressed::Compressed;
use super::deadline::Timed;
use super::stream_end::Bounded;
use super::tunnel;
use crate::proxy::{self, Failure};
use crate::static_files;
use crate::telemetry::labels::Reason;

/// Where a response's bytes come from; concrete kinds, so that no response costs an allocation.
#[derive(Debug)]
pub(super) enum Inner {
    Bytes(Option<Bytes>),
    /// One of the others, on its way through an encoder.
    Compressed(Box<Compressed>),
    File(static_files::Body),
    Proxy(proxy::Body),
    /// One of the others, until its token ends.
    Bounded(Box<Bounded>),
    /// One of the others, until its time is over.
    Timed(Box<Timed>),
    /// Nothing; what follows is no body.
    Tunnel(Box<tunnel::Waiting>),
}

/// A response that can't be completed: the connection or the stream is cut, so that the client
/// can't take the part for the whole.
#[derive(Debug)]
pub enum BodyError {
    /// It could not be compressed.
    Compression(std::io::Error),
    /// The file could not be read to its end.
    File(std::io::Error),
    /// The upstream's body broke off.
    Proxy(Failure),
    /// The token that it was sent for has ended.
    TokenEnded(Reason),
}

impl Inner {
    /// Says how long it is, and no more: over HTTP/2 hyper would send it in answer to HEAD as well.
    /// The other kinds have seen the method.
    pub(super) fn leave_to_get(&mut self, headers: &mut HeaderMap) {
        if let Self::Bytes(bytes) = self
            && let Some(bytes) = bytes.take()
        {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        }
    }
}

impl Body for Inner {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Bounded(body) => Pin::new(body.as_mut()).poll_frame(cx),
            Self::Compressed(body) => Pin::new(body.as_mut()).poll_frame(cx),
            Self::Bytes(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::File(file) => {
                Pin::new(file).poll_frame(cx).map(|frame| frame.map(|f| f.map_err(BodyError::File)))
            }
            Self::Proxy(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|f| f.map_err(BodyError::Proxy))),
            Self::Timed(body) => Pin::new(body.as_mut()).poll_frame(cx),
            Self::Tunnel(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Bounded(body) => body.is_end_stream(),
            Self::Bytes(bytes) => bytes.is_none(),
            Self::Compressed(body) => body.is_end_stream(),
            Self::File(file) => file.is_end_stream(),
            Self::Proxy(body) => body.is_end_stream(),
            Self::Timed(body) => body.is_end_stream(),
            Self::Tunnel(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bounded(body) => body.size_hint(),
            Self::Bytes(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Compressed(body) => body.size_hint(),
            Self::File(file) => file.size_hint(),
            Self::Proxy(body) => body.size_hint(),
            Self::Timed(body) => body.size_hint(),
            Self::Tunnel(_) => SizeHint::with_exact(0),
        }
    }
}

impl From<Bytes> for Inner {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl From<Compressed> for Inner {
    fn from(body: Compressed) -> Self {
        Self::Compressed(Box::new(body))
    }
}

impl From<static_files::Body> for Inner {
    fn from(body: static_files::Body) -> Self {
        Self::File(body)
    }
}

impl From<proxy::Body> for Inner {
    fn from(body: proxy::Body) -> Self {
        Self::Proxy(body)
    }
}

// === impl BodyError ===

impl BodyError {
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Compression(_) | Self::File(_) => Reason::Internal,
            Self::Proxy(error) => error.reason(),
            Self::TokenEnded(reason) => *reason,
        }
    }
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Compression(error) => write!(f, "response can't be compressed: {error}"),
            Self::File(error) => write!(f, "file can't be read to its end: {error}"),
            Self::Proxy(error) => write!(f, "upstream's body broke off: {error}"),
            Self::TokenEnded(reason) => write!(f, "the token of the request ended: {reason}"),
        }
    }
}

impl std::error::Error for BodyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_in_answer_to_head_is_a_length_and_nothing_else() {
        let mut headers = HeaderMap::new();
        let mut inner = Inner::from(Bytes::from_static(b"twelve bytes"));
        inner.leave_to_get(&mut headers);
        assert_eq!(headers[CONTENT_LENGTH], "12");
        assert!(inner.is_end_stream());

        let mut headers = HeaderMap::new();
        Inner::from(Bytes::new()).leave_to_get(&mut headers);
        assert!(headers.is_empty(), "nothing is known of a length that nobody gave");
    }
}

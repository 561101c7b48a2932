//! One request on its way to an endpoint: its head, then its body in the framing the head announced.
//!
//! Owns the order of bytes and the count of those that left. A body that turns out longer or shorter
//! than announced breaks the exchange: what follows would be read as another request (H1).

use std::fmt::Write as _;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::Body;
use tokio::io::AsyncWrite;

use super::connect::Stream;
use super::connection::Broken;

/// A request as it will be written.
#[derive(Debug)]
pub struct Message<B> {
    /// The whole head, with the empty line that ends it; its framing must be the one of `length`.
    pub head: Vec<u8>,
    /// What follows.
    pub body: B,
    /// Bytes of the body; `None` where the head says `chunked`.
    pub length: Option<u64>,
    /// The method is HEAD: the response has no body, whatever it says.
    pub to_head: bool,
    /// It asks to switch protocols: the answer may be a 101.
    pub may_switch: bool,
}

/// A [`Message`] under way.
#[derive(Debug)]
pub(super) struct Sending<B> {
    message: Message<B>,
    /// The piece of the body that is being written.
    piece: Piece,
    /// Bytes written of the head and the piece.
    written: usize,
    /// A byte has left.
    begun: bool,
    /// The body has been asked for data.
    tapped: bool,
    /// Bytes of the body that are still to come, where the head says how many.
    left: Option<u64>,
    ended: bool,
}

/// Part of a body with its framing.
#[derive(Debug, Default)]
struct Piece {
    size_line: String,
    data: Bytes,
    end: &'static [u8],
}

impl Piece {
    fn len(&self) -> usize {
        self.size_line.len() + self.data.len() + self.end.len()
    }
}

impl<B: Body<Data = Bytes> + Unpin> Sending<B> {
    pub(super) fn new(message: Message<B>) -> Self {
        let left = message.length;
        let ended = left == Some(0);
        Self {
            message,
            piece: Piece::default(),
            written: 0,
            begun: false,
            tapped: false,
            left,
            ended,
        }
    }

    pub(super) fn to_head(&self) -> bool {
        self.message.to_head
    }

    /// Whether every byte has left.
    pub(super) fn is_complete(&self) -> bool {
        self.ended && self.written == self.message.head.len() + self.piece.len()
    }

    /// Whether a byte has left, which the endpoint may have acted upon.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// The message as it was, unless some of its body has been taken.
    pub(super) fn into_message(self) -> Option<Message<B>> {
        (!self.tapped).then_some(self.message)
    }

    /// Writes as much as the socket takes and the body gives. Ready once all has left.
    pub(super) fn poll(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken<B::Error>>> {
        loop {
            // The first piece leaves together with the head, if it is there.
            let waiting = !self.ended && self.piece.len() == 0 && self.poll_body(cx)?.is_pending();
            if self.written < self.message.head.len() + self.piece.len() {
                ready!(self.poll_write(stream, cx))?;
            } else if self.ended {
                return Poll::Ready(Ok(()));
            } else if waiting {
                return Poll::Pending;
            }
        }
    }

    /// The next piece; ready with an empty one where there was nothing worth writing.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Broken<B::Error>> {
        self.tapped = true;
        let frame = match Pin::new(&mut self.message.body).poll_frame(cx) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Some(frame)) => frame.map_err(Broken::Body)?,
            Poll::Ready(None) => {
                self.end()?;
                return Ok(Poll::Ready(()));
            }
        };
        // Trailers of a request are never sent on (H14).
        let Ok(data) = frame.into_data() else { return Ok(Poll::Ready(())) };
        match &mut self.left {
            Some(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Broken::Length)?;
                self.ended = *left == 0;
                self.piece = Piece { data, ..Piece::default() };
            }
            None if data.is_empty() => {}
            None => {
                let mut size_line = String::new();
                // Writing to a string can't fail.
                let _written = write!(size_line, "{:x}\r\n", data.len()).is_ok();
                self.piece = Piece { size_line, data, end: b"\r\n" };
            }
        }
        Ok(Poll::Ready(()))
    }

    fn end(&mut self) -> Result<(), Broken<B::Error>> {
        match self.left {
            Some(0) => {}
            Some(_) => return Err(Broken::Length),
            None => self.piece = Piece { end: b"0\r\n\r\n", ..Piece::default() },
        }
        self.ended = true;
        Ok(())
    }

    fn poll_write(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken<B::Error>>> {
        let parts: [&[u8]; 4] =
            [&self.message.head, self.piece.size_line.as_bytes(), &self.piece.data, self.piece.end];
        let mut skip = self.written;
        let slices = parts.map(|part| {
            let here = skip.min(part.len());
            skip -= here;
            IoSlice::new(part.get(here..).unwrap_or_default())
        });
        let stream = Pin::new(stream);
        let written = if self.piece.len() == 0 {
            // Most requests are a head and no more: one slice is less work for the system.
            ready!(stream.poll_write(cx, &slices[0]))
        } else {
            ready!(stream.poll_write_vectored(cx, &slices))
        };
        let Ok(written @ 1..) = written else {
            return Poll::Ready(Err(Broken::Closed));
        };
        self.begun = true;
        self.written += written;
        if self.written == self.message.head.len() + self.piece.len() && !self.ended {
            // Only the head's length is kept: it was written, and may be asked for again.
            self.written = self.message.head.len();
            self.piece = Piece::default();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
#[path = "sending_tests.rs"]
mod tests;

//! What an endpoint sends: the bytes read from it, its heads, and the body after the last of them.
//!
//! Trusts nothing of the endpoint: heads are capped in size and number, because a row of interim
//! responses could be endless; a head or body with two readings breaks the exchange. What was read
//! beyond the end of a response stays here and shows that nobody may use the connection again.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use hyper::body::Frame;
use hyper::ext::ReasonPhrase;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode, Version};
use tokio::io::AsyncReadExt;
use tokio::task::coop::unconstrained;

use super::connect::Stream;
use super::framing::{Framing, Malformed, Piece};

/// The bytes of one connection, and how far they have been understood.
#[derive(Debug)]
pub(super) struct Receiving {
    /// Read and not used up.
    input: BytesMut,
    /// Input that holds no end of a head.
    scanned: usize,
    /// The last read took all there was room for: the next may be larger.
    plenty: bool,
    framing: Framing,
    interim: usize,
    /// The endpoint will go on after this response.
    keep_alive: bool,
    /// The request asked to switch protocols.
    may_switch: bool,
}

/// Why there is no more to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The endpoint closed the connection.
    Closed,
    /// The connection broke: what came before may be half of a body.
    Broke,
    /// What came is not HTTP, or HTTP with two readings.
    Malformed,
}

/// Largest head of a response, and largest piece of a body that is read at once: 64 KiB, eight
/// times what nginx takes by default, and still little for each of a thousand slow clients.
const LARGEST_HEAD: usize = 64 * 1024;
const LARGEST_READ: usize = 64 * 1024;

/// What is read at once as long as there is no reason to take more.
const READ: usize = 8 * 1024;

const MOST_HEADERS: usize = 100;

/// Interim responses before the final one: early hints come in ones and twos.
const MOST_INTERIM: usize = 16;

impl Receiving {
    pub(super) fn new() -> Self {
        Self {
            input: BytesMut::new(),
            scanned: 0,
            plenty: false,
            framing: Framing::Length(0),
            interim: 0,
            keep_alive: true,
            may_switch: false,
        }
    }

    /// Makes ready for the response to another request.
    pub(super) fn begin(&mut self, may_switch: bool) {
        self.interim = 0;
        self.may_switch = may_switch;
        self.framing = Framing::UntilClose;
        if self.input.is_empty() {
            // From the front again: few lines of the processor's cache for each connection.
            self.input.reserve(READ);
        }
    }

    /// Whether the response has ended where it should and the endpoint goes on.
    pub(super) fn is_settled(&self) -> bool {
        self.keep_alive && self.is_complete() && self.input.is_empty()
    }

    /// Whether the body has no byte left.
    pub(super) fn is_complete(&self) -> bool {
        match self.framing {
            Framing::Chunked(chunked) => chunked.is_at_end(),
            Framing::Length(left) => left == 0,
            Framing::UntilClose => false,
        }
    }

    /// Bytes of the body that are still to come, where that is known.
    pub(super) fn length(&self) -> Option<u64> {
        match self.framing {
            Framing::Chunked(_) | Framing::UntilClose => None,
            Framing::Length(left) => Some(left),
        }
    }

    /// Whether an idle connection is still good: nothing to read, not even its end.
    pub(super) fn is_quiet(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> bool {
        if self.input.is_empty() && self.input.capacity() > READ {
            self.input = BytesMut::new();
        }
        if !self.input.is_empty() {
            return false;
        }
        // A task that has done much already is told to wait whatever there is to read: bytes that
        // nobody asked for would then be the answer to the next request.
        let read = unconstrained(poll_fn(|cx| self.poll_read(stream, cx)));
        pin!(read).poll(cx).is_pending()
    }

    /// The head of the final response.
    pub(super) fn poll_head(
        &mut self,
        stream: &mut Stream,
        to_head: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, Ended>> {
        loop {
            // Before the first byte there is nothing to parse.
            if !self.input.is_empty() {
                match self.parse_head(to_head)? {
                    Some(head) if head.status().is_informational() && !is_switch(&head) => {
                        self.interim += 1;
                        if self.interim > MOST_INTERIM {
                            return Poll::Ready(Err(Ended::Malformed));
                        }
                        continue;
                    }
                    Some(head) => return Poll::Ready(Ok(head)),
                    None if self.input.len() >= LARGEST_HEAD => {
                        return Poll::Ready(Err(Ended::Malformed));
                    }
                    None => {}
                }
            }
            ready!(self.poll_read(stream, cx))?;
        }
    }

    /// The next piece of the body; `None` behind the last.
    pub(super) fn poll_frame(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Ended>>> {
        loop {
            match self.buffered_frame() {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if self.is_complete() => return Poll::Ready(None),
                Ok(None) => {}
                Err(Malformed) => return Poll::Ready(Some(Err(Ended::Malformed))),
            }
            match ready!(self.poll_read(stream, cx)) {
                Ok(()) => {}
                Err(Ended::Closed) if self.framing == Framing::UntilClose => {
                    self.framing = Framing::Length(0);
                    self.keep_alive = false;
                }
                Err(ended) => return Poll::Ready(Some(Err(ended))),
            }
        }
    }

    /// Reads once, at least a byte.
    fn poll_read(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        if self.input.capacity() - self.input.len() < READ / 2 {
            // What was used up is used again, if nobody else holds it.
            self.input.reserve(if self.plenty { LARGEST_READ } else { READ });
        }
        match ready!(pin!(stream.read_buf(&mut self.input)).poll(cx)) {
            Ok(1..) => {
                self.plenty = self.input.len() == self.input.capacity();
                Poll::Ready(Ok(()))
            }
            Ok(0) => Poll::Ready(Err(Ended::Closed)),
            Err(_) => Poll::Ready(Err(Ended::Broke)),
        }
    }

    /// The next head in the input, if it is there as a whole.
    fn parse_head(&mut self, to_head: bool) -> Result<Option<Response<()>>, Ended> {
        // What speaks first, and not HTTP, may never end what we wait for. The parser would skip
        // empty lines here, if the rest is there already.
        if !may_begin(&self.input) {
            return Err(Ended::Malformed);
        }
        let Some(size) = end_of_head(&self.input, self.scanned) else {
            // What came last may be the beginning of the end.
            self.scanned = self.input.len().saturating_sub(2);
            return Ok(None);
        };
        if size > LARGEST_HEAD {
            return Err(Ended::Malformed);
        }
        self.scanned = 0;
        let head = response(&self.input.split_to(size).freeze())?;
        if is_switch(&head) {
            // Where nobody asked for another protocol, what follows would be nobody's.
            if !self.may_switch {
                return Err(Ended::Malformed);
            }
            self.framing = Framing::Length(0);
            self.keep_alive = false;
        } else if !head.status().is_informational() {
            self.framing =
                Framing::of_response(head.version(), head.status(), to_head, head.headers())?;
            self.keep_alive = keeps_alive(head.version(), head.headers());
        }
        Ok(Some(head))
    }

    /// What was read behind a 101.
    pub(super) fn into_input(self) -> Bytes {
        self.input.freeze()
    }

    /// The next piece of the body in the input, if there is any.
    fn buffered_frame(&mut self) -> Result<Option<Frame<Bytes>>, Malformed> {
        let here = self.input.len();
        let data = match &mut self.framing {
            Framing::Length(left) => {
                let data = usize::try_from(*left).unwrap_or(usize::MAX).min(here);
                *left -= data as u64;
                data
            }
            Framing::UntilClose => here,
            Framing::Chunked(chunked) => {
                let (used, piece) = chunked.read(&self.input)?;
                self.input.advance(used);
                match piece {
                    Piece::Data(size) => size,
                    Piece::End(trailers) => return Ok(trailers.map(Frame::trailers)),
                    Piece::More => 0,
                }
            }
        };
        Ok((data > 0).then(|| Frame::data(self.input.split_to(data).freeze())))
    }
}

fn is_switch(head: &Response<()>) -> bool {
    head.status() == StatusCode::SWITCHING_PROTOCOLS
}

impl From<Malformed> for Ended {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

/// Where the first head of the input ends: behind its first empty line.
fn end_of_head(input: &[u8], scanned: usize) -> Option<usize> {
    let unseen = input.get(scanned..).unwrap_or_default();
    memchr::memchr_iter(b'\n', unseen).map(|at| scanned + at + 1).find_map(|next| {
        match input.get(next..).unwrap_or_default() {
            [b'\r', b'\n', ..] => Some(next + 2),
            [b'\n', ..] => Some(next + 1),
            _ => None,
        }
    })
}

/// Whether a head may begin like this (RFC 9112 section 4).
fn may_begin(input: &[u8]) -> bool {
    input.iter().zip(b"HTTP/1.").all(|(byte, expected)| byte == expected)
}

/// A whole head as its types, whose values share its bytes.
fn response(head: &Bytes) -> Result<Response<()>, Ended> {
    let mut lines = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, head, &mut lines) {
        Ok(httparse::Status::Complete(size)) if size == head.len() => {}
        Ok(_) | Err(_) => return Err(Ended::Malformed),
    }
    let mut response = Response::new(());
    let status = StatusCode::from_u16(parsed.code.unwrap_or_default());
    *response.status_mut() = status.map_err(|_| Ended::Malformed)?;
    *response.version_mut() =
        if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let reason = parsed.reason.unwrap_or_default();
    if !reason.is_empty() && response.status().canonical_reason() != Some(reason) {
        let reason = ReasonPhrase::try_from(head.slice_ref(reason.as_bytes()));
        response.extensions_mut().insert(reason.map_err(|_| Ended::Malformed)?);
    }
    let headers = response.headers_mut();
    // Those of ours come to them.
    headers.reserve(parsed.headers.len() + 4);
    for line in &*parsed.headers {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| Ended::Malformed)?;
        // The parser's slices are parts of the head, as `slice_ref` asks of them.
        let value = HeaderValue::from_maybe_shared(head.slice_ref(line.value));
        headers.append(name, value.map_err(|_| Ended::Malformed)?);
    }
    Ok(response)
}

/// RFC 9112 section 9.3.
fn keeps_alive(version: Version, headers: &HeaderMap) -> bool {
    let says = |word: &str| {
        headers.get_all(header::CONNECTION).iter().any(|line| {
            let mut words = line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            words.any(|said| said.eq_ignore_ascii_case(word.as_bytes()))
        })
    };
    !says("close") && (version == Version::HTTP_11 || says("keep-alive"))
}

#[cfg(test)]
#[path = "receiving_tests.rs"]
mod tests;

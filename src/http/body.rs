//! The request body on its way in: counted, limited, and never waited for endlessly.
//!
//! Owns what hyper has no setting for: the largest body, the longest silence, the slowest rate.
//! Trusts hyper's decoding of the framing, not the client's pace or announcements: `max` is
//! enforced on the bytes that arrive. Refuses by ending in an error, so that whoever forwards the
//! body breaks off instead of sending half of it as if it were whole. Trailers are dropped (H14):
//! a `Host` or an identity header there would come after every check.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};

/// A client's body within its limits.
///
/// Only the time spent waiting for the client counts against it: while nobody polls, because the
/// upstream takes nothing, no clock runs.
#[derive(Debug)]
pub struct RequestBody {
    inner: Incoming,
    limits: BodyLimits,
    count: Arc<BodyCount>,
    pace: Pace,
    /// It comes over HTTP/2.
    is_stream: bool,
    /// Made at the first wait: most bodies are there when they are asked for.
    silence: Option<Pin<Box<Sleep>>>,
}

/// What a request's body may measure and take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// Bytes, without framing.
    pub max: u64,
    /// Time without a byte.
    pub idle: Duration,
    /// Whether less than 1 KiB/s after 10 s is too slow.
    pub paced: bool,
}

/// How far a body has come; shared with whoever records the exchange.
#[derive(Debug, Default)]
pub struct BodyCount {
    bytes: AtomicU64,
    state: AtomicU8,
    /// Boxed, since few bodies have one.
    copy: Option<Box<Copied>>,
}

/// The beginning of a body, beside the body.
#[derive(Debug)]
struct Copied {
    bytes: Mutex<Vec<u8>>,
    limit: usize,
}

/// Why a body ended early.
#[derive(Debug)]
pub enum RequestBodyError {
    /// The client broke off, or broke the framing.
    Client(hyper::Error),
    /// The client reset the stream.
    TakenBack,
    /// Silence, or less than 1 KiB/s after 10 s.
    TimedOut,
    /// More bytes than `max`.
    TooLarge,
}

/// [`RequestBodyError`] without its cause, for whoever sees the [`BodyCount`] only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyFailure {
    /// The client broke off, or broke the framing.
    Client,
    /// Silence, or too slow.
    TimedOut,
    /// Too many bytes.
    TooLarge,
}

// === impl RequestBody ===

impl RequestBody {
    /// Puts `inner` under `limits`.
    pub fn new(inner: Incoming, limits: BodyLimits) -> Self {
        Self::counting(inner, limits, BodyCount::default())
    }

    fn counting(inner: Incoming, limits: BodyLimits, count: BodyCount) -> Self {
        let count = Arc::new(count);
        if inner.is_end_stream() {
            count.set(FINISHED);
        }
        Self { inner, limits, count, pace: Pace::default(), is_stream: false, silence: None }
    }

    /// Keeps a copy of the body, if it has no more than `limit` bytes, beside its count.
    pub fn copied(inner: Incoming, limits: BodyLimits, limit: usize) -> Self {
        let copy = Copied { bytes: Mutex::default(), limit };
        let count = BodyCount { copy: Some(Box::new(copy)), ..BodyCount::default() };
        Self::counting(inner, limits, count)
    }

    /// It comes over HTTP/2, where a client may take it back with a code that means no error: hyper
    /// then ends it as if it were whole.
    pub fn over_http2(self) -> Self {
        Self { is_stream: true, ..self }
    }

    /// The count, which outlives the body.
    pub fn counter(&self) -> Arc<BodyCount> {
        Arc::clone(&self.count)
    }

    /// Waits for the end of a body that announced itself as empty; h2 refuses any byte of it.
    pub async fn end(mut self) -> Result<(), RequestBodyError> {
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {
            frame?;
        }
        Ok(())
    }

    fn arrived(&mut self, data: Bytes) -> Result<Frame<Bytes>, RequestBodyError> {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let bytes = self.count.add(length);
        if bytes > self.limits.max {
            return Err(RequestBodyError::TooLarge);
        }
        if let Some(copy) = &self.count.copy {
            copy.take(&data);
        }
        self.pace.resume(Instant::now);
        // Not `end_stream` only once the consumer asks: with a Content-Length it never will.
        if self.inner.is_end_stream() {
            self.count.set(FINISHED);
        } else if self.limits.paced && self.pace.is_too_slow(bytes) {
            return Err(RequestBodyError::TimedOut);
        }
        Ok(Frame::data(data))
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<RequestBodyError> {
        if let Some(since) = self.pace.begin_wait(Instant::now) {
            let deadline = since + self.limits.idle;
            match &mut self.silence {
                Some(timer) => timer.as_mut().reset(deadline),
                None => self.silence = Some(Box::pin(sleep_until(deadline))),
            }
        }
        match &mut self.silence {
            Some(timer) => {
                ready!(timer.as_mut().poll(cx));
                Poll::Ready(RequestBodyError::TimedOut)
            }
            None => Poll::Pending,
        }
    }

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        loop {
            match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Pending => return self.poll_silence(cx).map(|error| Some(Err(error))),
                Poll::Ready(None) if self.is_stream && !self.inner.is_end_stream() => {
                    return Poll::Ready(Some(Err(RequestBodyError::TakenBack)));
                }
                Poll::Ready(None) => {
                    self.count.set(FINISHED);
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Some(Err(RequestBodyError::Client(error))));
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => {
                        return Poll::Ready(Some(self.arrived(data)));
                    }
                    // Empty DATA frames of HTTP/2 are no progress; trailers are dropped.
                    Ok(_) | Err(_) => {}
                },
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = self.get_mut();
        if !this.count.is_streaming() {
            return Poll::Ready(None);
        }
        let polled = ready!(this.poll_data(cx));
        if let Some(Err(error)) = &polled {
            this.count.set(error.failure().as_state());
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

// === impl BodyCount ===

const STREAMING: u8 = 0;
const FINISHED: u8 = 1;

impl BodyCount {
    /// Bytes that have arrived.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the whole body has arrived; true from the start for a request without one.
    pub fn is_finished(&self) -> bool {
        self.state.load(Ordering::Acquire) == FINISHED
    }

    /// Why the body ended early, if it did.
    pub fn failure(&self) -> Option<BodyFailure> {
        let state = self.state.load(Ordering::Acquire);
        BodyFailure::ALL.into_iter().find(|failure| failure.as_state() == state)
    }

    /// The copy of a body that has arrived whole, if one was asked for and it was short enough.
    pub fn copy(&self) -> Option<Vec<u8>> {
        let copy = self.copy.as_ref().filter(|_| self.is_finished())?;
        Some(std::mem::take(&mut *copy.bytes.lock())).filter(|bytes| bytes.len() <= copy.limit)
    }

    /// Counts bytes that came after the body: those of a switched connection.
    pub fn came(&self, bytes: u64) {
        self.add(bytes);
    }

    fn is_streaming(&self) -> bool {
        self.state.load(Ordering::Acquire) == STREAMING
    }

    fn add(&self, length: u64) -> u64 {
        self.bytes.fetch_add(length, Ordering::Relaxed).saturating_add(length)
    }

    fn set(&self, state: u8) {
        self.state.store(state, Ordering::Release);
    }
}

impl Copied {
    /// One byte more than the limit says that it was not enough.
    fn take(&self, data: &[u8]) {
        let mut bytes = self.bytes.lock();
        let room = (self.limit + 1).saturating_sub(bytes.len());
        bytes.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
    }
}

// === impl RequestBodyError ===

impl RequestBodyError {
    /// The error without its cause.
    pub const fn failure(&self) -> BodyFailure {
        match self {
            Self::Client(_) | Self::TakenBack => BodyFailure::Client,
            Self::TimedOut => BodyFailure::TimedOut,
            Self::TooLarge => BodyFailure::TooLarge,
        }
    }
}

impl fmt::Display for RequestBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client(_) | Self::TakenBack => "the client broke off its body",
            Self::TimedOut => "the body did not arrive in time",
            Self::TooLarge => "the body is too large",
        })
    }
}

impl std::error::Error for RequestBodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Client(error) => Some(error),
            Self::TakenBack | Self::TimedOut | Self::TooLarge => None,
        }
    }
}

impl BodyFailure {
    const ALL: [Self; 3] = [Self::Client, Self::TimedOut, Self::TooLarge];

    const fn as_state(self) -> u8 {
        match self {
            Self::Client => 2,
            Self::TimedOut => 3,
            Self::TooLarge => 4,
        }
    }
}

/// How long a client let us wait, in all and since its last byte.
#[derive(Debug, Default)]
struct Pace {
    waited: Duration,
    since: Option<Instant>,
}

impl Pace {
    /// Below this much waiting a mobile network's start is not told from malice.
    const GRACE: Duration = Duration::from_secs(10);
    /// A client that drips a byte before each idle deadline would hold its exchange for days.
    const BYTES_PER_SECOND: u128 = 1024;

    /// The moment this wait began, if it begins now.
    fn begin_wait(&mut self, now: impl Fn() -> Instant) -> Option<Instant> {
        self.since.is_none().then(|| *self.since.insert(now()))
    }

    fn resume(&mut self, now: impl Fn() -> Instant) {
        if let Some(since) = self.since.take() {
            self.waited += now().saturating_duration_since(since);
        }
    }

    /// Judged when bytes arrive; silence has its own deadline.
    fn is_too_slow(&self, bytes: u64) -> bool {
        self.waited > Self::GRACE
            && u128::from(bytes) * 1000 < self.waited.as_millis() * Self::BYTES_PER_SECOND
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;

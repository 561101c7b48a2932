//! A response's body while it is compressed.
//!
//! Frames are taken one at a time, so that no more than one frame and what became of it are in
//! memory, however slow the client. Anything but a small frame is encoded on a blocking thread: a
//! worker has other requests. Where the length was not known beforehand, what the encoder holds back
//! is flushed as soon as nothing more comes: a page that is written bit by bit arrives bit by bit.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use async_compression::Level;
use async_compression::brotli::EncoderParams;
use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZstdEncoder};
use async_compression::zstd::CParameter;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::HeaderMap;
use tokio::io::AsyncWrite;
use tokio::task::JoinHandle;

use super::body::{BodyError, Inner};
use super::compress::Place;
use crate::http::Coding;

/// A body on its way through an encoder.
#[derive(Debug)]
pub(super) struct Compressed {
    inner: Inner,
    work: Work,
    /// Flush what is held back when nothing more comes.
    streamed: bool,
    /// Bytes given to the encoder since it was last flushed, about: what it may hold back.
    held_back: usize,
    trailers: Option<HeaderMap>,
    _place: Place,
}

#[derive(Debug)]
enum Work {
    Busy {
        encoding: JoinHandle<Encoded>,
        last: bool,
    },
    Done,
    Idle(Box<Encoder>),
    /// The encoder's last bytes are out, trailers may follow.
    Finished,
}

type Encoded = (Box<Encoder>, io::Result<Bytes>);

/// What is given to the encoder.
#[derive(Debug)]
enum Step {
    Finish,
    Flush,
    Write(Bytes),
}

/// Bytes that a worker encodes itself: some 50 us of its time. Of a body that is larger, all is left to
/// blocking threads until it is flushed.
const SMALL: usize = 2 * 1024;

// === Encoder ===

#[derive(Debug)]
enum Encoder {
    /// Boxed: it is by far the largest.
    Brotli(Box<BrotliEncoder<Vec<u8>>>),
    Gzip(GzipEncoder<Vec<u8>>),
    Zstd(ZstdEncoder<Vec<u8>>),
}

impl Encoder {
    /// Qualities that keep up with a network, and windows that keep an encoder below 2 MiB.
    fn new(coding: Coding) -> Self {
        let out = Vec::new();
        match coding {
            Coding::Brotli => {
                let params = EncoderParams::default().quality(Level::Precise(4)).window_size(18);
                Self::Brotli(Box::new(BrotliEncoder::with_params(out, params)))
            }
            Coding::Gzip => Self::Gzip(GzipEncoder::with_quality(out, Level::Precise(5))),
            Coding::Zstd => {
                let window = [CParameter::window_log(18)];
                let level = Level::Precise(3);
                Self::Zstd(ZstdEncoder::with_quality_and_params(out, level, &window))
            }
        }
    }

    fn take(&mut self, step: Step) -> io::Result<Bytes> {
        let (writer, cx) = (self.writer(), &mut Context::from_waker(Waker::noop()));
        let mut writer = Pin::new(writer);
        let pending = || io::Error::other("memory made the encoder wait");
        match step {
            Step::Finish => match writer.poll_shutdown(cx) {
                Poll::Ready(done) => done?,
                Poll::Pending => return Err(pending()),
            },
            Step::Flush => match writer.poll_flush(cx) {
                Poll::Ready(done) => done?,
                Poll::Pending => return Err(pending()),
            },
            Step::Write(bytes) => {
                let mut left = bytes.as_ref();
                while !left.is_empty() {
                    let written = match writer.as_mut().poll_write(cx, left) {
                        Poll::Ready(written) => written?,
                        Poll::Pending => return Err(pending()),
                    };
                    left = match (written, left.get(written..)) {
                        (1.., Some(left)) => left,
                        (_, _) => return Err(io::ErrorKind::WriteZero.into()),
                    };
                }
            }
        }
        Ok(std::mem::take(self.out()).into())
    }

    fn writer(&mut self) -> &mut (dyn AsyncWrite + Unpin) {
        match self {
            Self::Brotli(encoder) => encoder,
            Self::Gzip(encoder) => encoder,
            Self::Zstd(encoder) => encoder,
        }
    }

    fn out(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        }
    }
}

// === Compressed ===

impl Compressed {
    pub(super) fn new(inner: Inner, coding: Coding, streamed: bool, place: Place) -> Self {
        Self {
            inner,
            work: Work::Idle(Box::new(Encoder::new(coding))),
            streamed,
            held_back: 0,
            trailers: None,
            _place: place,
        }
    }

    /// Begins a step; what is small is done at once.
    fn begin(&mut self, step: Step) -> io::Result<Option<Bytes>> {
        let Work::Idle(mut encoder) = std::mem::replace(&mut self.work, Work::Done) else {
            return Err(io::Error::other("the encoder is busy"));
        };
        let last = matches!(step, Step::Finish);
        if let Step::Write(bytes) = &step {
            self.held_back = self.held_back.saturating_add(bytes.len());
        }
        let is_small = self.held_back <= SMALL;
        if matches!(step, Step::Flush) {
            self.held_back = 0;
        }
        if !is_small {
            let encoding = tokio::task::spawn_blocking(move || {
                let encoded = encoder.take(step);
                (encoder, encoded)
            });
            self.work = Work::Busy { encoding, last };
            return Ok(None);
        }
        let encoded = encoder.take(step)?;
        self.work = if last { Work::Finished } else { Work::Idle(encoder) };
        Ok(Some(encoded))
    }

    fn poll_encoded(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let Work::Busy { encoding, last } = &mut self.work else { return Poll::Ready(None) };
        let last = *last;
        let encoded = match ready!(Pin::new(encoding).poll(cx)) {
            Ok((encoder, encoded)) => {
                self.work = if last { Work::Finished } else { Work::Idle(encoder) };
                encoded
            }
            Err(stopped) => Err(io::Error::other(stopped)),
        };
        Poll::Ready(Some(encoded))
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.work = Work::Done;
        Poll::Ready(Some(Err(error)))
    }
}

impl Body for Compressed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            let encoded = match &this.work {
                Work::Done => return Poll::Ready(None),
                Work::Finished => {
                    this.work = Work::Done;
                    let trailers = this.trailers.take().map(|all| Ok(Frame::trailers(all)));
                    return Poll::Ready(trailers);
                }
                Work::Busy { .. } => ready!(this.poll_encoded(cx)).transpose(),
                Work::Idle(_) => {
                    let step = match Pin::new(&mut this.inner).poll_frame(cx) {
                        Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                            Ok(data) => Step::Write(data),
                            Err(frame) => {
                                this.trailers = frame.into_trailers().ok();
                                Step::Finish
                            }
                        },
                        Poll::Ready(Some(Err(error))) => return this.fail(error),
                        Poll::Ready(None) => Step::Finish,
                        Poll::Pending if this.streamed && this.held_back > 0 => Step::Flush,
                        Poll::Pending => return Poll::Pending,
                    };
                    this.begin(step)
                }
            };
            match encoded {
                Ok(Some(bytes)) if !bytes.is_empty() => {
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                // Held back, or under way.
                Ok(Some(_) | None) => {}
                Err(error) => return this.fail(BodyError::Compression(error)),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.work, Work::Done)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use async_compression::tokio::write::{BrotliDecoder, GzipDecoder, ZstdDecoder};
    use http_body_util::{BodyExt, Limited};
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn compressed(content: &Bytes, coding: Coding) -> Compressed {
        let place = Place::take(&Arc::new(AtomicUsize::new(0))).unwrap();
        Compressed::new(Inner::from(content.clone()), coding, false, place)
    }

    async fn whole(body: Compressed) -> Bytes {
        #[expect(clippy::disallowed_methods, reason = "limited")]
        let whole = Limited::new(body, 1 << 22).collect().await.unwrap();
        whole.to_bytes()
    }

    async fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        macro_rules! decode {
            ($decoder:ident) => {{
                let mut decoder = $decoder::new(Vec::new());
                decoder.write_all(bytes).await.unwrap();
                decoder.shutdown().await.unwrap();
                decoder.into_inner()
            }};
        }
        match coding {
            Coding::Brotli => decode!(BrotliDecoder),
            Coding::Gzip => decode!(GzipDecoder),
            Coding::Zstd => decode!(ZstdDecoder),
        }
    }

    #[tokio::test]
    async fn every_coding_gives_the_content_back() {
        for length in [1, 1_000, SMALL, SMALL + 1, 300_000] {
            let content: Bytes = (0..length).map(|at| b"portcullis "[at % 11]).collect();
            for coding in [Coding::Brotli, Coding::Gzip, Coding::Zstd] {
                let encoded = whole(compressed(&content, coding)).await;
                assert!(encoded.len() < length.max(100), "{coding:?}: {}", encoded.len());
                assert_eq!(decoded(coding, &encoded).await, content, "{coding:?} {length}");
            }
        }
    }
}

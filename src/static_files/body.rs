//! A file's bytes on their way out.
//!
//! Holds at most two chunks: the one handed over and the one read ahead of it on a blocking
//! thread, so memory is bounded whatever the file's size and however slow the client. A file that
//! shrinks underneath ends the body with an error, never with made-up or missing bytes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::{Bytes, Frame, SizeHint};
use tokio::task::JoinHandle;

/// The content of a reply: nothing, or a part of a file.
#[derive(Debug)]
pub struct Body {
    next: Next,
    /// Bytes not yet handed over.
    left: u64,
    rest: Option<Rest>,
}

#[derive(Debug)]
enum Next {
    Nothing,
    Read(Bytes),
    Reading(JoinHandle<io::Result<Bytes>>),
}

/// What comes after the next chunk.
#[derive(Debug)]
struct Rest {
    file: Arc<File>,
    offset: u64,
    left: u64,
}

/// Large enough that the hop to a blocking thread is small beside the read, small enough that ten
/// thousand slow clients hold about a gigabyte at worst.
const CHUNK: u64 = 64 * 1024;

impl Body {
    /// No content.
    pub(super) fn empty() -> Self {
        Self { next: Next::Nothing, left: 0, rest: None }
    }

    /// `length` bytes of `file` from `offset` on. Blocks: the first chunk is read at once.
    pub(super) fn of(file: File, offset: u64, length: u64) -> io::Result<Self> {
        if length == 0 {
            return Ok(Self::empty());
        }
        let mut rest = Rest { file: Arc::new(file), offset, left: length };
        let first = rest.take_chunk();
        let next = Next::Read(read(&rest.file, first)?);
        Ok(Self { next, left: length, rest: (rest.left > 0).then_some(rest) })
    }

    fn read_ahead(&mut self) -> Next {
        let Some(rest) = &mut self.rest else { return Next::Nothing };
        let chunk = rest.take_chunk();
        let file = Arc::clone(&rest.file);
        if rest.left == 0 {
            self.rest = None;
        }
        Next::Reading(tokio::task::spawn_blocking(move || read(&file, chunk)))
    }

    fn fail(&mut self, error: io::Error) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.next = Next::Nothing;
        self.rest = None;
        Poll::Ready(Some(Err(error)))
    }
}

/// Position and length of one read.
type Chunk = (u64, usize);

impl Rest {
    fn take_chunk(&mut self) -> Chunk {
        let length = self.left.min(CHUNK);
        let chunk = (self.offset, usize::try_from(length).unwrap_or_default());
        self.offset = self.offset.saturating_add(length);
        self.left = self.left.saturating_sub(length);
        chunk
    }
}

fn read(file: &File, (offset, length): Chunk) -> io::Result<Bytes> {
    let mut buffer = vec![0; length];
    file.read_exact_at(&mut buffer, offset)?;
    Ok(buffer.into())
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let chunk = match &mut self.next {
            Next::Nothing => return Poll::Ready(None),
            Next::Read(chunk) => std::mem::take(chunk),
            Next::Reading(reading) => match ready!(Pin::new(reading).poll(cx)) {
                Ok(Ok(chunk)) => chunk,
                Ok(Err(error)) => return self.fail(error),
                Err(stopped) => return self.fail(io::Error::other(stopped)),
            },
        };
        self.left = self.left.saturating_sub(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        self.next = self.read_ahead();
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.next, Next::Nothing)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl Drop for Body {
    /// A read that has not begun is not worth beginning.
    fn drop(&mut self) {
        if let Next::Reading(reading) = &self.next {
            reading.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Limited};
    use std::io::Write;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    async fn whole(body: Body) -> Vec<u8> {
        #[expect(clippy::disallowed_methods, reason = "limited")]
        let collected = Limited::new(body, 1 << 22).collect().await.unwrap();
        collected.to_bytes().to_vec()
    }

    #[tokio::test]
    async fn every_length_around_the_chunk_arrives_whole() {
        let chunk = usize::try_from(CHUNK).unwrap();
        for length in [0, 1, chunk - 1, chunk, chunk + 1, 3 * chunk, 3 * chunk + 7] {
            let content: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let body = Body::of(file(&content), 0, u64::try_from(length).unwrap()).unwrap();
            assert_eq!(hyper::body::Body::size_hint(&body).exact(), u64::try_from(length).ok());
            assert_eq!(whole(body).await, content);
        }
    }

    #[tokio::test]
    async fn a_part_is_cut_exactly() {
        let content: Vec<u8> = (0..200_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let body = Body::of(file(&content), 1_000, 150_000).unwrap();
        assert_eq!(whole(body).await, &content[1_000..151_000]);
    }

    #[tokio::test]
    async fn a_file_that_shrinks_is_an_error_not_a_short_body() {
        let content = vec![7; 300_000];
        let file = file(&content);
        let mut body = Body::of(file.try_clone().unwrap(), 0, 300_000).unwrap();
        file.set_len(70_000).unwrap();
        assert!(body.frame().await.unwrap().is_ok());
        assert!(body.frame().await.unwrap().is_err());
        assert!(body.frame().await.is_none());
    }
}

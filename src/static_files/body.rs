//! A file's bytes on their way out.
//!
//! Of a file that is not in memory at most two chunks are held: the one handed over and the one read
//! ahead of it, so memory is bounded whatever the file's size and however slow the client. What the
//! system has cached is copied at once; whatever has to be waited for is read on a blocking thread.
//! A file that shrinks underneath ends the body with an error, never with made-up or missing bytes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::{Bytes, Frame, SizeHint};
use rustix::io::ReadWriteFlags;
use tokio::task::JoinHandle;

use super::range::Stretch;

/// The content of a reply: nothing, or parts of a file and what stands between them.
#[derive(Debug)]
pub struct Body {
    next: Next,
    /// Bytes not yet handed over.
    left: u64,
    rest: Option<Box<Rest>>,
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
    file: Option<Arc<File>>,
    pieces: VecDeque<Piece>,
}

/// A run of bytes of a body, not empty.
#[derive(Debug)]
pub(super) enum Piece {
    Bytes(Bytes),
    File(Stretch),
}

/// Where a representation's bytes are.
#[derive(Debug)]
pub(super) enum Content {
    File(File),
    Memory(Bytes),
}

/// Large enough that a hop to a blocking thread is small beside the read, small enough that ten
/// thousand slow clients hold about a gigabyte at worst.
const CHUNK: u64 = 64 * 1024;

impl Content {
    /// The piece for one stretch of it.
    fn piece(&self, stretch: Stretch) -> Piece {
        match self {
            Self::File(_) => Piece::File(stretch),
            Self::Memory(bytes) => {
                let first = usize::try_from(stretch.first).unwrap_or(usize::MAX);
                let end = first.saturating_add(usize::try_from(stretch.length()).unwrap_or(0));
                // Stretches lie inside the representation they were made for.
                Piece::Bytes(if end <= bytes.len() {
                    bytes.slice(first..end)
                } else {
                    Bytes::new()
                })
            }
        }
    }
}

impl Body {
    /// No content.
    pub(super) fn empty() -> Self {
        Self { next: Next::Nothing, left: 0, rest: None }
    }

    /// These bytes.
    pub(super) fn of(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            return Self::empty();
        }
        Self { left: length(&bytes), next: Next::Read(bytes), rest: None }
    }

    /// Stretches of `content`, each with the text that stands before it, and `end` behind the last.
    /// Blocks if the content is a file: the first chunk is read at once.
    pub(super) fn parts(
        content: Content,
        parts: impl IntoIterator<Item = (Bytes, Stretch)>,
        end: Bytes,
    ) -> io::Result<Self> {
        let mut pieces = VecDeque::new();
        for (before, stretch) in parts {
            pieces.extend(text(before));
            pieces.push_back(content.piece(stretch));
        }
        pieces.extend(text(end));
        let left = pieces.iter().map(Piece::length).sum();
        let file = match content {
            Content::File(file) => Some(Arc::new(file)),
            Content::Memory(_) => None,
        };
        let mut rest = Box::new(Rest { file, pieces });
        let next = match (rest.take_chunk(), &rest.file) {
            (Some(Piece::Bytes(bytes)), _) => Next::Read(bytes),
            (Some(Piece::File(chunk)), Some(file)) => Next::Read(read(file, chunk)?),
            (Some(Piece::File(_)) | None, _) => Next::Nothing,
        };
        Ok(Self { next, left, rest: (!rest.pieces.is_empty()).then_some(rest) })
    }

    /// Bytes to come.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    fn read_ahead(&mut self) -> Next {
        let Some(rest) = &mut self.rest else { return Next::Nothing };
        let next = match (rest.take_chunk(), &rest.file) {
            (Some(Piece::Bytes(bytes)), _) => Next::Read(bytes),
            (Some(Piece::File(chunk)), Some(file)) => match read_cached(file, chunk) {
                Some(bytes) => {
                    rest.put_back(chunk, length(&bytes));
                    Next::Read(bytes)
                }
                None => {
                    let file = Arc::clone(file);
                    Next::Reading(tokio::task::spawn_blocking(move || read(&file, chunk)))
                }
            },
            (Some(Piece::File(_)) | None, _) => Next::Nothing,
        };
        if rest.pieces.is_empty() {
            self.rest = None;
        }
        next
    }

    fn fail(&mut self, error: io::Error) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.next = Next::Nothing;
        self.rest = None;
        Poll::Ready(Some(Err(error)))
    }
}

fn text(bytes: Bytes) -> Option<Piece> {
    (!bytes.is_empty()).then_some(Piece::Bytes(bytes))
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl Piece {
    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => length(bytes),
            Self::File(stretch) => stretch.length(),
        }
    }
}

impl Rest {
    /// The next bytes that are handed over at once.
    fn take_chunk(&mut self) -> Option<Piece> {
        match self.pieces.pop_front()? {
            Piece::File(stretch) if stretch.length() > CHUNK => {
                let first = stretch.first.saturating_add(CHUNK);
                self.pieces.push_front(Piece::File(Stretch { first, ..stretch }));
                Some(Piece::File(Stretch { last: first.saturating_sub(1), ..stretch }))
            }
            piece => Some(piece),
        }
    }

    /// What is left of a chunk of which so much was read.
    fn put_back(&mut self, chunk: Stretch, read: u64) {
        if read < chunk.length() {
            let first = chunk.first.saturating_add(read);
            self.pieces.push_front(Piece::File(Stretch { first, ..chunk }));
        }
    }
}

/// As many of the first bytes of a chunk as the system can give without waiting for a disk
/// (`RWF_NOWAIT`); `None` for none, for whatever reason: [`read`] will tell it.
///
/// A hop to a blocking thread for every chunk costs as much as the copy of it.
fn read_cached(file: &File, chunk: Stretch) -> Option<Bytes> {
    let mut buffer = vec![0; usize::try_from(chunk.length().min(CHUNK)).ok()?];
    let slices = &mut [IoSliceMut::new(&mut buffer)];
    let count = rustix::io::preadv2(file, slices, chunk.first, ReadWriteFlags::NOWAIT).ok()?;
    buffer.truncate(count);
    (count > 0).then(|| buffer.into())
}

/// The bytes of one stretch, all of them. Blocks.
pub(super) fn read(file: &File, stretch: Stretch) -> io::Result<Bytes> {
    let length = usize::try_from(stretch.length()).unwrap_or(usize::MAX);
    let mut buffer: Vec<u8> = Vec::new();
    buffer.try_reserve_exact(length).map_err(io::Error::other)?;
    while buffer.len() < length {
        let at = stretch.first.saturating_add(u64::try_from(buffer.len()).unwrap_or(u64::MAX));
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut buffer), at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The allocator may have given more room than asked for.
    buffer.truncate(length);
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
        self.left = self.left.saturating_sub(length(&chunk));
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

    /// One part of a file.
    fn part(file: File, first: u64, length: u64) -> io::Result<Body> {
        let stretch = Stretch { first, last: first + length - 1 };
        Body::parts(Content::File(file), [(Bytes::new(), stretch)], Bytes::new())
    }

    async fn whole(body: Body) -> Vec<u8> {
        #[expect(clippy::disallowed_methods, reason = "limited")]
        let collected = Limited::new(body, 1 << 22).collect().await.unwrap();
        collected.to_bytes().to_vec()
    }

    #[tokio::test]
    async fn every_length_around_the_chunk_arrives_whole() {
        let chunk = usize::try_from(CHUNK).unwrap();
        for length in [1, chunk - 1, chunk, chunk + 1, 3 * chunk, 3 * chunk + 7] {
            let content: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let body = part(file(&content), 0, u64::try_from(length).unwrap()).unwrap();
            assert_eq!(hyper::body::Body::size_hint(&body).exact(), u64::try_from(length).ok());
            assert_eq!(whole(body).await, content);
        }
    }

    #[tokio::test]
    async fn a_part_is_cut_exactly() {
        let content: Vec<u8> = (0..200_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let body = part(file(&content), 1_000, 150_000).unwrap();
        assert_eq!(whole(body).await, &content[1_000..151_000]);
    }

    #[tokio::test]
    async fn a_file_that_shrinks_is_an_error_not_a_short_body() {
        let content = vec![7; 300_000];
        let file = file(&content);
        let mut body = part(file.try_clone().unwrap(), 0, 300_000).unwrap();
        file.set_len(70_000).unwrap();
        let mut received = 0;
        while let Ok(frame) = body.frame().await.unwrap() {
            received += frame.into_data().unwrap().len();
        }
        assert!(received <= 70_000, "{received}");
        assert!(body.frame().await.is_none());
    }

    #[test]
    fn a_chunk_that_came_short_is_gone_on_with_where_it_ended() {
        let chunk = Stretch { first: 100, last: 199 };
        let mut rest = Rest { file: None, pieces: VecDeque::new() };
        rest.put_back(chunk, 100);
        assert!(rest.take_chunk().is_none());
        rest.put_back(chunk, 60);
        let Some(Piece::File(left)) = rest.take_chunk() else { panic!() };
        assert_eq!((left.first, left.last), (160, 199));
    }

    #[test]
    fn what_is_cached_is_read_at_once_and_nothing_is_made_up() {
        let file = file(&[7; 1000]);
        // A file system may know no such reads; then a blocking thread does it.
        if let Some(bytes) = read_cached(&file, Stretch { first: 990, last: 1_999 }) {
            assert_eq!(bytes, [7; 10][..]);
        }
        assert_eq!(read_cached(&file, Stretch { first: 1000, last: 1_999 }), None);
    }

    #[tokio::test]
    async fn several_parts_come_with_what_stands_between_them() {
        let content: Vec<u8> = (0..200_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let text = Bytes::from_static;
        let parts = || {
            [
                (text(b"<"), Stretch { first: 100, last: 100_099 }),
                (text(b"|"), Stretch { first: 7, last: 7 }),
            ]
        };
        let expected = [b"<", &content[100..100_100], b"|", &content[7..8], b">"].concat();
        let memory = Content::Memory(content.clone().into());
        for content in [Content::File(file(&content)), memory] {
            let body = Body::parts(content, parts(), text(b">")).unwrap();
            assert_eq!(hyper::body::Body::size_hint(&body).exact(), Some(100_004));
            assert_eq!(whole(body).await, expected);
        }
    }

    #[tokio::test]
    async fn bytes_in_memory_are_one_frame() {
        let mut body = Body::of(Bytes::from_static(b"hello"));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hello");
        assert!(hyper::body::Body::is_end_stream(&body));
        assert!(hyper::body::Body::is_end_stream(&Body::of(Bytes::new())));
    }
}

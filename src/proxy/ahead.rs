//! Responses that are read ahead of their clients.
//!
//! Owns what an application has said and its client has not taken: a WSGI worker is held for as
//! long as its response is read, and a client that takes a byte at a time would hold it for
//! minutes. So a task of its own takes the response as fast as it comes: the first 64 KiB wait in
//! memory, the rest in a file without a name, and all such responses together have half of the
//! spool, so that no reader of downloads takes the room of those who upload. Where there is no room
//! nothing fails: the application waits for its client, as it would without all this.
//!
//! Nothing is held back: what is here goes on as soon as the client takes it.

use std::fs::File;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use hyper::Response;
use hyper::body::{Body as _, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use parking_lot::Mutex;
use tokio::task::{AbortHandle, JoinHandle};

use super::buffer::{PIECE, Room, Spool, nameless, read_piece, write_piece};
use super::{Body, Failure};

/// A response's body that may be here already.
#[derive(Debug)]
pub(super) struct Ahead {
    shared: Arc<Shared>,
    /// Reads on; gone once all is here.
    task: Option<AbortHandle>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    /// Bytes that the client has not taken, where that is known.
    left: Option<u64>,
    over: bool,
}

/// Between the task that reads and the client that takes.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    spool: Arc<Spool>,
}

#[derive(Debug)]
struct State {
    /// Comes before whatever lies in the file.
    memory: BytesMut,
    /// Of `memory`, what has been taken from the spool's.
    reserved: u64,
    file: Option<Arc<File>>,
    /// The file's bytes from here to `written` are to be taken.
    read: u64,
    written: u64,
    /// A write is under way.
    writing: bool,
    end: Option<End>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    room: Room,
}

#[derive(Debug)]
enum End {
    Broken(Failure),
    Whole(Option<HeaderMap>),
}

/// Whether a response may be read ahead: not what is a stream by its nature, nor what its
/// application says not to buffer, as it would say it to nginx.
pub(super) fn may_be(headers: &HeaderMap) -> bool {
    const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
    let says_no = headers
        .get(BUFFERING)
        .is_some_and(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"no"));
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let begins =
        |with: &[u8]| kind.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    !says_no && !begins(b"text/event-stream") && !begins(b"application/grpc")
}

/// Reads the body of `response` ahead, if it is one to be.
pub(super) async fn read(response: Response<Body>, spool: &Arc<Spool>) -> Response<Body> {
    if response.body().is_end_stream() || !may_be(response.headers()) {
        return response;
    }
    let (parts, mut body) = response.into_parts();
    let left = body.size_hint().exact();
    let room = Room::new(spool);
    let state = State {
        memory: BytesMut::new(),
        reserved: 0,
        file: None,
        read: 0,
        written: 0,
        writing: false,
        end: None,
        reader: None,
        writer: None,
        room,
    };
    let shared = Arc::new(Shared { state: Mutex::new(state), spool: Arc::clone(spool) });
    // What is there already needs no task, and mostly that is all.
    let first = poll_fn(|cx| Poll::Ready(shared.take_ready(&mut body, cx))).await;
    let task = match first {
        Ready::All => None,
        Ready::Part(rest) => {
            let pumping = pump(body, rest, Arc::clone(&shared));
            Some(tokio::spawn(pumping).abort_handle())
        }
    };
    let ahead = Ahead { shared, task, reading: None, left, over: false };
    Response::from_parts(parts, Body::ahead(ahead))
}

/// What is there without waiting.
enum Ready {
    All,
    /// What found no room in memory.
    Part(Bytes),
}

/// Where a piece is kept.
enum Place {
    /// In the file, at this offset; there may be none yet.
    File(Option<Arc<File>>, u64),
    /// In memory, where it is already.
    Memory,
}

/// Reads to the end, or for as long as somebody wants to have it.
async fn pump(mut body: Body, rest: Bytes, shared: Arc<Shared>) {
    let _told = Told(Arc::clone(&shared));
    if !shared.push(rest).await {
        return;
    }
    loop {
        match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    if !shared.push(data).await {
                        return;
                    }
                }
                Err(frame) => return shared.finish(End::Whole(frame.into_trailers().ok())),
            },
            Some(Err(failure)) => return shared.finish(End::Broken(failure)),
            None => return shared.finish(End::Whole(None)),
        }
        if body.is_end_stream() {
            return shared.finish(End::Whole(None));
        }
    }
}

/// However the task ends, nobody waits for it any longer.
struct Told(Arc<Shared>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.finish(End::Broken(Failure::Failed));
    }
}

// === impl Shared ===

impl Shared {
    fn take_ready(&self, body: &mut Body, cx: &mut Context<'_>) -> Ready {
        while let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
            let end = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(mut data) => {
                        self.state.lock().remember(&mut data);
                        if !data.is_empty() {
                            return Ready::Part(data);
                        }
                        body.is_end_stream().then_some(End::Whole(None))
                    }
                    Err(frame) => Some(End::Whole(frame.into_trailers().ok())),
                },
                Some(Err(failure)) => Some(End::Broken(failure)),
                None => Some(End::Whole(None)),
            };
            if let Some(end) = end {
                self.finish(end);
                return Ready::All;
            }
        }
        Ready::Part(Bytes::new())
    }

    /// Keeps all of `data`, waiting for room if there is none; false if some of it is lost, which
    /// the client is told.
    async fn push(&self, mut data: Bytes) -> bool {
        while !data.is_empty() {
            let place = poll_fn(|cx| self.poll_place(&mut data, cx)).await;
            let Place::File(file, at) = place else { continue };
            let piece = data.split_to(data.len().min(PIECE));
            let length = piece.len() as u64;
            let written = match file {
                Some(file) => write_piece(file, piece, at).await,
                None => self.open_file(piece).await,
            };
            let mut state = self.state.lock();
            state.writing = false;
            match written {
                Ok(()) => state.written += length,
                Err(failure) => {
                    state.end = Some(End::Broken(failure));
                    state.wake_reader();
                    return false;
                }
            }
            state.wake_reader();
        }
        true
    }

    async fn open_file(&self, piece: Bytes) -> Result<(), Failure> {
        let file = Arc::new(nameless(&self.spool).await?);
        self.state.lock().file = Some(Arc::clone(&file));
        write_piece(file, piece, 0).await
    }

    /// Where the next piece goes.
    fn poll_place(&self, data: &mut Bytes, cx: &Context<'_>) -> Poll<Place> {
        let mut state = self.state.lock();
        let before = data.len();
        state.remember(data);
        if data.len() < before {
            state.wake_reader();
            return Poll::Ready(Place::Memory);
        }
        if state.reserve_disk(data.len().min(PIECE)) {
            state.writing = true;
            return Poll::Ready(Place::File(state.file.clone(), state.written));
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn finish(&self, end: End) {
        let mut state = self.state.lock();
        state.end.get_or_insert(end);
        state.wake_reader();
    }
}

// === impl State ===

impl State {
    /// Takes what finds room in memory, unless something waits in the file before it.
    fn remember(&mut self, data: &mut Bytes) {
        if self.read < self.written || self.writing {
            return;
        }
        let fits = data.len().min(PIECE.saturating_sub(self.memory.len()));
        let reserved = fits > 0 && self.room.share_memory(fits);
        self.reserved += if reserved { fits as u64 } else { 0 };
        // Without any room one piece passes at a time, as it would without all this.
        if reserved || self.memory.is_empty() {
            // A copy: one byte would otherwise keep the whole buffer that it was read into.
            self.memory.extend_from_slice(&data.split_to(fits));
        }
    }

    fn reserve_disk(&mut self, bytes: usize) -> bool {
        // For the piece that is written now and read later.
        if !self.room.share_disk(bytes) {
            return false;
        }
        if self.file.is_none() && !self.room.share_memory(PIECE) {
            self.room.leave_disk(bytes as u64);
            return false;
        }
        true
    }

    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    /// Notes that the client has taken a piece of the file.
    fn took(&mut self, length: u64) {
        self.read += length;
        if self.read == self.written && !self.writing {
            self.room.leave_disk(self.written);
            (self.read, self.written) = (0, 0);
        }
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }
}

// === impl Ahead ===

impl Ahead {
    /// The next piece that is here.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if self.reading.is_none() {
            let mut state = self.shared.state.lock();
            if !state.memory.is_empty() {
                let piece = state.memory.split().freeze();
                let reserved = std::mem::take(&mut state.reserved);
                state.room.leave_memory(reserved);
                if let Some(waker) = state.writer.take() {
                    waker.wake();
                }
                drop(state);
                return Poll::Ready(Some(Ok(self.give(piece))));
            }
            match (&state.file, state.written - state.read) {
                (Some(file), waiting @ 1..) => {
                    let length = usize::try_from(waiting).unwrap_or(PIECE).min(PIECE);
                    self.reading = Some(read_piece(Arc::clone(file), length, state.read));
                }
                (_, _) => match state.end.take() {
                    None => {
                        state.reader = Some(cx.waker().clone());
                        return Poll::Pending;
                    }
                    Some(end) => {
                        drop(state);
                        self.over = true;
                        return Poll::Ready(match end {
                            End::Broken(failure) => Some(Err(failure)),
                            End::Whole(trailers) => trailers.map(|one| Ok(Frame::trailers(one))),
                        });
                    }
                },
            }
        }
        self.poll_reading(cx)
    }

    fn poll_reading(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let Some(reading) = &mut self.reading else { return Poll::Pending };
        let read = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        Poll::Ready(Some(match read {
            Ok(Ok(piece)) => {
                self.shared.state.lock().took(piece.len() as u64);
                Ok(self.give(piece))
            }
            Ok(Err(_)) | Err(_) => {
                self.over = true;
                Err(Failure::SpoolFailed)
            }
        }))
    }

    fn give(&mut self, piece: Bytes) -> Frame<Bytes> {
        self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
        Frame::data(piece)
    }

    /// Whether nothing is left to be taken.
    pub(super) fn is_end_stream(&self) -> bool {
        self.over || self.left == Some(0)
    }

    /// Bytes that are left, where that is known.
    pub(super) fn size_hint(&self) -> SizeHint {
        match self.left {
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // With the task goes the application's connection, if its response is not whole.
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

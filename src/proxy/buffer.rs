//! Request bodies that are gathered whole before an endpoint sees them, and the room for bodies.
//!
//! Owns that room: up to 64 KiB of a body stay in memory, the rest goes to a file that has
//! no name, and both are capped over all bodies. A file is opened, written and read on the blocking
//! pool only. Clients are not trusted to end a body: its own limits (size, progress) are
//! [`crate::http::body`]'s, and what cannot be kept is refused, never cut.

use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use rustix::fs::{Mode, OFlags};
use tokio::task::{JoinHandle, spawn_blocking};

use super::Failure;
use crate::http::body::RequestBody;

/// Room for gathered bodies, shared by all workers.
#[derive(Debug)]
pub struct Spool {
    memory: Budget,
    disk: Budget,
    directory: PathBuf,
}

/// A body that is here as a whole.
#[derive(Debug)]
pub(super) struct Gathered {
    /// What stayed in memory: the beginning.
    memory: Bytes,
    /// The rest.
    file: Option<Arc<File>>,
    offset: u64,
    length: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    _room: Room,
}

/// What of a body stays in memory, and the size of one write or read of its file: most forms and
/// JSON documents never touch the disk, and a system call for each 64 KiB costs nothing noticeable.
pub(super) const PIECE: usize = 64 * 1024;

impl Spool {
    /// Room for `memory` and `disk` bytes in all; files go to `directory`, by default the system's
    /// for temporary files.
    pub fn new(memory: u64, disk: u64, directory: Option<PathBuf>) -> Self {
        Self {
            memory: Budget::new(memory),
            disk: Budget::new(disk),
            directory: directory.unwrap_or_else(std::env::temp_dir),
        }
    }

    /// Bytes in use: in memory and on disk.
    pub fn used(&self) -> (u64, u64) {
        (self.memory.used.load(Ordering::Relaxed), self.disk.used.load(Ordering::Relaxed))
    }
}

/// Reads `body` to its end.
pub(super) async fn gather(mut body: RequestBody, spool: &Arc<Spool>) -> Result<Gathered, Failure> {
    let mut gathering = Gathering::new(spool);
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| Failure::from(&error))?;
        if let Ok(mut data) = frame.into_data() {
            while !data.is_empty() {
                gathering.push(&mut data).await?;
            }
        }
    }
    gathering.finish().await
}

/// A body that is still arriving.
///
/// Its bytes are copied: a client that sends them one by one would otherwise keep a read buffer
/// alive for each.
struct Gathering {
    memory: BytesMut,
    file: Option<Arc<File>>,
    /// What the file does not have yet.
    piece: BytesMut,
    written: u64,
    room: Room,
}

impl Gathering {
    fn new(spool: &Arc<Spool>) -> Self {
        Self {
            memory: BytesMut::new(),
            file: None,
            piece: BytesMut::new(),
            written: 0,
            room: Room::new(spool),
        }
    }

    /// Takes as much of `data` as fits a piece.
    async fn push(&mut self, data: &mut Bytes) -> Result<(), Failure> {
        if self.memory.len() < PIECE {
            let part = data.split_to(data.len().min(PIECE - self.memory.len()));
            self.room.reserve_memory(part.len())?;
            self.memory.extend_from_slice(&part);
            return Ok(());
        }
        if self.file.is_none() {
            // For the piece that is written now and read later.
            self.room.reserve_memory(PIECE)?;
            let file = nameless(&self.room.spool).await?;
            self.file = Some(Arc::new(file));
        }
        let part = data.split_to(data.len().min(PIECE - self.piece.len()));
        self.room.reserve_disk(part.len())?;
        self.piece.extend_from_slice(&part);
        if self.piece.len() == PIECE { self.write().await } else { Ok(()) }
    }

    async fn write(&mut self) -> Result<(), Failure> {
        let Some(file) = &self.file else { return Ok(()) };
        let (file, piece, at) = (Arc::clone(file), self.piece.split(), self.written);
        self.written += piece.len() as u64;
        // The buffer comes back to be filled again.
        self.piece = on_blocking_pool(move || {
            file.write_all_at(&piece, at)?;
            Ok(piece)
        })
        .await?;
        self.piece.clear();
        Ok(())
    }

    async fn finish(mut self) -> Result<Gathered, Failure> {
        if !self.piece.is_empty() {
            self.write().await?;
        }
        Ok(Gathered {
            memory: self.memory.freeze(),
            file: self.file,
            offset: 0,
            length: self.written,
            reading: None,
            _room: self.room,
        })
    }
}

async fn on_blocking_pool<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    match spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(spool_failure(&error)),
        Err(_) => Err(Failure::SpoolFailed),
    }
}

/// A file of its own for a body.
pub(super) async fn nameless(spool: &Arc<Spool>) -> Result<File, Failure> {
    let directory = spool.directory.clone();
    on_blocking_pool(move || nameless_file(&directory)).await
}

/// Writes a piece at a place of a file.
pub(super) async fn write_piece(file: Arc<File>, piece: Bytes, at: u64) -> Result<(), Failure> {
    on_blocking_pool(move || file.write_all_at(&piece, at)).await
}

/// Reads a piece of a file.
pub(super) fn read_piece(file: Arc<File>, length: usize, at: u64) -> JoinHandle<io::Result<Bytes>> {
    spawn_blocking(move || {
        let mut piece = BytesMut::zeroed(length);
        file.read_exact_at(&mut piece, at)?;
        Ok(piece.freeze())
    })
}

fn spool_failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::SpoolFull,
        _ => Failure::SpoolFailed,
    }
}

/// A file that is gone when it is closed, whatever happens to this process.
fn nameless_file(directory: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(File::from(file)),
        // Some file systems cannot make a file without a name, so it loses the name at once.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => unlinked_file(directory),
        Err(error) => Err(error.into()),
    }
}

fn unlinked_file(directory: &Path) -> io::Result<File> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = directory.join(format!(".portcullis-{}-{number}", std::process::id()));
    // `create_new` follows no link that someone else put there.
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

// === impl Gathered ===

impl Gathered {
    /// Bytes that are still to be sent.
    pub(super) fn remaining(&self) -> u64 {
        self.memory.len() as u64 + (self.length - self.offset)
    }

    fn poll_file(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        let left = usize::try_from(self.length - self.offset).unwrap_or(usize::MAX).min(PIECE);
        let Some(file) = self.file.as_ref().filter(|_| left > 0) else {
            return Poll::Ready(None);
        };
        let reading =
            self.reading.get_or_insert_with(|| read_piece(Arc::clone(file), left, self.offset));
        let read = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        Poll::Ready(Some(match read {
            Ok(Ok(piece)) => {
                self.offset += piece.len() as u64;
                Ok(piece)
            }
            Ok(Err(error)) => Err(spool_failure(&error)),
            Err(_) => Err(Failure::SpoolFailed),
        }))
    }
}

impl Body for Gathered {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if !self.memory.is_empty() {
            let memory = std::mem::take(&mut self.memory);
            return Poll::Ready(Some(Ok(Frame::data(memory))));
        }
        self.poll_file(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining())
    }
}

// === Room ===

/// A number of bytes that may be in use at once.
#[derive(Debug)]
struct Budget {
    used: AtomicU64,
    limit: u64,
}

impl Budget {
    fn new(limit: u64) -> Self {
        Self { used: AtomicU64::new(0), limit }
    }

    fn reserve(&self, bytes: usize) -> Result<u64, Failure> {
        self.reserve_within(bytes, self.limit)
    }

    fn reserve_within(&self, bytes: usize, limit: u64) -> Result<u64, Failure> {
        let bytes = bytes as u64;
        let fits = |used: u64| used.checked_add(bytes).filter(|after| *after <= limit);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(bytes),
            Err(_) => Err(Failure::SpoolFull),
        }
    }
}

/// What one body occupies; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    spool: Arc<Spool>,
    memory: u64,
    disk: u64,
}

impl Room {
    /// None of it.
    pub(super) fn new(spool: &Arc<Spool>) -> Self {
        Self { spool: Arc::clone(spool), memory: 0, disk: 0 }
    }

    /// Takes memory for a response, if all bodies together then have no more than half of it.
    pub(super) fn share_memory(&mut self, bytes: usize) -> bool {
        let budget = &self.spool.memory;
        let shared = budget.reserve_within(bytes, budget.limit / 2);
        self.memory += shared.unwrap_or(0);
        shared.is_ok()
    }

    /// The same of the disk.
    pub(super) fn share_disk(&mut self, bytes: usize) -> bool {
        let budget = &self.spool.disk;
        let shared = budget.reserve_within(bytes, budget.limit / 2);
        self.disk += shared.unwrap_or(0);
        shared.is_ok()
    }

    pub(super) fn leave_memory(&mut self, bytes: u64) {
        self.memory -= bytes;
        self.spool.memory.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn leave_disk(&mut self, bytes: u64) {
        self.disk -= bytes;
        self.spool.disk.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn reserve_memory(&mut self, bytes: usize) -> Result<(), Failure> {
        self.memory += self.spool.memory.reserve(bytes)?;
        Ok(())
    }

    fn reserve_disk(&mut self, bytes: usize) -> Result<(), Failure> {
        self.disk += self.spool.disk.reserve(bytes)?;
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.spool.memory.used.fetch_sub(self.memory, Ordering::Relaxed);
        self.spool.disk.used.fetch_sub(self.disk, Ordering::Relaxed);
    }
}

//! Bytes both ways between a client and an endpoint that have switched protocols.
//!
//! Owns two buffers of 8 KiB and looks into neither: what has left HTTP is the two sides' own. Both
//! are strangers: whoever takes nothing holds the other side's bytes back, not our memory, a side
//! that has ended takes the other along after a moment, and a tunnel in which nothing moves ends
//! after an hour.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use tokio::time::{Instant, sleep};

use crate::http::body::BodyCount;
use crate::upstream::endpoint::TunnelClaim;
use crate::upstream::switched::Switched;

/// The endpoint's side of a tunnel that waits for its client.
#[derive(Debug)]
pub struct Tunnel {
    upstream: Switched,
    _claim: TunnelClaim,
}

/// How a tunnel ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client's connection broke.
    ClientGone,
    /// A side closed it.
    Closed,
    /// Nothing moved for an hour.
    Idle,
    /// The endpoint's connection broke.
    UpstreamFailed,
}

/// What has moved; shared with whoever records the tunnel.
#[derive(Debug, Default)]
pub struct Flow {
    /// To the client.
    sent: AtomicU64,
    moved: AtomicBool,
    ended: AtomicBool,
    client_broke: AtomicBool,
}

/// Bytes in each direction that are read and not written yet.
const BUFFER: usize = 8 * 1024;

/// A tunnel is looked at this often, and ends when nothing has moved for [`QUIET`] looks: after an
/// hour, some minutes more at most. A timer for each byte would cost more than it told.
const LOOK: Duration = Duration::from_secs(5 * 60);
const QUIET: u32 = 12;

/// How long the other side may go on once one has ended.
const LAST_WORDS: Duration = Duration::from_secs(10);

impl Tunnel {
    pub(super) fn new(upstream: Switched, claim: TunnelClaim) -> Self {
        Self { upstream, _claim: claim }
    }

    /// Moves bytes until a side ends. Dropping the future closes both.
    pub async fn carry<C>(&mut self, client: C, received: &Arc<BodyCount>, flow: &Arc<Flow>) -> End
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let (received, flow) = (Arc::clone(received), Arc::clone(flow));
        let mut client = Side { io: client, flow: Arc::clone(&flow), received: Some(received) };
        let mut upstream = Side { io: &mut self.upstream, flow: Arc::clone(&flow), received: None };
        let mut copying =
            pin!(copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER));
        let mut timer = pin!(sleep(LOOK));
        let (mut quiet, mut closing) = (0, false);
        poll_fn(|cx| {
            if let Poll::Ready(copied) = copying.as_mut().poll(cx) {
                return Poll::Ready(match copied {
                    Ok(_) => End::Closed,
                    Err(_) if flow.ended.load(Relaxed) => End::Closed,
                    Err(_) if flow.client_broke.load(Relaxed) => End::ClientGone,
                    Err(_) => End::UpstreamFailed,
                });
            }
            if flow.ended.load(Relaxed) && !closing {
                closing = true;
                timer.as_mut().reset(Instant::now() + LAST_WORDS);
            }
            while timer.as_mut().poll(cx).is_ready() {
                if closing {
                    return Poll::Ready(End::Closed);
                }
                quiet = if flow.moved.swap(false, Relaxed) { 0 } else { quiet + 1 };
                if quiet >= QUIET {
                    return Poll::Ready(End::Idle);
                }
                timer.as_mut().reset(Instant::now() + LOOK);
            }
            Poll::Pending
        })
        .await
    }
}

impl Flow {
    /// Bytes that the client was sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }
}

/// One side, watched.
struct Side<I> {
    io: I,
    flow: Arc<Flow>,
    /// The client's: what came from it.
    received: Option<Arc<BodyCount>>,
}

impl<I> Side<I> {
    fn checked<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if self.received.is_some() && matches!(outcome, Poll::Ready(Err(_))) {
            self.flow.client_broke.store(true, Relaxed);
        }
        outcome
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Side<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut this.io).poll_read(cx, buffer);
        if matches!(outcome, Poll::Ready(Ok(()))) {
            match buffer.filled().len() - before {
                0 => this.flow.ended.store(true, Relaxed),
                count => {
                    this.flow.moved.store(true, Relaxed);
                    if let Some(received) = &this.received {
                        received.came(count as u64);
                    }
                }
            }
        }
        this.checked(outcome)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Side<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.io).poll_write(cx, bytes);
        if let (Poll::Ready(Ok(count)), true) = (&outcome, this.received.is_some()) {
            this.flow.sent.fetch_add(*count as u64, Relaxed);
        }
        this.checked(outcome)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.io).poll_flush(cx);
        this.checked(outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.io).poll_shutdown(cx);
        this.checked(outcome)
    }
}

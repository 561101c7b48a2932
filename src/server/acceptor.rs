//! One thread for each listening socket, which accepts and does nothing else.
//!
//! A connection gets a permit, then goes to the worker with the fewest open ones. Neither TLS nor
//! HTTP is spoken here, so a slow client can't keep others waiting. The socket outlives
//! configurations; closing it serves what waits in the kernel's queue first, since closing a
//! socket resets those.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::admission::{Connections, Permit, Refusal};
use super::connection::Peer;
use super::drain::{Drain, DrainTrigger};
use super::listen::{Bound, ListenSocket, Listening, SocketFile};
use super::listener::ListenerState;

/// A listening socket and the thread that accepts from it.
#[derive(Debug)]
pub struct Acceptor {
    state: Arc<ArcSwap<ListenerState>>,
    trigger: DrainTrigger,
    thread: Mutex<Option<JoinHandle<()>>>,
    listening: Listening,
}

impl Acceptor {
    /// Starts to accept. `name` is the listener's, for the thread.
    ///
    /// # Errors
    /// If the system has no thread or no epoll instance left.
    pub fn start(
        name: &str,
        bound: Bound,
        state: ListenerState,
        workers: Vec<WorkerHandle>,
        connections: Arc<Connections>,
    ) -> io::Result<Self> {
        let address = bound.local_addr();
        let state = Arc::new(ArcSwap::from_pointee(state));
        let trigger = DrainTrigger::new();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let Bound { socket, file } = bound;
        let socket = Arc::new(socket);
        let listening = Listening { socket: Arc::downgrade(&socket), address };
        let socket = {
            let _entered = runtime.enter();
            watch(socket)?
        };
        let accepting = Accepting {
            socket,
            file,
            state: Arc::clone(&state),
            workers,
            connections,
            drain: trigger.drain(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("accept-{name}"))
            .spawn(move || runtime.block_on(accepting.run()))?;
        Ok(Self { state, trigger, thread: Mutex::new(Some(thread)), listening })
    }

    /// The address of a TCP socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listening.local_addr()
    }

    /// The socket, for those who bind beside it.
    pub fn listening(&self) -> Listening {
        self.listening.clone()
    }

    /// Settings and certificates for connections from now on.
    pub fn update(&self, state: ListenerState) {
        self.state.store(Arc::new(state));
    }

    /// Whether its thread has ended though nobody told it to: it panicked.
    pub fn is_lost(&self) -> bool {
        self.thread.lock().as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Stops: a unix socket loses its name, what waits in the kernel's queue is accepted, the
    /// socket is closed, and every connection of this listener drains. Returns at once;
    /// [`Connections::drained`] tells when the connections are gone.
    pub fn stop(&self) {
        self.trigger.start();
    }

    /// Stops, and waits until the socket is closed. Blocks the thread.
    pub fn join(&self) {
        self.stop();
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("an acceptor panicked");
        }
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One worker, as acceptors see it.
#[derive(Clone, Debug)]
pub struct WorkerHandle {
    sender: mpsc::Sender<Accepted>,
    open: Arc<AtomicUsize>,
}

impl WorkerHandle {
    /// A handle, and the end at which the worker takes its connections, to
    /// [`serve`](super::serve) each.
    pub fn new() -> (Self, mpsc::Receiver<Accepted>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self { sender, open: Arc::default() }, receiver)
    }

    /// The worker's open connections.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// A connection on its way from an acceptor to a worker. Dropping it closes it.
#[derive(Debug)]
pub struct Accepted {
    pub(super) stream: AcceptedStream,
    pub(super) peer: Peer,
    pub(super) state: Arc<ListenerState>,
    pub(super) permit: Permit,
    pub(super) drain: Drain,
}

/// Not yet known to any runtime: it is to be registered with its worker's alone.
#[derive(Debug)]
pub(super) enum AcceptedStream {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

// === the thread ===

struct Accepting {
    socket: AsyncFd<Arc<ListenSocket>>,
    file: Option<SocketFile>,
    state: Arc<ArcSwap<ListenerState>>,
    workers: Vec<WorkerHandle>,
    connections: Arc<Connections>,
    drain: Drain,
}

impl Accepting {
    async fn run(self) {
        let mut stopped = pin!(self.drain.clone().started());
        let mut back_off = BackOff::default();
        loop {
            tokio::select! {
                biased;
                () = &mut stopped => break,
                accepted = self.accept(&mut back_off) => {
                    if let Some((stream, peer)) = accepted {
                        self.admit(stream, peer).await;
                    }
                }
            }
        }
        if let Some(file) = &self.file {
            file.remove();
        }
        // Bounded by the backlog, but a flood refills it while we take from it.
        for _ in 0..LAST_ONES {
            match self.socket.get_ref().accept() {
                Ok((stream, peer)) => self.admit_now(stream, peer),
                Err(_) => break,
            }
        }
    }

    async fn accept(&self, back_off: &mut BackOff) -> Option<(AcceptedStream, Peer)> {
        let accepted =
            self.socket.async_io(tokio::io::Interest::READABLE, |socket| socket.accept());
        match accepted.await {
            Ok(accepted) => {
                back_off.reset();
                Some(accepted)
            }
            Err(error) => {
                if let Some(pause) = back_off.after(&error) {
                    tracing::warn!(%error, ?pause, "accepting pauses");
                    // An idle connection's descriptor serves a new client better.
                    let _none_parked = self.connections.evict();
                    tokio::time::sleep(pause).await;
                }
                None
            }
        }
    }

    /// Waits for room if there is none: meanwhile new connections wait in the kernel.
    async fn admit(&self, stream: AcceptedStream, peer: Peer) {
        loop {
            let freed = self.connections.freed();
            match self.connections.admit(self.counted(peer)) {
                Ok(permit) => return self.hand_over(stream, peer, permit).await,
                Err(Refusal::Address) => return,
                Err(Refusal::Full) if self.drain.is_started() => return,
                Err(Refusal::Full) => {
                    let _none_parked = self.connections.evict();
                    // Not only when one closes: also when one parks, which nobody announces.
                    let _again = tokio::time::timeout(RETRY, freed).await.is_err();
                }
            }
        }
    }

    async fn hand_over(&self, stream: AcceptedStream, peer: Peer, permit: Permit) {
        let mut accepted = self.accepted(stream, peer, permit);
        loop {
            match self.offer(accepted) {
                Ok(()) => return,
                Err(_) if self.drain.is_started() => return,
                Err(back) => accepted = back,
            }
            // Every worker is a thousand connections behind; new ones wait in the kernel.
            tokio::time::sleep(RETRY).await;
        }
    }

    fn admit_now(&self, stream: AcceptedStream, peer: Peer) {
        if let Ok(permit) = self.connections.admit(self.counted(peer)) {
            let _dropped = self.offer(self.accepted(stream, peer, permit)).is_err();
        }
    }

    /// The address that a connection is counted for; a balancer's are those of its clients, whom
    /// nobody knows yet.
    fn counted(&self, peer: Peer) -> Option<IpAddr> {
        peer.ip().filter(|address| !self.state.load().proxies.contains(*address))
    }

    fn accepted(&self, stream: AcceptedStream, peer: Peer, permit: Permit) -> Accepted {
        Accepted { stream, peer, state: self.state.load_full(), permit, drain: self.drain.clone() }
    }

    /// To the worker with the fewest open connections; gives it back if all queues are full.
    fn offer(&self, mut accepted: Accepted) -> Result<(), Accepted> {
        let least = self
            .workers
            .iter()
            // A worker that panicked takes nothing any more; the others do until all end.
            .filter(|worker| !worker.sender.is_closed() && worker.sender.capacity() > 0)
            .min_by_key(|worker| worker.open());
        let Some(worker) = least else { return Err(accepted) };
        accepted.permit.assign(&worker.open);
        worker.sender.try_send(accepted).map_err(|error| match error {
            TrySendError::Full(back) | TrySendError::Closed(back) => back,
        })
    }
}

#[expect(
    deprecated,
    reason = "its successor is an unsafe fn; what that asks for holds: a `ListenSocket` owns one \
              descriptor for life. Tokio's own listeners would register each accepted stream with \
              this thread's runtime, only to have it taken out again for its worker's"
)]
fn watch(socket: Arc<ListenSocket>) -> io::Result<AsyncFd<Arc<ListenSocket>>> {
    AsyncFd::new(socket)
}

impl std::os::fd::AsRawFd for ListenSocket {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        match self {
            Self::Tcp(listener) => listener.as_raw_fd(),
            Self::Unix(listener) => listener.as_raw_fd(),
        }
    }
}

impl ListenSocket {
    fn accept(&self) -> io::Result<(AcceptedStream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept()?;
                stream.set_nonblocking(true)?;
                // Responses are written whole; waiting for more to send only delays their end.
                let _gone = stream.set_nodelay(true).is_err();
                let ip = address.ip().to_canonical();
                let peer = Peer::Tcp(SocketAddr::new(ip, address.port()));
                Ok((AcceptedStream::Tcp(stream), peer))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok((AcceptedStream::Unix(stream), Peer::Unix))
            }
        }
    }
}

/// How long to wait after an `accept` that failed.
///
/// When the process or the system is out of descriptors, `accept` fails at once and the connection
/// stays in the queue: without a pause the thread would spin.
#[derive(Debug, Default)]
struct BackOff {
    pause: Duration,
}

impl BackOff {
    fn reset(&mut self) {
        self.pause = Duration::ZERO;
    }

    /// `None`: the error was that one connection's, and the next may be fine.
    fn after(&mut self, error: &io::Error) -> Option<Duration> {
        let errno = Errno::from_io_error(error);
        let exhausted =
            matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM));
        // accept(2): errors already pending on the new socket; its client is gone.
        let gone = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::Interrupted
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::NetworkDown
                | io::ErrorKind::NotConnected
        ) || matches!(errno, Some(Errno::PROTO | Errno::NOPROTOOPT));
        if gone && !exhausted {
            return None;
        }
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LAST_PAUSE);
        Some(self.pause)
    }
}

/// Connections that wait for a worker; as many again wait in the kernel.
const QUEUE: usize = 1024;

/// How many are accepted after the word to stop, at most.
const LAST_ONES: usize = 65_536;

/// Between two looks for room that nobody announces.
const RETRY: Duration = Duration::from_millis(20);

/// Long enough for a connection to close, too short to be noticed.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// Short enough that nobody has to restart us when descriptors are back.
const LAST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h19_exhaustion_pauses_longer_each_time_and_recovers() {
        let mut back_off = BackOff::default();
        let no_descriptors = io::Error::from(Errno::MFILE);
        let pauses: Vec<u64> = (0..10)
            .filter_map(|_| back_off.after(&no_descriptors))
            .map(|pause| u64::try_from(pause.as_millis()).unwrap())
            .collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        back_off.reset();
        assert_eq!(back_off.after(&io::Error::from(Errno::NFILE)), Some(FIRST_PAUSE));
    }

    #[test]
    fn a_client_that_left_costs_no_pause_and_the_unknown_does() {
        let mut back_off = BackOff::default();
        for errno in [Errno::CONNABORTED, Errno::INTR, Errno::PROTO, Errno::HOSTUNREACH] {
            assert_eq!(back_off.after(&io::Error::from(errno)), None, "{errno:?}");
        }
        for errno in [Errno::NOBUFS, Errno::NOMEM, Errno::BADF] {
            assert!(back_off.after(&io::Error::from(errno)).is_some(), "{errno:?}");
        }
    }
}

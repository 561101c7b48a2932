//! The admin address' connections: accepted, bounded in number and in time.
//!
//! A peer that does nothing, or reads nothing, loses its connection; peers from elsewhere cannot
//! take the connections that this machine's operator needs.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::endpoints::{Peer, answer};
use super::{Admin, revocations};

/// A bound socket.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpListener),
    /// A path; the file's mode says who may write.
    Unix(UnixListener),
}

impl Socket {
    /// From a bound and listening TCP socket; within a runtime only.
    ///
    /// # Errors
    /// The socket cannot be made non-blocking.
    pub fn tcp(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self::Tcp(TcpListener::from_std(listener)?))
    }

    /// From a bound and listening unix socket; within a runtime only.
    ///
    /// # Errors
    /// The socket cannot be made non-blocking.
    pub fn unix(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self::Unix(UnixListener::from_std(listener)?))
    }
}

/// Serves the admin address until `stop` holds true, or nobody can set it any more; then every
/// connection is closed. To be stopped last: `/readyz` tells of the drain.
pub async fn serve(admin: Arc<Admin>, socket: Socket, mut stop: watch::Receiver<bool>) {
    let room = Room::new();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            Some(_) = connections.join_next() => {}
            (stream, peer) = accept(&socket) => {
                if let Some(permit) = room.admit(peer) {
                    connections.spawn(connection(Arc::clone(&admin), stream, peer, permit));
                }
            }
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

async fn accept(socket: &Socket) -> (Box<dyn Stream>, Peer) {
    loop {
        match try_accept(socket).await {
            Ok(accepted) => return accepted,
            Err(error) => {
                // Out of descriptors, most likely: to try again at once would only spin.
                tracing::warn!(%error, "the admin address cannot accept");
                tokio::time::sleep(ACCEPT_BACK_OFF).await;
            }
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn try_accept(socket: &Socket) -> io::Result<(Box<dyn Stream>, Peer)> {
    match socket {
        Socket::Tcp(listener) => {
            let (stream, address) = listener.accept().await?;
            let local = address.ip().to_canonical().is_loopback();
            Ok((Box::new(stream), if local { Peer::Loopback } else { Peer::Remote }))
        }
        Socket::Unix(listener) => {
            let (stream, _) = listener.accept().await?;
            Ok((Box::new(stream), Peer::Unix))
        }
    }
}

async fn connection(
    admin: Arc<Admin>,
    stream: Box<dyn Stream>,
    peer: Peer,
    _permit: OwnedSemaphorePermit,
) {
    let service = service_fn(|request| {
        let admin = Arc::clone(&admin);
        async move {
            Ok::<_, Infallible>(match revocations::is_order(peer, &request) {
                true => revocations::obey(&admin, request).await,
                false => answer(&admin, peer, &request).await,
            })
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // Errors are the peer's: gone, silent, or not speaking HTTP.
    tokio::time::timeout(LIFETIME, connection).await.ok();
}

/// How many more connections there may be.
struct Room {
    near: Arc<Semaphore>,
    far: Arc<Semaphore>,
}

impl Room {
    fn new() -> Self {
        Self {
            near: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            far: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        }
    }

    fn admit(&self, peer: Peer) -> Option<OwnedSemaphorePermit> {
        let room = match peer {
            Peer::Loopback | Peer::Unix => &self.near,
            Peer::Remote => &self.far,
        };
        Arc::clone(room).try_acquire_owned().ok()
    }
}

/// Connections from this machine, and again as many from elsewhere. A scraper, a probe and an
/// operator need three.
const MAX_CONNECTIONS: usize = 32;

/// For a head to arrive, and for a connection to idle: hyper has one timer for both. Longer than
/// the usual period of probes, so that they can keep a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);

/// The end of every connection, so that one which is never read from ends as well. Longer than a
/// reload may take.
const LIFETIME: Duration = Duration::from_secs(300);

/// Bytes of a head. Longer ones are 431.
const MAX_HEAD: usize = 16 * 1024;

const ACCEPT_BACK_OFF: Duration = Duration::from_millis(200);

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;

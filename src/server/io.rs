//! The bytes of one connection: its socket, TLS over it or not, and what they say about it.
//!
//! [`Transport`] is the socket; whether it makes progress with writing is seen here, below TLS,
//! where nothing is buffered in between. [`Io`] is what hyper reads and writes; whether a head has
//! begun is seen here, above TLS, where bytes are HTTP.

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use super::activity::{Activity, ReadOutcome};
use super::admission::Permit;

/// A client's socket, with its right to be open: the right ends with the socket, wherever that has
/// been moved to.
#[derive(Debug)]
pub(super) struct Transport {
    socket: Socket,
    activity: Arc<Activity>,
    permit: Permit,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Transport {
    pub(super) fn tcp(
        stream: std::net::TcpStream,
        activity: Arc<Activity>,
        permit: Permit,
    ) -> io::Result<Self> {
        let socket = Socket::Tcp(TcpStream::from_std(stream)?);
        Ok(Self { socket, activity, permit })
    }

    pub(super) fn unix(
        stream: std::os::unix::net::UnixStream,
        activity: Arc<Activity>,
        permit: Permit,
    ) -> io::Result<Self> {
        let socket = Socket::Unix(UnixStream::from_std(stream)?);
        Ok(Self { socket, activity, permit })
    }

    /// The first byte that waits to be read; `None` at the end, and on a unix socket, where nobody
    /// can look without taking.
    pub(super) async fn first_byte(&self) -> io::Result<Option<u8>> {
        match &self.socket {
            Socket::Tcp(stream) => {
                let mut byte = [0];
                let seen = stream.peek(&mut byte).await?;
                Ok(byte.first().copied().filter(|_| seen > 0))
            }
            Socket::Unix(_) => Ok(None),
        }
    }

    /// Counts the connection as this address's, too; false if it has enough.
    pub(super) fn count_for(&mut self, address: IpAddr) -> bool {
        self.permit.count_for(address)
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.socket {
            Socket::Tcp(stream) => stream.poll_read_ready(context),
            Socket::Unix(stream) => stream.poll_read_ready(context),
        }
    }

    /// Closes with a reset: the kernel must not keep a dead client's bytes for minutes.
    fn reset(&self) {
        if let Socket::Tcp(stream) = &self.socket {
            let _refused = stream.set_zero_linger().is_err();
        }
    }

    fn wrote<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.activity.wrote(outcome.is_ready());
        outcome
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Socket::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = match &mut this.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Socket::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        };
        this.wrote(outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = match &mut this.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Socket::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        };
        this.wrote(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Socket::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// A connection's plain bytes.
#[derive(Debug)]
pub(super) struct Io {
    layer: Layer,
    /// Read before, not consumed: comes first.
    unread: Bytes,
    activity: Arc<Activity>,
}

#[derive(Debug)]
enum Layer {
    Plain(Transport),
    Tls(Box<TlsStream<Transport>>),
}

impl Io {
    pub(super) fn plain(transport: Transport) -> Self {
        let activity = Arc::clone(&transport.activity);
        Self { layer: Layer::Plain(transport), unread: Bytes::new(), activity }
    }

    pub(super) fn tls(stream: TlsStream<Transport>) -> Self {
        let activity = Arc::clone(&stream.get_ref().0.activity);
        Self { layer: Layer::Tls(Box::new(stream)), unread: Bytes::new(), activity }
    }

    /// Puts bytes back that were read and not used.
    pub(super) fn unread(&mut self, bytes: Bytes) {
        self.unread = bytes;
    }

    /// Ready when the socket has something to say: bytes, the end, or an error. Under TLS that may
    /// be less than a byte of HTTP.
    pub(super) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.transport().poll_readable(context).map(|_any| ())
    }

    pub(super) fn reset(&self) {
        self.transport().reset();
    }

    /// Says goodbye to a client that owes us nothing.
    pub(super) async fn close(mut self) {
        let _late = tokio::time::timeout(CLOSE_WITHIN, self.shutdown()).await.is_err();
    }

    /// After the last response: lets the client finish what it is sending and throws it away. A
    /// socket that is closed with unread bytes answers with a reset, and a reset makes the
    /// client's system discard a response that it had not read yet, such as our 413.
    pub(super) async fn linger(mut self) {
        if self.activity.is_read_closed() {
            return;
        }
        let finish = async {
            // Shutting down twice is fine: hyper may have done it.
            if self.shutdown().await.is_err() {
                return;
            }
            let mut waste = vec![0_u8; WASTE];
            let transport = self.transport_mut();
            loop {
                let mut buffer = ReadBuf::new(&mut waste);
                let read = std::future::poll_fn(|context| {
                    Pin::new(&mut *transport).poll_read(context, &mut buffer)
                });
                match tokio::time::timeout(LINGER_QUIET, read).await {
                    Ok(Ok(())) if !buffer.filled().is_empty() => {}
                    Ok(Ok(()) | Err(_)) | Err(_) => return,
                }
            }
        };
        let _late = tokio::time::timeout(LINGER, finish).await.is_err();
    }

    fn transport(&self) -> &Transport {
        match &self.layer {
            Layer::Plain(transport) => transport,
            Layer::Tls(stream) => stream.get_ref().0,
        }
    }

    fn transport_mut(&mut self) -> &mut Transport {
        match &mut self.layer {
            Layer::Plain(transport) => transport,
            Layer::Tls(stream) => stream.get_mut().0,
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.unread.has_remaining() {
            let count = this.unread.len().min(buffer.remaining());
            buffer.put_slice(&this.unread.split_to(count));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let outcome = match &mut this.layer {
            Layer::Plain(transport) => Pin::new(transport).poll_read(context, buffer),
            Layer::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        this.activity.read(match &outcome {
            Poll::Pending => ReadOutcome::Pending,
            Poll::Ready(Err(_)) => ReadOutcome::End,
            Poll::Ready(Ok(())) => match buffer.filled().len() - before {
                0 => ReadOutcome::End,
                count => ReadOutcome::Bytes(count),
            },
        });
        outcome
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.activity.flushed(false);
        match &mut this.layer {
            Layer::Plain(transport) => Pin::new(transport).poll_write(context, bytes),
            Layer::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.activity.flushed(false);
        match &mut this.layer {
            Layer::Plain(transport) => Pin::new(transport).poll_write_vectored(context, slices),
            Layer::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.layer {
            Layer::Plain(transport) => transport.is_write_vectored(),
            Layer::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.activity.flushed(false);
        let outcome = ready!(match &mut this.layer {
            Layer::Plain(transport) => Pin::new(transport).poll_flush(context),
            Layer::Tls(stream) => Pin::new(stream).poll_flush(context),
        });
        this.activity.flushed(true);
        Poll::Ready(outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().layer {
            Layer::Plain(transport) => Pin::new(transport).poll_shutdown(context),
            Layer::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// For the few bytes of a TLS goodbye.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// How long a client may go on sending after its last response.
const LINGER: Duration = Duration::from_secs(10);

/// How long it may pause while doing so.
const LINGER_QUIET: Duration = Duration::from_secs(1);

/// Bytes thrown away at a time.
const WASTE: usize = 16 * 1024;

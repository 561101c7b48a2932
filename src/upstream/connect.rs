//! Opening a connection to an endpoint.
//!
//! Owns the sockets' kinds and options; the TLS handshake is part of connecting. Name resolution
//! happens on the blocking pool, never on a worker's own thread, and counts towards the connect
//! timeout; addresses that are literals are not looked up.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::Address;
use crate::http::proxy_protocol::{self, Version};

/// A connected socket.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// For whom a connection is made, as far as its endpoint is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct MadeFor {
    /// The client; `None` for ourselves, or where nobody knows an address.
    pub client: Option<SocketAddr>,
    /// The port that it asked.
    pub port: u16,
}

impl MadeFor {
    /// The header that says so. At which of our addresses the client came is not told.
    pub(super) fn header(self, version: Version) -> Vec<u8> {
        let any = match self.client {
            Some(SocketAddr::V6(_)) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            Some(SocketAddr::V4(_)) | None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        proxy_protocol::write(version, self.client, SocketAddr::new(any, self.port))
    }
}

/// Connects within the time given, and sends the `opening` in front of everything else.
///
/// # Errors
/// What the system said of the last address tried; [`io::ErrorKind::TimedOut`] after `within`.
pub(super) async fn connect(
    address: &Address,
    within: Duration,
    opening: Option<&[u8]>,
) -> io::Result<Stream> {
    let connecting = async {
        match address {
            Address::Tcp { host, port } => {
                let mut stream = tcp(host, *port).await?;
                open(&mut stream, opening).await?;
                Ok(Stream::Tcp(stream))
            }
            Address::Tls { host, port, destination } => {
                let mut stream = tcp(host, *port).await?;
                open(&mut stream, opening).await?;
                Ok(Stream::Tls(Box::new(destination.secure(stream).await?)))
            }
            Address::Unix(path) => {
                let mut stream = UnixStream::connect(path).await?;
                open(&mut stream, opening).await?;
                Ok(Stream::Unix(stream))
            }
        }
    };
    timeout(within, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let unknown = |error| io::Error::new(io::ErrorKind::HostUnreachable, error);
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in lookup_host((host, port)).await.map_err(unknown)? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Heads and bodies are written whole: waiting for more would only add latency.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Says what a connection begins with, in front of TLS too.
async fn open(stream: &mut (impl AsyncWrite + Unpin), opening: Option<&[u8]>) -> io::Result<()> {
    match opening {
        Some(bytes) => stream.write_all(bytes).await,
        None => Ok(()),
    }
}

impl Stream {
    /// Ready when nothing that was written is still here: TLS keeps what its socket does not take.
    pub(super) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
            Self::Tls(io) => Pin::new(io.as_mut()).poll_flush(cx),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tls(io) => Pin::new(io.as_mut()).poll_read(cx, buf),
            Self::Unix(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_write(cx, buf),
            Self::Tls(io) => Pin::new(io.as_mut()).poll_write(cx, buf),
            Self::Unix(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_flush(cx),
            Self::Tls(io) => Pin::new(io.as_mut()).poll_flush(cx),
            Self::Unix(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io.as_mut()).poll_shutdown(cx),
            Self::Unix(io) => Pin::new(io).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Tls(io) => Pin::new(io.as_mut()).poll_write_vectored(cx, bufs),
            Self::Unix(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, UnixListener};

    const SOON: Duration = Duration::from_secs(10);

    fn tcp_address(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.to_owned(), port }
    }

    #[tokio::test]
    async fn literals_and_names_are_reached_without_delay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost"] {
            let Stream::Tcp(io) = connect(&tcp_address(host, port), SOON, None).await.unwrap()
            else {
                panic!("a TCP address made another stream");
            };
            assert!(io.nodelay().unwrap());
        }
    }

    #[tokio::test]
    async fn unix_sockets_are_reached() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        assert!(connect(&Address::Unix(path), SOON, None).await.is_ok());
    }

    #[tokio::test]
    async fn what_is_not_there_is_refused() {
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap().port()
        };
        assert!(connect(&tcp_address("127.0.0.1", port), SOON, None).await.is_err());
        assert!(connect(&Address::Unix("/nonexistent/x.sock".into()), SOON, None).await.is_err());
    }

    #[tokio::test]
    async fn no_time_is_no_connection() {
        // A listener whose queue is full never answers: the SYN is dropped.
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let listener = listener.unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut held = Vec::new();
        let full = loop {
            let wait = Duration::from_millis(200);
            match connect(&tcp_address("127.0.0.1", address.port()), wait, None).await {
                Ok(stream) => held.push(stream),
                Err(error) => break error,
            }
            assert!(held.len() < 64, "the queue never filled");
        };
        assert_eq!(full.kind(), io::ErrorKind::TimedOut);
    }
}

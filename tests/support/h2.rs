//! An HTTP/2 client over TLS, for one connection.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body_util::{BodyExt, Limited};
use hyper::Request;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{HUNG, Response};

/// One connection, on a thread of its own; closed when this is dropped.
pub(crate) struct H2 {
    runtime: Handle,
    sender: SendRequest<Pieces>,
    _open: oneshot::Sender<()>,
}

/// A request's body, in the pieces in which it is sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pieces {
    rest: std::collections::VecDeque<Bytes>,
    /// Whether its length is told.
    known: bool,
}

impl H2 {
    /// Speaks HTTP/2 to `localhost` at this address.
    pub(crate) fn tls(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let (open, closed) = oneshot::channel::<()>();
        std::thread::spawn(move || drop(runtime.block_on(closed)));
        let sender = handle.block_on(connect(address, Arc::clone(config)));
        Self { runtime: handle, sender, _open: open }
    }

    /// Sends one request and reads its whole response.
    pub(crate) fn send(&self, request: Request<Pieces>) -> Result<Response, String> {
        self.runtime.block_on(exchange(self.sender.clone(), request))
    }

    /// Begins a request, which goes on by itself.
    pub(crate) fn begin(&self, request: Request<Pieces>) -> JoinHandle<Result<Response, String>> {
        self.runtime.spawn(exchange(self.sender.clone(), request))
    }

    /// Waits for a request that was begun.
    pub(crate) fn finish(
        &self,
        begun: JoinHandle<Result<Response, String>>,
    ) -> Result<Response, String> {
        self.runtime.block_on(begun).unwrap()
    }

    /// Whether the server has said that it takes no more requests here.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

async fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> SendRequest<Pieces> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(config).connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn exchange(
    mut sender: SendRequest<Pieces>,
    request: Request<Pieces>,
) -> Result<Response, String> {
    let answered = async {
        sender.ready().await.map_err(|error| format!("not begun: {error:?}"))?;
        let response = sender.send_request(request).await.map_err(|error| format!("{error:?}"))?;
        let (parts, body) = response.into_parts();
        #[expect(clippy::disallowed_methods, reason = "limited")]
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|error| format!("body: {error:?}"))?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let body = body.to_bytes().to_vec();
        let text = |value: &hyper::header::HeaderValue| {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        };
        let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
        let trailers =
            trailers.iter().map(|(name, value)| (format!("trailer:{name}"), text(value)));
        let headers = headers.chain(trailers).collect();
        Ok(Response { status: parts.status.as_u16(), headers, body, closes: false })
    };
    timeout(HUNG, answered).await.map_err(|_| "hung".to_owned())?
}

const MAX_BODY: usize = 64 << 20;

// === impl Pieces ===

impl Pieces {
    /// One whole, its length told unless it is empty.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            rest: Some(bytes).filter(|bytes| !bytes.is_empty()).into_iter().collect(),
            known: true,
        }
    }

    /// Several, of a length that is not told.
    pub(crate) fn of_unknown_length<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self { rest: pieces.into_iter().map(Bytes::copy_from_slice).collect(), known: false }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.rest.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.known && self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.known {
            SizeHint::with_exact(self.rest.iter().map(|piece| piece.len() as u64).sum())
        } else {
            SizeHint::new()
        }
    }
}

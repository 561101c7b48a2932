//! Real sockets, real TLS: an acceptor, one worker on the test's runtime, and raw clients.

mod http1;
mod http2;
mod lifecycle;
mod tls;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::{Request, Response};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::*;
use crate::http::Networks;
use crate::telemetry::metrics::Metrics;
use crate::tls::server::ServerTls;

/// Far longer than anything takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("did not happen in time")
}

#[derive(Clone, Default)]
struct TestHandler(Arc<Seen>);

#[derive(Default)]
struct Seen {
    refused: Mutex<Vec<Refusal>>,
    held: Mutex<Vec<usize>>,
    entered: Notify,
    release: Notify,
}

/// `length` bytes, a chunk at a time.
struct Zeros {
    left: usize,
    text: Option<Bytes>,
}

impl Body for Zeros {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Some(text) = this.text.take() {
            return Poll::Ready(Some(Ok(Frame::data(text))));
        }
        let count = this.left.min(16 * 1024);
        this.left -= count;
        let frame = (count > 0).then(|| Ok(Frame::data(Bytes::from(vec![b'0'; count]))));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.text.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let text = self.text.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact((self.left + text) as u64)
    }
}

fn text(text: impl Into<Bytes>) -> Response<Zeros> {
    Response::new(Zeros { left: 0, text: Some(text.into()) })
}

impl Handler for TestHandler {
    type Body = Zeros;

    async fn handle(
        &self,
        connection: &Arc<ConnectionInfo>,
        request: Request<Incoming>,
    ) -> Response<Zeros> {
        let end = connection.body_end();
        match request.uri().path() {
            "/echo" => {
                let body = Limited::new(request.into_body(), 1 << 20);
                #[expect(clippy::disallowed_methods, reason = "limited to 1 MiB")]
                let body = body.collect().await.unwrap().to_bytes();
                end.reached();
                text(body)
            }
            "/wait" => {
                self.0.entered.notify_one();
                self.0.release.notified().await;
                text("waited")
            }
            "/early" => {
                let mut response = text("too large");
                *response.status_mut() = hyper::StatusCode::PAYLOAD_TOO_LARGE;
                response
            }
            "/hold" => {
                // Answers at once and goes on reading, as a proxy may.
                let (seen, mut body) = (Arc::clone(&self.0), request.into_body());
                tokio::spawn(async move {
                    seen.release.notified().await;
                    let mut read = 0;
                    // Not until `None`: hyper keeps the sending end of a body that ends after its
                    // response.
                    while !body.is_end_stream() {
                        let frame = body.frame().await.unwrap().unwrap();
                        read += frame.into_data().unwrap().len();
                    }
                    seen.held.lock().push(read);
                });
                text("held")
            }
            "/big" => Response::new(Zeros { left: 64 << 20, text: None }),
            "/info" => text(format!(
                "{} {:?} {:?} {:?}",
                connection.listener,
                connection.peer.ip().map(|ip| ip.to_string()),
                connection.protocol,
                connection.tls.as_ref().map(|tls| (tls.version, tls.sni.as_deref())),
            )),
            path => text(format!("you asked for {path}")),
        }
    }

    fn abandoned(&self, _connection: &Arc<ConnectionInfo>, _request: Request<Incoming>) {}

    fn refused_head(&self, _connection: &Arc<ConnectionInfo>, refused: RefusedHead) -> Bytes {
        self.0.refused.lock().push(refused.refusal);
        format!("{:?}", refused.refusal).into()
    }
}

/// A running listener.
struct Gate {
    acceptor: Acceptor,
    connections: Arc<Connections>,
    handler: TestHandler,
    state: ListenerState,
}

struct Options {
    settings: Settings,
    tls: Option<ServerTls>,
    proxies: Networks,
    max: usize,
    per_address: usize,
    address: ListenAddress,
}

impl Default for Options {
    fn default() -> Self {
        let address = ListenAddress::Tcp { host: Some("127.0.0.1".to_owned()), port: 0 };
        Self {
            settings: Settings::default(),
            tls: None,
            proxies: Networks::default(),
            max: 100,
            per_address: 0,
            address,
        }
    }
}

impl Gate {
    fn start(options: Options) -> Self {
        let metrics = Metrics::new();
        let state = ListenerState {
            listener: 0,
            id: metrics.listener("test"),
            metrics,
            tls: options.tls,
            proxies: options.proxies,
            settings: options.settings,
        };
        let (worker, mut accepted) = WorkerHandle::new();
        let handler = TestHandler::default();
        tokio::spawn({
            let handler = handler.clone();
            async move {
                while let Some(accepted) = accepted.recv().await {
                    tokio::spawn(serve(accepted, handler.clone()));
                }
            }
        });
        let connections = Connections::new(options.max, options.per_address);
        let bound = bind(&options.address).unwrap();
        let of_acceptor = Arc::clone(&connections);
        let acceptor =
            Acceptor::start("test", bound, state.clone(), vec![worker], of_acceptor).unwrap();
        Self { acceptor, connections, handler, state }
    }

    fn with(settings: Settings) -> Self {
        Self::start(Options { settings, ..Options::default() })
    }

    fn address(&self) -> SocketAddr {
        self.acceptor.local_addr().unwrap()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.unwrap()
    }

    fn refused(&self) -> Vec<Refusal> {
        self.handler.0.refused.lock().clone()
    }

    async fn until(&self, condition: impl Fn(&Self) -> bool) {
        soon(async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: impl AsRef<[u8]>) {
    stream.write_all(bytes.as_ref()).await.unwrap();
    stream.flush().await.unwrap();
}

/// Reads until the text ends so.
async fn read_until<S: AsyncRead + Unpin>(stream: &mut S, end: &str) -> String {
    let mut read = Vec::new();
    soon(async {
        while !read.ends_with(end.as_bytes()) {
            let byte = stream.read_u8().await;
            let so_far = String::from_utf8_lossy(&read);
            read.push(byte.unwrap_or_else(|error| panic!("{error} after {so_far:?}")));
        }
    })
    .await;
    String::from_utf8(read).unwrap()
}

/// Reads until the end of the stream.
async fn read_all<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut read = Vec::new();
    soon(stream.read_to_end(&mut read)).await.unwrap();
    String::from_utf8(read).unwrap()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: example.com\r\n\r\n")
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

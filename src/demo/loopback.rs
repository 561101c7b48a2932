//! A small HTTP/1.1 server on a loopback address, for the demo's issuer and application.
//!
//! Owns the connections it accepts. Trusts nobody less for being local: heads, bodies, connections
//! and silences are bounded, and a listener on any other address is refused.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

/// A running server; it ends, with its connections, when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Serves `listener` with `answer` on `runtime`.
    ///
    /// # Errors
    /// The address is not a loopback address, or the socket cannot be used.
    pub(super) fn start<A, F>(
        listener: std::net::TcpListener,
        runtime: &Handle,
        answer: A,
    ) -> io::Result<Self>
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() {
            let text = format!("`{address}` is not a loopback address");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        listener.set_nonblocking(true)?;
        let _entered = runtime.enter();
        let listener = TcpListener::from_std(listener)?;
        Ok(Self { address, accepting: runtime.spawn(accept(listener, answer)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept<A, F>(listener: TcpListener, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    // Inside the task that is aborted, so that no connection outlives the server.
    let mut connections = JoinSet::new();
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let answer = answer.clone();
                connections.spawn(async move {
                    speak(stream, answer).await;
                    drop(permit);
                });
            }
            // Most likely out of descriptors: trying again at once would only spin.
            Err(_) => tokio::time::sleep(AFTER_FAILED_ACCEPT).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn speak<A, F>(stream: TcpStream, answer: A)
where
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Full<Bytes>>>,
{
    let service = service_fn(move |request| {
        let response = answer(request);
        async { Ok::<_, Infallible>(response.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SILENCE)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to a demo server broke");
    }
}

/// More than the gateway's own pools ever hold; a flood by something else only waits.
const MAX_CONNECTIONS: usize = 512;
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);
/// For the next head, a kept-alive connection's idle time included: far beyond the pool's own.
const SILENCE: Duration = Duration::from_secs(75);
/// The gateway lets 90 through and adds its own.
const MAX_HEADERS: usize = 200;
const MAX_HEAD: usize = 128 * 1024;

// === Requests and responses ===

/// The whole body, at most `limit` bytes long and in at most ten seconds; else the refusal.
pub(super) async fn read_body(body: Incoming, limit: usize) -> Result<Bytes, StatusCode> {
    #[expect(clippy::disallowed_methods, reason = "limited by every caller to some kilobytes")]
    let collected = Limited::new(body, limit).collect();
    match tokio::time::timeout(BODY_TIME, collected).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

const BODY_TIME: Duration = Duration::from_secs(10);

/// A response with `body` as JSON.
pub(super) fn json(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    content(status, "application/json", body.to_string())
}

/// A response that nobody stores and nobody reads as another type.
pub(super) fn content(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use hyper::client::conn::http1::handshake;

    /// A listener on a free port of 127.0.0.1.
    pub(in crate::demo) fn listener() -> std::net::TcpListener {
        std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap()
    }

    /// Sends one request over a connection of its own.
    pub(in crate::demo) async fn send(
        server: &Server,
        mut request: Request<Full<Bytes>>,
    ) -> Response<Bytes> {
        let stream = TcpStream::connect(server.address()).await.unwrap();
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("demo.test"));
        let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
        #[expect(clippy::disallowed_methods, reason = "limited")]
        let body = Limited::new(body, 1 << 20).collect().await.unwrap();
        Response::from_parts(parts, body.to_bytes())
    }

    #[tokio::test]
    async fn only_loopback_is_served() {
        let listener = std::net::TcpListener::bind(("0.0.0.0", 0)).unwrap();
        let refused = Server::start(listener, &Handle::current(), |_| async {
            content(StatusCode::OK, "text/plain", "")
        });
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[tokio::test]
    async fn a_dropped_server_ends_with_its_connections() {
        let server = Server::start(listener(), &Handle::current(), |_| async {
            content(StatusCode::OK, "text/plain", "here")
        })
        .unwrap();
        let response = send(&server, Request::new(Full::default())).await;
        assert_eq!(response.body(), "here");
        let address = server.address();
        let mut open = TcpStream::connect(address).await.unwrap();
        drop(server);
        let mut byte = [0];
        let end = tokio::io::AsyncReadExt::read(&mut open, &mut byte).await;
        assert!(matches!(end, Ok(0) | Err(_)));
        assert!(TcpStream::connect(address).await.is_err());
    }
}

//! Clients that ask for as long as they are told to, and forgive nothing.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use rustls::ClientConfig;

use super::Response;
use super::caller::{Body, http1, http2};
use super::client::{Broken, Client};
use super::h2::H2;
use super::upstream::{Received, Then, Upstream};

/// The ends of a load: when to stop, and what came of it.
#[derive(Default)]
pub(crate) struct Load {
    stopped: AtomicBool,
    served: AtomicUsize,
}

/// Where a gateway listens, and who may ask.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) http1: Arc<ClientConfig>,
    pub(crate) h2: Arc<ClientConfig>,
    /// Good for `/guarded/*`.
    pub(crate) token: String,
}

impl Load {
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// Runs `client`; if it fails, all others are told to stop.
    pub(crate) fn run<T>(&self, client: impl FnOnce() -> T) -> T {
        let _guard = StopOnPanic(self);
        client()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    pub(crate) fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }

    pub(crate) fn count(&self) {
        self.served.fetch_add(1, Ordering::SeqCst);
    }
}

struct StopOnPanic<'a>(&'a Load);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

/// Says what was asked for; `/stream/*` slowly, in pieces; to a body, its length.
pub(crate) fn application() -> Upstream {
    Upstream::start(|request, stream| {
        let body = expected(request.target(), decoded(request).len());
        if !request.target().starts_with("/stream/") {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
            return Ok(Then::Keep);
        }
        write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for piece in body.as_bytes().chunks(body.len() / PIECES + 1) {
            write_chunk(stream, piece)?;
            sleep(Duration::from_millis(1));
        }
        stream.write_all(b"0\r\n\r\n")?;
        Ok(Then::Keep)
    })
}

const PIECES: usize = 30;

fn write_chunk(stream: &mut TcpStream, piece: &[u8]) -> io::Result<()> {
    let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
    chunk.extend_from_slice(piece);
    chunk.extend_from_slice(b"\r\n");
    stream.write_all(&chunk)
}

/// The tests' bodies are one chunk, or plain.
fn decoded(request: &Received) -> &[u8] {
    if request.headers("transfer-encoding").is_empty() {
        return &request.body;
    }
    let start = request.body.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    request.body[start..].strip_suffix(b"\r\n0\r\n\r\n").unwrap_or(&[])
}

/// What the application says to this.
pub(crate) fn expected(path: &str, received: usize) -> String {
    let line = format!("{path} with {received} bytes\n");
    if path.starts_with("/stream/") { line.repeat(400) } else { line }
}

/// Panics unless the response is the whole right one to `path`.
#[track_caller]
pub(crate) fn is_whole(response: Response, path: &str, sent: usize) {
    let response = response.expect(200);
    assert!(response.body == expected(path, sent).as_bytes(), "{path}: {:?}", response.headers);
}

/// The load's requests: paths that no other has.
pub(crate) fn paths(kind: &str, client: usize) -> impl Iterator<Item = String> {
    (0..).map(move |number| format!("/{kind}/{client}/{number}"))
}

/// One connection for all requests, which must never end by itself.
pub(crate) fn keep_alive(load: &Load, mut client: Client, kind: &str, number: usize, token: &str) {
    let authorization = format!("Bearer {token}");
    let headers = [("Authorization", authorization.as_str())];
    for (round, path) in paths(kind, number).enumerate() {
        if load.is_stopped() {
            return;
        }
        let sent = if round % 2 == 0 { &b""[..] } else { b"some body" };
        let (method, body) = match round % 3 {
            _ if sent.is_empty() => ("GET", Body::None),
            0 => ("POST", Body::Whole(sent)),
            _ => ("POST", Body::Pieces(&[b"some body"])),
        };
        client.send(http1(method, &path, &headers, body));
        let response = match client.try_response(method) {
            Ok(response) => response,
            Err(broken) => panic!("{path}: {broken}"),
        };
        assert!(!response.closes, "{path}: the connection was closed");
        is_whole(response, &path, sent.len());
        load.count();
    }
}

/// A connection for each request.
pub(crate) fn fresh(load: &Load, target: &Target, number: usize) {
    for (round, path) in paths("fresh", number).enumerate() {
        if load.is_stopped() {
            return;
        }
        let mut client = match round % 2 {
            0 => Client::tcp(target.plain),
            _ => Client::tls(target.tls, &target.http1),
        };
        is_whole(client.get(&path, "Connection: close\r\n"), &path, 0);
        client.expect_end();
        load.count();
    }
}

/// One connection, four streams at a time.
pub(crate) fn http2_streams(load: &Load, target: &Target, number: usize) {
    let client = H2::tls(target.tls, &target.h2);
    let mut paths = paths("stream", number);
    while !load.is_stopped() {
        let begun: Vec<_> = ["/plain", "", "/guarded", "/plain"]
            .iter()
            .map(|prefix| format!("{prefix}{}", paths.next().unwrap()))
            .map(|path| {
                let authorization = format!("Bearer {}", target.token);
                let headers = [("authorization", authorization.as_str())];
                (client.begin(http2("GET", &path, &headers, Body::None)), path)
            })
            .collect();
        for (begun, path) in begun {
            match client.finish(begun) {
                Ok(response) => is_whole(response, &path, 0),
                Err(error) => panic!("{path}: {error}"),
            }
            load.count();
        }
    }
    assert!(!client.is_closed(), "the HTTP/2 connection was closed");
}

/// How a client's last request ended while a gateway drained.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// With its whole response.
    Answered,
    /// With no byte of one: nothing of it may have been read.
    Untouched(String),
}

/// Like [`keep_alive`], but until the gateway ends the connection.
pub(crate) fn until_drained(load: &Load, mut client: Client, kind: &str, number: usize) -> Last {
    for path in paths(kind, number) {
        if client.try_send(http1("GET", &path, &[], Body::None)).is_err() {
            return Last::Untouched(path);
        }
        match client.try_response("GET") {
            Ok(response) => {
                let closes = response.closes;
                is_whole(response, &path, 0);
                load.count();
                if closes {
                    client.expect_end();
                    return Last::Answered;
                }
            }
            Err(Broken::Nothing(_)) => return Last::Untouched(path),
            Err(broken) => panic!("{path}: {broken}"),
        }
    }
    Last::Answered
}

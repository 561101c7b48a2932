//! An issuer on loopback that can rotate, fail, stall, redirect and send rubbish.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// What a path answers with.
#[derive(Clone)]
pub(super) enum Answer {
    /// Closes the connection instead.
    Close,
    /// These bytes, one after the other and the last one never.
    Drip(Vec<u8>),
    /// These bytes, head and all.
    Raw(Vec<u8>),
    /// These bytes, and then a reset of the connection.
    Reset(Vec<u8>),
    /// Nothing, for ever.
    Stall,
}

impl Answer {
    pub(super) fn json(body: impl ToString) -> Self {
        Self::with_headers(200, "Content-Type: application/json\r\n", body.to_string().as_bytes())
    }

    pub(super) fn with_headers(status: u16, headers: &str, body: &[u8]) -> Self {
        let head =
            format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        Self::Raw([head.as_bytes(), body].concat())
    }
}

/// A request as received: its path, and its whole head in lower case.
#[derive(Clone)]
pub(super) struct Received {
    pub(super) path: String,
    pub(super) head: String,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<HashMap<String, Answer>>,
    /// Answers to requests with If-None-Match.
    unchanged: Mutex<Option<Answer>>,
    received: Mutex<Vec<Received>>,
}

impl Shared {
    fn resets(&self) -> bool {
        self.answers.lock().values().any(|answer| matches!(answer, Answer::Reset(_)))
    }
}

pub(super) struct Issuer {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    open: watch::Sender<bool>,
}

impl Issuer {
    pub(super) async fn start() -> Self {
        Self::start_with(None).await
    }

    pub(super) async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let open = watch::Sender::new(true);
        let (state, gate) = (Arc::clone(&shared), open.subscribe());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if state.resets() {
                    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                }
                let (state, gate, tls) = (Arc::clone(&state), gate.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &state, gate).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &state, gate).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, shared, open }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn answer(&self, path: &str, answer: Answer) {
        self.shared.answers.lock().insert(path.to_owned(), answer);
    }

    pub(super) fn answer_unchanged(&self, answer: Answer) {
        *self.shared.unchanged.lock() = Some(answer);
    }

    /// Requests that arrived for `path`.
    pub(super) fn count(&self, path: &str) -> usize {
        self.shared.received.lock().iter().filter(|received| received.path == path).count()
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().clone()
    }

    /// Requests are received, but answered only after [`Issuer::release`].
    pub(super) fn hold(&self) {
        self.open.send_replace(false);
    }

    pub(super) fn release(&self) {
        self.open.send_replace(true);
    }
}

async fn drip<S: AsyncWrite + Unpin>(mut stream: S, bytes: &[u8]) {
    for byte in bytes {
        if stream.write_u8(*byte).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    std::future::pending().await
}

async fn serve<S>(mut stream: S, shared: &Shared, mut gate: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let head = head.to_lowercase();
    let conditional = head.contains("if-none-match:");
    shared.received.lock().push(Received { path: path.clone(), head });
    if gate.wait_for(|open| *open).await.is_err() {
        return;
    }
    let unchanged = shared.unchanged.lock().clone().filter(|_| conditional);
    let answer = unchanged.or_else(|| shared.answers.lock().get(&path).cloned());
    let bytes = match answer {
        Some(Answer::Close) => return,
        Some(Answer::Drip(bytes)) => return drip(stream, &bytes).await,
        Some(Answer::Raw(bytes)) => bytes,
        Some(Answer::Reset(bytes)) => {
            drop(stream.write_all(&bytes).await);
            return;
        }
        Some(Answer::Stall) => return std::future::pending().await,
        None => b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n".to_vec(),
    };
    // The client may be gone, or have had enough of a long answer.
    if stream.write_all(&bytes).await.is_ok() {
        drop(stream.shutdown().await);
    }
}

//! An application server that speaks HTTP/2 in clear text and keeps every request's head.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::pin::Pin;
use std::sync::Arc;

use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, Response};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// A request that waits for its answer.
pub(crate) struct Call {
    pub(crate) head: Request<()>,
    pub(crate) body: RecvStream,
    pub(crate) respond: SendResponse<Bytes>,
    pub(crate) shared: Arc<Shared>,
}

/// What a server has seen.
#[derive(Default)]
pub(crate) struct Shared {
    heads: Mutex<Vec<(usize, Request<()>)>>,
    /// Streams open now, and the most there were, by connection.
    open: Mutex<BTreeMap<usize, (usize, usize)>>,
    resets: Mutex<Vec<Reason>>,
}

type Answer = dyn Fn(Call) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// A running server; it ends, with its connections, when this is dropped.
pub(crate) struct H2Upstream {
    pub(crate) address: SocketAddr,
    pub(crate) shared: Arc<Shared>,
    _open: oneshot::Sender<()>,
}

impl H2Upstream {
    /// Answers each request with what `answer` does; at most `streams` at once on a connection.
    pub(crate) fn start<F>(streams: u32, answer: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::after(0, streams, answer)
    }

    /// The same, but the first `goodbyes` connections say GOAWAY to whatever is asked there, and
    /// that they did nothing about it.
    pub(crate) fn after<F>(
        goodbyes: usize,
        streams: u32,
        answer: impl Fn(Call) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let answer: Arc<Answer> = Arc::new(move |call| Box::pin(answer(call)));
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let (open, closed) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::spawn(async move {
                    for index in 0.. {
                        let Ok((stream, _)) = listener.accept().await else { return };
                        if index < goodbyes {
                            let stream = stream.into_std().unwrap();
                            tokio::task::spawn_blocking(move || leave(stream));
                            continue;
                        }
                        let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                        tokio::spawn(serve(stream, index, streams, answer, seen));
                    }
                });
                drop(closed.await);
            });
        });
        Self { address, shared, _open: open }
    }

    pub(crate) fn url(&self) -> String {
        format!("h2c://{}", self.address)
    }

    /// The heads so far, each with the number of its connection.
    pub(crate) fn heads(&self) -> Vec<(usize, Request<()>)> {
        self.shared.heads.lock().clone()
    }

    /// The most streams that were open at once, on each connection.
    pub(crate) fn most_streams(&self) -> Vec<usize> {
        self.shared.open.lock().values().map(|(_, most)| *most).collect()
    }

    /// Why streams were reset by the gateway.
    pub(crate) fn resets(&self) -> Vec<Reason> {
        self.shared.resets.lock().clone()
    }
}

async fn serve(
    stream: TcpStream,
    index: usize,
    streams: u32,
    answer: Arc<Answer>,
    shared: Arc<Shared>,
) {
    stream.set_nodelay(true).unwrap();
    let handshake = Builder::new().max_concurrent_streams(streams).handshake(stream).await;
    let Ok(mut connection) = handshake else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let (head, body) = request.into_parts();
        let head = Request::from_parts(head, ());
        shared.heads.lock().push((index, head.clone()));
        {
            let mut open = shared.open.lock();
            let (now, most) = open.entry(index).or_default();
            *now += 1;
            *most = (*now).max(*most);
        }
        let call = Call { head, body, respond, shared: Arc::clone(&shared) };
        let answered = answer(call);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            answered.await;
            shared.open.lock().entry(index).or_default().0 -= 1;
        });
    }
}

/// Reads a request's head, and says that nothing here was looked at.
fn leave(mut stream: StdStream) {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(super::HUNG)).unwrap();
    stream.write_all(&frame(4, 0, 0, &[])).unwrap();
    let mut seen = [0; 24];
    stream.read_exact(&mut seen).unwrap();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).is_err() {
            return;
        }
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        stream.read_exact(&mut vec![0; length]).unwrap();
        // HEADERS
        if head[3] == 1 {
            break;
        }
    }
    // GOAWAY: no stream was the last, and there is no error.
    stream.write_all(&frame(7, 0, 0, &[0; 8])).unwrap();
    drop(stream.read_to_end(&mut Vec::new()));
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

// === impl Call ===

impl Call {
    /// The whole body.
    pub(crate) async fn read(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(Ok(data)) = self.body.data().await {
            self.body.flow_control().release_capacity(data.len()).unwrap();
            all.extend_from_slice(&data);
        }
        all
    }

    /// A whole answer of gRPC's.
    pub(crate) fn answer(&mut self, message: &[u8], trailers: &[(&'static str, &'static str)]) {
        let response = Response::builder()
            .header("content-type", "application/grpc")
            .header("x-initial", "first")
            .body(())
            .unwrap();
        let mut stream = self.respond.send_response(response, false).unwrap();
        stream.send_data(Bytes::copy_from_slice(message), false).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in trailers {
            map.append(*name, HeaderValue::from_static(value));
        }
        stream.send_trailers(map).unwrap();
    }

    /// Waits until the gateway takes the request back.
    pub(crate) async fn taken_back(&mut self) {
        let reason = std::future::poll_fn(|cx| self.respond.poll_reset(cx)).await;
        self.shared.reset(reason.unwrap());
    }
}

impl Shared {
    /// Notes that the gateway reset a stream.
    pub(crate) fn reset(&self, reason: Reason) {
        self.resets.lock().push(reason);
    }
}

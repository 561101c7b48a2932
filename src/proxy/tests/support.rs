//! The three parties: a scripted upstream, a one-route gateway, a client of raw bytes.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::mpsc;

use super::super::*;
use crate::auth::{Guarded, Policy};
use crate::http::authority::Scheme;
use crate::http::body::BodyLimits;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Address, Settings, Upstream, endpoint};

/// A request as an upstream received it.
#[derive(Clone, Debug, Default)]
pub(super) struct Received {
    pub(super) connection: usize,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Received {
    /// All values of a header, by its lower-case name.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let values = lines.filter(|(n, _)| n.eq_ignore_ascii_case(name));
        values.map(|(_, value)| value.to_owned()).collect()
    }

    pub(super) fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }
}

/// What an upstream does with a request.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    bytes: Vec<u8>,
    then: Then,
}

/// What it does after the bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    Close,
    KeepAlive,
    Reset,
    /// Neither sends nor closes, until the other side closes.
    Stall,
}

pub(super) fn reply(bytes: impl AsRef<[u8]>, then: Then) -> Reply {
    Reply { bytes: bytes.as_ref().to_vec(), then }
}

pub(super) fn ok(body: &str) -> Reply {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    reply(head, Then::KeepAlive)
}

/// An endpoint on a unix socket.
pub(super) fn unix_endpoint(path: &Path) -> endpoint::Settings {
    let (address, label) = (Address::Unix(path.to_owned()), format!("unix:{}", path.display()));
    endpoint::Settings { address, label, weight: 1, backup: false }
}

/// A real server that answers each request as its script says.
pub(super) struct Script {
    pub(super) port: u16,
    log: Arc<Mutex<Vec<Received>>>,
    /// One for each connection that has ended.
    ended: mpsc::Receiver<usize>,
}

impl Script {
    pub(super) async fn start(
        script: impl Fn(&Received) -> Reply + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (log, (sender, ended)) = (Arc::default(), mpsc::channel(64));
        let kept = Arc::clone(&log);
        tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (script, log, sender) = (script.clone(), Arc::clone(&log), sender.clone());
                tokio::spawn(async move {
                    let (mut stream, then) = serve(stream, connection, &script, &log).await;
                    match then {
                        Then::Reset => {
                            socket2::SockRef::from(&stream)
                                .set_linger(Some(Duration::ZERO))
                                .unwrap();
                        }
                        Then::Stall => drop(stream.read_to_end(&mut Vec::new()).await),
                        Then::Close | Then::KeepAlive => {}
                    }
                    drop(stream);
                    sender.try_send(connection).unwrap_or_default();
                });
            }
        });
        Self { port, log: kept, ended }
    }

    pub(super) async fn on_unix_socket(path: &Path) {
        let listener = UnixListener::bind(path).unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let log = Mutex::default();
                tokio::spawn(async move {
                    serve(stream, 0, &|_: &Received| ok("unix"), &log).await;
                });
            }
        });
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.log.lock().clone()
    }

    /// Waits until a connection has ended on the upstream's side.
    pub(super) async fn connection_ended(&mut self) -> usize {
        self.ended.recv().await.unwrap()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    connection: usize,
    script: &(impl Fn(&Received) -> Reply + Sync),
    log: &Mutex<Vec<Received>>,
) -> (S, Then) {
    let mut stream = BufReader::new(stream);
    loop {
        let Some(mut request) = read_request(&mut stream).await else {
            return (stream.into_inner(), Then::Close);
        };
        request.connection = connection;
        log.lock().push(request.clone());
        let reply = script(&request);
        drop(stream.write_all(&reply.bytes).await);
        drop(stream.flush().await);
        if !matches!(reply.then, Then::KeepAlive) {
            return (stream.into_inner(), reply.then);
        }
    }
}

/// Strict about framing: exactly one of Content-Length and chunked.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Received> {
    let mut request =
        Received { head: read_until(stream, "\r\n\r\n").await?, ..Default::default() };
    let (lengths, chunked) = (request.all("content-length"), request.all("transfer-encoding"));
    match (&lengths[..], &chunked[..]) {
        ([], []) => {}
        ([length], []) => {
            // An upstream that answers early does not read the body.
            if request.line().contains("/early") {
                return Some(request);
            }
            request.body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut request.body).await.ok()?;
        }
        ([], [chunked]) => {
            assert_eq!(chunked, "chunked");
            loop {
                let size = read_until(stream, "\r\n").await?;
                let mut piece = vec![0; usize::from_str_radix(size.trim(), 16).unwrap() + 2];
                stream.read_exact(&mut piece).await.ok()?;
                assert!(piece.ends_with(b"\r\n"));
                if piece.len() == 2 {
                    break;
                }
                request.body.extend_from_slice(&piece[..piece.len() - 2]);
            }
        }
        _ => panic!("two framings: {}", request.head),
    }
    Some(request)
}

async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> Option<String> {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        read.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(read).unwrap())
}

/// A gateway with one public route.
pub(super) struct Gateway {
    address: SocketAddr,
    pub(super) upstream: Arc<Upstream>,
    metrics: Arc<Metrics>,
    pub(super) pools: Arc<Pools>,
    pub(super) spool: Arc<Spool>,
    traces: mpsc::Receiver<Trace>,
}

/// What a test may want to set.
pub(super) struct Setup {
    pub(super) settings: Settings,
    pub(super) spool: Spool,
    pub(super) limits: BodyLimits,
}

impl Setup {
    pub(super) fn on(ports: &[u16]) -> Self {
        let balance = crate::upstream::Balance::RoundRobin;
        Self {
            settings: crate::upstream::tests::on_ports(ports, balance),
            spool: Spool::new(1 << 20, 16 << 20, None),
            limits: BodyLimits { max: 8 << 20, idle: Duration::from_secs(30), paced: true },
        }
    }

    pub(super) async fn start(self) -> Gateway {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Arc::clone(&self.settings.metrics);
        let upstream = Arc::new(Upstream::new(self.settings));
        let pools = Arc::new(Pools::new(NonZeroUsize::MIN));
        let spool = Arc::new(self.spool);
        let (sender, traces) = mpsc::channel(20_000);
        let route = Arc::new(Route {
            action: Guarded::new(
                Policy::Public,
                Proxy {
                    upstream: Arc::clone(&upstream),
                    by: None,
                    edits: None,
                    buffers_requests: upstream.kind() == crate::upstream::Kind::Wsgi,
                    buffers_responses: upstream.kind() == crate::upstream::Kind::Wsgi,
                },
            ),
            pools: Arc::clone(&pools),
            spool: Arc::clone(&spool),
            limits: self.limits,
            via: Via::new("test"),
            clock: Clock::system(),
            traces: sender,
        });
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let route = Arc::clone(&route);
                let service = hyper::service::service_fn(move |request| {
                    let route = Arc::clone(&route);
                    async move { Ok::<_, Infallible>(route.handle(request).await) }
                });
                let served = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(served);
            }
        });
        Gateway { address, upstream, metrics, pools, spool, traces }
    }
}

struct Route {
    action: Guarded<Proxy>,
    pools: Arc<Pools>,
    spool: Arc<Spool>,
    limits: BodyLimits,
    via: Via,
    clock: Clock,
    traces: mpsc::Sender<Trace>,
}

impl Route {
    async fn handle(&self, request: Request<Incoming>) -> Response<Either<Body, Empty<Bytes>>> {
        let permit = self.action.authorize(None, self.clock.wall()).unwrap();
        let host = request.headers().get("host").cloned();
        let host = host.unwrap_or_else(|| HeaderValue::from_static("test.example"));
        let ctx = Forward {
            pools: &self.pools,
            spool: &self.spool,
            origin: Origin {
                client: Some([192, 0, 2, 7].into()),
                hops: &[],
                scheme: Scheme::Https,
                host: &host,
                port: 443,
                standard: false,
            },
            via: &self.via,
            request_id: (
                &HeaderName::from_static("x-request-id"),
                &HeaderValue::from_static("some-id"),
            ),
            assertion: None,
            client_certificate: None,
            client_port: 50_007,
            clock: &self.clock,
        };
        let request = request.map(|body| RequestBody::new(body, self.limits));
        let mut trace = Trace::default();
        let result = forward(permit, request, ctx, &mut trace).await;
        self.traces.try_send(trace).unwrap_or_default();
        match result {
            Ok(response) => response.map(Either::Left),
            Err(failure) => {
                let mut response = Response::new(Either::Right(Empty::new()));
                *response.status_mut() = StatusCode::IM_A_TEAPOT;
                let reason = HeaderValue::from_static(failure.reason().as_str());
                response.headers_mut().insert("reason", reason);
                response
            }
        }
    }
}

/// What a client got.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The status, or the reason where forwarding failed.
    pub(super) fn verdict(&self) -> &str {
        let reason = self.head.lines().find_map(|line| line.strip_prefix("reason: "));
        reason.unwrap_or_else(|| self.head.split(' ').nth(1).unwrap_or("nothing"))
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Gateway {
    pub(super) async fn start(ports: &[u16]) -> Self {
        Setup::on(ports).start().await
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// One request on a connection of its own; a `Connection: close` is added to the head.
    pub(super) async fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let text = request.as_ref();
        let line = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let mut stream = self.connect().await;
        let mut whole = text[..line].to_vec();
        whole.extend_from_slice(b"Connection: close\r\n");
        whole.extend_from_slice(&text[line..]);
        // The answer may come, and the connection go, before all of it is read.
        drop(stream.write_all(&whole).await);
        read_answer(&mut stream).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: test.example\r\n\r\n")).await
    }

    pub(super) async fn post(&self, path: &str, body: &str) -> Answer {
        let length = body.len();
        let head = "HTTP/1.1\r\nHost: test.example\r\nContent-Length:";
        self.ask(format!("POST {path} {head} {length}\r\n\r\n{body}")).await
    }

    /// Open connections to the upstream as the metrics have them: in use, idle.
    pub(super) fn connections(&self) -> (u64, u64) {
        (self.series("connections", "active"), self.series("connections", "idle"))
    }

    /// Failed attempts that were counted for a reason.
    pub(super) fn errors(&self, reason: &str) -> u64 {
        self.series("errors_total", reason)
    }

    /// The sum of a family's series that have this label value.
    fn series(&self, family: &str, label: &str) -> u64 {
        let family = format!("portcullis_upstream_{family}{{");
        let label = format!("=\"{label}\"");
        let text = self.metrics.render();
        let lines = text.lines().filter(|line| line.starts_with(&family) && line.contains(&label));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    pub(super) async fn trace(&mut self) -> Trace {
        self.traces.recv().await.unwrap()
    }
}

/// Reads to the end of the connection.
pub(super) async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut read = Vec::new();
    if let Err(error) = stream.read_to_end(&mut read).await {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    let end = read.windows(4).position(|four| four == b"\r\n\r\n").map_or(read.len(), |at| at + 4);
    let body = read.split_off(end);
    Answer { head: String::from_utf8(read).unwrap(), body }
}

/// Lets the runtime read what has arrived: what follows must not depend on whether it has.
pub(super) async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

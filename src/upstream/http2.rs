//! HTTP/2 connections to endpoints, each shared by many exchanges of one worker.
//!
//! Owns the connections of a worker by endpoint: who may begin a stream on which, and one opening at
//! a time for all that wait for it. The h2 crate runs the protocol in a task of its own for each
//! connection. An endpoint's limit on streams is obeyed, and no larger one than ours believed; a
//! connection that says GOAWAY gets no new stream and ends with its last.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::connect::{Stream, connect};
use super::connection::Open;
use super::{Address, Endpoint, Upstream};
use crate::telemetry::labels::PooledState;
use crate::telemetry::metrics::UpstreamConnection;

/// The HTTP/2 connections of one worker, by the id of their endpoint.
#[derive(Debug, Default)]
pub(crate) struct Connections(Mutex<BTreeMap<u64, Reached>>);

/// What leads to one endpoint.
#[derive(Debug)]
struct Reached {
    upstream: Arc<Upstream>,
    links: Vec<Arc<Link>>,
    /// What becomes of the connection that is being opened.
    opening: Option<watch::Receiver<Opening>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    UnderWay,
    Open,
    Failed(io::ErrorKind),
}

/// One connection.
struct Link {
    requests: SendRequest<Bytes>,
    state: Mutex<State>,
    _open: Open,
}

struct State {
    /// Streams that are alive here.
    streams: usize,
    idle_since: Instant,
    gauge: UpstreamConnection,
}

/// The right to one stream of a connection; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    link: Arc<Link>,
    /// Whether the connection had streams before.
    pub(crate) reused: bool,
}

/// What somebody who needs a stream has to do.
enum Place {
    Begin(Claim),
    Wait(watch::Receiver<Opening>),
    Open(watch::Sender<Opening>),
}

/// Streams of ours on one connection, whatever the endpoint allows.
const MOST_STREAMS: usize = 256;

/// What an endpoint may send on a stream, and on all of a connection, before somebody reads. The
/// connection's is that of all its streams together: clients that read slowly would otherwise hold
/// up those of other clients on the same connection.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 256;

/// Of a request's body, per stream, on its way to the socket.
const SEND_BUFFER: usize = 64 * 1024;

/// Largest header list of a response, as over HTTP/1.1.
const LARGEST_LIST: u32 = 64 * 1024;

impl Connections {
    /// A stream to `endpoint`, over a connection that stands or a fresh one.
    ///
    /// # Errors
    /// What the system or TLS said of the connection that was opened, here or by somebody else at
    /// this moment: a row of them would each wait for as long.
    pub(crate) async fn claim(
        &self,
        upstream: &Arc<Upstream>,
        endpoint: &Endpoint,
    ) -> io::Result<Claim> {
        // Another one if its address changes meanwhile: what was opened belongs to this one.
        let (id, address) = endpoint.reach().ok_or(io::ErrorKind::NotFound)?;
        loop {
            match self.place(upstream, id) {
                Place::Begin(claim) => return Ok(claim),
                Place::Wait(mut opening) => {
                    let over = opening.wait_for(|state| *state != Opening::UnderWay).await;
                    // Whoever opened it may have left; then somebody else does.
                    if let Ok(Opening::Failed(kind)) = over.as_deref() {
                        return Err((*kind).into());
                    }
                }
                Place::Open(opening) => {
                    let opened = open(upstream, endpoint, &address).await;
                    let claim = match opened {
                        Ok(link) => Ok(self.keep(id, link)),
                        Err(error) => {
                            opening.send_replace(Opening::Failed(error.kind()));
                            self.opened(id);
                            return Err(error);
                        }
                    };
                    opening.send_replace(Opening::Open);
                    return claim;
                }
            }
        }
    }

    fn place(&self, upstream: &Arc<Upstream>, endpoint: u64) -> Place {
        let mut reached = self.0.lock();
        let reached = reached.entry(endpoint).or_insert_with(|| Reached {
            upstream: Arc::clone(upstream),
            links: Vec::new(),
            opening: None,
        });
        reached.links.retain(|link| link.is_open());
        if let Some(claim) = reached.links.iter().find_map(Claim::of) {
            return Place::Begin(claim);
        }
        match &reached.opening {
            Some(opening) if reached.is_opening() => Place::Wait(opening.clone()),
            Some(_) | None => {
                let (sender, receiver) = watch::channel(Opening::UnderWay);
                reached.opening = Some(receiver);
                Place::Open(sender)
            }
        }
    }

    /// Keeps a connection that was opened, and begins the first stream on it.
    fn keep(&self, endpoint: u64, link: Link) -> Claim {
        let link = Arc::new(link);
        link.state.lock().streams += 1;
        if let Some(reached) = self.0.lock().get_mut(&endpoint) {
            reached.links.push(Arc::clone(&link));
            reached.opening = None;
        }
        Claim { link, reused: false }
    }

    fn opened(&self, endpoint: u64) {
        if let Some(reached) = self.0.lock().get_mut(&endpoint) {
            reached.opening = None;
        }
    }

    /// Closes what has ended, and what had no stream for as long as its upstream keeps such.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.0.lock().retain(|_, reached| {
            let idle = reached.upstream.timeouts().idle;
            reached.links.retain(|link| link.is_open() && !link.is_idle_since(now, idle));
            !reached.links.is_empty() || reached.is_opening()
        });
    }

    /// Forgets what leads to upstreams that are not among `upstreams`; streams go on to their end.
    pub(crate) fn retain(&self, upstreams: &[Arc<Upstream>]) {
        let kept = |id: u64| upstreams.iter().any(|upstream| upstream.id() == id);
        self.0.lock().retain(|_, reached| kept(reached.upstream.id()));
    }
}

impl Reached {
    /// Whether somebody opens a connection, and has not left.
    fn is_opening(&self) -> bool {
        self.opening.as_ref().is_some_and(|opening| opening.has_changed().is_ok())
    }
}

/// Connects and begins HTTP/2, all within the connect timeout.
async fn open(
    upstream: &Arc<Upstream>,
    endpoint: &Endpoint,
    address: &Address,
) -> io::Result<Link> {
    let within = upstream.timeouts().connect;
    let connecting = async {
        let stream = connect(address, within, None).await?;
        greet(stream).await
    };
    let requests = timeout(within, connecting).await.unwrap_or_else(|late| Err(late.into()));
    upstream.connecting(endpoint, &requests);
    Ok(Link {
        requests: requests?,
        state: Mutex::new(State {
            streams: 0,
            idle_since: Instant::now(),
            gauge: upstream.connected(),
        }),
        _open: Open::count(upstream),
    })
}

async fn greet(stream: Stream) -> io::Result<SendRequest<Bytes>> {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(LARGEST_LIST)
        .max_send_buffer_size(SEND_BUFFER)
        .initial_max_send_streams(MOST_STREAMS);
    let handshake = builder.handshake::<_, Bytes>(stream).await;
    let (requests, connection) = handshake.map_err(io::Error::other)?;
    // Ends with the connection, which ends when nobody holds a stream or the right to begin one.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "HTTP/2 connection to an endpoint ended");
        }
    });
    Ok(requests)
}

// === impl Link ===

impl Link {
    /// Whether streams may begin: neither closed nor told to go away.
    fn is_open(&self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        !matches!(self.requests.clone().poll_ready(&mut nobody), Poll::Ready(Err(_)))
    }

    fn is_idle_since(&self, now: Instant, time: std::time::Duration) -> bool {
        let state = self.state.lock();
        state.streams == 0 && now.duration_since(state.idle_since) >= time
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("streams", &self.state.lock().streams).finish_non_exhaustive()
    }
}

// === impl Claim ===

impl Claim {
    /// One more stream of this connection, if it takes more.
    fn of(link: &Arc<Link>) -> Option<Self> {
        let most = link.requests.current_max_send_streams().min(MOST_STREAMS);
        let mut state = link.state.lock();
        if state.streams >= most {
            return None;
        }
        state.streams += 1;
        if state.streams == 1 {
            state.gauge.set(PooledState::Active);
        }
        drop(state);
        Some(Self { link: Arc::clone(link), reused: true })
    }

    /// Where its request is sent.
    pub(super) fn requests(&self) -> SendRequest<Bytes> {
        self.link.requests.clone()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.link.state.lock();
        state.streams -= 1;
        if state.streams == 0 {
            state.idle_since = Instant::now();
            state.gauge.set(PooledState::Idle);
        }
    }
}

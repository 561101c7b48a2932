//! One connection from its acceptance to its close: handshake, protocol, the heads it refuses.
//!
//! Trusts nothing that comes in; every wait has a deadline. The protocol is chosen by ALPN, never
//! by looking at the first bytes: a sniffer without a deadline keeps idle sockets for ever.
//! Refused here, because no request exists yet: handshakes that fail or stall, names that no
//! certificate covers, and heads that are malformed, too long (hyper answers) or too slow (408).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::acceptor::{Accepted, AcceptedStream};
use super::activity::{Activity, Limits};
use super::drain::Drain;
use super::handler::{Handler, Refusal, RefusedHead, Shared, service};
use super::io::{Io, Transport};
use super::listener::{ListenerState, Settings};
use super::{http1, http2, peer};
use crate::telemetry::labels::{ConnectionState, HandshakeResult};
use crate::tls::certificate::{CertificateFault, Certificates};
use crate::tls::client_auth::ClientCertificate;
use crate::tls::server::{Alpn, Current};

/// Serves one connection until it is closed. To be spawned on a worker's own runtime.
pub async fn serve<H: Handler>(accepted: Accepted, handler: H) {
    let Accepted { stream, peer, state, permit, drain } = accepted;
    let activity = Activity::new();
    let connections = Arc::clone(permit.connections());
    let transport = match stream {
        AcceptedStream::Tcp(stream) => Transport::tcp(stream, Arc::clone(&activity), permit),
        AcceptedStream::Unix(stream) => Transport::unix(stream, Arc::clone(&activity), permit),
    };
    let transport = match transport {
        Ok(transport) => transport,
        Err(error) => {
            tracing::warn!(%error, "connection not registered with its worker");
            return;
        }
    };
    let mut gauge = state.metrics.listener_connection(state.id, ConnectionState::Handshake);
    // Boxed, since it needs ten times the room of what comes after it.
    let opening = open(transport, peer, &state, &activity, &handler);
    let Some((io, info)) = Box::pin(opening).await else { return };
    gauge.set(ConnectionState::Active);
    activity.greeted();
    let shared = Arc::new(Shared { handler, info });
    let life = Life { activity, connections, drain, limits: state.settings.limits() };
    let settings = &state.settings;
    match shared.info.protocol {
        Protocol::Http1 => http1::serve(io, &shared, settings, life, gauge).await,
        Protocol::Http2 => {
            Box::pin(http2::serve(io, service(&shared), settings, life, gauge)).await;
        }
    }
}

/// What a connection's task holds besides the bytes.
pub(super) struct Life {
    pub(super) activity: Arc<Activity>,
    pub(super) connections: Arc<super::admission::Connections>,
    pub(super) drain: Drain,
    pub(super) limits: Limits,
}

/// What a handler may know of the connection that a request came in on.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// The listener's index, as given in its [`ListenerState`].
    pub listener: usize,
    /// The other end.
    pub peer: Peer,
    /// Present on a TLS listener.
    pub tls: Option<TlsInfo>,
    /// What is spoken.
    pub protocol: Protocol,
    pub(super) activity: Arc<Activity>,
}

impl ConnectionInfo {
    /// A way to say later that the request body of the exchange that is beginning now was read to
    /// its end. To be taken before the first `await` of [`Handler::handle`]. A connection whose
    /// last body has not been reported so keeps its buffers until it is closed for idleness.
    pub fn body_end(&self) -> BodyEnd {
        BodyEnd { activity: Arc::clone(&self.activity), number: self.activity.latest() }
    }
}

/// Keeps a connection in use beyond the exchanges that it sees, as a tunnel on a stream of it does.
#[derive(Debug)]
pub struct InUse(Arc<Activity>);

impl ConnectionInfo {
    /// Until the guard is dropped, the connection is not idle.
    pub fn hold(&self) -> InUse {
        self.activity.hold();
        InUse(Arc::clone(&self.activity))
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.end(true);
    }
}

/// See [`ConnectionInfo::body_end`].
#[derive(Debug)]
pub struct BodyEnd {
    activity: Arc<Activity>,
    number: u32,
}

impl BodyEnd {
    /// The end was reached: not an error, and not merely no more interest.
    pub fn reached(&self) {
        self.activity.body_ended(self.number);
    }
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// An address; IPv4 as such, also on a socket for both families.
    Tcp(SocketAddr),
    /// A process of this machine that may open the socket.
    Unix,
}

impl Peer {
    /// The address, where there is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix => None,
        }
    }
}

/// What is spoken on a connection; decided once, by ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 or 1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What was agreed on in a TLS handshake.
#[derive(Debug)]
pub struct TlsInfo {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// The host name that the client asked for, lower-case.
    pub sni: Option<Box<str>>,
    /// What the client showed of itself.
    pub client: Option<ClientCertificate>,
    certificates: Arc<Certificates>,
}

impl TlsInfo {
    pub(super) fn new(
        version: &'static str,
        sni: Option<Box<str>>,
        client: Option<ClientCertificate>,
        certificates: Arc<Certificates>,
    ) -> Self {
        Self { version, sni, client, certificates }
    }

    /// Whether a request for this host (no port) may come over this connection: the host is the
    /// one that the handshake named, or one of the certificate that was served for it. If not, the
    /// answer is 421 (RFC 9110, section 15.5.20). A client that named no host contradicts nothing.
    pub fn covers(&self, host: &str) -> bool {
        self.sni.as_deref().is_none_or(|sni| {
            sni.eq_ignore_ascii_case(host) || self.certificates.served_covers(Some(sni), host)
        })
    }
}

// === the handshake ===

/// Everything before HTTP; `None`: the connection is over.
async fn open<H: Handler>(
    mut transport: Transport,
    peer: Peer,
    state: &ListenerState,
    activity: &Arc<Activity>,
    handler: &H,
) -> Option<(Io, Arc<ConnectionInfo>)> {
    let peer = if state.proxies.contains_peer(peer.ip()) {
        peer::named(&mut transport, peer, state).await?
    } else {
        peer
    };
    let info = |tls, protocol| {
        let (listener, activity) = (state.listener, Arc::clone(activity));
        Arc::new(ConnectionInfo { listener, peer, tls, protocol, activity })
    };
    match greet(transport, state).await {
        Greeting::Done(greeted) => Some((greeted.io, info(greeted.tls, greeted.protocol))),
        Greeting::Over => None,
        Greeting::PlainText(io) => {
            refuse_plain_text(handler, &info(None, Protocol::Http1), io).await;
            None
        }
    }
}

enum Greeting {
    Done(Greeted),
    Over,
    /// HTTP without TLS, where TLS is spoken.
    PlainText(Io),
}

struct Greeted {
    io: Io,
    tls: Option<TlsInfo>,
    protocol: Protocol,
}

async fn greet(transport: Transport, state: &ListenerState) -> Greeting {
    let Some(tls) = &state.tls else {
        let io = Io::plain(transport);
        return Greeting::Done(Greeted { io, tls: None, protocol: Protocol::Http1 });
    };
    let tls = tls.current();
    let handshake = shake_hands(transport, &tls);
    let outcome = tokio::time::timeout(state.settings.handshake_timeout, handshake).await;
    let count = |version, result| state.metrics.tls_handshake(state.id, version, result);
    let failed = |error: io::Error| {
        tracing::debug!(%error, "TLS handshake failed");
        count("-", HandshakeResult::Failed);
    };
    match outcome {
        Ok(Ok(Shaken::Hands(stream))) => match agreed(&stream, &tls) {
            Ok((info, protocol)) => {
                count(info.version, HandshakeResult::Ok);
                Greeting::Done(Greeted { io: Io::tls(*stream), tls: Some(info), protocol })
            }
            Err(fault) => {
                failed(io::Error::new(io::ErrorKind::InvalidData, fault));
                Greeting::Over
            }
        },
        Ok(Ok(Shaken::PlainText(transport))) => {
            count("-", HandshakeResult::Failed);
            Greeting::PlainText(Io::plain(transport))
        }
        Ok(Err(error)) => {
            failed(error);
            Greeting::Over
        }
        Err(_elapsed) => {
            count("-", HandshakeResult::TimedOut);
            Greeting::Over
        }
    }
}

enum Shaken {
    Hands(Box<TlsStream<Transport>>),
    PlainText(Transport),
}

async fn shake_hands(transport: Transport, tls: &Current) -> io::Result<Shaken> {
    // Of a method's name, no record of TLS begins so: its client deserves an answer that it reads.
    if transport.first_byte().await?.is_some_and(|byte| byte.is_ascii_uppercase()) {
        return Ok(Shaken::PlainText(transport));
    }
    let mut start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), transport).await?;
    if !tls.certificates.serves(start.client_hello().server_name()) {
        // rustls would say `access_denied`, which tells the operator of the client nothing.
        start.io.write_all(UNRECOGNIZED_NAME).await?;
        start.io.shutdown().await?;
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no certificate for this name"));
    }
    let stream = start.into_stream(Arc::clone(&tls.config)).await?;
    Ok(Shaken::Hands(Box::new(stream)))
}

fn agreed(
    stream: &TlsStream<Transport>,
    tls: &Current,
) -> Result<(TlsInfo, Protocol), CertificateFault> {
    let (_, session) = stream.get_ref();
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "1.2",
        // We offer no other.
        Some(_) | None => "1.3",
    };
    let protocol = if session.alpn_protocol() == Some(Alpn::H2.as_str().as_bytes()) {
        Protocol::Http2
    } else {
        Protocol::Http1
    };
    let sni = session.server_name().map(|name| name.to_ascii_lowercase().into_boxed_str());
    // A resumed session has what its ticket held, which nobody has verified since.
    let resumed = session.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
    let verified = tls.client_auth.as_deref().filter(|_| !resumed);
    let client = session.peer_certificates().map(|chain| ClientCertificate::new(chain, verified));
    let certificates = Arc::clone(&tls.certificates);
    Ok((TlsInfo::new(version, sni, client.transpose()?, certificates), protocol))
}

/// A fatal alert (RFC 8446, section 6.2), as a record before any keys exist.
const UNRECOGNIZED_NAME: &[u8] = &[21, 3, 3, 0, 2, 2, 112];

// === refused heads ===

/// Tells the handler of a head that hyper has refused, and what it answered.
pub(super) async fn refused_by_hyper<H: Handler>(
    shared: &Shared<H>,
    error: &hyper::Error,
    io: &mut Io,
) {
    if !error.is_parse() {
        return;
    }
    if error.is_parse_version_h2() {
        // The one error that hyper leaves unanswered: HTTP/2 where it was not agreed on.
        let body = refused(shared, Refusal::Http2);
        let _gone = answer(io, "400 Bad Request", &body).await.is_err();
        return;
    }
    // Hyper's 414 needs a target of 64 KiB; unless heads may be that long, it is a 431 before.
    // It has answered by now, without a body: its bytes left with whatever was queued before them.
    let too_long = error.is_parse_too_large();
    let _unsent = refused(shared, if too_long { Refusal::TooLong } else { Refusal::Malformed });
}

/// Answers HTTP that came without TLS: whoever reads it has forgotten an `s`.
async fn refuse_plain_text<H: Handler>(handler: &H, info: &Arc<ConnectionInfo>, mut io: Io) {
    let refused = RefusedHead { refusal: Refusal::PlainText, elapsed: Duration::ZERO };
    let body = handler.refused_head(info, refused);
    if answer(&mut io, "400 Bad Request", &body).await.is_ok() {
        io.linger().await;
    }
}

/// Answers a head that did not end in time.
pub(super) async fn refuse_slow<H: Handler>(shared: &Shared<H>, mut io: Io) {
    let body = refused(shared, Refusal::TooSlow);
    if answer(&mut io, "408 Request Timeout", &body).await.is_ok() {
        io.linger().await;
    }
}

/// The last thing that is said on the connection; the body is a problem's (RFC 9457).
async fn answer(io: &mut Io, status: &str, body: &[u8]) -> io::Result<()> {
    let length = body.len();
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: application/problem+json\r\n\
         cache-control: no-store\r\ncontent-length: {length}\r\n\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    let written = async {
        io.write_all(&bytes).await?;
        io.flush().await
    };
    tokio::time::timeout(ANSWER_WITHIN, written).await?
}

fn refused<H: Handler>(shared: &Shared<H>, refusal: Refusal) -> Bytes {
    let elapsed = shared.info.activity.head_age();
    shared.handler.refused_head(&shared.info, RefusedHead { refusal, elapsed })
}

/// For the few bytes of an answer to a client that may not read at all.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

// === hyper's side ===

impl Settings {
    pub(super) fn limits(&self) -> Limits {
        Limits { header: self.header_timeout, idle: self.idle_timeout, write: self.write_timeout }
    }
}

/// What hyper reads from and writes to.
pub(super) type HyperIo = TokioIo<Io>;

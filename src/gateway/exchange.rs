//! One request with its response and its record.
//!
//! An [`Exchange`] begins with the head and moves on into the response's body. Whenever it is
//! dropped (the body's last byte, a client that left, a cancelled stream, a panic), exactly one
//! access record and one set of metrics are written. A guard, not a pair of calls: a future that
//! is dropped half-way runs no second call.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use hyper::body::{Frame, SizeHint};
use hyper::header::{ACCEPT, HOST, HeaderMap, HeaderName, HeaderValue, REFERER, USER_AGENT};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, Uri, Version};

use super::body::{BodyError, Inner};
use super::grpc;
use super::metadata;
use super::origin::Original;
use super::reject::{CLIENT_GONE, Reject};
use super::respond::Asker;
use super::state::{Gateway, Held};
use super::steps;
use super::tunnel;
use crate::auth::Principal;
use crate::clock::UnixTime;
use crate::http::body::BodyCount;
use crate::http::status::has_no_body;
use crate::http::{Scheme, Told, trace};
use crate::limit::Place;
use crate::proxy;
use crate::server::{BodyEnd, ConnectionInfo};
use crate::snapshot::Snapshot;
use crate::snapshot::plan::{ErrorFormat, ListenerPlan, RoutePlan};
use crate::telemetry::labels::{CacheLookup, RateLimitResult, Reason};
use crate::telemetry::metrics::InFlight;
use crate::telemetry::record::{AuthRecord, AuthResult, Record, TlsRecord, UpstreamRecord};

/// An exchange under way.
#[derive(Debug)]
pub(super) struct Exchange {
    gateway: Gateway,
    snapshot: Arc<Held>,
    connection: Arc<ConnectionInfo>,
    body_end: BodyEnd,
    _in_flight: InFlight,
    at: UnixTime,
    begun: Instant,
    pub(super) request_id: HeaderValue,
    method: Method,
    /// As received; its path is canonical once that is known.
    pub(super) uri: Uri,
    version: Version,
    pub(super) host: Option<HeaderValue>,
    accept: Option<HeaderValue>,
    is_grpc: bool,
    user_agent: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    /// What says which trace it is part of.
    trace: Option<HeaderValue>,
    /// What the peer tells of the way here, if it is a trusted proxy.
    pub(super) told: Option<Arc<Told>>,
    /// What a trusted proxy may be asking about.
    pub(super) original: Option<Box<Original>>,
    route: Option<usize>,
    /// Its place among those that the route takes at once.
    place: Option<Place>,
    /// The origin whose page may read the answer, on a route with `cors`.
    admitted: Option<Box<HeaderValue>>,
    pub(super) received: Option<Arc<BodyCount>>,
    pub(super) asserted_dropped: u32,
    pub(super) underscore_dropped: u32,
    pub(super) auth: Option<AuthNote>,
    pub(super) rate_limit: Option<RateLimitResult>,
    /// How it was forwarded, if it was.
    pub(super) forwarded: Option<proxy::Trace>,
    status: StatusCode,
    reason: Option<Reason>,
    detail: Option<&'static str>,
    bytes_out: u64,
    complete: bool,
}

/// How authentication went, kept for the record.
#[derive(Debug)]
pub(super) struct AuthNote {
    pub(super) result: AuthResult,
    pub(super) principal: Option<Arc<Principal>>,
    /// The issuer's place in the snapshot, once one was chosen.
    pub(super) issuer: Option<usize>,
    pub(super) cache: Option<CacheLookup>,
    pub(super) duration: Option<Duration>,
}

impl AuthNote {
    /// A verdict that no token led to.
    pub(super) const fn of(result: AuthResult) -> Self {
        Self { result, principal: None, issuer: None, cache: None, duration: None }
    }
}

// === impl Exchange ===

impl Exchange {
    /// Boxed: it moves from hand to hand, into the response's body and on.
    pub(super) fn begin(
        gateway: &Gateway,
        snapshot: Arc<Held>,
        connection: &Arc<ConnectionInfo>,
        parts: &Parts,
        request_id: HeaderValue,
    ) -> Box<Self> {
        let listener = snapshot.listener(connection.listener).id;
        Box::new(Self {
            at: gateway.clock().wall(),
            begun: gateway.clock().now(),
            _in_flight: gateway.metrics().in_flight(listener),
            body_end: connection.body_end(),
            gateway: gateway.clone(),
            snapshot,
            connection: Arc::clone(connection),
            request_id,
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            version: parts.version,
            host: host_of(parts),
            accept: parts.headers.get(ACCEPT).cloned(),
            is_grpc: grpc::is_call(parts),
            user_agent: parts.headers.get(USER_AGENT).cloned(),
            referer: parts.headers.get(REFERER).cloned(),
            trace: trace::parent(&parts.headers).cloned(),
            told: None,
            original: None,
            route: None,
            place: None,
            admitted: None,
            received: None,
            asserted_dropped: 0,
            underscore_dropped: 0,
            auth: None,
            rate_limit: None,
            forwarded: None,
            // What the record says if the client leaves before there is a response.
            status: CLIENT_GONE,
            reason: None,
            detail: None,
            bytes_out: 0,
            complete: false,
        })
    }

    pub(super) fn snapshot(&self) -> &Arc<Held> {
        &self.snapshot
    }

    /// When it began.
    pub(super) fn at(&self) -> UnixTime {
        self.at
    }

    pub(super) fn connection(&self) -> &Arc<ConnectionInfo> {
        &self.connection
    }

    pub(super) fn listener(&self) -> &ListenerPlan {
        self.snapshot.listener(self.connection.listener)
    }

    /// By the connection itself: the settings of its listener may have changed since it was
    /// accepted, and a plain connection must never be told to the application as `https`.
    pub(super) fn scheme(&self) -> Scheme {
        if self.connection.tls.is_some() { Scheme::Https } else { Scheme::Http }
    }

    /// The headers that tell of the client's certificate, on a listener that asks for one.
    pub(super) fn shown(&self) -> Option<Arc<Vec<(HeaderName, HeaderValue)>>> {
        self.listener().asks_clients.as_ref()?;
        Some(Arc::clone(self.connection.tls.as_ref()?.client.as_ref()?.headers()))
    }

    pub(super) fn take_route(&mut self, index: usize, headers: &HeaderMap) {
        self.route = Some(index);
        let cors = self.route().and_then(|route| route.cors.as_ref());
        self.admitted = cors.and_then(|cors| cors.admit(headers)).map(Box::new);
    }

    /// Takes a place among those that the route takes at once.
    pub(super) fn enter(&mut self, route: &RoutePlan) -> Result<(), Reject> {
        if let Some(concurrency) = &route.concurrency {
            self.place = Some(concurrency.enter().ok_or(Reject::RouteFull)?);
        }
        Ok(())
    }

    /// See [`steps::forwarded_target`].
    pub(super) fn forwarded_target(
        &self,
        host: &str,
        parts: &Parts,
    ) -> Result<Option<Uri>, Reject> {
        let Some(route) = self.route else { return Ok(None) };
        steps::forwarded_target(&self.snapshot, route, self.connection.listener, host, parts)
    }

    pub(super) fn route(&self) -> Option<&RoutePlan> {
        self.route.and_then(|index| self.snapshot.route(index))
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.gateway.clock().now().saturating_duration_since(self.begun)
    }

    /// Notes why there will be an error response.
    pub(super) fn refuse(&mut self, reject: &Reject) {
        self.reason = Some(reject.reason());
        self.detail = reject.detail();
    }

    /// What an error response depends on.
    pub(super) fn asker(&self, format: ErrorFormat) -> Asker<'_> {
        Asker {
            accept: self.accept.as_ref().and_then(|accept| accept.to_str().ok()),
            host: self.host.as_ref().and_then(|host| host.to_str().ok()),
            request_id: self.request_id.to_str().unwrap_or("-"),
            format,
            is_grpc: self.is_grpc,
            pages: match self.route() {
                Some(route) => route.error_pages.as_deref(),
                None => self.snapshot.error_pages(),
            },
            metadata: self.route().and_then(|route| route.metadata.as_ref()).and_then(|_| {
                metadata::location(self.seen().public(), self.host.as_ref()?, self.uri.path())
            }),
        }
    }

    /// The client has its 101: whatever ends the tunnel, that much was complete.
    pub(super) fn switched(&mut self) {
        self.complete = true;
        // A tunnel has a limit of its own.
        self.place = None;
    }

    /// Notes what a tunnel or a body ended with.
    pub(super) fn end(&mut self, reason: Reason) {
        self.reason = Some(reason);
    }

    /// Notes the finer word alone.
    pub(super) fn note(&mut self, detail: &'static str) {
        self.detail = Some(detail);
    }

    /// Counts bytes that went to the client behind the response.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.bytes_out += bytes;
    }

    /// Moves into the body of the response it ends with, or into the tunnel behind it.
    pub(super) fn respond<B: Into<Inner>>(
        mut self: Box<Self>,
        response: Response<B>,
    ) -> Response<Body> {
        self.status = response.status();
        let (mut parts, body) = response.into_parts();
        let mut inner = body.into();
        self.edit(&mut parts.headers);
        if let Some(cors) = self.route().and_then(|route| route.cors.as_ref()) {
            cors.write(self.admitted.as_deref(), &mut parts.headers);
        }
        if let Inner::Tunnel(waiting) = inner {
            let head = tunnel::begin(self, *waiting, parts.status, parts.headers);
            return head.map(|empty| Body { inner: Inner::from(empty), exchange: None });
        }
        if self.method == Method::HEAD {
            inner.leave_to_get(&mut parts.headers);
        }
        // Nothing will be asked of a body that has nothing to say (HEAD, 204, 304).
        self.complete =
            has_no_body(parts.status, &self.method) || hyper::body::Body::is_end_stream(&inner);
        Response::from_parts(parts, Body { inner, exchange: Some(self) })
    }

    /// What the route changes of every response. A refusal keeps what it says.
    fn edit(&self, headers: &mut HeaderMap) {
        let Some(edits) = self.route().and_then(|route| route.response_edits.as_deref()) else {
            return;
        };
        let secure = self.seen().public().0 == Scheme::Https;
        match self.reason {
            None => edits.apply(headers, secure),
            Some(_) => edits.complete(headers, secure),
        }
    }

    fn record(&self) {
        let (status, reason) = self.verdict();
        let listener = self.listener();
        let record = Record {
            at: self.at,
            duration: self.elapsed(),
            request_id: self.request_id.as_bytes(),
            trace_id: self.trace.as_ref().and_then(trace::trace_id),
            listener: (listener.id, &listener.name),
            route: self.route().map(|route| (route.id, &*route.name)),
            method: Some(&self.method),
            host: self.host.as_ref().map(HeaderValue::as_bytes),
            path: self.uri.path().as_bytes(),
            query: self.uri.query().map(str::as_bytes),
            secret_parameters: self.snapshot.secret_parameters(),
            version: Some(self.version),
            status: status.as_u16(),
            reason,
            detail: self.detail,
            bytes_in: self.received.as_ref().map_or(0, |count| count.bytes()),
            bytes_out: self.bytes_out,
            client_ip: self.account(),
            user_agent: self.user_agent.as_ref().map(HeaderValue::as_bytes),
            referer: self.referer.as_ref().map(HeaderValue::as_bytes),
            original: self.original_record(),
            auth: self.auth.as_ref().map(|note| auth_record(note, &self.snapshot)),
            upstream: self.upstream_record(),
            tls: self
                .connection
                .tls
                .as_ref()
                .map(|tls| TlsRecord { version: tls.version, sni: tls.sni.as_deref() }),
            rate_limit: self.rate_limit,
            asserted_dropped: self.asserted_dropped,
            underscore_dropped: self.underscore_dropped,
        };
        self.gateway.record(&record);
    }

    fn upstream_record(&self) -> Option<UpstreamRecord<'_>> {
        let trace = self.forwarded.as_ref()?;
        let destination = self.route()?.upstream.as_ref()?;
        let label = |at: usize| Some((at, destination.endpoints.get(at)?.as_str()));
        Some(UpstreamRecord {
            upstream: (destination.id, &destination.name),
            endpoint: trace.endpoint.and_then(label),
            status: trace.status.map(|status| status.as_u16()),
            first_byte: trace.first_byte,
            attempts: trace.attempts,
            reused: trace.reused,
        })
    }

    /// What to say it ended with: a response that was cut short is not the one its status promises.
    fn verdict(&self) -> (StatusCode, Option<Reason>) {
        match (self.complete, self.reason) {
            // A body that panicked takes its connection or stream with it.
            (false, None) if std::thread::panicking() => (self.status, Some(Reason::Internal)),
            (false, None) => (CLIENT_GONE, Some(Reason::ClientGone)),
            (_, reason) => (self.status, reason),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.received.as_ref().is_some_and(|count| count.is_finished()) {
            self.body_end.reached();
        }
        self.record();
    }
}

/// The host as the client wrote it: HTTP/2 has it in the target alone.
fn host_of(parts: &Parts) -> Option<HeaderValue> {
    match parts.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => parts.headers.get(HOST).cloned(),
    }
}

fn auth_record<'a>(note: &'a AuthNote, snapshot: &'a Snapshot) -> AuthRecord<'a> {
    let principal = note.principal.as_deref();
    AuthRecord {
        result: note.result,
        issuer: note.issuer.and_then(|index| snapshot.issuer_label(index)),
        subject: principal.and_then(Principal::subject),
        jti: principal.and_then(Principal::jti),
        cache: note.cache,
        duration: note.duration,
    }
}

// === impl Body ===

/// The body of every response: its bytes, and the exchange they complete.
#[derive(Debug)]
pub struct Body {
    inner: Inner,
    /// `None` for a 101, whose exchange is with its tunnel.
    exchange: Option<Box<Exchange>>,
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        let Some(exchange) = &mut this.exchange else { return Poll::Ready(frame) };
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    exchange.bytes_out += data.remaining() as u64;
                }
                // hyper does not poll again once Content-Length is reached.
                exchange.complete |= frame.is_trailers() || this.inner.is_end_stream();
            }
            Some(Err(error)) => {
                exchange.reason = Some(error.reason());
            }
            None => exchange.complete = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The headers every response gets, whoever made it.
pub(super) fn finish(headers: &mut HeaderMap, name: &HeaderName, id: &HeaderValue) {
    headers.insert(name.clone(), id.clone());
}

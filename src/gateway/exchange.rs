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
use hyper::header::{ACCEPT, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, REFERER, USER_AGENT};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, Uri, Version};

use super::metadata;
use super::origin::{Original, public};
use super::reject::{CLIENT_GONE, Reject};
use super::respond::Asker;
use super::state::{Gateway, Held};
use crate::auth::Principal;
use crate::clock::UnixTime;
use crate::http::body::BodyCount;
use crate::http::status::has_no_body;
use crate::http::{Scheme, Told};
use crate::proxy::{self, Failure};
use crate::server::{BodyEnd, ConnectionInfo};
use crate::snapshot::Snapshot;
use crate::snapshot::plan::{ErrorFormat, ListenerPlan, RoutePlan};
use crate::static_files;
use crate::telemetry::labels::{CacheLookup, RateLimitResult, Reason, UpstreamFault};
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
    user_agent: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    /// What the peer tells of the way here, if it is a trusted proxy.
    pub(super) told: Option<Arc<Told>>,
    /// What a trusted proxy may be asking about.
    pub(super) original: Option<Box<Original>>,
    route: Option<usize>,
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
    pub(super) fn begin(
        gateway: &Gateway,
        snapshot: Arc<Held>,
        connection: &Arc<ConnectionInfo>,
        parts: &Parts,
        request_id: HeaderValue,
    ) -> Self {
        let listener = snapshot.listener(connection.listener).id;
        Self {
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
            user_agent: parts.headers.get(USER_AGENT).cloned(),
            referer: parts.headers.get(REFERER).cloned(),
            told: None,
            original: None,
            route: None,
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
        }
    }

    pub(super) fn snapshot(&self) -> &Arc<Held> {
        &self.snapshot
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

    pub(super) fn take_route(&mut self, index: usize, headers: &HeaderMap) {
        self.route = Some(index);
        let cors = self.route().and_then(|route| route.cors.as_ref());
        self.admitted = cors.and_then(|cors| cors.admit(headers)).map(Box::new);
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
            metadata: self.route().and_then(|route| route.metadata.as_ref()).and_then(|_| {
                metadata::location(public(self), self.host.as_ref()?, self.uri.path())
            }),
        }
    }

    /// Moves into the body of the response it ends with.
    pub(super) fn respond<B: Into<Inner>>(mut self, response: Response<B>) -> Response<Body> {
        self.status = response.status();
        let (mut parts, body) = response.into_parts();
        let mut inner = body.into();
        if let Some(cors) = self.route().and_then(|route| route.cors.as_ref()) {
            cors.write(self.admitted.as_deref(), &mut parts.headers);
        }
        if self.method == Method::HEAD {
            inner.leave_to_get(&mut parts.headers);
        }
        // Nothing will be asked of a body that has nothing to say (HEAD, 204, 304).
        self.complete =
            has_no_body(parts.status, &self.method) || hyper::body::Body::is_end_stream(&inner);
        Response::from_parts(parts, Body { inner, exchange: self })
    }

    /// Counts what an upstream did wrong; the client's own faults are not its.
    pub(super) fn count_failure(&self, failure: Failure) {
        let fault = match failure {
            Failure::BadResponse => UpstreamFault::BadResponse,
            Failure::Failed => UpstreamFault::Failed,
            Failure::Refused => UpstreamFault::Refused,
            Failure::TimedOut => UpstreamFault::Timeout,
            Failure::BadRequest
            | Failure::BodyTimedOut
            | Failure::BodyTooLarge
            | Failure::ClientGone
            | Failure::SpoolFailed
            | Failure::SpoolFull => return,
        };
        let upstream = self.route().and_then(|route| route.upstream.as_ref());
        let endpoint = self.forwarded.and_then(|trace| trace.endpoint);
        if let (Some(upstream), Some(endpoint)) = (upstream, endpoint) {
            self.gateway.metrics().upstream_error(upstream.id, endpoint, fault);
        }
    }

    fn record(&self) {
        let (status, reason) = self.verdict();
        let listener = self.listener();
        let record = Record {
            at: self.at,
            duration: self.elapsed(),
            request_id: self.request_id.as_bytes(),
            trace_id: None,
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
    exchange: Exchange,
}

/// Where a response's bytes come from; concrete kinds, so that no response costs an allocation.
#[derive(Debug)]
pub(super) enum Inner {
    Bytes(Option<Bytes>),
    File(static_files::Body),
    Proxy(proxy::Body),
}

/// A response that can't be completed: the connection or the stream is cut, so that the client
/// can't take the part for the whole.
#[derive(Debug)]
pub enum BodyError {
    /// The file could not be read to its end.
    File(std::io::Error),
    /// The upstream's body broke off.
    Proxy(Failure),
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
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.exchange.bytes_out += data.remaining() as u64;
                }
                // hyper does not poll again once Content-Length is reached.
                this.exchange.complete |= frame.is_trailers() || this.inner.is_end_stream();
            }
            Some(Err(error)) => {
                this.exchange.reason = Some(error.reason());
                if let BodyError::Proxy(failure) = error {
                    this.exchange.count_failure(*failure);
                }
            }
            None => this.exchange.complete = true,
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

impl Inner {
    /// Says how long it is, and no more: over HTTP/2 hyper would send it in answer to HEAD as well.
    /// The other kinds have seen the method.
    fn leave_to_get(&mut self, headers: &mut HeaderMap) {
        if let Self::Bytes(bytes) = self
            && let Some(bytes) = bytes.take()
        {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        }
    }
}

impl hyper::body::Body for Inner {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Bytes(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::File(file) => {
                Pin::new(file).poll_frame(cx).map(|frame| frame.map(|f| f.map_err(BodyError::File)))
            }
            Self::Proxy(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|f| f.map_err(BodyError::Proxy))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_none(),
            Self::File(file) => file.is_end_stream(),
            Self::Proxy(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bytes(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::File(file) => file.size_hint(),
            Self::Proxy(body) => body.size_hint(),
        }
    }
}

impl From<Bytes> for Inner {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl From<static_files::Body> for Inner {
    fn from(body: static_files::Body) -> Self {
        Self::File(body)
    }
}

impl From<proxy::Body> for Inner {
    fn from(body: proxy::Body) -> Self {
        Self::Proxy(body)
    }
}

// === impl BodyError ===

impl BodyError {
    fn reason(&self) -> Reason {
        match self {
            Self::File(_) => Reason::Internal,
            Self::Proxy(error) => error.reason(),
        }
    }
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(error) => write!(f, "file can't be read to its end: {error}"),
            Self::Proxy(error) => write!(f, "upstream's body broke off: {error}"),
        }
    }
}

impl std::error::Error for BodyError {}

/// The headers every response gets, whoever made it.
pub(super) fn finish(headers: &mut HeaderMap, name: &hyper::header::HeaderName, id: &HeaderValue) {
    headers.insert(name.clone(), id.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_in_answer_to_head_is_a_length_and_nothing_else() {
        let mut headers = HeaderMap::new();
        let mut inner = Inner::from(Bytes::from_static(b"twelve bytes"));
        inner.leave_to_get(&mut headers);
        assert_eq!(headers[CONTENT_LENGTH], "12");
        assert!(hyper::body::Body::is_end_stream(&inner));

        let mut headers = HeaderMap::new();
        Inner::from(Bytes::new()).leave_to_get(&mut headers);
        assert!(headers.is_empty(), "nothing is known of a length that nobody gave");
    }
}

//! What a request needs of its route and its listener, resolved while loading.
//!
//! No string look-up, no metric look-up and no `Option` that loading could have settled: a plan's
//! fields are used as they stand.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderName;

use crate::auth::{ClaimPath, Guarded, IssuerSet, Policy};
use crate::clock::UnixTime;
use crate::http::{Coding, Cors, Networks, ResponseEdits, Scheme};
use crate::limit::{Concurrency, Limiter};
use crate::proxy::Proxy;
use crate::route::{PathPattern, Rewrite, Table};
use crate::static_files::Files;
use crate::telemetry::ids::{ListenerId, RouteId, UpstreamId};
use crate::tls::client_auth::ClientCertificate;
use crate::tls::server::ServerTls;

/// A compiled route.
#[derive(Debug)]
pub struct RoutePlan {
    /// The route's name in logs, metrics and command output.
    pub name: Arc<str>,
    /// Its place in the metric tables.
    pub id: RouteId,
    /// Where it leads, for the route table: an upstream's name, a folder, a URL, or `verify`.
    pub to: String,
    /// What it does, behind its policy.
    pub action: Action,
    /// Its upstream, as records name it.
    pub upstream: Option<Destination>,
    /// Whose requests are let in; `None` is everybody's.
    pub allow_ips: Option<Networks>,
    /// How often one client may ask.
    pub limits: Vec<RateLimit>,
    /// How many requests it takes at the same time; `None`: any number.
    pub concurrency: Option<Box<Concurrency>>,
    /// The longest an exchange may take as a whole.
    pub timeout: Option<Duration>,
    /// What becomes of the path before it is forwarded.
    pub path: Option<Box<PathPlan>>,
    /// What becomes of every response's headers.
    pub response_edits: Option<Box<ResponseEdits>>,
    /// The longest request body, in bytes.
    pub max_body: u64,
    /// How its rejects look.
    pub errors: ErrorFormat,
    /// The operator's pages about errors, for browsers.
    pub error_pages: Option<Arc<ErrorPages>>,
    /// Which other sites' pages may read its answers.
    pub cors: Option<Box<Cors>>,
    /// What clients are told about getting a token.
    pub metadata: Option<Box<ResourceMetadata>>,
    /// Whether clients may switch to WebSocket.
    pub websocket: bool,
    /// What ends with the token that began it.
    pub streams: StreamEnds,
    /// The logout that revokes tokens, if there is one.
    pub revoke_on: Option<Box<RevokeOn>>,
    /// Whether its path is one of well-known locations.
    pub is_well_known: bool,
}

/// How a route's paths are forwarded.
#[derive(Debug)]
pub struct PathPlan {
    /// What they become.
    pub rewrite: Rewrite,
    /// The routes to the same application that forward their paths as they are, whatever their
    /// host and listener, each with whether none of these paths may become one of its own.
    pub namespace: Table<(usize, bool)>,
}

/// Which streams end with their token, and how much later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamEnds {
    /// Connections that have switched protocols.
    pub upgrades: bool,
    /// Responses.
    pub bodies: bool,
    /// Beyond the token's end; a revoked token has none.
    pub grace: Duration,
}

/// What clients of a protected route are told about getting a token (RFC 9728 section 2).
#[derive(Debug)]
pub struct ResourceMetadata {
    /// The URLs of the route's issuers.
    pub servers: Vec<String>,
    /// How tokens may be sent, in RFC 6750's words.
    pub methods: Vec<&'static str>,
    /// The scopes that the route's policy names.
    pub scopes: Vec<String>,
}

/// A limit on how often one client may ask.
#[derive(Debug)]
pub struct RateLimit {
    /// Whose requests are counted together.
    pub by: LimitBy,
    /// The accounts.
    pub limiter: Arc<Limiter>,
}

/// What requests are counted by.
#[derive(Debug)]
pub enum LimitBy {
    /// A claim's value.
    Claim(ClaimPath),
    /// A header's value.
    Header(HeaderName),
    /// The client's address.
    Ip,
}

impl LimitBy {
    /// The kind of it, for answers and logs: which claim or header is nobody's business.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Claim(_) => "claim",
            Self::Header(_) => "header",
            Self::Ip => "ip",
        }
    }
}

/// Pages about errors, in memory.
#[derive(Debug, Default)]
pub struct ErrorPages {
    /// By status.
    pub exact: Vec<(u16, Bytes)>,
    /// By the first digit of the status.
    pub classes: Vec<(u16, Bytes)>,
}

impl ErrorPages {
    /// The page for this status, if there is one.
    pub fn page(&self, status: StatusCode) -> Option<&Bytes> {
        let (code, class) = (status.as_u16(), status.as_u16() / 100);
        let exact = self.exact.iter().find(|(known, _)| *known == code);
        let page = exact.or_else(|| self.classes.iter().find(|(known, _)| *known == class));
        page.map(|(_, page)| page)
    }
}

/// Compression on the way out.
#[derive(Debug)]
pub struct Compression {
    /// Where a client likes several alike, the first of them.
    pub codings: Vec<Coding>,
    /// Responses that are compressed at this moment.
    pub busy: Arc<AtomicUsize>,
}

/// A logout: a POST to `path` that is answered with `status`.
#[derive(Debug)]
pub struct RevokeOn {
    /// In canonical form.
    pub path: String,
    /// What says that it was done.
    pub status: StatusCode,
    /// Whose refresh token it is.
    pub issuers: Arc<IssuerSet>,
}

/// An upstream, as records name it.
#[derive(Debug)]
pub struct Destination {
    /// Its place in the metric tables.
    pub id: UpstreamId,
    /// Its name.
    pub name: Arc<str>,
    /// The labels of its endpoints, in order.
    pub endpoints: Vec<String>,
    /// How long a request's body may pause where `body_timeout` does not say so: a stream of gRPC
    /// says something when there is something to say.
    pub body_pause: Option<Duration>,
}

/// What a route does, each kind behind the door that asks for a permit.
#[derive(Debug)]
pub enum Action {
    /// Serves a folder.
    Files(Guarded<Files>),
    /// Nothing: its files are for applications to name.
    Internal,
    /// Forwards to an upstream.
    Proxy(Guarded<Proxied>),
    /// Sends clients elsewhere.
    Redirect(Guarded<Redirection>),
    /// Says whether a request may pass.
    Verify(Guarded<Verify>),
}

/// Forwarding, and what the application may name instead of an answer.
#[derive(Debug)]
pub struct Proxied {
    /// Where it leads.
    pub proxy: Proxy,
    /// The folders whose files it may name; `None` if it may name none.
    pub internal: Option<Box<[Files]>>,
}

impl Action {
    /// Who may; `None` if nobody may.
    pub fn policy(&self) -> Option<&Policy> {
        match self {
            Self::Files(guarded) => Some(guarded.policy()),
            Self::Internal => None,
            Self::Proxy(guarded) => Some(guarded.policy()),
            Self::Redirect(guarded) => Some(guarded.policy()),
            Self::Verify(guarded) => Some(guarded.policy()),
        }
    }
}

/// Where a route sends its clients.
#[derive(Debug)]
pub struct Redirection {
    /// A URL or a path, without its fragment.
    pub to: String,
    /// With its `#`, or nothing.
    pub fragment: String,
    /// The status that says so.
    pub status: StatusCode,
    /// The pattern whose `/*` is put behind `to`, if it is.
    pub kept: Option<PathPattern>,
}

impl Redirection {
    /// Whether it leads to a host that is named, rather than to a path of the one that was asked.
    pub fn is_elsewhere(&self) -> bool {
        !self.to.starts_with('/')
    }
}

/// The answer to a proxy that asks before it forwards a request.
#[derive(Debug)]
pub struct Verify;

/// How an error body looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorFormat {
    /// By the request: gRPC's form for gRPC, a page for browsers, else a problem.
    Auto,
    /// By the request: gRPC's form for gRPC, else as Django REST framework answers.
    AutoDrf,
    /// As Django REST framework and simplejwt answer.
    Drf,
    /// No body.
    Empty,
    /// As gRPC clients read them.
    Grpc,
    /// A small page.
    Html,
    /// RFC 9457 `application/problem+json`.
    Problem,
}

/// A compiled listener, as the gateway sees it.
#[derive(Debug)]
pub struct ListenerPlan {
    /// Its name in logs and metrics.
    pub name: Arc<str>,
    /// Its place in the metric tables.
    pub id: ListenerId,
    /// What clients speak to it.
    pub scheme: Scheme,
    /// The port clients see: what redirects and `X-Forwarded-Port` say.
    pub public_port: u16,
    /// Where everything but ACME and the routes that name this listener is sent.
    pub redirect: Option<Redirect>,
    /// The certificates it serves; a host that none covers is refused (421).
    pub tls: Option<ServerTls>,
    /// The same, if it asks clients for certificates.
    pub asks_clients: Option<ServerTls>,
}

impl ListenerPlan {
    /// Whether a request may come over a connection whose client showed this certificate, or none.
    pub fn admits(
        &self,
        certificate: Option<&ClientCertificate>,
        now: impl FnOnce() -> UnixTime,
    ) -> bool {
        let policy = self.asks_clients.as_ref().and_then(ServerTls::client_auth);
        policy.is_none_or(|policy| policy.admits(certificate, now()).is_ok())
    }

    /// Where a request for `path`, in canonical form, is sent unless a route names this listener;
    /// ACME's HTTP-01 challenge is fetched over plain HTTP (RFC 8555 section 8.3).
    pub fn redirect(&self, path: &str) -> Option<&Redirect> {
        self.redirect.as_ref().filter(|_| !path.starts_with("/.well-known/acme-challenge/"))
    }
}

/// A redirect to a TLS listener.
#[derive(Debug)]
pub struct Redirect {
    /// The public port of the TLS listener.
    pub port: u16,
    /// Only the hosts that its certificates cover are redirected.
    pub tls: ServerTls,
}

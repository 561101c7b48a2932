//! What is told of one exchange: the one value behind its access-log line and its metrics.
//!
//! Owns no bytes: it borrows from the exchange for as long as [`Metrics::observe`] and
//! [`AccessLog::write`] take. What clients sent (host, path, query, ...) is trusted by nobody: the
//! log escapes, shortens and redacts it, and the metrics never look at it.
//!
//! [`Metrics::observe`]: super::metrics::Metrics::observe
//! [`AccessLog::write`]: super::access_log::AccessLog::write

use std::net::IpAddr;
use std::time::Duration;

use hyper::{Method, Version};

use super::ids::{IssuerId, ListenerId, RouteId, UpstreamId};
use super::labels::{AuthOutcome, CacheLookup, RateLimitResult, Reason};
use crate::clock::UnixTime;

/// One exchange, as it is told when it is over.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When the head was complete: `ts`.
    pub at: UnixTime,
    /// From then to the last byte of the response, or to the moment it was given up.
    pub duration: Duration,
    /// The id that the application and the client saw as well.
    pub request_id: &'a [u8],
    /// The trace id of a `traceparent`, if there was a valid one.
    pub trace_id: Option<&'a str>,
    /// The listener, and its name.
    pub listener: (ListenerId, &'a str),
    /// The route, and its name; `None` (`-`) if none was found, or before one was looked for.
    pub route: Option<(RouteId, &'a str)>,
    /// `None` if the head could not be parsed: `-` in the log, `OTHER` in the metrics.
    pub method: Option<&'a Method>,
    /// As the client sent it.
    pub host: Option<&'a [u8]>,
    /// As the client sent it, or canonical once that is known.
    pub path: &'a [u8],
    /// Without its `?`. Values under names like `access_token` never reach the log.
    pub query: Option<&'a [u8]>,
    /// Further names of parameters whose values are credentials, in queries and in the `Referer`.
    pub secret_parameters: &'a [Box<str>],
    /// The protocol of the request; `None` if the head could not be parsed.
    pub version: Option<Version>,
    /// What the client was answered, or 499 if it went away first.
    pub status: u16,
    /// Why Portcullis refused, if it did.
    pub reason: Option<Reason>,
    /// A finer word of a closed list; for the log alone.
    pub detail: Option<&'static str>,
    /// Bytes of the request body.
    pub bytes_in: u64,
    /// Bytes of the response body.
    pub bytes_out: u64,
    /// `None` for a peer on a unix socket.
    pub client_ip: Option<IpAddr>,
    /// The `User-Agent` header.
    pub user_agent: Option<&'a [u8]>,
    /// The `Referer` header; its query is redacted like the request's.
    pub referer: Option<&'a [u8]>,
    /// What a proxy asked about, if the route answers such questions.
    pub original: Option<OriginalRecord<'a>>,
    /// How authentication went; `None` if the exchange ended before it.
    pub auth: Option<AuthRecord<'a>>,
    /// Where it was forwarded to; `None` if it was not.
    pub upstream: Option<UpstreamRecord<'a>>,
    /// `None` for a plain connection.
    pub tls: Option<TlsRecord<'a>>,
    /// What the route's rate limits said; `None` if none was asked.
    pub rate_limit: Option<RateLimitResult>,
    /// Header fields deleted since only Portcullis may set them.
    pub asserted_dropped: u32,
    /// Header fields deleted for an underscore in their name.
    pub underscore_dropped: u32,
}

/// The request that a proxy asked about, in the proxy's words.
#[derive(Clone, Copy, Debug)]
pub struct OriginalRecord<'a> {
    /// Its method.
    pub method: Option<&'a [u8]>,
    /// Its host.
    pub host: Option<&'a [u8]>,
    /// Its path and query, or its URL; the query is redacted like the request's.
    pub uri: Option<&'a [u8]>,
}

/// How authentication went.
#[derive(Clone, Copy, Debug)]
pub struct AuthRecord<'a> {
    /// The verdict.
    pub result: AuthResult,
    /// The issuer, and its name, once the token was found to be one of its.
    pub issuer: Option<(IssuerId, &'a str)>,
    /// The verified `sub`.
    pub subject: Option<&'a str>,
    /// The verified `jti`.
    pub jti: Option<&'a str>,
    /// `None` if the token cache was not asked.
    pub cache: Option<CacheLookup>,
    /// CPU and waiting time of authentication; `None` if there was nothing to verify.
    pub duration: Option<Duration>,
}

/// The verdict of authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthResult {
    /// It let the request pass.
    Passed(AuthOutcome),
    /// It refused the request.
    Refused(Reason),
}

impl AuthResult {
    /// The word in the log and in the metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed(outcome) => outcome.as_str(),
            Self::Refused(reason) => reason.as_str(),
        }
    }
}

/// Where an exchange was forwarded to.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamRecord<'a> {
    /// The upstream, and its name.
    pub upstream: (UpstreamId, &'a str),
    /// The endpoint of the last attempt: its index in the list given to
    /// [`Metrics::upstream`](super::metrics::Metrics::upstream), and its label.
    pub endpoint: Option<(usize, &'a str)>,
    /// What the endpoint answered, if it did.
    pub status: Option<u16>,
    /// From the first byte sent to the end of the response's head.
    pub first_byte: Option<Duration>,
    /// How often it was tried; more than one means retries.
    pub attempts: u32,
    /// The last attempt went over a connection that had served before.
    pub reused: bool,
}

/// The TLS connection of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct TlsRecord<'a> {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// The server name that the client asked for.
    pub sni: Option<&'a str>,
}

#[cfg(test)]
impl Record<'static> {
    /// A refusal-free GET of `/` on the given names.
    pub(super) fn sample(listener: ListenerId, route: RouteId) -> Self {
        Self {
            at: UnixTime::from_millis(1_767_225_600_123),
            duration: Duration::from_micros(1_234),
            request_id: b"0123456789abcdef",
            trace_id: None,
            listener: (listener, "main"),
            route: Some((route, "/*")),
            method: Some(&Method::GET),
            host: Some(b"example.com"),
            path: b"/",
            query: None,
            secret_parameters: &[],
            version: Some(Version::HTTP_11),
            status: 200,
            reason: None,
            detail: None,
            bytes_in: 3,
            bytes_out: 1024,
            client_ip: Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)),
            user_agent: None,
            referer: None,
            original: None,
            auth: None,
            upstream: None,
            tls: None,
            rate_limit: None,
            asserted_dropped: 0,
            underscore_dropped: 0,
        }
    }
}

//! A request that is about to be forwarded, as an ordinary one or to switch protocols.

use std::sync::Arc;
use std::time::Duration;

use hyper::Version;
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;

use super::exchange::Exchange;
use super::logout;
use super::origin::Seen;
use super::reject::Reject;
use super::state::Gateway;
use crate::auth::{Guarded, MAX_LOGOUT, Owed, Permit};
use crate::clock::Clock;
use crate::http::body::{BodyLimits, RequestBody};
use crate::http::forwarded::{Origin, Told};
use crate::proxy::{Forward, Proxy};
use crate::server::Peer;
use crate::snapshot::Snapshot;
use crate::snapshot::plan::{RevokeOn, RoutePlan};

/// A request whose head has passed every check.
pub(super) struct Arrived<'r> {
    pub(super) parts: Parts,
    pub(super) body: RequestBody,
    /// As the client wrote it.
    pub(super) host: HeaderValue,
    /// What it revokes if its answer says so.
    pub(super) logout: Option<&'r RevokeOn>,
}

impl<'r> Arrived<'r> {
    /// What `route` makes of it; its body may make no progress for `idle`.
    pub(super) fn of(
        parts: Parts,
        body: Incoming,
        host: HeaderValue,
        route: &'r RoutePlan,
        idle: Duration,
    ) -> Self {
        let pause = route.upstream.as_ref().and_then(|upstream| upstream.body_pause);
        let idle = pause.unwrap_or(idle);
        let limits = BodyLimits { max: route.max_body, idle, paced: pause.is_none() };
        let logout = logout::watched(route, &parts);
        let body = match logout {
            Some(_) if logout::is_json(&parts.headers) => {
                RequestBody::copied(body, limits, MAX_LOGOUT)
            }
            Some(_) | None => RequestBody::new(body, limits),
        };
        let body = if parts.version == Version::HTTP_2 { body.over_http2() } else { body };
        Self { parts, body, host, logout }
    }
}

/// Gives the application the credential as the issuers' settings say; what its answer then owes.
pub(crate) fn hand_over<A>(
    guarded: &Guarded<A>,
    permit: &Permit<'_, A>,
    parts: &mut Parts,
) -> Owed {
    match guarded.policy().issuers() {
        Some(issuers) => issuers.hand_over(permit.principal().map(Arc::as_ref), parts),
        None => Owed::Nothing,
    }
}

/// What the application is told about the principal, signed, where the operator wants that. Boxed:
/// the future of a request without it grows by a pointer.
pub(crate) fn assertion(
    snapshot: &Snapshot,
    permit: &Permit<'_, Proxy>,
    clock: &Clock,
) -> Result<Option<Box<(HeaderName, HeaderValue)>>, Reject> {
    let (Some(assertion), Some(principal)) = (snapshot.assertion(), permit.principal()) else {
        return Ok(None);
    };
    let upstream = permit.action().upstream.name();
    let signed = assertion.sign(principal, upstream, clock.wall());
    // An application that relies on it must not be asked without it.
    let named = signed.map(|value| Some(Box::new((assertion.header().clone(), value))));
    named.map_err(|_| Reject::Internal)
}

/// What forwarding needs of this worker and this request, whose host and id these are.
pub(super) fn context<'a>(
    gateway: &'a Gateway,
    exchange: &Exchange,
    snapshot: &'a Snapshot,
    told: Option<&'a Told>,
    (host, id): (&'a HeaderValue, &'a HeaderValue),
) -> Forward<'a> {
    Forward {
        pools: gateway.pools(),
        spool: snapshot.spool(),
        // The words are borrowed from beside the exchange, which is changed meanwhile.
        origin: Origin {
            standard: snapshot.tells_forwarded(),
            ..Seen { told, ..exchange.seen() }.origin(host)
        },
        via: snapshot.via(),
        request_id: (snapshot.request_id_header(), id),
        assertion: None,
        client_certificate: None,
        client_port: match (told, exchange.connection().peer) {
            (None, Peer::Tcp(address)) => address.port(),
            (Some(_), _) | (None, Peer::Unix) => 0,
        },
        clock: gateway.clock(),
    }
}

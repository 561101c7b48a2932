//! The steps of one exchange, in their order (see the folder's doc).

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, Uri, Version};

use super::accel::Asked;
use super::arrived::{Arrived, assertion, context, hand_over};
use super::body::Inner;
use super::compress::Wish;
use super::exchange::{AuthNote, Body, Exchange, finish};
use super::origin::Original;
use super::reject::Reject;
use super::respond::respond;
use super::state::Gateway;
use super::steps::{self, Lead};
use super::stream_end::{Bound, bind};
use super::{deadline, limits, local, logout, preflight, tunnel};
use crate::auth::{self, Guarded, Permit, Policy, Principal};
use crate::clock::UnixTime;
use crate::http::authority::Authority;
use crate::http::cors;
use crate::http::forwarded::request_id;
use crate::http::{head, upgrade};
use crate::proxy::{self, Forward, Trace};
use crate::server::ConnectionInfo;
use crate::snapshot::Snapshot;
use crate::snapshot::plan::{Action, ErrorFormat, Proxied, RoutePlan};
use crate::static_files::{self, Ask, Files};
use crate::telemetry::labels::{AuthOutcome, CacheLookup};
use crate::telemetry::record::AuthResult;

/// Answers one request; a panic on the way costs this exchange, never the process.
pub(super) async fn handle(
    gateway: &Gateway,
    connection: &Arc<ConnectionInfo>,
    request: Request<Incoming>,
) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    upgrade::take_extended_connect(&mut parts);
    let extended = upgrade::is_extended(&parts);
    let snapshot = gateway.snapshot();
    let id = request_id();
    let mut exchange = Exchange::begin(gateway, snapshot, connection, &parts, id.clone());
    let http1 = parts.version != Version::HTTP_2;
    let outcome = {
        let mut steps = pin!(steps(gateway, &mut exchange, parts, body));
        caught(steps.as_mut()).await
    };
    let name = exchange.snapshot().request_id_header().clone();
    let mut response = match outcome.unwrap_or(Err(Reject::Internal)) {
        // To an extended CONNECT, success is the switch and nothing else (RFC 8441 section 5).
        Ok(response) if extended && tunnel::feigns(&response) => {
            refuse(exchange, &Reject::WebSocketOff, extended)
        }
        Ok(response) => exchange.respond(response),
        Err(reject) => {
            let mut response = refuse(exchange, &reject, extended);
            if http1 && reject.ends_connection() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
    };
    finish(response.headers_mut(), &name, &id);
    response
}

/// Records a request whose client left before anybody looked at it.
pub(super) fn abandoned(
    gateway: &Gateway,
    connection: &Arc<ConnectionInfo>,
    request: Request<Incoming>,
) {
    let (mut parts, _body) = request.into_parts();
    upgrade::take_extended_connect(&mut parts);
    drop(Exchange::begin(gateway, gateway.snapshot(), connection, &parts, request_id()));
}

/// The steps of the story; whatever it returns is answered and recorded by [`handle`].
async fn steps(
    gateway: &Gateway,
    exchange: &mut Exchange,
    mut parts: Parts,
    body: Incoming,
) -> Result<Response<Inner>, Reject> {
    let snapshot = Arc::clone(exchange.snapshot());

    // 2. The head, the canonical path, and no header that is ours to set.
    let head =
        head::check(&parts, exchange.scheme(), snapshot.head_limits()).map_err(Reject::Head)?;
    belongs_here(gateway, exchange, &head.authority)?;
    screen(&snapshot, exchange, &mut parts)?;
    if let Some(response) = preflight::asterisk(&head.target) {
        return Ok(response.map(Inner::from));
    }
    let doubted = take_canonical(exchange, &mut parts)?;

    // 3. and 4.
    let route = match route(exchange, &snapshot, &head.authority, &parts, doubted.as_ref())? {
        Routed::Answer(response) => return Ok(response.map(Inner::from)),
        Routed::Route(route) => route,
    };

    // 5. to 9.
    steps::admit(&snapshot, &exchange.seen(), route, &parts.headers)?;
    limits::admit(exchange, route, &parts.headers, gateway.clock())?;
    let wish = Wish::of(snapshot.compression(), route.action.policy(), &parts);
    let response = match &route.action {
        Action::Files(guarded) => serve_file(gateway, exchange, route, guarded, &parts).await,
        Action::Internal => Err(Reject::Files(static_files::Refusal::NotFound)),
        Action::Proxy(guarded) => {
            let target = exchange.forwarded_target(head.authority.host(), &parts)?;
            let mut arrived = Arrived::of(parts, body, head.host, route, snapshot.body_timeout());
            if let Some(target) = target {
                arrived.parts.uri = target;
            }
            match route.timeout {
                None => forward(gateway, exchange, route, guarded, arrived).await,
                Some(whole) => {
                    // Boxed, like all that few routes ask for.
                    let timed =
                        deadline::forward(gateway, exchange, route, guarded, arrived, whole);
                    Box::pin(timed).await
                }
            }
        }
        Action::Redirect(guarded) => {
            let permit = permit(gateway, exchange, route, guarded, &parts).await?;
            let _owed = hand_over(guarded, &permit, &mut parts);
            let secrets = snapshot.secret_parameters();
            let answer = local::redirect(&permit, &parts.uri, secrets).map_err(Reject::Path)?;
            Ok(answer.map(Inner::from))
        }
        Action::Verify(guarded) => {
            let permit = permit(gateway, exchange, route, guarded, &parts).await?;
            Ok(local::verify(&permit).map(Inner::from))
        }
    }?;
    Ok(match wish {
        Some(wish) => wish.grant(response),
        None => response,
    })
}

/// Where a request leads.
enum Routed<'s> {
    /// Nowhere: it is answered without a route's action.
    Answer(Response<Bytes>),
    Route(&'s RoutePlan),
}

/// Steps 3 and 4: the route, and what is answered before it is asked.
fn route<'s>(
    exchange: &mut Exchange,
    snapshot: &'s Snapshot,
    authority: &Authority,
    parts: &Parts,
    doubted: Option<&Uri>,
) -> Result<Routed<'s>, Reject> {
    let listener = exchange.connection().listener;
    let lead = steps::lead(snapshot, listener, &exchange.seen(), authority, parts, doubted)?;
    let (index, asked) = match lead {
        Lead::Answer(_, response) => return Ok(Routed::Answer(response)),
        Lead::Preflight(index, asked) => (index, Some(asked)),
        Lead::Route(index) => (index, None),
    };
    exchange.take_route(index, &parts.headers);
    let route = snapshot.route(index).ok_or(Reject::NoRoute)?;
    if let (Some(asked), Some(cors)) = (asked, &route.cors) {
        exchange.auth = Some(AuthNote::of(AuthResult::Passed(AuthOutcome::Skipped)));
        return Ok(Routed::Answer(preflight::cors(cors, &asked, &parts.headers)));
    }
    Ok(Routed::Route(route))
}

async fn serve_file(
    gateway: &Gateway,
    exchange: &mut Exchange,
    route: &RoutePlan,
    guarded: &Guarded<Files>,
    parts: &Parts,
) -> Result<Response<Inner>, Reject> {
    let permit = permit(gateway, exchange, route, guarded, parts).await?;
    let bound = bound(gateway, exchange, route, &permit);
    let ask = Ask {
        method: &parts.method,
        headers: &parts.headers,
        path: parts.uri.path(),
        query: parts.uri.query(),
    };
    let reply = static_files::serve(permit, ask).await.map_err(Reject::Files)?;
    Ok(bind(reply.map(Inner::from), bound))
}

/// What ends the response, on routes that say so.
fn bound<A>(
    gateway: &Gateway,
    exchange: &Exchange,
    route: &RoutePlan,
    permit: &Permit<'_, A>,
) -> Option<Bound> {
    let ends = route.streams;
    let revocations = exchange.snapshot().revocations();
    ends.bodies.then(|| Bound::of(permit, ends, revocations, gateway.clock())).flatten()
}

pub(super) async fn forward(
    gateway: &Gateway,
    exchange: &mut Exchange,
    route: &RoutePlan,
    guarded: &Guarded<Proxied>,
    arrived: Arrived<'_>,
) -> Result<Response<Inner>, Reject> {
    if upgrade::asks_for_websocket(&arrived.parts) {
        // Boxed: few requests need it, and every one's future is moved whole.
        let opening = tunnel::open(gateway, exchange, route, guarded, arrived);
        return Box::pin(opening).await;
    }
    let Arrived { mut parts, body, host, logout } = arrived;
    let permit = permit(gateway, exchange, route, guarded, &parts).await?;
    let asked = Asked::of(&permit, &parts);
    let whole = asked.as_ref().and_then(|_| permit.narrow(|whole| Some(whole)));
    // Whether a subprotocol is owed matters to a switch alone.
    let _owed = hand_over(guarded, &permit, &mut parts);
    let permit = permit.into_part(|proxied| &proxied.proxy);
    exchange.received = Some(body.counter());
    let snapshot = Arc::clone(exchange.snapshot());
    let (told, shown) = (exchange.told.clone(), exchange.shown());
    let id = exchange.request_id.clone();
    let signed = assertion(&snapshot, &permit, gateway.clock())?;
    let ctx = Forward {
        assertion: signed.as_deref().map(|(name, value)| (name, value)),
        client_certificate: shown.as_deref().map(Vec::as_slice),
        ..context(gateway, exchange, &snapshot, told.as_deref(), (&host, &id))
    };
    let bound = bound(gateway, exchange, route, &permit);
    let own = logout.and_then(|_| permit.principal().cloned());
    // The exchange's own: the client may leave while this waits, and the record tells how far it came.
    let trace = exchange.forwarded.insert(Trace::default());
    let result = proxy::forward(permit, Request::from_parts(parts, body), ctx, trace).await;
    let mut response = result.map_err(Reject::Proxy)?;
    if let Some(on) = logout.filter(|on| on.status == response.status()) {
        Box::pin(logout::seen(gateway, exchange, on, own)).await;
    }
    if route.cors.is_some() {
        cors::strip(response.headers_mut());
    }
    let response = match asked.zip(whole) {
        None => response.map(Inner::from),
        Some((asked, permit)) => Box::pin(asked.answer(&permit, response)).await?,
    };
    Ok(bind(response, bound))
}

/// Steps 6 to 8: the only way to an action.
pub(super) async fn permit<'s, A>(
    gateway: &Gateway,
    exchange: &mut Exchange,
    route: &RoutePlan,
    guarded: &'s Guarded<A>,
    parts: &Parts,
) -> Result<Permit<'s, A>, Reject> {
    let (principal, at) = authenticate(gateway, exchange, guarded.policy(), parts).await?;
    let permit = guarded.authorize(principal, at).map_err(Reject::Denied)?;
    let principal = permit.principal().map(Arc::as_ref);
    limits::admit_principal(exchange, route, principal, gateway.clock())?;
    exchange.enter(route)?;
    Ok(permit)
}

/// A connection serves the hosts of its certificates (RFC 9110 section 7.4): a client that reuses
/// it for another host could otherwise pass the rules of that host's own listener (H6). And where
/// clients must show certificates, what let the connection in must still do so: the policy, its
/// roots or its lists may have changed since, or the certificate be over (H23).
fn belongs_here(
    gateway: &Gateway,
    exchange: &Exchange,
    authority: &Authority,
) -> Result<(), Reject> {
    let tls = exchange.connection().tls.as_ref();
    if tls.is_some_and(|tls| !tls.covers(authority.host())) {
        return Err(Reject::Misdirected);
    }
    let certificate = tls.and_then(|tls| tls.client.as_ref());
    match exchange.listener().admits(certificate, || gateway.clock().wall()) {
        true => Ok(()),
        false => Err(Reject::ClientCertificate),
    }
}

/// Hears what a trusted proxy tells, then deletes what only Portcullis may say.
fn screen(snapshot: &Snapshot, exchange: &mut Exchange, parts: &mut Parts) -> Result<(), Reject> {
    let told = steps::hear(snapshot, exchange.connection().peer.ip(), &parts.headers)?;
    if told.is_some() && snapshot.verifies() {
        exchange.original = Some(Box::new(Original::of(&parts.headers)));
    }
    exchange.told = told.map(Arc::new);
    let (asserted, underscored) = steps::strip(snapshot, &mut parts.headers)?;
    exchange.asserted_dropped = u32::try_from(asserted).unwrap_or(u32::MAX);
    exchange.underscore_dropped = u32::try_from(underscored).unwrap_or(u32::MAX);
    Ok(())
}

/// Puts the canonical target in the place of the one that was sent; gives that back if its path has
/// other readings.
fn take_canonical(exchange: &mut Exchange, parts: &mut Parts) -> Result<Option<Uri>, Reject> {
    let (uri, doubtful) = steps::canonical(&parts.uri)?;
    exchange.uri = uri.clone();
    let raw = std::mem::replace(&mut parts.uri, uri);
    Ok(doubtful.then_some(raw))
}

/// A token becomes a principal, or a refusal; a public route looks at none. Also when that was.
async fn authenticate(
    gateway: &Gateway,
    exchange: &mut Exchange,
    policy: &Policy,
    parts: &Parts,
) -> Result<(Option<Arc<Principal>>, UnixTime), Reject> {
    let Some(issuers) = policy.issuers() else {
        exchange.auth = Some(AuthNote::of(AuthResult::Passed(AuthOutcome::Skipped)));
        return Ok((None, exchange.at()));
    };
    let begun = exchange.elapsed();
    let resources = auth::Resources {
        cache: exchange.snapshot().tokens(),
        local: gateway.tokens(),
        bad_tokens: exchange.bad_tokens(),
        revocations: exchange.snapshot().revocations(),
        clock: gateway.clock(),
    };
    let carrier = exchange.carrier(parts);
    let verdict = auth::authenticate(issuers, carrier, resources).await;
    let duration = Some(exchange.elapsed().saturating_sub(begun));
    match verdict {
        Ok(authenticated) => {
            let issuer = exchange.snapshot().issuer_of(&authenticated.principal);
            exchange.auth = Some(AuthNote {
                result: AuthResult::Passed(AuthOutcome::Ok),
                principal: Some(Arc::clone(&authenticated.principal)),
                issuer,
                cache: Some(if authenticated.cached {
                    CacheLookup::Hit
                } else {
                    CacheLookup::Miss
                }),
                duration,
            });
            Ok((Some(authenticated.principal), authenticated.at))
        }
        Err(refusal) if policy.forgives(&refusal) => {
            exchange.auth = Some(AuthNote::of(AuthResult::Passed(AuthOutcome::Anonymous)));
            Ok((None, exchange.at()))
        }
        Err(refusal) => {
            let snapshot = exchange.snapshot();
            let issuer = refusal.issuer().and_then(|name| snapshot.issuer_named(name));
            exchange.auth = Some(AuthNote {
                issuer,
                cache: refusal.token_sent().then_some(CacheLookup::Miss),
                duration,
                ..AuthNote::of(AuthResult::Refused(refusal.reason()))
            });
            Err(Reject::Auth(refusal))
        }
    }
}

/// To an extended CONNECT, gRPC's status 200 would say that the tunnel stands.
fn refuse(mut exchange: Box<Exchange>, reject: &Reject, extended: bool) -> Response<Body> {
    exchange.refuse(reject);
    let response = {
        let format = match exchange.route().map_or(ErrorFormat::Auto, |route| route.errors) {
            ErrorFormat::Grpc if extended => ErrorFormat::Problem,
            format => format,
        };
        respond(reject, &exchange.asker(format))
    };
    exchange.respond(response)
}

/// What state its connection is in is unknown.
struct Panicked;

/// Runs a future to its end or to its panic. What it borrowed is given up with it, so that no
/// half-changed state is looked at afterwards.
///
/// Borrows the future, which is large: taking it would move it once more in every request.
async fn caught<F: Future>(mut future: Pin<&mut F>) -> Result<F::Output, Panicked> {
    poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(_) => Poll::Ready(Err(Panicked)),
    })
    .await
}

//! What a request's head decides by itself, without live counts and without waiting: the same for a
//! request and for `explain`, which must not tell of a gateway that there is not.
//!
//! Trusts the head to have been checked. Each function is a part of [`handle`](super::handle)'s
//! story, in its order.

use std::borrow::Cow;
use std::net::IpAddr;

use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, HeaderMap};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Response, Uri};

use super::metadata::{self, Base};
use super::origin::Seen;
use super::preflight;
use super::reject::Reject;
use crate::http::authority::Authority;
use crate::http::forwarded::{Told, told};
use crate::http::{HeadError, headers, path, upgrade};
use crate::route::{Found, RewriteError};
use crate::snapshot::plan::{Action, RoutePlan};
use crate::snapshot::{Misrouted, Snapshot};
use crate::static_files::Refusal;

// === step 2: the head ===

/// What a trusted proxy tells; asked before anything is deleted.
pub(crate) fn hear(
    snapshot: &Snapshot,
    peer: Option<IpAddr>,
    headers: &HeaderMap,
) -> Result<Option<Told>, Reject> {
    told(headers, peer, snapshot.trusted_proxies()).map_err(Reject::Head)
}

/// Deletes what only Portcullis may say, on every route, before anything is decided: a header that
/// a client could smuggle past this would be believed by the application (J28, H4, H11). How many
/// of those there were, and how many had `_` in their names.
pub(crate) fn strip(
    snapshot: &Snapshot,
    headers: &mut HeaderMap,
) -> Result<(usize, usize), Reject> {
    let asserted = snapshot.asserted().strip(headers);
    let (policy, allowed) = snapshot.underscores();
    let underscored =
        headers::screen_underscores(headers, policy, allowed).map_err(Reject::Head)?;
    Ok((asserted, underscored))
}

/// The target in origin form with its canonical path: matched, logged and forwarded alike; and
/// whether the path has other readings.
pub(crate) fn canonical(uri: &Uri) -> Result<(Uri, bool), Reject> {
    let raw = uri.path();
    let path::Canonical { path, doubtful } = path::canonicalize(raw).map_err(Reject::Path)?;
    if matches!(path, Cow::Borrowed(_)) && uri.authority().is_none() {
        return Ok((uri.clone(), doubtful));
    }
    Ok((target(path.into_owned(), uri.query())?, doubtful))
}

/// A target in origin form.
fn target(path: String, query: Option<&str>) -> Result<Uri, Reject> {
    let target = match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let target =
        PathAndQuery::try_from(target).map_err(|_| Reject::Path(path::PathError::Control))?;
    Ok(Uri::from(target))
}

// === steps 3 and 4: where it leads ===

/// Where a request leads.
pub(crate) enum Lead {
    /// Nowhere: it is answered without a route's action.
    Answer(Local, Response<Bytes>),
    /// To a route's answer to pages that ask whether they may send this method.
    Preflight(usize, Method),
    /// To a route, by its index.
    Route(usize),
}

/// What answers without a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Local {
    AssertionKeys,
    Metadata,
    Redirect,
}

/// The route of a request with a canonical path, and what is answered before any route is asked;
/// `doubted` is the target as sent, if its path has other readings.
pub(crate) fn lead(
    snapshot: &Snapshot,
    listener: usize,
    seen: &Seen<'_>,
    authority: &Authority,
    parts: &Parts,
    doubted: Option<&Uri>,
) -> Result<Lead, Reject> {
    if let Some(response) = preflight::assertion_keys(snapshot, parts) {
        return Ok(Lead::Answer(Local::AssertionKeys, response));
    }
    let path = parts.uri.path();
    // A preflight's route is the one that it asks about.
    let (found, asked) = find(snapshot, listener, authority.host(), parts, doubted)?;

    // The listener's redirect, which a route that names this listener wins against.
    if !matches!(found, Found::Route(index) if snapshot.names_listener(index, listener)) {
        let (plan, query) = (snapshot.listener(listener), parts.uri.query());
        let redirect = preflight::redirect(plan, &parts.method, authority, path, query);
        if let Some(answer) = redirect {
            return answer.map(|answer| Lead::Answer(Local::Redirect, answer));
        }
    }
    if let Some((metadata, path)) = snapshot.described(&found, listener, authority.host(), path) {
        let base = Base::of(seen.public(), authority);
        if let Some(response) = metadata::answer(metadata, &base, path, parts) {
            return Ok(Lead::Answer(Local::Metadata, response));
        }
    }
    match (found, asked) {
        (Found::Route(index), Some(asked)) => Ok(Lead::Preflight(index, asked)),
        (Found::Route(index), None) => Ok(Lead::Route(index)),
        (Found::MethodNotAllowed(allow), _) => Err(Reject::MethodNotAllowed(allow)),
        (Found::None, _) => Err(Reject::NoRoute),
    }
}

/// What the canonical path leads to, and everybody who reads the one as sent, if that is in doubt;
/// and the method that a preflight asks for.
fn find(
    snapshot: &Snapshot,
    listener: usize,
    host: &str,
    parts: &Parts,
    doubted: Option<&Uri>,
) -> Result<(Found<usize>, Option<Method>), Reject> {
    let (found, preflight) = snapshot.find_for(listener, host, parts.uri.path(), parts);
    if let Some(raw) = doubted {
        let method = preflight.as_ref().unwrap_or(&parts.method);
        let agreed = snapshot.agree(listener, host, raw.path(), method, &found);
        agreed.map_err(|_| Reject::Path(path::PathError::Ambiguous))?;
    }
    Ok((found, preflight))
}

// === step 5: admission ===

/// What the head alone can refuse costs no upload, no `100 Continue` and no upstream.
pub(crate) fn admit(
    snapshot: &Snapshot,
    seen: &Seen<'_>,
    route: &RoutePlan,
    headers: &HeaderMap,
) -> Result<(), Reject> {
    if snapshot.via().seen_in(headers) {
        return Err(Reject::Loop);
    }
    match route.action {
        Action::Internal => return Err(Reject::Files(Refusal::NotFound)),
        // Whoever asks names the address that bad tokens are counted for, and gets to hear whose
        // the good ones are. A body is the original request's, and is not read.
        Action::Verify(_) if seen.told.is_none() => return Err(Reject::AddressNotAllowed),
        Action::Files(_) | Action::Proxy(_) if declared(headers) > route.max_body => {
            return Err(Reject::BodyTooLarge);
        }
        // Neither do redirects read it.
        Action::Files(_) | Action::Proxy(_) | Action::Redirect(_) | Action::Verify(_) => {}
    }
    match &route.allow_ips {
        Some(allowed) if !seen.client().is_some_and(|client| allowed.contains(client)) => {
            Err(Reject::AddressNotAllowed)
        }
        Some(_) | None => Ok(()),
    }
}

/// The length that the head says the body has.
fn declared(headers: &HeaderMap) -> u64 {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

/// The target to forward, where the route changes the path: a path of this route for everybody who
/// reads it (H8).
pub(crate) fn forwarded_target(
    snapshot: &Snapshot,
    route: usize,
    listener: usize,
    host: &str,
    parts: &Parts,
) -> Result<Option<Uri>, Reject> {
    match snapshot.forwarded_path(route, listener, host, parts.uri.path(), &parts.method) {
        Ok(None) => Ok(None),
        Ok(Some(path)) => target(path, parts.uri.query()).map(Some),
        Err(Misrouted::Rewrite(RewriteError::TooLong)) => {
            Err(Reject::Head(HeadError::TargetTooLong))
        }
        Err(Misrouted::Rewrite(RewriteError::NotCanonical) | Misrouted::Split(_)) => {
            Err(Reject::Path(path::PathError::Ambiguous))
        }
    }
}

// === step 9: the action ===

/// Whether a request that has its permit switches to WebSocket.
pub(crate) fn switches(route: &RoutePlan, parts: &Parts) -> Result<bool, Reject> {
    match (upgrade::asks_for_websocket(parts), route.websocket) {
        (true, false) => Err(Reject::WebSocketOff),
        (asks, _) => Ok(asks),
    }
}

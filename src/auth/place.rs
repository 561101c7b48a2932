//! Places: where in a request a token may stand, and whose.
//!
//! Trusts the configuration. A route looks only where its issuers say; a token in a place that its
//! issuer does not name is not that issuer's. Two credentials are refused, wherever they stand:
//! gateway and application could each take another (attack J27). A cookie is sent along by the
//! browser whoever wrote the page, so it counts for what changes something only if a page of the
//! same origin asked.

use std::fmt;
use std::sync::Arc;

use hyper::Method;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::http::request::Parts;

use super::issuer::{Issuer, IssuerSet};
use super::refusal::Cause;
use super::token::{bearer, token68};
use crate::http::credential::{Occurrence, cookie, query, subprotocol};
use crate::http::headers::is_spelling_of;
use crate::http::upgrade::is_extended;
use crate::http::web_origin::is_same_origin;
use crate::http::{Cors, Scheme};

/// A place where a token may stand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A cookie of this name.
    Cookie(Box<str>),
    /// A header: `Authorization` with the scheme `Bearer`; any other with the token alone, or with
    /// that scheme before it.
    Header(HeaderName),
    /// A parameter of the query.
    Query(Box<str>),
    /// The element after `bearer` among the subprotocols that a WebSocket handshake offers.
    WebSocketProtocol,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::WebSocketProtocol => f.write_str("websocket_protocol"),
        }
    }
}

/// A request as far as it may carry a token, and where it was sent to.
#[derive(Clone, Copy, Debug)]
pub struct Carrier<'r> {
    /// Its head, checked.
    pub parts: &'r Parts,
    /// How the client reached us.
    pub scheme: Scheme,
    /// The host as the client wrote it.
    pub host: Option<&'r HeaderValue>,
    /// Whose pages may act with cookies, beside those of the same origin.
    pub cors: Option<&'r Cors>,
    /// It is a proxy's question about another request: its method says nothing of that one's.
    pub is_question: bool,
}

/// The places of one route's issuers.
#[derive(Debug)]
pub(in crate::auth) enum Sources {
    /// `Authorization` alone, for every issuer.
    Authorization,
    /// These, each with the issuers that name it.
    Listed(Box<[Source]>),
}

#[derive(Debug)]
pub(in crate::auth) struct Source {
    pub(in crate::auth) place: Place,
    /// Whose tokens stand there. A set of its own, with its own half of a cached token's key: what
    /// was verified from one place says nothing to another with other issuers.
    pub(in crate::auth) issuers: Arc<IssuerSet>,
}

impl Sources {
    pub(in crate::auth) fn of(issuers: &[Arc<Issuer>]) -> Self {
        let mut places: Vec<&Place> = Vec::new();
        for place in issuers.iter().flat_map(|issuer| &issuer.settings().token_from) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        if let [Place::Header(AUTHORIZATION)] = places[..] {
            return Self::Authorization;
        }
        let source = |place: &Place| {
            let names = |issuer: &&Arc<Issuer>| issuer.settings().token_from.contains(place);
            let issuers = issuers.iter().filter(names).cloned().collect();
            Source { place: place.clone(), issuers: IssuerSet::of_place(issuers) }
        };
        Self::Listed(places.into_iter().map(source).collect())
    }

    /// The request's one token, and where it stands.
    pub(in crate::auth) fn find<'r, 's>(
        sources: &'s [Source],
        carrier: Carrier<'r>,
    ) -> Result<(&'r str, &'s Source), Cause> {
        let (token, source) = Self::only(sources, carrier.parts)?;
        if let Place::Cookie(_) = source.place
            && !may_use_cookie(carrier)
        {
            return Err(Cause::CrossOriginCookie);
        }
        Ok((token, source))
    }

    /// The text of the request's one token, whoever sent it.
    pub(in crate::auth) fn only_token<'r>(sources: &[Source], parts: &'r Parts) -> Option<&'r str> {
        Self::only(sources, parts).ok().map(|(token, _)| token)
    }

    /// Every place is looked at before any token is: a second credential, however broken, refuses
    /// the request.
    fn only<'r, 's>(
        sources: &'s [Source],
        parts: &'r Parts,
    ) -> Result<(&'r str, &'s Source), Cause> {
        let mut found = None;
        for source in sources {
            let token = match source.place.look(parts) {
                Seen::Nothing => continue,
                Seen::One(token) => token,
                Seen::Several => return Err(Cause::DuplicateCredentials),
            };
            if found.replace((token, source)).is_some() {
                return Err(Cause::DuplicateCredentials);
            }
        }
        let (token, source) = found.ok_or(Cause::NoCredentials)?;
        Ok((token?, source))
    }
}

/// What stands in a place.
enum Seen<'r> {
    Nothing,
    /// A credential, if only by its place: it may be no token.
    One(Result<&'r str, Cause>),
    Several,
}

impl Place {
    fn look<'r>(&self, parts: &'r Parts) -> Seen<'r> {
        match self {
            Self::Header(AUTHORIZATION) => match bearer(&parts.headers) {
                Ok(token) => Seen::One(Ok(token)),
                Err(Cause::NoCredentials) => Seen::Nothing,
                Err(Cause::DuplicateCredentials) => Seen::Several,
                Err(cause) => Seen::One(Err(cause)),
            },
            Self::Header(name) => in_header(parts, name),
            Self::Cookie(name) => seen(cookie::find(&parts.headers, name)),
            Self::Query(name) => seen(query::find(parts.uri.query().unwrap_or_default(), name)),
            Self::WebSocketProtocol if !subprotocol::is_websocket(parts) => Seen::Nothing,
            Self::WebSocketProtocol => match subprotocol::find(&parts.headers) {
                Occurrence::Empty => Seen::One(Err(Cause::NoToken)),
                other => seen(other),
            },
        }
    }
}

/// A cookie that was cleared, or a parameter left empty, is no credential.
fn seen(occurrence: Occurrence<'_>) -> Seen<'_> {
    match occurrence {
        Occurrence::Absent | Occurrence::Empty => Seen::Nothing,
        Occurrence::One(value) => Seen::One(token68(value)),
        Occurrence::Respelled => Seen::One(Err(Cause::NameRespelled)),
        Occurrence::Several => Seen::Several,
    }
}

/// An application that folds spellings would take `X.Token` for a second `X-Token`.
fn in_header<'r>(parts: &'r Parts, name: &HeaderName) -> Seen<'r> {
    let spells = |(other, _): &(&HeaderName, _)| is_spelling_of(other.as_str(), name.as_str());
    let mut lines = parts.headers.iter().filter(spells);
    match (lines.next(), lines.next()) {
        (None, _) => Seen::Nothing,
        (Some((spelled, _)), None) if spelled != name => Seen::One(Err(Cause::NameRespelled)),
        (Some((_, line)), None) => match token68(without_scheme(line.as_bytes())) {
            Err(Cause::DuplicateCredentials) => Seen::Several,
            token => Seen::One(token),
        },
        (Some(_), Some(_)) => Seen::Several,
    }
}

fn without_scheme(line: &[u8]) -> &[u8] {
    const SCHEME: &[u8] = b"bearer ";
    match line.split_at_checked(SCHEME.len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) => token,
        Some(_) | None => line,
    }
}

/// Whether the request may speak for whoever the cookie belongs to. Other sites' pages can link
/// here and embed what is here, and that is all, unless the operator named them as ones that may
/// act with cookies.
fn may_use_cookie(carrier: Carrier<'_>) -> bool {
    let parts = carrier.parts;
    // A handshake that comes as a question has lost its `Upgrade` on the way, but not its key.
    let opens_tunnel = parts.headers.contains_key(UPGRADE)
        || parts.headers.contains_key(SEC_WEBSOCKET_KEY)
        || is_extended(parts);
    let is_safe = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS)
        && !opens_tunnel
        && !carrier.is_question;
    let is_own = |host| is_same_origin(&parts.headers, carrier.scheme, host);
    is_safe
        || carrier.host.is_some_and(is_own)
        || carrier.cors.is_some_and(|cors| cors.vouches_for(&parts.headers))
}

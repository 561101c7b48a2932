//! Who asks, and what the application is told of it.
//!
//! Trusts the socket, and the words of proxies that the operator trusts; [`crate::http::forwarded`]
//! has decided how far those reach.

use std::net::IpAddr;

use hyper::header::{HeaderMap, HeaderValue};
use hyper::http::request::Parts;

use super::exchange::Exchange;
use crate::auth::Carrier;
use crate::http::Scheme;
use crate::http::forwarded::{Origin, Told};
use crate::snapshot::plan::Action;
use crate::telemetry::record::OriginalRecord;

/// The request that a trusted proxy asks about, in its words: for the log, and for nothing else.
/// To decide by it would be to believe it (oauth2-proxy's CVE-2026-40575 skipped authentication by
/// such a header).
#[derive(Debug)]
pub(super) struct Original {
    method: Option<HeaderValue>,
    host: Option<HeaderValue>,
    uri: Option<HeaderValue>,
}

impl Original {
    /// As Traefik and Caddy send it, or as nginx is usually told to.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let first = |names: &[&'static str]| names.iter().find_map(|name| headers.get(*name));
        Self {
            method: first(&["x-forwarded-method", "x-original-method"]).cloned(),
            host: first(&["x-forwarded-host"]).cloned(),
            uri: first(&["x-forwarded-uri", "x-original-uri", "x-original-url"]).cloned(),
        }
    }
}

/// Who asks, by which way, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    /// The other end of the connection; `None` on a unix socket.
    pub(crate) peer: Option<IpAddr>,
    /// What a trusted proxy tells.
    pub(crate) told: Option<&'a Told>,
    /// The connection's.
    pub(crate) scheme: Scheme,
    /// The listener's.
    pub(crate) public_port: u16,
}

impl<'a> Seen<'a> {
    /// Who asks: the peer, or whom trusted proxies name. `None` if nobody knows: for decisions
    /// about who may come in.
    pub(crate) fn client(&self) -> Option<IpAddr> {
        match self.told {
            None => self.peer,
            Some(told) => told.client,
        }
    }

    /// Who asks, or else the hop that could not say: to whose account it goes. `None` on a unix
    /// socket where nobody was named.
    fn account(&self) -> Option<IpAddr> {
        self.client().or_else(|| self.told?.hops.first().copied())
    }

    /// Scheme and port as the client knows them: the listener's own, or what trusted proxies tell
    /// of theirs.
    pub(crate) fn public(&self) -> (Scheme, u16) {
        let Some(told) = self.told else { return (self.scheme, self.public_port) };
        let port = match (told.port, told.scheme) {
            (Some(port), _) => port,
            (None, Some(other)) if other != self.scheme => other.default_port(),
            (None, Some(_) | None) => self.public_port,
        };
        (told.scheme.unwrap_or(self.scheme), port)
    }

    /// What the application is told.
    pub(crate) fn origin(&self, host: &'a HeaderValue) -> Origin<'a> {
        let (scheme, port) = self.public();
        Origin {
            client: self.client(),
            hops: self.told.map_or(&[], |told| &told.hops),
            scheme,
            host,
            port,
            standard: false,
        }
    }
}

impl Exchange {
    pub(super) fn seen(&self) -> Seen<'_> {
        Seen {
            peer: self.connection().peer.ip(),
            told: self.told.as_deref(),
            scheme: self.scheme(),
            public_port: self.listener().public_port,
        }
    }

    /// See [`Seen::account`].
    pub(super) fn account(&self) -> Option<IpAddr> {
        self.seen().account()
    }

    /// The request as far as it may carry a token.
    pub(super) fn carrier<'a>(&'a self, parts: &'a Parts) -> Carrier<'a> {
        let route = self.route();
        Carrier {
            parts,
            scheme: self.seen().public().0,
            host: self.host.as_ref(),
            cors: route.and_then(|route| route.cors.as_deref()),
            is_question: route.is_some_and(|route| matches!(route.action, Action::Verify(_))),
        }
    }

    /// What was asked about, on routes that answer such questions.
    pub(super) fn original_record(&self) -> Option<OriginalRecord<'_>> {
        let original = self.original.as_deref()?;
        match self.route()?.action {
            Action::Files(_) | Action::Internal | Action::Proxy(_) | Action::Redirect(_) => None,
            Action::Verify(_) => Some(OriginalRecord {
                method: original.method.as_ref().map(HeaderValue::as_bytes),
                host: original.host.as_ref().map(HeaderValue::as_bytes),
                uri: original.uri.as_ref().map(HeaderValue::as_bytes),
            }),
        }
    }
}

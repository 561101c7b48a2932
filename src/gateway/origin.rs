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

impl Exchange {
    /// Who asks: the peer, or whom trusted proxies name. `None` if nobody knows: for decisions
    /// about who may come in.
    pub(super) fn client(&self) -> Option<IpAddr> {
        match &self.told {
            None => self.connection().peer.ip(),
            Some(told) => told.client,
        }
    }

    /// Who asks, or else the hop that could not say: to whose account it goes. `None` on a unix
    /// socket where nobody was named.
    pub(super) fn account(&self) -> Option<IpAddr> {
        self.client().or_else(|| self.told.as_ref()?.hops.first().copied())
    }

    /// The request as far as it may carry a token.
    pub(super) fn carrier<'a>(&'a self, parts: &'a Parts) -> Carrier<'a> {
        let route = self.route();
        Carrier {
            parts,
            scheme: public(self).0,
            host: self.host.as_ref(),
            cors: route.and_then(|route| route.cors.as_deref()),
            is_question: route.is_some_and(|route| matches!(route.action, Action::Verify(_))),
        }
    }

    /// What was asked about, on routes that answer such questions.
    pub(super) fn original_record(&self) -> Option<OriginalRecord<'_>> {
        let original = self.original.as_deref()?;
        match self.route()?.action {
            Action::Files(_) | Action::Proxy(_) => None,
            Action::Verify(_) => Some(OriginalRecord {
                method: original.method.as_ref().map(HeaderValue::as_bytes),
                host: original.host.as_ref().map(HeaderValue::as_bytes),
                uri: original.uri.as_ref().map(HeaderValue::as_bytes),
            }),
        }
    }
}

/// Scheme and port as the client knows them: the listener's own, or what trusted proxies tell of
/// theirs.
pub(super) fn public(exchange: &Exchange) -> (Scheme, u16) {
    let scheme = exchange.scheme();
    let Some(told) = &exchange.told else { return (scheme, exchange.listener().public_port) };
    let port = match (told.port, told.scheme) {
        (Some(port), _) => port,
        (None, Some(other)) if other != scheme => other.default_port(),
        (None, Some(_) | None) => exchange.listener().public_port,
    };
    (told.scheme.unwrap_or(scheme), port)
}

/// What the application is told.
pub(super) fn origin<'a>(
    exchange: &Exchange,
    told: Option<&'a Told>,
    host: &'a HeaderValue,
) -> Origin<'a> {
    let (scheme, port) = public(exchange);
    Origin {
        client: exchange.client(),
        hops: told.map_or(&[], |told| &told.hops),
        scheme,
        host,
        port,
    }
}

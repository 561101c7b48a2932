//! Who asks, and what the application is told of it.
//!
//! Trusts the socket, and the words of proxies that the operator trusts; [`crate::http::forwarded`]
//! has decided how far those reach.

use std::net::IpAddr;

use hyper::header::HeaderValue;

use super::exchange::Exchange;
use crate::http::forwarded::{Origin, Told};

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
}

/// What the application is told.
pub(super) fn origin<'a>(
    exchange: &Exchange,
    told: Option<&'a Told>,
    host: &'a HeaderValue,
) -> Origin<'a> {
    let scheme = exchange.scheme();
    let own = exchange.listener().public_port;
    let told_scheme = told.and_then(|told| told.scheme);
    Origin {
        client: exchange.client(),
        hops: told.map_or(&[], |told| &told.hops),
        scheme: told_scheme.unwrap_or(scheme),
        host,
        port: match (told.and_then(|told| told.port), told_scheme) {
            (Some(port), _) => port,
            (None, Some(other)) if other != scheme => other.default_port(),
            (None, Some(_) | None) => own,
        },
    }
}

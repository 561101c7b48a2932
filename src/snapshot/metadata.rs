//! What a protected route tells clients about getting a token: OAuth 2.0 protected resource metadata
//! (RFC 9728), compiled with the route.
//!
//! Says who issues tokens, which scopes are asked for and how tokens are sent; nothing else of the
//! configuration.

use hyper::Method;
use hyper::header::AUTHORIZATION;

use super::Snapshot;
use super::plan::ResourceMetadata;
use crate::auth::{ExpectedIss, Place, Policy};
use crate::route::{Found, PathPattern};

/// Where metadata stands (RFC 9728 section 3): with nothing behind it for the host as a whole, or
/// with the path that is asked about.
pub const PREFIX: &str = "/.well-known/oauth-protected-resource";

impl ResourceMetadata {
    /// Of a route of this policy; `None` if it asks for no token, or if none of its issuers is known
    /// by a URL: then there is nobody to send a client to.
    pub(super) fn of(policy: &Policy) -> Option<Self> {
        let issuers = policy.issuers()?;
        let url = |iss: &ExpectedIss| match iss {
            ExpectedIss::Url(url) if is_http(url) => Some(url.clone()),
            ExpectedIss::Url(_) | ExpectedIss::Absent | ExpectedIss::Any => None,
        };
        let servers: Vec<_> =
            issuers.iter().filter_map(|issuer| url(&issuer.settings().iss)).collect();
        if servers.is_empty() {
            return None;
        }
        let named = |wanted: &Place| {
            issuers.iter().any(|issuer| issuer.settings().token_from.contains(wanted))
        };
        // The words are RFC 6750's for what it describes: no other header, no other parameter.
        let methods = [
            (Place::Header(AUTHORIZATION), "header"),
            (Place::Query("access_token".into()), "query"),
        ];
        let scopes = match policy {
            Policy::Token { require, .. } => require.scopes(),
            Policy::Anonymous { .. } | Policy::Public => Vec::new(),
        };
        Some(Self {
            servers,
            methods: methods
                .into_iter()
                .filter(|(at, _)| named(at))
                .map(|(_, word)| word)
                .collect(),
            scopes: scopes.into_iter().map(str::to_owned).collect(),
        })
    }
}

fn is_http(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

/// Whether a route is about well-known locations, and not about everything that has no other route.
pub(super) fn is_well_known(pattern: &PathPattern) -> bool {
    let base = pattern.base();
    base == "/.well-known" || base.starts_with("/.well-known/")
}

impl Snapshot {
    /// The metadata that `path` is the location of, with the path that it describes. `found` is
    /// the route that would serve the location itself, and does if it is the operator's own.
    pub fn described<'p>(
        &self,
        found: &Found<usize>,
        listener: usize,
        host: &str,
        path: &'p str,
    ) -> Option<(&ResourceMetadata, &'p str)> {
        let described = path.strip_prefix(PREFIX)?;
        if !described.is_empty() && !described.starts_with('/') {
            return None;
        }
        if let Found::Route(index) = found
            && self.route(*index).is_some_and(|route| route.is_well_known)
        {
            return None;
        }
        let target = if described.is_empty() { "/" } else { described };
        // Routes of one path may differ by method: the first that asks for a token answers.
        let methods = [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
        ];
        methods.iter().find_map(|method| match self.find(listener, host, target, method) {
            Found::Route(index) => Some((self.route(index)?.metadata.as_deref()?, described)),
            Found::MethodNotAllowed(_) | Found::None => None,
        })
    }
}

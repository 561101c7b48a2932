//! What a request brings to the choice of its endpoint.
//!
//! Read from the request as it arrived and from verified claims. A client can choose its header and
//! cookie, and so which of the configured endpoints it meets; nothing else follows from them.

use hyper::header::{COOKIE, HeaderMap, HeaderName};
use serde_json::Value;

use super::{Forward, Sticky};
use crate::auth::{ClaimPath, Principal};
use crate::upstream::balance::{Key, hash};

/// By what an upstream's requests are told apart.
#[derive(Debug)]
pub enum BalanceBy {
    /// The client's address.
    Ip,
    /// The first value of a header.
    Header(HeaderName),
    /// A claim of the token.
    Claim(ClaimPath),
    /// The value of a cookie.
    Cookie(String),
    /// The endpoint that a cookie of ours names.
    Sticky(Sticky),
}

impl BalanceBy {
    /// The key of a request; [`Key::None`] if it has none.
    pub(super) fn key(
        &self,
        headers: &HeaderMap,
        principal: Option<&Principal>,
        ctx: &Forward<'_>,
    ) -> Key {
        let key = match self {
            Self::Ip => ctx.origin.client.map(|client| match client {
                std::net::IpAddr::V4(address) => hash(&address.octets()),
                std::net::IpAddr::V6(address) => hash(&address.octets()),
            }),
            Self::Header(name) => headers.get(name).map(|value| hash(value.as_bytes())),
            Self::Claim(path) => principal.and_then(|principal| claim(principal, path)),
            Self::Cookie(name) => cookie(headers, name).map(hash),
            Self::Sticky(sticky) => return sticky.key(headers),
        };
        key.map_or(Key::None, Key::Hash)
    }
}

impl BalanceBy {
    /// The cookie of ours, if it is one.
    pub(super) fn sticky(&self) -> Option<&Sticky> {
        match self {
            Self::Sticky(sticky) => Some(sticky),
            Self::Ip | Self::Header(_) | Self::Claim(_) | Self::Cookie(_) => None,
        }
    }
}

/// Single values alone: of a list there is no one endpoint.
fn claim(principal: &Principal, path: &ClaimPath) -> Option<u64> {
    match principal.claims().find(path)? {
        Value::String(text) => Some(hash(text.as_bytes())),
        Value::Bool(value) => Some(hash(value.to_string().as_bytes())),
        Value::Number(number) => Some(hash(number.to_string().as_bytes())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The first cookie of this name (RFC 6265 section 4.2.1).
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let lines = headers.get_all(COOKIE).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).find_map(|pair| {
        let pair = pair.trim_ascii();
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        (!value.is_empty()).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "xsid=1; sid=; sid=two ;sid=three".parse().unwrap());
        headers.append(COOKIE, "other=4".parse().unwrap());
        let found = |name| cookie(&headers, name).map(|value| value.escape_ascii().to_string());
        assert_eq!(found("sid").as_deref(), Some("two"));
        assert_eq!(found("other").as_deref(), Some("4"));
        assert_eq!((found("id"), found("si")), (None, None));
    }
}

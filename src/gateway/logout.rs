//! A logout that passes: its body is looked at beside its way, and revokes when the application has
//! said yes.
//!
//! The request is neither changed nor held up. What is revoked is in force before the client has
//! the answer.

use std::sync::Arc;

use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::http::request::Parts;

use super::exchange::Exchange;
use super::state::Gateway;
use crate::auth::{Principal, Unreadable, revoked_by_logout};
use crate::http::body::BodyCount;
use crate::snapshot::plan::{RevokeOn, RoutePlan};
use crate::telemetry::labels::{RevocationResult, RevocationSource};

/// What to watch for, if this request is a logout.
pub(super) fn watched<'r>(route: &'r RoutePlan, parts: &Parts) -> Option<&'r RevokeOn> {
    let on = route.revoke_on.as_deref()?;
    (parts.method == Method::POST && parts.uri.path() == on.path).then_some(on)
}

/// Whether the application takes the body for the JSON that it is taken for here. One body can be
/// JSON and a form at once, with a refresh token of one user for us and of another for the
/// application: its yes to the second must not count for the first.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let kind = line.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

/// Revokes what the logout says; `own` is whom the request itself came from.
pub(super) async fn seen(
    gateway: &Gateway,
    exchange: &Exchange,
    on: &RevokeOn,
    own: Option<Arc<Principal>>,
) {
    let body = exchange.received.as_deref().and_then(BodyCount::copy).unwrap_or_default();
    let read = revoked_by_logout(&on.issuers, &body, own.as_deref(), gateway.clock());
    let revoked = match read.await {
        Ok(list) => {
            let now = gateway.clock().wall();
            match exchange.snapshot().revocations().revoke(&list, now) {
                Ok(()) => RevocationResult::Ok,
                Err(full) => {
                    tracing::error!("a logout revokes nothing: {full}");
                    RevocationResult::Full
                }
            }
        }
        Err(Unreadable) => RevocationResult::Unreadable,
    };
    gateway.metrics().revoked(RevocationSource::Logout, revoked);
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn only_what_says_so_once_is_json() {
        let is = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CONTENT_TYPE, HeaderValue::from_static(line));
            }
            is_json(&headers)
        };
        assert!(is(&["application/json"]) && is(&["Application/JSON ; charset=utf-8"]));
        for no in ["", "text/plain", "application/jsonp", "application/x-www-form-urlencoded"] {
            assert!(!is(&[no]), "{no}");
        }
        assert!(!is(&[]) && !is(&["application/json", "text/plain"]));
        assert!(!is(&["application/json, text/plain"]));
    }
}

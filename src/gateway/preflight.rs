//! What is answered before any route is asked: the listener's redirect, and `OPTIONS *`.
//!
//! Never a route's action: nothing here can reach an application or a folder.

use bytes::Bytes;
use hyper::header::{ALLOW, HeaderValue, LOCATION};
use hyper::{Method, Response, StatusCode};

use super::reject::Reject;
use crate::http::authority::Authority;
use crate::http::head::Target;
use crate::snapshot::plan::{ListenerPlan, Redirect};

/// The methods that `OPTIONS *` reports: whatever some route may take.
const ANY_METHOD: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// `OPTIONS *` asks about the server as a whole (RFC 9110 section 9.3.7).
pub(super) fn asterisk(target: &Target) -> Option<Response<Bytes>> {
    match target {
        Target::Path => None,
        Target::Asterisk => {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response.headers_mut().insert(ALLOW, ANY_METHOD);
            Some(response)
        }
    }
}

/// The listener's redirect to its TLS sibling, unless the request is for ACME.
///
/// Only to hosts which the sibling's certificates cover: a `Location` made of any host that a
/// client sends would be an open redirect.
pub(super) fn redirect(
    listener: &ListenerPlan,
    method: &Method,
    authority: &Authority,
    path: &str,
    query: Option<&str>,
) -> Option<Result<Response<Bytes>, Reject>> {
    let redirect = listener.redirect(path)?;
    Some(to_https(redirect, method, authority.host(), path, query))
}

fn to_https(
    redirect: &Redirect,
    method: &Method,
    host: &str,
    path: &str,
    query: Option<&str>,
) -> Result<Response<Bytes>, Reject> {
    if !redirect.certificates.covers(host) {
        return Err(Reject::Misdirected);
    }
    let port = match redirect.port {
        443 => String::new(),
        port => format!(":{port}"),
    };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("https://{host}{port}{path}{query}");
    let location = HeaderValue::try_from(location).map_err(|_| Reject::Misdirected)?;
    let mut response = Response::new(Bytes::new());
    // Old clients know 301, and only GET and HEAD survive its rewriting (RFC 9110 section 15.4.2).
    *response.status_mut() = match *method {
        Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
        _ => StatusCode::PERMANENT_REDIRECT,
    };
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

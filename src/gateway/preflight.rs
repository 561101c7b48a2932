//! What is answered before any route is asked: the listener's redirect, `OPTIONS *`, the keys of
//! signed assertions, and preflights of CORS.
//!
//! Never a route's action: nothing here can reach an application or a folder.

use bytes::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use super::reject::Reject;
use crate::auth;
use crate::http::Cors;
use crate::http::authority::Authority;
use crate::http::head::Target;
use crate::snapshot::Snapshot;
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

/// The public keys of signed assertions: for whoever verifies them, without a token, on every
/// listener; public keys are no secret.
pub(super) fn assertion_keys(snapshot: &Snapshot, parts: &Parts) -> Option<Response<Bytes>> {
    let assertion = snapshot.assertion()?;
    let asked = matches!(parts.method, Method::GET | Method::HEAD);
    if !asked || parts.uri.path() != auth::JWKS_PATH {
        return None;
    }
    let mut response = Response::new(match parts.method {
        Method::HEAD => Bytes::new(),
        _ => assertion.jwks().clone(),
    });
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(assertion.jwks().len()));
    Some(response)
}

/// The answer to a preflight, whoever asks: a page learns whether it may ask, and nothing else.
pub(super) fn cors(cors: &Cors, asked: &Method, request: &HeaderMap) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    cors.write_preflight(asked, request, response.headers_mut());
    response
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
    if !redirect.tls.current().certificates.covers(host) {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Clock;
    use crate::demo::certificate::Development;
    use crate::http::Scheme;
    use crate::telemetry::metrics::Metrics;
    use crate::tls::certificate::{Certificate, Certificates, UnknownName};
    use crate::tls::server::{Alpn, ServerTls};
    use crate::tls::tickets::Tickets;

    /// A plain listener that redirects to port `port` of one with a certificate of `localhost`.
    fn listener(port: u16) -> ListenerPlan {
        let folder = tempfile::tempdir().unwrap();
        let files = Development::provide(folder.path(), &Clock::system()).unwrap();
        let certificate = Arc::new(Certificate::load(&files.cert(), &files.key()).unwrap());
        let certificates = Arc::new(Certificates::new(vec![certificate], UnknownName::Reject));
        let tickets = Arc::new(Tickets::new().unwrap());
        let tls = ServerTls::of_memory(certificates, &[Alpn::Http1], None, &tickets);
        ListenerPlan {
            name: Arc::from("http"),
            id: Metrics::new().listener("http"),
            scheme: Scheme::Http,
            public_port: 80,
            redirect: Some(Redirect { port, tls }),
            tls: None,
            asks_clients: None,
        }
    }

    fn location(plan: &ListenerPlan, method: &Method, host: &str, target: &str) -> (u16, String) {
        let authority = Authority::parse(host, Scheme::Http).unwrap();
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        match redirect(plan, method, &authority, path, query) {
            None => (0, String::new()),
            Some(Err(reject)) => {
                (super::super::reject::status(reject.reason()).as_u16(), String::new())
            }
            Some(Ok(response)) => {
                let location = response.headers()[LOCATION].to_str().unwrap().to_owned();
                (response.status().as_u16(), location)
            }
        }
    }

    #[test]
    fn a_redirect_keeps_the_target_and_drops_the_plain_port() {
        let plan = listener(443);
        let to = |method, host, target| location(&plan, &method, host, target);
        let https = |path: &str| format!("https://localhost{path}");
        assert_eq!(to(Method::GET, "localhost", "/a?b=c"), (301, https("/a?b=c")));
        assert_eq!(to(Method::HEAD, "LOCALHOST:8080", "/"), (301, https("/")));
        assert_eq!(to(Method::POST, "localhost.", "/a"), (308, https("/a")));
        let plan = listener(8443);
        let (_, elsewhere) = location(&plan, &Method::GET, "localhost:80", "/a");
        assert_eq!(elsewhere, "https://localhost:8443/a");
    }

    #[test]
    fn nobody_is_sent_to_a_host_that_is_not_ours() {
        let plan = listener(443);
        for host in ["evil.example", "localhost.evil.example", "x.localhost.evil"] {
            assert_eq!(location(&plan, &Method::GET, host, "/").0, 421, "{host}");
        }
        // What looks like another host in the path stays behind ours.
        let (_, sent) = location(&plan, &Method::GET, "localhost", "/@evil.example/");
        assert_eq!(sent, "https://localhost/@evil.example/");
    }

    #[test]
    fn challenges_are_answered_in_clear_text_and_nothing_near_them() {
        let plan = listener(443);
        let status = |path| location(&plan, &Method::GET, "localhost", path).0;
        assert_eq!(status("/.well-known/acme-challenge/token"), 0);
        assert_eq!(status("/.well-known/acme-challenge"), 301);
        assert_eq!(status("/.well-known/acme-challengex/"), 301);
        assert_eq!(status("/x/.well-known/acme-challenge/token"), 301);
    }
}

//! Actions that need neither an application nor a folder.
//!
//! Each takes a permit, as every action does: what is answered here was authorized.

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use hyper::{Response, Uri};

use crate::auth::Permit;
use crate::http::PathError;
use crate::http::credential::query;
use crate::snapshot::plan::{Redirection, Verify};

/// Tells a proxy that the request it asks about may pass, and whose it is.
///
/// The identity headers are the principal's and nobody else's: those that came with the question
/// were deleted before the route was known. A claim that is absent makes no header, so the proxy
/// has to delete the client's own copy; docs/forward-auth.md says how each of them does.
pub(crate) fn verify(permit: &Permit<'_, Verify>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    for (name, value) in permit.principal().iter().flat_map(|principal| principal.identity()) {
        headers.insert(name, value.clone());
    }
    // It is an answer about this token and this moment.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Sends the client where the route says; `secrets` are parameters of queries that hold tokens.
pub(crate) fn redirect(
    permit: &Permit<'_, Redirection>,
    asked: &Uri,
    secrets: &[Box<str>],
) -> Result<Response<Bytes>, PathError> {
    let redirection = permit.action();
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = redirection.status;
    response.headers_mut().insert(LOCATION, location(redirection, asked, secrets)?);
    Ok(response)
}

/// Where a redirect leads, from the canonical target that was asked for.
///
/// What the client wrote comes behind what the operator wrote, and never makes a host of it: a path
/// that begins with `//` is one to browsers (RFC 3986 section 4.2). To another host no token goes
/// along.
///
/// # Errors
/// [`PathError::Ambiguous`] where it would.
fn location(
    redirection: &Redirection,
    asked: &Uri,
    secrets: &[Box<str>],
) -> Result<HeaderValue, PathError> {
    let Redirection { to, fragment, kept, .. } = redirection;
    let mut location = to.clone();
    if let Some(kept) = kept {
        location.push_str(kept.rest_of(asked.path()));
    }
    if location.starts_with("//") {
        return Err(PathError::Ambiguous);
    }
    let mut asked_for = asked.query().unwrap_or_default().to_owned();
    for secret in secrets.iter().filter(|_| redirection.is_elsewhere()) {
        asked_for = query::without(&asked_for, secret).unwrap_or(asked_for);
    }
    if !asked_for.is_empty() {
        location.push(if to.contains('?') { '&' } else { '?' });
        location.push_str(&asked_for);
    }
    location.push_str(fragment);
    // A target holds nothing that no header could; were it otherwise, nobody is sent anywhere.
    HeaderValue::try_from(location).map_err(|_| PathError::Control)
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    fn sent(to: &str, kept: Option<&str>, asked: &str) -> Option<String> {
        let (to, fragment) = match to.split_once('#') {
            Some((to, fragment)) => (to, format!("#{fragment}")),
            None => (to, String::new()),
        };
        let redirection = Redirection {
            to: to.to_owned(),
            fragment,
            status: StatusCode::PERMANENT_REDIRECT,
            kept: kept.map(|kept| kept.parse().unwrap()),
        };
        let location = location(&redirection, &asked.parse().unwrap(), &["access_token".into()]);
        location.ok().map(|location| location.to_str().unwrap().to_owned())
    }

    #[test]
    fn what_the_prefix_stood_for_is_kept() {
        let to = "https://example.com/new/";
        for (asked, expected) in [
            ("/old/a/b?x=1", "https://example.com/new/a/b?x=1"),
            ("/old/", "https://example.com/new/"),
            ("/old", "https://example.com/new/"),
            ("/%6Fld/a%2Fb", "https://example.com/new/a%2Fb"),
            ("/old//evil.example", "https://example.com/new//evil.example"),
            ("/old/@evil.example", "https://example.com/new/@evil.example"),
        ] {
            assert_eq!(sent(to, Some("/old/*"), asked).as_deref(), Some(expected), "{asked}");
        }
    }

    #[test]
    fn no_path_becomes_a_host() {
        assert_eq!(sent("/", Some("/old/*"), "/old//evil.example"), None);
        assert_eq!(sent("/", Some("/old/*"), "/old/%5Cevil").as_deref(), Some("/%5Cevil"));
        assert_eq!(sent("/", Some("/*"), "/x").as_deref(), Some("/x"));
    }

    #[test]
    fn the_query_is_kept_and_the_fragment_last() {
        assert_eq!(sent("/new", None, "/old?a=b").as_deref(), Some("/new?a=b"));
        assert_eq!(sent("/new?c=d#e", None, "/old?a=b").as_deref(), Some("/new?c=d&a=b#e"));
        assert_eq!(sent("/new", None, "/old?").as_deref(), Some("/new"));
    }

    #[test]
    fn no_token_goes_to_another_host() {
        let asked = "/old?a=b&access_token=e30";
        assert_eq!(
            sent("https://o.example/", None, asked).as_deref(),
            Some("https://o.example/?a=b")
        );
        assert_eq!(sent("/new", None, asked).as_deref(), Some("/new?a=b&access_token=e30"));
    }
}

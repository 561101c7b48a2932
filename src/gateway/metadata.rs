//! Protected resource metadata (RFC 9728): the documents, and the challenge's pointer to them.
//!
//! Trusts the checked host of the request for what the client calls this place. Reads no token and
//! reaches no application.

use bytes::Bytes;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_TYPE, HeaderValue,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde_json::json;

use crate::http::cors;
use crate::http::{Authority, Scheme};
use crate::snapshot::metadata::PREFIX;
use crate::snapshot::plan::ResourceMetadata;

/// Scheme, host and port, as the client has to write them.
#[derive(Clone, Debug)]
pub(super) struct Base(String);

impl Base {
    /// The port is the public one; where the system chose it, the one that was asked for.
    pub(super) fn of((scheme, port): (Scheme, u16), authority: &Authority) -> Self {
        let port = match port {
            0 => authority.port(),
            port => Some(port).filter(|&port| port != scheme.default_port()),
        };
        let host = authority.host();
        Self(match port {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        })
    }

    /// Where the metadata of `path` stands; `None` for what could not be quoted into a header, or
    /// would fill it.
    fn location(&self, path: &str) -> Option<String> {
        const LONGEST: usize = 1024;
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        let fits = path.len() <= LONGEST && path.bytes().all(plain);
        fits.then(|| format!("{}{PREFIX}{}", self.0, if path == "/" { "" } else { path }))
    }
}

/// Where the metadata of the path that was asked for stands: what it describes has to be what the
/// client asked for (RFC 9728 section 3.3).
pub(super) fn location(public: (Scheme, u16), host: &HeaderValue, path: &str) -> Option<String> {
    let authority = Authority::parse(host.to_str().ok()?, public.0)?;
    Base::of(public, &authority).location(path)
}

/// The document about `path`, for everybody: GET and HEAD, and the preflight of a page that sends
/// headers of its own. Other methods are none of its business.
pub(super) fn answer(
    metadata: &ResourceMetadata,
    base: &Base,
    path: &str,
    parts: &Parts,
) -> Option<Response<Bytes>> {
    let mut response = match parts.method {
        Method::GET | Method::HEAD => document(metadata, base, path),
        Method::OPTIONS => preflight(parts)?,
        _ => return None,
    };
    let everybody = HeaderValue::from_static("*");
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, everybody);
    Some(response)
}

fn document(metadata: &ResourceMetadata, base: &Base, path: &str) -> Response<Bytes> {
    let mut document = json!({
        "resource": format!("{}{path}", base.0),
        "authorization_servers": metadata.servers,
        "bearer_methods_supported": metadata.methods,
    });
    if !metadata.scopes.is_empty()
        && let Some(members) = document.as_object_mut()
    {
        members.insert("scopes_supported".to_owned(), json!(metadata.scopes));
    }
    let mut response = Response::new(Bytes::from(document.to_string()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    response
}

fn preflight(parts: &Parts) -> Option<Response<Bytes>> {
    cors::preflight(parts)?;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
    // Without cookies this is every header but Authorization, which nothing here reads.
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_what_a_client_would_derive() {
        let base = Base("https://a.test".to_owned());
        let at = "https://a.test/.well-known/oauth-protected-resource";
        assert_eq!(base.location("/").as_deref(), Some(at));
        assert_eq!(base.location("/mcp").unwrap(), format!("{at}/mcp"));
        assert_eq!(base.location("/a/%20/b/").unwrap(), format!("{at}/a/%20/b/"));
        for hostile in ["/a\"b", "/a\\b", "/a b", "/\u{e4}"] {
            assert_eq!(base.location(hostile), None, "{hostile}");
        }
        assert_eq!(base.location(&format!("/{}", "a".repeat(1024))), None);
    }
}

//! `X-Accel-Redirect` and `X-Sendfile`: the application decides, Portcullis sends the file.
//!
//! On a route with `accel = true` the application's answer may name a file of a route with
//! `internal = true`: by that route's path, percent-encoded or not, or by its place on disk. The file
//! comes from that folder and nowhere else: the permit is narrowed to it, and names are opened as
//! every other's are. What the application says in those headers never reaches a client, and what a
//! client says in them never reaches the application ([`crate::http::Asserted`]).
//!
//! Whoever may see the file was decided for this one request, so it is private to its client unless
//! the application says otherwise.

use std::borrow::Cow;

use hyper::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, EXPIRES,
    HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE, SET_COOKIE,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use super::body::Inner;
use super::reject::Reject;
use crate::auth::Permit;
use crate::http::path;
use crate::proxy::{self, Failure};
use crate::snapshot::plan::Proxied;
use crate::static_files::{self, Ask, Files};

const REDIRECT: HeaderName = HeaderName::from_static("x-accel-redirect");
const SENDFILE: HeaderName = HeaderName::from_static("x-sendfile");

/// What a client asked for, kept until the application has answered.
#[derive(Debug)]
pub(super) struct Asked {
    method: Method,
    headers: HeaderMap,
}

/// What of a request matters to a file.
const OF_FILES: [HeaderName; 7] = [
    ACCEPT_ENCODING,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
];

/// What of the application's answer stays with the file: the list of nginx
/// (`ngx_http_upstream_headers_in`, `redirect`).
const SURVIVORS: [HeaderName; 6] =
    [ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, EXPIRES, SET_COOKIE];

impl Asked {
    /// `None` on a route without `accel`.
    pub(super) fn of(permit: &Permit<'_, Proxied>, parts: &Parts) -> Option<Box<Self>> {
        permit.action().internal.as_ref()?;
        let method = match parts.method {
            Method::HEAD => Method::HEAD,
            // Whatever was posted, what comes back is a file.
            _ => Method::GET,
        };
        let mut headers = HeaderMap::new();
        // Conditions and ranges of another method were about another resource.
        if matches!(parts.method, Method::GET | Method::HEAD) {
            for name in OF_FILES {
                for value in parts.headers.get_all(&name) {
                    headers.append(name.clone(), value.clone());
                }
            }
        }
        Some(Box::new(Self { method, headers }))
    }

    /// The file that the application names, or its own answer if it names none.
    ///
    /// # Errors
    /// What it names is not there, or not for applications.
    pub(super) async fn answer(
        self: Box<Self>,
        permit: &Permit<'_, Proxied>,
        response: Response<proxy::Body>,
    ) -> Result<Response<Inner>, Reject> {
        let (mut parts, body) = response.into_parts();
        let named = strip(&mut parts.headers);
        let Some(named) = named.map_err(|Twice| misnamed("named twice"))? else {
            return Ok(Response::from_parts(parts, body).map(Inner::from));
        };
        // Its body is about the file, not the file.
        drop(body);
        let (permit, path) = find(permit, &named)?;
        let ask = Ask { method: &self.method, headers: &self.headers, path: &path, query: None };
        let reply = static_files::serve(permit, ask).await.map_err(Reject::Files)?;
        Ok(merge(reply, &parts.headers).map(Inner::from))
    }
}

/// Takes what only Portcullis may read out of an answer that stays the application's own, whatever
/// it names.
pub(super) fn hide(headers: &mut HeaderMap) {
    let _named = strip(headers);
}

/// Where the application says that the file is.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    OnDisk(HeaderValue),
    ByPath(HeaderValue),
}

/// It names more than one file.
#[derive(Debug)]
struct Twice;

/// Takes all such headers out; gives what they name.
fn strip(headers: &mut HeaderMap) -> Result<Option<Named>, Twice> {
    let by_path = single(headers, &REDIRECT);
    let on_disk = single(headers, &SENDFILE);
    let ours: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-accel-") || **name == SENDFILE)
        .cloned()
        .collect();
    for name in ours {
        headers.remove(name);
    }
    match (by_path?.map(Named::ByPath), on_disk?.map(Named::OnDisk)) {
        (Some(_), Some(_)) => Err(Twice),
        (named, None) | (None, named) => Ok(named),
    }
}

fn single(headers: &HeaderMap, name: &HeaderName) -> Result<Option<HeaderValue>, Twice> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value.cloned()),
        (_, Some(_)) => Err(Twice),
    }
}

/// The folder that a name leads into, and the canonical path of the file there.
fn find<'s>(
    permit: &Permit<'s, Proxied>,
    named: &Named,
) -> Result<(Permit<'s, Files>, String), Reject> {
    let internal = permit.action().internal.as_deref().unwrap_or_default();
    let found = match named {
        Named::ByPath(value) => {
            let path = canonical(value).ok_or_else(|| misnamed("not a path"))?;
            let folders = internal.iter().enumerate();
            let takes = folders.filter_map(|(at, files)| Some((files.prefix_of(&path)?, at)));
            takes.max().map(|(_, at)| (at, path.clone()))
        }
        Named::OnDisk(value) => {
            let mut folders = internal.iter().enumerate();
            folders.find_map(|(at, files)| Some((at, files.path_of(value.as_bytes())?)))
        }
    };
    let (at, path) = found.ok_or_else(|| misnamed("in no internal route"))?;
    let narrowed = permit.narrow(|proxied| proxied.internal.as_deref()?.get(at));
    Ok((narrowed.ok_or(Reject::Internal)?, path))
}

/// The path in the form in which requests are matched; what may not stand in one is escaped first,
/// since applications send names as they are.
fn canonical(value: &HeaderValue) -> Option<String> {
    let bytes = value.as_bytes();
    let path = bytes.split(|byte| *byte == b'?').next().unwrap_or_default();
    let mut escaped = String::with_capacity(path.len());
    for byte in path {
        match byte {
            0..=0x1f | 0x7f => return None,
            b' ' | b'"' | b'#' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80.. => {
                escaped.push_str(&format!("%{byte:02X}"));
            }
            _ => escaped.push(char::from(*byte)),
        }
    }
    path::canonicalize(&escaped).ok().map(|canonical| match canonical.path {
        Cow::Borrowed(path) => path.to_owned(),
        Cow::Owned(path) => path,
    })
}

fn misnamed(why: &str) -> Reject {
    tracing::warn!(why, "an application names a file that it may not name");
    Reject::Proxy(Failure::BadResponse)
}

/// The file's answer, with what the application says of it.
fn merge(
    mut reply: Response<static_files::Body>,
    said: &HeaderMap,
) -> Response<static_files::Body> {
    let status = reply.status();
    if !(status.is_success() || status == StatusCode::NOT_MODIFIED) {
        return reply;
    }
    let headers = reply.headers_mut();
    let is_parts = headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"multipart/byteranges"));
    for name in SURVIVORS {
        let kept = name == CONTENT_TYPE && (is_parts || status == StatusCode::NOT_MODIFIED);
        if kept || !said.contains_key(&name) {
            continue;
        }
        headers.remove(&name);
        for value in said.get_all(&name) {
            headers.append(name.clone(), value.clone());
        }
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_canonical_paths_or_nothing() {
        for (name, expected) in [
            ("/a/b.pdf", Some("/a/b.pdf")),
            ("/a/b%20c.pdf", Some("/a/b%20c.pdf")),
            ("/a/b c.pdf", Some("/a/b%20c.pdf")),
            ("/a/%61?x=y", Some("/a/a")),
            ("/a/../b", Some("/b")),
            ("/a/<b>", Some("/a/%3Cb%3E")),
            ("/../a", None),
            ("//evil.example/a", None),
            ("https://evil.example/a", None),
            ("a/b", None),
            ("/a%", None),
            ("/a%00", None),
            ("/a\\b", None),
            ("/a\tb", None),
            ("", None),
        ] {
            assert_eq!(canonical(&HeaderValue::from_static(name)).as_deref(), expected, "{name}");
        }
        let latin = HeaderValue::from_bytes(b"/a/\xc3\xa4").unwrap();
        assert_eq!(canonical(&latin).as_deref(), Some("/a/%C3%A4"));
    }

    #[test]
    fn all_such_headers_go_and_two_names_are_none() {
        let headers = |fields: &[(&'static str, &'static str)]| -> HeaderMap {
            let fields = fields.iter();
            fields
                .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
                .collect()
        };
        let mut one = headers(&[
            ("x-accel-redirect", "/a"),
            ("x-accel-buffering", "no"),
            ("x-accel-limit-rate", "1"),
            ("content-type", "text/plain"),
        ]);
        let named = Named::ByPath(HeaderValue::from_static("/a"));
        assert_eq!(strip(&mut one).unwrap(), Some(named));
        assert_eq!(one.keys().collect::<Vec<_>>(), ["content-type"]);
        let mut none = headers(&[("x-accel-expires", "0")]);
        assert_eq!(strip(&mut none).unwrap(), None);
        assert!(none.is_empty());
        assert!(strip(&mut headers(&[("x-accel-redirect", "/a"), ("x-sendfile", "/a")])).is_err());
    }
}

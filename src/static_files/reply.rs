//! The heads of a folder's replies: status, validators, type, caching.
//!
//! Owns every status code of this module. `nosniff` goes with every reply.

use std::io;

use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

use super::Body;
use super::asset::{Asset, Keep, Representation};
use super::body::Content;
use super::folder::{CacheControl, Folder};
use super::range::{Part, Stretch};
use super::resolve::Wanted;
use super::validators::{Conditions, Stamp, Verdict};
use crate::http::Accepted;
use crate::http::forwarded::request_id;

/// The methods that files answer, as the value of `Allow`.
pub const ALLOW: &str = "GET, HEAD, OPTIONS";

/// What shapes a reply beside the file.
#[derive(Debug)]
pub(super) struct Form {
    /// HEAD: everything but the content.
    pub(super) head: bool,
    pub(super) audience: Audience,
    pub(super) accepted: Accepted,
    pub(super) conditions: Conditions,
}

/// Who may see the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Whoever a token spoke for. A shared cache that kept it would show it to everybody, and
    /// `public` would allow that in spite of Authorization (RFC 9111 section 3.5).
    Principal,
    Public,
}

/// The reply to OPTIONS.
pub(super) fn options() -> Response<Body> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ALLOW, HeaderValue::from_static(ALLOW));
    assemble(StatusCode::NO_CONTENT, headers, Body::empty())
}

/// Where a directory is, asked for without its slash.
pub(super) fn redirect(folder: &Folder, wanted: Wanted, form: &Form) -> Response<Body> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CACHE_CONTROL, cache_control(folder, Keep::Shortly, form.audience));
    headers.insert(header::LOCATION, wanted.into_location());
    assemble(StatusCode::PERMANENT_REDIRECT, headers, Body::empty())
}

/// The page that lists a directory. It changes with every file, and runs nothing.
pub(super) fn listing(page: Bytes, form: &Form) -> Response<Body> {
    let mut headers = HeaderMap::new();
    let keep = match form.audience {
        Audience::Principal => "private, no-cache",
        Audience::Public => "no-cache",
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    headers.insert(header::CONTENT_LENGTH, page.len().into());
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(INERT));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let body = if form.head { Body::empty() } else { Body::of(page) };
    assemble(StatusCode::OK, headers, body)
}

const INERT: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The reply for one representation of an asset. Blocks if its `content` is a file.
///
/// # Errors
/// The content cannot be read.
pub(super) fn send(
    folder: &Folder,
    asset: &Asset,
    chosen: &Representation,
    form: &Form,
    content: impl FnOnce() -> io::Result<Content>,
) -> io::Result<Response<Body>> {
    let stamp = chosen.stamp;
    let part = match form.conditions.judge(stamp, &chosen.etag, asset.is_negotiated()) {
        Verdict::Failed => return Ok(empty(StatusCode::PRECONDITION_FAILED)),
        Verdict::NotModified => {
            let headers = validators(folder, asset, chosen, form);
            return Ok(assemble(StatusCode::NOT_MODIFIED, headers, Body::empty()));
        }
        Verdict::Send(Part::None) => return Ok(unsatisfiable(stamp)),
        Verdict::Send(part) => part,
    };
    let mut headers = validators(folder, asset, chosen, form);
    if let Some(date) = &chosen.last_modified {
        headers.insert(header::LAST_MODIFIED, date.clone());
    }
    headers.insert(header::ACCEPT_RANGES, BYTES);
    headers.insert(header::CONTENT_TYPE, asset.content_type.clone());
    if let Some(coding) = chosen.coding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
    }
    if folder.media {
        sandbox(asset, &mut headers);
    }
    let partial = !matches!(part, Part::Whole);
    let status = if partial { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let (length, body) = match part {
        _ if form.head => (stamp.size, Body::empty()),
        Part::None | Part::Whole => (stamp.size, whole(stamp, content()?)?),
        Part::One(stretch) => {
            insert(&mut headers, header::CONTENT_RANGE, content_range(stretch, stamp));
            let parts = [(Bytes::new(), stretch)];
            (stretch.length(), Body::parts(content()?, parts, Bytes::new())?)
        }
        Part::Several(stretches) => {
            let body = several(asset, &stretches, stamp, content()?, &mut headers)?;
            (body.left(), body)
        }
    };
    headers.insert(header::CONTENT_LENGTH, length.into());
    Ok(assemble(status, headers, body))
}

const BYTES: HeaderValue = HeaderValue::from_static("bytes");

fn whole(stamp: Stamp, content: Content) -> io::Result<Body> {
    match (content, stamp.size.checked_sub(1)) {
        (_, None) => Ok(Body::empty()),
        (Content::Memory(bytes), Some(_)) => Ok(Body::of(bytes)),
        (content, Some(last)) => {
            Body::parts(content, [(Bytes::new(), Stretch { first: 0, last })], Bytes::new())
        }
    }
}

/// `multipart/byteranges` (RFC 9110 section 14.6). The boundary is random: whoever made the file
/// must not be able to write one into it.
fn several(
    asset: &Asset,
    stretches: &[Stretch],
    stamp: Stamp,
    content: Content,
    headers: &mut HeaderMap,
) -> io::Result<Body> {
    let id = request_id();
    let boundary = id.to_str().unwrap_or_default();
    let media_type = asset.content_type.to_str().unwrap_or_default();
    let parts = stretches.iter().map(|stretch| {
        let range = content_range(*stretch, stamp);
        let before = format!(
            "\r\n--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {range}\r\n\r\n"
        );
        (Bytes::from(before), *stretch)
    });
    let body = Body::parts(content, parts, format!("\r\n--{boundary}--\r\n").into())?;
    let content_type = format!("multipart/byteranges; boundary={boundary}");
    insert(headers, header::CONTENT_TYPE, content_type);
    Ok(body)
}

fn content_range(Stretch { first, last }: Stretch, stamp: Stamp) -> String {
    format!("bytes {first}-{last}/{}", stamp.size)
}

/// What strangers uploaded runs nothing, whatever it is, and is saved instead of shown where a
/// browser would.
fn sandbox(asset: &Asset, headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(SANDBOX));
    if asset.for_saving {
        headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
}

/// Pictures and films may show themselves, styled as browsers do it.
const SANDBOX: &str = "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; \
                       style-src 'unsafe-inline'";

fn unsatisfiable(stamp: Stamp) -> Response<Body> {
    let mut response = empty(StatusCode::RANGE_NOT_SATISFIABLE);
    insert(response.headers_mut(), header::CONTENT_RANGE, format!("bytes */{}", stamp.size));
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    assemble(status, headers, Body::empty())
}

fn assemble(status: StatusCode, mut headers: HeaderMap, body: Body) -> Response<Body> {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// What a 200 and a 304 have in common (RFC 9110 section 15.4.5): `Last-Modified` is not in it, since
/// there is a tag.
fn validators(folder: &Folder, asset: &Asset, chosen: &Representation, form: &Form) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.insert(header::CACHE_CONTROL, cache_control(folder, asset.keep, form.audience));
    headers.insert(header::ETAG, chosen.etag.clone());
    if asset.is_negotiated() {
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    headers
}

/// Room for those of a reply and the gateway's own.
const HEADERS: usize = 12;

fn insert(headers: &mut HeaderMap, name: header::HeaderName, text: String) {
    // All texts made here are digits, quotes and dates.
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}

// === Caching ===

fn cache_control(folder: &Folder, keep: Keep, audience: Audience) -> HeaderValue {
    match &folder.cache_control {
        CacheControl::Fixed(value) => value.clone(),
        CacheControl::Auto => HeaderValue::from_static(match (keep, audience) {
            (Keep::ForEver, Audience::Principal) => "private, max-age=31536000, immutable",
            (Keep::ForEver, Audience::Public) => "public, max-age=31536000, immutable",
            (Keep::Never, Audience::Principal) => "private, no-cache",
            (Keep::Never, Audience::Public) => "no-cache",
            (Keep::Shortly, Audience::Principal) => "private, max-age=60",
            (Keep::Shortly, Audience::Public) => "public, max-age=60",
        }),
    }
}

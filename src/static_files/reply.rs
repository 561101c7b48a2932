//! The heads of a folder's replies: status, validators, type, caching.
//!
//! Owns every status code of this module. The type comes from the name by a table built in, never
//! from the system's, so that every machine answers alike; `nosniff` goes with every reply.

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

use super::containment::{Opened, RelativePath};
use super::folder::{CacheControl, Folder};
use super::range::Part;
use super::resolve::{Found, Wanted};
use super::validators::{Conditions, Stamp, Verdict};
use super::{Body, Refusal};

/// The methods that files answer, as the value of `Allow`.
pub const ALLOW: &str = "GET, HEAD, OPTIONS";

/// What shapes a reply beside the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// HEAD: everything but the content.
    pub(super) head: bool,
    pub(super) audience: Audience,
}

/// Who may see the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Whoever a token spoke for. A shared cache that kept it would show it to everybody, and
    /// `public` would allow that in spite of Authorization (RFC 9111 section 3.5).
    Principal,
    Public,
}

/// How a file came to be the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Fallback,
    Index,
    OwnName,
}

/// The reply to OPTIONS.
pub(super) fn options() -> Response<Body> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ALLOW, HeaderValue::from_static(ALLOW));
    assemble(StatusCode::NO_CONTENT, headers, Body::empty())
}

/// The reply for what was found. Blocks: reads the first chunk.
///
/// # Errors
/// There is nothing to show, or it cannot be read.
pub(super) fn answer(
    folder: &Folder,
    wanted: Wanted,
    found: Found,
    conditions: &Conditions,
    form: Form,
) -> Result<Response<Body>, Refusal> {
    match found {
        Found::Fallback { name, opened } => {
            send(folder, &name, By::Fallback, opened, conditions, form)
        }
        Found::File { opened } => send(folder, &wanted.name, By::OwnName, opened, conditions, form),
        Found::Index { name, opened } => send(folder, &name, By::Index, opened, conditions, form),
        Found::Missing => Err(Refusal::NotFound),
        Found::Redirect => Ok(redirect(folder, wanted, form)),
    }
}

fn redirect(folder: &Folder, wanted: Wanted, form: Form) -> Response<Body> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CACHE_CONTROL, cache_control(folder, Keep::Shortly, form.audience));
    headers.insert(header::LOCATION, wanted.into_location());
    assemble(StatusCode::PERMANENT_REDIRECT, headers, Body::empty())
}

fn send(
    folder: &Folder,
    name: &RelativePath,
    by: By,
    opened: Opened,
    conditions: &Conditions,
    form: Form,
) -> Result<Response<Body>, Refusal> {
    let stamp = opened.stamp;
    let part = match conditions.judge(stamp) {
        Verdict::Failed => return Ok(empty(StatusCode::PRECONDITION_FAILED)),
        Verdict::NotModified => {
            let headers = validators(folder, name, by, stamp, form);
            return Ok(assemble(StatusCode::NOT_MODIFIED, headers, Body::empty()));
        }
        Verdict::Send(Part::None) => return Ok(unsatisfiable(stamp)),
        Verdict::Send(part) => part,
    };
    let mut headers = validators(folder, name, by, stamp, form);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_TYPE, media_type(name).content_type());
    let (status, offset, length) = match part {
        Part::Some { first, last } => {
            insert(
                &mut headers,
                header::CONTENT_RANGE,
                format!("bytes {first}-{last}/{}", stamp.size),
            );
            let length = last.saturating_sub(first).saturating_add(1);
            (StatusCode::PARTIAL_CONTENT, first, length)
        }
        Part::None | Part::Whole => (StatusCode::OK, 0, stamp.size),
    };
    headers.insert(header::CONTENT_LENGTH, length.into());
    let body = if form.head {
        Body::empty()
    } else {
        Body::of(opened.file, offset, length).map_err(Refusal::Io)?
    };
    Ok(assemble(status, headers, body))
}

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

/// What a 200 and a 304 have in common (RFC 9110 section 15.4.5).
fn validators(folder: &Folder, name: &RelativePath, by: By, stamp: Stamp, form: Form) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let keep = Keep::new(folder, name, by);
    headers.insert(header::CACHE_CONTROL, cache_control(folder, keep, form.audience));
    insert(&mut headers, header::ETAG, stamp.etag());
    if let Some(date) = stamp.last_modified(folder.clock.wall()) {
        insert(&mut headers, header::LAST_MODIFIED, date);
    }
    headers
}

fn insert(headers: &mut HeaderMap, name: header::HeaderName, text: String) {
    // All texts made here are digits, quotes and dates.
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}

// === Caching ===

/// How long a client may show a file without asking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// The name says what the content is.
    ForEver,
    /// Pages name the assets of their own version: an old page asks for files that are gone.
    Never,
    Shortly,
}

impl Keep {
    fn new(folder: &Folder, name: &RelativePath, by: By) -> Self {
        let fixed = matches!(folder.cache_control, CacheControl::Fixed(_));
        if fixed {
            return Self::Shortly;
        }
        match by {
            By::OwnName if holds_hash(name.file_name()) || folder.lists(name) => Self::ForEver,
            By::Fallback => Self::Never,
            By::Index | By::OwnName if media_type(name).is_page() => Self::Never,
            By::Index | By::OwnName => Self::Shortly,
        }
    }
}

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

/// Whether a file name has twelve hexadecimal digits between two dots, as Django's storage, which
/// takes them from the content's MD5, writes them.
fn holds_hash(file_name: &[u8]) -> bool {
    file_name.windows(HASH_AND_DOTS).any(|window| {
        let inner = window.strip_prefix(b".").and_then(|window| window.strip_suffix(b"."));
        inner.is_some_and(|hash| hash.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
    })
}

const HASH_AND_DOTS: usize = 14;

// === Media types ===

#[derive(Clone, Copy, Debug)]
struct MediaType(&'static str);

fn media_type(name: &RelativePath) -> MediaType {
    let file_name = String::from_utf8_lossy(name.file_name());
    let guess = mime_guess::from_path(&*file_name);
    MediaType(match guess.first_raw() {
        // RFC 9239 made the other name of it obsolete.
        Some("application/javascript") => "text/javascript",
        Some(known) => known,
        None => "application/octet-stream",
    })
}

impl MediaType {
    /// With `charset=utf-8` for text: what is published today is, and a browser's guess may differ.
    fn content_type(self) -> HeaderValue {
        if self.is_text() {
            let text = format!("{}; charset=utf-8", self.0);
            return HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(self.0));
        }
        HeaderValue::from_static(self.0)
    }

    fn is_text(self) -> bool {
        self.0.starts_with("text/")
            || self.0.ends_with("+json")
            || matches!(self.0, |"application/json"| "application/xhtml+xml" | "image/svg+xml")
    }

    fn is_page(self) -> bool {
        matches!(self.0, "text/html" | "application/xhtml+xml")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_twelve_lower_hex_digits_between_dots_are_a_hash() {
        for (name, expected) in [
            ("app.0123456789ab.js", true),
            ("app.min.0123456789ab.css.map", true),
            (".0123456789ab.", true),
            ("app.0123456789AB.js", false),
            ("app.0123456789abc.js", false),
            ("app.0123456789a.js", false),
            ("app-0123456789ab.js", false),
            ("app.0123456789ab", false),
        ] {
            assert_eq!(holds_hash(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn text_says_its_charset_and_the_unknown_is_bytes() {
        for (name, expected) in [
            ("a.html", "text/html; charset=utf-8"),
            ("a.css", "text/css; charset=utf-8"),
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.mjs", "text/javascript; charset=utf-8"),
            ("a.json", "application/json; charset=utf-8"),
            ("a.svg", "image/svg+xml; charset=utf-8"),
            ("a.txt", "text/plain; charset=utf-8"),
            ("a.webmanifest", "application/manifest+json; charset=utf-8"),
            ("a.png", "image/png"),
            ("a.woff2", "font/woff2"),
            ("a.wasm", "application/wasm"),
            ("a.unheard-of", "application/octet-stream"),
            ("README", "application/octet-stream"),
        ] {
            let name = RelativePath::parse(name).unwrap();
            assert_eq!(media_type(&name).content_type(), expected);
        }
    }
}

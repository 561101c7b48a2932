//! Compression on the way out, where the operator asked for it (`[server] compress`).
//!
//! Whoever sees how long a compressed response is, and may choose a part of it, learns the rest of it
//! letter by letter (BREACH, H22). So nothing is compressed that may hold a secret: only public
//! routes, where no token is read; no request with `Cookie` or `Authorization`; no response with
//! `Set-Cookie`. Nor is anything that says `no-transform`, is encoded already, is a part, is signed by
//! a digest, or flows event by event.
//!
//! A compressed response is another representation: its entity tag is weak, and caches are told by
//! `Vary` (RFC 9110 sections 8.8.1 and 12.5.5), the client that gets it plain as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::header::{
    ACCEPT_RANGES, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
    COOKIE, ETAG, HeaderMap, HeaderValue, SET_COOKIE, VARY,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use super::body::Inner;
use super::compressed::Compressed;
use crate::auth::Policy;
use crate::http::{Accepted, Coding};
use crate::snapshot::plan::Compression;

/// A request whose response may be compressed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'s> {
    compression: &'s Compression,
    coding: Option<Coding>,
    head: bool,
}

/// Bytes. What is shorter fits into a packet or two anyway.
const SHORTEST: u64 = 1024;

/// Responses that are compressed at one moment, each with its encoder's memory: up to 2 MiB. The
/// next one goes out plain.
const MOST: usize = 256;

impl<'s> Wish<'s> {
    /// `None` where nothing may be compressed.
    pub(super) fn of(
        compression: Option<&'s Compression>,
        policy: Option<&Policy>,
        parts: &Parts,
    ) -> Option<Self> {
        let compression = compression?;
        let secret =
            parts.headers.contains_key(COOKIE) || parts.headers.contains_key(AUTHORIZATION);
        if secret || !matches!(policy, Some(Policy::Public)) {
            return None;
        }
        let coding = Accepted::of(&parts.headers).choose(compression.codings.iter().copied());
        Some(Self { compression, coding, head: parts.method == Method::HEAD })
    }

    /// The response as it goes out.
    pub(super) fn grant(self, mut response: Response<Inner>) -> Response<Inner> {
        if matches!(response.body(), Inner::Tunnel(_)) {
            return response;
        }
        let status = response.status();
        let headers = response.headers_mut();
        if status == StatusCode::NOT_MODIFIED {
            // Of which representation it speaks is not known: a weak tag speaks of both.
            if self.coding.is_some() && !headers.contains_key(SET_COOKIE) {
                weaken(headers);
                vary(headers);
            }
            return response;
        }
        if status != StatusCode::OK || !is_compressible(headers) {
            return response;
        }
        vary(headers);
        let Some(coding) = self.coding else { return response };
        let Some(place) = Place::take(&self.compression.busy) else { return response };
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
        let streamed = headers.remove(CONTENT_LENGTH).is_none();
        headers.remove(ACCEPT_RANGES);
        weaken(headers);
        if self.head {
            return response;
        }
        response.map(|body| Inner::from(Compressed::new(body, coding, streamed, place)))
    }
}

/// One of the responses that are compressed at this moment.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

impl Place {
    pub(super) fn take(busy: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(Arc::clone(busy));
        (busy.fetch_add(1, Ordering::Relaxed) < MOST).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn is_compressible(headers: &HeaderMap) -> bool {
    if SPOILERS.iter().any(|name| headers.contains_key(*name)) {
        return false;
    }
    let no_transform = headers.get_all(CACHE_CONTROL).iter().any(|line| {
        let directives = line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        directives.into_iter().any(|one| one.eq_ignore_ascii_case(b"no-transform"))
    });
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let is_short = length.is_some_and(|length: u64| length < SHORTEST);
    !no_transform && !is_short && headers.get(CONTENT_TYPE).is_some_and(is_text)
}

/// With any of these a response is left as it is.
const SPOILERS: [&str; 7] = [
    "content-encoding",
    "content-range",
    "set-cookie",
    "content-digest",
    "content-md5",
    "digest",
    "repr-digest",
];

/// Whether a media type is text, or as compressible; never an event stream, of which every line
/// counts at once.
fn is_text(content_type: &HeaderValue) -> bool {
    let whole = content_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    let Ok(name) = std::str::from_utf8(whole.trim_ascii()) else { return false };
    let name = name.to_ascii_lowercase();
    (name.starts_with("text/") && name != "text/event-stream")
        || name.ends_with("+json")
        || name.ends_with("+xml")
        || TEXT.contains(&name.as_str())
}

const TEXT: [&str; 9] = [
    "application/javascript",
    "application/json",
    "application/wasm",
    "application/x-javascript",
    "application/x-ndjson",
    "application/xml",
    "font/otf",
    "font/ttf",
    "image/bmp",
];

fn vary(headers: &mut HeaderMap) {
    let known = headers.get_all(VARY).iter().any(|line| {
        let mut names = line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
    });
    if !known {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// What is equal only in meaning, not byte by byte, has a weak tag.
fn weaken(headers: &mut HeaderMap) {
    let Some(etag) = headers.get(ETAG).filter(|etag| !etag.as_bytes().starts_with(b"W/")) else {
        return;
    };
    if let Ok(weak) = HeaderValue::from_bytes(&[b"W/", etag.as_bytes()].concat()) {
        headers.insert(ETAG, weak);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields = fields
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        fields.collect()
    }

    #[test]
    fn only_text_that_may_be_changed_is_compressible() {
        for (fields, expected) in [
            (&[("content-type", "text/html; charset=utf-8")][..], true),
            (&[("content-type", "Application/Problem+JSON")], true),
            (&[("content-type", "image/svg+xml")], true),
            (&[("content-type", "text/html"), ("content-length", "1024")], true),
            (&[("content-type", "text/html"), ("cache-control", "public, max-age=1")], true),
            (&[], false),
            (&[("content-type", "image/png")], false),
            (&[("content-type", "text/event-stream")], false),
            (&[("content-type", "text/event-stream;charset=utf-8")], false),
            (&[("content-type", "application/grpc")], false),
            (&[("content-type", "text/html"), ("content-length", "1023")], false),
            (&[("content-type", "text/html"), ("set-cookie", "a=b")], false),
            (&[("content-type", "text/html"), ("content-encoding", "identity")], false),
            (&[("content-type", "text/html"), ("content-range", "bytes 0-1/2")], false),
            (&[("content-type", "text/html"), ("repr-digest", "sha-256=:x:")], false),
            (&[("content-type", "text/html"), ("cache-control", "a, No-Transform")], false),
        ] {
            assert_eq!(is_compressible(&headers(fields)), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_tag_is_weak_once_and_vary_names_the_field_once() {
        let mut map = headers(&[("etag", "\"a\""), ("vary", "Origin")]);
        for _ in 0..2 {
            weaken(&mut map);
            vary(&mut map);
        }
        assert_eq!(map[ETAG], "W/\"a\"");
        assert_eq!(map.get_all(VARY).iter().collect::<Vec<_>>(), ["Origin", "Accept-Encoding"]);
        let mut any = headers(&[("vary", "*")]);
        vary(&mut any);
        assert_eq!(any.get_all(VARY).iter().count(), 1);
    }

    #[test]
    fn places_are_bounded_and_given_back() {
        let busy = Arc::new(AtomicUsize::new(0));
        let places: Vec<_> = (0..MOST).map(|_| Place::take(&busy).unwrap()).collect();
        assert!(Place::take(&busy).is_none());
        drop(places);
        assert_eq!(busy.load(Ordering::Relaxed), 0);
        assert!(Place::take(&busy).is_some());
    }
}

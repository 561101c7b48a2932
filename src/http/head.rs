//! Every check of a request's head that needs no configuration but limits.
//!
//! Owns what hyper leaves open (attack ids as in docs/http.md): framing that another parser could
//! read differently (H1), `Host` (H5), target forms and methods (H7), `Expect` (H15), sizes. Trusts
//! hyper to have split the head into tokens, and h2 to have refused malformed pseudo-headers; checks
//! again whatever would be a hole if either changed its mind. Refuses, never repairs: a head with
//! two readings has no right one.

use std::fmt;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Uri, Version};

use super::authority::Authority;
pub use super::authority::Scheme;

/// Checks a head; says whom and what it addresses.
///
/// The order is fixed: method, sizes, framing, repeated headers, target, host, `Expect`.
///
/// # Errors
/// The first fault in that order. After [`HeadError::BadRequest`] an HTTP/1 connection must be
/// closed: where its next request begins is in doubt.
pub fn check(parts: &Parts, scheme: Scheme, limits: &HeadLimits) -> Result<Head, HeadError> {
    check_method(&parts.method)?;
    check_sizes(parts, limits)?;
    check_framing(parts.version, &parts.headers)?;
    check_singletons(&parts.headers)?;
    let target = target(&parts.method, &parts.uri)?;
    let (authority, host) = host(parts, scheme)?;
    check_expect(&parts.headers)?;
    Ok(Head { authority, host, target })
}

/// What a request's head may measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Header lines.
    pub count: usize,
    /// Bytes of one header line with its `: ` and line end, and of the request target.
    pub line: usize,
    /// Bytes of the target and all header lines together.
    pub size: usize,
}

/// A head that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The host asked for, normalized.
    pub authority: Authority,
    /// The host as the client wrote it, to be forwarded; from `:authority` or an absolute target
    /// where there is one.
    pub host: HeaderValue,
    /// What is asked for.
    pub target: Target,
}

/// The form of the request target, as far as it still matters (RFC 9112 section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// `OPTIONS *`: the server as a whole.
    Asterisk,
    /// A path, from an origin-form or absolute-form target.
    Path,
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeadError {
    /// The host is missing, repeated, malformed, or contradicts the target.
    BadHost,
    /// Malformed, or with two readings; the text says where.
    BadRequest(&'static str),
    /// An `Expect` other than `100-continue`.
    ExpectationFailed,
    /// Too many header lines, one too long, or too much in all.
    HeadersTooLarge,
    /// CONNECT or TRACE.
    MethodNotAllowed,
    /// The request target is longer than a line may be.
    TargetTooLong,
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadHost => "the host is missing, repeated, malformed or contradicts the target",
            Self::BadRequest(what) => what,
            Self::ExpectationFailed => "only `100-continue` can be expected",
            Self::HeadersTooLarge => "the header fields are too many or too long",
            Self::MethodNotAllowed => "CONNECT and TRACE are never served",
            Self::TargetTooLong => "the request target is too long",
        })
    }
}

impl std::error::Error for HeadError {}

/// In any case: an application that folds case would take `trace` for TRACE.
fn check_method(method: &Method) -> Result<(), HeadError> {
    let never = ["CONNECT", "TRACE"].iter().any(|name| method.as_str().eq_ignore_ascii_case(name));
    if never { Err(HeadError::MethodNotAllowed) } else { Ok(()) }
}

fn check_sizes(parts: &Parts, limits: &HeadLimits) -> Result<(), HeadError> {
    const COLON_SPACE_CRLF: usize = 4;
    let authority = parts.uri.authority().map_or(0, |authority| authority.as_str().len());
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len()) + authority;
    if target > limits.line {
        return Err(HeadError::TargetTooLong);
    }
    if parts.headers.len() > limits.count {
        return Err(HeadError::HeadersTooLarge);
    }
    let mut size = target;
    for (name, value) in &parts.headers {
        let line = name.as_str().len() + value.len() + COLON_SPACE_CRLF;
        size += line;
        if line > limits.line || size > limits.size {
            return Err(HeadError::HeadersTooLarge);
        }
    }
    Ok(())
}

/// One framing, in one spelling (RFC 9112 section 6.3, read as strictly as it may be).
///
/// hyper takes `cow, chunked` and `,chunked` for chunked; a server behind us that looks at the
/// first coding only would then read the body as the next request.
fn check_framing(version: Version, headers: &HeaderMap) -> Result<(), HeadError> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let chunked = match (codings.next(), codings.next()) {
        (None, _) => false,
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => true,
        (Some(_), _) => {
            return Err(HeadError::BadRequest("the transfer coding is not `chunked`, once"));
        }
    };
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => {}
        (Some(_), None) if chunked => {
            return Err(HeadError::BadRequest("both a content length and a transfer coding"));
        }
        (Some(length), None) if is_digits(length.as_bytes()) => {}
        (Some(_), _) => return Err(HeadError::BadRequest("the content length is not one number")),
    }
    match version {
        Version::HTTP_11 => Ok(()),
        Version::HTTP_10 if chunked => {
            Err(HeadError::BadRequest("HTTP/1.0 has no transfer codings"))
        }
        Version::HTTP_10 => Ok(()),
        Version::HTTP_2 => check_connection_specific(headers),
        _ => Err(HeadError::BadRequest("the version of HTTP is not spoken here")),
    }
}

/// RFC 9113 section 8.2.2: fields of an HTTP/1 connection make a request malformed.
fn check_connection_specific(headers: &HeaderMap) -> Result<(), HeadError> {
    const MISPLACED: [HeaderName; 5] = [
        header::CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    if MISPLACED.iter().any(|name| headers.contains_key(name))
        || headers.get_all(header::TE).iter().any(|te| te != "trailers")
    {
        return Err(HeadError::BadRequest("fields of an HTTP/1 connection in HTTP/2"));
    }
    check_blanks(headers)
}

/// RFC 9113 section 8.2.1: no value begins or ends with white space. Over HTTP/1 it is no part of
/// the value, so that the next hop would read another value than was looked at here.
fn check_blanks(headers: &HeaderMap) -> Result<(), HeadError> {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let ends_blank = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        is_blank(bytes.first()) || is_blank(bytes.last())
    };
    match headers.values().any(ends_blank) {
        true => Err(HeadError::BadRequest("a value begins or ends with white space in HTTP/2")),
        false => Ok(()),
    }
}

fn is_digits(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit)
}

/// Which of two media types counts differs from server to server; Gunicorn refuses them as well.
fn check_singletons(headers: &HeaderMap) -> Result<(), HeadError> {
    if headers.get_all(header::CONTENT_TYPE).iter().nth(1).is_some() {
        return Err(HeadError::BadRequest("more than one content type"));
    }
    Ok(())
}

/// RFC 9112 section 3.2: origin-form or absolute-form; asterisk-form for OPTIONS alone;
/// authority-form belongs to CONNECT, so `GET admin` (which parses as one) is refused.
fn target(method: &Method, uri: &Uri) -> Result<Target, HeadError> {
    match (uri.scheme_str(), uri.authority()) {
        (None, None) | (Some("http" | "https"), Some(_)) => {}
        (Some(_), _) => return Err(HeadError::BadRequest("the target's scheme is not http(s)")),
        (None, Some(_)) => return Err(HeadError::BadRequest("the target has no path")),
    }
    match uri.path() {
        "*" if *method == Method::OPTIONS => Ok(Target::Asterisk),
        path if path.starts_with('/') => Ok(Target::Path),
        _ => Err(HeadError::BadRequest("the target does not begin with `/`")),
    }
}

/// The one host of a request.
///
/// HTTP/1.1 asks for exactly one `Host` even beside an absolute target; HTTP/2 may carry
/// `:authority`, `host`, or both. Where both speak they must agree: the route would be chosen by
/// one and the application's tenant by the other.
fn host(parts: &Parts, scheme: Scheme) -> Result<(Authority, HeaderValue), HeadError> {
    let mut lines = parts.headers.get_all(header::HOST).iter();
    let line = lines.next();
    if lines.next().is_some() {
        return Err(HeadError::BadHost);
    }
    let written = match line {
        Some(value) => Some((text_authority(value.to_str().ok(), scheme)?, value)),
        None => None,
    };
    let targeted = match parts.uri.authority() {
        Some(authority) => Some((text_authority(Some(authority.as_str()), scheme)?, authority)),
        None => None,
    };
    match (targeted, written) {
        (None, None) => Err(HeadError::BadHost),
        (Some(_), None) if parts.version == Version::HTTP_11 => Err(HeadError::BadHost),
        (None, Some((authority, value))) => Ok((authority, value.clone())),
        (Some((targeted, _)), Some((written, _))) if targeted != written => Err(HeadError::BadHost),
        (Some((targeted, text)), Some((_, value))) if value == text.as_str() => {
            Ok((targeted, value.clone()))
        }
        (Some((targeted, text)), _) => {
            let value = HeaderValue::from_str(text.as_str()).map_err(|_| HeadError::BadHost)?;
            Ok((targeted, value))
        }
    }
}

fn text_authority(text: Option<&str>, scheme: Scheme) -> Result<Authority, HeadError> {
    text.and_then(|text| Authority::parse(text, scheme)).ok_or(HeadError::BadHost)
}

/// RFC 9110 section 10.1.1.
fn check_expect(headers: &HeaderMap) -> Result<(), HeadError> {
    let mut expectations = headers.get_all(header::EXPECT).iter();
    match (expectations.next(), expectations.next()) {
        (None, _) => Ok(()),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(()),
        (Some(_), _) => Err(HeadError::ExpectationFailed),
    }
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;

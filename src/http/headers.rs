//! Header hygiene: which names only Portcullis may set, and spellings that hide one behind another.
//!
//! Owns the list of asserted headers. Trusts no client header of such a name in any spelling: CGI,
//! WSGI and PHP fold `X-User`, `x_user` and `X.User` into one variable, so each is deleted on every
//! route, public ones included, before anything else looks at the head. Refuses (or drops) names
//! with `_` altogether unless the operator named them: that is how `SCRIPT_NAME` and
//! `X_Forwarded_For` reach an application past a proxy that knows only dashes.

use hyper::header::{self, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::head::HeadError;

/// Every header that Portcullis itself sets, and those that only a gateway may set.
#[derive(Clone, Debug)]
pub struct Asserted {
    /// Folded names by length: most headers of a request share their length with none of them.
    by_length: Vec<Vec<Box<[u8]>>>,
}

impl Asserted {
    /// The built-in list and `extra`: the identity headers and the request id's configured name.
    pub fn new(extra: impl IntoIterator<Item = HeaderName>) -> Self {
        let mut by_length: Vec<Vec<Box<[u8]>>> = Vec::new();
        let extra = extra.into_iter().map(|name| name.as_str().bytes().map(fold).collect());
        for name in BUILT_IN.iter().map(|name| name.as_bytes().into()).chain(extra) {
            let name: Box<[u8]> = name;
            if by_length.len() <= name.len() {
                by_length.resize(name.len() + 1, Vec::new());
            }
            if let Some(same_length) = by_length.get_mut(name.len()) {
                same_length.push(name);
            }
        }
        Self { by_length }
    }

    /// Whether `name` is one of them, in whatever spelling.
    pub fn contains(&self, name: &HeaderName) -> bool {
        let name = name.as_str().as_bytes();
        let listed = self.by_length.get(name.len()).is_some_and(|same_length| {
            same_length.iter().any(|asserted| starts_folded(name, asserted))
        });
        listed || has_asserted_prefix(name)
    }

    /// Deletes every one of them; the number of lines deleted.
    pub fn strip(&self, headers: &mut HeaderMap) -> usize {
        remove_where(headers, |name| self.contains(name))
    }
}

/// What becomes of a header name with `_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnderscorePolicy {
    /// The header is deleted.
    Drop,
    /// The request is refused.
    Reject,
}

/// Drops or refuses headers whose names hold `_`, but for those `allowed`; the number of lines
/// dropped.
///
/// Call it after [`Asserted::strip`]. Whatever `allowed` says, no spelling of a built-in asserted
/// header, of a framing or routing header or of a credential passes.
///
/// # Errors
/// [`HeadError::BadRequest`] under [`UnderscorePolicy::Reject`].
pub fn screen_underscores(
    headers: &mut HeaderMap,
    policy: UnderscorePolicy,
    allowed: &[HeaderName],
) -> Result<usize, HeadError> {
    let refused = |name: &HeaderName| {
        name.as_str().contains('_') && (!allowed.contains(name) || is_never_underscored(name))
    };
    match policy {
        UnderscorePolicy::Drop => Ok(remove_where(headers, refused)),
        UnderscorePolicy::Reject if headers.keys().any(refused) => {
            Err(HeadError::BadRequest("a header name holds an underscore"))
        }
        UnderscorePolicy::Reject => Ok(0),
    }
}

/// Joins several Cookie lines, as HTTP/2 clients send them, into one (RFC 9113 section 8.2.3).
///
/// Gunicorn would join them with `,`, and Django would then find no session.
pub fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for line in std::iter::once(second).chain(lines) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(line.as_bytes());
    }
    // Joining valid values yields a valid one; were it not so, none is safer than several.
    match HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
        Ok(value) => drop(headers.insert(header::COOKIE, value)),
        Err(_) => drop(headers.remove(header::COOKIE)),
    }
}

/// Appends a line of an HTTP/1 head. Neither type can hold a line end.
pub fn write_line(head: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    head.extend_from_slice(name.as_str().as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value.as_bytes());
    head.extend_from_slice(b"\r\n");
}

/// Whether two names are one to an application that folds spellings.
pub fn is_spelling_of(name: &str, canonical: &str) -> bool {
    name.len() == canonical.len()
        && name.bytes().zip(canonical.bytes()).all(|(one, other)| fold(one) == fold(other))
}

/// Deletes a header in every spelling.
pub fn remove_spellings(headers: &mut HeaderMap, name: &HeaderName) {
    remove_where(headers, |other| is_spelling_of(other.as_str(), name.as_str()));
}

/// Folded names. Beside what we set: what Gunicorn takes for the scheme (a second one that
/// disagrees is its 400), httpoxy, CGI variables that Gunicorn passes from trusted peers, and the
/// headers by which some frameworks take another path for the request's, or a file for the answer
/// (Rack believes `X-Sendfile-Type` of the request).
const BUILT_IN: [&str; 16] = [
    "forwarded",
    "front-end-https",
    "path-info",
    "proxy",
    "remote-user",
    "script-name",
    "x-client-cert",
    "x-forwarded",
    "x-original-url",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
    "x-scheme",
    "x-sendfile",
    "x-sendfile-type",
    "x-url-scheme",
];

/// Folded prefixes: a whole family each. All begin with the same byte, see `has_asserted_prefix`.
const PREFIXES: [&str; 4] = ["x-accel-", "x-client-cert-", "x-forwarded-", "x-portcullis-"];

/// Names that mean framing, routing or credentials once an application has folded them.
const NEVER_UNDERSCORED: [&str; 8] = [
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "authorization",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
];

fn has_asserted_prefix(name: &[u8]) -> bool {
    name.first() == Some(&b'x')
        && PREFIXES.iter().any(|prefix| starts_folded(name, prefix.as_bytes()))
}

fn is_never_underscored(name: &HeaderName) -> bool {
    let name = name.as_str();
    BUILT_IN.iter().chain(&NEVER_UNDERSCORED).any(|listed| is_spelling_of(name, listed))
        || has_asserted_prefix(name.as_bytes())
}

/// `HeaderName` is lower-case already; every byte that is neither letter nor digit ends as `_` in
/// one gateway interface or another.
const fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

fn starts_folded(name: &[u8], folded: &[u8]) -> bool {
    name.len() >= folded.len() && name.iter().zip(folded).all(|(&byte, &f)| fold(byte) == f)
}

fn remove_where(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) -> usize {
    let names: Vec<HeaderName> = headers.keys().filter(|&name| unwanted(name)).cloned().collect();
    let mut lines = 0;
    for name in names {
        lines += headers.get_all(&name).iter().count();
        headers.remove(name);
    }
    lines
}

/// Writes a bearer scheme as `Bearer`: schemes have no case (RFC 9110 section 11.1), but
/// applications such as simplejwt compare it letter by letter, and would see an anonymous request.
pub fn canonical_bearer(headers: &mut HeaderMap) {
    const SCHEME: &str = "Bearer ";
    let Some(value) = headers.get_mut(AUTHORIZATION) else { return };
    // Nearly always so already, and the token behind it is long.
    if value.as_bytes().starts_with(SCHEME.as_bytes()) {
        return;
    }
    let Ok(text) = value.to_str() else { return };
    let Some((scheme, rest)) = text.split_at_checked(SCHEME.len()) else { return };
    if scheme.eq_ignore_ascii_case(SCHEME) {
        let canonical = HeaderValue::try_from(format!("{SCHEME}{rest}"));
        if let Ok(canonical) = canonical {
            *value = canonical;
        }
    }
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;

//! The canonical path: one spelling that routes are matched against and applications receive.
//!
//! Owns the decision which request paths have only one reading. Trusts nothing: the input is what a
//! client wrote after the host. Decodes unreserved `%XX` (RFC 3986 section 6.2.2.2), writes the
//! others with upper-case digits, escapes raw bytes beyond ASCII and resolves dot segments, encoded
//! or not. Refuses what the next server could read differently than the route table did: that
//! difference is how `/public/..%2fadmin` walks past a protected `/admin`.

use std::borrow::Cow;
use std::fmt;

/// Brings a path into its canonical form; borrows if it has that form already.
///
/// `raw_path` is the path alone, without `?` and query. The result begins with `/`, is ASCII, has
/// no dot segment and no empty segment but the last, and is its own canonical form.
///
/// # Errors
/// [`PathError`]; [`PathError::Ambiguous`] where servers are known to disagree about the meaning.
pub fn canonicalize(raw_path: &str) -> Result<Cow<'_, str>, PathError> {
    if !raw_path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if is_clean(raw_path.as_bytes()) {
        return Ok(Cow::Borrowed(raw_path));
    }
    let canonical = rewrite(raw_path)?;
    Ok(if canonical == raw_path { Cow::Borrowed(raw_path) } else { Cow::Owned(canonical) })
}

/// Decodes every escape of one segment of a canonical path: the bytes an application sees.
///
/// Gunicorn and its like decode `%40` to `@` before they route, so whoever compares segments by
/// their spelling would let `/%40admin` pass beside a route for `/@admin`. `None` if the decoded
/// segment does not fit into `buffer`. A segment without escapes is not copied.
pub fn decode_segment<'s>(segment: &'s str, buffer: &'s mut [u8]) -> Option<&'s [u8]> {
    if !segment.contains('%') {
        return Some(segment.as_bytes());
    }
    let mut bytes = segment.bytes();
    let mut length = 0;
    while let Some(byte) = bytes.next() {
        let decoded = match byte {
            b'%' => hex_pair(bytes.next(), bytes.next())?,
            byte => byte,
        };
        *buffer.get_mut(length)? = decoded;
        length += 1;
    }
    buffer.get(..length)
}

/// Writes decoded bytes as the text of a segment: escapes whatever is not plain in a path, and `*`,
/// which patterns give a meaning.
pub fn encode_segment(decoded: &[u8]) -> String {
    let mut out = String::with_capacity(decoded.len());
    for &byte in decoded {
        match byte {
            byte if is_unreserved(byte) => out.push(char::from(byte)),
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'+' | b',' | b';' | b'=' | b':' | b'@' => {
                out.push(char::from(byte));
            }
            byte => push_escape(&mut out, byte),
        }
    }
    out
}

/// Why a path has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathError {
    /// `..` climbs above the root.
    AboveRoot,
    /// Servers disagree about it: `%2F`, `%5C`, `//`, `;..`, `..;`, double-encoded dots or slashes.
    Ambiguous,
    /// A raw `\`, which some servers take for `/`.
    Backslash,
    /// `%` without two hexadecimal digits.
    BadEscape,
    /// A control character, raw or encoded (`%00`), or a raw space, `?` or `#`: none can be part
    /// of a path.
    Control,
    /// It does not begin with `/`.
    NotAbsolute,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AboveRoot => "the path climbs above the root",
            Self::Ambiguous => "servers disagree about the meaning of the path",
            Self::Backslash => "the path holds a backslash",
            Self::BadEscape => "a `%` in the path is not followed by two hexadecimal digits",
            Self::Control => "the path holds a character that no path may hold",
            Self::NotAbsolute => "the path does not begin with `/`",
        })
    }
}

impl std::error::Error for PathError {}

/// Whether nothing in the path could need a change or a second look.
///
/// Errs to the side of the slow way: `/.well-known/x` is canonical and yet not found clean here.
fn is_clean(path: &[u8]) -> bool {
    let mut after_slash = false;
    path.iter().all(|&byte| {
        let clean = match byte {
            b'%' | b';' | b'\\' | b'?' | b'#' | 0..=0x20 | 0x7f.. => false,
            b'/' | b'.' => !after_slash,
            _ => true,
        };
        after_slash = byte == b'/';
        clean
    })
}

/// RFC 3986 section 5.2.4, on decoded segments; `//` never gets here as an empty segment.
fn rewrite(raw_path: &str) -> Result<String, PathError> {
    let mut out = String::with_capacity(raw_path.len());
    let mut segments = raw_path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if segment.is_empty() && !is_last {
            return Err(PathError::Ambiguous);
        }
        let start = out.len();
        out.push('/');
        push_segment(&mut out, segment)?;
        match out.get(start + 1..).unwrap_or_default() {
            "." => out.truncate(if is_last { start + 1 } else { start }),
            ".." => {
                let parent = out.get(..start).and_then(|kept| kept.rfind('/'));
                out.truncate(parent.ok_or(PathError::AboveRoot)?);
                if is_last {
                    out.push('/');
                }
            }
            decoded if has_two_readings(decoded) => return Err(PathError::Ambiguous),
            _ => {}
        }
    }
    Ok(out)
}

fn push_segment(out: &mut String, segment: &str) -> Result<(), PathError> {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                match hex_pair(bytes.next(), bytes.next()).ok_or(PathError::BadEscape)? {
                    b'/' | b'\\' => return Err(PathError::Ambiguous),
                    // `%0A` goes too: `^admin$` in an application also matches "admin\n".
                    0..=0x1f | 0x7f => return Err(PathError::Control),
                    value if is_unreserved(value) => out.push(char::from(value)),
                    value => push_escape(out, value),
                }
            }
            b'\\' => return Err(PathError::Backslash),
            b'?' | b'#' | 0..=0x20 | 0x7f => return Err(PathError::Control),
            0x80.. => push_escape(out, byte),
            byte => out.push(char::from(byte)),
        }
    }
    Ok(())
}

/// Whether a decoded segment could become a dot segment or a slash in another server's eyes.
///
/// Servlet containers cut `;parameters` off a segment before they resolve dots, so `/..;/admin`
/// and `/.;/admin` reach `/admin` there; some decode before they cut. Servers that decode twice
/// see `%252e` as a dot; `%25%32%65` has been decoded to that spelling when it arrives here.
fn has_two_readings(segment: &str) -> bool {
    const DOTS_AT_PARAMETERS: [&str; 4] = ["..;", ";..", "..%3B", "%3B.."];
    if !segment.contains([';', '%']) {
        return false;
    }
    DOTS_AT_PARAMETERS.iter().any(|spelling| segment.contains(spelling))
        || segment.starts_with(".;")
        || segment.starts_with(".%3B")
        || segment.match_indices("%25").any(|(at, escape)| {
            let mut rest = segment.get(at + escape.len()..).unwrap_or_default();
            while let Some(deeper) = rest.strip_prefix("25") {
                rest = deeper;
            }
            let digits = rest.get(..2).unwrap_or_default();
            ["2e", "2f", "5c"].iter().any(|hidden| digits.eq_ignore_ascii_case(hidden))
        })
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn hex_pair(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

fn push_escape(out: &mut String, byte: u8) {
    let digit =
        |nibble: u8| char::from(if nibble < 10 { b'0' + nibble } else { b'A' + (nibble - 10) });
    out.push('%');
    out.push(digit(byte >> 4));
    out.push(digit(byte & 15));
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;

//! The canonical path: one spelling that routes are matched against and applications receive.
//!
//! Owns that spelling, and tells which paths another server could read otherwise. Trusts nothing:
//! the input is what a client wrote after the host. Decodes unreserved `%XX` (RFC 3986 section
//! 6.2.2.2), writes the others with upper-case digits, escapes raw bytes beyond ASCII and resolves
//! dot segments, encoded or not; `//`, `;` and `%2F` are neither merged nor cut. Refuses what has
//! no meaning at all. What has several is marked: the difference between two readings is how
//! `/public/..%2fadmin` walks past a protected `/admin` (`http::readings` has them all).

use std::borrow::Cow;
use std::fmt;

/// A path in its canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical<'p> {
    /// Begins with one `/`, is ASCII, has no dot segment, and is its own canonical form.
    pub path: Cow<'p, str>,
    /// Whether somebody could read the path otherwise: it has or had dot segments, `//`, `;`,
    /// `%2F`, `%5C`, `%3B`, `%3F`, `%23`, or escapes that decode to escapes.
    pub doubtful: bool,
}

/// Brings a path into its canonical form; borrows if it has that form already.
///
/// `raw_path` is the path alone, without `?` and query. Nearly every path costs one scan.
///
/// # Errors
/// [`PathError`]; [`PathError::Ambiguous`] where it begins with `//`: many a library takes what
/// follows for a host (RFC 3986 section 4.2).
pub fn canonicalize(raw_path: &str) -> Result<Canonical<'_>, PathError> {
    if !raw_path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if is_clean(raw_path.as_bytes()) {
        return Ok(Canonical { path: Cow::Borrowed(raw_path), doubtful: false });
    }
    let spelled = respell(raw_path)?;
    let had_dots = spelled.split('/').any(is_dots);
    let canonical = if had_dots { resolve(&spelled)? } else { spelled };
    if canonical.starts_with("//") {
        return Err(PathError::Ambiguous);
    }
    let doubtful = had_dots || is_doubtful(&canonical);
    let same = canonical == raw_path;
    let path = if same { Cow::Borrowed(raw_path) } else { Cow::Owned(canonical) };
    Ok(Canonical { path, doubtful })
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
    /// Servers disagree about it: one of its readings leads elsewhere.
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

/// The path with its escapes in their one spelling, and its dot segments as they are.
pub(super) fn respell(raw_path: &str) -> Result<String, PathError> {
    let mut out = String::with_capacity(raw_path.len());
    let mut bytes = raw_path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                match hex_pair(bytes.next(), bytes.next()).ok_or(PathError::BadEscape)? {
                    // `%0A` goes too: `^admin$` in an application also matches "admin\n".
                    0..=0x1f | 0x7f => return Err(PathError::Control),
                    value if is_unreserved(value) => out.push(char::from(value)),
                    value => push_escape(&mut out, value),
                }
            }
            b'\\' => return Err(PathError::Backslash),
            b'?' | b'#' | 0..=0x20 | 0x7f => return Err(PathError::Control),
            0x80.. => push_escape(&mut out, byte),
            byte => out.push(char::from(byte)),
        }
    }
    Ok(out)
}

/// RFC 3986 section 5.2.4; an empty segment is one like any other.
fn resolve(path: &str) -> Result<String, PathError> {
    let mut out = String::with_capacity(path.len());
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => out.truncate(out.rfind('/').ok_or(PathError::AboveRoot)?),
            segment => {
                out.push('/');
                out.push_str(segment);
            }
        }
        if is_last && is_dots(segment) {
            out.push('/');
        }
    }
    Ok(out)
}

fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

/// Whether a canonical path, without dot segments, has more than one reading.
///
/// What decodes to a plain byte has one: the table compares decoded segments, as applications do.
fn is_doubtful(canonical: &str) -> bool {
    canonical.contains("//")
        || canonical.contains(';')
        || canonical.match_indices('%').any(|(at, _)| {
            let mut after = canonical.bytes().skip(at + 1);
            match (after.next(), after.next()) {
                (Some(b'2'), Some(b'F' | b'3'))
                | (Some(b'5'), Some(b'C'))
                | (Some(b'3'), Some(b'B' | b'F')) => true,
                (Some(b'2'), Some(b'5')) => hex_pair(after.next(), after.next()).is_some(),
                (_, _) => false,
            }
        })
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

pub(super) fn hex_pair(high: Option<u8>, low: Option<u8>) -> Option<u8> {
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

//! The conditions of a route: hosts, path, methods, listeners.
//!
//! Owns the patterns' syntax and what each covers. Text comes from the configuration; a pattern
//! that could never match a canonical host or path is refused when it is read, not silently kept.

use std::fmt;
use std::str::FromStr;

use crate::http::PathError;
use crate::http::authority::canonical_host;
use crate::http::path::{canonicalize, decode_segment, encode_segment};

use super::methods::MethodSet;

/// All conditions of one route; a request must meet each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    /// Any of them; empty: any host.
    pub hosts: Vec<HostPattern>,
    /// The path.
    pub path: PathPattern,
    /// The methods.
    pub methods: MethodSet,
    /// The listeners, by index.
    pub listeners: ListenerSet,
}

/// A host or a family of hosts, in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// `*.example.com`: every host below `example.com`, however deep, but not itself. The text is
    /// what follows the `*.`.
    Suffix(String),
}

/// A path or a family of paths, in canonical form with as few escapes as possible.
///
/// Made by parsing; `/a/*` is read as the prefix `/a`, and `/*` as the empty one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// This path.
    Exact(String),
    /// `/a/*`: `/a`, `/a/` and everything below, never `/ab`. The text is what precedes the `/*`.
    Prefix(String),
}

/// Which listeners a route serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ListenerSet {
    /// Every one.
    #[default]
    All,
    /// Those whose bits are set.
    Bits(u64),
}

/// Why a text is no host pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostPatternError {
    /// Not a host; an address in URL form, a port, or a character that no host can hold.
    NotAHost,
    /// A `*` elsewhere than as the whole first label, or alone.
    Wildcard,
}

/// Why a text is no path pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathPatternError {
    /// The path itself can't be requested.
    Path(PathError),
    /// A segment is `.` or `..`: nothing is matched before those are resolved.
    Dots,
    /// A segment, or all of it, is longer than any sensible path.
    TooLong,
    /// A `*` elsewhere than as the whole last segment.
    Wildcard,
}

/// The longest decoded segment that a pattern may hold; the table compares in a buffer of this
/// size on the stack.
pub(super) const LONGEST_SEGMENT: usize = 255;

/// Bounds the depth of the table, which is walked by recursion.
const LONGEST_PATTERN: usize = 2048;

// === impl HostPattern ===

impl HostPattern {
    /// Whether `host`, in canonical form, is one of them.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == host,
            Self::Suffix(suffix) => is_below(host, suffix),
        }
    }

    /// Whether every host of `other` is one of these.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(own), Self::Exact(others)) => own == others,
            (Self::Exact(_), Self::Suffix(_)) => false,
            (Self::Suffix(_), Self::Exact(host)) => self.matches(host),
            (Self::Suffix(own), Self::Suffix(others)) => own == others || is_below(others, own),
        }
    }
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        let (wildcard, host) = match text.strip_prefix("*.") {
            Some(suffix) => (true, suffix),
            None => (false, text),
        };
        if host.contains('*') {
            return Err(HostPatternError::Wildcard);
        }
        let host = canonical_host(host).ok_or(HostPatternError::NotAHost)?;
        match wildcard {
            true if host.starts_with('[') => Err(HostPatternError::NotAHost),
            true => Ok(Self::Suffix(host)),
            false => Ok(Self::Exact(host)),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Suffix(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

impl fmt::Display for HostPatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAHost => "not a host name or address (without scheme and port)",
            Self::Wildcard => "`*` can only stand for the first labels, as in `*.example.com`",
        })
    }
}

impl std::error::Error for HostPatternError {}

fn is_below(host: &str, suffix: &str) -> bool {
    host.strip_suffix(suffix).is_some_and(|below| below.len() > 1 && below.ends_with('.'))
}

// === impl PathPattern ===

impl PathPattern {
    /// Whether `path`, in canonical form, is one of them.
    pub fn matches(&self, path: &str) -> bool {
        let own = self.segments();
        let Some(path) = path.strip_prefix('/') else { return false };
        let mut segments = path.split('/');
        let mut buffer = [0; LONGEST_SEGMENT];
        let begins = own.iter().all(|own| {
            segments.next().and_then(|segment| decode_segment(segment, &mut buffer))
                == Some(own.as_slice())
        });
        match self {
            Self::Exact(_) => begins && segments.next().is_none(),
            Self::Prefix(_) => begins,
        }
    }

    /// Whether every path of `other` is one of these.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(_), Self::Exact(_)) => self.segments() == other.segments(),
            (Self::Exact(_), Self::Prefix(_)) => false,
            (Self::Prefix(_), _) => other.segments().starts_with(&self.segments()),
        }
    }

    /// What the `/*` of a prefix stands for in a path that matches: without the slash in front.
    pub fn rest_of<'p>(&self, path: &'p str) -> &'p str {
        let segments = self.base().matches('/').count();
        let slash = path.match_indices('/').nth(segments);
        slash.and_then(|(at, _)| path.get(at + 1..)).unwrap_or_default()
    }

    /// The decoded segments, without the wildcard.
    pub(super) fn segments(&self) -> Vec<Vec<u8>> {
        let (Self::Exact(text) | Self::Prefix(text)) = self;
        let mut buffer = [0; LONGEST_SEGMENT];
        // A text that does not decode was not made by parsing; it then stands for itself.
        text.split('/')
            .skip(1)
            .map(|segment| {
                decode_segment(segment, &mut buffer).unwrap_or(segment.as_bytes()).into()
            })
            .collect()
    }
}

impl FromStr for PathPattern {
    type Err = PathPatternError;

    fn from_str(text: &str) -> Result<Self, PathPatternError> {
        let (is_prefix, path) = match text.strip_suffix("/*") {
            Some("") => return Ok(Self::Prefix(String::new())),
            Some(prefix) => (true, prefix),
            None => (false, text),
        };
        if path.contains('*') {
            return Err(PathPatternError::Wildcard);
        }
        let canonical = canonicalize(path).map_err(PathPatternError::Path)?.path;
        let mut buffer = [0; LONGEST_SEGMENT];
        let mut is_dots =
            |segment| matches!(decode_segment(segment, &mut buffer), Some(b"." | b".."));
        if path.split('/').any(&mut is_dots) {
            return Err(PathPatternError::Dots);
        }
        let has_readings = canonicalize(&canonical).is_ok_and(|again| again.doubtful);
        if has_readings || is_prefix && canonical.ends_with('/') {
            // `/a;b`, `/a%2Fb` and `/a//*`: somebody reads such a path otherwise, to
            // whom this route is another; whatever it would match is refused for that.
            return Err(PathPatternError::Path(PathError::Ambiguous));
        }
        let mut pattern = String::with_capacity(canonical.len());
        for segment in canonical.split('/').skip(1) {
            let decoded =
                decode_segment(segment, &mut buffer).filter(|d| d.len() <= LONGEST_SEGMENT);
            pattern.push('/');
            pattern.push_str(&encode_segment(decoded.ok_or(PathPatternError::TooLong)?));
        }
        if pattern.len() > LONGEST_PATTERN {
            return Err(PathPatternError::TooLong);
        }
        Ok(if is_prefix { Self::Prefix(pattern) } else { Self::Exact(pattern) })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => f.write_str(path),
            Self::Prefix(prefix) => write!(f, "{prefix}/*"),
        }
    }
}

impl PathPattern {
    /// The path of an exact pattern; the path above a prefix, empty for `/*`.
    pub fn base(&self) -> &str {
        match self {
            Self::Exact(path) | Self::Prefix(path) => path,
        }
    }
}

impl fmt::Display for PathPatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(error) => error.fmt(f),
            Self::Dots => f.write_str("paths are matched without `.` and `..` segments"),
            Self::TooLong => f.write_str("the path is too long"),
            Self::Wildcard => f.write_str("`*` can only be the whole last segment, as in `/a/*`"),
        }
    }
}

impl std::error::Error for PathPatternError {}

// === impl ListenerSet ===

impl ListenerSet {
    /// How many listeners can be told apart.
    pub const MAX: usize = 64;

    /// These listeners; `None` if an index is [`ListenerSet::MAX`] or beyond.
    pub fn of(indices: impl IntoIterator<Item = usize>) -> Option<Self> {
        let mut bits = 0;
        for index in indices {
            bits |= Self::bit(index)?;
        }
        Some(Self::Bits(bits))
    }

    /// Whether the listener is one of them.
    pub fn contains(self, listener: usize) -> bool {
        match self {
            Self::All => true,
            Self::Bits(bits) => Self::bit(listener).is_some_and(|bit| bits & bit != 0),
        }
    }

    /// Whether no listener is in both.
    pub const fn is_disjoint(self, other: Self) -> bool {
        self.bits() & other.bits() == 0
    }

    /// Whether every listener of `other` is in this one.
    pub const fn is_superset(self, other: Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Bits(_), Self::All) => false,
            (Self::Bits(own), Self::Bits(others)) => own & others == others,
        }
    }

    const fn bits(self) -> u64 {
        match self {
            Self::All => u64::MAX,
            Self::Bits(bits) => bits,
        }
    }

    fn bit(index: usize) -> Option<u64> {
        1_u64.checked_shl(u32::try_from(index).ok()?)
    }
}

#[cfg(test)]
#[path = "matcher_tests.rs"]
mod tests;

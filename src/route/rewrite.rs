//! The path as it is forwarded: a prefix taken off, the rest rewritten, another put in front.
//!
//! Owns the three steps, in this order, on the canonical path, and their way back. Trusts the
//! operator's pattern to mean what it says, not to end: matching takes time linear in the path, and
//! a compiled pattern has a limit of size. The outcome has to be canonical, or it is refused; it is
//! never decoded again. What its readers could take it for is [`super::split_view`]'s business.

use std::fmt;

use regex::bytes::{Captures, Regex, RegexBuilder};

use super::matcher::{LONGEST_SEGMENT, PathPattern};
use crate::http::PathError;
use crate::http::path::{Canonical, canonicalize, decode_segment};

/// What becomes of a route's paths.
#[derive(Debug, Default)]
pub struct Rewrite {
    /// Taken off the front; canonical, without a slash at its end.
    strip: String,
    pattern: Option<Pattern>,
    /// Put in front; canonical, without a slash at its end.
    add: String,
    /// What is left of a path that was nothing but the prefix: `/`, or nothing at all.
    keeps_bare: bool,
}

/// A path that was rewritten.
#[derive(Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// In canonical form.
    pub path: String,
    /// Whether somebody could read it otherwise.
    pub doubtful: bool,
    /// Whether a pattern made it, so that there is no way back.
    pub by_pattern: bool,
}

/// Paths that match as a whole, and what they become.
#[derive(Debug)]
pub struct Pattern {
    from: Regex,
    to: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Group(usize),
}

/// Why a pattern cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub enum PatternError {
    /// It is no regular expression, or is larger than any sensible one.
    From(String),
    /// The replacement names a group that the pattern does not have.
    NoGroup(String),
    /// The replacement is not written as a path.
    To(&'static str),
}

/// A rewritten path that goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewriteError {
    /// It is not in canonical form, or has none.
    NotCanonical,
    /// It is longer than any path that clients may send.
    TooLong,
}

/// Compiled patterns are bounded: what a page of TOML can say must not fill the memory.
const PATTERN_SIZE: usize = 256 * 1024;

/// As long as a request's line may be by default.
const LONGEST: usize = 8 * 1024;

impl Rewrite {
    /// Takes `strip` off, rewrites by `pattern`, puts `add` in front; empty texts do nothing.
    pub fn new(strip: &str, pattern: Option<Pattern>, add: &str) -> Self {
        Self { strip: strip.to_owned(), pattern, add: add.to_owned(), keeps_bare: false }
    }

    /// Spells the prefix as `mount` does and leaves the path as it is: for servers that take it
    /// off themselves, letter by letter.
    pub fn mounted(mount: &str) -> Self {
        Self { keeps_bare: true, ..Self::new(mount, None, mount) }
    }

    /// The path that is forwarded for `path`, which is canonical and matched the route.
    ///
    /// # Errors
    /// What came out is no canonical path.
    pub fn apply(&self, path: &str) -> Result<Rewritten, RewriteError> {
        let rest = without_segments(path, segments(&self.strip));
        let rest = if rest.is_empty() && !self.keeps_bare { "/" } else { rest };
        let changed = self.pattern.as_ref().and_then(|pattern| pattern.apply(rest));
        let by_pattern = changed.is_some();
        let path = format!("{}{}", self.add, changed.as_deref().unwrap_or(rest));
        if path.len() > LONGEST {
            return Err(RewriteError::TooLong);
        }
        match canonicalize(&path) {
            Ok(Canonical { path: same, doubtful }) if *same == *path => {
                Ok(Rewritten { path, doubtful, by_pattern })
            }
            Ok(_) | Err(_) => Err(RewriteError::NotCanonical),
        }
    }

    /// The path that would be forwarded as `reading`, which somebody takes a rewritten path for;
    /// `None` if it lies outside of what was put in front. Patterns have no way back.
    pub fn undo(&self, reading: &str) -> Option<String> {
        let prefix: PathPattern = format!("{}/*", self.add).parse().ok()?;
        let rest =
            prefix.matches(reading).then(|| without_segments(reading, segments(&self.add)))?;
        Some(format!("{}{}", self.strip, if rest.is_empty() { "/" } else { rest }))
    }

    /// What is taken off the front of paths, if anything is.
    pub fn stripped(&self) -> Option<&str> {
        Some(self.strip.as_str()).filter(|strip| !strip.is_empty())
    }

    /// Whether it decides by a pattern.
    pub fn has_pattern(&self) -> bool {
        self.pattern.is_some()
    }
}

/// As a person reads it: `/api/* -> /v1/*`.
impl fmt::Display for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/* -> {}/*", self.strip, self.add)?;
        match &self.pattern {
            Some(pattern) => write!(f, ", where the rest matches {}", pattern.from.as_str()),
            None => Ok(()),
        }
    }
}

/// How many segments a prefix has.
fn segments(prefix: &str) -> usize {
    prefix.bytes().filter(|byte| *byte == b'/').count()
}

/// What follows the first `count` segments of a path: empty, or from a slash on. Counted, since a
/// client may spell them otherwise than the operator did: `/%40a` is `/@a`.
fn without_segments(path: &str, count: usize) -> &str {
    let end = path.match_indices('/').nth(count).map_or(path.len(), |(at, _)| at);
    path.get(end..).unwrap_or_default()
}

impl Pattern {
    /// `from` has to match the whole path (RE2 syntax, ASCII); in `to` a group's number or name in
    /// braces stands for what it matched: `/users/{1}`, `/users/{id}`.
    ///
    /// # Errors
    /// [`PatternError`]
    pub fn new(from: &str, to: &str) -> Result<Self, PatternError> {
        let compile = |text: &str| {
            RegexBuilder::new(text)
                .unicode(false)
                .size_limit(PATTERN_SIZE)
                .dfa_size_limit(PATTERN_SIZE)
                .build()
                .map_err(|error| PatternError::From(error.to_string()))
        };
        // Alone first: `a)|(b` is none, whatever stands around it.
        compile(from)?;
        let from = compile(&format!("^(?:{from})$"))?;
        let to = pieces(to, &from)?;
        Ok(Self { from, to })
    }

    fn apply(&self, path: &str) -> Option<String> {
        let captures = self.from.captures(path.as_bytes())?;
        let mut out = String::new();
        for piece in &self.to {
            match piece {
                Piece::Text(text) => out.push_str(text),
                // A canonical path is ASCII, and so is every part of it.
                Piece::Group(group) => out.push_str(matched(&captures, *group)?),
            }
            if out.len() > LONGEST {
                break;
            }
        }
        Some(out)
    }
}

/// A group that took no part in the match has matched nothing.
fn matched<'p>(captures: &Captures<'p>, group: usize) -> Option<&'p str> {
    captures.get(group).map_or(Some(""), |part| std::str::from_utf8(part.as_bytes()).ok())
}

fn pieces(to: &str, from: &Regex) -> Result<Vec<Piece>, PatternError> {
    if !to.starts_with('/') {
        return Err(PatternError::To("it begins with `/`"));
    }
    if to.contains(['?', '#']) {
        return Err(PatternError::To("it is a path: the query stays as it is"));
    }
    let mut pieces = Vec::new();
    let mut rest = to;
    while let Some((text, after)) = rest.split_once('{') {
        let unclosed = PatternError::To("a group is written `{1}` or `{name}`");
        let (group, after) = after.split_once('}').ok_or(unclosed)?;
        let number = match group.parse::<usize>() {
            Ok(number) => Some(number).filter(|number| *number < from.captures_len()),
            Err(_) => from.capture_names().position(|name| name == Some(group)),
        };
        pieces.push(Piece::Text(text.to_owned()));
        pieces.push(Piece::Group(number.ok_or_else(|| PatternError::NoGroup(group.to_owned()))?));
        rest = after;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    // What stands between the groups is spelled as it would be forwarded.
    let spelled = pieces.iter().all(|piece| match piece {
        Piece::Text(text) => {
            canonicalize(&format!("/x{text}x")).is_ok_and(|one| *one.path == format!("/x{text}x"))
        }
        Piece::Group(_) => true,
    });
    if spelled { Ok(pieces) } else { Err(PatternError::To("it is not in canonical form")) }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From(error) => f.write_str(error.lines().last().unwrap_or(error)),
            Self::NoGroup(group) => write!(f, "the pattern has no group `{group}`"),
            Self::To(why) => f.write_str(why),
        }
    }
}

impl fmt::Display for RewriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotCanonical => "what it is rewritten to is no canonical path",
            Self::TooLong => "what it is rewritten to is longer than a path may be",
        })
    }
}

/// Why a text is no prefix of paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixError {
    /// It has no canonical form.
    Path(PathError),
    /// It has one, and it is another.
    Spelling,
    /// It ends in a slash, or is nothing but one.
    Slash,
    /// A segment is longer than routes look at.
    TooLong,
}

/// Checks a prefix of paths: canonical, whole segments, no slash at its end.
///
/// # Errors
/// [`PrefixError`]
pub fn prefix(text: &str) -> Result<(), PrefixError> {
    let canonical = canonicalize(text).map_err(PrefixError::Path)?;
    if *canonical.path != *text || canonical.doubtful {
        return Err(PrefixError::Spelling);
    }
    if text.ends_with('/') {
        return Err(PrefixError::Slash);
    }
    let mut buffer = [0; LONGEST_SEGMENT];
    let fits = |segment: &str| {
        decode_segment(segment, &mut buffer).is_some_and(|s| s.len() <= LONGEST_SEGMENT)
    };
    if text.split('/').all(fits) { Ok(()) } else { Err(PrefixError::TooLong) }
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(error) => error.fmt(f),
            Self::Spelling => f.write_str("it is not in canonical form"),
            Self::Slash => f.write_str("it ends in a slash"),
            Self::TooLong => f.write_str("a segment of it is too long"),
        }
    }
}

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;

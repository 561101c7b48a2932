//! Revocations as text: one JSON object a line, in the operator's file, over the admin address and
//! in what is kept over a restart.
//!
//! Strict, since a line that is misread is a token that goes on: names stand once, none is unknown,
//! and of a text with one bad line nothing counts.

use std::fmt;

use serde_json::{Map, Value};

use super::{Kind, MAX_ENTRIES, MAX_VALUE, Revocation};
use crate::auth::claims::{numeric_date, parse_object, scalar_id};
use crate::clock::UnixTime;

/// Reads lines such as `{"issuer":"main","sub":"ada","before":1800000000}`; empty ones and those
/// that begin with `#` say nothing. A `sub` without `before` means up to `now`; without `now`, as
/// in a file that is read at any time, it is an error.
///
/// # Errors
/// The first line that is none, or more than [`MAX_ENTRIES`].
pub fn parse_lines(text: &str, now: Option<UnixTime>) -> Result<Vec<Revocation>, LinesError> {
    let mut list = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if list.len() == MAX_ENTRIES {
            return Err(LinesError { line, error: LineError::TooMany });
        }
        list.push(parse(text, now).map_err(|error| LinesError { line, error })?);
    }
    Ok(list)
}

/// Why a text says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinesError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub error: LineError,
}

/// What can be wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError {
    /// `before` is missing, is no time, or stands beside what is no `sub`.
    Before,
    /// `issuer` is missing or no string.
    Issuer,
    /// Not one JSON object whose names stand once.
    NotObject,
    /// Not exactly one of `jti`, `sub` and `kid`, or no string (nor number) of up to 1024 bytes.
    Subject,
    /// More lines than the list has room for.
    TooMany,
    /// A name that says nothing here.
    UnknownName,
    /// `until` is no time, or missing beside `jti`.
    Until,
}

impl fmt::Display for LinesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.error)
    }
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "`before` must be seconds since 1970, and stand beside `sub` alone",
            Self::Issuer => "`issuer` must be an issuer's name in the configuration",
            Self::NotObject => "not a JSON object whose names stand once",
            Self::Subject => "one of `jti`, `sub` and `kid` is needed, of up to 1024 bytes",
            Self::TooMany => "more entries than there is room for",
            Self::UnknownName => "a name other than issuer, jti, sub, kid, before and until",
            Self::Until => "`until` must be seconds since 1970; `jti` needs it: the token's `exp`",
        })
    }
}

impl std::error::Error for LinesError {}

impl Revocation {
    /// As [`parse_lines`] reads it, on one line.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut line = Map::new();
        line.insert("issuer".to_owned(), self.issuer.as_str().into());
        line.insert(self.kind.as_str().to_owned(), self.value.as_str().into());
        for (name, at) in [("before", self.before), ("until", self.until)] {
            if let Some(at) = at {
                line.insert(name.to_owned(), at.as_secs().into());
            }
        }
        line
    }
}

fn parse(text: &str, now: Option<UnixTime>) -> Result<Revocation, LineError> {
    let members = parse_object(text.as_bytes()).map_err(|_| LineError::NotObject)?;
    let known = ["issuer", "jti", "sub", "kid", "before", "until"];
    if members.keys().any(|name| !known.contains(&name.as_str())) {
        return Err(LineError::UnknownName);
    }
    let issuer = members.get("issuer").and_then(Value::as_str).ok_or(LineError::Issuer)?;
    let (kind, value) = subject(&members)?;
    let time = |name: &str, otherwise: LineError| {
        let value = members.get(name);
        value.map(|value| seconds(value).ok_or(otherwise)).transpose()
    };
    let before = match (kind, time("before", LineError::Before)?) {
        (Kind::Sub, Some(before)) => Some(before),
        (Kind::Sub, None) => Some(now.ok_or(LineError::Before)?),
        (Kind::Jti | Kind::Kid, None) => None,
        (Kind::Jti | Kind::Kid, Some(_)) => return Err(LineError::Before),
    };
    let until = time("until", LineError::Until)?;
    if kind == Kind::Jti && until.is_none() {
        return Err(LineError::Until);
    }
    Ok(Revocation { issuer: issuer.to_owned(), kind, value, before, until })
}

fn subject(members: &Map<String, Value>) -> Result<(Kind, String), LineError> {
    let mut named = Kind::ALL.iter().filter_map(|kind| Some((*kind, members.get(kind.as_str())?)));
    let (kind, value) = named.next().ok_or(LineError::Subject)?;
    let value = scalar_id(value).ok_or(LineError::Subject)?;
    let fits = (1..=MAX_VALUE).contains(&value.len());
    if named.next().is_some() || !fits { Err(LineError::Subject) } else { Ok((kind, value)) }
}

fn seconds(value: &Value) -> Option<UnixTime> {
    numeric_date(value).map(UnixTime::from_secs)
}

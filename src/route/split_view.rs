//! The split-view guard: whether everybody who reads a path would send it to the same route.
//!
//! A server in front of this gateway, or the application behind it, may read `%2F`, `;` or `//`
//! otherwise than the table does. Where any reading leads to another route, the request's policy
//! would depend on the reader: it is refused. Where all lead to one, the path is harmless, and
//! GitLab's `/projects/group%2Fname` works.

use std::fmt;

use hyper::Method;

use super::table::{Found, Table};
use crate::http::PathError;
use crate::http::readings::readings;

/// Why a path is ambiguous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Split<T> {
    /// A reading leads elsewhere.
    Elsewhere {
        /// What somebody reads.
        reading: String,
        /// Where that leads.
        found: Found<T>,
    },
    /// There are more readings than can be looked at.
    TooMany(PathError),
}

impl<T> fmt::Display for Split<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere { reading, .. } => write!(f, "some read it as `{reading}`"),
            Self::TooMany(_) => f.write_str("it can be read in too many ways"),
        }
    }
}

/// Whether every reading of `raw_path` leads to what the canonical one `found`.
///
/// A reading that still has dot segments counts only if it leads to *another route*: a reader who
/// does not resolve dots knows no such path, unless he compares its beginning.
///
/// # Errors
/// The first reading that leads elsewhere.
pub fn agree<T: Copy + PartialEq>(
    table: &Table<T>,
    listener: usize,
    host: &str,
    raw_path: &str,
    method: &Method,
    found: &Found<T>,
) -> Result<(), Split<T>> {
    for reading in readings(raw_path).map_err(Split::TooMany)? {
        let theirs = table.find(listener, host, &reading.path, method);
        let leads_elsewhere = match (found, &theirs) {
            (Found::Route(ours), Found::Route(theirs)) => ours != theirs,
            (Found::MethodNotAllowed(_) | Found::None, Found::Route(_)) => true,
            (Found::MethodNotAllowed(_), Found::MethodNotAllowed(_))
            | (Found::None, Found::None) => false,
            (Found::Route(_), Found::MethodNotAllowed(_) | Found::None)
            | (Found::MethodNotAllowed(_), Found::None)
            | (Found::None, Found::MethodNotAllowed(_)) => !reading.has_dots,
        };
        if leads_elsewhere {
            return Err(Split::Elsewhere { reading: reading.path, found: theirs });
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "split_view_tests.rs"]
mod tests;

//! The split-view guard: whether everybody who reads a path would send it to the same route.
//!
//! A server in front of this gateway, or the application behind it, may read `%2F`, `;` or `//`
//! otherwise than the table does. Where any reading leads to another route, the request's policy
//! would depend on the reader: it is refused. Where all lead to one, the path is harmless, and
//! GitLab's `/projects/group%2Fname` works.

use std::fmt;

use hyper::Method;

use super::rewrite::{Rewrite, Rewritten};
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
    /// A pattern made it, so that nobody can say what its other readings were made from.
    ByPattern,
    /// There are more readings than can be looked at.
    TooMany(PathError),
}

impl<T> fmt::Display for Split<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere { reading, .. } => write!(f, "some read it as `{reading}`"),
            Self::ByPattern => f.write_str("as it is rewritten it can be read in several ways"),
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
        if leads_elsewhere(found, &theirs, reading.has_dots) {
            return Err(Split::Elsewhere { reading: reading.path, found: theirs });
        }
    }
    Ok(())
}

fn leads_elsewhere<T: PartialEq>(ours: &Found<T>, theirs: &Found<T>, has_dots: bool) -> bool {
    match (ours, theirs) {
        (Found::Route(ours), Found::Route(theirs)) => ours != theirs,
        (Found::MethodNotAllowed(_) | Found::None, Found::Route(_)) => true,
        (Found::MethodNotAllowed(_), Found::MethodNotAllowed(_)) | (Found::None, Found::None) => {
            false
        }
        (Found::Route(_), Found::MethodNotAllowed(_) | Found::None)
        | (Found::MethodNotAllowed(_), Found::None)
        | (Found::None, Found::MethodNotAllowed(_)) => !has_dots,
    }
}

/// Where a request is looked up.
#[derive(Debug)]
pub struct At<'a, T> {
    /// The routes.
    pub table: &'a Table<T>,
    /// By slot.
    pub listener: usize,
    /// In canonical form.
    pub host: &'a str,
    /// The request's.
    pub method: &'a Method,
}

/// Whether everybody who reads a path that `route` has rewritten comes to what `route` forwards.
///
/// A reading is taken back to the path that it would have been made from: that has to lead to
/// `route` as well, and there has to be one. And no reading may be a path of a `rival`,
/// which forwards to the same application and asks for another token.
///
/// # Errors
/// The first reading that leads elsewhere.
pub fn agree_rewritten<T: Copy + PartialEq>(
    at: &At<'_, T>,
    route: T,
    rewrite: &Rewrite,
    rewritten: &Rewritten,
    rival: &impl Fn(&str) -> Option<T>,
) -> Result<(), Split<T>> {
    let find = |path: &str| at.table.find(at.listener, at.host, path, at.method);
    let elsewhere = |reading: &str, found| Split::Elsewhere { reading: reading.to_owned(), found };
    if let Some(other) = rival(&rewritten.path) {
        return Err(elsewhere(&rewritten.path, Found::Route(other)));
    }
    if !rewritten.doubtful {
        return Ok(());
    }
    if rewritten.by_pattern {
        return Err(Split::ByPattern);
    }
    for reading in readings(&rewritten.path).map_err(Split::TooMany)? {
        if let Some(other) = rival(&reading.path) {
            return Err(elsewhere(&reading.path, Found::Route(other)));
        }
        let Some(from) = rewrite.undo(&reading.path) else {
            return Err(elsewhere(&reading.path, Found::None));
        };
        let theirs = find(&from);
        if leads_elsewhere(&Found::Route(route), &theirs, reading.has_dots) {
            return Err(elsewhere(&reading.path, theirs));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "split_view_tests.rs"]
mod tests;

//! Files of a folder, as a route's action.
//!
//! 1. the method: GET and HEAD read, OPTIONS tells so, the rest is refused ([`serve`])
//! 2. the canonical path becomes a name below the folder, or nothing (`resolve`)
//! 3. the name is opened below the folder's handle, and nowhere else (`containment`)
//! 4. a directory leads to its index, what is missing to the fallback page (`resolve`)
//! 5. conditions and range decide what of the file is sent (`validators`, `range`)
//! 6. the head is made (`reply`), the bytes follow in chunks (`body`)
//!
//! Steps 3 to 6 run on a blocking thread: no file is opened, looked at or read on a worker's own.
//!
//! Trusts the operator's settings and the folder's content. Trusts nothing of the request beyond
//! its having been authorized: the folder comes out of the permit. Refuses names that begin with a
//! dot (but `.well-known` at the top), names that look like backups, keys or sources, everything
//! that is not a regular file, and symbolic links that lead out of the folder.

mod body;
mod containment;
mod folder;
mod manifest;
mod range;
mod reply;
mod resolve;
mod validators;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::Arc;

use hyper::header::HeaderMap;
use hyper::{Method, Response};

pub use body::Body;
pub use folder::{CacheControl, Files, FilesError, Settings};
pub use reply::ALLOW;

use crate::auth::Permit;
use resolve::Wanted;
use validators::Conditions;

/// What of a request matters to a folder.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The method as received.
    pub method: &'a Method,
    /// The request's header fields; conditions, `Range` and `Accept` are read.
    pub headers: &'a HeaderMap,
    /// The canonical path, the route's own prefix included.
    pub path: &'a str,
    /// The query without its `?`, for redirects only.
    pub query: Option<&'a str>,
}

/// Answers `ask` from the folder that `permit` allows.
///
/// 200, 204, 206, 304, 308, 412 and 416 are replies; what the gateway answers in its own form is a
/// [`Refusal`].
///
/// # Errors
/// The method is not for files, there is no such file, or it could not be read.
pub async fn serve(permit: Permit<'_, Files>, ask: Ask<'_>) -> Result<Response<Body>, Refusal> {
    let head = match *ask.method {
        Method::GET => false,
        Method::HEAD => true,
        Method::OPTIONS => return Ok(reply::options()),
        _ => return Err(Refusal::MethodNotAllowed),
    };
    let folder = Arc::clone(permit.action().folder());
    let wanted = Wanted::new(&folder, ask).ok_or(Refusal::NotFound)?;
    let conditions = Conditions::new(ask.headers, head);
    let audience = match permit.principal() {
        Some(_) => reply::Audience::Principal,
        None => reply::Audience::Public,
    };
    let answer = move || {
        let found = resolve::find(&folder, &wanted).map_err(Refusal::Io)?;
        reply::answer(&folder, wanted, found, &conditions, reply::Form { head, audience })
    };
    match tokio::task::spawn_blocking(answer).await {
        Ok(answer) => answer,
        Err(stopped) => Err(Refusal::Io(io::Error::other(stopped))),
    }
}

/// Why a folder has no reply of its own.
#[derive(Debug)]
pub enum Refusal {
    /// The file is there but could not be opened or read.
    Io(io::Error),
    /// Neither GET, HEAD nor OPTIONS; [`ALLOW`] names what is allowed.
    MethodNotAllowed,
    /// No such file, or none that is shown.
    NotFound,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the file could not be read: {error}"),
            Self::MethodNotAllowed => f.write_str("files can only be read"),
            Self::NotFound => f.write_str("no such file"),
        }
    }
}

impl std::error::Error for Refusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::MethodNotAllowed | Self::NotFound => None,
        }
    }
}

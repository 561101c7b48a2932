//! Files of a folder, as a route's action.
//!
//! 1. the method: GET and HEAD read, OPTIONS tells so, the rest is refused ([`serve`])
//! 2. the canonical path becomes a name below the folder, or nothing (`resolve`)
//! 3. what is known of it is in memory (`cache`): then step 6 is next, and nothing blocks
//! 4. the name is opened below the folder's handle, and nowhere else (`containment`)
//! 5. a directory leads to its index, what is missing to the fallback page (`resolve`); a file has
//!    representations, plain and encoded (`asset`)
//! 6. the client's encoding, conditions and ranges decide what is sent (`validators`, `range`)
//! 7. the head is made (`reply`), the bytes follow, at once or in chunks (`body`)
//!
//! Steps 4 to 7 run on a blocking thread: no file is opened, looked at or read on a worker's own.
//!
//! Trusts the operator's settings and the folder's content. Trusts nothing of the request beyond
//! its having been authorized: the folder comes out of the permit. Refuses names that begin with a
//! dot (but `.well-known` at the top), names that look like backups, keys or sources, everything
//! that is not a regular file, and symbolic links that lead out of the folder.

mod asset;
mod body;
mod cache;
mod containment;
mod folder;
mod listing;
mod manifest;
mod media_type;
pub mod range;
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
pub use cache::Cache;
pub use folder::{CacheControl, Files, FilesError, Settings};
pub use reply::ALLOW;
pub use validators::lists_tag;

use asset::{By, Loaded};
use body::Content;
use folder::Folder;
use reply::{Audience, Form};
use resolve::{Found, Wanted};
use validators::Conditions;

use crate::auth::Permit;
use crate::http::Accepted;

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
    let folder = permit.action().folder();
    let form = Form {
        head,
        audience: match permit.principal() {
            None if !folder.internal => Audience::Public,
            Some(_) | None => Audience::Principal,
        },
        accepted: Accepted::of(ask.headers),
        conditions: Conditions::new(ask.headers, head),
    };
    if let Some(reply) = known(folder, &ask, &form) {
        return Ok(reply);
    }
    let wanted = Wanted::new(folder, ask).ok_or(Refusal::NotFound)?;
    let folder = Arc::clone(folder);
    match tokio::task::spawn_blocking(move || look(&folder, wanted, &form)).await {
        Ok(answer) => answer,
        Err(stopped) => Err(Refusal::Io(io::Error::other(stopped))),
    }
}

/// The reply from memory alone.
fn known(folder: &Folder, ask: &Ask<'_>, form: &Form) -> Option<Response<Body>> {
    let cache = folder.cache.as_ref()?;
    let below = resolve::below(folder, ask.path)?;
    let decoded;
    let key = if memchr::memchr(b'%', below.as_bytes()).is_none() {
        below.as_bytes()
    } else {
        decoded = Wanted::new(folder, *ask)?.key();
        &decoded
    };
    let asset = cache.find(folder.id, key, folder.clock.wall())?;
    let chosen = asset.choose(form.accepted);
    let bytes = chosen.kept.clone()?;
    reply::send(folder, &asset, chosen, form, || Ok(Content::Memory(bytes))).ok()
}

/// The reply from the files. Blocks.
fn look(folder: &Folder, wanted: Wanted, form: &Form) -> Result<Response<Body>, Refusal> {
    let found = resolve::find(folder, &wanted).map_err(Refusal::Io)?;
    let cache = folder.cache.as_ref();
    let (name, by, opened) = match found {
        Found::File { name, by, opened } => (name, by, opened),
        Found::Listing => {
            let page = listing::page(folder, &wanted.name).map_err(Refusal::Io)?;
            return Ok(reply::listing(page, form));
        }
        Found::Missing | Found::Redirect => {
            if let Some(cache) = cache {
                cache.forget(folder.id, &wanted.key());
            }
            // Of an internal folder's paths a client learns nothing.
            let directory = matches!(found, Found::Redirect) && !folder.internal;
            let redirect = directory.then(|| reply::redirect(folder, wanted, form));
            return redirect.ok_or(Refusal::NotFound);
        }
    };
    let loaded = Loaded::new(folder, &name, by, opened);
    let (asset, files) = match cache {
        // What is missing has as many names as anybody likes.
        Some(cache) if by != By::Fallback => {
            cache.keep(folder.id, wanted.key(), loaded, folder.clock.wall())
        }
        Some(_) | None => (Arc::new(loaded.asset), loaded.files),
    };
    let chosen = asset.choose(form.accepted);
    let content = || {
        let content = asset::content(&asset, files, chosen.coding);
        content.ok_or_else(|| io::Error::other("not one of its representations"))
    };
    reply::send(folder, &asset, chosen, form, content).map_err(Refusal::Io)
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

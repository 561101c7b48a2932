//! Actions that need neither an application nor a folder.
//!
//! Each takes a permit, as every action does: what is answered here was authorized.

use bytes::Bytes;
use hyper::Response;
use hyper::header::{CACHE_CONTROL, HeaderValue};

use crate::auth::Permit;
use crate::snapshot::plan::Verify;

/// Tells a proxy that the request it asks about may pass, and whose it is.
///
/// The identity headers are the principal's and nobody else's: those that came with the question
/// were deleted before the route was known. A claim that is absent makes no header, so the proxy
/// has to delete the client's own copy; docs/forward-auth.md says how each of them does.
pub(crate) fn verify(permit: &Permit<'_, Verify>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    for (name, value) in permit.principal().iter().flat_map(|principal| principal.identity()) {
        headers.insert(name, value.clone());
    }
    // It is an answer about this token and this moment.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

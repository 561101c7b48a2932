//! (skeleton: the auth module defines the real one)
use hyper::header::{HeaderName, HeaderValue};
/// Whom the request acts for, after verification.
#[derive(Debug)]
pub struct Principal {
    pub(in crate::auth) identity: Vec<(HeaderName, HeaderValue)>,
}
impl Principal {
    /// Identity headers for the application, computed once at verification.
    pub fn identity(&self) -> &[(HeaderName, HeaderValue)] {
        &self.identity
    }
}

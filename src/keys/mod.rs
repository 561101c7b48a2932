//! Keys: whose signatures count, where the keys come from, and how they stay fresh.
//!
//! Owns the live key set of each issuer, the fetches that keep it, and every check a key passes
//! before a signature may be verified with it. Trusts only URLs, files and secrets from the
//! configuration; what an issuer sends is data of a stranger: bounded, parsed key by key, and
//! refused key by key.
//!
//! Read [`KeySet`] first: request paths see nothing else. `refresher` decides when to fetch,
//! `fetch` fetches, [`jwks`] and [`jwk`] say what of it may be used.

mod algorithm;
mod fetch;
mod files;
pub mod jwk;
pub mod jwks;
mod key_set;
mod pem;
mod refresher;
mod secret;
pub mod signing;
mod source;
mod store;
mod weakness;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use fetch::{FetchError, MAX_DOCUMENT};
pub use jwk::Key;
pub use key_set::{Found, Freshness, KeySet, KeySetStatus, MAX_CANDIDATES, RemoteStatus};
pub use pem::{KeyError, from_pem, published};
pub use secret::{MIN_SECRET, WeakSecret, from_secret};
pub use source::{Refresh, RefreshSettings, Source, SourceError, UrlError};
pub use store::Store;

#[cfg(test)]
mod tests;

//! TLS: who we are to clients ([`certificate`], [`server`], [`tickets`]), who they have to be
//! ([`client_auth`]), and what we demand of the servers we call ([`client`]).
//!
//! Everything here is built from files and settings while a configuration is loaded and shared,
//! immutable, by every connection after it. One provider (aws-lc-rs) is named explicitly, so no
//! process-wide default has to be installed first. Refused: versions before TLS 1.2, 0-RTT data
//! (replay), a certificate whose key does not fit it.

pub mod certificate;
pub mod client;
pub mod client_auth;
mod client_names;
pub mod server;
pub mod tickets;

#[cfg(test)]
#[path = "../../tests/support/authority.rs"]
pub(crate) mod authority;

//! TLS: who we are to clients ([`certificate`], [`server`], [`tickets`]), and what we demand of the
//! servers we call ([`client`]).
//!
//! Everything here is built from files and settings while a configuration is loaded and shared,
//! immutable, by every connection after it. One provider (aws-lc-rs) is named explicitly, so no
//! process-wide default has to be installed first. Refused: versions before TLS 1.2, 0-RTT data
//! (replay), a certificate whose key does not fit it.

pub mod certificate;
pub mod client;
pub mod server;
pub mod tickets;

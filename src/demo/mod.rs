//! The companions of `portcullis demo`: an issuer, an application and a certificate of its own.
//!
//! Issuer and application are ordinary HTTP servers on loopback; the gateway reaches them through
//! listener, pool and key fetch like any other, and nothing on the request path knows of them.
//! They refuse any address but loopback's: their user, password and keys protect nothing.

pub mod application;
pub mod certificate;
pub mod files;
pub mod issuer;
mod loopback;

pub use loopback::Server;

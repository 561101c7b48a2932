//! Limits on how much one client may ask for.
//!
//! Owns the accounts behind rate limits and the bad-token guard, and no policy: who is limited, by
//! what, and what a refusal looks like is decided elsewhere. Memory is bounded whatever clients
//! send.

pub mod concurrency;
pub mod rate;

pub use concurrency::{Concurrency, Place};
pub use rate::{Account, Limiter, Quota, Wait};

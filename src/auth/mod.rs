//! (skeleton)
pub mod policy;
pub mod principal;
pub use policy::{Guarded, Permit, Policy};
pub use principal::Principal;

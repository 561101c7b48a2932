//! Tests of this folder that are longer than what they test: keys against published and foreign
//! vectors, and live key sets against a real server on loopback.

mod files;
mod hostile;
mod issuer;
mod key_set;
mod store;
mod vectors;
mod wycheproof;

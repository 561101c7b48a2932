//! Session tickets: what lets a returning client skip the full handshake.
//!
//! Owned by the application for the life of the process and handed to each new configuration, so
//! that a reload does not make every client start over. The keys never leave memory; they rotate
//! every six hours and the one before is still accepted. One set of keys must not serve two
//! policies about client certificates: a ticket earned under the lax one would open the strict one
//! (CVE-2025-23419).

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;

/// The keys under which tickets are made and read; cheap to clone, clones share the keys.
#[derive(Clone)]
pub struct Tickets(Arc<dyn ProducesTickets>);

impl Tickets {
    /// Fresh keys.
    ///
    /// # Errors
    /// If the system has no random bytes.
    pub fn new() -> Result<Self, rustls::Error> {
        Ticketer::new().map(Self)
    }

    pub(super) fn producer(&self) -> Arc<dyn ProducesTickets> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets(..)")
    }
}

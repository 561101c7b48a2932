//! Session tickets: what lets a returning client skip the full handshake.
//!
//! Owned by the application for the life of the process and handed to each new configuration, so
//! that a reload does not make every client start over. The keys never leave memory; they rotate
//! every six hours and the one before is still accepted. A ticket carries the client's certificate
//! along unasked, so one set of keys never serves two policies about those: a ticket earned under
//! the lax one would open the strict one (CVE-2025-23419), and one earned before a revocation
//! would outlive it.

use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;

use super::client_auth::PolicyId;

/// The keys under which tickets are made and read, one set for each policy about client
/// certificates.
pub struct Tickets {
    /// Of listeners that ask for no certificate.
    open: Arc<dyn ProducesTickets>,
    /// Of the others; a set is gone when no listener's settings hold it any more.
    others: Mutex<Vec<(PolicyId, Weak<dyn ProducesTickets>)>>,
}

impl Tickets {
    /// Fresh keys.
    ///
    /// # Errors
    /// If the system has no random bytes.
    pub fn new() -> Result<Self, rustls::Error> {
        Ok(Self { open: Ticketer::new()?, others: Mutex::default() })
    }

    /// The keys of a policy: the same for as long as anybody uses them.
    pub(super) fn of(
        &self,
        policy: Option<PolicyId>,
    ) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
        let Some(policy) = policy else { return Ok(Arc::clone(&self.open)) };
        let mut others = self.others.lock();
        others.retain(|(_, keys)| keys.strong_count() > 0);
        let known = others.iter().find(|(of, _)| *of == policy);
        if let Some(keys) = known.and_then(|(_, keys)| keys.upgrade()) {
            return Ok(keys);
        }
        let keys = Ticketer::new()?;
        others.push((policy, Arc::downgrade(&keys)));
        Ok(keys)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h23_each_policy_has_its_own_keys_as_long_as_it_is_used() {
        let tickets = Tickets::new().unwrap();
        let (one, other) = (PolicyId::of(&[b"one"]), PolicyId::of(&[b"other"]));
        let open = tickets.of(None).unwrap();
        let first = tickets.of(Some(one)).unwrap();
        let sealed = first.encrypt(b"state").unwrap();
        assert_eq!(tickets.of(Some(one)).unwrap().decrypt(&sealed).unwrap(), b"state");
        assert_eq!(tickets.of(Some(other)).unwrap().decrypt(&sealed), None);
        assert_eq!(open.decrypt(&sealed), None);
        let sealed = open.encrypt(b"state").unwrap();
        assert_eq!(first.decrypt(&sealed), None);
        assert_eq!(tickets.of(None).unwrap().decrypt(&sealed).unwrap(), b"state");
        drop(first);
        tickets.of(Some(other)).unwrap();
        assert!(tickets.others.lock().len() <= 2, "what nobody uses is gone");
    }
}

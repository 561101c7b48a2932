//! (skeleton: the auth module defines the real one; the accessors of Permit stay)
use super::Principal;
use crate::clock::UnixTime;
use std::sync::Arc;
/// What a route demands.
#[derive(Debug)]
pub enum Policy {
    /// No token is read.
    Public,
}
/// An action behind its policy.
#[derive(Debug)]
pub struct Guarded<A> {
    policy: Policy,
    action: A,
}
/// Proof that `action` may be done, for `principal` if there is one.
#[derive(Debug)]
pub struct Permit<'s, A> {
    action: &'s A,
    principal: Option<Arc<Principal>>,
    valid_until: Option<UnixTime>,
}
/// Why not.
#[derive(Debug)]
pub struct Denial;
impl<A> Guarded<A> {
    pub(crate) fn new(policy: Policy, action: A) -> Self {
        Self { policy, action }
    }
    /// The only door to the action.
    pub fn authorize(
        &self,
        principal: Option<Arc<Principal>>,
        _now: UnixTime,
    ) -> Result<Permit<'_, A>, Denial> {
        match self.policy {
            Policy::Public => Ok(Permit { action: &self.action, principal, valid_until: None }),
        }
    }
}
impl<'s, A> Permit<'s, A> {
    /// What may be done.
    pub fn action(&self) -> &'s A {
        self.action
    }
    /// For whom.
    pub fn principal(&self) -> Option<&Arc<Principal>> {
        self.principal.as_ref()
    }
    /// Until when.
    pub fn valid_until(&self) -> Option<UnixTime> {
        self.valid_until
    }
}

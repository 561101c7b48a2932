//! The bad-token guard: who sends tokens that don't verify soon sends them for nothing.
//!
//! A verification costs up to some hundred microseconds (RSA-4096), and a token is made up in none:
//! without a guard, one client with random bytes keeps every core busy. So each refused token costs
//! its sender's account one, and while that is overdrawn no token of that sender is verified unless
//! it is in the cache. Good tokens cost nothing, nor does a token that could not be judged because
//! the issuer's keys are missing: an outage must not lock out whoever asks again.
//!
//! Asked before and charged after, so that a good token is never charged: of requests that are being
//! verified at the same moment, more than the budget may be bad.

use std::net::IpAddr;

use super::refusal::{Cause, Refusal};
use crate::clock::Clock;
use crate::limit::{Account, Limiter, Wait};

/// A client's account for bad tokens.
#[derive(Clone, Copy, Debug)]
pub struct BadTokens<'a> {
    /// Everybody's accounts.
    pub budget: &'a Limiter,
    /// Whose is charged.
    pub client: IpAddr,
}

impl BadTokens<'_> {
    /// Whether another token of this client may be verified.
    pub(in crate::auth) fn admit(&self, clock: &Clock) -> Result<(), Refusal> {
        self.budget
            .look(&Account::of(Some(self.client)), clock.now())
            .map_err(|Wait(wait)| Refusal::too_many_bad_tokens(wait))
    }

    /// Counts a token that did not verify.
    pub(in crate::auth) fn charge(&self, refusal: &Refusal, clock: &Clock) {
        if refusal.cause() != Cause::KeysUnavailable {
            // Overdrawn meanwhile by another request: it is no deeper for that.
            let account = Account::of(Some(self.client));
            let _overdrawn = self.budget.spend(&account, clock.now());
        }
    }
}

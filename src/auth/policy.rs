//! Authorization as a proof: the only door to a route's action.
//!
//! [`Guarded`] holds an action behind its policy, [`Permit`] is what opening it gives. Every field
//! of both is private to this file, so that no code path can reach an action without having been
//! through [`Guarded::authorize`], and a permit earned on one route cannot be spent on another.

use std::fmt;
use std::sync::Arc;

use super::issuer::IssuerSet;
use super::principal::Principal;
use super::refusal::Refusal;
use super::requirement::{Require, Unmet};
use crate::clock::UnixTime;
use crate::telemetry::labels::Reason;

/// What a route demands.
#[derive(Clone, Debug)]
pub enum Policy {
    /// A valid token, or none: a bad one is refused.
    Anonymous {
        /// Whose tokens count here.
        issuers: Arc<IssuerSet>,
    },
    /// Nothing: the token is neither read nor removed.
    Public,
    /// A valid token.
    Token {
        /// Whose tokens count here.
        issuers: Arc<IssuerSet>,
        /// What their claims must hold.
        require: Require,
    },
}

impl Policy {
    /// Whose tokens count; `None` where none is looked at.
    pub fn issuers(&self) -> Option<&Arc<IssuerSet>> {
        match self {
            Self::Anonymous { issuers } | Self::Token { issuers, .. } => Some(issuers),
            Self::Public => None,
        }
    }

    /// Whether a request passes of which authentication said this: one without any token, where
    /// the policy lets such requests pass.
    pub fn forgives(&self, refusal: &Refusal) -> bool {
        match self {
            Self::Anonymous { .. } => refusal.is_absence(),
            Self::Public | Self::Token { .. } => false,
        }
    }
}

impl fmt::Display for Policy {
    /// Who may, as `routes` shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous { issuers } => {
                write_names(issuers, f)?;
                f.write_str(", or anonymous")
            }
            Self::Public => f.write_str("public"),
            Self::Token { issuers, require } => {
                write_names(issuers, f)?;
                if !require.is_nothing() {
                    write!(f, ": {require}")?;
                }
                Ok(())
            }
        }
    }
}

fn write_names(issuers: &IssuerSet, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (place, issuer) in issuers.iter().enumerate() {
        f.write_str(if place == 0 { "" } else { ", " })?;
        f.write_str(issuer.name())?;
    }
    Ok(())
}

/// An action behind its policy.
#[derive(Debug)]
pub struct Guarded<A> {
    policy: Policy,
    action: A,
}

impl<A> Guarded<A> {
    /// Locks `action` behind `policy`; for the compilation of a snapshot alone.
    pub(crate) fn new(policy: Policy, action: A) -> Self {
        Self { policy, action }
    }

    /// What the door asks for. Reading it opens nothing.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The only door to the action.
    ///
    /// Asks again what `authenticate` established, since the two calls are apart: the principal's
    /// issuer is one of this route's, and its token still counts at `now`.
    ///
    /// # Errors
    /// Why this principal, or nobody, may not.
    pub fn authorize(
        &self,
        principal: Option<Arc<Principal>>,
        now: UnixTime,
    ) -> Result<Permit<'_, A>, Denial> {
        let for_nobody = Permit { action: &self.action, principal: None, valid_until: None };
        let (issuers, require) = match &self.policy {
            Policy::Anonymous { .. } if principal.is_none() => return Ok(for_nobody),
            Policy::Anonymous { issuers } => (issuers, None),
            // Nothing vouches for a principal that a public route did not ask for.
            Policy::Public => return Ok(for_nobody),
            Policy::Token { issuers, require } => (issuers, Some(require)),
        };
        let principal = principal.ok_or(Denial::Unauthenticated)?;
        if issuers.find(principal.issuer_fingerprint()).is_none() {
            return Err(Denial::ForeignIssuer);
        }
        let expires = principal.expires();
        if now >= expires {
            return Err(Denial::Expired);
        }
        if let Some(require) = require {
            require.check(principal.claims()).map_err(|unmet| match unmet {
                Unmet::Claim => Denial::Forbidden,
                Unmet::Scope(scope) => Denial::InsufficientScope { scope },
            })?;
        }
        Ok(Permit { action: &self.action, principal: Some(principal), valid_until: Some(expires) })
    }
}

/// Proof that `action` may be done, for `principal` if there is one.
#[derive(Debug)]
pub struct Permit<'s, A> {
    action: &'s A,
    principal: Option<Arc<Principal>>,
    valid_until: Option<UnixTime>,
}

impl<'s, A> Permit<'s, A> {
    /// What may be done.
    pub fn action(&self) -> &'s A {
        self.action
    }

    /// For whom; `None` on a public route, and for whoever is anonymous where that is allowed.
    pub fn principal(&self) -> Option<&Arc<Principal>> {
        self.principal.as_ref()
    }

    /// A permit for a part of what may be done. The part comes out of the action itself, whatever
    /// `choose` does: a reference to anything else does not live as the signature asks.
    pub fn narrow<B>(
        &self,
        choose: impl for<'a> FnOnce(&'a A) -> Option<&'a B>,
    ) -> Option<Permit<'s, B>> {
        let principal = self.principal.as_ref().map(Arc::clone);
        Some(Permit { action: choose(self.action)?, principal, valid_until: self.valid_until })
    }

    /// As [`Permit::narrow`], for a part that is always there.
    pub fn into_part<B>(self, choose: impl for<'a> FnOnce(&'a A) -> &'a B) -> Permit<'s, B> {
        Permit {
            action: choose(self.action),
            principal: self.principal,
            valid_until: self.valid_until,
        }
    }

    /// Until when: the token's `exp` plus the leeway; `None` without a principal.
    pub fn valid_until(&self) -> Option<UnixTime> {
        self.valid_until
    }
}

/// Why a policy does not let a principal through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The token ended between authentication and here.
    Expired,
    /// A claim is missing or has the wrong value.
    Forbidden,
    /// The principal's issuer is none of this route's.
    ForeignIssuer,
    /// These scopes would do.
    InsufficientScope {
        /// For the challenge: RFC 6749 `scope-token`s, one space between.
        scope: String,
    },
    /// No principal.
    Unauthenticated,
}

impl Denial {
    /// The word for bodies, logs and metrics.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Expired => Reason::TokenExpired,
            Self::Forbidden => Reason::Forbidden,
            Self::ForeignIssuer => Reason::UnknownIssuer,
            Self::InsufficientScope { .. } => Reason::InsufficientScope,
            Self::Unauthenticated => Reason::TokenMissing,
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("the token has expired"),
            Self::Forbidden => f.write_str("the claims do not satisfy the route's policy"),
            Self::ForeignIssuer => f.write_str("the token's issuer is none of the route's"),
            Self::InsufficientScope { scope } => write!(f, "scope `{scope}` is missing"),
            Self::Unauthenticated => f.write_str("no token was verified"),
        }
    }
}

impl std::error::Error for Denial {}

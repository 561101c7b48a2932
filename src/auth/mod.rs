//! Authentication and authorization: from a token's bytes to a principal, from a principal to a
//! permit.
//!
//! Two verbs, two results: [`authenticate`] turns a request's token into a [`Principal`] or a
//! [`Refusal`], [`Guarded::authorize`] turns a principal into a [`Permit`] or a [`Denial`]. Trusts
//! the configuration and the issuers' keys, nothing of the client's. Fails closed: every path that
//! is not a verified token ends in a refusal.

mod assertion;
mod bad_tokens;
mod claims;
mod describe;
mod handover;
mod identity;
mod issuer;
mod jws;
mod logout;
mod place;
pub mod policy;
pub mod principal;
mod refusal;
mod refusal_cache;
mod requirement;
pub mod revocation;
mod token;
mod token_cache;
pub mod verify;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::clock::{Clock, UnixTime};

pub use assertion::{Assertion, AssertionSettings, JWKS_PATH};
pub use bad_tokens::BadTokens;
pub use claims::{ClaimPath, ClaimPathError, Claims, numeric_date};
pub use handover::Owed;
pub use identity::IdentityHeaders;
pub use issuer::{
    Audience, ErrorStyle, ExpectedIss, Issuer, IssuerSet, IssuerSetError, IssuerSettings,
    TokenUpstream,
};
pub use jws::{Dissected, dissect, verify_jws};
pub use logout::{MAX_LOGOUT, Unreadable, revoked_by_logout};
pub use place::{Carrier, Place};
pub use policy::{Denial, Guarded, Permit, Policy};
pub use principal::Principal;
pub use refusal::{Cause, Refusal};
pub use requirement::{Clause, ClauseError, Require, Unmet};
pub use revocation::Revocations;
pub use token_cache::{LocalCache, TokenCache};
use verify::TokenUse;
pub use verify::{Finding, Lookup, Step, explain};

/// Whom a request acts for, and how that was known.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// Whom.
    pub principal: Arc<Principal>,
    /// Whether the token had been verified before.
    pub cached: bool,
    /// When that was judged.
    pub at: UnixTime,
}

/// What a verification draws on besides the request and the route's issuers.
#[derive(Clone, Copy, Debug)]
pub struct Resources<'a> {
    /// The tokens that any worker verified.
    pub cache: &'a TokenCache,
    /// The tokens that this worker met lately.
    pub local: &'a LocalCache,
    /// What the client's bad tokens are counted against; `None` where nobody counts.
    pub bad_tokens: Option<BadTokens<'a>>,
    /// The tokens that count no more.
    pub revocations: &'a Revocations,
    /// What time it is.
    pub clock: &'a Clock,
}

/// The principal of a request to a route that accepts the issuers of `set`.
///
/// Waits only where a key is not known, for the issuer's one shared fetch. Dropping the future is
/// safe at every point: what is remembered was judged to its end.
///
/// # Errors
/// No token, several, or one that does not verify or is revoked; or the client has sent too many
/// that do not verify.
pub async fn authenticate(
    set: &IssuerSet,
    carrier: Carrier<'_>,
    resources: Resources<'_>,
) -> Result<Authenticated, Refusal> {
    let authenticated = remembered_or_verified(set, carrier, resources).await?;
    // After the caches: what they remember was good once.
    counts(&authenticated.principal, resources.revocations, authenticated.at)?;
    Ok(authenticated)
}

/// Whether a principal's token still counts.
///
/// # Errors
/// It is revoked.
pub fn counts(
    principal: &Principal,
    revocations: &Revocations,
    now: UnixTime,
) -> Result<(), Refusal> {
    let checked = revocations.check(principal, now);
    checked.map_err(|cause| Refusal::new(cause, Some(principal.issuer_name().clone())))
}

async fn remembered_or_verified(
    set: &IssuerSet,
    carrier: Carrier<'_>,
    resources: Resources<'_>,
) -> Result<Authenticated, Refusal> {
    let Resources { cache, local, bad_tokens, clock, .. } = resources;
    let (token, set) = set.find_token(carrier)?;
    // Here already, since the cache's key is a hash of the whole token.
    verify::check_size(token, set.max_token_size())?;
    let key = token_cache::CacheKey::new(token, set);
    let now = clock.wall();
    if let Some(entry) = local.find(&key, set, now) {
        return Ok(Authenticated {
            principal: Arc::clone(entry.principal()),
            cached: true,
            at: now,
        });
    }
    if let Some(entry) = cache.find(&key, set, now) {
        let principal = Arc::clone(entry.principal());
        local.remember(key, entry);
        return Ok(Authenticated { principal, cached: true, at: now });
    }
    if let Some(bad_tokens) = &bad_tokens {
        bad_tokens.admit(clock)?;
    }
    let judged = match cache.refusal(&key, set, now) {
        Some(refusal) => Err(refusal),
        // Boxed: the path of a hit, which most requests take, keeps its future small.
        None => Box::pin(authenticate_anew(set, token, key, resources)).await,
    };
    // A refusal that is remembered costs the client's budget as the first one did.
    judged.inspect_err(|refusal| {
        if let Some(bad_tokens) = &bad_tokens {
            bad_tokens.charge(refusal, clock);
        }
    })
}

/// For a token that no cache knows.
async fn authenticate_anew(
    set: &IssuerSet,
    token: &str,
    key: token_cache::CacheKey,
    resources: Resources<'_>,
) -> Result<Authenticated, Refusal> {
    let Resources { cache, local, clock, .. } = resources;
    // Before any key is looked at: a refusal by keys that are replaced meanwhile must not last.
    let stamp = set.keys_stamp();
    let verifying = verify::verify(set, token, TokenUse::Access, Lookup::Refetch, clock, None);
    let verified = match verifying.await {
        Ok(verified) => verified,
        Err(refusal) => {
            cache.remember_refusal(key, stamp, &refusal, clock.wall());
            return Err(refusal);
        }
    };
    let principal = Arc::clone(&verified.principal);
    let at = clock.wall();
    if let Some(entry) = cache.remember(key, verified, at) {
        local.remember(key, entry);
    }
    Ok(Authenticated { principal, cached: false, at })
}

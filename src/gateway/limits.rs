//! How often who may come in: before authentication by address and header, after authorization by
//! claim.
//!
//! Before, so that a flood of bad requests costs nobody's signature; after, so that nobody spends
//! from the account of a token that is not theirs. What a request says decides only between
//! accounts: one that lacks the header or claim is counted for its address, since an account for
//! the nameless would be emptied by one of them, and none at all would be the way around the limit.

use hyper::header::{HeaderMap, HeaderValue};
use serde_json::Value;

use super::exchange::Exchange;
use super::reject::{RateLimited, Reject};
use crate::auth::{BadTokens, Principal};
use crate::clock::Clock;
use crate::limit::{Account, Wait};
use crate::snapshot::plan::{LimitBy, RateLimit, RoutePlan};
use crate::telemetry::labels::RateLimitResult;

/// Step 5: the limits that need no principal.
pub(super) fn admit(
    exchange: &mut Exchange,
    route: &RoutePlan,
    headers: &HeaderMap,
    clock: &Clock,
) -> Result<(), Reject> {
    for limit in &route.limits {
        let account = match &limit.by {
            LimitBy::Claim(_) => continue,
            LimitBy::Ip => None,
            LimitBy::Header(name) => {
                let values: Vec<_> =
                    headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
                Some(values).filter(|values| !values.is_empty()).map(Account::Header)
            }
        };
        spend(exchange, limit, account, clock)?;
    }
    Ok(())
}

/// Step 8: the limits by claim.
pub(super) fn admit_principal(
    exchange: &mut Exchange,
    route: &RoutePlan,
    principal: Option<&Principal>,
    clock: &Clock,
) -> Result<(), Reject> {
    for limit in &route.limits {
        let LimitBy::Claim(path) = &limit.by else { continue };
        let claim = principal.and_then(|principal| {
            let text = match principal.claims().find(path)? {
                Value::String(text) => text.clone(),
                Value::Bool(value) => value.to_string(),
                Value::Number(number) => number.to_string(),
                // No one name for an account; see the file's doc.
                Value::Null | Value::Array(_) | Value::Object(_) => return None,
            };
            Some((principal.issuer_name(), text))
        });
        // What one issuer calls `1` is not what another does.
        let account = claim.as_ref().map(|(issuer, text)| Account::Claim(issuer, text));
        spend(exchange, limit, account, clock)?;
    }
    Ok(())
}

impl Exchange {
    /// The account for bad tokens of whoever asks. A peer of a unix socket that nobody named has
    /// none: one for all of them would let each lock out the others.
    pub(super) fn bad_tokens(&self) -> Option<BadTokens<'_>> {
        let budget = self.snapshot().bad_tokens()?;
        Some(BadTokens { budget, client: self.account()? })
    }
}

fn spend(
    exchange: &mut Exchange,
    limit: &RateLimit,
    account: Option<Account<'_>>,
    clock: &Clock,
) -> Result<(), Reject> {
    let account = account.unwrap_or_else(|| Account::of(exchange.account()));
    match limit.limiter.spend(&account, clock.now()) {
        Ok(()) => {
            exchange.rate_limit = Some(RateLimitResult::Allowed);
            Ok(())
        }
        Err(Wait(wait)) => {
            exchange.rate_limit = Some(RateLimitResult::Limited);
            let by = limit.by.as_str();
            Err(Reject::RateLimited(RateLimited { by, quota: *limit.limiter.quota(), wait }))
        }
    }
}

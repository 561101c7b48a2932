//! Limits: the accounts behind a route's rates and behind the bad-token guard.
//!
//! Accounts of which nothing changed go on over a reload: a client that has spent its rate does not
//! get it back because somebody edited another route.

use std::sync::Arc;

use hyper::header::HeaderName;

use super::compile::Compiling;
use super::fingerprint::Fingerprint;
use super::plan::{LimitBy, RateLimit};
use crate::auth::ClaimPath;
use crate::config::{self, BadTokens, Diagnostic, RateLimits, Route};
use crate::http::Networks;
use crate::limit::{Limiter, Quota};

impl Compiling<'_> {
    /// The limits of a route, in the order of the file.
    pub(super) fn rate_limits(&mut self, at: usize, route: &Route) -> Option<Vec<RateLimit>> {
        let name = route.effective_name();
        let mut limits = Vec::new();
        for (place, limit) in route.rate_limit.iter().flat_map(RateLimits::iter).enumerate() {
            let rate = limit.rate;
            let burst = limit.burst.unwrap_or(rate.count);
            let quota = Quota { count: rate.count, period: rate.period, burst };
            let by = match &limit.by.value {
                config::LimitBy::Ip => Some(LimitBy::Ip),
                config::LimitBy::Header(name) => {
                    HeaderName::try_from(name.as_str()).ok().map(LimitBy::Header)
                }
                config::LimitBy::Claim(name) => name.parse::<ClaimPath>().ok().map(LimitBy::Claim),
            };
            let Some(by) = by else {
                // Reported while loading, but for what only a stricter reader minds.
                let problem = Diagnostic::error(limit.by.span.clone(), "nothing to count by");
                self.report(problem.path(format!("route[{at}].rate_limit")));
                return None;
            };
            let fingerprint =
                Fingerprint::new().add(&name).add(place).add(&limit.by.value).add(quota).finish();
            limits.push(RateLimit { by, limiter: self.limiter(fingerprint, quota) });
        }
        Some(limits)
    }

    /// Who may come in.
    pub(super) fn allow_ips(&self, route: &Route) -> Option<Networks> {
        let networks = route.allow_ips.as_ref()?;
        Some(Networks::new(networks.iter().map(|network| network.value), false))
    }

    /// The budget for bad tokens.
    pub(super) fn bad_tokens(&mut self) -> Option<Arc<Limiter>> {
        let budget = match &self.config.server.bad_tokens {
            BadTokens::Off => return None,
            BadTokens::Budget(budget) => budget,
        };
        let rate = budget.rate;
        let quota = Quota { count: rate.count, period: rate.period, burst: budget.burst };
        let fingerprint = Fingerprint::new().add("server.bad_tokens").add(quota).finish();
        Some(self.limiter(fingerprint, quota))
    }

    fn limiter(&mut self, fingerprint: u64, quota: Quota) -> Arc<Limiter> {
        let running = self.previous.and_then(|snapshot| {
            snapshot.limiters.iter().find(|(of, _)| *of == fingerprint).map(|(_, one)| one)
        });
        let now = self.surroundings.clock.now();
        let limiter = running.map_or_else(|| Arc::new(Limiter::new(quota, now)), Arc::clone);
        self.limiters.push((fingerprint, Arc::clone(&limiter)));
        limiter
    }
}

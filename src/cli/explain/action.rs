//! From a route to its action: admission, the token, the permit, and what is done with it.

use std::sync::Arc;

use hyper::header::LOCATION;
use hyper::{HeaderMap, Method, Uri};

use super::{Arrived, End, Story, answered, at, because, note, sent, tell};
use crate::auth::{self, Carrier, Guarded, IssuerSet, Permit, Principal, Refusal};
use crate::cli::known_keys::{self, Reach};
use crate::cli::token::show;
use crate::gateway::{Reject, hand_over, redirect_answer, steps, verify_answer};
use crate::snapshot::plan::{Action, LimitBy, Redirection, RoutePlan, Verify};
use crate::static_files::{self, Ask, Files};
use crate::telemetry::labels::Reason;

/// What authentication comes to, without a network.
enum Verdict {
    /// Good, or not needed.
    Passes(Option<Arc<Principal>>),
    /// Only a gateway that has fetched this issuer's keys can tell.
    Undecided(String),
}

impl Story<'_> {
    pub(super) fn preflight(
        &self,
        route: &RoutePlan,
        asked: &Method,
        arrived: &Arrived<'_>,
    ) -> String {
        tell("preflight", &format!("may the page send {asked}? Answered without a token"));
        pages(route, &arrived.parts.headers);
        "204".to_owned()
    }

    /// Steps 5 to 9; `target` is what is forwarded in the place of the one that was asked for.
    pub(super) fn serve(
        &self,
        route: &RoutePlan,
        arrived: &Arrived<'_>,
        target: Result<Option<Uri>, Reject>,
    ) -> Result<String, End> {
        self.admission(route, arrived)?;
        if let Some(path) = route.path_shown() {
            tell("rewrite", &path);
        }
        let target = target.map_err(because("rewrite", "what it makes may mean another route"))?;
        match &route.action {
            Action::Files(guarded) => match self.permit(guarded, route, arrived)? {
                Some(permit) => self.files(route, permit, arrived),
                None => Ok(format!("a file of {}, if the token is good", route.to)),
            },
            // Refused on admission.
            Action::Internal => Ok("404".to_owned()),
            Action::Redirect(guarded) => match self.permit(guarded, route, arrived)? {
                Some(permit) => self.redirected(route, guarded, &permit, arrived),
                None => Ok(format!("{}, if the token is good", route.to)),
            },
            Action::Verify(guarded) => match self.permit(guarded, route, arrived)? {
                Some(permit) => Ok(self.verified(&permit)),
                None => Ok("200, if the token is good".to_owned()),
            },
            Action::Proxy(guarded) => match self.permit(guarded, route, arrived)? {
                Some(permit) => sent::proxied(self, route, guarded, &permit, (arrived, target)),
                None => Ok(format!("what {} answers, if the token is good", route.to)),
            },
        }
    }

    fn admission(&self, route: &RoutePlan, arrived: &Arrived<'_>) -> Result<(), End> {
        let seen = &arrived.seen;
        steps::admit(self.snapshot, seen, route, &arrived.parts.headers).map_err(|reject| {
            let why = match &reject {
                Reject::BodyTooLarge => {
                    format!("Content-Length is more than max_body, {} bytes", route.max_body)
                }
                Reject::AddressNotAllowed => match (&route.action, seen.client()) {
                    (Action::Verify(_), _) => "only a trusted proxy may ask".to_owned(),
                    (_, Some(client)) => format!("allow_ips does not name {client}"),
                    (_, None) => "allow_ips, and nobody knows the client's address".to_owned(),
                },
                Reject::Files(_) => "only applications name its files (internal)".to_owned(),
                _ => "it has passed here before".to_owned(),
            };
            because("admission", why)(reject)
        })?;
        if arrived.parts.headers.contains_key(hyper::header::VIA) {
            tell("via", &"is another's, unless it names the running gateway: that would be a loop");
        }
        for limit in &route.limits {
            let quota = limit.limiter.quota();
            let when = match limit.by {
                LimitBy::Claim(_) => "after the token",
                LimitBy::Header(_) | LimitBy::Ip => "before the token",
            };
            tell(
                "limit",
                &format!(
                    "{} in {:?}, {} at once, by {}, {when}; a running gateway counts",
                    quota.count,
                    quota.period,
                    quota.burst,
                    limit.by.as_str()
                ),
            );
        }
        Ok(())
    }

    /// The only way to an action; `None` if only a running gateway knows.
    fn permit<'g, A>(
        &self,
        guarded: &'g Guarded<A>,
        route: &RoutePlan,
        arrived: &Arrived<'_>,
    ) -> Result<Option<Permit<'g, A>>, End> {
        tell("policy", guarded.policy());
        let principal = match self.authenticate(guarded, route, arrived)? {
            Verdict::Passes(principal) => principal,
            Verdict::Undecided(issuer) => {
                tell(
                    "token",
                    &format!("undecided: a running gateway fetches the keys of `{issuer}`"),
                );
                note(&"`portcullis token verify --fetch` asks for them");
                tell("action", &format!("{} {}", verb(&route.action), route.to));
                return Ok(None);
            }
        };
        let permit = guarded
            .authorize(principal, self.clock.wall())
            .map_err(|denial| at("policy")(Reject::Denied(denial)))?;
        for (name, value) in permit.principal().iter().flat_map(|who| who.identity()) {
            tell("identity", &format!("{name}: {}", value.to_str().unwrap_or("(not text)")));
        }
        Ok(Some(permit))
    }

    fn authenticate<A>(
        &self,
        guarded: &Guarded<A>,
        route: &RoutePlan,
        arrived: &Arrived<'_>,
    ) -> Result<Verdict, End> {
        let policy = guarded.policy();
        let Some(issuers) = policy.issuers() else { return Ok(Verdict::Passes(None)) };
        let carrier = Carrier {
            parts: &arrived.parts,
            scheme: arrived.seen.public().0,
            host: Some(&arrived.host),
            cors: route.cors.as_deref(),
            is_question: matches!(route.action, Action::Verify(_)),
        };
        let (token, issuers) = match issuers.find_token(carrier) {
            Ok(found) => found,
            Err(refusal) if policy.forgives(&refusal) => {
                tell("token", &"none, which this route lets pass");
                return Ok(Verdict::Passes(None));
            }
            Err(refusal) => return Err(at("token")(Reject::Auth(refusal))),
        };
        self.judge(issuers, token)
    }

    fn judge(&self, issuers: &IssuerSet, token: &str) -> Result<Verdict, End> {
        let Ok(runtime) = known_keys::runtime() else {
            return Err(at("token")(Reject::Internal));
        };
        let named: Vec<_> = issuers.iter().map(Arc::clone).collect();
        for line in known_keys::load(&runtime, &named, Reach::Local) {
            note(&format!("{:<11} {line}", "keys"));
        }
        let (findings, result) =
            runtime.block_on(auth::explain(issuers, token, auth::Lookup::Known, self.clock));
        show(&findings);
        let principal = match result {
            Ok(principal) => principal,
            Err(refusal) => {
                return match unfetched(issuers, &refusal) {
                    Some(issuer) => Ok(Verdict::Undecided(issuer)),
                    None => Err(at("token")(Reject::Auth(refusal))),
                };
            }
        };
        auth::counts(&principal, self.snapshot.revocations(), self.clock.wall())
            .map_err(|refusal| at("token")(Reject::Auth(refusal)))?;
        tell("token", &format!("ok (issuer {})", principal.issuer_name()));
        Ok(Verdict::Passes(Some(principal)))
    }

    fn files(
        &self,
        route: &RoutePlan,
        permit: Permit<'_, Files>,
        arrived: &Arrived<'_>,
    ) -> Result<String, End> {
        let parts = &arrived.parts;
        let ask = Ask {
            method: &parts.method,
            headers: &parts.headers,
            path: parts.uri.path(),
            query: parts.uri.query(),
        };
        let Ok(runtime) = known_keys::runtime() else { return Err(at("file")(Reject::Internal)) };
        let reply = runtime
            .block_on(static_files::serve(permit, ask))
            .map_err(|refusal| at("file")(Reject::Files(refusal)))?;
        tell("action", &format!("{} {}", verb(&route.action), route.to));
        pages(route, &parts.headers);
        Ok(answered(&reply))
    }

    fn redirected(
        &self,
        route: &RoutePlan,
        guarded: &Guarded<Redirection>,
        permit: &Permit<'_, Redirection>,
        arrived: &Arrived<'_>,
    ) -> Result<String, End> {
        let mut parts = arrived.parts.clone();
        let _owed = hand_over(guarded, permit, &mut parts);
        let secrets = self.snapshot.secret_parameters();
        let answer = redirect_answer(permit, &parts.uri, secrets)
            .map_err(|error| at("redirect")(Reject::Path(error)))?;
        tell("action", &format!("{} {}", verb(&route.action), route.to));
        if let Some(to) = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok()) {
            tell("location", &to);
        }
        Ok(answered(&answer))
    }

    fn verified(&self, permit: &Permit<'_, Verify>) -> String {
        tell("action", &"tell the proxy that the request it asks about may pass");
        answered(&verify_answer(permit))
    }
}

/// The issuer whose keys the verdict would need, if nobody has fetched them here.
fn unfetched(issuers: &IssuerSet, refusal: &Refusal) -> Option<String> {
    if !matches!(refusal.reason(), Reason::KeysUnavailable | Reason::UnknownKey) {
        return None;
    }
    let name = refusal.issuer()?;
    let issuer = issuers.iter().find(|issuer| **issuer.name() == *name)?;
    issuer.keys().status().remote.is_some().then(|| name.to_string())
}

/// What an action does, before where it leads.
pub(super) fn verb(action: &Action) -> &'static str {
    match action {
        Action::Files(_) => "serve a file of",
        Action::Internal => "hand out, for applications, files of",
        Action::Proxy(_) => "forward to",
        Action::Redirect(_) => "redirect:",
        Action::Verify(_) => "answer a proxy:",
    }
}

/// Whether the page that asks may read the answer.
pub(super) fn pages(route: &RoutePlan, headers: &HeaderMap) {
    let Some(cors) = &route.cors else { return };
    match cors.admit(headers) {
        Some(origin) => {
            let origin = origin.to_str().unwrap_or("(not text)");
            tell("cors", &format!("a page of {origin} may read the answer"));
        }
        None => tell("cors", &"no page of another origin may read the answer"),
    }
}

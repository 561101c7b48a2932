//! The verification of one token, in one visible order, for requests and for `explain` alike.
//!
//! 1. size, before anything is decoded
//! 2. three parts of canonical base64url
//! 3. the header, without extensions
//! 4. the claims, parsed once
//! 5. the issuers that `iss` selects among the route's; then, for each of them:
//! 6. type
//! 7. algorithm
//! 8. key
//! 9. signature
//! 10. `exp`, `nbf`, `iat`
//! 11. lifetime
//! 12. audience
//! 13. required claims
//! 14. identity headers
//!
//! Trusts the issuers' settings and keys. Until step 9 has passed, nothing of the token counts but
//! as a question; from then on a claim of the wrong type refuses it. There is no step whose failure
//! lets a token through.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::claims::{Claims, ObjectError, numeric_date, parse_object};
use super::describe;
use super::issuer::{Issuer, IssuerSet};
use super::principal::{Extract, Principal};
use super::refusal::{Cause, Refusal};
use super::token::{Header, Parts};
use crate::clock::{Clock, UnixTime};
use crate::keys::{Algorithm, Found, Key, KeySet};

/// Verifies `token` as a request's, and tells every step taken.
///
/// The same code as for requests, so that it cannot answer differently. Findings end at the first
/// step that fails, or go on with the next issuer if several are possible.
pub async fn explain(
    set: &IssuerSet,
    token: &str,
    lookup: Lookup,
    clock: &Clock,
) -> (Vec<Finding>, Result<Arc<Principal>, Refusal>) {
    let mut findings = Vec::new();
    let result = verify(set, token, TokenUse::Access, lookup, clock, Some(&mut findings)).await;
    (findings, result.map(|verified| verified.principal))
}

/// What `explain` says of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The step.
    pub step: Step,
    /// The name of the issuer whose settings the step applied, from [`Step::Type`] on.
    pub issuer: Option<Arc<str>>,
    /// What was found, or why the token fails here.
    pub outcome: Result<String, Cause>,
}

/// The steps, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The token's length.
    Size,
    /// Three parts of base64url.
    Parts,
    /// The header.
    Header,
    /// The claims.
    Claims,
    /// Whose token it says it is.
    Issuer,
    /// `typ`.
    Type,
    /// `alg`.
    Algorithm,
    /// The key to verify with.
    Key,
    /// The signature.
    Signature,
    /// `exp`.
    Expiry,
    /// `nbf`.
    NotBefore,
    /// `iat`.
    IssuedAt,
    /// From `iat` to `exp`.
    Lifetime,
    /// `aud`.
    Audience,
    /// What the issuer's settings require of the claims.
    Required,
    /// Subject, id and identity headers.
    Identity,
}

impl Step {
    /// Every step, in order.
    pub const ALL: &'static [Self] = &[
        Self::Size,
        Self::Parts,
        Self::Header,
        Self::Claims,
        Self::Issuer,
        Self::Type,
        Self::Algorithm,
        Self::Key,
        Self::Signature,
        Self::Expiry,
        Self::NotBefore,
        Self::IssuedAt,
        Self::Lifetime,
        Self::Audience,
        Self::Required,
        Self::Identity,
    ];

    /// The word in the output of `explain`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Parts => "parts",
            Self::Header => "header",
            Self::Claims => "claims",
            Self::Issuer => "issuer",
            Self::Type => "type",
            Self::Algorithm => "algorithm",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Expiry => "expiry",
            Self::NotBefore => "not_before",
            Self::IssuedAt => "issued_at",
            Self::Lifetime => "lifetime",
            Self::Audience => "audience",
            Self::Required => "required",
            Self::Identity => "identity",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a key may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Only from what is known: for `explain`, which opens no connection.
    Known,
    /// From the one shared fetch of the issuer too, if the key is not known.
    Refetch,
}

/// What a token is shown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::auth) enum TokenUse {
    /// To be let in: what the issuer's settings require holds.
    Access,
    /// To be taken back: what they require of access tokens does not hold, but that it is a refresh
    /// token.
    Refresh,
}

/// A token that passed every step.
#[derive(Debug)]
pub(in crate::auth) struct Verified {
    pub(in crate::auth) principal: Arc<Principal>,
    pub(in crate::auth) key: Arc<Key>,
    /// The key's set. Weak: a cached token must not keep the refresher of a removed issuer alive.
    pub(in crate::auth) keys: Weak<KeySet>,
    /// Before this, `nbf` or `iat` would refuse the token; a clock may be set back.
    pub(in crate::auth) valid_from: UnixTime,
}

/// The order itself.
pub(in crate::auth) async fn verify(
    set: &IssuerSet,
    token: &str,
    shown_for: TokenUse,
    lookup: Lookup,
    clock: &Clock,
    findings: Option<&mut Vec<Finding>>,
) -> Result<Verified, Refusal> {
    let mut run = Run::new(findings);
    let size = check_size(token, set.max_token_size());
    run.step(Step::Size, size, |()| format!("{} bytes", token.len()))?;
    let parts = Parts::split(token);
    let parts = run.step(Step::Parts, parts, |_| "three parts of base64url".to_owned())?;
    let header = run.step(Step::Header, Header::parse(&parts.header), describe::header)?;
    let claims = run.step(Step::Claims, parse_claims(&parts.claims), describe::claims)?;
    let issuers =
        run.step(Step::Issuer, set.candidates(&claims), |list| describe::issuers(list))?;

    let token = Token { text: token, shown_for, parts: &parts, header: &header, claims: &claims };
    let mut refused: Option<Stop> = None;
    let mut admitted = None;
    for issuer in issuers {
        run.issuer = Some(issuer.name().clone());
        match judge(issuer, &token, lookup, clock, &mut run).await {
            Ok(admission) => {
                admitted = Some((issuer, admission));
                break;
            }
            Err(stop) => refused = Some(stop.or_heavier(refused)),
        }
    }
    match (admitted, refused) {
        (Some((issuer, admission)), _) => Ok(admission.into_verified(issuer, claims)),
        (None, Some(stop)) => Err(stop.into()),
        // `candidates` gives no empty list; if it ever did, nobody vouched for the token.
        (None, None) => Err(Cause::IssUnknown.into()),
    }
}

/// What one issuer says of a token: steps 6 to 14.
async fn judge(
    issuer: &Issuer,
    token: &Token<'_>,
    lookup: Lookup,
    clock: &Clock,
    run: &mut Run<'_>,
) -> Result<Admission, Stop> {
    let settings = issuer.settings();
    let claims = token.claims;
    let size = check_size(token.text, settings.max_token_size);
    run.quiet(Step::Size, size)?;
    let typ = check_type(issuer, &token.header.typ);
    run.step(Step::Type, typ, |()| format!("`{}`", token.header.typ))?;
    let algorithm = choose_algorithm(issuer, &token.header.algorithm);
    let algorithm = run.step(Step::Algorithm, algorithm, |a| format!("`{a}`"))?;
    let keys = find_keys(issuer, token.header, algorithm, lookup).await;
    let keys = run.step(Step::Key, keys, |keys| describe::keys(keys))?;
    let key = check_signature(&keys, algorithm, token.parts);
    let key = run.step(Step::Signature, key, |key| describe::key(key))?;

    // Read after the wait for a fetch: the token may have ended meanwhile.
    let times = Times { now: clock.wall(), leeway: settings.leeway };
    let expires = run.step(Step::Expiry, times.expiry(claims), |at| times.describe("ends", *at))?;
    let nbf = times.begin(claims, "nbf", Cause::NbfNotNumber, Cause::NbfInFuture);
    let nbf = run.step(Step::NotBefore, nbf, |at| times.describe("began", *at))?;
    let iat = times.begin(claims, "iat", Cause::IatNotNumber, Cause::IatInFuture);
    let iat = run.step(Step::IssuedAt, iat, |at| times.describe("began", *at))?;
    let lifetime = check_lifetime(settings.max_lifetime, claims);
    run.step(Step::Lifetime, lifetime, |()| describe::lifetime(settings.max_lifetime))?;
    let audience = settings.audience.check(claims);
    run.step(Step::Audience, audience, |()| describe::audience(claims))?;
    let required = check_required(issuer, claims, token.shown_for);
    run.step(Step::Required, required, |()| "present, with allowed values".to_owned())?;
    let extract =
        run.step(Step::Identity, Extract::of(issuer, claims), |_| "written".to_owned())?;
    Ok(Admission { key, expires, valid_from: nbf.max(iat), extract })
}

struct Token<'t> {
    text: &'t str,
    shown_for: TokenUse,
    parts: &'t Parts<'t>,
    header: &'t Header,
    claims: &'t Claims,
}

/// A token that passed, before its claims move into the principal.
struct Admission {
    key: Arc<Key>,
    expires: UnixTime,
    valid_from: UnixTime,
    extract: Extract,
}

impl Admission {
    fn into_verified(self, issuer: &Issuer, claims: Claims) -> Verified {
        let key = Arc::clone(&self.key);
        let principal = Principal::new(issuer, self.extract, claims, key, self.expires);
        Verified {
            principal: Arc::new(principal),
            key: self.key,
            keys: Arc::downgrade(issuer.keys()),
            valid_from: self.valid_from,
        }
    }
}

/// Where one issuer's judgement ended.
pub(in crate::auth) struct Stop {
    step: Step,
    cause: Cause,
    issuer: Option<Arc<str>>,
}

impl Stop {
    /// Of two refusals, that of the issuer which came further: it is the likelier owner. Missing
    /// keys outweigh all that could have gone otherwise with them, so that an issuer's outage is
    /// not told to clients as a bad token.
    fn or_heavier(self, other: Option<Self>) -> Self {
        match other {
            Some(other) if other.weight() >= self.weight() => other,
            Some(_) | None => self,
        }
    }

    fn weight(&self) -> (Step, bool) {
        match self.cause == Cause::KeysUnavailable {
            true => (Step::Signature, true),
            false => (self.step, false),
        }
    }
}

impl From<Stop> for Refusal {
    fn from(stop: Stop) -> Self {
        Self::new(stop.cause, stop.issuer)
    }
}

/// Carries what `explain` wants to know through the steps; for requests it does nothing.
pub(in crate::auth) struct Run<'r> {
    findings: Option<&'r mut Vec<Finding>>,
    issuer: Option<Arc<str>>,
}

impl<'r> Run<'r> {
    pub(in crate::auth) fn new(findings: Option<&'r mut Vec<Finding>>) -> Self {
        Self { findings, issuer: None }
    }

    pub(in crate::auth) fn step<T>(
        &mut self,
        step: Step,
        result: Result<T, Cause>,
        describe: impl FnOnce(&T) -> String,
    ) -> Result<T, Stop> {
        if let Some(findings) = &mut self.findings {
            let outcome = result.as_ref().map(describe).map_err(|cause| *cause);
            findings.push(Finding { step, issuer: self.issuer.clone(), outcome });
        }
        result.map_err(|cause| Stop { step, cause, issuer: self.issuer.clone() })
    }

    /// A step that says something only when it fails.
    fn quiet(&mut self, step: Step, result: Result<(), Cause>) -> Result<(), Stop> {
        match result {
            Ok(()) => Ok(()),
            Err(cause) => self.step(step, Err(cause), |()| String::new()),
        }
    }
}

/// Before decoding: what is never read costs nothing (attack J15).
pub(in crate::auth) fn check_size(token: &str, max: usize) -> Result<(), Cause> {
    if token.len() > max { Err(Cause::TooLarge) } else { Ok(()) }
}

pub(in crate::auth) fn parse_claims(bytes: &[u8]) -> Result<Claims, Cause> {
    parse_object(bytes).map(Claims::new).map_err(|error| match error {
        ObjectError::DuplicateName => Cause::ClaimsDuplicateName,
        ObjectError::NotJson => Cause::ClaimsNotJson,
        ObjectError::NotObject => Cause::ClaimsNotObject,
    })
}

/// RFC 8725 section 3.11: an id token or a logout token is no access token.
fn check_type(issuer: &Issuer, typ: &str) -> Result<(), Cause> {
    match issuer.settings().types.iter().any(|allowed| allowed == typ) {
        true => Ok(()),
        false => Err(Cause::TypNotAllowed),
    }
}

pub(in crate::auth) fn parse_algorithm(name: &str) -> Result<Algorithm, Cause> {
    if name.eq_ignore_ascii_case("none") {
        return Err(Cause::AlgNone);
    }
    name.parse().map_err(|_| Cause::AlgUnknown)
}

/// The token proposes, the issuer's settings decide (attacks J1 to J3).
fn choose_algorithm(issuer: &Issuer, name: &str) -> Result<Algorithm, Cause> {
    let algorithm = parse_algorithm(name)?;
    match issuer.settings().algorithms.contains(&algorithm) {
        true => Ok(algorithm),
        false => Err(Cause::AlgNotAllowed),
    }
}

/// The issuer's keys for this token that may be used with `algorithm`; with a `kid`, no other key
/// is ever tried.
async fn find_keys(
    issuer: &Issuer,
    header: &Header,
    algorithm: Algorithm,
    lookup: Lookup,
) -> Result<Vec<Arc<Key>>, Cause> {
    let kid = header.kid.as_deref();
    let mut found = issuer.keys().candidates(kid, algorithm);
    if matches!((&found, lookup), (Found::UnknownKid, Lookup::Refetch)) {
        found = issuer.keys().candidates_after_refetch(kid, algorithm).await;
    }
    keys_of(found, header, algorithm)
}

/// The keys that were found, as far as they may be used with `algorithm`.
pub(in crate::auth) fn keys_of(
    found: Found,
    header: &Header,
    algorithm: Algorithm,
) -> Result<Vec<Arc<Key>>, Cause> {
    match found {
        Found::Keys(mut keys) => {
            keys.retain(|key| key.allows(algorithm));
            if keys.is_empty() { Err(Cause::AlgNotAllowed) } else { Ok(keys) }
        }
        Found::UnknownKid if header.kid.is_some() => Err(Cause::KidUnknown),
        Found::UnknownKid => Err(Cause::NoKeyFits),
        Found::Unavailable => Err(Cause::KeysUnavailable),
    }
}

pub(in crate::auth) fn check_signature(
    keys: &[Arc<Key>],
    algorithm: Algorithm,
    parts: &Parts<'_>,
) -> Result<Arc<Key>, Cause> {
    let signed = parts.signed.as_bytes();
    let verifies = |key: &&Arc<Key>| key.verify(algorithm, signed, &parts.signature);
    keys.iter().find(verifies).cloned().ok_or(Cause::BadSignature)
}

/// The time claims, RFC 7519 sections 4.1.4 to 4.1.6.
struct Times {
    now: UnixTime,
    leeway: Duration,
}

impl Times {
    /// `exp` plus the leeway. Always required: a token without an end could never be taken back.
    fn expiry(&self, claims: &Claims) -> Result<UnixTime, Cause> {
        let exp = claims.raw("exp").ok_or(Cause::ExpMissing)?;
        let exp = numeric_date(exp).ok_or(Cause::ExpNotNumber)?;
        let expires = UnixTime::from_secs(exp).saturating_add(self.leeway);
        if self.now >= expires { Err(Cause::Expired) } else { Ok(expires) }
    }

    /// The beginning that `name` sets, less the leeway; the beginning of time without it.
    fn begin(
        &self,
        claims: &Claims,
        name: &str,
        not_number: Cause,
        in_future: Cause,
    ) -> Result<UnixTime, Cause> {
        let Some(value) = claims.raw(name) else { return Ok(UnixTime::default()) };
        let seconds = numeric_date(value).ok_or(not_number)?;
        let leeway = u64::try_from(self.leeway.as_millis()).unwrap_or(u64::MAX);
        let millis = UnixTime::from_secs(seconds).as_millis().saturating_sub(leeway);
        let begins = UnixTime::from_millis(millis);
        if self.now < begins { Err(in_future) } else { Ok(begins) }
    }

    fn describe(&self, verb: &str, at: UnixTime) -> String {
        if at == UnixTime::default() {
            return "absent".to_owned();
        }
        let (early, late) = (self.now.min(at), self.now.max(at));
        let side = if at > self.now { "from now" } else { "ago" };
        let distance = late.since(early).as_secs();
        format!("{verb} at {} s, {distance} s {side} (leeway included)", at.as_secs())
    }
}

/// An issuer that hands out tokens for longer than agreed leaves a stolen one good for as long.
/// Without `iat` nothing says how long the token lives, so it is refused too.
fn check_lifetime(max: Option<Duration>, claims: &Claims) -> Result<(), Cause> {
    let Some(max) = max else { return Ok(()) };
    let date = |name, not_number| claims.raw(name).map(|at| numeric_date(at).ok_or(not_number));
    let iat = date("iat", Cause::IatNotNumber).ok_or(Cause::IatMissing)??;
    let exp = date("exp", Cause::ExpNotNumber).ok_or(Cause::ExpMissing)??;
    match Duration::from_secs(exp.saturating_sub(iat)) <= max {
        true => Ok(()),
        false => Err(Cause::LifetimeTooLong),
    }
}

fn check_required(issuer: &Issuer, claims: &Claims, shown_for: TokenUse) -> Result<(), Cause> {
    let settings = issuer.settings();
    if settings.required_claims.iter().any(|name| claims.member(name).is_none()) {
        return Err(Cause::ClaimMissing);
    }
    let good = match shown_for {
        TokenUse::Access => settings.require.check(claims).is_ok(),
        TokenUse::Refresh => claims.member("token_type").is_some_and(|kind| kind == "refresh"),
    };
    if good { Ok(()) } else { Err(Cause::ClaimNotAllowed) }
}

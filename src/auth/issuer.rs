//! Issuers: who signs, and how far we trust them.
//!
//! Owns the compiled settings of each issuer and the set that one route names. Trusts the
//! configuration. A token's `iss` only ever selects among the issuers of its route, and keys belong
//! to one issuer: a token of one cannot be verified with another's keys (attacks J18, J19).

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::AUTHORIZATION;
use serde_json::Value;

use super::claims::{ClaimPath, Claims};
use super::identity::IdentityHeaders;
use super::place::{Carrier, Place, Sources};
use super::refusal::{Cause, Refusal};
use super::requirement::{Clause, Require};
use super::token::{bearer, normal_type};
use crate::keys::{Algorithm, KeySet};

/// What the operator says about an issuer, expanded and typed.
///
/// Everything here is part of the issuer's fingerprint: a change makes cached tokens of the old
/// settings unusable.
#[derive(Clone, Debug, Hash)]
pub struct IssuerSettings {
    /// The name in the configuration, logs and metrics.
    pub name: String,
    /// What a token's `iss` must be.
    pub iss: ExpectedIss,
    /// What a token's `aud` must hold.
    pub audience: Audience,
    /// The only signature algorithms accepted. Default: [`Algorithm::DEFAULT`].
    pub algorithms: Vec<Algorithm>,
    /// Accepted `typ`, without regard to case and `application/`. Default `JWT` and `at+jwt`; an
    /// absent `typ` counts as `JWT`.
    pub types: Vec<String>,
    /// Clock skew granted to `exp`, `nbf` and `iat`. Default 30 s; the configuration caps it.
    pub leeway: Duration,
    /// The longest time from `iat` to `exp`; a token without `iat` is refused then. Default: any.
    pub max_lifetime: Option<Duration>,
    /// Bytes of the longest token accepted. Default 7 KiB, below one header line's 8 KiB.
    pub max_token_size: usize,
    /// Claims that must be present, whatever they hold. Default none (`exp` always must).
    pub required_claims: Vec<String>,
    /// What the claims of every token must hold. Default nothing.
    pub require: Require,
    /// The claim that names the subject. Default `sub`.
    pub subject_claim: String,
    /// Claims sent on as headers. Default none.
    pub identity: IdentityHeaders,
    /// Where its tokens may stand. Default: `Authorization` alone.
    pub token_from: Vec<Place>,
    /// What the application gets of them. Default [`TokenUpstream::Keep`].
    pub token_upstream: TokenUpstream,
    /// How refusals look on routes of this issuer that do not say. Default [`ErrorStyle::Auto`].
    pub errors: ErrorStyle,
}

impl IssuerSettings {
    /// The defaults of a general issuer.
    pub fn new(name: impl Into<String>, iss: ExpectedIss, audience: Audience) -> Self {
        Self {
            name: name.into(),
            iss,
            audience,
            algorithms: Algorithm::DEFAULT.to_vec(),
            types: vec!["JWT".to_owned(), "at+jwt".to_owned()],
            leeway: Duration::from_secs(30),
            max_lifetime: None,
            max_token_size: 7 * 1024,
            required_claims: Vec::new(),
            require: Require::nothing(),
            subject_claim: "sub".to_owned(),
            identity: IdentityHeaders::default(),
            token_from: vec![Place::Header(AUTHORIZATION)],
            token_upstream: TokenUpstream::Keep,
            errors: ErrorStyle::Auto,
        }
    }

    /// What djangorestframework-simplejwt signs with its defaults.
    ///
    /// Its refresh and sliding tokens bear the same signature as its access tokens: only
    /// `token_type` tells them apart (attack J17). The leeway is 0 since Django's is, and both run
    /// on clocks of one site.
    pub fn simplejwt(name: impl Into<String>) -> Self {
        let access = Clause::text(ClaimPath::literal("token_type"), "access");
        Self {
            algorithms: vec![Algorithm::HS256],
            leeway: Duration::ZERO,
            required_claims: vec!["jti".to_owned(), "user_id".to_owned()],
            require: Require::new(vec![vec![access]]),
            subject_claim: "user_id".to_owned(),
            errors: ErrorStyle::Drf,
            ..Self::new(name, ExpectedIss::Absent, Audience::Any)
        }
    }
}

/// What an issuer's tokens say about who signed them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExpectedIss {
    /// The operator switched the check off: any `iss`, or none.
    Any,
    /// Tokens without `iss`.
    Absent,
    /// Exactly this, byte for byte (RFC 7519 section 4.1.1).
    Url(String),
}

/// Whom an issuer's tokens must be meant for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    /// The operator switched the check off: `aud` is not looked at.
    Any,
    /// One of these must be the `aud` or in it (RFC 7519 section 4.1.3).
    OneOf(Vec<String>),
}

impl Audience {
    /// `aud` is a string or a list of strings; every other shape refuses, since a library that
    /// skips what it cannot read lets a token for anybody in.
    pub(in crate::auth) fn check(&self, claims: &Claims) -> Result<(), Cause> {
        let allowed = match self {
            Self::Any => return Ok(()),
            Self::OneOf(allowed) => allowed,
        };
        let is_allowed = |text: &str| allowed.iter().any(|audience| audience == text);
        let met = match claims.raw("aud").ok_or(Cause::AudMissing)? {
            Value::String(text) => is_allowed(text),
            Value::Array(items) => {
                let mut met = false;
                for item in items {
                    met |= is_allowed(item.as_str().ok_or(Cause::AudWrongType)?);
                }
                met
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
                return Err(Cause::AudWrongType);
            }
        };
        if met { Ok(()) } else { Err(Cause::AudNotAllowed) }
    }
}

/// What an application gets of a token that was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenUpstream {
    /// The token as `Authorization: Bearer`, wherever it stood.
    Bearer,
    /// Nothing.
    Drop,
    /// A header's as it came; one from elsewhere is taken out.
    Keep,
}

/// The shape of error bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorStyle {
    /// By what the client accepts.
    Auto,
    /// As Django REST framework with simplejwt writes them.
    Drf,
}

/// One issuer, compiled: its settings and its live keys.
#[derive(Debug)]
pub struct Issuer {
    settings: IssuerSettings,
    name: Arc<str>,
    keys: Arc<KeySet>,
    fingerprint: u64,
}

impl Issuer {
    /// An issuer of these settings whose signatures are verified with `keys`.
    pub fn new(mut settings: IssuerSettings, keys: Arc<KeySet>) -> Arc<Self> {
        for written in &mut settings.types {
            *written = normal_type(written);
        }
        let mut hasher = DefaultHasher::new();
        settings.hash(&mut hasher);
        let name = Arc::from(settings.name.as_str());
        Arc::new(Self { settings, name, keys, fingerprint: hasher.finish() })
    }

    /// The name in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The settings, with `types` in lower case and without `application/`.
    pub fn settings(&self) -> &IssuerSettings {
        &self.settings
    }

    /// The live key set.
    pub fn keys(&self) -> &Arc<KeySet> {
        &self.keys
    }

    /// A hash of every setting (not of the keys: whoever compares two issuers compares their key
    /// sets by identity). Means something within one process only.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Whether tokens without `iss` may be this issuer's.
    fn takes_absent_iss(&self) -> bool {
        match self.settings.iss {
            ExpectedIss::Any | ExpectedIss::Absent => true,
            ExpectedIss::Url(_) => false,
        }
    }
}

/// The issuers that one route accepts, sorted by name.
#[derive(Debug)]
pub struct IssuerSet {
    issuers: Box<[Arc<Issuer>]>,
    sources: Sources,
    fingerprint: u64,
    max_token_size: usize,
    /// Whether every token is judged by one issuer at most.
    one_judge: bool,
}

impl IssuerSet {
    /// # Errors
    /// No issuer at all, or two that a token without `iss` could belong to equally.
    pub fn new(mut issuers: Vec<Arc<Issuer>>) -> Result<Arc<Self>, IssuerSetError> {
        issuers.sort_by(|one, other| one.name.cmp(&other.name));
        issuers.dedup_by(|one, other| Arc::ptr_eq(one, other));
        if issuers.is_empty() {
            return Err(IssuerSetError::Empty);
        }
        refuse_ambiguous(&issuers)?;
        let sources = Sources::of(&issuers);
        Ok(Self::build(issuers, sources))
    }

    /// Of a good set, those that name one place: tokens are handed to it, it looks for none.
    pub(in crate::auth) fn of_place(issuers: Vec<Arc<Issuer>>) -> Arc<Self> {
        Self::build(issuers, Sources::Authorization)
    }

    fn build(issuers: Vec<Arc<Issuer>>, sources: Sources) -> Arc<Self> {
        let mut hasher = DefaultHasher::new();
        for issuer in &issuers {
            issuer.fingerprint.hash(&mut hasher);
        }
        Arc::new(Self {
            sources,
            max_token_size: issuers.iter().map(|i| i.settings.max_token_size).max().unwrap_or(0),
            fingerprint: hasher.finish(),
            one_judge: has_one_judge(&issuers),
            issuers: issuers.into_boxed_slice(),
        })
    }

    /// The request's token, and the issuers whose it may be by the place where it stands.
    ///
    /// # Errors
    /// None, several, or one in a cookie that a page of another origin sent.
    pub fn find_token<'r>(&self, carrier: Carrier<'r>) -> Result<(&'r str, &Self), Refusal> {
        match &self.sources {
            Sources::Authorization => Ok((bearer(&carrier.parts.headers)?, self)),
            Sources::Listed(sources) => {
                let (token, source) = Sources::find(sources, carrier)?;
                Ok((token, &source.issuers))
            }
        }
    }

    /// The issuers, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Issuer>> {
        self.issuers.iter()
    }

    /// A hash of the issuers' fingerprints: half of a cached token's key, so that what one route
    /// accepted says nothing to a route with other issuers (attack J25).
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// A number that stands for the very keys of these issuers now: equal stamps, equal keys, for as
    /// long as the process runs. None while some issuer's keys can't be used, and where two issuers
    /// may judge one token, since the refusal of one says nothing of what the other lacked.
    pub(in crate::auth) fn keys_stamp(&self) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        for issuer in &self.issuers {
            issuer.keys.version().hash(&mut hasher);
            if !issuer.keys.usable() {
                return None;
            }
        }
        self.one_judge.then(|| hasher.finish())
    }

    /// The issuer of that fingerprint, if the set has it.
    pub fn find(&self, fingerprint: u64) -> Option<&Arc<Issuer>> {
        self.issuers.iter().find(|issuer| issuer.fingerprint == fingerprint)
    }

    /// The shape of refusals of this set: `Drf` if all its issuers say so.
    pub fn errors(&self) -> ErrorStyle {
        match self.issuers.iter().all(|issuer| issuer.settings.errors == ErrorStyle::Drf) {
            true => ErrorStyle::Drf,
            false => ErrorStyle::Auto,
        }
    }

    pub(in crate::auth) fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Bytes of the longest token that any of the issuers accepts.
    pub(in crate::auth) fn max_token_size(&self) -> usize {
        self.max_token_size
    }

    /// The issuers whose token this may be, by its unverified `iss`: those of exactly that url, and
    /// only if there is none, those that take any; without `iss`, those that expect none.
    pub(in crate::auth) fn candidates(&self, claims: &Claims) -> Result<Vec<&Arc<Issuer>>, Cause> {
        let chosen = |accepts: &dyn Fn(&ExpectedIss) -> bool| -> Vec<&Arc<Issuer>> {
            self.issuers.iter().filter(|issuer| accepts(&issuer.settings.iss)).collect()
        };
        let any = |iss: &ExpectedIss| *iss == ExpectedIss::Any;
        let (mut candidates, otherwise) = match claims.raw("iss") {
            None => (chosen(&|iss| *iss == ExpectedIss::Absent), Cause::IssMissing),
            Some(Value::String(text)) => {
                let exact = |iss: &ExpectedIss| match iss {
                    ExpectedIss::Url(url) => url == text,
                    ExpectedIss::Any | ExpectedIss::Absent => false,
                };
                (chosen(&exact), Cause::IssUnknown)
            }
            // A list that holds the right one is how other verifiers were fooled (J18).
            Some(_) => return Err(Cause::IssNotString),
        };
        if candidates.is_empty() || otherwise == Cause::IssMissing {
            candidates.extend(chosen(&any));
        }
        if candidates.is_empty() { Err(otherwise) } else { Ok(candidates) }
    }
}

/// Whether [`IssuerSet::candidates`] never names two: no url stands twice, and at most one issuer
/// takes tokens whose `iss` names none of the others.
fn has_one_judge(issuers: &[Arc<Issuer>]) -> bool {
    let named = |issuer: &&Arc<Issuer>| matches!(issuer.settings.iss, ExpectedIss::Url(_));
    let iss: Vec<_> = issuers.iter().filter(named).map(|one| &one.settings.iss).collect();
    let others = issuers.len() - iss.len();
    others <= 1
        && iss.iter().enumerate().all(|(at, one)| !iss.iter().skip(at + 1).any(|o| o == one))
}

/// Why issuers cannot stand on one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerSetError {
    /// Both take tokens without `iss` and share a family of algorithms: nothing tells whose a
    /// token is.
    Ambiguous {
        /// The first of the two, by name.
        first: Arc<str>,
        /// The other.
        second: Arc<str>,
    },
    /// No issuer.
    Empty,
}

impl fmt::Display for IssuerSetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ambiguous { first, second } => write!(
                f,
                "issuers `{first}` and `{second}` both take tokens without `iss` and share a \
                 family of algorithms"
            ),
            Self::Empty => f.write_str("no issuer is named"),
        }
    }
}

impl std::error::Error for IssuerSetError {}

fn refuse_ambiguous(issuers: &[Arc<Issuer>]) -> Result<(), IssuerSetError> {
    let mut rest = issuers.iter().filter(|issuer| issuer.takes_absent_iss());
    while let Some(first) = rest.next() {
        let shares = |other: &&Arc<Issuer>| {
            let theirs = &other.settings.algorithms;
            let mine = first.settings.algorithms.iter();
            mine.copied().any(|a| theirs.iter().any(|b| family(*b) == family(a)))
        };
        if let Some(second) = rest.clone().find(shares) {
            let (first, second) = (first.name.clone(), second.name.clone());
            return Err(IssuerSetError::Ambiguous { first, second });
        }
    }
    Ok(())
}

#[derive(PartialEq, Eq)]
enum Family {
    Ec,
    Ed,
    Hmac,
    Rsa,
}

fn family(algorithm: Algorithm) -> Family {
    match algorithm {
        Algorithm::EdDSA => Family::Ed,
        Algorithm::ES256 | Algorithm::ES256K | Algorithm::ES384 | Algorithm::ES512 => Family::Ec,
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => Family::Hmac,
        Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512
        | Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512 => Family::Rsa,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn issuer(name: &str, iss: ExpectedIss, algorithms: &[Algorithm]) -> Arc<Issuer> {
        let mut settings = IssuerSettings::new(name, iss, Audience::Any);
        settings.algorithms = algorithms.to_vec();
        Issuer::new(settings, KeySet::fixed(Vec::new()))
    }

    fn names(set: &IssuerSet, claims: Value) -> Result<Vec<String>, Cause> {
        let claims = Claims::new(claims.as_object().cloned().unwrap());
        Ok(set.candidates(&claims)?.iter().map(|issuer| issuer.name.to_string()).collect())
    }

    #[test]
    fn iss_chooses_by_exact_url_and_nothing_else() {
        let url = |text: &str| ExpectedIss::Url(text.to_owned());
        let set = IssuerSet::new(vec![
            issuer("b", url("https://b/"), &[Algorithm::RS256]),
            issuer("a", url("https://a/"), &[Algorithm::RS256]),
            issuer("n", ExpectedIss::Absent, &[Algorithm::HS256]),
        ])
        .unwrap();
        assert_eq!(names(&set, json!({"iss": "https://a/"})), Ok(vec!["a".to_owned()]));
        assert_eq!(names(&set, json!({})), Ok(vec!["n".to_owned()]));
        for iss in ["https://a", "https://a/x", "HTTPS://A/", "https://a/ ", "", "n"] {
            assert_eq!(names(&set, json!({ "iss": iss })), Err(Cause::IssUnknown), "{iss}");
        }
        for iss in [json!(["https://a/"]), json!(null), json!(1), json!({})] {
            assert_eq!(names(&set, json!({ "iss": iss })), Err(Cause::IssNotString), "{iss}");
        }
    }

    #[test]
    fn an_issuer_that_takes_any_comes_after_the_exact_ones() {
        let set = IssuerSet::new(vec![
            issuer("a", ExpectedIss::Any, &[Algorithm::ES256]),
            issuer("b", ExpectedIss::Url("https://b/".to_owned()), &[Algorithm::RS256]),
            issuer("n", ExpectedIss::Absent, &[Algorithm::HS256]),
        ])
        .unwrap();
        assert_eq!(names(&set, json!({"iss": "https://b/"})), Ok(vec!["b".to_owned()]));
        assert_eq!(names(&set, json!({"iss": "https://c/"})), Ok(vec!["a".to_owned()]));
        assert_eq!(names(&set, json!({})), Ok(vec!["n".to_owned(), "a".to_owned()]));
    }

    #[test]
    fn a_token_without_iss_must_have_one_owner() {
        let absent = |name: &str, algorithm| issuer(name, ExpectedIss::Absent, &[algorithm]);
        let clash = IssuerSet::new(vec![
            absent("b", Algorithm::RS256),
            absent("c", Algorithm::HS256),
            absent("a", Algorithm::PS512),
        ]);
        let (first, second) = (Arc::from("a"), Arc::from("b"));
        assert_eq!(clash.unwrap_err(), IssuerSetError::Ambiguous { first, second });
        let apart = [absent("a", Algorithm::RS256), absent("b", Algorithm::HS256)];
        assert!(IssuerSet::new(apart.to_vec()).is_ok());
        assert_eq!(IssuerSet::new(Vec::new()).unwrap_err(), IssuerSetError::Empty);
    }

    #[test]
    fn every_setting_moves_the_fingerprint() {
        let base = || IssuerSettings::new("a", ExpectedIss::Absent, Audience::Any);
        let of = |settings| Issuer::new(settings, KeySet::fixed(Vec::new())).fingerprint();
        assert_eq!(of(base()), of(base()));
        let changes: [fn(&mut IssuerSettings); 12] = [
            |s| s.name = "b".to_owned(),
            |s| s.iss = ExpectedIss::Any,
            |s| s.audience = Audience::OneOf(vec!["x".to_owned()]),
            |s| s.algorithms = vec![Algorithm::RS256],
            |s| s.types = vec!["JWT".to_owned()],
            |s| s.leeway = Duration::ZERO,
            |s| s.max_token_size = 1,
            |s| s.required_claims = vec!["jti".to_owned()],
            |s| s.require = Require::new(vec![vec![]]),
            |s| s.subject_claim = "uid".to_owned(),
            |s| {
                let name = hyper::header::HeaderName::from_static("x-user");
                s.identity = IdentityHeaders::new([(name, "sub".parse().unwrap())]);
            },
            |s| s.errors = ErrorStyle::Drf,
        ];
        for (place, change) in changes.iter().enumerate() {
            let mut settings = base();
            change(&mut settings);
            assert_ne!(of(settings), of(base()), "change {place}");
        }
    }

    #[test]
    fn errors_are_django_s_only_if_all_issuers_are() {
        let keys = || KeySet::fixed(Vec::new());
        let django = Issuer::new(IssuerSettings::simplejwt("django"), keys());
        let other = issuer("o", ExpectedIss::Url("https://o/".to_owned()), &[Algorithm::RS256]);
        assert_eq!(IssuerSet::new(vec![django.clone()]).unwrap().errors(), ErrorStyle::Drf);
        assert_eq!(IssuerSet::new(vec![django, other]).unwrap().errors(), ErrorStyle::Auto);
    }
}

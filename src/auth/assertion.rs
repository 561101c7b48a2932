//! The signed assertion: what the application is told about the principal, with a signature that it
//! can check itself, however many hops lie between.
//!
//! Owns the key and the claims. Trusts principals alone, and says of them what their identity
//! headers say. It names its audience and its own type, so that neither another application nor a
//! gateway that takes access tokens can be shown it; it ends when the token does, or sooner.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use super::principal::Principal;
use crate::clock::UnixTime;
use crate::keys::signing::{Signer, SigningFailed};

/// Where the keys of assertions are published.
pub const JWKS_PATH: &str = "/.well-known/portcullis/jwks.json";

/// What the operator says about assertions.
#[derive(Clone, Debug)]
pub struct AssertionSettings {
    /// The header that carries it.
    pub header: HeaderName,
    /// How long one counts at most.
    pub ttl: Duration,
    /// Its `iss`.
    pub issuer: String,
    /// Its `aud`; none: the name of the route's upstream.
    pub audience: Option<String>,
}

/// Signs assertions.
pub struct Assertion {
    settings: AssertionSettings,
    signer: Arc<Signer>,
    header: Map<String, Value>,
    /// The public keys, the one in use first.
    published: Vec<Value>,
    jwks: Bytes,
}

impl Assertion {
    /// Signs with `signer`; the keys that `previous` published stay published beside it, so that
    /// what they signed until now still counts.
    pub fn new(settings: AssertionSettings, signer: Arc<Signer>, previous: Option<&Self>) -> Self {
        let mut published = vec![signer.published()];
        let known = |one: &&Value| one["kid"].as_str() != Some(signer.kid());
        published.extend(previous.iter().flat_map(|old| &old.published).filter(known).cloned());
        published.truncate(MAX_PUBLISHED);
        let jwks = Bytes::from(json!({ "keys": published }).to_string());
        let header = Map::from_iter([("typ".to_owned(), TYPE.into())]);
        Self { settings, signer, header, published, jwks }
    }

    /// The header that carries it.
    pub fn header(&self) -> &HeaderName {
        &self.settings.header
    }

    /// The key in use, for the next generation to adopt.
    pub fn signer(&self) -> &Arc<Signer> {
        &self.signer
    }

    /// The document at [`JWKS_PATH`].
    pub fn jwks(&self) -> &Bytes {
        &self.jwks
    }

    /// The assertion of `principal` for a route to `upstream`.
    ///
    /// # Errors
    /// [`SigningFailed`]: the system gave no randomness, or the claims make no header value.
    pub fn sign(
        &self,
        principal: &Principal,
        upstream: &str,
        now: UnixTime,
    ) -> Result<HeaderValue, SigningFailed> {
        let expires = now.saturating_add(self.settings.ttl).min(principal.expires());
        let audience = self.settings.audience.as_deref().unwrap_or(upstream);
        let mut claims = Map::new();
        let mut say = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        say("iss", self.settings.issuer.as_str().into());
        say("aud", audience.into());
        if let Some(subject) = principal.subject() {
            say("sub", subject.into());
        }
        say("iat", now.as_secs().into());
        say("exp", expires.as_secs().into());
        say("issuer", (&**principal.issuer_name()).into());
        say("identity", identity(principal));
        let token = self.signer.sign(&self.header, &claims)?;
        HeaderValue::try_from(token).map_err(|_| SigningFailed)
    }
}

/// The identity headers, by their names in small letters.
fn identity(principal: &Principal) -> Value {
    let headers = principal.identity().iter();
    let members = headers.map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned().into())
    });
    Value::Object(members.collect())
}

impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assertion")
            .field("settings", &self.settings)
            .field("signer", &self.signer)
            .finish_non_exhaustive()
    }
}

/// RFC 8725 section 3.11: a type of its own, which no verifier of access tokens takes.
const TYPE: &str = "portcullis-assertion+jwt";
/// Keys in the document: more rotations within one ttl are no rotation but an accident.
const MAX_PUBLISHED: usize = 4;

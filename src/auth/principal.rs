//! Whom a request acts for, once its token is verified.
//!
//! Only `auth::verify` makes a [`Principal`]: holding one proves that an issuer signed these claims
//! for us. It refers to its issuer by name and fingerprint, never to the issuer itself, so that a
//! cached principal keeps no key set alive after a reload.

use std::fmt;
use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};

use super::claims::Claims;
use super::issuer::Issuer;
use super::refusal::Cause;
use crate::clock::UnixTime;
use crate::keys::Key;

/// A verified identity: immutable, shared by every request that brings the same token.
pub struct Principal {
    issuer_name: Arc<str>,
    issuer_fingerprint: u64,
    subject: Option<String>,
    jti: Option<String>,
    claims: Claims,
    identity: Box<[(HeaderName, HeaderValue)]>,
    key: Arc<Key>,
    expires: UnixTime,
}

impl Principal {
    /// From claims that `issuer` signed and whose every check has passed.
    pub(in crate::auth) fn new(
        issuer: &Issuer,
        extract: Extract,
        claims: Claims,
        key: Arc<Key>,
        expires: UnixTime,
    ) -> Self {
        Self {
            issuer_name: issuer.name().clone(),
            issuer_fingerprint: issuer.fingerprint(),
            subject: extract.subject,
            jti: extract.jti,
            identity: extract.identity,
            claims,
            key,
            expires,
        }
    }

    /// The token's `iss`, if it has one.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.member("iss").and_then(|iss| iss.as_str())
    }

    /// The issuer's name in the configuration.
    pub fn issuer_name(&self) -> &Arc<str> {
        &self.issuer_name
    }

    /// The fingerprint of the issuer's settings at verification.
    pub fn issuer_fingerprint(&self) -> u64 {
        self.issuer_fingerprint
    }

    /// Who, in the issuer's words: `sub`, or the claim that the issuer's settings name.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// The token's id (RFC 7519 section 4.1.7).
    pub fn jti(&self) -> Option<&str> {
        self.jti.as_deref()
    }

    /// The verified claims.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Identity headers for the application, computed once at verification.
    pub fn identity(&self) -> &[(HeaderName, HeaderValue)] {
        &self.identity
    }

    /// The key that verified the token.
    pub(in crate::auth) fn key(&self) -> &Key {
        &self.key
    }

    /// The memory that it takes, about.
    pub(in crate::auth) fn bytes(&self) -> usize {
        let Self { issuer_name: _, issuer_fingerprint: _, subject, jti, claims, identity, .. } =
            self;
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let headers = identity.iter().map(|(name, value)| {
            size_of::<(HeaderName, HeaderValue)>() + name.as_str().len() + value.len()
        });
        size_of::<Self>() + text(subject) + text(jti) + claims.bytes() + headers.sum::<usize>()
    }

    /// When the token ends to count: `exp` plus the issuer's leeway.
    pub fn expires(&self) -> UnixTime {
        self.expires
    }
}

#[cfg(test)]
impl Principal {
    /// Every text it holds; a new field has to be thought of here.
    pub(in crate::auth) fn texts(&self) -> Vec<String> {
        // A key is the issuer's, and the same for all its tokens.
        let Self { issuer_name, subject, jti, claims, identity, key: _, .. } = self;
        let (_numbers, _times) = (self.issuer_fingerprint, self.expires);
        let mut texts = vec![issuer_name.to_string(), format!("{:?}", claims.members())];
        texts.extend(subject.iter().chain(jti).cloned());
        texts.extend(identity.iter().map(|(name, value)| format!("{name}: {value:?}")));
        texts
    }
}

impl fmt::Debug for Principal {
    /// Claims are personal data and stay out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal")
            .field("issuer_name", &self.issuer_name)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// What of the claims is written out once, when the token is verified.
#[derive(Debug)]
pub(in crate::auth) struct Extract {
    subject: Option<String>,
    jti: Option<String>,
    identity: Box<[(HeaderName, HeaderValue)]>,
}

impl Extract {
    pub(in crate::auth) fn of(issuer: &Issuer, claims: &Claims) -> Result<Self, Cause> {
        let settings = issuer.settings();
        let id = |name: &str, otherwise: Cause| {
            claims.member(name).map(|value| super::claims::scalar_id(value).ok_or(otherwise))
        };
        Ok(Self {
            subject: id(&settings.subject_claim, Cause::SubjectNotScalar).transpose()?,
            jti: id("jti", Cause::JtiNotScalar).transpose()?,
            identity: settings.identity.of(claims)?,
        })
    }
}

//! From a request's head to its principal: a token that was verified before, and one that was not.
//!
//! The tokens beside this file are good until 2100; the keys that signed them are gone.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{AUTHORIZATION, HeaderValue};
use portcullis::auth::{
    Audience, Carrier, ExpectedIss, Issuer, IssuerSet, IssuerSettings, LocalCache, Resources,
    Revocations, TokenCache, authenticate,
};
use portcullis::clock::{Clock, UnixTime};
use portcullis::http::Scheme;
use portcullis::keys::{KeySet, from_pem};

use super::{Work, now, parts};

/// A token and the key that verifies it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Issued {
    token: &'static str,
    key: &'static [u8],
}

pub(super) const RS256: Issued =
    Issued { token: include_str!("rs256.jwt"), key: include_bytes!("rs256.pem") };
pub(super) const ES256: Issued =
    Issued { token: include_str!("es256.jwt"), key: include_bytes!("es256.pem") };

impl Issued {
    pub(super) fn token(&self) -> &'static str {
        self.token.trim_ascii_end()
    }
}

/// The token is found in the head and looked up in the worker's own cache.
pub(super) fn remembered() -> Work {
    work(RS256, TokenCache::new(1_000, 1 << 24, Duration::from_secs(60)), true)
}

/// The token is verified from the start and forgotten.
pub(super) fn anew(issued: Issued) -> Work {
    work(issued, TokenCache::new(0, 0, Duration::ZERO), false)
}

fn work(issued: Issued, cache: TokenCache, cached: bool) -> Work {
    let mut parts = parts();
    let bearer = format!("Bearer {}", issued.token());
    parts.headers.insert(AUTHORIZATION, HeaderValue::from_str(&bearer).expect("a header"));
    let set = issuers(issued);
    let clock = Clock::fixed(UnixTime::from_secs(1_800_000_000));
    let (local, revocations) = (LocalCache::new(), Revocations::new());
    let ask = move || {
        let carrier = Carrier {
            parts: black_box(&parts),
            scheme: Scheme::Https,
            host: None,
            cors: None,
            is_question: false,
        };
        let (cache, local, clock) = (&cache, &local, &clock);
        let revocations = &revocations;
        let resources = Resources { cache, local, bad_tokens: None, revocations, clock };
        now(authenticate(&set, carrier, resources)).expect("a good token").cached
    };
    assert!(!ask(), "nobody has asked before");
    Box::new(move || assert_eq!(ask(), cached))
}

fn issuers(issued: Issued) -> Arc<IssuerSet> {
    let iss = ExpectedIss::Url("https://issuer.example".to_owned());
    let audience = Audience::OneOf(vec!["api".to_owned()]);
    let keys = KeySet::fixed(from_pem(issued.key).expect("a public key"));
    let issuer = Issuer::new(IssuerSettings::new("main", iss, audience), keys);
    IssuerSet::new(vec![issuer]).expect("one issuer")
}

//! What the module's tests share: issuers with real keys, and a pen to write any token with.

mod assertions;
mod authenticate;
mod bad_tokens;
mod defects;
mod judges;
mod live_keys;
mod permits;
mod places;
mod policies;
mod remembered;
mod revoked;
mod rows;
mod words;

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request};
use serde_json::{Value, json};

use super::{
    Audience, Authenticated, BadTokens, Carrier, Clause, ExpectedIss, Finding, IdentityHeaders,
    Issuer, IssuerSet, IssuerSettings, LocalCache, Lookup, Principal, Refusal, Require, Resources,
    Revocations, TokenCache, authenticate, explain,
};
use crate::clock::{Clock, UnixTime};
use crate::http::Scheme;
use crate::keys::{Algorithm, KeySet, from_secret};
use crate::limit::Limiter;

const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"0Kq3vJ8sZr5xTn2WmYb7LcPd4HgFaE6u";
const OTHER_SECRET: &[u8] = b"Zx9Vb7Nm5Lk3Jh1Gf2Ds4Aq6We8Rt0Yu";
const URL: &str = "https://id.example.com/";

fn secret_keys() -> Arc<KeySet> {
    KeySet::fixed(vec![from_secret(SECRET).unwrap()])
}

/// An issuer that demands everything that settings can demand.
fn strict_settings() -> IssuerSettings {
    let audience = Audience::OneOf(vec!["api".to_owned(), "web".to_owned()]);
    let mut settings = IssuerSettings::new("main", ExpectedIss::Url(URL.to_owned()), audience);
    settings.algorithms = vec![Algorithm::HS256];
    settings.required_claims = vec!["sub".to_owned()];
    let access = Clause::new("token_use", vec![json!("access")], vec![], vec![]).unwrap();
    settings.require = Require::new(vec![vec![access]]);
    settings.identity = IdentityHeaders::new([
        (HeaderName::from_static("x-user"), "sub".parse().unwrap()),
        (HeaderName::from_static("x-roles"), "/realm_access/roles".parse().unwrap()),
    ]);
    settings
}

fn strict_set() -> Arc<IssuerSet> {
    IssuerSet::new(vec![Issuer::new(strict_settings(), secret_keys())]).unwrap()
}

fn simplejwt_set() -> Arc<IssuerSet> {
    let settings = IssuerSettings::simplejwt("django");
    IssuerSet::new(vec![Issuer::new(settings, secret_keys())]).unwrap()
}

fn header() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

fn claims() -> Value {
    json!({
        "iss": URL, "aud": "api", "sub": "ada", "exp": NOW + 300, "nbf": NOW, "iat": NOW,
        "jti": "t1", "token_use": "access", "realm_access": {"roles": ["admin", "staff"]},
    })
}

/// `base` with one member set.
fn with(mut base: Value, name: &str, value: Value) -> Value {
    base.as_object_mut().unwrap().insert(name.to_owned(), value);
    base
}

fn without(mut base: Value, name: &str) -> Value {
    base.as_object_mut().unwrap().remove(name);
    base
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token over exactly these bytes, signed with `SECRET`.
fn write(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    seal(&format!("{}.{}", base64(header), base64(claims)), SECRET)
}

/// Any text, and its HS256 signature as last part.
fn seal(signed: &str, secret: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    format!("{signed}.{}", base64(hmac::sign(&key, signed.as_bytes())))
}

fn sign(header: &Value, claims: &Value) -> String {
    write(header.to_string(), claims.to_string())
}

fn good() -> String {
    sign(&header(), &claims())
}

fn headers(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
    headers
}

fn clock() -> Clock {
    Clock::fixed(UnixTime::from_secs(NOW))
}

fn now() -> UnixTime {
    UnixTime::from_secs(NOW)
}

fn shared_cache() -> TokenCache {
    TokenCache::new(1000, 1 << 24, std::time::Duration::from_secs(60))
}

/// One worker with its caches.
struct Gateway {
    cache: TokenCache,
    local: LocalCache,
    revocations: Arc<Revocations>,
    clock: Clock,
    /// The accounts for bad tokens, and who asks.
    budget: Option<(Limiter, IpAddr)>,
}

impl Gateway {
    fn new() -> Self {
        Self {
            cache: shared_cache(),
            local: LocalCache::new(),
            revocations: Revocations::new(),
            clock: clock(),
            budget: None,
        }
    }

    async fn ask(&self, set: &IssuerSet, token: &str) -> Result<Authenticated, Refusal> {
        self.ask_with(set, &headers(token)).await
    }

    async fn ask_with(
        &self,
        set: &IssuerSet,
        headers: &HeaderMap,
    ) -> Result<Authenticated, Refusal> {
        let mut request = Request::new(());
        *request.headers_mut() = headers.clone();
        self.ask_whole(set, &request.into_parts().0).await
    }

    /// Over TLS, to `a.test`.
    async fn ask_whole(&self, set: &IssuerSet, parts: &Parts) -> Result<Authenticated, Refusal> {
        self.ask_carried(set, parts, false).await
    }

    async fn ask_carried(
        &self,
        set: &IssuerSet,
        parts: &Parts,
        is_question: bool,
    ) -> Result<Authenticated, Refusal> {
        let resources = Resources {
            cache: &self.cache,
            local: &self.local,
            bad_tokens: self
                .budget
                .as_ref()
                .map(|(budget, client)| BadTokens { budget, client: *client }),
            revocations: &self.revocations,
            clock: &self.clock,
        };
        let host = HeaderValue::from_static("a.test");
        let carrier =
            Carrier { parts, scheme: Scheme::Https, host: Some(&host), cors: None, is_question };
        authenticate(set, carrier, resources).await
    }
}

/// Runs a future that has nothing to wait for.
fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let waker = std::task::Waker::noop();
    match future.as_mut().poll(&mut std::task::Context::from_waker(waker)) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("the future waits"),
    }
}

fn explained(set: &IssuerSet, token: &str) -> (Vec<Finding>, Result<Arc<Principal>, Refusal>) {
    now_or_never(explain(set, token, Lookup::Known, &clock()))
}

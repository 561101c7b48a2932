//! One issuer with a secret, and a pen that signs anything with it.

use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::Request;
use hyper::header::{AUTHORIZATION, HeaderValue};
use portcullis::auth::{
    Audience, Carrier, ExpectedIss, Issuer, IssuerSet, IssuerSettings, Lookup, Principal, Refusal,
    explain,
};
use portcullis::clock::{Clock, UnixTime};
use portcullis::http::Scheme;
use portcullis::keys::{Algorithm, KeySet, from_secret};

pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const LEEWAY: u64 = 30;
pub(crate) const URL: &str = "https://id.example.com/";
pub(crate) const HEADER: &[&str] = &[r#""alg":"HS256""#, r#""typ":"JWT""#];
pub(crate) const CLAIMS: &[&str] = &[
    r#""iss":"https://id.example.com/""#,
    r#""aud":"api""#,
    r#""exp":1800000300"#,
    r#""nbf":1800000000"#,
    r#""iat":1799999990"#,
    r#""sub":"ada""#,
];
const SECRET: &[u8] = b"0Kq3vJ8sZr5xTn2WmYb7LcPd4HgFaE6u";

static ISSUERS: LazyLock<Arc<IssuerSet>> = LazyLock::new(|| {
    let audience = Audience::OneOf(vec!["api".to_owned()]);
    let mut settings = IssuerSettings::new("main", ExpectedIss::Url(URL.to_owned()), audience);
    settings.algorithms = vec![Algorithm::HS256];
    let keys = KeySet::fixed(vec![from_secret(SECRET).expect("a strong secret")]);
    IssuerSet::new(vec![Issuer::new(settings, keys)]).expect("one issuer")
});

/// The token of a request with this `Authorization`, or why there is none.
pub(crate) fn found(line: &HeaderValue) -> Result<String, Refusal> {
    let mut request = Request::new(());
    request.headers_mut().insert(AUTHORIZATION, line.clone());
    let (parts, ()) = request.into_parts();
    let carrier = Carrier {
        parts: &parts,
        scheme: Scheme::Https,
        host: None,
        cors: None,
        is_question: false,
    };
    ISSUERS.find_token(carrier).map(|(token, _)| token.to_owned())
}

pub(crate) fn verify(token: &str) -> Result<Arc<Principal>, Refusal> {
    let clock = Clock::fixed(UnixTime::from_secs(NOW));
    let verifying = pin!(explain(&ISSUERS, token, Lookup::Known, &clock));
    match verifying.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready((_, verdict)) => verdict,
        Poll::Pending => unreachable!("known keys are not waited for"),
    }
}

/// The token of these bytes, with a good signature.
pub(crate) fn seal(header: &[u8], claims: &[u8]) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!("{}.{}", encode(header), encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", encode(signature.as_ref()))
}

pub(crate) fn object(members: &[&str]) -> String {
    format!("{{{}}}", members.join(","))
}

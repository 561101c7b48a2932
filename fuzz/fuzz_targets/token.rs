//! A token, and the header that carries it: never a panic, and a principal only of what the issuer
//! signed and whose time is not over.
#![no_main]

use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderValue};
use libfuzzer_sys::fuzz_target;
use portcullis::auth::{
    Audience, ExpectedIss, Issuer, IssuerSet, IssuerSettings, Lookup, Principal, Refusal, bearer,
    explain,
};
use portcullis::clock::{Clock, UnixTime};
use portcullis::keys::{Algorithm, KeySet, from_secret};

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
const URL: &str = "https://id.example.com/";
const SECRET: &[u8] = b"0Kq3vJ8sZr5xTn2WmYb7LcPd4HgFaE6u";

static ISSUERS: LazyLock<Arc<IssuerSet>> = LazyLock::new(|| {
    let audience = Audience::OneOf(vec!["api".to_owned()]);
    let mut settings = IssuerSettings::new("main", ExpectedIss::Url(URL.to_owned()), audience);
    settings.algorithms = vec![Algorithm::HS256];
    let keys = KeySet::fixed(vec![from_secret(SECRET).expect("a strong secret")]);
    IssuerSet::new(vec![Issuer::new(settings, keys)]).expect("one issuer")
});

fuzz_target!(|data: &[u8]| {
    if let Ok(value) = HeaderValue::from_bytes(data) {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value);
        if let Ok(token) = bearer(&headers) {
            assert!(verify(token).is_err(), "forged: {token:?}");
        }
    }
    assert!(verify(&String::from_utf8_lossy(data)).is_err(), "forged");
    // The same bytes with a good signature: a header, a zero, claims.
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(0);
    let (header, claims) = data.split_at(end);
    let header = if header.is_empty() { br#"{"alg":"HS256"}"# } else { header };
    let claims = claims.strip_prefix(&[0]).unwrap_or(claims);
    if let Ok(principal) = verify(&seal(header, claims)) {
        assert!(principal.expires() > NOW);
        assert_eq!(principal.issuer(), Some(URL));
    }
});

fn verify(token: &str) -> Result<Arc<Principal>, Refusal> {
    let clock = Clock::fixed(NOW);
    let verifying = pin!(explain(&ISSUERS, token, Lookup::Known, &clock));
    match verifying.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready((_, verdict)) => verdict,
        Poll::Pending => unreachable!("known keys are not waited for"),
    }
}

fn seal(header: &[u8], claims: &[u8]) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!("{}.{}", encode(header), encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", encode(signature.as_ref()))
}

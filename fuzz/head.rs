//! A request's head, as hyper would hand it over: refused, or with one host, one framing and none
//! of the headers that only the gateway may set.

use hyper::http::request::{Builder, Parts};
use hyper::{HeaderMap, Request, Version, header};
use portcullis::http::headers::screen_underscores;
use portcullis::http::hop_by_hop::HopByHop;
use portcullis::http::{Asserted, Authority, HeadLimits, Scheme, UnderscorePolicy, head};

const LIMITS: HeadLimits = HeadLimits { count: 90, line: 8 * 1024, size: 32 * 1024 };

pub(crate) fn check(data: &[u8]) {
    let Some(mut parts) = parts(data) else { return };
    let Ok(checked) = head::check(&parts, Scheme::Https, &LIMITS) else { return };

    let host = checked.authority.host();
    let again = Authority::parse(host, Scheme::Https);
    assert_eq!(again.as_ref().map(Authority::host), Some(host), "another host");
    assert!(!matches!(parts.method.as_str(), "CONNECT" | "TRACE"));
    let count = |headers: &HeaderMap, name| headers.get_all(name).iter().count();
    assert!(count(&parts.headers, header::HOST) <= 1);
    let lengths = count(&parts.headers, header::CONTENT_LENGTH);
    assert!(lengths + count(&parts.headers, header::TRANSFER_ENCODING) <= 1, "two framings");

    let asserted = Asserted::new([header::HeaderName::from_static("x-user")]);
    asserted.strip(&mut parts.headers);
    assert_eq!(asserted.strip(&mut parts.headers), 0, "a spelling was left");
    if screen_underscores(&mut parts.headers, UnderscorePolicy::Drop, &[]).is_ok() {
        assert!(!parts.headers.keys().any(|name| name.as_str().contains('_')));
    }
    if let Ok(dropped) = HopByHop::of_request(&parts.headers) {
        assert!(dropped.contains(&header::CONNECTION));
    }
}

/// A byte for the version, then lines: method and target, and a header each.
fn parts(data: &[u8]) -> Option<Parts> {
    let (version, rest) = data.split_first()?;
    let mut lines = rest.split(|byte| *byte == b'\n');
    let mut first = lines.next()?.splitn(2, |byte| *byte == b' ');
    let builder = Request::builder()
        .version(if version % 2 == 0 { Version::HTTP_11 } else { Version::HTTP_2 })
        .method(first.next()?)
        .uri(first.next()?);
    let builder = lines.try_fold(builder, |builder: Builder, line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some(builder.header(line.get(..colon)?, line.get(colon + 1..)?))
    })?;
    Some(builder.body(()).ok()?.into_parts().0)
}

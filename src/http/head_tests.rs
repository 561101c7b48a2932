//! The refusals of `head::check`, row by row.

use hyper::Request;
use proptest::prelude::*;

use super::*;

const LIMITS: HeadLimits = HeadLimits { count: 90, line: 8 * 1024, size: 32 * 1024 };

fn parts(method: &str, target: &str, version: Version, headers: &[(&str, &[u8])]) -> Parts {
    let mut request = Request::builder().method(method).uri(target).version(version);
    for (name, value) in headers {
        request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
    }
    request.body(()).unwrap().into_parts().0
}

fn check_as(
    version: Version,
    method: &str,
    target: &str,
    headers: &[(&str, &[u8])],
) -> Result<Head, HeadError> {
    check(&parts(method, target, version, headers), Scheme::Https, &LIMITS)
}

fn check_11(method: &str, target: &str, headers: &[(&str, &[u8])]) -> Result<Head, HeadError> {
    check_as(Version::HTTP_11, method, target, headers)
}

fn with_host<'h>(headers: &[(&'h str, &'h [u8])]) -> Vec<(&'h str, &'h [u8])> {
    let mut all: Vec<(&str, &[u8])> = vec![("host", b"a.example")];
    all.extend_from_slice(headers);
    all
}

fn is_bad_request<T>(result: Result<T, HeadError>) -> bool {
    matches!(result, Err(HeadError::BadRequest(_)))
}

#[test]
fn an_ordinary_head_passes() {
    let head = check_11("GET", "/a?b", &[("host", b"A.Example.:443")]).unwrap();
    assert_eq!(head.authority.host(), "a.example");
    assert_eq!(head.authority.port(), None);
    assert_eq!(head.host, "A.Example.:443", "forwarded as written");
    assert_eq!(head.target, Target::Path);
    let continued = with_host(&[("expect", b"100-Continue"), ("content-length", b"5")]);
    assert!(check_11("POST", "/", &continued).is_ok());
    assert!(check_11("PROPFIND", "/", &with_host(&[("transfer-encoding", b"Chunked")])).is_ok());
}

#[test]
fn connect_and_trace_are_refused_in_every_case() {
    for method in ["CONNECT", "TRACE", "connect", "tRACE"] {
        let result = check_11(method, "a.example:443", &[("host", b"a.example")]);
        assert_eq!(result, Err(HeadError::MethodNotAllowed), "{method}");
    }
}

#[test]
fn target_forms() {
    assert_eq!(check_11("OPTIONS", "*", &with_host(&[])).unwrap().target, Target::Asterisk);
    assert!(is_bad_request(check_11("GET", "*", &with_host(&[]))));
    assert!(is_bad_request(check_11("GET", "admin", &[("host", b"admin")])));
    assert!(is_bad_request(check_11("GET", "a.example:80", &with_host(&[]))));
    assert!(is_bad_request(check_11("GET", "ftp://a.example/", &with_host(&[]))));
    assert!(check_11("GET", "http://a.example/x", &with_host(&[])).is_ok());
    assert!(check_11("GET", "https://a.example:443/x", &with_host(&[])).is_ok());
    assert!(check_11("GET", "http://a.example?x", &with_host(&[])).is_ok());
}

#[test]
fn hosts_of_http1() {
    let bad: [&[(&str, &[u8])]; 10] = [
        &[],
        &[("host", b"")],
        &[("host", b"a"), ("host", b"a")],
        &[("host", b"a, b")],
        &[("host", b"user@a")],
        &[("host", b"a b")],
        &[("host", b"a/../b")],
        &[("host", b"\xff")],
        &[("host", b"a:http")],
        &[("host", b"[::1")],
    ];
    for headers in bad {
        assert_eq!(check_11("GET", "/", headers), Err(HeadError::BadHost), "{headers:?}");
    }
    let old = check_as(Version::HTTP_10, "GET", "/", &[]);
    assert_eq!(old, Err(HeadError::BadHost), "no route can be chosen without a host");
    assert!(check_as(Version::HTTP_10, "GET", "/", &[("host", b"a")]).is_ok());
    assert_eq!(check_11("GET", "/", &[("host", b"[::1]:8443")]).unwrap().authority.host(), "[::1]");
}

#[test]
fn an_absolute_target_and_the_host_must_agree() {
    let agreeing = check_11("GET", "http://A.example:443/", &with_host(&[])).unwrap();
    assert_eq!(agreeing.host, "A.example:443", "the target's spelling wins");
    for (target, host) in [
        ("http://a.example/", "b.example"),
        ("http://a.example:8080/", "a.example"),
        ("http://user@a.example/", "a.example"),
        ("http://a.example@b.example/", "b.example"),
    ] {
        let result = check_11("GET", target, &[("host", host.as_bytes())]);
        assert_eq!(result, Err(HeadError::BadHost), "{target} {host}");
    }
    let alone = check_as(Version::HTTP_11, "GET", "http://a.example/", &[]);
    assert_eq!(alone, Err(HeadError::BadHost), "HTTP/1.1 asks for `Host` all the same");
    let alone = check_as(Version::HTTP_10, "GET", "http://a.example/", &[]).unwrap();
    assert_eq!(alone.authority.host(), "a.example");
}

#[test]
fn hosts_of_http2() {
    let h2 =
        |target: &str, headers: &[(&str, &[u8])]| check_as(Version::HTTP_2, "GET", target, headers);
    assert_eq!(h2("https://a.example/x", &[]).unwrap().host, "a.example");
    assert!(h2("https://a.example/x", &[("host", b"A.EXAMPLE")]).is_ok());
    assert!(h2("/x", &[("host", b"a.example")]).is_ok(), ":authority may be absent");
    assert_eq!(h2("/x", &[]), Err(HeadError::BadHost));
    assert_eq!(h2("https://a.example/x", &[("host", b"b.example")]), Err(HeadError::BadHost));
    assert_eq!(h2("https://u@a.example/x", &[]), Err(HeadError::BadHost));
    let twice: [(&str, &[u8]); 2] = [("host", b"a.example"), ("host", b"a.example")];
    assert_eq!(h2("https://a.example/x", &twice), Err(HeadError::BadHost));
}

#[test]
fn framing_has_one_reading() {
    let bad: [&[(&str, &[u8])]; 14] = [
        &[("transfer-encoding", b"cow, chunked")],
        &[("transfer-encoding", b"chunked, chunked")],
        &[("transfer-encoding", b",chunked")],
        &[("transfer-encoding", b"")],
        &[("transfer-encoding", b"identity")],
        &[("transfer-encoding", b"gzip, chunked")],
        &[("transfer-encoding", b"chunked;q=1")],
        &[("transfer-encoding", b"chunked"), ("transfer-encoding", b"chunked")],
        &[("transfer-encoding", b"chunked"), ("content-length", b"5")],
        &[("content-length", b"5"), ("content-length", b"5")],
        &[("content-length", b"5, 5")],
        &[("content-length", b"+5")],
        &[("content-length", b"")],
        &[("content-type", b"text/plain"), ("content-type", b"text/plain")],
    ];
    for headers in bad {
        assert!(is_bad_request(check_11("POST", "/", &with_host(headers))), "{headers:?}");
    }
    let chunked = with_host(&[("transfer-encoding", b"chunked")]);
    assert!(is_bad_request(check_as(Version::HTTP_10, "POST", "/", &chunked)));
    assert!(is_bad_request(check_as(Version::HTTP_09, "GET", "/", &with_host(&[]))));
}

#[test]
fn http2_has_no_connection_fields() {
    for (name, value) in [
        ("connection", "x-user"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
    ] {
        let headers = [(name, value.as_bytes())];
        let result = check_as(Version::HTTP_2, "GET", "https://a.example/", &headers);
        assert!(is_bad_request(result), "{name}");
    }
    for value in [&b" x"[..], b"\tx", b"x ", b"x\t", b" "] {
        let headers = [("x-a", &b"y"[..]), ("x-b", value)];
        assert!(is_bad_request(check_as(Version::HTTP_2, "GET", "https://a.example/", &headers)));
    }
    let inside: [(&str, &[u8]); 2] = [("x-a", b""), ("x-b", b"x \t y")];
    assert!(check_as(Version::HTTP_2, "GET", "https://a.example/", &inside).is_ok());
    let trailers: [(&str, &[u8]); 1] = [("te", b"trailers")];
    assert!(check_as(Version::HTTP_2, "GET", "https://a.example/", &trailers).is_ok());
}

#[test]
fn expectations_other_than_continue_fail() {
    let bad: [&[(&str, &[u8])]; 3] = [
        &[("expect", b"200-ok")],
        &[("expect", b"")],
        &[("expect", b"100-continue"), ("expect", b"100-continue")],
    ];
    for headers in bad {
        let result = check_11("POST", "/", &with_host(headers));
        assert_eq!(result, Err(HeadError::ExpectationFailed), "{headers:?}");
    }
}

#[test]
fn sizes_are_limited_each_and_together() {
    let limits = HeadLimits { count: 3, line: 40, size: 90 };
    let measure = |target: &str, headers: &[(&str, &[u8])]| {
        let parts = parts("GET", target, Version::HTTP_11, &with_host(headers));
        check(&parts, Scheme::Http, &limits).map(drop)
    };
    let long_target = format!("/{}", "a".repeat(40));
    assert_eq!(measure(&long_target, &[]), Err(HeadError::TargetTooLong));
    assert_eq!(measure(&format!("/{}", "a".repeat(39)), &[]), Ok(()));
    let value = [b'v'; 35];
    assert_eq!(measure("/", &[("x", &value)]), Ok(()), "1 + 4 + 35 is the limit");
    assert_eq!(measure("/", &[("xy", &value)]), Err(HeadError::HeadersTooLarge));
    assert_eq!(measure("/", &[("x", &value), ("y", &value)]), Err(HeadError::HeadersTooLarge));
    let small: [(&str, &[u8]); 3] = [("a", b""), ("a", b""), ("a", b"")];
    assert_eq!(measure("/", &small[..2]), Ok(()));
    assert_eq!(measure("/", &small), Err(HeadError::HeadersTooLarge));
}

fn hosts() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        Just(None),
        prop::sample::select(vec!["a.example", "A.example.:443", "b.example", "[::1]:8443"])
            .prop_map(|host| Some(host.to_owned())),
        "[ -~]{0,12}".prop_map(Some),
    ]
}

proptest! {
    /// Whatever else a head holds: one that passes has one host in normal form and one framing.
    #[test]
    fn a_head_that_passes_has_one_reading(
        http2 in any::<bool>(),
        method in prop::sample::select(vec!["GET", "POST", "OPTIONS", "TRACE", "connect", "X"]),
        target in prop::sample::select(vec![
            "/", "*", "/a?b", "http://a.example/x", "https://u@a.example/", "ftp://a.example/", "a",
        ]),
        host in hosts(),
        second in hosts(),
        framing in prop::collection::vec((any::<bool>(), "chunked|Chunked|,chunked|0|5|5, 5|\\+5|"), 0..3),
    ) {
        let mut lines: Vec<(&str, &[u8])> = Vec::new();
        lines.extend(host.iter().chain(&second).map(|host| ("host", host.as_bytes())));
        for (coding, value) in &framing {
            let name = if *coding { "transfer-encoding" } else { "content-length" };
            lines.push((name, value.as_bytes()));
        }
        let version = if http2 { Version::HTTP_2 } else { Version::HTTP_11 };
        if let Ok(head) = check_as(version, method, target, &lines) {
            prop_assert!(lines.iter().filter(|(name, _)| *name == "host").count() <= 1);
            prop_assert!(framing.len() <= 1);
            prop_assert!(!method.eq_ignore_ascii_case("trace") && method != "connect");
            let again = Authority::parse(head.authority.host(), Scheme::Https);
            prop_assert_eq!(again.as_ref().map(Authority::host), Some(head.authority.host()));
            prop_assert_eq!(head.target == Target::Asterisk, target == "*");
        }
    }
}

//! Spellings of header names.

use proptest::prelude::*;

use super::*;

fn name(text: &str) -> HeaderName {
    HeaderName::from_bytes(text.as_bytes()).unwrap()
}

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    lines.iter().map(|(n, v)| (name(n), HeaderValue::from_str(v).unwrap())).collect()
}

#[test]
fn j28_every_spelling_of_an_asserted_header_goes() {
    let asserted = Asserted::new([name("X-User"), name("x_roles")]);
    let mut headers = map(&[
        ("X-User", "eve"),
        ("x_user", "eve"),
        ("X-USER", "eve"),
        ("x.user", "eve"),
        ("X-Roles", "admin"),
        ("X_Forwarded_For", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("X-Forwarded-Ssl", "off"),
        ("X_FORWARDED-Anything", "1"),
        ("Forwarded", "for=1"),
        ("SCRIPT_NAME", "/public"),
        ("Path-Info", "/"),
        ("Remote_User", "root"),
        ("Proxy", "http://evil"),
        ("X-Accel-Redirect", "/etc"),
        ("x_accel_internal", "/etc"),
        ("X-Client-Cert-Subject", "CN=root"),
        ("X-Portcullis-Anything", "1"),
        ("X-Real-IP", "127.0.0.1"),
        ("X-Request-ID", "1"),
        ("Front-End-Https", "on"),
        ("X-Original-URL", "/admin"),
    ]);
    assert_eq!(asserted.strip(&mut headers), 22);
    assert!(headers.is_empty(), "{headers:?}");
}

#[test]
fn other_headers_stay() {
    let asserted = Asserted::new([name("X-User")]);
    let lines = [
        ("accept", "*/*"),
        ("authorization", "Bearer x"),
        ("cookie", "a=b"),
        ("via", "1.1 x"),
        ("x-users", "1"),
        ("x-use", "1"),
        ("ax-user", "1"),
        ("proxy-x", "1"),
        ("x-forwardedfor", "1"),
        ("x-request-idx", "1"),
    ];
    let mut headers = map(&lines);
    assert_eq!(asserted.strip(&mut headers), 0);
    assert_eq!(headers.len(), lines.len());
}

#[test]
fn underscores_are_dropped_or_refused_but_for_the_allowed() {
    let lines = [("x_legacy", "1"), ("x_other", "1"), ("x_other", "2"), ("x-fine", "1")];
    let allowed = [name("x_legacy")];
    let mut headers = map(&lines);
    assert_eq!(screen_underscores(&mut headers, UnderscorePolicy::Drop, &allowed), Ok(2));
    assert_eq!(headers.len(), 2);
    assert_eq!(screen_underscores(&mut headers, UnderscorePolicy::Reject, &allowed), Ok(0));
    let mut headers = map(&lines);
    assert!(screen_underscores(&mut headers, UnderscorePolicy::Reject, &allowed).is_err());
}

#[test]
fn the_allow_list_opens_no_door_to_framing_or_forwarding() {
    for spelling in
        ["x_forwarded_for", "script_name", "content_length", "transfer_encoding", "x_accel_x"]
    {
        let mut headers = map(&[(spelling, "1")]);
        let dropped = screen_underscores(&mut headers, UnderscorePolicy::Drop, &[name(spelling)]);
        assert_eq!(dropped, Ok(1), "{spelling}");
    }
}

#[test]
fn cookies_are_joined_as_one_line() {
    let mut headers = map(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c")]);
    join_cookies(&mut headers);
    let lines: Vec<_> = headers.get_all(header::COOKIE).iter().collect();
    assert_eq!(lines, ["a=1; b=2; c"]);
    join_cookies(&mut headers);
    assert_eq!(headers.get(header::COOKIE).unwrap(), "a=1; b=2; c");
}

proptest! {
    #[test]
    fn no_respelling_of_an_identity_header_survives(
        separators in prop::collection::vec(prop::sample::select(vec!["-", "_", ".", "~"]), 2),
        upper in any::<[bool; 3]>(),
    ) {
        let word = |text: &str, upper: bool| {
            if upper { text.to_ascii_uppercase() } else { text.to_owned() }
        };
        let spelling = format!(
            "{}{}{}{}{}",
            word("x", upper[0]), separators[0], word("auth", upper[1]), separators[1],
            word("user", upper[2]),
        );
        let mut headers = map(&[(&spelling, "eve")]);
        prop_assert_eq!(Asserted::new([name("X-Auth-User")]).strip(&mut headers), 1);
    }
}

#[test]
fn a_bearer_scheme_is_written_as_applications_compare_it() {
    for (sent, kept) in [
        ("bearer abc", "Bearer abc"),
        ("BEARER  abc", "Bearer  abc"),
        ("Bearer abc", "Bearer abc"),
        ("Basic abc", "Basic abc"),
        ("bearer", "bearer"),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static(sent));
        canonical_bearer(&mut headers);
        assert_eq!(headers[AUTHORIZATION], kept);
    }
}

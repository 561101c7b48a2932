use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn written(origin: &Origin<'_>) -> String {
    let mut head = Vec::new();
    write_forwarded(&mut head, origin);
    String::from_utf8(head).unwrap()
}

#[test]
fn forwarding_headers_say_what_the_socket_says() {
    let host = HeaderValue::from_static("App.example:8443");
    let client = Some("::ffff:192.0.2.7".parse().unwrap());
    let origin = Origin {
        client,
        hops: &[],
        scheme: Scheme::Https,
        host: &host,
        port: 443,
        standard: false,
    };
    assert_eq!(
        written(&origin),
        "x-forwarded-for: 192.0.2.7\r\nx-real-ip: 192.0.2.7\r\nx-forwarded-proto: https\r\n\
         x-forwarded-host: App.example:8443\r\nx-forwarded-port: 443\r\n"
    );
    assert_eq!(
        written(&Origin { client: None, scheme: Scheme::Http, ..origin }),
        "x-forwarded-proto: http\r\nx-forwarded-host: App.example:8443\r\nx-forwarded-port: 443\r\n"
    );
}

#[test]
fn addresses_are_written_as_they_are_read() {
    for text in ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "255.255.255.255", "::", "2001:db8::1"]
    {
        let mut written = Vec::new();
        write_address(&mut written, text.parse().unwrap());
        assert_eq!(String::from_utf8(written).unwrap(), text);
    }
    let mut mapped = Vec::new();
    write_address(&mut mapped, "::ffff:203.0.113.9".parse().unwrap());
    assert_eq!(mapped, b"203.0.113.9");
}

#[test]
fn a_number_has_its_sixteen_digits() {
    for number in [0, 1, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX] {
        assert_eq!(hexadecimal(number).as_slice(), format!("{number:016x}").as_bytes());
    }
}

#[test]
fn every_octet_has_its_digits() {
    for octet in 0..=255_u8 {
        let address = Ipv4Addr::new(octet, 255 - octet, octet / 3, octet);
        let mut written = Vec::new();
        write_address(&mut written, address.into());
        assert_eq!(written, address.to_string().as_bytes());
    }
}

#[test]
fn request_ids_are_long_and_differ() {
    let ids: HashSet<HeaderValue> = (0..1000).map(|_| request_id()).collect();
    assert_eq!(ids.len(), 1000);
    let elsewhere = std::thread::spawn(request_id).join().unwrap();
    assert!(!ids.contains(&elsewhere));
    for id in ids {
        assert!(id.len() == 32 && id.as_bytes().iter().all(u8::is_ascii_hexdigit));
    }
}

#[test]
fn via_shows_loops_on_any_line_and_nothing_else() {
    let via = Via::new("portcullis-1a2b");
    let mut headers = HeaderMap::new();
    headers.append(header::VIA, HeaderValue::from_static("1.0 fred, 1.1 portcullis-1a2bc"));
    headers.append(header::VIA, HeaderValue::from_static("portcullis-1a2b"));
    assert!(!via.seen_in(&headers), "a longer name, or no protocol, is not ours");
    let mut looped = headers.clone();
    looped.append(header::VIA, HeaderValue::from_static("1.1 x,HTTP/2  PORTCULLIS-1A2B (c)"));
    assert!(via.seen_in(&looped));
    for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
        let mut own = headers.clone();
        own.append(header::VIA, via.entry(version).clone());
        assert!(via.seen_in(&own));
    }
}

#[test]
fn a_pseudonym_is_always_a_token() {
    let via = Via::new("my gate, (1)\r\n");
    let mut headers = HeaderMap::new();
    headers.append(header::VIA, via.entry(Version::HTTP_2).clone());
    assert_eq!(headers[header::VIA], "2 my-gate---1---");
    assert!(via.seen_in(&headers));
    assert!(!Via::new("").pseudonym.is_empty());
}

#[test]
fn applications_are_told_the_client_first_and_then_the_trusted_hops() {
    let host = HeaderValue::from_static("app.example");
    let (client, hops) = (ip("203.0.113.9"), [ip("::ffff:10.0.0.2"), ip("10.0.0.1")]);
    let origin = Origin {
        client: Some(client),
        hops: &hops,
        scheme: Scheme::Https,
        host: &host,
        port: 443,
        standard: false,
    };
    let told = written(&origin);
    assert!(told.contains("x-forwarded-for: 203.0.113.9, 10.0.0.2, 10.0.0.1\r\n"), "{told}");
    assert!(told.contains("x-real-ip: 203.0.113.9\r\n"), "{told}");
    let told = written(&Origin { client: None, ..origin });
    assert!(told.contains("x-forwarded-for: 10.0.0.2, 10.0.0.1\r\n"), "{told}");
    assert!(!told.contains("x-real-ip"), "who came first is not known");
}

// === what trusted proxies tell ===

const PEER: &str = "10.0.0.1";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn lines(lines: &[(&'static str, &str)]) -> HeaderMap {
    let line = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    lines.iter().map(line).collect()
}

fn trusted() -> Networks {
    Networks::new(["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap()), true)
}

/// What a trusted peer's headers tell.
fn heard(headers: &[(&'static str, &str)]) -> Result<Told, HeadError> {
    told(&lines(headers), Some(ip(PEER)), &trusted()).map(Option::unwrap)
}

fn client(headers: &[(&'static str, &str)]) -> Option<IpAddr> {
    heard(headers).unwrap().client
}

#[test]
fn headers_of_a_peer_that_is_not_trusted_tell_nothing() {
    let headers = lines(&[("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.2")]);
    assert_eq!(told(&headers, Some(ip("203.0.113.1")), &trusted()), Ok(None));
    assert_eq!(told(&headers, Some(ip(PEER)), &Networks::default()), Ok(None));
    let without_unix = Networks::new(["10.0.0.0/8".parse().unwrap()], false);
    assert_eq!(told(&headers, None, &without_unix), Ok(None));
}

#[test]
fn the_list_is_read_from_the_right_until_somebody_is_not_trusted() {
    for (list, expected, hops) in [
        ("192.0.2.1", "192.0.2.1", &[PEER][..]),
        ("evil, 192.0.2.1", "192.0.2.1", &[PEER]),
        ("10.6.6.6, 192.0.2.1", "192.0.2.1", &[PEER]),
        ("192.0.2.1, 10.0.0.2", "192.0.2.1", &["10.0.0.2", PEER]),
        ("1.1.1.1,192.0.2.1 ,fd00::7,  10.0.0.2", "192.0.2.1", &["fd00::7", "10.0.0.2", PEER]),
        ("192.0.2.1:4711", "192.0.2.1", &[PEER]),
        ("[2001:db8::1]:4711", "2001:db8::1", &[PEER]),
        ("[2001:db8::1]", "2001:db8::1", &[PEER]),
        ("2001:db8::1", "2001:db8::1", &[PEER]),
        ("::ffff:192.0.2.1", "192.0.2.1", &[PEER]),
        ("192.0.2.1, ::ffff:10.0.0.2", "192.0.2.1", &["10.0.0.2", PEER]),
        ("192.0.2.1, ,", "192.0.2.1", &[PEER]),
        // Nobody but trusted hops: the farthest of them asks for itself.
        ("10.0.0.3, 10.0.0.2", "10.0.0.3", &["10.0.0.2", PEER]),
        ("", PEER, &[]),
    ] {
        let told = heard(&[("x-forwarded-for", list)]).unwrap();
        assert_eq!(told.client, Some(ip(expected)), "{list}");
        assert_eq!(told.hops, hops.iter().map(|hop| ip(hop)).collect::<Vec<_>>(), "{list}");
    }
    // Lines are one list.
    let two = [("x-forwarded-for", "192.0.2.9, 192.0.2.1"), ("x-forwarded-for", "10.0.0.2")];
    assert_eq!(client(&two), Some(ip("192.0.2.1")));
    assert_eq!(client(&[]), Some(ip(PEER)));
    assert_eq!(told(&lines(&[]), None, &trusted()), Ok(Some(Told::default())));
}

#[test]
fn a_hop_that_is_no_address_leaves_the_client_unknown() {
    for entry in [
        "unknown",
        "_hidden",
        "unix:",
        "192.0.2.01",
        "192.0.2.1:",
        "192.0.2.1:port",
        "192.0.2.1:123456",
        "192.0.2.1 192.0.2.2",
        "[192.0.2.1]",
        "[2001:db8::1",
        "[2001:db8::1]x",
        "fe80::1%eth0",
        "for=192.0.2.1",
    ] {
        let list = format!("192.0.2.9, {entry}, 10.0.0.2");
        let told = heard(&[("x-forwarded-for", &list)]).unwrap();
        assert_eq!((told.client, told.hops), (None, vec![ip("10.0.0.2"), ip(PEER)]), "{entry}");
    }
    let endless = vec!["10.0.0.2"; 500].join(", ");
    let told = heard(&[("x-forwarded-for", &endless)]).unwrap();
    assert_eq!((told.client, told.hops.len()), (None, MOST_HOPS));
}

#[test]
fn forwarded_is_read_as_rfc_7239_writes_it() {
    for (line, expected, scheme) in [
        ("for=192.0.2.1", Some("192.0.2.1"), None),
        ("For=\"[2001:db8::1]:4711\"", Some("2001:db8::1"), None),
        ("for=\"192.0.2.1:80\";proto=https;by=10.0.0.1", Some("192.0.2.1"), Some(Scheme::Https)),
        ("proto=HTTP; for=192.0.2.1", Some("192.0.2.1"), Some(Scheme::Http)),
        ("for=\"a, for=1.1.1.1\", for=192.0.2.1", Some("192.0.2.1"), None),
        (
            "for=192.0.2.1;proto=https, for=10.0.0.2;proto=http",
            Some("192.0.2.1"),
            Some(Scheme::Https),
        ),
        ("for=\"192\\.0.2.1\"", Some("192.0.2.1"), None),
        ("for=192.0.2.1;x=\"\\\",for=9\"", Some("192.0.2.1"), None),
        (",for=192.0.2.1,", Some("192.0.2.1"), None),
        ("for=192.0.2.1, proto=https", None, Some(Scheme::Https)),
        ("for=_hidden", None, None),
        ("for=unknown", None, None),
        // Against the grammar: where the elements end is in doubt.
        ("for=192.0.2.1:80", None, None),
        ("for=\"192.0.2.9, for=192.0.2.1", None, None),
        ("for=192.0.2.1;for=192.0.2.2", None, None),
        ("for=192.0.2.1 proto=https", None, None),
        ("for = 192.0.2.1", None, None),
        ("192.0.2.1", None, None),
        ("for=", None, None),
    ] {
        let told = heard(&[("forwarded", line)]).unwrap();
        assert_eq!((told.client, told.scheme), (expected.map(ip), scheme), "{line}");
    }
    // Nothing that a client sends in a line of its own spoils what a proxy adds in another.
    let spoiled = [("forwarded", "for=\"evil"), ("forwarded", "for=192.0.2.1")];
    assert_eq!(client(&spoiled), Some(ip("192.0.2.1")));
}

#[test]
fn two_stories_that_differ_are_refused() {
    let both = |list, standard| heard(&[("x-forwarded-for", list), ("forwarded", standard)]);
    let agreed = both("evil, 192.0.2.1", "for=evil, for=192.0.2.1;proto=https").unwrap();
    assert_eq!(agreed.client, Some(ip("192.0.2.1")));
    assert_eq!(agreed.scheme, Some(Scheme::Https));
    for (list, standard) in [
        ("192.0.2.1", "for=10.0.0.9"),
        ("10.0.0.9", "for=192.0.2.1"),
        ("192.0.2.1", "for=unknown"),
        ("192.0.2.1", "for=\"broken"),
        ("192.0.2.1, 10.0.0.2", "for=10.0.0.2"),
    ] {
        assert!(matches!(both(list, standard), Err(HeadError::BadRequest(_))), "{list} {standard}");
    }
    let schemes = [("x-forwarded-proto", "http"), ("forwarded", "for=192.0.2.1;proto=https")];
    assert!(heard(&schemes).is_err());
}

#[test]
fn scheme_and_port_have_one_value_or_none() {
    for (values, scheme) in [
        (&["https"][..], Some(Scheme::Https)),
        (&["HTTP"], Some(Scheme::Http)),
        (&["wss"], Some(Scheme::Https)),
        (&["https, http"], None),
        (&["https", "https"], None),
        (&["gopher"], None),
        (&[""], None),
    ] {
        let headers: Vec<_> = values.iter().map(|value| ("x-forwarded-proto", *value)).collect();
        assert_eq!(heard(&headers).unwrap().scheme, scheme, "{values:?}");
    }
    for (value, port) in
        [("443", Some(443)), ("0", None), ("65536", None), ("+443", None), ("443, 80", None)]
    {
        assert_eq!(heard(&[("x-forwarded-port", value)]).unwrap().port, port, "{value}");
    }
}

proptest! {
    #[test]
    fn what_the_nearest_proxy_adds_is_the_client_whatever_the_client_wrote(
        written in prop::collection::vec("[ -~\\t]{0,40}", 0..4),
        octets in any::<[u8; 4]>(),
        standard in any::<bool>(),
    ) {
        let address = IpAddr::from(octets);
        prop_assume!(!trusted().contains(address));
        let name = if standard { "forwarded" } else { "x-forwarded-for" };
        let mut headers = HeaderMap::new();
        for line in &written {
            if let Ok(value) = HeaderValue::from_str(line) {
                headers.append(name, value);
            }
        }
        let added = if standard { format!("for={address}") } else { address.to_string() };
        headers.append(name, HeaderValue::try_from(added).unwrap());
        let told = told(&headers, Some(ip(PEER)), &trusted()).unwrap().unwrap();
        prop_assert_eq!(told.client, Some(address));
        prop_assert_eq!(told.hops, vec![ip(PEER)]);
    }

    #[test]
    fn no_bytes_panic_or_make_a_client_that_is_trusted_behind_one_that_is_not(
        listed in prop::collection::vec(any::<Vec<u8>>(), 0..4),
        standard in prop::collection::vec(any::<Vec<u8>>(), 0..4),
    ) {
        let mut headers = HeaderMap::new();
        for (name, values) in [("x-forwarded-for", listed), ("forwarded", standard)] {
            for value in values {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    headers.append(name, value);
                }
            }
        }
        if let Ok(told) = told(&headers, Some(ip(PEER)), &trusted()) {
            let told = told.unwrap();
            prop_assert!(told.hops.iter().all(|hop| trusted().contains(*hop)));
        }
    }
}

#[test]
fn forwarded_is_told_where_that_is_wanted() {
    let host = HeaderValue::from_static("example.com:8443");
    let hops = ["10.0.0.1".parse().unwrap(), "2001:db8::2".parse().unwrap()];
    let origin = Origin {
        client: Some("::ffff:192.0.2.1".parse().unwrap()),
        hops: &hops,
        scheme: Scheme::Https,
        host: &host,
        port: 8443,
        standard: true,
    };
    let line = |origin: &Origin<'_>| {
        let head = written(origin);
        head.lines().find(|line| line.starts_with("forwarded: ")).map(str::to_owned)
    };
    assert_eq!(
        line(&origin).as_deref(),
        Some(
            "forwarded: for=192.0.2.1;host=\"example.com:8443\";proto=https, for=10.0.0.1, \
             for=\"[2001:db8::2]\""
        )
    );
    let bare = Origin { client: None, hops: &[], scheme: Scheme::Http, ..origin };
    let expected = "forwarded: for=unknown;host=\"example.com:8443\";proto=http";
    assert_eq!(line(&bare).as_deref(), Some(expected));
    let quoted = HeaderValue::from_static("a\";for=evil");
    let line = line(&Origin { host: &quoted, ..bare }).unwrap();
    assert_eq!(line, "forwarded: for=unknown;proto=http");
}

//! Both formats, good and bad, and that what is written is read.

use proptest::prelude::*;

use super::*;

fn client_of(text: &str) -> Result<Named, Malformed> {
    Ok(Named::Client(text.parse().unwrap()))
}

fn binary(command: u8, family: u8, rest: &[u8]) -> ([u8; FIXED], Vec<u8>) {
    let mut fixed = [0; FIXED];
    fixed[..OPENING].copy_from_slice(&SIGNATURE);
    fixed[12] = command;
    fixed[13] = family;
    fixed[14..].copy_from_slice(&u16::try_from(rest.len()).unwrap().to_be_bytes());
    (fixed, rest.to_vec())
}

#[test]
fn lines_of_version_1_are_read() {
    for (line, named) in [
        ("PROXY TCP4 192.0.2.7 10.0.0.1 50000 443\r\n", client_of("192.0.2.7:50000")),
        ("PROXY TCP6 2001:db8::7 ::1 1 0\r\n", client_of("[2001:db8::7]:1")),
        ("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", client_of("192.0.2.7:1")),
        ("PROXY UNKNOWN\r\n", Ok(Named::Peer)),
        ("PROXY UNKNOWN 1 2 whatever\r\n", Ok(Named::Peer)),
    ] {
        assert_eq!(parse_v1(line.as_bytes()), named, "{line}");
    }
}

#[test]
fn what_is_no_line_of_version_1_is_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
    for line in [
        "",
        "\r\n",
        "PROXY\r\n",
        "PROXY TCP4\r\n",
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWN x\ny\r\n",
        "proxy TCP4 192.0.2.7 10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1 2",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1 2 \r\n",
        "PROXY  TCP4 192.0.2.7 10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2.07 10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 01 2\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 +1 2\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 65536 2\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1 \r\n",
        "PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        "PROXY TCP4 localhost 10.0.0.1 1 2\r\n",
        "PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n",
        &long,
    ] {
        assert_eq!(parse_v1(line.as_bytes()), Err(Malformed), "{line:?}");
    }
    assert_eq!(parse_v1(b"PROXY UNKNOWN \xff\r\n"), Err(Malformed));
}

#[test]
fn headers_of_version_2_are_read_and_their_extensions_are_not() {
    let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0xc3, 0x50, 1, 0xbb];
    let with_tlvs = [&v4[..], &[0x04, 0, 2, 0, 0, 0xee, 0xff, 0xff, 1]].concat();
    let mut v6 = [0_u8; 36];
    v6[15] = 1;
    v6[32..34].copy_from_slice(&7_u16.to_be_bytes());
    for (command, family, rest, named) in [
        (0x21, 0x11, &v4[..], client_of("192.0.2.7:50000")),
        (0x21, 0x11, &with_tlvs, client_of("192.0.2.7:50000")),
        (0x21, 0x21, &v6, client_of("[::1]:7")),
        (0x20, 0x00, &[], Ok(Named::Peer)),
        (0x20, 0x11, &v4, Ok(Named::Peer)),
        (0x20, 0x11, &[1], Ok(Named::Peer)),
        (0x21, 0x00, &[1, 2, 3], Ok(Named::Peer)),
        (0x21, 0x31, &[0; 216], Ok(Named::Peer)),
        // No stream, other versions, other commands, addresses cut short.
        (0x21, 0x12, &v4, Err(Malformed)),
        (0x21, 0x22, &v6, Err(Malformed)),
        (0x21, 0x41, &v4, Err(Malformed)),
        (0x22, 0x11, &v4, Err(Malformed)),
        (0x11, 0x11, &v4, Err(Malformed)),
        (0x31, 0x11, &v4, Err(Malformed)),
        (0x21, 0x11, &v4[..11], Err(Malformed)),
        (0x21, 0x21, &v6[..35], Err(Malformed)),
        (0x21, 0x31, &[0; 215], Err(Malformed)),
    ] {
        let (fixed, rest) = binary(command, family, rest);
        assert_eq!(parse_v2(fixed, &rest), named, "{command:x} {family:x} {rest:?}");
    }
    let (fixed, _) = binary(0x21, 0x11, &v4);
    assert_eq!(parse_v2(fixed, &v4[..4]), Err(Malformed), "not what its length says");
    let (long, _) = binary(0x21, 0x11, &[0; LONGEST_REST + 1]);
    assert_eq!(rest_v2(long), Err(Malformed));
    assert_eq!(version(*b"GET / HTTP/1"), Err(Malformed));
    assert_eq!(version(*b"PROXY TCP4 1"), Ok(Version::V1));
    assert_eq!(version(SIGNATURE), Ok(Version::V2));
}

/// Reads what was written, as a server would.
fn read(header: &[u8]) -> Result<Named, Malformed> {
    match version(header[..OPENING].try_into().unwrap())? {
        Version::V1 => parse_v1(header),
        Version::V2 => {
            let (fixed, rest) = header.split_at(FIXED);
            parse_v2(fixed.try_into().unwrap(), rest)
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(client: SocketAddr, server: SocketAddr) {
        for version in [Version::V1, Version::V2] {
            let header = write(version, Some(client), server);
            prop_assert!(version == Version::V2 || header.len() <= LONGEST_LINE);
            let expected = SocketAddr::new(client.ip().to_canonical(), client.port());
            prop_assert_eq!(read(&header), Ok(Named::Client(expected)));
            prop_assert_eq!(read(&write(version, None, server)), Ok(Named::Peer));
        }
    }

    #[test]
    fn no_bytes_are_read_in_two_ways(line in "PROXY (TCP4|TCP6|UNKNOWN)[ 0-9a-f.:\r\n]{0,60}\r\n") {
        if let Ok(Named::Client(client)) = parse_v1(line.as_bytes()) {
            // Whoever is named is named in the one spelling that we would write.
            let words: Vec<_> = line.trim_end().split(' ').collect();
            prop_assert_eq!(words.len(), 6);
            prop_assert_eq!(words[4], client.port().to_string());
        }
    }
}

//! Any bytes before a connection, from a peer that may say for whom it connects.

use std::net::SocketAddr;

use portcullis::http::proxy_protocol::{
    FIXED, LONGEST_LINE, LONGEST_REST, Named, OPENING, Version, parse_v1, parse_v2, rest_v2,
    version, write,
};

use super::pen;

pub(crate) fn check(data: &[u8]) {
    examine(data);
    let line = pen::words(data, WORDS);
    examine(format!("PROXY {line}\r\n").as_bytes());
    // A binary header that is nearly right: its command, family and length are chosen, too.
    let (chosen, rest) = data.split_at(data.len().min(3));
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.push(0x20 | chosen.first().copied().unwrap_or(1) & 0x13);
    header.push(FAMILIES[usize::from(chosen.get(1).copied().unwrap_or(0)) % FAMILIES.len()]);
    let off_by = chosen.get(2).map_or(0, |byte| usize::from(*byte == 0));
    let length = u16::try_from(rest.len() + off_by).expect("inputs are short");
    header.extend_from_slice(&length.to_be_bytes());
    header.extend_from_slice(rest);
    examine(&header);
}

const FAMILIES: &[u8] = &[0x00, 0x11, 0x11, 0x21, 0x21, 0x31, 0x12, 0xff];

const WORDS: &[&str] = &[
    "TCP4",
    "TCP6",
    "UNKNOWN",
    " ",
    " ",
    " ",
    " ",
    "192.0.2.7",
    "192.0.2.07",
    "10.0.0.1",
    "2001:db8::7",
    "::ffff:192.0.2.7",
    "::1%1",
    "1",
    "443",
    "0443",
    "65536",
    "+1",
    "\r\n",
    "\t",
];

fn examine(bytes: &[u8]) {
    let Some(opening) = bytes.first_chunk::<OPENING>() else { return };
    match version(*opening) {
        Err(_) => {
            assert!(parse_v1(bytes).is_err(), "{bytes:?}");
            let fixed = bytes.first_chunk::<FIXED>();
            assert!(fixed.is_none_or(|fixed| rest_v2(*fixed).is_err()), "{bytes:?}");
        }
        Ok(Version::V1) => {
            let Ok(named) = parse_v1(bytes) else { return };
            assert!(bytes.len() <= LONGEST_LINE, "{bytes:?}");
            assert_eq!(bytes.iter().filter(|byte| matches!(byte, b'\r' | b'\n')).count(), 2);
            if let Named::Client(client) = named {
                // Read by another hand: the words where the format has them, and no others.
                let line = std::str::from_utf8(bytes).expect("a line of text").trim_end();
                let words: Vec<_> = line.split(' ').collect();
                assert_eq!(words.len(), 6, "{line}");
                assert_eq!(
                    words[2].parse().map(|ip: std::net::IpAddr| ip.to_canonical()),
                    Ok(client.ip())
                );
                assert_eq!(words[4], client.port().to_string(), "{line}");
                again(client);
            }
        }
        Ok(Version::V2) => {
            let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else { return };
            let Ok(length) = rest_v2(*fixed) else { return };
            assert!(length <= LONGEST_REST);
            if rest.len() != length {
                assert!(parse_v2(*fixed, rest).is_err(), "{bytes:?}");
                return;
            }
            if let Ok(Named::Client(client)) = parse_v2(*fixed, rest) {
                let addresses = if fixed[13] == 0x11 { 12 } else { 36 };
                assert!(fixed[12] == 0x21 && length >= addresses, "{bytes:?}");
                again(client);
            }
        }
    }
}

/// What was read is written so that it is read the same.
fn again(client: SocketAddr) {
    assert_eq!(client.ip(), client.ip().to_canonical());
    let server = SocketAddr::from(([192, 0, 2, 1], 443));
    let line = write(Version::V1, Some(client), server);
    assert_eq!(parse_v1(&line), Ok(Named::Client(client)));
    let header = write(Version::V2, Some(client), server);
    let (fixed, rest) = header.split_first_chunk::<FIXED>().expect("a whole header");
    assert_eq!(parse_v2(*fixed, rest), Ok(Named::Client(client)));
}

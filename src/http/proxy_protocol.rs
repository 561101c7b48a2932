//! The PROXY protocol: how a load balancer says for whom it connects (HAProxy's specification,
//! doc/proxy-protocol.txt, versions 1 and 2).
//!
//! Owns the two formats, both ways. Believes no length: a version 1 line has at most 107 bytes, and
//! addresses that do not fit the length of a version 2 header are refused. Refused are also
//! spellings that two readers could take for different addresses. Extensions (TLVs) are passed over.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The bytes that decide between the versions, and that the shortest header has.
pub const OPENING: usize = 12;

/// The fixed part of a version 2 header.
pub const FIXED: usize = 16;

/// The longest line of version 1, with its CRLF.
pub const LONGEST_LINE: usize = 107;

/// What follows the fixed part of version 2, at most: addresses of unix sockets and a page of TLVs.
pub const LONGEST_REST: usize = 4096;

const SIGNATURE: [u8; OPENING] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Whom a header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The client.
    Client(SocketAddr),
    /// Nobody but the peer itself: a health check of the balancer's own, or a client without an
    /// address.
    Peer,
}

/// Not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// The line of text.
    V1,
    /// The binary header.
    V2,
}

/// The version that a header's first bytes belong to.
///
/// # Errors
/// They belong to none.
pub fn version(opening: [u8; OPENING]) -> Result<Version, Malformed> {
    if opening == SIGNATURE {
        return Ok(Version::V2);
    }
    if opening.starts_with(b"PROXY ") { Ok(Version::V1) } else { Err(Malformed) }
}

/// Reads a line of version 1, with its CRLF.
///
/// # Errors
/// It is none.
pub fn parse_v1(line: &[u8]) -> Result<Named, Malformed> {
    let line = line.strip_suffix(b"\r\n").filter(|line| line.len() <= LONGEST_LINE - 2);
    let line = line.and_then(|line| std::str::from_utf8(line).ok()).ok_or(Malformed)?;
    let mut words = line.split(' ');
    if words.next() != Some("PROXY") {
        return Err(Malformed);
    }
    let is_v4 = match words.next() {
        Some("TCP4") => true,
        Some("TCP6") => false,
        // Whatever follows is to be ignored; a second line end would be another line.
        Some("UNKNOWN") if !line.contains(['\r', '\n']) => return Ok(Named::Peer),
        Some(_) | None => return Err(Malformed),
    };
    let mut address = || -> Result<IpAddr, Malformed> {
        let word = words.next().ok_or(Malformed)?;
        let address = if is_v4 {
            word.parse::<Ipv4Addr>().map(IpAddr::V4)
        } else {
            word.parse::<Ipv6Addr>().map(IpAddr::V6)
        };
        address.map_err(|_| Malformed)
    };
    let (source, _destination) = (address()?, address()?);
    let mut port = || words.next().and_then(port_of).ok_or(Malformed);
    let (from, _to) = (port()?, port()?);
    match words.next() {
        None => Ok(client(source, from)),
        Some(_) => Err(Malformed),
    }
}

/// How many bytes follow the fixed part of a version 2 header.
///
/// # Errors
/// It is no header, or longer than anybody needs.
pub fn rest_v2(fixed: [u8; FIXED]) -> Result<usize, Malformed> {
    let [.., high, low] = fixed;
    let rest = usize::from(u16::from_be_bytes([high, low]));
    if fixed.starts_with(&SIGNATURE) && rest <= LONGEST_REST { Ok(rest) } else { Err(Malformed) }
}

/// Reads a version 2 header: its fixed part and what follows.
///
/// # Errors
/// It is malformed, or not of a stream.
pub fn parse_v2(fixed: [u8; FIXED], rest: &[u8]) -> Result<Named, Malformed> {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    if rest_v2(fixed)? != rest.len() {
        return Err(Malformed);
    }
    let [.., command, family, _, _] = fixed;
    match command {
        // Addresses of a local connection are to be ignored.
        LOCAL => return Ok(Named::Peer),
        PROXY => {}
        _ => return Err(Malformed),
    }
    match family {
        // Unspecified, and unix sockets: there is no address to go by.
        0x00 => Ok(Named::Peer),
        0x31 if rest.len() >= 216 => Ok(Named::Peer),
        0x11 => {
            let (source, rest) = rest.split_first_chunk::<4>().ok_or(Malformed)?;
            let (_destination, rest) = rest.split_first_chunk::<4>().ok_or(Malformed)?;
            ports(rest).map(|port| client(IpAddr::from(*source), port))
        }
        0x21 => {
            let (source, rest) = rest.split_first_chunk::<16>().ok_or(Malformed)?;
            let (_destination, rest) = rest.split_first_chunk::<16>().ok_or(Malformed)?;
            ports(rest).map(|port| client(IpAddr::from(*source), port))
        }
        _ => Err(Malformed),
    }
}

/// The header that says that a connection is made for `client`, who came to `server`; without a
/// client, that it is made for nobody but us.
pub fn write(version: Version, client: Option<SocketAddr>, server: SocketAddr) -> Vec<u8> {
    match version {
        Version::V1 => write_v1(client, server).into_bytes(),
        Version::V2 => write_v2(client, server),
    }
}

fn write_v1(client: Option<SocketAddr>, server: SocketAddr) -> String {
    let Some(client) = client else { return "PROXY UNKNOWN\r\n".to_owned() };
    let mut line = String::with_capacity(LONGEST_LINE);
    let (from, to) = (client.port(), server.port());
    let written = match pair(client.ip(), server.ip()) {
        Pair::V4(client, server) => write!(line, "PROXY TCP4 {client} {server} {from} {to}\r\n"),
        Pair::V6(client, server) => write!(line, "PROXY TCP6 {client} {server} {from} {to}\r\n"),
    };
    // A string takes all that fits into memory.
    let _never = written.is_err();
    line
}

fn write_v2(client: Option<SocketAddr>, server: SocketAddr) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    let Some(client) = client else {
        header.extend_from_slice(&[0x20, 0x00, 0, 0]);
        return header;
    };
    match pair(client.ip(), server.ip()) {
        Pair::V4(client, server) => {
            header.extend_from_slice(&[0x21, 0x11, 0, 12]);
            header.extend_from_slice(&client.octets());
            header.extend_from_slice(&server.octets());
        }
        Pair::V6(client, server) => {
            header.extend_from_slice(&[0x21, 0x21, 0, 36]);
            header.extend_from_slice(&client.octets());
            header.extend_from_slice(&server.octets());
        }
    }
    header.extend_from_slice(&client.port().to_be_bytes());
    header.extend_from_slice(&server.port().to_be_bytes());
    header
}

/// Both formats have one family for both ends.
enum Pair {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

fn pair(client: IpAddr, server: IpAddr) -> Pair {
    match (client.to_canonical(), server.to_canonical()) {
        (IpAddr::V4(client), IpAddr::V4(server)) => Pair::V4(client, server),
        (IpAddr::V6(client), IpAddr::V6(server)) => Pair::V6(client, server),
        // Where the client came to is of less interest than who it is.
        (IpAddr::V4(client), IpAddr::V6(_)) => Pair::V4(client, Ipv4Addr::UNSPECIFIED),
        (IpAddr::V6(client), IpAddr::V4(_)) => Pair::V6(client, Ipv6Addr::UNSPECIFIED),
    }
}

fn client(address: IpAddr, port: u16) -> Named {
    Named::Client(SocketAddr::new(address.to_canonical(), port))
}

/// The source port; the destination's must be there, too.
fn ports(rest: &[u8]) -> Result<u16, Malformed> {
    let (source, rest) = rest.split_first_chunk::<2>().ok_or(Malformed)?;
    let (_destination, _tlvs) = rest.split_first_chunk::<2>().ok_or(Malformed)?;
    Ok(u16::from_be_bytes(*source))
}

/// Digits alone, without leading zeros.
fn port_of(word: &str) -> Option<u16> {
    let plain =
        word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    plain.then(|| word.parse().ok()).flatten()
}

#[cfg(test)]
#[path = "proxy_protocol_tests.rs"]
mod tests;

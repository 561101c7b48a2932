//! What is told of a request's way: by trusted proxies to us, by us to applications.
//!
//! Owns the forwarding headers, `Via` and the request id. Trusts the socket for the peer's address.
//! What the request says about itself counts only if the peer is one that the operator trusts, and
//! then only as far as trusted hops vouch for it ([`told`]). Towards applications every value is
//! set, never appended to, since Django reads the leftmost of a list: what a client wrote there
//! does not go on. `Via` alone is appended to (RFC 9110 section 7.6.3), and shows loops.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::Version;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::authority::Scheme;
use super::head::HeadError;
use super::networks::Networks;

/// Where a request came from and what it asked for, as this gateway saw it.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The client's address; `None` on a unix socket, which has none worth telling.
    pub client: Option<IpAddr>,
    /// The trusted proxies that the request came through after the client, in its order.
    pub hops: &'a [IpAddr],
    /// How the client reached us, or the first proxy that we trust.
    pub scheme: Scheme,
    /// The host as the client wrote it.
    pub host: &'a HeaderValue,
    /// The port that the client asked.
    pub port: u16,
    /// Whether it is told in RFC 7239's words as well.
    pub standard: bool,
}

/// Writes `X-Forwarded-For` (the client, then the hops), `-Proto`, `-Host`, `-Port` and `X-Real-IP`
/// (the client alone) as lines of a head; what is not known has no line. None of these may stand in
/// it already.
pub fn write_forwarded(head: &mut Vec<u8>, origin: &Origin<'_>) {
    let mut separator: &[u8] = b"x-forwarded-for: ";
    for address in origin.client.iter().chain(origin.hops) {
        head.extend_from_slice(separator);
        write_address(head, *address);
        separator = b", ";
    }
    if separator == b", " {
        head.extend_from_slice(b"\r\n");
    }
    if let Some(client) = origin.client {
        head.extend_from_slice(b"x-real-ip: ");
        write_address(head, client);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"x-forwarded-proto: ");
    head.extend_from_slice(origin.scheme.as_str().as_bytes());
    head.extend_from_slice(b"\r\nx-forwarded-host: ");
    head.extend_from_slice(origin.host.as_bytes());
    head.extend_from_slice(b"\r\nx-forwarded-port: ");
    head.extend_from_slice(itoa::Buffer::new().format(origin.port).as_bytes());
    head.extend_from_slice(b"\r\n");
    if origin.standard {
        write_standard(head, origin);
    }
}

/// `Forwarded` (RFC 7239 section 4): an element for the client, with what it asked for, and one for
/// each hop.
fn write_standard(head: &mut Vec<u8>, origin: &Origin<'_>) {
    head.extend_from_slice(b"forwarded: for=");
    match origin.client {
        Some(client) => write_node(head, client),
        None => head.extend_from_slice(b"unknown"),
    }
    // A host holds neither; were it otherwise, it could write elements of its own.
    if !origin.host.as_bytes().iter().any(|byte| matches!(byte, b'"' | b'\\')) {
        head.extend_from_slice(b";host=\"");
        head.extend_from_slice(origin.host.as_bytes());
        head.push(b'"');
    }
    head.extend_from_slice(b";proto=");
    head.extend_from_slice(origin.scheme.as_str().as_bytes());
    for hop in origin.hops {
        head.extend_from_slice(b", for=");
        write_node(head, *hop);
    }
    head.extend_from_slice(b"\r\n");
}

/// Section 6.1: an IPv6 address stands in brackets, and those in quotes.
fn write_node(head: &mut Vec<u8>, address: IpAddr) {
    let address = address.to_canonical();
    if address.is_ipv6() {
        head.extend_from_slice(b"\"[");
        write_address(head, address);
        head.extend_from_slice(b"]\"");
    } else {
        write_address(head, address);
    }
}

/// Appends an address. A dual-stack listener sees IPv4 peers as `::ffff:192.0.2.1`; applications
/// compare addresses with lists of the plain form.
pub fn write_address(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                // By hand: this is done three times for every request.
                if octet >= 100 {
                    out.push(b'0' + octet / 100);
                }
                if octet >= 10 {
                    out.push(b'0' + octet / 10 % 10);
                }
                out.push(b'0' + octet % 10);
            }
        }
        IpAddr::V6(address) => out.extend_from_slice(address.to_string().as_bytes()),
    }
}

// === what trusted proxies tell ===

/// What trusted proxies told of a request's way here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The client: the hop farthest from us that a trusted one vouches for. `None` if that hop
    /// could not be told apart (`unknown`, an obfuscated name, garbage, no end of hops).
    pub client: Option<IpAddr>,
    /// The trusted proxies between the client and us, our peer last.
    pub hops: Vec<IpAddr>,
    /// How the client reached the first of them, if they said so.
    pub scheme: Option<Scheme>,
    /// The port that the client asked there, if they said so.
    pub port: Option<u16>,
}

/// What the forwarding headers of a request from `peer` (`None`: a unix socket) tell. `None` if
/// the peer is not trusted: then they are a client's invention.
///
/// `X-Forwarded-For` and `Forwarded` (RFC 7239) are read from right to left, that is from the hop
/// nearest to us, for as long as the hops are trusted. The first that is not is the client, and
/// whatever stands left of it is its own story. `X-Forwarded-Proto` and `-Port` count if there is
/// one of them, with one value. No header gives another host: `Host` comes through proxies as it
/// is, and a client's `X-Forwarded-Host` does too.
///
/// # Errors
/// The two families disagree. Proxies write one and pass the other on as the client sent it, and
/// which is which is not known here: to prefer either would let clients choose their address.
pub fn told(
    headers: &HeaderMap,
    peer: Option<IpAddr>,
    trusted: &Networks,
) -> Result<Option<Told>, HeadError> {
    const DISAGREE: HeadError = HeadError::BadRequest("`Forwarded` and `X-Forwarded-*` disagree");
    const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    if trusted.is_empty() || !trusted.contains_peer(peer) {
        return Ok(None);
    }
    let listed = headers.contains_key(FOR).then(|| {
        let lines = headers.get_all(FOR).iter().rev();
        let entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        let entries = entries.map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty());
        walk(peer, trusted, entries.map(|entry| Hop { address: address(entry), scheme: None }))
    });
    let standard = headers.contains_key(header::FORWARDED).then(|| {
        let lines = headers.get_all(header::FORWARDED).iter().rev();
        walk(peer, trusted, lines.flat_map(|line| elements(line.as_bytes()).into_iter().rev()))
    });
    let mut told = match (listed, standard) {
        (None, None) => walk(peer, trusted, std::iter::empty()),
        (Some(one), None) | (None, Some(one)) => one,
        (Some(listed), Some(standard)) if listed.client == standard.client => standard,
        (Some(_), Some(_)) => return Err(DISAGREE),
    };
    let scheme = single(headers, "x-forwarded-proto").and_then(scheme_of);
    if let (Some(one), Some(other)) = (scheme, told.scheme)
        && one != other
    {
        return Err(DISAGREE);
    }
    told.scheme = scheme.or(told.scheme);
    told.port = single(headers, "x-forwarded-port").and_then(port_of);
    Ok(Some(told))
}

/// More hops than any honest request makes; a client could otherwise have us read its 32 KiB of
/// addresses for each request, if one of its own is trusted.
const MOST_HOPS: usize = 32;

/// One entry of a list: who was it that this hop spoke with, and how?
struct Hop {
    /// `None` if it is no address.
    address: Option<IpAddr>,
    scheme: Option<Scheme>,
}

/// Follows the hops from the nearest one; each is known by the word of the one before it.
fn walk(peer: Option<IpAddr>, trusted: &Networks, entries: impl Iterator<Item = Hop>) -> Told {
    let mut known = Vec::from_iter(peer);
    let (mut scheme, mut lost) = (None, false);
    for hop in entries {
        scheme = hop.scheme;
        match hop.address.filter(|_| known.len() < MOST_HOPS) {
            Some(address) => {
                known.push(address);
                if !trusted.contains(address) {
                    break;
                }
            }
            None => {
                lost = true;
                break;
            }
        }
    }
    // Where every hop is trusted, the farthest speaks for itself.
    let client = if lost { None } else { known.pop() };
    known.reverse();
    Told { client, hops: known, scheme, port: None }
}

/// The elements of one line of `Forwarded`, in order; a line that breaks RFC 7239's grammar is one
/// hop that can't be told apart: where its quotes end is in doubt, and with them every element.
fn elements(line: &[u8]) -> Vec<Hop> {
    const LOST: Hop = Hop { address: None, scheme: None };
    let mut hops = Vec::new();
    let mut rest = line.trim_ascii();
    while !rest.is_empty() {
        let Some((hop, after)) = element(rest) else { return vec![LOST] };
        // A list may have empty members (RFC 9110 section 5.6.1.2).
        hops.extend(hop);
        rest = after.trim_ascii_start();
    }
    hops
}

/// `[ pair ] *( ";" [ pair ] )` up to the next comma, and what follows that. White space is taken
/// around the signs, where it can't mean anything else.
fn element(text: &[u8]) -> Option<(Option<Hop>, &[u8])> {
    let (mut node, mut proto) = (None, None);
    let mut empty = true;
    let mut rest = text;
    loop {
        rest = rest.trim_ascii_start();
        match rest.split_first() {
            None => break,
            Some((b',', after)) => {
                rest = after;
                break;
            }
            Some((b';', after)) => rest = after,
            Some(_) => {
                let (name, value, after) = pair(rest)?;
                let after = after.trim_ascii_start();
                if !matches!(after.first(), None | Some(b',' | b';')) {
                    return None;
                }
                let place = match name.to_ascii_lowercase().as_slice() {
                    b"for" => Some(&mut node),
                    b"proto" => Some(&mut proto),
                    _ => None,
                };
                if place.is_some_and(|place| place.replace(value).is_some()) {
                    return None;
                }
                empty = false;
                rest = after;
            }
        }
    }
    let address = node.and_then(|node| address(&node));
    let scheme = proto.and_then(|proto| scheme_of(&proto));
    Some(((!empty).then_some(Hop { address, scheme }), rest))
}

/// `token "=" ( token / quoted-string )`, and what follows.
fn pair(text: &[u8]) -> Option<(&[u8], Vec<u8>, &[u8])> {
    let (name, rest) = token(text)?;
    let rest = rest.strip_prefix(b"=")?;
    if let Some((value, rest)) = token(rest) {
        return Some((name, value.to_vec(), rest));
    }
    let mut value = Vec::new();
    let mut bytes = rest.strip_prefix(b"\"")?;
    loop {
        let (&byte, after) = bytes.split_first()?;
        bytes = after;
        match byte {
            b'"' => return Some((name, value, bytes)),
            b'\\' => {
                let (&escaped, after) = bytes.split_first()?;
                value.push(escaped);
                bytes = after;
            }
            _ => value.push(byte),
        }
    }
}

fn token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let sign = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let end = text.iter().position(|byte| !sign(byte)).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(token, _)| !token.is_empty())
}

/// `192.0.2.1`, `2001:db8::1`, `[2001:db8::1]`, the first and the last also with a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (address, port): (IpAddr, _) = match text.strip_prefix('[') {
        Some(literal) => {
            let (address, port) = literal.split_once(']')?;
            (address.parse::<Ipv6Addr>().ok()?.into(), port)
        }
        None => {
            let (address, port) = text.split_at_checked(text.find(':')?)?;
            (address.parse::<Ipv4Addr>().ok()?.into(), port)
        }
    };
    let digits = |port: &str| {
        (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
    };
    let good = port.is_empty() || port.strip_prefix(':').is_some_and(digits);
    good.then(|| address.to_canonical())
}

/// The value of a header that stands there once.
fn single<'h>(headers: &'h HeaderMap, name: &'static str) -> Option<&'h [u8]> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    lines.next().is_none().then(|| first.as_bytes().trim_ascii())
}

/// Some proxies name the scheme of a WebSocket; it is that of the request which opened it.
fn scheme_of(text: &[u8]) -> Option<Scheme> {
    match text.to_ascii_lowercase().as_slice() {
        b"http" | b"ws" => Some(Scheme::Http),
        b"https" | b"wss" => Some(Scheme::Https),
        _ => None,
    }
}

fn port_of(text: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse::<u16>().ok().filter(|port| digits && *port != 0)
}

/// A fresh request id: 128 bits as 32 hexadecimal digits.
///
/// 64 bits are this thread's own, from the operating system; 64 are a counter, spread over them by
/// an odd factor, which no two counts share: nothing to lock, nothing to ask the system for, no two
/// alike. An id, not a secret.
pub fn request_id() -> HeaderValue {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    thread_local! {
        static NEXT: (u64, Cell<u64>) = {
            let keys = RandomState::new();
            (keys.hash_one(0_u8), Cell::new(keys.hash_one(1_u8)))
        };
    }
    let (thread, count) = NEXT.with(|(thread, next)| {
        let count = next.get();
        next.set(count.wrapping_add(SPREAD));
        (*thread, count)
    });
    let [high, low] = [count, thread].map(hexadecimal);
    let mut text = [0; 32];
    let (left, right) = text.split_at_mut(16);
    left.copy_from_slice(&high);
    right.copy_from_slice(&low);
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

/// Sixteen digits of a number, the highest first: all nibbles at once, each in a byte of its own.
const fn hexadecimal(number: u64) -> [u8; 16] {
    const ONES: u128 = u128::MAX / 0xff;
    let mut nibbles = number as u128;
    nibbles = (nibbles | (nibbles << 32)) & 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff;
    nibbles = (nibbles | (nibbles << 16)) & 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff;
    nibbles = (nibbles | (nibbles << 8)) & 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff;
    nibbles = (nibbles | (nibbles << 4)) & (0x0f * ONES);
    // Sixteen is reached by 10 and more, once 6 is added.
    let letters = ((nibbles + 6 * ONES) >> 4) & ONES;
    (nibbles + 0x30 * ONES + letters * 0x27).to_be_bytes()
}

/// This gateway's entry in `Via`.
#[derive(Clone, Debug)]
pub struct Via {
    pseudonym: String,
    http_10: HeaderValue,
    http_11: HeaderValue,
    http_2: HeaderValue,
}

impl Via {
    /// For a gateway called `pseudonym`; characters that no token may hold become `-`.
    pub fn new(pseudonym: &str) -> Self {
        let mut pseudonym = pseudonym.replace(
            |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~')),
            "-",
        );
        if pseudonym.is_empty() {
            pseudonym.push('-');
        }
        let entry = |version: &str| {
            HeaderValue::from_str(&format!("{version} {pseudonym}"))
                .unwrap_or_else(|_| HeaderValue::from_static("1.1 -"))
        };
        Self { http_10: entry("1.0"), http_11: entry("1.1"), http_2: entry("2"), pseudonym }
    }

    /// Whether the request has passed this gateway before.
    ///
    /// Looks at every entry of every line. To be asked before `Connection: via` can have removed
    /// them.
    pub fn seen_in(&self, headers: &HeaderMap) -> bool {
        headers.get_all(header::VIA).iter().any(|line| {
            line.as_bytes().split(|&byte| byte == b',').any(|entry| {
                let mut words =
                    entry.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
                words.nth(1).is_some_and(|by| by.eq_ignore_ascii_case(self.pseudonym.as_bytes()))
            })
        })
    }

    /// This gateway's entry; `version` is that of the message received.
    pub fn entry(&self, version: Version) -> &HeaderValue {
        match version {
            Version::HTTP_10 => &self.http_10,
            Version::HTTP_2 => &self.http_2,
            _ => &self.http_11,
        }
    }
}

#[cfg(test)]
#[path = "forwarded_tests.rs"]
mod tests;

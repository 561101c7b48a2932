//! A record as a line of text, written by hand: no allocation, no float formatting.
//!
//! Owns the names of the fields. What the client sent goes through [`Escape`]; numbers and words of
//! closed lists go as they are. The buffer is the caller's; no newline is written but by the caller.

use std::time::Duration;

use hyper::Version;

use super::record::{AuthRecord, OriginalRecord, Record, TlsRecord, UpstreamRecord};
use super::text::Escape;
use crate::clock::UnixTime;
use crate::http::forwarded::write_address;

/// Appends the record as one JSON object.
pub(super) fn json(out: &mut Vec<u8>, record: &Record<'_>) {
    out.extend_from_slice(b"{\"ts\":");
    put_seconds(out, record.at.as_secs());
    put_fraction(out, record.at.as_millis() % 1000, 100);
    out.extend_from_slice(br#","level":"info","msg":"request""#);
    put_text(out, br#","request_id":""#, record.request_id, LIMITS.id);
    if let Some(trace_id) = record.trace_id {
        put_text(out, br#","trace_id":""#, trace_id.as_bytes(), LIMITS.id);
    }
    put_text(out, br#","listener":""#, record.listener.1.as_bytes(), LIMITS.name);
    put_text(out, br#","route":""#, route(record), LIMITS.name);
    put_text(out, br#","method":""#, method(record), LIMITS.method);
    if let Some(host) = record.host {
        put_text(out, br#","host":""#, host, LIMITS.name);
    }
    put_text(out, br#","path":""#, record.path, LIMITS.target);
    if let Some(query) = record.query {
        out.extend_from_slice(br#","query":""#);
        Escape::Json.put_query(out, query, record.secret_parameters, LIMITS.target);
        out.push(b'"');
    }
    if let Some(version) = record.version {
        put_word(out, br#","proto":""#, protocol(version));
    }
    put_number(out, br#","status":"#, u64::from(record.status));
    if let Some(reason) = record.reason {
        put_word(out, br#","reason":""#, reason.as_str());
    }
    if let Some(detail) = record.detail {
        put_word(out, br#","detail":""#, detail);
    }
    put_number(out, br#","bytes_in":"#, record.bytes_in);
    put_number(out, br#","bytes_out":"#, record.bytes_out);
    out.extend_from_slice(br#","duration":"#);
    put_duration(out, record.duration);
    put_client(out, record);
    if let Some(original) = &record.original {
        put_original(out, original, record.secret_parameters);
    }
    if let Some(auth) = &record.auth {
        put_auth(out, auth);
    }
    if let Some(upstream) = &record.upstream {
        put_upstream(out, upstream);
    }
    if let Some(tls) = &record.tls {
        put_tls(out, tls);
    }
    out.push(b'}');
}

/// Appends the record in Apache's combined format; the user is the token's subject.
pub(super) fn combined(out: &mut Vec<u8>, record: &Record<'_>) {
    match record.client_ip {
        Some(ip) => write_address(out, ip),
        None => out.extend_from_slice(b"unix:"),
    }
    out.extend_from_slice(b" - ");
    match record.auth.and_then(|auth| auth.subject).filter(|subject| !subject.is_empty()) {
        Some(subject) => {
            let start = out.len();
            Escape::Hex.put(out, subject.as_bytes(), LIMITS.id);
            // A space would shift the columns.
            out.iter_mut().skip(start).filter(|byte| **byte == b' ').for_each(|byte| *byte = b'_');
        }
        None => out.push(b'-'),
    }
    out.extend_from_slice(b" [");
    put_date(out, record.at);
    out.extend_from_slice(b"] \"");
    Escape::Hex.put(out, method(record), LIMITS.method);
    out.push(b' ');
    Escape::Hex.put(out, record.path, LIMITS.target);
    if let Some(query) = record.query {
        out.push(b'?');
        Escape::Hex.put_query(out, query, record.secret_parameters, LIMITS.target);
    }
    out.push(b' ');
    out.extend_from_slice(record.version.map_or("-", protocol).as_bytes());
    out.extend_from_slice(b"\" ");
    put_integer(out, u64::from(record.status));
    out.push(b' ');
    put_integer(out, record.bytes_out);
    out.extend_from_slice(b" \"");
    let referer = record.referer.unwrap_or(b"-");
    Escape::Hex.put_url(out, referer, record.secret_parameters, LIMITS.header);
    out.extend_from_slice(b"\" \"");
    Escape::Hex.put(out, record.user_agent.unwrap_or(b"-"), LIMITS.header);
    out.push(b'"');
}

fn put_client(out: &mut Vec<u8>, record: &Record<'_>) {
    if let Some(ip) = record.client_ip {
        out.extend_from_slice(br#","client_ip":""#);
        write_address(out, ip);
        out.push(b'"');
    }
    if let Some(user_agent) = record.user_agent {
        put_text(out, br#","user_agent":""#, user_agent, LIMITS.header);
    }
    if let Some(referer) = record.referer {
        out.extend_from_slice(br#","referer":""#);
        Escape::Json.put_url(out, referer, record.secret_parameters, LIMITS.header);
        out.push(b'"');
    }
}

fn put_original(out: &mut Vec<u8>, original: &OriginalRecord<'_>, secret_parameters: &[Box<str>]) {
    out.extend_from_slice(br#","original":{"#);
    let start = out.len();
    if let Some(method) = original.method {
        put_text(out, br#","method":""#, method, LIMITS.method);
    }
    if let Some(host) = original.host {
        put_text(out, br#","host":""#, host, LIMITS.name);
    }
    if let Some(uri) = original.uri {
        out.extend_from_slice(br#","uri":""#);
        Escape::Json.put_url(out, uri, secret_parameters, LIMITS.target);
        out.push(b'"');
    }
    // Every member brings a comma of its own.
    if out.len() > start {
        out.remove(start);
    }
    out.push(b'}');
}

fn put_auth(out: &mut Vec<u8>, auth: &AuthRecord<'_>) {
    out.extend_from_slice(br#","auth":{"result":""#);
    out.extend_from_slice(auth.result.as_str().as_bytes());
    out.push(b'"');
    if let Some((_, issuer)) = auth.issuer {
        put_text(out, br#","issuer":""#, issuer.as_bytes(), LIMITS.name);
    }
    if let Some(subject) = auth.subject {
        put_text(out, br#","sub":""#, subject.as_bytes(), LIMITS.id);
    }
    if let Some(jti) = auth.jti {
        put_text(out, br#","jti":""#, jti.as_bytes(), LIMITS.id);
    }
    if let Some(lookup) = auth.cache {
        put_bool(out, br#","cached":"#, lookup.is_hit());
    }
    out.push(b'}');
}

fn put_upstream(out: &mut Vec<u8>, upstream: &UpstreamRecord<'_>) {
    out.extend_from_slice(br#","upstream":{"name":""#);
    Escape::Json.put(out, upstream.upstream.1.as_bytes(), LIMITS.name);
    out.push(b'"');
    if let Some((_, endpoint)) = upstream.endpoint {
        put_text(out, br#","endpoint":""#, endpoint.as_bytes(), LIMITS.name);
    }
    if let Some(status) = upstream.status {
        put_number(out, br#","status":"#, u64::from(status));
    }
    if let Some(first_byte) = upstream.first_byte {
        out.extend_from_slice(br#","first_byte":"#);
        put_duration(out, first_byte);
    }
    put_number(out, br#","attempts":"#, u64::from(upstream.attempts));
    put_bool(out, br#","reused":"#, upstream.reused);
    out.push(b'}');
}

fn put_tls(out: &mut Vec<u8>, tls: &TlsRecord<'_>) {
    out.extend_from_slice(br#","tls":{"version":""#);
    out.extend_from_slice(tls.version.as_bytes());
    out.push(b'"');
    if let Some(sni) = tls.sni {
        put_text(out, br#","sni":""#, sni.as_bytes(), LIMITS.name);
    }
    out.push(b'}');
}

/// A word of ours: nothing in it needs an escape.
fn put_word(out: &mut Vec<u8>, key: &[u8], word: &'static str) {
    out.extend_from_slice(key);
    out.extend_from_slice(word.as_bytes());
    out.push(b'"');
}

/// `key` with all that stands between the value before it and its own first letter: one copy
/// instead of four.
fn put_text(out: &mut Vec<u8>, key: &[u8], text: &[u8], limit: usize) {
    out.extend_from_slice(key);
    Escape::Json.put(out, text, limit);
    out.push(b'"');
}

fn put_number(out: &mut Vec<u8>, key: &[u8], number: u64) {
    out.extend_from_slice(key);
    put_integer(out, number);
}

fn put_bool(out: &mut Vec<u8>, key: &[u8], value: bool) {
    out.extend_from_slice(key);
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

fn put_integer(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Seconds with six decimals.
fn put_duration(out: &mut Vec<u8>, duration: Duration) {
    put_seconds(out, duration.as_secs());
    put_fraction(out, u64::from(duration.subsec_micros()), 100_000);
}

fn put_seconds(out: &mut Vec<u8>, seconds: u64) {
    put_integer(out, seconds);
    out.push(b'.');
}

/// The decimals of `fraction`, the first of which counts `unit`.
fn put_fraction(out: &mut Vec<u8>, fraction: u64, mut unit: u64) {
    while unit > 0 {
        out.push(digit(fraction / unit));
        unit /= 10;
    }
}

/// The last decimal digit of `n`.
fn digit(n: u64) -> u8 {
    b'0' + (n % 10) as u8
}

/// `10/Oct/2000:13:55:36 +0000`. The calendar is Howard Hinnant's `civil_from_days`, with years
/// that begin in March so that the leap day comes last.
fn put_date(out: &mut Vec<u8>, at: UnixTime) {
    let secs = at.as_secs();
    let days = secs / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year + u64::from(month >= 10);

    put_two(out, day);
    out.push(b'/');
    out.extend_from_slice(MONTHS.get(month as usize).copied().unwrap_or("???").as_bytes());
    out.push(b'/');
    put_integer(out, year);
    for part in [secs / 3600 % 24, secs / 60 % 60, secs % 60] {
        out.push(b':');
        put_two(out, part);
    }
    out.extend_from_slice(b" +0000");
}

fn put_two(out: &mut Vec<u8>, n: u64) {
    out.extend([digit(n / 10), digit(n)]);
}

fn route<'a>(record: &Record<'a>) -> &'a [u8] {
    record.route.map_or(b"-", |(_, name)| name.as_bytes())
}

fn method<'a>(record: &Record<'a>) -> &'a [u8] {
    record.method.map_or(b"-", |method| method.as_str().as_bytes())
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "-",
    }
}

/// The most bytes of each kind of text that a line shows. Long enough for what honest clients send,
/// short enough that no client can fill a disk much faster than with short requests.
struct Limits {
    method: usize,
    name: usize,
    id: usize,
    header: usize,
    target: usize,
}

const LIMITS: Limits = Limits { method: 32, name: 256, id: 256, header: 512, target: 2048 };

/// From March, as [`put_date`] counts them.
const MONTHS: [&str; 12] =
    ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;

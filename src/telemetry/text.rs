//! Bytes of clients in a log line: shortened, redacted, escaped.
//!
//! Trusts nothing. A line must stay one line and one JSON value whatever a client sends (log
//! injection, CVE-2024-45808), must not carry terminal escapes to whoever reads it, and must not
//! hold a credential: what looks like a JWT is cut out wherever it stands, and so is the value of
//! every query parameter with a name like `access_token`.

use crate::http::credential::reads_as;

/// How a line escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    /// `\xHH` for everything but printable ASCII, as nginx and Apache write it.
    Hex,
    /// JSON string escapes (RFC 8259 section 7); bytes that are not UTF-8 become U+FFFD.
    Json,
}

impl Escape {
    /// Appends at most `limit` bytes of `text`, and an ellipsis if there was more.
    pub(super) fn put(self, out: &mut Vec<u8>, text: &[u8], limit: usize) {
        let (text, cut) = shorten(text, limit);
        self.put_all(out, text);
        if cut {
            out.extend_from_slice(ELLIPSIS);
        }
    }

    /// As [`Self::put`], for a query without its `?`; `secret` names parameters beside those whose
    /// names give them away.
    pub(super) fn put_query(
        self,
        out: &mut Vec<u8>,
        query: &[u8],
        secret: &[Box<str>],
        limit: usize,
    ) {
        let (query, cut) = shorten(query, limit);
        for parameter in query.split_inclusive(|byte| b"&;?#".contains(byte)) {
            let name = parameter.split(|byte| b"=&;?#".contains(byte)).next().unwrap_or_default();
            match parameter.get(name.len()) {
                Some(b'=') if is_secret(name) || is_listed(name, secret) => {
                    self.put_all(out, name);
                    out.push(b'=');
                    out.extend_from_slice(REDACTED);
                    out.extend(parameter.last().filter(|byte| b"&;?#".contains(byte)));
                }
                _ => self.put_all(out, parameter),
            }
        }
        if cut {
            out.extend_from_slice(ELLIPSIS);
        }
    }

    /// As [`Self::put`], for a URL: its query is redacted, its user and password are left out.
    pub(super) fn put_url(self, out: &mut Vec<u8>, url: &[u8], secret: &[Box<str>], limit: usize) {
        let (url, cut) = shorten(url, limit);
        let at = url.iter().position(|byte| b"?#".contains(byte)).unwrap_or(url.len());
        let (before, query) = url.split_at(at);
        let authority = before.windows(3).position(|w| w == b"://").map_or(0, |at| at + 3);
        let (scheme, rest) = before.split_at(authority);
        let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        let user = rest.iter().take(end).rposition(|byte| *byte == b'@').map_or(0, |at| at + 1);
        self.put_all(out, scheme);
        self.put_all(out, rest.get(user..).unwrap_or_default());
        self.put_query(out, query, secret, limit);
        if cut {
            out.extend_from_slice(ELLIPSIS);
        }
    }

    fn put_all(self, out: &mut Vec<u8>, text: &[u8]) {
        let mut at = 0;
        while let Some(rest) = text.get(at..) {
            let plain = plain(rest);
            let (plain, special) = rest.split_at(plain);
            out.extend_from_slice(plain);
            at += plain.len();
            let Some(&byte) = special.first() else { return };
            at += if byte == b'J' {
                put_j(out, text, at)
            } else {
                match self {
                    Self::Hex => put_hex(out, byte),
                    Self::Json => put_json(out, special),
                }
            };
        }
    }
}

/// How many bytes at the front go out as they are; eight at a time, as nearly all do.
fn plain(text: &[u8]) -> usize {
    let (eights, _) = text.as_chunks::<8>();
    let at = 8 * eights.iter().take_while(|eight| is_plain(u64::from_ne_bytes(**eight))).count();
    if at == 8 * eights.len()
        && let Some(last) = text.last_chunk()
        && is_plain(u64::from_ne_bytes(*last))
    {
        return text.len();
    }
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| PLAIN.contains(**byte)).count()
}

/// Whether none of eight bytes needs a second look: the same as eight questions to [`PLAIN`].
const fn is_plain(eight: u64) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    const TOPS: u64 = 0x80 * ONES;
    /// Tops of bytes that are zero; a wrong one may stand above a right one, never alone.
    const fn zeros(eight: u64) -> u64 {
        eight.wrapping_sub(ONES) & !eight & TOPS
    }
    let controls = eight.wrapping_sub(0x20 * ONES) & !eight;
    // 0x7f and more. A carry comes from a byte that is found by itself.
    let above = eight.wrapping_add(ONES) | eight;
    let signs = zeros(eight ^ (b'"' as u64 * ONES))
        | zeros(eight ^ (b'\\' as u64 * ONES))
        | zeros(eight ^ (b'J' as u64 * ONES));
    (controls | above | signs) & TOPS == 0
}

/// Writes what stands at a `J`: itself, or [`REDACTED`] for the token that it gives away. A JWT
/// begins with `eyJ`, the base64url of `{"`; of one whose header begins otherwise (`{ "`), claims
/// and signature are still cut out, and a header alone opens nothing. Returns the bytes read.
fn put_j(out: &mut Vec<u8>, text: &[u8], at: usize) -> usize {
    let run = text.get(at..).unwrap_or_default();
    let run = run.iter().take_while(|byte| is_token_byte(**byte)).count();
    let starts = text.get(..at).is_some_and(|before| before.ends_with(b"ey"));
    if starts && run + 2 >= SHORTEST_TOKEN {
        out.truncate(out.len().saturating_sub(2));
        out.extend_from_slice(REDACTED);
        run
    } else {
        out.push(b'J');
        1
    }
}

fn put_hex(out: &mut Vec<u8>, byte: u8) -> usize {
    out.extend_from_slice(b"\\x");
    out.extend(hex(byte));
    1
}

/// Writes the first character of `text` escaped; returns the bytes read.
fn put_json(out: &mut Vec<u8>, text: &[u8]) -> usize {
    let Some(chunk) = text.get(..text.len().min(4)).unwrap_or_default().utf8_chunks().next() else {
        return text.len();
    };
    let Some(character) = chunk.valid().chars().next() else {
        out.extend_from_slice("\u{fffd}".as_bytes());
        return chunk.invalid().len().max(1);
    };
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        c if misleads(c) => {
            let [high, low] = u16::try_from(u32::from(c)).unwrap_or_default().to_be_bytes();
            out.extend_from_slice(b"\\u");
            out.extend(hex(high));
            out.extend(hex(low));
        }
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
    character.len_utf8()
}

/// Characters that a terminal or an editor acts on instead of showing: controls of both sets, line
/// and paragraph separators, and those that turn the direction of text.
const fn misleads(c: char) -> bool {
    matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The bytes that go out as they are, as a table: looked up for every byte of every line.
struct Plain([bool; 256]);

impl Plain {
    #[expect(clippy::indexing_slicing, reason = "every byte has an entry")]
    const fn contains(&self, byte: u8) -> bool {
        self.0[byte as usize]
    }
}

#[expect(clippy::indexing_slicing, reason = "checked by the compiler: this is a constant")]
const PLAIN: Plain = {
    let mut plain = [false; 256];
    let mut byte = b' ';
    while byte < 0x7f {
        plain[byte as usize] = !matches!(byte, b'"' | b'\\' | b'J');
        byte += 1;
    }
    Plain(plain)
};

/// base64url, its padding, the dot between the parts, and `%2E` for it.
const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'=' | b'%')
}

/// Whether a query parameter of this name holds a credential. Read as an application would, since
/// `access%5Ftoken` is the same name.
fn is_secret(name: &[u8]) -> bool {
    let mut decoded = [0; LONGEST_NAME];
    let mut len = 0;
    let mut bytes = name.iter();
    while let Some(&byte) = bytes.next() {
        let byte = if byte == b'%' { unescape(&mut bytes) } else { byte };
        // A name that long tells nothing that is worth the risk.
        let Some(place) = decoded.get_mut(len) else { return true };
        *place = byte.to_ascii_lowercase();
        len += 1;
    }
    let name = decoded.get(..len).unwrap_or_default();
    SECRET_NAMES.contains(&name)
        || SECRET_PARTS.iter().any(|part| name.windows(part.len()).any(|window| window == *part))
}

/// Whether any application would read the name as one of these.
fn is_listed(name: &[u8], secret: &[Box<str>]) -> bool {
    secret.iter().any(|listed| reads_as(name, listed.as_bytes()))
}

/// The byte of an escape whose `%` was read; `%` itself if it is none.
fn unescape(bytes: &mut std::slice::Iter<'_, u8>) -> u8 {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut rest = bytes.clone();
    let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else { return b'%' };
    *bytes = rest;
    u8::try_from(high * 16 + low).unwrap_or(b'%')
}

fn shorten(text: &[u8], limit: usize) -> (&[u8], bool) {
    text.get(..limit).filter(|short| short.len() < text.len()).map_or((text, false), |s| (s, true))
}

fn hex(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    [digit(byte >> 4), digit(byte & 15)]
}

/// Stands for what was cut out.
const REDACTED: &[u8] = b"REDACTED";

/// Stands for what was cut off.
const ELLIPSIS: &[u8] = b"...";

/// Below it, `eyJ` begins some other word; no signed token is that short.
const SHORTEST_TOKEN: usize = 16;

/// Names of query parameters are read up to here.
const LONGEST_NAME: usize = 64;

/// Names of query parameters whose value is a credential.
const SECRET_NAMES: &[&[u8]] = &[
    b"auth",
    b"authorization",
    b"code",
    b"code_verifier",
    b"key",
    b"otp",
    b"pass",
    b"pin",
    b"pwd",
    b"sig",
    b"ticket",
];

/// What gives such a name away wherever it stands in it: `id_token`, `user[password]`, ...
const SECRET_PARTS: &[&[u8]] = &[
    b"api-key",
    b"api_key",
    b"apikey",
    b"assertion",
    b"cookie",
    b"credential",
    b"jwt",
    b"passw",
    b"saml",
    b"secret",
    b"session",
    b"signature",
    b"token",
];

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";

    fn json(text: &[u8]) -> String {
        let mut out = Vec::new();
        Escape::Json.put(&mut out, text, 1000);
        String::from_utf8(out).unwrap()
    }

    fn query(text: &str) -> String {
        let mut out = Vec::new();
        Escape::Json.put_query(&mut out, text.as_bytes(), &["t".into()], 1000);
        String::from_utf8(out).unwrap()
    }

    fn url(text: &str) -> String {
        let mut out = Vec::new();
        Escape::Json.put_url(&mut out, text.as_bytes(), &["t".into()], 1000);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn controls_and_bad_utf8_cannot_leave_the_string() {
        assert_eq!(json(b"a\"b\\c\nd\re\tf\0\x1b[0m"), r#"a\"b\\c\nd\re\tf\u0000\u001b[0m"#);
        assert_eq!(json(b"\xff\xfe\xe2\x82"), "\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(json("ü€😀".as_bytes()), "ü€😀");
        assert_eq!(json("\u{9b}31m\u{202e}\u{2028}".as_bytes()), r"\u009b31m\u202e\u2028");
    }

    #[test]
    fn eight_bytes_are_judged_as_each_of_them_is() {
        let mut seed = 1_u64;
        for byte in 0..=255_u8 {
            for at in 0..8 {
                for _ in 0..8 {
                    seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ 0xa5;
                    let mut eight = seed.to_ne_bytes();
                    if seed & 1 == 0 {
                        eight = eight.map(|other| b' ' + other % 95);
                    }
                    eight[at] = byte;
                    let each = eight.iter().all(|byte| PLAIN.contains(*byte));
                    assert_eq!(is_plain(u64::from_ne_bytes(eight)), each, "{eight:?}");
                }
            }
        }
    }

    #[test]
    fn hex_leaves_printable_ascii_alone() {
        let mut out = Vec::new();
        Escape::Hex.put(&mut out, "a \"b\\\nü".as_bytes(), 100);
        assert_eq!(out, br"a \x22b\x5c\x0a\xc3\xbc");
    }

    #[test]
    fn a_token_is_cut_out_wherever_it_stands() {
        assert_eq!(json(format!("/verify/{TOKEN}/x").as_bytes()), "/verify/REDACTED/x");
        assert_eq!(json(format!("Bearer {TOKEN}").as_bytes()), "Bearer REDACTED");
        assert_eq!(json(TOKEN.replace('.', "%2e").as_bytes()), "REDACTED");
        assert_eq!(query(TOKEN), "REDACTED");
        // Its header begins with a space after the brace.
        let (_, rest) = TOKEN.split_once('.').unwrap();
        assert_eq!(
            json(format!("/x/eyAiYWxnIjoxfQ.{rest}").as_bytes()),
            "/x/eyAiYWxnIjoxfQ.REDACTED"
        );
        assert_eq!(query(&format!("next={TOKEN}&page=2")), "next=REDACTED&page=2");
    }

    #[test]
    fn words_that_look_like_the_start_of_a_token_stay() {
        for word in ["Jack", "eyJ", "heyJude", "eyJhbGciOiJIU", "J", "yJ"] {
            assert_eq!(json(word.as_bytes()), word);
        }
    }

    #[test]
    fn secrets_of_a_query_are_cut_out_by_name() {
        assert_eq!(query("a=1&access_token=x.y.z&b=2"), "a=1&access_token=REDACTED&b=2");
        assert_eq!(query("access%5FToken=x;code=y"), "access%5FToken=REDACTED;code=REDACTED");
        assert_eq!(query("user[password]=x=y"), "user[password]=REDACTED");
        assert_eq!(query(&format!("{}=x", "n".repeat(65))), format!("{}=REDACTED", "n".repeat(65)));
        assert_eq!(query("t=x&a=1&%54[]=y&tt=z"), "t=REDACTED&a=1&%54[]=REDACTED&tt=z");
        for fine in ["author=kim&decode=1", "token", "&&=&a==b&%zz=1&%=2", ""] {
            assert_eq!(query(fine), fine);
        }
    }

    #[test]
    fn a_url_loses_its_user_and_its_secrets() {
        assert_eq!(
            url("https://u:p@a.example/x?token=1#id_token=2"),
            "https://a.example/x?token=REDACTED#id_token=REDACTED"
        );
        assert_eq!(url("/a@b?c=@"), "/a@b?c=@");
        assert_eq!(url("https://a/?t=x&b"), "https://a/?t=REDACTED&b");
        assert_eq!(url("https://a.example/@b"), "https://a.example/@b");
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let mut out = Vec::new();
        Escape::Json.put(&mut out, b"abcdef", 3);
        Escape::Json.put(&mut out, b"abc", 3);
        assert_eq!(out, b"abc...abc");
    }
}

//! From an Authorization line to the three parts of a compact JWS, and the checks of its header.
//!
//! Trusts nothing. Refuses a second credential, everything outside the strict base64url alphabet,
//! padding, stray bits, encrypted and nested tokens, and every header member that would change how
//! the token is to be read or say with which key: the key comes from the configuration alone.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use serde_json::{Map, Value};

use super::claims::{ObjectError, parse_object};
use super::refusal::Cause;

/// The bearer token of a request (RFC 6750 section 2.1, RFC 9110 section 11.4).
///
/// # Errors
/// No Authorization line or another scheme, two lines or two credentials, or not one `token68`.
pub(in crate::auth) fn bearer(headers: &HeaderMap) -> Result<&str, Cause> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let line = lines.next().ok_or(Cause::NoCredentials)?.as_bytes();
    // Of two lines we might verify the good one and the application use the bad one.
    if lines.next().is_some() {
        return Err(Cause::DuplicateCredentials);
    }
    let end = line.iter().position(|byte| *byte == b' ' || *byte == b'\t').unwrap_or(line.len());
    let (scheme, rest) = line.split_at_checked(end).ok_or(Cause::OtherScheme)?;
    if !scheme.eq_ignore_ascii_case(BEARER) {
        return Err(other_scheme(line));
    }
    token68(rest)
}

/// Why a line whose scheme is not `Bearer` is no token. Where requests without one pass, the line
/// goes on to the application: if only a lenient one reads it as a bearer token, it must not.
/// Flask-JWT-Extended looks for its scheme in a list; others cut at any white space, or after the
/// length of the word.
fn other_scheme(line: &[u8]) -> Cause {
    let is_blank = |byte: &u8| *byte <= b' ' || *byte >= 0x7f;
    let reads_bearer = |piece: &[u8]| {
        let start = piece.iter().position(|byte| !is_blank(byte)).unwrap_or_default();
        let word = piece.get(start..).and_then(|text| text.get(..BEARER.len()));
        word.is_some_and(|word| word.eq_ignore_ascii_case(BEARER))
    };
    let mut pieces = line.split(|byte| *byte == b',');
    if pieces.next().is_some_and(reads_bearer) {
        Cause::NotToken68
    } else if pieces.any(reads_bearer) {
        Cause::DuplicateCredentials
    } else {
        Cause::OtherScheme
    }
}

/// The one token after the scheme (`1*SP token68`), or in a place of its own.
pub(in crate::auth) fn token68(rest: &[u8]) -> Result<&str, Cause> {
    let start = rest.iter().position(|byte| *byte != b' ').ok_or(Cause::NoToken)?;
    let text = rest.get(start..).unwrap_or_default();
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = text.get(..text.len().saturating_sub(padding)).unwrap_or_default();
    if body.is_empty() || !is_token68(body) {
        // A proxy before us may have folded two lines into one list.
        let list = text.contains(&b',');
        return Err(if list { Cause::DuplicateCredentials } else { Cause::NotToken68 });
    }
    std::str::from_utf8(text).map_err(|_| Cause::NotToken68)
}

/// RFC 9110 section 11.2, without the padding. Every request's token comes by here, a kilobyte and
/// more: comparisons without an early exit are done to many bytes at once, and `-`, `.`, `/` stand
/// beside the digits.
fn is_token68(body: &[u8]) -> bool {
    body.iter().fold(true, |good, &byte| {
        let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        let digit_or_near = byte.wrapping_sub(b'-') <= b'9' - b'-';
        good & (letter | digit_or_near | (byte == b'_') | (byte == b'~') | (byte == b'+'))
    })
}

/// The parts of a compact JWS (RFC 7515 section 7.1), decoded, and the text that was signed.
#[derive(Debug)]
pub(in crate::auth) struct Parts<'t> {
    pub(in crate::auth) signed: &'t str,
    pub(in crate::auth) header: Vec<u8>,
    pub(in crate::auth) claims: Vec<u8>,
    pub(in crate::auth) signature: Vec<u8>,
}

impl<'t> Parts<'t> {
    /// Exactly three parts in the alphabet `A-Za-z0-9_-`, without padding, each in the one spelling
    /// that its bytes have: otherwise one signed token has many texts (attack J14), and a list of
    /// revoked ones could be stepped around.
    pub(in crate::auth) fn split(token: &'t str) -> Result<Self, Cause> {
        match token.bytes().filter(|byte| *byte == b'.').count() {
            2 => {}
            4 => return Err(Cause::Jwe),
            _ => return Err(Cause::NotThreeParts),
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Cause::NotThreeParts)?;
        let (header, claims) = signed.split_once('.').ok_or(Cause::NotThreeParts)?;
        Ok(Self {
            signed,
            header: URL_SAFE_NO_PAD.decode(header).map_err(|_| Cause::HeaderNotBase64)?,
            claims: URL_SAFE_NO_PAD.decode(claims).map_err(|_| Cause::ClaimsNotBase64)?,
            signature: URL_SAFE_NO_PAD.decode(signature).map_err(|_| Cause::SignatureNotBase64)?,
        })
    }
}

/// What a token's header may say: only which of the issuer's keys to take.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::auth) struct Header {
    pub(in crate::auth) algorithm: String,
    pub(in crate::auth) kid: Option<String>,
    /// Lower case and without `application/`; absent counts as `jwt`.
    pub(in crate::auth) typ: String,
}

impl Header {
    pub(in crate::auth) fn parse(bytes: &[u8]) -> Result<Self, Cause> {
        let members = parse_object(bytes).map_err(Self::cause_of)?;
        refuse_extensions(&members)?;
        let algorithm = string(&members, "alg", Cause::AlgNotString)?.ok_or(Cause::AlgMissing)?;
        let kid = string(&members, "kid", Cause::KidNotString)?;
        if kid.is_some_and(|kid| kid.len() > MAX_KID) {
            return Err(Cause::KidTooLong);
        }
        Ok(Self {
            algorithm: algorithm.to_owned(),
            kid: kid.map(str::to_owned),
            typ: normal_type(string(&members, "typ", Cause::TypNotString)?.unwrap_or("jwt")),
        })
    }
}

impl Header {
    pub(in crate::auth) fn cause_of(error: ObjectError) -> Cause {
        match error {
            ObjectError::DuplicateName => Cause::HeaderDuplicateName,
            ObjectError::NotJson => Cause::HeaderNotJson,
            ObjectError::NotObject => Cause::HeaderNotObject,
        }
    }
}

/// A `typ` as types are compared: RFC 7515 section 4.1.9 (media types are case-insensitive, and
/// `application/` may be left out).
pub(in crate::auth) fn normal_type(written: &str) -> String {
    let lower = written.to_ascii_lowercase();
    match lower.strip_prefix("application/") {
        Some(short) if !short.contains('/') => short.to_owned(),
        Some(_) | None => lower,
    }
}

/// Members that would change the meaning of the token or choose its key.
///
/// jsonwebtoken passes over all of them (attacks J10 to J12): `crit` asks for extensions that must
/// be understood, `b64` and `zip` change the bytes, `enc` is a JWE, and a key or an address of one
/// is the attacker's own.
fn refuse_extensions(members: &Map<String, Value>) -> Result<(), Cause> {
    for (name, cause) in [
        ("crit", Cause::CritInHeader),
        ("b64", Cause::B64InHeader),
        ("zip", Cause::ZipInHeader),
        ("enc", Cause::EncInHeader),
        ("jku", Cause::KeyInHeader),
        ("jwk", Cause::KeyInHeader),
        ("x5c", Cause::KeyInHeader),
        ("x5u", Cause::KeyInHeader),
    ] {
        if members.contains_key(name) {
            return Err(cause);
        }
    }
    match string(members, "cty", Cause::CtyNotString)? {
        Some(cty) if normal_type(cty) == "jwt" => Err(Cause::NestedToken),
        Some(_) | None => Ok(()),
    }
}

fn string<'m>(
    members: &'m Map<String, Value>,
    name: &str,
    otherwise: Cause,
) -> Result<Option<&'m str>, Cause> {
    members.get(name).map(|value| value.as_str().ok_or(otherwise)).transpose()
}

/// Bytes of a `kid`. Real ones are thumbprints or names of under 100 bytes; the look-up hashes it.
const MAX_KID: usize = 256;

const BEARER: &[u8] = b"bearer";

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn of(lines: &[&str]) -> Result<String, Cause> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        bearer(&headers).map(str::to_owned)
    }

    #[test]
    fn one_bearer_token_in_any_case_of_the_scheme() {
        for line in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c", "bEaReR a.b.c"] {
            assert_eq!(of(&[line]), Ok("a.b.c".to_owned()), "{line}");
        }
        assert_eq!(of(&["Bearer abc=="]), Ok("abc==".to_owned()));
    }

    #[test]
    fn whatever_is_not_one_bearer_token_is_told_apart() {
        for (lines, cause) in [
            (&[][..], Cause::NoCredentials),
            (&["Bearer a", "Bearer a"], Cause::DuplicateCredentials),
            (&["Bearer a", "Basic eA=="], Cause::DuplicateCredentials),
            (&["Bearer a, Bearer b"], Cause::DuplicateCredentials),
            (&["Bearer a,b"], Cause::DuplicateCredentials),
            (&["Basic eA=="], Cause::OtherScheme),
            (&["Basic eA==, Bearer a"], Cause::DuplicateCredentials),
            (&["Basic eA==,,\tbearer"], Cause::DuplicateCredentials),
            (&["Digest a=\"bearer\", b"], Cause::OtherScheme),
            (&["Bearer:a.b.c"], Cause::NotToken68),
            (&["Bearera.b.c"], Cause::NotToken68),
            (&["Bearer, Basic eA=="], Cause::NotToken68),
            (&["\u{a0}Bearer a.b.c"], Cause::NotToken68),
            (&["Beare"], Cause::OtherScheme),
            (&["a.b.c"], Cause::OtherScheme),
            (&[""], Cause::OtherScheme),
            (&[" Bearer a"], Cause::NotToken68),
            (&[" \t"], Cause::OtherScheme),
            (&["Bearer"], Cause::NoToken),
            (&["Bearer   "], Cause::NoToken),
            (&["Bearer a b"], Cause::NotToken68),
            (&["Bearer Bearer a"], Cause::NotToken68),
            (&["Bearer\ta.b.c"], Cause::NotToken68),
            (&["Bearer a\t"], Cause::NotToken68),
            (&["Bearer \"a.b.c\""], Cause::NotToken68),
            (&["Bearer ="], Cause::NotToken68),
            (&["Bearer a=b"], Cause::NotToken68),
            (&["Bearer t\u{f6}ken"], Cause::NotToken68),
            (&["Bearer token=abc;"], Cause::NotToken68),
        ] {
            assert_eq!(of(lines), Err(cause), "{lines:?}");
        }
    }

    #[test]
    fn the_alphabet_is_that_of_the_rfc() {
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!(is_token68(&[b'a', byte]), expected, "{byte}");
        }
    }

    #[test]
    fn a_type_is_compared_without_case_and_prefix() {
        assert_eq!(normal_type("JWT"), "jwt");
        assert_eq!(normal_type("application/AT+jwt"), "at+jwt");
        assert_eq!(normal_type("APPLICATION/jwt"), "jwt");
        assert_eq!(normal_type("application/a/b"), "application/a/b");
    }
}

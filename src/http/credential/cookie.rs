//! A credential in a cookie.
//!
//! Cookies have no common grammar: Django cuts at `;` and trims, `http.cookies` takes white space
//! for a separator, old Java servers the comma, browsers send what pages set (RFC 6265 section
//! 4.1.1 against 5.2). Another host's page can set a cookie of any name, and with it a second one.

use hyper::header::{COOKIE, HeaderMap, HeaderValue};

use super::spelling::{Occurrence, reads_as};

/// What all Cookie lines together hold under `name`.
pub fn find<'h>(headers: &'h HeaderMap, name: &str) -> Occurrence<'h> {
    let lines = headers.get_all(COOKIE).iter();
    let pieces = lines.flat_map(|line| pieces(line.as_bytes()));
    pieces.map(|piece| read(piece, name)).fold(Occurrence::Absent, Occurrence::and)
}

/// Takes whatever could be read as `name` out of all lines; what is left becomes one line.
pub fn take_out(headers: &mut HeaderMap, name: &str) {
    if find(headers, name) == Occurrence::Absent {
        return;
    }
    let mut kept: Vec<u8> = Vec::new();
    for line in headers.get_all(COOKIE) {
        let others = pieces(line.as_bytes()).filter(|piece| !piece.is_empty());
        for piece in others.filter(|piece| read(piece, name) == Occurrence::Absent) {
            if !kept.is_empty() {
                kept.extend_from_slice(b"; ");
            }
            kept.extend_from_slice(piece);
        }
    }
    headers.remove(COOKIE);
    // Parts of valid values make a valid one; were it not so, no cookie is safer than all.
    if !kept.is_empty()
        && let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(kept))
    {
        headers.insert(COOKIE, value);
    }
}

fn pieces(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b';').map(<[u8]>::trim_ascii)
}

/// One piece between two `;`.
fn read<'h>(piece: &'h [u8], name: &str) -> Occurrence<'h> {
    let wanted = name.as_bytes();
    if let Some(value) = piece.strip_prefix(wanted).and_then(|rest| rest.strip_prefix(b"="))
        && !value.iter().any(|&byte| is_separator(byte))
    {
        return Occurrence::once(value);
    }
    let named = |part: &[u8]| {
        let end = part.iter().position(|&byte| byte == b'=');
        end.and_then(|end| part.get(..end)).is_some_and(|written| reads_as(written, wanted))
    };
    let parts = || piece.split(|&byte| is_separator(byte));
    match parts().filter(|part| named(part)).count() {
        0 if named(piece) => Occurrence::Respelled,
        0 => Occurrence::Absent,
        1 => Occurrence::Respelled,
        _ => Occurrence::Several,
    }
}

/// Where one reader or another ends a cookie that others read on.
const fn is_separator(byte: u8) -> bool {
    matches!(byte, b',' | b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn a_cookie_counts_once_and_under_its_own_name() {
        use Occurrence::{Absent, Empty, One, Respelled, Several};
        for (lines, expected) in [
            (&[][..], Absent),
            (&["a=1; b=2"], Absent),
            (&["tt=1; t2=1; at=1; a=t"], Absent),
            (&["t"], Absent),
            (&["t=abc"], One(&b"abc"[..])),
            (&["a=1; t=abc; b=2"], One(b"abc")),
            (&["a=1;t=abc;b=2"], One(b"abc")),
            (&["a=1", "t=abc", "b=2"], One(b"abc")),
            (&["t=a=b"], One(b"a=b")),
            (&["t=\"abc\""], One(b"\"abc\"")),
            (&["t="], Empty),
            (&["T=abc"], Respelled),
            (&["%74=abc"], Respelled),
            (&["t =abc"], Respelled),
            (&["t= abc"], Respelled),
            (&["t=a b"], Respelled),
            (&["\u{2003}t=abc"], Respelled),
            (&["a=1, t=abc"], Respelled),
            (&["a=1 t=abc"], Respelled),
            (&["$Version=1,t=abc"], Respelled),
            (&["t=a; t=b"], Several),
            (&["t=a", "t=b"], Several),
            (&["t=; t=b"], Several),
            (&["t=a; T=b"], Several),
            (&["t=a; x=1,t=b"], Several),
            (&["t=a t=b"], Several),
            (&["t=a; \u{a0}t=b"], Several),
            (&["t=a; x=\"; t=b\""], Several),
        ] {
            assert_eq!(find(&headers(lines), "t"), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_taken_out_leaves_the_rest_in_one_line() {
        for (lines, expected) in [
            (&["a=1; b=2", "c=3"][..], &["a=1; b=2", "c=3"][..]),
            (&["t=x"], &[]),
            (&["a=1; t=x; b=\"2\""], &["a=1; b=\"2\""]),
            (&["a=1", "t=x", "b=2;; c"], &["a=1; b=2; c"]),
            (&["T=x; a=1,t=y; b=2"], &["b=2"]),
            (&["a=\u{fc}; t=x"], &["a=\u{fc}"]),
        ] {
            let mut headers = headers(lines);
            take_out(&mut headers, "t");
            let left: Vec<_> = headers.get_all(COOKIE).iter().map(|line| line.as_bytes()).collect();
            let expected: Vec<_> = expected.iter().map(|line| line.as_bytes()).collect();
            assert_eq!(left, expected, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_left_that_anybody_would_find(
            lines in prop::collection::vec("([tTa;=,\" \t.]|%74|\u{a0}){0,24}", 0..3),
        ) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let mut headers = headers(&lines);
            take_out(&mut headers, "t");
            prop_assert_eq!(find(&headers, "t"), Occurrence::Absent);
            for line in headers.get_all(COOKIE) {
                for piece in line.as_bytes().split(|byte| b";, \t".contains(byte)) {
                    let named = piece.split(|byte| *byte == b'=').next().unwrap_or_default();
                    let has_value = named.len() < piece.len();
                    prop_assert!(!(has_value && reads_as(named, b"t")), "{:?}", line);
                }
            }
        }

        #[test]
        fn what_is_found_is_what_django_finds(
            line in "([ta;=x ]|%74){0,16}",
        ) {
            let headers = headers(&[&line]);
            if let Occurrence::One(value) = find(&headers, "t") {
                // django.http.cookie.parse_cookie
                let cookies = line.split(';').filter_map(|chunk| chunk.split_once('='));
                let values: Vec<_> =
                    cookies.filter(|(key, _)| key.trim() == "t").map(|(_, v)| v.trim()).collect();
                prop_assert_eq!(values, [std::str::from_utf8(value).unwrap()]);
            }
        }

        #[test]
        fn no_line_panics(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let mut headers = HeaderMap::new();
                headers.append(COOKIE, value);
                find(&headers, "t");
                take_out(&mut headers, "t");
            }
        }
    }
}

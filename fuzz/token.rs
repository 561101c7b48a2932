//! A token, and the header that carries it: what verifies is, letter by letter, what was signed.

use hyper::header::HeaderValue;

use super::issuer::{CLAIMS, HEADER, found, object, seal, verify};

pub(crate) fn check(data: &[u8]) {
    if let Ok(line) = HeaderValue::from_bytes(data) {
        look(&line);
    }
    if let Ok(line) = HeaderValue::from_bytes(&dressed(data)) {
        look(&line);
    }
    assert!(verify(&String::from_utf8_lossy(data)).is_err(), "forged");

    let good = seal(object(HEADER).as_bytes(), object(CLAIMS).as_bytes());
    assert!(verify(&good).is_ok());
    let line = HeaderValue::from_str(&format!("Bearer {good}")).expect("letters");
    assert_eq!(found(&line).as_ref(), Ok(&good), "read as it was written");
    let changed = change(&good, data);
    if changed != good {
        assert!(verify(&changed).is_err(), "another text of the same token: {changed}");
    }
}

/// Nothing verifies, and what any reader takes for a bearer token is none that nobody has seen:
/// requests without a token may pass.
fn look(line: &HeaderValue) {
    match found(line) {
        Ok(token) => assert!(verify(&token).is_err(), "forged: {token:?}"),
        Err(refusal) => assert!(!(refusal.is_absence() && reads_bearer(line)), "missed: {line:?}"),
    }
}

/// As lenient as applications are: a list, any white space, any separator, none.
fn reads_bearer(line: &HeaderValue) -> bool {
    let text: String = line.as_bytes().iter().map(|byte| char::from(*byte)).collect();
    let is_blank = |c: char| c.is_whitespace() || c.is_control() || !c.is_ascii();
    text.split(',').any(|one| one.trim_matches(is_blank).to_lowercase().starts_with("bearer"))
}

/// A line made of what such lines are made of.
fn dressed(data: &[u8]) -> Vec<u8> {
    const PIECES: [&[u8]; 16] = [
        b"Bearer",
        b"bearer",
        b"BEARER",
        b"Basic",
        b"bear",
        b"er",
        b" ",
        b"  ",
        b"\t",
        b",",
        b", ",
        b"\xa0",
        b":",
        b"=",
        b"e30.e30.AA",
        b"\"",
    ];
    let pieces = data.iter().take(12).map(|byte| PIECES[usize::from(*byte) % PIECES.len()]);
    pieces.flatten().copied().collect()
}

/// Letters changed, put in and taken out.
fn change(token: &str, data: &[u8]) -> String {
    const LETTERS: &[u8] = b"AZaz09-_.+/=~ \n%\0";
    let mut bytes = token.as_bytes().to_vec();
    for triple in data.chunks_exact(3).take(4) {
        let letter = LETTERS[usize::from(triple[2]) % LETTERS.len()];
        // From the end as often as from the beginning, where the signature is.
        let place = usize::from(triple[1]) % bytes.len();
        let place = if triple[0] & 1 == 0 { place } else { bytes.len() - 1 - place };
        match triple[0] / 2 % 5 {
            0 => bytes[place] = letter,
            1 => bytes.insert(place, letter),
            2 if bytes.len() > 1 => drop(bytes.remove(place)),
            3 => bytes.push(letter),
            _ => bytes[place] ^= 1 << (triple[2] % 7),
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| token.to_owned())
}

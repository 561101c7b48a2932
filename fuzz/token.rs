//! A token, and the header that carries it: what verifies is, letter by letter, what was signed.

use hyper::header::HeaderValue;

use super::issuer::{CLAIMS, HEADER, found, object, seal, verify};

pub(crate) fn check(data: &[u8]) {
    if let Some(token) = HeaderValue::from_bytes(data).ok().and_then(|line| found(&line)) {
        assert!(verify(&token).is_err(), "forged: {token:?}");
    }
    assert!(verify(&String::from_utf8_lossy(data)).is_err(), "forged");

    let good = seal(object(HEADER).as_bytes(), object(CLAIMS).as_bytes());
    assert!(verify(&good).is_ok());
    let line = HeaderValue::from_str(&format!("Bearer {good}")).expect("letters");
    assert_eq!(found(&line).as_ref(), Some(&good), "read as it was written");
    let changed = change(&good, data);
    if changed != good {
        assert!(verify(&changed).is_err(), "another text of the same token: {changed}");
    }
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

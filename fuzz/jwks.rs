//! An issuer's key set, and a PEM file: every entry is used or named, and none of those used
//! verifies what its owner did not sign.

use portcullis::keys::from_pem;
use portcullis::keys::jwks::{MAX_KEYS, parse_set};
use serde_json::Value;

use super::jwk;

pub(crate) fn check(data: &[u8]) {
    // A byte for how many, then pieces of what follows, one for each key.
    let (count, rest) = data.split_first().map_or((0, data), |(first, rest)| (*first, rest));
    let keys: Vec<String> = rest.chunks(7).take(usize::from(count % 90)).map(jwk::text).collect();
    examine(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes());
    examine(data);
    if let Ok(keys) = from_pem(data) {
        keys.iter().for_each(jwk::ask);
    }
}

fn examine(text: &[u8]) {
    let Ok(parsed) = parse_set(text) else { return };
    let document: Value = serde_json::from_slice(text).expect("a set is JSON");
    let entries = document["keys"].as_array().expect("a set has keys").len();
    assert!(parsed.keys.len() + parsed.skipped.len() <= entries);
    assert!(parsed.keys.len() <= MAX_KEYS);
    let mut named: Vec<usize> = parsed.skipped.iter().map(|one| one.index).collect();
    named.sort_unstable();
    let count = named.len();
    named.dedup();
    assert!(named.len() == count && named.iter().all(|index| *index < entries));
    for (place, key) in parsed.keys.iter().enumerate() {
        jwk::ask(key);
        // Whatever a token names, there is one key to try, or several that are the same.
        let twin = parsed.keys.iter().skip(place + 1).find(|other| {
            key.kid().is_some()
                && other.kid() == key.kid()
                && other.thumbprint() != key.thumbprint()
                && other.algorithms().any(|algorithm| key.allows(algorithm))
        });
        assert!(twin.is_none(), "{key:?} and {twin:?}");
    }
}

//! An issuer's key set, and a PEM file: unusable keys are named, and none of the others panics when
//! it is asked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::keys::jwks::parse_set;
use portcullis::keys::{Key, from_pem};

fuzz_target!(|data: &[u8]| {
    if let Ok(parsed) = parse_set(data) {
        parsed.keys.iter().for_each(ask);
    }
    if let Ok(keys) = from_pem(data) {
        keys.iter().for_each(ask);
    }
});

fn ask(key: &Key) {
    assert!(key.algorithms().count() > 0, "a key for nothing");
    for algorithm in key.algorithms() {
        assert!(key.allows(algorithm));
        assert!(!key.verify(algorithm, b"message", b"no signature"));
    }
}

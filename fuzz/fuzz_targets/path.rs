//! Any bytes as a path: refused, or canonical once and for all.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::http::path::{canonicalize, decode_segment, encode_segment};

fuzz_target!(|data: &[u8]| {
    let mut buffer = vec![0; data.len()];
    assert_eq!(decode_segment(&encode_segment(data), &mut buffer), Some(data));
    let Ok(raw) = std::str::from_utf8(data) else { return };
    let Ok(once) = canonicalize(raw).map(|canonical| canonical.path) else { return };
    let again = canonicalize(&once).expect("canonical");
    assert_eq!(again.path, once, "another meaning: {raw:?}");
    assert!(once.is_ascii() && once.starts_with('/') && !once.starts_with("//"), "{raw:?}");
    assert!(!once.split('/').any(|segment| matches!(segment, "." | "..")), "{raw:?}");
    let lower = once.to_ascii_lowercase();
    for hidden in ["%2e", "%00", "\\"] {
        assert!(!lower.contains(hidden), "{raw:?} -> {once}");
    }
    for hidden in ["//", "%2f", "%5c", ";"] {
        assert!(again.doubtful || !lower.contains(hidden), "{raw:?} -> {once}");
    }
});

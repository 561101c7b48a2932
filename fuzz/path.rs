//! Any bytes as a path: refused, or canonical once and for all.

use portcullis::http::path::{canonicalize, decode_segment, encode_segment};
use portcullis::http::readings::readings;

use super::pen;

pub(crate) fn check(data: &[u8]) {
    let mut buffer = vec![0; data.len()];
    assert_eq!(decode_segment(&encode_segment(data), &mut buffer), Some(data));
    if let Ok(raw) = std::str::from_utf8(data) {
        examine(raw);
    }
    examine(&format!("/{}", pen::words(data, WORDS)));
}

const WORDS: &[&str] = &[
    "/", "/", "a", "admin", "..", ".", "%2e", "%2F", "%5c", ";", "%3B", "%25", "%252F", "%252e",
    "%61", "%c3%a9", "\u{e9}", "\\", "%00", "*",
];

fn examine(raw: &str) {
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
    // Where there is no doubt, all readers see the same segments.
    if let (false, Ok(readings)) = (canonicalize(raw).expect("canonical").doubtful, readings(raw)) {
        let meant = segments(&once);
        assert!(readings.iter().all(|one| segments(&one.path) == meant), "{raw:?}");
    }
}

fn segments(path: &str) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; path.len()];
    let mut decoded = |one| decode_segment(one, &mut buffer).expect("an escape").to_vec();
    path.split('/').map(&mut decoded).collect()
}

//! Any bytes as `Accept-Encoding`: what is chosen was offered, and named or covered by `*`.

use hyper::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use portcullis::http::{Accepted, Coding};

use super::pen;

pub(crate) fn check(data: &[u8]) {
    examine(data);
    examine(pen::words(data, WORDS).as_bytes());
}

const WORDS: &[&str] = &[
    "gzip",
    "br",
    "zstd",
    "x-gzip",
    "identity",
    "*",
    ";q=0",
    ";q=1",
    ";q=0.5",
    ";q=0.0001",
    ";q=2",
    ",",
    ",",
    ", ",
    " ",
    ";",
    "q=",
    "GZIP",
];

fn examine(line: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(line) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, value);
    let accepted = Accepted::of(&headers);
    let lower = String::from_utf8_lossy(line).to_ascii_lowercase();
    for offered in [&[Coding::Brotli, Coding::Gzip, Coding::Zstd][..], &[Coding::Gzip], &[]] {
        let chosen = accepted.choose(offered.iter().copied());
        assert!(chosen.is_none_or(|chosen| offered.contains(&chosen)), "{lower}");
        if let Some(chosen) = chosen {
            assert!(lower.contains(chosen.as_str()) || lower.contains('*'), "{lower}");
        }
    }
    // A field that is absent accepts nothing but the plain content.
    assert_eq!(Accepted::of(&HeaderMap::new()).choose([Coding::Gzip]), None);
}

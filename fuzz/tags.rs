//! Any bytes as a list of entity tags: a tag is found only where it stands, whole and in quotes.

use hyper::header::HeaderValue;
use portcullis::static_files::lists_tag;

use super::pen;

pub(crate) fn check(data: &[u8]) {
    examine(data);
    examine(pen::words(data, WORDS).as_bytes());
}

const TAG: &[u8] = b"\"a-1\"";

const WORDS: &[&str] = &[
    "\"a-1\"",
    "W/\"a-1\"",
    "W/",
    "\"",
    "a-1",
    ",",
    ", ",
    " ",
    "*",
    "\"b\"",
    "\"a-1",
    "w/\"a-1\"",
];

fn examine(line: &[u8]) {
    if HeaderValue::from_bytes(line).is_err() {
        return;
    }
    let (strong, weak) = (lists_tag(line, TAG, false), lists_tag(line, TAG, true));
    assert!(weak || !strong, "what is equal strongly is equal weakly: {line:?}");
    let any = line.trim_ascii() == b"*";
    let stands = line.windows(TAG.len()).any(|window| window == TAG);
    assert!(any || stands || !weak, "{line:?}");
    // A good list before changes nothing.
    let longer = [b"W/\"x\", \"y\" ,", line].concat();
    if !any {
        assert_eq!(lists_tag(&longer, TAG, true), weak, "{line:?}");
    }
}

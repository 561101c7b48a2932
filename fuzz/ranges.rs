//! Any bytes as a `Range`: the whole file, nothing, or stretches of it that share no byte.

use portcullis::static_files::range::{Part, Requested, Stretch};

use super::pen;

pub(crate) fn check(data: &[u8]) {
    let size = data.iter().take(2).fold(0, |size, byte| size * 256 + u64::from(*byte));
    examine(data, size);
    examine(format!("bytes={}", pen::words(data, WORDS)).as_bytes(), size);
}

const WORDS: &[&str] = &[
    "0",
    "1",
    "9",
    "10",
    "255",
    "65535",
    "18446744073709551615",
    "99999999999999999999",
    "-",
    "-",
    ",",
    ",",
    " ",
    "x",
    "+",
    "=",
];

fn examine(line: &[u8], size: u64) {
    let requested = Requested::parse(line);
    let stretches = match requested.of(size) {
        Part::None | Part::Whole => return,
        Part::One(one) => vec![one],
        Part::Several(several) => {
            assert!((2..=8).contains(&several.len()), "{line:?}");
            several
        }
    };
    assert!(line.get(..6).is_some_and(|unit| unit.eq_ignore_ascii_case(b"bytes=")), "{line:?}");
    let mut sorted = stretches;
    sorted.sort_by_key(|one| one.first);
    let mut next = 0;
    for Stretch { first, last } in sorted {
        assert!(next <= first && first <= last && last < size, "{line:?}");
        // What touches is one stretch.
        next = last + 2;
    }
}

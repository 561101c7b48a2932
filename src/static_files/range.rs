//! `Range` (RFC 9110 section 14): which parts of a file are asked for.
//!
//! Up to eight ranges are served. Those that overlap or touch are merged, so that no request can ask
//! for more bytes than the file has (H20); more than eight get the whole file, as the RFC allows
//! (section 14.2). What is malformed, or counts in another unit, is ignored as it demands.

use hyper::header::{self, HeaderMap};

/// The ranges asked for, before the file's size is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requested {
    /// One.
    One(Spec),
    /// At most eight, in the order in which they were asked for.
    Several(Vec<Spec>),
    /// No range, too many, or none that can be read.
    Whole,
}

/// One range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spec {
    /// From this byte on.
    From(u64),
    /// From the first to the last byte, both included; the first is not greater.
    FromTo(u64, u64),
    /// So many bytes of the end.
    Last(u64),
}

/// What of a file of known size is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Nothing of what was asked for exists.
    None,
    /// One stretch.
    One(Stretch),
    /// Two or more, which share no byte and do not touch.
    Several(Vec<Stretch>),
    /// Everything, as a 200.
    Whole,
}

/// A stretch of a file's bytes, not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Position of the first byte.
    pub first: u64,
    /// Position of the last byte, included.
    pub last: u64,
}

/// Ranges in one request.
const MOST: usize = 8;

impl Requested {
    /// What the one `Range` of a request says; several are none.
    pub fn new(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(header::RANGE).iter();
        match (lines.next(), lines.next()) {
            (Some(line), None) => Self::parse(line.as_bytes()),
            _ => Self::Whole,
        }
    }

    /// What one line says.
    pub fn parse(line: &[u8]) -> Self {
        let Some(mut specs) = specs(line) else { return Self::Whole };
        let Some(first) = specs.next() else { return Self::Whole };
        let specs: Option<Vec<Spec>> = std::iter::once(first).chain(specs).take(MOST + 1).collect();
        match specs.as_deref() {
            Some([one]) => Self::One(*one),
            Some(several) if several.len() <= MOST => Self::Several(several.to_vec()),
            Some(_) | None => Self::Whole,
        }
    }

    /// What of a file of `size` bytes this asks for.
    pub fn of(&self, size: u64) -> Part {
        let specs = match self {
            Self::Whole => return Part::Whole,
            Self::One(spec) => std::slice::from_ref(spec),
            Self::Several(specs) => specs,
        };
        // An empty file has no byte whose position a Content-Range could name.
        if size == 0 && specs.iter().any(|spec| matches!(spec, Spec::Last(1..))) {
            return Part::Whole;
        }
        let mut stretches: Vec<Stretch> = Vec::new();
        for stretch in specs.iter().filter_map(|spec| spec.of(size)) {
            merge(&mut stretches, stretch);
        }
        match stretches.as_slice() {
            [] => Part::None,
            [one] => Part::One(*one),
            _ => Part::Several(stretches),
        }
    }
}

/// The ranges of a line in bytes, each `None` if it is malformed.
fn specs(line: &[u8]) -> Option<impl Iterator<Item = Option<Spec>>> {
    let equals = line.iter().position(|byte| *byte == b'=')?;
    let (unit, set) = line.split_at_checked(equals)?;
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let set = set.get(1..)?.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    Some(set.filter(|spec| !spec.is_empty()).map(Spec::parse))
}

/// Adds a stretch; what it overlaps or touches becomes one with it, in the place of the earliest.
fn merge(stretches: &mut Vec<Stretch>, mut stretch: Stretch) {
    let mut place = None;
    // Whatever it grows by may touch another one.
    while let Some(at) = stretches.iter().position(|one| one.touches(stretch)) {
        let one = stretches.remove(at);
        stretch.first = stretch.first.min(one.first);
        stretch.last = stretch.last.max(one.last);
        place = Some(place.map_or(at, |place: usize| place.min(at)));
    }
    stretches.insert(place.unwrap_or(stretches.len()).min(stretches.len()), stretch);
}

impl Spec {
    fn parse(spec: &[u8]) -> Option<Self> {
        let dash = spec.iter().position(|byte| *byte == b'-')?;
        match (spec.get(..dash)?, spec.get(dash.checked_add(1)?..)?) {
            (b"", suffix) => Some(Self::Last(number(suffix)?)),
            (first, b"") => Some(Self::From(number(first)?)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::FromTo(first, last))
            }
        }
    }

    /// The bytes it names in a file of `size` bytes, if there are any.
    fn of(self, size: u64) -> Option<Stretch> {
        let end = size.checked_sub(1)?;
        match self {
            Self::From(first) | Self::FromTo(first, _) if first > end => None,
            Self::From(first) => Some(Stretch { first, last: end }),
            Self::FromTo(first, last) => Some(Stretch { first, last: last.min(end) }),
            Self::Last(0) => None,
            Self::Last(count) => Some(Stretch { first: size.saturating_sub(count), last: end }),
        }
    }
}

impl Stretch {
    /// How many bytes.
    pub const fn length(self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }

    fn touches(self, other: Self) -> bool {
        self.first <= other.last.saturating_add(1) && other.first <= self.last.saturating_add(1)
    }
}

/// Digits alone: `str::parse` would also take a sign. More than fit mean beyond any file's end.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit.wrapping_sub(b'0')))?;
        Some(value.saturating_mul(10).saturating_add(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(line: &str) -> Requested {
        Requested::parse(line.as_bytes())
    }

    const fn stretch(first: u64, last: u64) -> Stretch {
        Stretch { first, last }
    }

    #[test]
    fn ranges_of_bytes_are_read() {
        assert_eq!(parse("bytes=0-9"), Requested::One(Spec::FromTo(0, 9)));
        assert_eq!(parse("Bytes=7-"), Requested::One(Spec::From(7)));
        assert_eq!(parse("bytes=-3"), Requested::One(Spec::Last(3)));
        assert_eq!(parse("bytes= , 1-2 ,"), Requested::One(Spec::FromTo(1, 2)));
        let beyond = format!("bytes=0-{}", "9".repeat(40));
        assert_eq!(parse(&beyond), Requested::One(Spec::FromTo(0, u64::MAX)));
        let several = vec![Spec::FromTo(0, 1), Spec::Last(1), Spec::From(5)];
        assert_eq!(parse("bytes=0-1, -1,5-"), Requested::Several(several));
    }

    #[test]
    fn malformed_ranges_and_too_many_mean_the_whole() {
        let nine = format!("bytes={}", (0..9).map(|at| format!("{at}-{at},")).collect::<String>());
        let eight = nine.replace("8-8,", "");
        assert!(matches!(parse(&eight), Requested::Several(specs) if specs.len() == MOST));
        for line in [
            nine.as_str(),
            "bytes=0-1,9-1",
            "bytes=0-1,x",
            "bytes=9-1",
            "bytes=",
            "bytes=-",
            "bytes",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes=0x1-2",
            "items=0-1",
            "=0-1",
            "",
            "bytes =0-1",
            "bytes=1 - 2",
        ] {
            assert_eq!(parse(line), Requested::Whole, "{line:?}");
        }
    }

    #[test]
    fn parts_lie_inside_the_file() {
        for (line, size, expected) in [
            ("bytes=99-", 100, Part::One(stretch(99, 99))),
            ("bytes=100-", 100, Part::None),
            ("bytes=0-999", 100, Part::One(stretch(0, 99))),
            ("bytes=-1000", 100, Part::One(stretch(0, 99))),
            ("bytes=-0", 100, Part::None),
            ("bytes=-5", 0, Part::Whole),
            ("bytes=0-", 0, Part::None),
            ("bytes=0-0,5-", 0, Part::None),
            ("x", 0, Part::Whole),
        ] {
            assert_eq!(parse(line).of(size), expected, "{line} of {size}");
        }
    }

    #[test]
    fn several_are_merged_and_keep_their_order() {
        for (line, expected) in [
            ("bytes=0-1,4-5", Part::Several(vec![stretch(0, 1), stretch(4, 5)])),
            ("bytes=4-5,0-1", Part::Several(vec![stretch(4, 5), stretch(0, 1)])),
            ("bytes=0-1,2-3", Part::One(stretch(0, 3))),
            ("bytes=0-5,3-9,-1", Part::Several(vec![stretch(0, 9), stretch(99, 99)])),
            ("bytes=0-0,4-4,2-2,1-3", Part::One(stretch(0, 4))),
            ("bytes=8-9,0-0,20-29,1-7", Part::Several(vec![stretch(0, 9), stretch(20, 29)])),
            ("bytes=0-,0-,0-,0-", Part::One(stretch(0, 99))),
            ("bytes=0-1,200-", Part::One(stretch(0, 1))),
            ("bytes=200-,300-", Part::None),
        ] {
            assert_eq!(parse(line).of(100), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_gives_parts_inside_that_share_no_byte(
            line in "(bytes=)?[0-9,\\- =a]{0,60}",
            size in any::<u64>(),
        ) {
            let mut stretches = match parse(&line).of(size) {
                Part::None | Part::Whole => Vec::new(),
                Part::One(one) => vec![one],
                Part::Several(several) => {
                    prop_assert!((2..=MOST).contains(&several.len()));
                    several
                }
            };
            stretches.sort_by_key(|one| one.first);
            for one in &stretches {
                prop_assert!(one.first <= one.last && one.last < size);
            }
            for (before, after) in stretches.iter().zip(stretches.iter().skip(1)) {
                prop_assert!(before.last + 1 < after.first);
            }
        }

        #[test]
        fn any_bytes_end(line in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Requested::parse(&line);
        }
    }
}

//! `Range` (RFC 9110 section 14): which part of a file is asked for.
//!
//! One range is served. Several get the whole file, so that no request can ask for more bytes than
//! the file has (H20). What is malformed, or counts in another unit, is ignored as the RFC demands.

use hyper::header::{self, HeaderMap};

/// The range asked for, before the file's size is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Requested {
    /// From this byte on.
    From(u64),
    /// From the first to the last byte, both included; the first is not greater.
    FromTo(u64, u64),
    /// So many bytes of the end.
    Last(u64),
    /// No range, several, or none that can be read.
    Whole,
}

/// The part of a file of known size that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Nothing of what was asked for exists.
    None,
    /// Positions of the first and last byte, both inside the file.
    Some {
        /// Of the first byte.
        first: u64,
        /// Of the last byte, included.
        last: u64,
    },
    /// Everything, as a 200.
    Whole,
}

impl Requested {
    pub(super) fn new(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(header::RANGE).iter();
        match (lines.next(), lines.next()) {
            (Some(line), None) => Self::parse(line.as_bytes()).unwrap_or(Self::Whole),
            _ => Self::Whole,
        }
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let equals = line.iter().position(|byte| *byte == b'=')?;
        let (unit, set) = line.split_at_checked(equals)?;
        if !unit.eq_ignore_ascii_case(b"bytes") {
            return None;
        }
        let mut specs = set
            .get(1..)?
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .filter(|spec| !spec.is_empty());
        let spec = specs.next().filter(|_| specs.next().is_none())?;
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

    /// What of a file of `size` bytes this asks for.
    pub(super) fn of(self, size: u64) -> Part {
        let Some(end) = size.checked_sub(1) else {
            // An empty file has no byte whose position a Content-Range could name.
            return match self {
                Self::Last(1..) | Self::Whole => Part::Whole,
                Self::Last(0) | Self::From(_) | Self::FromTo(..) => Part::None,
            };
        };
        match self {
            Self::From(first) | Self::FromTo(first, _) if first > end => Part::None,
            Self::From(first) => Part::Some { first, last: end },
            Self::FromTo(first, last) => Part::Some { first, last: last.min(end) },
            Self::Last(0) => Part::None,
            Self::Last(count) => Part::Some { first: size.saturating_sub(count), last: end },
            Self::Whole => Part::Whole,
        }
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

    fn parse(line: &str) -> Option<Requested> {
        Requested::parse(line.as_bytes())
    }

    #[test]
    fn one_range_of_bytes_is_read() {
        assert_eq!(parse("bytes=0-9"), Some(Requested::FromTo(0, 9)));
        assert_eq!(parse("Bytes=7-"), Some(Requested::From(7)));
        assert_eq!(parse("bytes=-3"), Some(Requested::Last(3)));
        assert_eq!(parse("bytes= , 1-2 ,"), Some(Requested::FromTo(1, 2)));
        let beyond = format!("bytes=0-{}", "9".repeat(40));
        assert_eq!(parse(&beyond), Some(Requested::FromTo(0, u64::MAX)));
    }

    #[test]
    fn several_ranges_and_malformed_ones_mean_the_whole() {
        for line in [
            "bytes=0-1,2-3",
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
            assert_eq!(parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn parts_lie_inside_the_file() {
        assert_eq!(Requested::From(99).of(100), Part::Some { first: 99, last: 99 });
        assert_eq!(Requested::From(100).of(100), Part::None);
        assert_eq!(Requested::FromTo(0, u64::MAX).of(100), Part::Some { first: 0, last: 99 });
        assert_eq!(Requested::Last(1000).of(100), Part::Some { first: 0, last: 99 });
        assert_eq!(Requested::Last(0).of(100), Part::None);
        assert_eq!(Requested::Last(5).of(0), Part::Whole);
        assert_eq!(Requested::From(0).of(0), Part::None);
        assert_eq!(Requested::Whole.of(0), Part::Whole);
    }

    proptest! {
        #[test]
        fn any_line_gives_a_part_inside(
            line in "(bytes=)?[0-9,\\- =a]{0,30}",
            size in any::<u64>(),
        ) {
            let requested = parse(&line).unwrap_or(Requested::Whole);
            if let Part::Some { first, last } = requested.of(size) {
                prop_assert!(first <= last && last < size);
            }
        }

        #[test]
        fn any_bytes_end(line in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Requested::parse(&line);
        }
    }
}

//! A file's validators, and the conditions of a request against them (RFC 9110 sections 8.8, 13).
//!
//! Conditions come from strangers: what cannot be parsed is ignored where the RFC says so, and
//! otherwise counts as not matching. Nothing here reads a file.
//!
//! A representation's tag is made of its own file's state, and named after its coding: two encodings
//! of one file share no tag.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::range::{Part, Requested};
use crate::clock::UnixTime;
use crate::http::Coding;

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Seconds since 1970, negative before.
    pub(super) seconds: i64,
    pub(super) nanoseconds: i64,
    /// Bytes.
    pub(super) size: u64,
}

impl Stamp {
    /// The strong entity tag, quotes included.
    ///
    /// `hash` is what is known of the content, from the manifest of the folder: with it every
    /// replica has the same tag, whenever the file was written there. The size beside it tells a
    /// file that is still being copied.
    ///
    /// Strong although made from times: file systems that matter stamp with at least the tick of
    /// the kernel, and files that are served are replaced, not patched in place.
    pub(super) fn etag(self, hash: Option<&str>, coding: Option<Coding>) -> HeaderValue {
        let Self { seconds, nanoseconds, size } = self;
        let (dash, coding) = coding.map_or(("", ""), |coding| ("-", coding.as_str()));
        let text = match hash {
            Some(hash) => format!("\"{hash}-{size:x}{dash}{coding}\""),
            None => format!("\"{seconds:x}.{nanoseconds:x}-{size:x}{dash}{coding}\""),
        };
        // Hexadecimal digits and dashes in quotes.
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("\"\""))
    }

    /// The value of `Last-Modified`; none for a time in the future, which an origin must not send
    /// (RFC 9110 section 8.8.2.1), nor for one before 1970.
    pub(super) fn last_modified(self, now: UnixTime) -> Option<HeaderValue> {
        let seconds =
            u64::try_from(self.seconds).ok().filter(|seconds| *seconds <= now.as_secs())?;
        // Later than any honest clock, and more than the format's four digits can say.
        if seconds >= YEAR_10000 {
            return None;
        }
        HeaderValue::try_from(httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds)))
            .ok()
    }
}

const YEAR_10000: u64 = 253_402_300_800;

// === Conditions ===

/// The conditions of one request, owned so that a blocking thread can judge them.
#[derive(Debug)]
pub(super) struct Conditions {
    if_match: Option<TagList>,
    if_unmodified_since: Option<i64>,
    if_none_match: Option<TagList>,
    if_modified_since: Option<i64>,
    if_range: Option<IfRange>,
    range: Requested,
}

/// What the conditions leave of the request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A condition of the client's does not hold: 412.
    Failed,
    /// The client has this state of the file: 304.
    NotModified,
    /// Send this part.
    Send(Part),
}

impl Conditions {
    /// The conditions that `headers` state. `Range` counts for GET alone (section 14.2).
    pub(super) fn new(headers: &HeaderMap, head: bool) -> Self {
        Self {
            if_match: TagList::new(headers, &header::IF_MATCH),
            if_unmodified_since: date(headers, &header::IF_UNMODIFIED_SINCE),
            if_none_match: TagList::new(headers, &header::IF_NONE_MATCH),
            if_modified_since: date(headers, &header::IF_MODIFIED_SINCE),
            if_range: IfRange::new(headers),
            range: if head { Requested::Whole } else { Requested::new(headers) },
        }
    }

    /// Judges in the order of RFC 9110 section 13.2.2, for a representation with the tag `etag`;
    /// `negotiated` says that others share its URL.
    pub(super) fn judge(&self, stamp: Stamp, etag: &HeaderValue, negotiated: bool) -> Verdict {
        let etag = etag.as_bytes();
        // 1. If-Match. 2. If-Unmodified-Since, only without If-Match.
        let holds = match (&self.if_match, self.if_unmodified_since) {
            (Some(tags), _) => tags.contains(etag, Comparison::Strong),
            (None, Some(date)) => stamp.seconds <= date,
            (None, None) => true,
        };
        if !holds {
            return Verdict::Failed;
        }
        // 3. If-None-Match. 4. If-Modified-Since, only without If-None-Match.
        let known = match (&self.if_none_match, self.if_modified_since) {
            (Some(tags), _) => tags.contains(etag, Comparison::Weak),
            (None, Some(date)) => stamp.seconds <= date,
            (None, None) => false,
        };
        if known {
            return Verdict::NotModified;
        }
        // 5. Range, if If-Range holds or is absent.
        let partial = match &self.if_range {
            Some(IfRange::Tag(tag)) => tag.as_bytes() == etag,
            // All encodings may have one date: it does not say of which one the client has a part
            // (section 8.8.2.2).
            Some(IfRange::Date(date)) => stamp.seconds == *date && !negotiated,
            Some(IfRange::Malformed) => false,
            None => true,
        };
        Verdict::Send(if partial { self.range.of(stamp.size) } else { Part::Whole })
    }
}

/// The one date of a field; a repeated or malformed one is ignored (sections 13.1.3, 13.1.4).
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<i64> {
    parse_date(only(headers, name)?)
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

fn parse_date(value: &HeaderValue) -> Option<i64> {
    let date: SystemTime = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// `If-Range`: a strong tag or a date, both compared exactly (section 13.1.5).
#[derive(Debug)]
enum IfRange {
    Date(i64),
    /// Repeated, or neither form: no range is sent, since nothing proves that it would fit.
    Malformed,
    Tag(HeaderValue),
}

impl IfRange {
    fn new(headers: &HeaderMap) -> Option<Self> {
        if !headers.contains_key(header::IF_RANGE) {
            return None;
        }
        let Some(value) = only(headers, &header::IF_RANGE) else { return Some(Self::Malformed) };
        Some(if value.as_bytes().starts_with(b"\"") {
            Self::Tag(value.clone())
        } else {
            parse_date(value).map_or(Self::Malformed, Self::Date)
        })
    }
}

// === TagList ===

/// Whether one line of `If-Match` or `If-None-Match` lists the strong tag `etag`, quotes included;
/// `weakly`: as `If-None-Match` compares.
pub fn lists_tag(line: &[u8], etag: &[u8], weakly: bool) -> bool {
    let comparison = if weakly { Comparison::Weak } else { Comparison::Strong };
    lists(line, etag, comparison)
}

fn lists(line: &[u8], etag: &[u8], comparison: Comparison) -> bool {
    let line = line.trim_ascii();
    line == b"*"
        || Tags(line).any(|tag| tag.quoted == etag && (comparison == Comparison::Weak || !tag.weak))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// The lines of `If-Match` or `If-None-Match`, taken apart only when they are compared.
#[derive(Debug)]
struct TagList(Vec<HeaderValue>);

impl TagList {
    fn new(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let lines: Vec<_> = headers.get_all(name).iter().cloned().collect();
        (!lines.is_empty()).then_some(Self(lines))
    }

    /// Whether `*` or a tag equal to `etag` (strong, in quotes) is listed.
    fn contains(&self, etag: &[u8], comparison: Comparison) -> bool {
        self.0.iter().any(|line| lists(line.as_bytes(), etag, comparison))
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Tag<'a> {
    weak: bool,
    quoted: &'a [u8],
}

/// The tags of one line; ends at the first thing that is not one. A comma may stand in a tag.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        let start = self.0.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
        let rest = self.0.get(start..)?;
        let (weak, rest) = match rest.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let inner = rest.strip_prefix(b"\"")?;
        let end = inner.iter().position(|byte| *byte == b'"')?;
        let (quoted, rest) = rest.split_at_checked(end.checked_add(2)?)?;
        self.0 = rest;
        Some(Tag { weak, quoted })
    }
}

#[cfg(test)]
mod tests {
    use super::super::range::Stretch;
    use super::*;
    use proptest::prelude::*;

    const STAMP: Stamp = Stamp { seconds: 1_700_000_000, nanoseconds: 5, size: 100 };
    const BEFORE: &str = "Tue, 14 Nov 2023 22:13:19 GMT";
    const EXACT: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
    const OTHER: &str = "\"other\"";

    fn judge(fields: &[(HeaderName, &str)]) -> Verdict {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        Conditions::new(&headers, false).judge(STAMP, &STAMP.etag(None, None), false)
    }

    fn tag() -> String {
        STAMP.etag(None, None).to_str().unwrap().to_owned()
    }

    const WHOLE: Verdict = Verdict::Send(Part::Whole);

    #[test]
    fn the_tag_and_the_date_are_of_the_file() {
        assert_eq!(STAMP.etag(None, None), "\"6553f100.5-64\"");
        assert_eq!(STAMP.etag(None, Some(Coding::Gzip)), "\"6553f100.5-64-gzip\"");
        assert_eq!(STAMP.etag(Some("0123456789ab"), None), "\"0123456789ab-64\"");
        assert_eq!(
            STAMP.etag(Some("0123456789ab"), Some(Coding::Zstd)),
            "\"0123456789ab-64-zstd\""
        );
        let now = UnixTime::from_secs(1_800_000_000);
        assert_eq!(STAMP.last_modified(now).unwrap(), EXACT);
        let past = UnixTime::from_secs(1_600_000_000);
        assert_eq!(STAMP.last_modified(past), None, "never later than the message itself");
        assert_eq!(Stamp { seconds: -1, ..STAMP }.last_modified(now), None);
        let end = Stamp { seconds: i64::MAX, ..STAMP };
        assert_eq!(end.last_modified(UnixTime::from_secs(u64::MAX)), None);
    }

    #[test]
    fn if_match_compares_strongly_and_wins_over_the_date() {
        let etag = tag();
        let weak = format!("W/{etag}");
        assert_eq!(judge(&[(header::IF_MATCH, &etag)]), WHOLE);
        assert_eq!(judge(&[(header::IF_MATCH, "*")]), WHOLE);
        assert_eq!(judge(&[(header::IF_MATCH, &weak)]), Verdict::Failed);
        assert_eq!(judge(&[(header::IF_MATCH, OTHER)]), Verdict::Failed);
        assert_eq!(judge(&[(header::IF_MATCH, "junk")]), Verdict::Failed);
        let both = [(header::IF_MATCH, &*etag), (header::IF_UNMODIFIED_SINCE, BEFORE)];
        assert_eq!(judge(&both), WHOLE);
    }

    #[test]
    fn if_unmodified_since_fails_for_an_older_date_only() {
        assert_eq!(judge(&[(header::IF_UNMODIFIED_SINCE, BEFORE)]), Verdict::Failed);
        assert_eq!(judge(&[(header::IF_UNMODIFIED_SINCE, EXACT)]), WHOLE);
        assert_eq!(judge(&[(header::IF_UNMODIFIED_SINCE, "yesterday")]), WHOLE);
    }

    #[test]
    fn if_none_match_compares_weakly_in_lists_on_several_lines() {
        let etag = tag();
        for value in [&*etag, &format!("W/{etag}"), "*", &format!("\"a,b\" ,, W/\"c\",\t{etag}")] {
            assert_eq!(judge(&[(header::IF_NONE_MATCH, value)]), Verdict::NotModified, "{value}");
        }
        let lines = [(header::IF_NONE_MATCH, OTHER), (header::IF_NONE_MATCH, &*etag)];
        assert_eq!(judge(&lines), Verdict::NotModified);
        for value in [OTHER, "", "6553f100.5-64", "\"open", "W/", "**"] {
            assert_eq!(judge(&[(header::IF_NONE_MATCH, value)]), WHOLE, "{value}");
        }
    }

    #[test]
    fn if_modified_since_counts_only_without_if_none_match() {
        assert_eq!(judge(&[(header::IF_MODIFIED_SINCE, EXACT)]), Verdict::NotModified);
        assert_eq!(judge(&[(header::IF_MODIFIED_SINCE, BEFORE)]), WHOLE);
        let both = [(header::IF_NONE_MATCH, OTHER), (header::IF_MODIFIED_SINCE, EXACT)];
        assert_eq!(judge(&both), WHOLE);
        let twice = [(header::IF_MODIFIED_SINCE, EXACT), (header::IF_MODIFIED_SINCE, EXACT)];
        assert_eq!(judge(&twice), WHOLE);
    }

    #[test]
    fn a_failed_condition_wins_over_a_known_state() {
        let etag = tag();
        let fields = [(header::IF_MATCH, OTHER), (header::IF_NONE_MATCH, &*etag)];
        assert_eq!(judge(&fields), Verdict::Failed);
    }

    #[test]
    fn if_range_must_prove_that_the_part_fits() {
        let etag = tag();
        let weak = format!("W/{etag}");
        let part = Verdict::Send(Part::One(Stretch { first: 0, last: 9 }));
        let range = (header::RANGE, "bytes=0-9");
        for (value, fits) in
            [(&*etag, true), (EXACT, true), (&*weak, false), (BEFORE, false), (OTHER, false)]
        {
            let verdict = judge(&[range.clone(), (header::IF_RANGE, value)]);
            assert_eq!(verdict == part, fits, "{value}");
        }
        let twice = [range.clone(), (header::IF_RANGE, &*etag), (header::IF_RANGE, &*etag)];
        assert_eq!(judge(&twice), WHOLE);
        assert_eq!(judge(&[range]), part);
    }

    #[test]
    fn a_date_does_not_say_which_encoding_a_part_is_of() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-9"));
        headers.insert(header::IF_RANGE, HeaderValue::from_static(EXACT));
        let etag = STAMP.etag(None, Some(Coding::Brotli));
        assert_eq!(Conditions::new(&headers, false).judge(STAMP, &etag, true), WHOLE);
        headers.insert(header::IF_RANGE, etag.clone());
        assert_ne!(Conditions::new(&headers, false).judge(STAMP, &etag, true), WHOLE);
        headers.insert(header::IF_RANGE, STAMP.etag(None, None));
        assert_eq!(Conditions::new(&headers, false).judge(STAMP, &etag, true), WHOLE);
    }

    #[test]
    fn head_has_no_range() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-9"));
        assert_eq!(
            Conditions::new(&headers, true).judge(STAMP, &STAMP.etag(None, None), false),
            WHOLE
        );
    }

    proptest! {
        #[test]
        fn any_bytes_end(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            for tag in Tags(&line) {
                prop_assert!(tag.quoted.len() >= 2);
            }
        }

        #[test]
        fn a_listed_tag_is_found(before in "(\"[!#-~]{0,8}\"[ ,]{1,3}){0,4}") {
            let list = TagList(vec![HeaderValue::from_str(&format!("{before}\"x\"")).unwrap()]);
            prop_assert!(list.contains(b"\"x\"", Comparison::Strong));
        }
    }
}

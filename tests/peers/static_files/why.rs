//! Why Portcullis answers otherwise: each reason with its paragraph, and how it is told.

use super::cases::Case;
use super::{Peer, Seen};

/// Their ids, and what is done.
pub(super) const REASONS: &[(&str, &str)] = &[
    (
        "304",
        "There is a tag, so nothing else is said about a file that the client has (RFC 9110 section 15.4.5).",
    ),
    (
        "412",
        "A failed condition is an answer without content, which can be read (RFC 9110 section 8.6: `Content-Length` is that of the content).",
    ),
    (
        "above-root",
        "A path that climbs above the root is refused, whatever would be there (RFC 9110 section 17.3).",
    ),
    ("bad-date", "A date that is none is ignored (RFC 9110 sections 13.1.3 and 13.1.4)."),
    (
        "bad-range",
        "A `Range` that is malformed is ignored, as is every unit but `bytes` (RFC 9110 section 14.2); the answer is the whole file. Digits are digits: no sign, no blank, no hexadecimal (section 14.1.1).",
    ),
    (
        "beside",
        "An encoded neighbour that is older than its file, empty, or longer is no representation of it (RFC 9110 sections 3.2 and 8.4), and without one there is nothing to vary by.",
    ),
    ("charset", "Text that is published is UTF-8, and says so (RFC 9110 section 8.3.2)."),
    ("dots", "Dot segments are removed first (RFC 3986 section 5.2.4); what remains is the path."),
    (
        "empty",
        "An empty file has no first byte: no range of it can be satisfied (RFC 9110 section 14.1.2), 416 (15.5.17). A suffix longer than the file is the whole file.",
    ),
    ("empty-elements", "Empty elements of a list are ignored (RFC 9110 section 5.6.1.2)."),
    (
        "encoding",
        "The encoding that the client likes best, by `q`, then the shortest (RFC 9110 section 12.5.3): brotli and zstd too, `*` and `x-gzip` (8.4.1.3) understood, none for a weight that is none, plain if `identity` is liked better.",
    ),
    (
        "encoded-range",
        "A range is of the representation that was selected, encoded or not (RFC 9110 section 14.2).",
    ),
    ("fragment", "What follows `#` is no part of what is asked for (RFC 3986 section 3.5)."),
    ("head-range", "`Range` is defined for GET alone (RFC 9110 section 14.2)."),
    (
        "hidden",
        "Names that were not meant to be published (dots, backups, keys, sources, the manifest) are not there (RFC 9110 sections 17.3 and 15.5.4).",
    ),
    (
        "if-range-date",
        "All encodings may have one date, so it proves nothing about parts (RFC 9110 sections 13.1.5 and 8.8.2.2).",
    ),
    (
        "large-number",
        "A last position beyond the end means up to the end, however many digits it has (RFC 9110 section 14.1.2).",
    ),
    (
        "later-date",
        "`If-Modified-Since` asks whether the file is newer, not whether the dates are equal (RFC 9110 section 13.1.3).",
    ),
    ("links", "Symbolic links that lead out of the folder lead nowhere (RFC 9110 section 17.3)."),
    (
        "many-ranges",
        "More than eight ranges get the whole file (RFC 9110 sections 14.2 and 17.15).",
    ),
    (
        "merged",
        "Ranges that overlap or touch become one, and no byte is sent twice (RFC 9110 section 15.3.7.2).",
    ),
    (
        "method",
        "Whatever the path, 405 names what is allowed (RFC 9110 section 15.5.6), and OPTIONS is answered (9.3.7).",
    ),
    ("no-index", "A folder that shows nothing is not there (RFC 9110 section 15.5.4)."),
    (
        "not-there",
        "What is not there is 404, whatever the file system says about its name (RFC 9110 section 15.5.5).",
    ),
    (
        "other-path",
        "`%2F` is not a slash, `//` is not `/` (RFC 3986 sections 2.2 and 3.3), and `\\` and a leading `//` are refused (RFC 9112 section 3.2, RFC 3986 section 4.2).",
    ),
    (
        "precedence",
        "`If-Unmodified-Since` does not count beside `If-Match`, nor `If-Modified-Since` beside `If-None-Match` (RFC 9110 section 13.2.2).",
    ),
    (
        "redirect",
        "The redirect keeps the method and the query as it was sent (RFC 9110 section 15.4.9).",
    ),
    (
        "several-lines",
        "Lines of one list are one list (RFC 9110 section 5.3); a date or a range that comes twice is malformed and ignored (13.1.3, 14.2).",
    ),
    ("suffix-zero", "The last zero bytes cannot be satisfied (RFC 9110 section 14.1.2)."),
    (
        "trailing-slash",
        "A file's name with a slash behind it is another path, at which nothing is (RFC 3986 section 6.2).",
    ),
    (
        "type",
        "Bytes of no known type are `application/octet-stream`, with `nosniff` (RFC 9110 section 8.3).",
    ),
    ("unit", "The name of a unit has no case (RFC 9110 section 14.1)."),
    ("unsatisfied", "416 says how long the file is (RFC 9110 section 15.5.17)."),
    (
        "vary",
        "`Vary` names what the choice depends on: `Accept-Encoding`, if there is something to choose (RFC 9110 section 12.5.5).",
    ),
];

/// The reason of a difference.
pub(super) fn reason(case: &Case, peer: Peer, ours: &Seen, theirs: &Seen) -> Option<&'static str> {
    if theirs.status == 0 {
        return (ours.status == 412).then_some("412");
    }
    if ours.status == 304 && theirs.status == 304 {
        return Some("304");
    }
    if !matches!(case.method, "GET" | "HEAD") {
        return Some("method");
    }
    conditions(case, peer, ours, theirs)
        .or_else(|| ranges(case, ours, theirs))
        .or_else(|| encodings(case, ours, theirs))
        .or_else(|| paths(case, ours, theirs))
}

fn has_twice(case: &Case) -> bool {
    let names: Vec<_> = case.lines.iter().filter_map(|line| line.split(':').next()).collect();
    names.windows(2).any(|two| two[0] == two[1])
}

fn conditions(case: &Case, peer: Peer, ours: &Seen, theirs: &Seen) -> Option<&'static str> {
    if ours.status == theirs.status {
        return None;
    }
    let has = |name| case.field(name).is_some();
    if has_twice(case) {
        return Some("several-lines");
    }
    if has("if-none-match") && has("if-modified-since")
        || has("if-match") && has("if-unmodified-since")
    {
        return Some("precedence");
    }
    let since = case.field("if-modified-since").or(case.field("if-unmodified-since"));
    match since {
        Some("yesterday") => Some("bad-date"),
        Some(_) if ours.status == 304 && peer == Peer::Nginx => Some("later-date"),
        _ => None,
    }
}

fn ranges(case: &Case, ours: &Seen, theirs: &Seen) -> Option<&'static str> {
    let range = case.field("range")?;
    if case.method == "HEAD" {
        return Some("head-range");
    }
    if case.path == "/empty.txt" {
        return Some("empty");
    }
    if case.field("accept-encoding").is_some() {
        return Some(match case.field("if-range") {
            Some("{date}") => "if-range-date",
            _ => "encoded-range",
        });
    }
    let set = range.split_once('=').map_or("", |(_, set)| set);
    Some(match (ours.status, theirs.status) {
        (206, _) if range.starts_with("Bytes") => "unit",
        (206, 416) if set.contains(",,") || set.starts_with(',') => "empty-elements",
        (206, 416) => "large-number",
        (206, 200 | 206) => "merged",
        (200, 206) if set.split(',').count() > 8 => "many-ranges",
        (200, _) => "bad-range",
        (416, 206) => "suffix-zero",
        (416, 416) => "unsatisfied",
        _ => return None,
    })
}

fn encodings(case: &Case, ours: &Seen, theirs: &Seen) -> Option<&'static str> {
    let coding = |seen: &Seen| seen.fields.get("content-encoding").cloned();
    if coding(ours) != coding(theirs) {
        let beside = ["/stale.js", "/larger.js", "/empty-beside.js"].contains(&case.path.as_str());
        return Some(if beside { "beside" } else { "encoding" });
    }
    let mut same = theirs.clone();
    same.fields.remove("vary");
    let mut ours = ours.clone();
    ours.fields.remove("vary");
    (same == ours).then_some("vary")
}

fn paths(case: &Case, ours: &Seen, theirs: &Seen) -> Option<&'static str> {
    let path = case.path.split('?').next().unwrap();
    let hidden = [".hidden", "%2ehidden", ".git", "~", ".pem", "staticfiles.json", ".py"];
    Some(match (ours.status, theirs.status) {
        (308, 301 | 308) => "redirect",
        (404, _) if hidden.iter().any(|name| path.contains(name)) => "hidden",
        (404, _) if path.starts_with("/link-out") => "links",
        (404, 301 | 403) if path.starts_with("/bare") || path == "/.well-known/" => "no-index",
        (400 | 404, _) if path.contains("..") || path.contains("%2e%2e") => "above-root",
        (400 | 404, _) if path.contains("//") || path.contains('\\') => "other-path",
        (404, _) if path.to_ascii_lowercase().contains("%2f") => "other-path",
        (404, 308) if path.ends_with('/') => "trailing-slash",
        (404, 400) => "not-there",
        (200, 404) if path.contains('#') => "fragment",
        _ if path.ends_with("/.") || path.ends_with("/..") => "dots",
        (200, 200) if ours.fields.get("accept-ranges") != theirs.fields.get("accept-ranges") => {
            "encoded-range"
        }
        (200, 200) => match theirs.fields.get("content-type") {
            None => "type",
            Some(theirs) if ours.fields["content-type"].starts_with(theirs.as_str()) => "charset",
            Some(_) => return None,
        },
        _ => return None,
    })
}

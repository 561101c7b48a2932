//! From the path of a request to a file of the folder.
//!
//! Owns what a URL may name: percent-escapes are decoded once, each segment on its own, so an
//! escaped slash or NUL never becomes one of a file's path. Hidden names lead nowhere, not even to
//! the fallback: a scanner that asks for `/.git/config` learns from the status that it is not there.

use std::io;

use hyper::header::{self, HeaderMap, HeaderValue};

use super::Ask;
use super::asset::By;
use super::containment::{Entry, Opened, RelativePath};
use super::folder::Folder;
use super::manifest;

/// What a request asks of a folder, owned so that a blocking thread can look for it.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) name: RelativePath,
    /// The path ends in a slash: only a directory will do.
    slash: bool,
    /// The fallback may answer in its place.
    page: bool,
    /// Where a directory asked for without its slash is.
    location: HeaderValue,
}

/// What a name leads to.
#[derive(Debug)]
pub(super) enum Found {
    /// A file: the one asked for, the index of the directory asked for, or the fallback page in
    /// place of what is missing.
    File { name: RelativePath, by: By, opened: Opened },
    /// A directory without an index, whose names may be shown.
    Listing,
    /// Nothing.
    Missing,
    /// A directory that can be shown, asked for without the slash that its relative links need.
    Redirect,
}

impl Wanted {
    /// `None`: the path names nothing that a folder may show.
    pub(super) fn new(folder: &Folder, ask: Ask<'_>) -> Option<Self> {
        let below = below(folder, ask.path)?;
        let slash = below.ends_with('/');
        let inner = below.strip_prefix('/').unwrap_or(below);
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        let name = name_of(inner)?;
        let page = folder.fallback.is_some()
            && !name.file_name().contains(&b'.')
            && !name.as_bytes().starts_with(WELL_KNOWN)
            && accepts_html(ask.headers);
        Some(Self { name, slash, page, location: location(ask)? })
    }

    /// Under which its answer is kept: the decoded path below the prefix.
    pub(super) fn key(&self) -> Vec<u8> {
        let name = self.name.as_bytes();
        let slash: &[u8] = if self.slash && !name.is_empty() { b"/" } else { b"" };
        [b"/", name, slash].concat()
    }

    pub(super) fn into_location(self) -> HeaderValue {
        self.location
    }
}

/// What of a path comes after the folder's prefix: nothing, or something that begins with a slash.
pub(super) fn below<'p>(folder: &Folder, path: &'p str) -> Option<&'p str> {
    let below = path.strip_prefix(folder.prefix.as_str())?;
    (below.is_empty() || below.starts_with('/')).then_some(below)
}

/// The name below the folder for the inner part of a URL path, without slashes at its ends.
fn name_of(inner: &str) -> Option<RelativePath> {
    if inner.is_empty() {
        return Some(RelativePath::default());
    }
    let mut name = RelativePath::default();
    for (depth, segment) in inner.split('/').enumerate() {
        let segment = decode(segment)?;
        if is_hidden(&segment, depth == 0) {
            return None;
        }
        name = name.join(&segment)?;
    }
    Some(name)
}

fn decode(segment: &str) -> Option<Vec<u8>> {
    let mut bytes = segment.bytes();
    let mut decoded = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => nibble(bytes.next()?)?.wrapping_shl(4) | nibble(bytes.next()?)?,
            _ => byte,
        });
    }
    Some(decoded)
}

fn nibble(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

/// Names that are no part of what was meant to be published: files with a dot in front, editors'
/// backups, Django's manifest, keys, sources and settings that lie beside the files.
///
/// `top`: it lies in the folder itself.
pub(super) fn is_hidden(segment: &[u8], top: bool) -> bool {
    // What is hidden is hidden when it is encoded, too.
    let plain = ENCODED_ENDS.iter().find_map(|end| segment.strip_suffix(*end)).unwrap_or(segment);
    (segment.starts_with(b".") && !(top && segment == WELL_KNOWN))
        || plain.ends_with(b"~")
        || plain == manifest::FILE_NAME.as_bytes()
        || HIDDEN_ENDS.iter().any(|end| {
            plain.len().checked_sub(end.len()).and_then(|start| plain.get(start..)).is_some_and(
                // A file system that ignores case would show `SERVER.PEM` too.
                |tail| tail.eq_ignore_ascii_case(end),
            )
        })
}

/// How files encoded beforehand are named.
const ENCODED_ENDS: [&[u8]; 3] = [b".br", b".gz", b".zst"];

const HIDDEN_ENDS: [&[u8]; 3] = [b".pem", b".py", b".toml"];

/// RFC 8615: the one name with a dot that is meant to be seen, at the top only. What is missing
/// there stays missing: programs probe it and believe a 200.
const WELL_KNOWN: &[u8] = b".well-known";

/// Relative, so that it holds behind whatever stripped or added a prefix, and led by `./`, so that
/// neither `//evil.example` nor `a:b` can come out, whatever the segment is.
fn location(ask: Ask<'_>) -> Option<HeaderValue> {
    let segment = ask.path.rsplit('/').next().unwrap_or_default();
    let query = ask.query.map(|query| format!("?{query}")).unwrap_or_default();
    HeaderValue::from_bytes(format!("./{segment}/{query}").as_bytes()).ok()
}

/// Whether `text/html` is among what the client takes (RFC 9110 section 12.5.1): the most specific
/// range that covers it decides, and no `Accept` at all takes everything.
fn accepts_html(headers: &HeaderMap) -> bool {
    let mut best: Option<(u8, bool)> = None;
    let mut lines = headers.get_all(header::ACCEPT).iter().peekable();
    if lines.peek().is_none() {
        return true;
    }
    for range in lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let specificity = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "text/html" => 2,
            "text/*" => 1,
            "*/*" => 0,
            _ => continue,
        };
        let refused = parts.any(|parameter| {
            parameter
                .split_once('=')
                .filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
                .is_some_and(|(_, weight)| weight.trim().parse::<f32>().is_ok_and(|q| q <= 0.0))
        });
        if best.is_none_or(|(known, _)| specificity > known) {
            best = Some((specificity, !refused));
        }
    }
    best.is_some_and(|(_, accepted)| accepted)
}

/// Looks for `wanted`. Blocks.
///
/// # Errors
/// The system could not say what is there.
pub(super) fn find(folder: &Folder, wanted: &Wanted) -> io::Result<Found> {
    match folder.root.entry(&wanted.name)? {
        Entry::File(opened) if !wanted.slash => {
            let name = wanted.name.clone();
            return Ok(Found::File { name, by: By::OwnName, opened });
        }
        Entry::Absent | Entry::File(_) => {}
        Entry::Directory => {
            if let Some((name, opened)) = find_index(folder, &wanted.name)? {
                let found = Found::File { name, by: By::Index, opened };
                return Ok(if wanted.slash { found } else { Found::Redirect });
            }
            if folder.listing {
                return Ok(if wanted.slash { Found::Listing } else { Found::Redirect });
            }
        }
    }
    let Some(name) = folder.fallback.as_ref().filter(|_| wanted.page) else {
        return Ok(Found::Missing);
    };
    Ok(match folder.root.entry(name)? {
        Entry::File(opened) => Found::File { name: name.clone(), by: By::Fallback, opened },
        Entry::Absent | Entry::Directory => Found::Missing,
    })
}

fn find_index(
    folder: &Folder,
    directory: &RelativePath,
) -> io::Result<Option<(RelativePath, Opened)>> {
    for name in folder.index.iter().filter_map(|index| directory.join(index.as_bytes())) {
        if let Entry::File(opened) = folder.root.entry(&name)? {
            return Ok(Some((name, opened)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(inner: &str) -> Option<String> {
        name_of(inner).map(|name| String::from_utf8(name.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn segments_are_decoded_once_and_each_alone() {
        assert_eq!(name("").as_deref(), Some(""));
        assert_eq!(name("a/b%20c.txt").as_deref(), Some("a/b c.txt"));
        assert_eq!(name("100%25.txt").as_deref(), Some("100%.txt"));
        assert_eq!(name("%C3%A4").as_deref(), Some("ä"));
        assert_eq!(name_of("%FF").unwrap().as_bytes(), b"\xff");
        for bad in ["a%2Fb", "a%00", "a//b", "..", "%2E%2E", "a/%2e/b", "%", "%4", "%zz", "%+1"] {
            assert_eq!(name(bad), None, "{bad}");
        }
        // Decoded twice this would climb.
        assert_eq!(name("%252E%252E").as_deref(), Some("%2E%2E"));
    }

    #[test]
    fn hidden_names_lead_nowhere() {
        for hidden in [
            ".env",
            "a/.git/config",
            ".git",
            "%2Eenv",
            "a~",
            "staticfiles.json",
            "a/staticfiles.json",
            "settings.py",
            "key.PEM",
            "pyproject.toml",
            "key.pem.gz",
            "settings.py.br",
            "staticfiles.json.zst",
            "a~.gz",
            "a/.well-known/b",
            ".well-known/.env",
            ".well-knownx",
        ] {
            assert_eq!(name(hidden), None, "{hidden}");
        }
        for shown in [".well-known/security.txt", "a.b", "~a", "py", "xpy", "b.pyx"] {
            assert_eq!(name(shown).as_deref(), Some(shown));
        }
    }

    #[test]
    fn accept_is_negotiated_for_html() {
        for (accept, expected) in [
            (&[][..], true),
            (&["text/html"], true),
            (&["application/json"], false),
            (&["*/*"], true),
            (&["*/*;q=0.1"], true),
            (&["Text/*"], true),
            (&["application/json, TEXT/HTML;level=1;q=0.1"], true),
            (&["*/*, text/html;q=0"], false),
            (&["text/html; Q = 0.000"], false),
            (&["text/html;q=0", "text/*"], false),
            (&["image/png", "text/html"], true),
            (&[""], false),
            (&["garbage;;;=,,"], false),
        ] {
            let mut headers = HeaderMap::new();
            for line in accept {
                headers.append(header::ACCEPT, HeaderValue::from_static(line));
            }
            assert_eq!(accepts_html(&headers), expected, "{accept:?}");
        }
    }

    proptest! {
        #[test]
        fn no_path_names_a_hidden_or_climbing_component(inner in "[a-z%0-9A-F./~]{0,40}") {
            if let Some(name) = name_of(&inner) {
                for (depth, part) in name.as_bytes().split(|byte| *byte == b'/').enumerate() {
                    let well_known = depth == 0 && part == WELL_KNOWN;
                    prop_assert!(!part.starts_with(b".") || well_known);
                    prop_assert!(!part.contains(&0));
                }
            }
        }

        #[test]
        fn any_accept_ends(line in "\\PC{0,60}") {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_str(&line) {
                headers.insert(header::ACCEPT, value);
            }
            accepts_html(&headers);
        }
    }
}

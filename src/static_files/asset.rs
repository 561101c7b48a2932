//! What a name of a folder stands for: its representations, and what is said of them.
//!
//! An asset is made on a blocking thread, from files that are open, and never changes afterwards:
//! a request that finds one in memory has nothing to wait for. Beside the file itself it knows the
//! ones that were encoded beforehand and lie next to it (`app.js.br`). Such a neighbour counts only
//! if it is a regular file of the same folder, smaller than its original and not older: one that was
//! left behind by the last deployment would show the old content.

use hyper::body::Bytes;
use hyper::header::HeaderValue;

use super::body::Content;
use super::containment::{Entry, Identity, Opened, RelativePath};
use super::folder::{CacheControl, Folder};
use super::media_type::MediaType;
use super::validators::Stamp;
use crate::http::{Accepted, Coding};

/// How a file came to be the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Fallback,
    Index,
    OwnName,
}

/// How long a client may show a file without asking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// The name says what the content is.
    ForEver,
    /// Pages name the assets of their own version: an old page asks for files that are gone.
    Never,
    Shortly,
}

/// What a name stands for.
#[derive(Debug)]
pub(super) struct Asset {
    pub(super) keep: Keep,
    pub(super) content_type: HeaderValue,
    /// A stranger made it, and a browser might run something in it.
    pub(super) for_saving: bool,
    pub(super) plain: Representation,
    /// Smallest first.
    pub(super) encoded: Vec<Representation>,
}

/// One way to send an asset.
#[derive(Debug)]
pub(super) struct Representation {
    pub(super) coding: Option<Coding>,
    pub(super) stamp: Stamp,
    pub(super) identity: Identity,
    pub(super) etag: HeaderValue,
    pub(super) last_modified: Option<HeaderValue>,
    /// Its bytes, if they are in memory.
    pub(super) kept: Option<Bytes>,
}

/// An asset with its files, as they are open: first the plain one, then the encoded ones in order.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) asset: Asset,
    pub(super) files: Vec<Opened>,
}

impl Asset {
    /// The representation for a client that accepts this.
    pub(super) fn choose(&self, accepted: Accepted) -> &Representation {
        if self.encoded.is_empty() {
            return &self.plain;
        }
        let coding = accepted.choose(self.encoded.iter().filter_map(|one| one.coding));
        let encoded = self.encoded.iter().find(|one| coding.is_some() && one.coding == coding);
        encoded.unwrap_or(&self.plain)
    }

    /// Whether one URL has several representations.
    pub(super) fn is_negotiated(&self) -> bool {
        !self.encoded.is_empty()
    }

    /// All representations, in the order of [`Loaded::files`].
    pub(super) fn representations(&self) -> impl Iterator<Item = &Representation> {
        std::iter::once(&self.plain).chain(&self.encoded)
    }
}

impl Loaded {
    /// What `name` stands for, opened as `plain`. Blocks.
    pub(super) fn new(folder: &Folder, name: &RelativePath, by: By, plain: Opened) -> Self {
        let media_type = MediaType::of(name.file_name());
        let listed = folder.lists(name);
        let hash = hash_in(name.file_name()).filter(|_| listed);
        let keep = match (&folder.cache_control, by) {
            (CacheControl::Fixed(_), _) => Keep::Shortly,
            (CacheControl::Auto, By::Fallback) => Keep::Never,
            (CacheControl::Auto, By::OwnName) if is_for_ever(folder, name, listed) => Keep::ForEver,
            (CacheControl::Auto, By::Index | By::OwnName) if media_type.is_page() => Keep::Never,
            (CacheControl::Auto, By::Index | By::OwnName) => Keep::Shortly,
        };
        let mut neighbours = neighbours(folder, name, &plain);
        neighbours.sort_by_key(|(_, opened)| opened.stamp.size);
        let now = folder.clock.wall();
        let representation = |coding, opened: &Opened| Representation {
            coding,
            stamp: opened.stamp,
            identity: opened.identity,
            etag: opened.stamp.etag(hash, coding),
            last_modified: opened.stamp.last_modified(now),
            kept: None,
        };
        let encoded = neighbours.iter().map(|(coding, one)| representation(Some(*coding), one));
        let asset = Asset {
            keep,
            content_type: media_type.content_type(),
            for_saving: folder.media && !media_type.is_passive(),
            plain: representation(None, &plain),
            encoded: encoded.collect(),
        };
        let files = std::iter::once(plain).chain(neighbours.into_iter().map(|(_, one)| one));
        Self { asset, files: files.collect() }
    }
}

/// Where the bytes of a representation are; `None` if it is not one of the asset's.
pub(super) fn content(
    asset: &Asset,
    files: Vec<Opened>,
    coding: Option<Coding>,
) -> Option<Content> {
    let mut all = asset.representations().zip(files);
    let (chosen, opened) = all.find(|(one, _)| one.coding == coding)?;
    Some(match &chosen.kept {
        Some(bytes) => Content::Memory(bytes.clone()),
        None => Content::File(opened.file),
    })
}

/// The files beside `name` that hold the same, encoded. A neighbour that cannot be opened is as
/// good as none: the plain file is there.
fn neighbours(folder: &Folder, name: &RelativePath, plain: &Opened) -> Vec<(Coding, Opened)> {
    let mut found = Vec::new();
    for coding in &folder.precompressed {
        let beside = name.with_extension(coding.extension());
        let Ok(Entry::File(opened)) = folder.root.entry(&beside) else { continue };
        let (ours, theirs) = (opened.stamp, plain.stamp);
        // An empty one is what a compressor leaves behind that ran out of disk.
        let fits = (1..theirs.size).contains(&ours.size);
        let is_older = (ours.seconds, ours.nanoseconds) < (theirs.seconds, theirs.nanoseconds);
        if fits && !is_older {
            found.push((*coding, opened));
        }
    }
    found
}

fn is_for_ever(folder: &Folder, name: &RelativePath, listed: bool) -> bool {
    // What strangers upload is named as they like.
    !folder.media && (listed || hash_in(name.file_name()).is_some())
}

/// The last twelve hexadecimal digits between two dots, as Django's storage, which takes them from
/// the content's MD5, writes them into names.
fn hash_in(file_name: &[u8]) -> Option<&str> {
    let hash = file_name.windows(HASH_AND_DOTS).rev().find_map(|window| {
        let inner = window.strip_prefix(b".")?.strip_suffix(b".")?;
        inner.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')).then_some(inner)
    });
    std::str::from_utf8(hash?).ok()
}

const HASH_AND_DOTS: usize = 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_twelve_lower_hex_digits_between_dots_are_a_hash() {
        for (name, expected) in [
            ("app.0123456789ab.js", Some("0123456789ab")),
            ("app.min.0123456789ab.css.map", Some("0123456789ab")),
            ("app.aaaaaaaaaaaa.0123456789ab.js", Some("0123456789ab")),
            (".0123456789ab.", Some("0123456789ab")),
            ("app.0123456789AB.js", None),
            ("app.0123456789abc.js", None),
            ("app.0123456789a.js", None),
            ("app-0123456789ab.js", None),
            ("app.0123456789ab", None),
        ] {
            assert_eq!(hash_in(name.as_bytes()), expected, "{name}");
        }
    }
}

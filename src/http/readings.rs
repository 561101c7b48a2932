//! Every way in which some server could read a path.
//!
//! Owns the list of what servers have been seen to do to a path: decode its escapes, once or again,
//! take `\\` for `/`, cut `;parameters` off, merge slashes, resolve dots, take a decoded `?` or `#`
//! for the path's end, in any order. Trusts nothing. Bounded: a path with more readings than anybody could mean is refused, so that nobody
//! buys much work with one request.

use std::collections::HashSet;

use super::path::{PathError, encode_segment, hex_pair, respell};

/// One reading of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// As a route table is asked: each segment decodes to what that reader sees.
    pub path: String,
    /// A dot segment stands in it: for a reader who does not resolve them.
    pub has_dots: bool,
}

/// The readings of a path, that of the canonical form among them.
///
/// # Errors
/// [`PathError`], as of [`super::path::canonicalize`]; [`PathError::Ambiguous`] if there are too
/// many.
pub fn readings(raw_path: &str) -> Result<Vec<Reading>, PathError> {
    const STEPS: [fn(&State) -> State; 7] = [
        State::decoded,
        State::turned,
        State::cut,
        State::bared,
        State::merged,
        State::resolved,
        State::ended,
    ];
    let undecoded = |text: String| State { bytes: text.into_bytes(), is_decoded: false };
    let mut found = vec![undecoded(respell(raw_path)?), undecoded(raw_path.to_owned())];
    // Some resolve dots before they decode any.
    found.dedup();
    let mut known: HashSet<State> = found.iter().cloned().collect();
    let mut room = MAX_BYTES;
    let mut next = 0;
    while let Some(state) = found.get(next).cloned() {
        next += 1;
        for step in STEPS {
            let reading = step(&state);
            if known.insert(reading.clone()) {
                room = room.checked_sub(reading.bytes.len()).ok_or(PathError::Ambiguous)?;
                found.push(reading);
            }
        }
        if found.len() > MAX_READINGS {
            return Err(PathError::Ambiguous);
        }
    }
    Ok(found.iter().map(State::as_reading).collect())
}

/// A path as it has been read so far. Every step makes it shorter or leaves it as it is, but for
/// the one that turns backslashes, so that there is an end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    bytes: Vec<u8>,
    /// Whether escapes have been decoded: what looks like one now is another one.
    is_decoded: bool,
}

impl State {
    fn as_reading(&self) -> Reading {
        // The table decodes once, so what is not decoded yet is seen as it will be.
        let seen = if self.is_decoded { self.clone() } else { self.decoded() };
        let has_dots = seen.segments().any(|segment| matches!(segment, b"." | b".."));
        let path = match self.is_decoded {
            true => self.segments().map(|one| format!("/{}", encode_segment(one))).collect(),
            false => String::from_utf8_lossy(&self.bytes).into_owned(),
        };
        Reading { path, has_dots }
    }

    /// What stands between the slashes, without the nothing in front of the first.
    fn segments(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split(|byte| *byte == b'/').skip(1)
    }

    fn of<'s>(&self, segments: impl Iterator<Item = &'s [u8]>) -> Self {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        for segment in segments {
            bytes.push(b'/');
            bytes.extend_from_slice(segment);
        }
        if bytes.is_empty() {
            bytes.push(b'/');
        }
        Self { bytes, is_decoded: self.is_decoded }
    }

    /// As all servers do, and some a second time. What is no escape stays.
    fn decoded(&self) -> Self {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut rest = self.bytes.as_slice();
        while let Some((&byte, after)) = rest.split_first() {
            let escaped = match (byte, after) {
                (b'%', [high, low, ..]) => hex_pair(Some(*high), Some(*low)),
                (_, _) => None,
            };
            bytes.push(escaped.unwrap_or(byte));
            rest = if escaped.is_some() { after.get(2..).unwrap_or_default() } else { after };
        }
        Self { bytes, is_decoded: true }
    }

    /// As servers on Windows do.
    fn turned(&self) -> Self {
        let turn = |byte: &u8| if *byte == b'\\' { b'/' } else { *byte };
        Self { bytes: self.bytes.iter().map(turn).collect(), is_decoded: self.is_decoded }
    }

    /// As servlet containers do.
    fn cut(&self) -> Self {
        self.of(self.segments().map(|one| one.split(|byte| *byte == b';').next().unwrap_or(one)))
    }

    /// As those do who take `;` for an end of a segment: dots behind the last are dots.
    fn bared(&self) -> Self {
        self.of(self.segments().map(|one| match one.rsplit(|byte| *byte == b';').next() {
            Some(dots @ (b"." | b"..")) => dots,
            Some(_) | None => one,
        }))
    }

    /// As nginx does. A slash at the end stays one.
    fn merged(&self) -> Self {
        let mut bytes = self.bytes.clone();
        bytes.dedup_by(|one, other| *one == b'/' && *other == b'/');
        Self { bytes, is_decoded: self.is_decoded }
    }

    /// As those do who decode a path and read the outcome as a URL again: nginx where a target is
    /// made of `$uri`, Apache where a rule's target is (CVE-2024-38474). Only what was decoded can
    /// hold either sign.
    fn ended(&self) -> Self {
        let kept = self.bytes.split(|byte| matches!(byte, b'?' | b'#')).next();
        Self { bytes: kept.unwrap_or_default().to_vec(), is_decoded: self.is_decoded }
    }

    /// RFC 3986 section 5.2.4: above the root is the root.
    fn resolved(&self) -> Self {
        let mut kept: Vec<&[u8]> = Vec::new();
        let mut ends_in_dots = false;
        for segment in self.segments() {
            ends_in_dots = matches!(segment, b"." | b"..");
            match segment {
                b"." => {}
                b".." => drop(kept.pop()),
                segment => kept.push(segment),
            }
        }
        let slash = ends_in_dots.then_some(b"".as_slice());
        self.of(kept.into_iter().chain(slash))
    }
}

/// A path with one of each kind of doubt has at most this many; GitLab's `%2F` makes two.
const MAX_READINGS: usize = 128;
/// All readings together: a long path may have few.
const MAX_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(raw: &str) -> Vec<String> {
        let mut paths: Vec<_> =
            readings(raw).unwrap().into_iter().map(|reading| reading.path).collect();
        paths.sort();
        paths
    }

    #[test]
    fn each_reader_is_heard() {
        assert_eq!(paths("/a/b"), ["/a/b", "/a/b"]);
        assert_eq!(paths("/g%2Fp"), ["/g%2Fp", "/g/p"]);
        assert!(paths("/a/b/%2e%2e/../c").contains(&"/a/b/c".to_owned()));
        for (raw, meant) in [
            ("/public/../admin", "/admin"),
            ("/public%2f..%2fadmin", "/admin"),
            ("/public%252f..%252fadmin", "/admin"),
            ("/public/%25252e%25252e/admin", "/admin"),
            ("/public/..;/admin", "/admin"),
            ("/public/..%3bx/admin", "/admin"),
            ("/public/;../admin", "/admin"),
            ("/public/..%5cadmin", "/admin"),
            ("/x//../../admin", "/admin"),
            ("/admin;x=1/users", "/admin/users"),
            ("/a%3Bb%2Fc", "/a/c"),
            ("/..%2F..%2Fb", "/b"),
            ("/b/.%2e", "/"),
            ("/admin%3Fx", "/admin"),
            ("/admin%23/x", "/admin"),
            ("/admin%253Fx", "/admin"),
        ] {
            assert!(paths(raw).iter().any(|path| path == meant), "{raw}: {:?}", paths(raw));
        }
    }

    #[test]
    fn unresolved_dots_are_told() {
        let dotted: Vec<_> =
            readings("/a/../b").unwrap().into_iter().filter(|one| one.has_dots).collect();
        assert!(dotted.iter().all(|one| one.path == "/a/../b") && !dotted.is_empty());
    }

    #[test]
    fn readings_are_bounded_and_everyday_paths_are_far_from_it() {
        for raw in ["/a%2Fb;c=1//d/../e%5Cf%252Fg", "/api/v4/projects/group%2Fsub%2Fproject/x"] {
            assert!(readings(raw).is_ok(), "{raw}");
        }
        let long = format!("/{}", "g%2Fp/".repeat(1300));
        assert!(readings(&long).is_ok());
        let deep = format!("/a%{}2Fb", "25".repeat(500));
        assert_eq!(readings(&deep), Err(PathError::Ambiguous));
        let all = format!("/{}", "a%252Fb;c%5C..//%3Bd/".repeat(300));
        assert_eq!(readings(&all), Err(PathError::Ambiguous));
    }
}

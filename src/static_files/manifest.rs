//! The names that Django's `ManifestStaticFilesStorage` has put a hash of the content into.
//!
//! `collectstatic` lists them in `staticfiles.json`. What is listed never changes under its name, so
//! clients may keep it for ever. Trusts that file as it trusts the folder it lies in; a broken one
//! is reported and the names known before stay.
//!
//! # Concurrency
//! Requests on several blocking threads meet in [`Manifest::lists`]. The one that moves `looked`
//! forward looks at the file, the others use the names at hand: at most one look a second, and a
//! stale answer only costs a client one revalidation.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use serde::Deserialize;

use super::containment::{Entry, Opened, RelativePath, Root};
use super::validators::Stamp;
use crate::clock::Clock;

/// The manifest's file name; never served, since it names everything that was ever collected.
pub(super) const FILE_NAME: &str = "staticfiles.json";

/// The live list of one folder.
#[derive(Debug)]
pub(super) struct Manifest {
    clock: Clock,
    file: RelativePath,
    /// When the file was last looked at, in milliseconds of the wall clock.
    looked: AtomicU64,
    state: ArcSwap<State>,
}

/// What was found at the last look.
#[derive(Debug, Default)]
struct State {
    /// `None`: there was no such file.
    stamp: Option<Stamp>,
    names: Arc<HashSet<Box<str>>>,
}

impl Manifest {
    /// Reads the manifest of the folder, if it has one. Blocks.
    pub(super) fn open(root: &Root, path: &Path, clock: Clock) -> Self {
        let manifest = Self {
            looked: AtomicU64::new(clock.wall().as_millis()),
            clock,
            file: RelativePath::default().join(FILE_NAME.as_bytes()).unwrap_or_default(),
            state: ArcSwap::default(),
        };
        manifest.look(root, path);
        manifest
    }

    /// Whether `name` is listed as holding its content's hash. Blocks for a look when one is due.
    pub(super) fn lists(&self, root: &Root, path: &Path, name: &RelativePath) -> bool {
        if self.is_due() {
            self.look(root, path);
        }
        let state = self.state.load();
        std::str::from_utf8(name.as_bytes()).is_ok_and(|name| state.names.contains(name))
    }

    fn is_due(&self) -> bool {
        let now = self.clock.wall().as_millis();
        let looked = self.looked.load(Ordering::Relaxed);
        // `abs_diff`: a wall clock that was set back must not stop the looks until it catches up.
        now.abs_diff(looked) >= BETWEEN_LOOKS_MILLIS
            && self
                .looked
                .compare_exchange(looked, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    fn look(&self, root: &Root, path: &Path) {
        let state = self.state.load();
        let next = match root.entry(&self.file) {
            Ok(Entry::File(opened)) if state.stamp == Some(opened.stamp) => return,
            Ok(Entry::File(opened)) => {
                let stamp = Some(opened.stamp);
                let names = read(opened).unwrap_or_else(|error| {
                    report(path, &error);
                    Arc::clone(&state.names)
                });
                State { stamp, names }
            }
            Ok(Entry::Absent | Entry::Directory) if state.stamp.is_none() => return,
            Ok(Entry::Absent | Entry::Directory) => State::default(),
            Err(error) => return report(path, &error),
        };
        self.state.store(Arc::new(next));
    }

    /// In milliseconds of the wall clock.
    #[cfg(test)]
    fn looked(&self) -> u64 {
        self.looked.load(Ordering::Relaxed)
    }
}

fn report(path: &Path, error: &io::Error) {
    tracing::warn!(folder = %path.display(), %error, "`{FILE_NAME}` cannot be used");
}

/// The part of the file that matters; other members come and go with Django's versions.
#[derive(Deserialize)]
struct Contents {
    paths: std::collections::HashMap<Box<str>, Box<str>>,
}

fn read(opened: Opened) -> io::Result<Arc<HashSet<Box<str>>>> {
    if opened.stamp.size > MAX_SIZE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 16 MiB"));
    }
    let text = read_all(&opened.file)?;
    let contents: Contents = serde_json::from_slice(&text)?;
    // A storage that was told not to hash a file lists it under its own name.
    let hashed = contents.paths.into_iter().filter(|(plain, listed)| plain != listed);
    Ok(Arc::new(hashed.map(|(_, listed)| listed).collect()))
}

fn read_all(file: &File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.take(MAX_SIZE).read_to_end(&mut text)?;
    Ok(text)
}

/// About 100,000 files; a folder with more keeps working by the names' form alone.
const MAX_SIZE: u64 = 16 * 1024 * 1024;

/// Seldom enough that a busy folder does not notice, often enough that a deploy is seen at once.
const BETWEEN_LOOKS_MILLIS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixTime;
    use std::fs;

    struct Fixture {
        folder: tempfile::TempDir,
        root: Root,
        clock: Clock,
        manifest: Manifest,
    }

    impl Fixture {
        fn new(content: Option<&str>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            if let Some(content) = content {
                fs::write(folder.path().join(FILE_NAME), content).unwrap();
            }
            let root = Root::open(folder.path()).unwrap();
            let clock = Clock::fixed(UnixTime::from_secs(1_000));
            let manifest = Manifest::open(&root, folder.path(), clock.clone());
            Self { folder, root, clock, manifest }
        }

        fn lists(&self, name: &str) -> bool {
            let name = RelativePath::parse(name).unwrap();
            self.manifest.lists(&self.root, self.folder.path(), &name)
        }

        fn write(&self, content: &str) {
            fs::write(self.folder.path().join(FILE_NAME), content).unwrap();
        }

        fn pass(&self, millis: u64) {
            let now = self.clock.wall().as_millis() + millis;
            self.clock.set(UnixTime::from_millis(now));
        }
    }

    const ONE: &str = r#"{"paths": {"a.js": "a.1.js", "plain.txt": "plain.txt"}, "version": "1.1",
        "hash": "x"}"#;
    const TWO: &str = r#"{"paths": {"a.js": "a.22.js"}, "version": "1.2", "new": [1]}"#;

    #[test]
    fn hashed_names_are_listed_and_plain_ones_are_not() {
        let fixture = Fixture::new(Some(ONE));
        assert!(fixture.lists("a.1.js"));
        assert!(!fixture.lists("a.js"));
        assert!(!fixture.lists("plain.txt"));
        assert!(!Fixture::new(None).lists("a.1.js"));
    }

    #[test]
    fn a_changed_file_is_seen_after_a_second_and_not_before() {
        let fixture = Fixture::new(Some(ONE));
        fixture.write(TWO);
        fixture.pass(999);
        assert!(fixture.lists("a.1.js"));
        assert_eq!(fixture.manifest.looked(), 1_000_000);
        fixture.pass(1);
        assert!(fixture.lists("a.22.js") && !fixture.lists("a.1.js"));
        fs::remove_file(fixture.folder.path().join(FILE_NAME)).unwrap();
        fixture.pass(1_000);
        assert!(!fixture.lists("a.22.js"));
    }

    #[test]
    fn a_clock_set_back_does_not_stop_the_looks() {
        let fixture = Fixture::new(None);
        fixture.write(TWO);
        fixture.clock.set(UnixTime::from_secs(1));
        assert!(fixture.lists("a.22.js"));
    }

    #[test]
    fn a_broken_file_keeps_the_names_known_before() {
        for broken in ["", "{", "[]", r#"{"paths": []}"#, r#"{"paths": {"a": 1}}"#] {
            let fixture = Fixture::new(Some(ONE));
            fixture.write(broken);
            fixture.pass(1_000);
            assert!(fixture.lists("a.1.js"), "{broken}");
            fixture.write(TWO);
            fixture.pass(1_000);
            assert!(fixture.lists("a.22.js"), "{broken}");
        }
    }

    #[test]
    fn a_file_beyond_all_measure_is_not_read() {
        let fixture = Fixture::new(Some(ONE));
        let file = File::create(fixture.folder.path().join(FILE_NAME)).unwrap();
        file.set_len(MAX_SIZE + 1).unwrap();
        fixture.pass(1_000);
        assert!(fixture.lists("a.1.js"));
    }
}

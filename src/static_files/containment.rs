//! Opening names below one directory, and nowhere else.
//!
//! Owns the directory's handle and the only calls of `open` on behalf of a request. Trusts the
//! kernel's resolution (`openat2` with `RESOLVE_BENEATH`), not any check of a path made before it:
//! between a check and an open, whoever may write to the folder can put a symbolic link there.
//!
//! # Symbolic links
//! With `openat2` a link is followed as long as no step of its resolution leaves the folder; an
//! absolute target always does, even one that points back inside. Where the kernel has no `openat2`
//! or a sandbox forbids it, names are walked component by component with `O_NOFOLLOW`, and every
//! link is refused.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::validators::Stamp;

/// A directory held open: it stays the same one even when its path is given to another.
#[derive(Debug)]
pub(super) struct Root {
    handle: OwnedFd,
    way: Way,
}

/// How names are resolved; settled once, when the directory is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Beneath,
    Walk,
}

/// What a name stands for.
#[derive(Debug)]
pub(super) enum Entry {
    /// Nothing, or nothing that is shown: no such name, a way out, a FIFO, a socket, a device.
    Absent,
    Directory,
    File(Opened),
}

/// A regular file, open for reading, with what was true of it when it was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) stamp: Stamp,
    pub(super) identity: Identity,
}

/// What tells one file's state from every other that may follow under its name: unlike times of
/// modification, which archives and deployments set as they like, these are the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    changed: i64,
    changed_nanoseconds: i64,
    size: u64,
}

impl Identity {
    /// When the file was last changed, in milliseconds since 1970.
    pub(super) fn changed_millis(&self) -> u64 {
        let millis = self.changed.saturating_mul(1_000);
        u64::try_from(millis.saturating_add(self.changed_nanoseconds / 1_000_000)).unwrap_or(0)
    }
}

impl Opened {
    /// Whether the file is still in the state in which it was opened. Blocks.
    pub(super) fn is_unchanged(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| identity(&metadata) == self.identity)
    }
}

fn identity(metadata: &Metadata) -> Identity {
    Identity {
        device: metadata.dev(),
        inode: metadata.ino(),
        changed: metadata.ctime(),
        changed_nanoseconds: metadata.ctime_nsec(),
        size: metadata.size(),
    }
}

impl Root {
    /// Opens the directory at `path`, following links in the path itself: it is the operator's.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty())?;
        // EPERM is what container runtimes of before 2021 answer to system calls they do not know.
        let way = match rustix::fs::openat2(&handle, ".", flags, Mode::empty(), RESOLVE) {
            Ok(_) => Way::Beneath,
            Err(Errno::NOSYS | Errno::PERM) => Way::Walk,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { handle, way })
    }

    /// What `name` stands for at this moment.
    ///
    /// # Errors
    /// The system could not say: no descriptors left, a failing disk, a resolution that was
    /// disturbed too often.
    pub(super) fn entry(&self, name: &RelativePath) -> io::Result<Entry> {
        let opened = match self.way {
            Way::Beneath => self.open_beneath(name),
            Way::Walk => self.open_walking(name),
        };
        match opened {
            Ok(handle) => classify(handle.into()),
            Err(error) if is_absence(error) => Ok(Entry::Absent),
            Err(error) => Err(error.into()),
        }
    }

    /// The names in a directory, at most `most` of them, in no order.
    ///
    /// # Errors
    /// It is no directory, or cannot be read.
    pub(super) fn names(&self, directory: &RelativePath, most: usize) -> io::Result<Vec<Vec<u8>>> {
        let handle = match self.way {
            Way::Beneath => self.open_beneath(directory),
            Way::Walk => self.open_walking(directory),
        }?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&handle)?.take(most) {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push(name.to_vec());
            }
        }
        Ok(names)
    }

    /// Whether this kernel lets links be followed safely.
    #[cfg(test)]
    pub(super) fn follows_links(&self) -> bool {
        self.way == Way::Beneath
    }

    fn open_beneath(&self, name: &RelativePath) -> Result<OwnedFd, Errno> {
        let mut attempts = 0;
        loop {
            match rustix::fs::openat2(&self.handle, name.or_dot(), READ, Mode::empty(), RESOLVE) {
                // A rename anywhere disturbed the resolution of a link's `..` (openat2(2)).
                Err(Errno::AGAIN | Errno::INTR) if attempts < DISTURBANCES => attempts += 1,
                opened => return opened,
            }
        }
    }

    fn open_walking(&self, name: &RelativePath) -> Result<OwnedFd, Errno> {
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (parents, last) = name.split_last();
        let mut directory: Option<OwnedFd> = None;
        for parent in parents {
            let here = directory.as_ref().unwrap_or(&self.handle);
            directory = Some(rustix::fs::openat(here, parent, step, Mode::empty())?);
        }
        let here = directory.as_ref().unwrap_or(&self.handle);
        rustix::fs::openat(here, last, READ | OFlags::NOFOLLOW, Mode::empty())
    }
}

fn classify(file: File) -> io::Result<Entry> {
    let metadata = file.metadata()?;
    Ok(if metadata.is_file() {
        let stamp = Stamp {
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
            size: metadata.size(),
        };
        Entry::File(Opened { file, stamp, identity: identity(&metadata) })
    } else if metadata.is_dir() {
        Entry::Directory
    } else {
        Entry::Absent
    })
}

/// Errors that say something about the name. `XDEV` and `LOOP` are ways out that were refused;
/// `NXIO` and `NODEV` are sockets and devices.
fn is_absence(error: Errno) -> bool {
    matches!(
        error,
        Errno::ACCESS
            | Errno::LOOP
            | Errno::NAMETOOLONG
            | Errno::NODEV
            | Errno::NOENT
            | Errno::NOTDIR
            | Errno::NXIO
            | Errno::XDEV
    )
}

/// `NONBLOCK`: a FIFO would otherwise hold the thread until somebody writes to it.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// How often a disturbed resolution is begun again. Each attempt needs its own rename by somebody
/// on the machine within microseconds; whoever wins this often is attacking, and gets an error.
const DISTURBANCES: u32 = 64;

// === RelativePath ===

/// A name below a [`Root`]: components joined by `/`, none of them empty, `.` or `..`, no NUL.
///
/// Bytes, not text: file names of Linux are bytes. The empty path is the directory itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RelativePath(Vec<u8>);

impl RelativePath {
    /// This path plus one component; `None` if it is not a plain name.
    pub(super) fn join(&self, component: &[u8]) -> Option<Self> {
        let plain = !matches!(component, b"" | b"." | b"..")
            && !component.iter().any(|byte| matches!(byte, 0 | b'/'));
        plain.then(|| {
            let mut joined = self.0.clone();
            if !joined.is_empty() {
                joined.push(b'/');
            }
            joined.extend_from_slice(component);
            Self(joined)
        })
    }

    /// A path of several components, as an operator writes it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        text.split('/').try_fold(Self::default(), |path, component| path.join(component.as_bytes()))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name beside this one that ends with a dot and `extension` besides.
    pub(super) fn with_extension(&self, extension: &str) -> Self {
        let dot = if self.0.is_empty() { "" } else { "." };
        Self([&self.0, dot.as_bytes(), extension.as_bytes()].concat())
    }

    /// The last component; empty for the directory itself.
    pub(super) fn file_name(&self) -> &[u8] {
        self.0.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }

    fn or_dot(&self) -> &[u8] {
        if self.0.is_empty() { b"." } else { &self.0 }
    }

    fn split_last(&self) -> (impl Iterator<Item = &[u8]>, &[u8]) {
        let mut components = self.or_dot().split(|byte| *byte == b'/');
        let last = components.next_back().unwrap_or(b".");
        (components, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn both_ways(path: &Path) -> [Root; 2] {
        let beneath = Root::open(path).unwrap();
        let handle = beneath.handle.try_clone().unwrap();
        [beneath, Root { handle, way: Way::Walk }]
    }

    fn entry(root: &Root, name: &str) -> Entry {
        root.entry(&RelativePath::parse(name).unwrap()).unwrap()
    }

    #[test]
    fn only_plain_components_make_a_path() {
        for bad in ["", ".", "..", "a//b", "/a", "a/", "a/../b", "a/./b", "a\0"] {
            assert_eq!(RelativePath::parse(bad), None, "{bad:?}");
        }
        let path = RelativePath::parse("a/b.c").unwrap();
        assert_eq!(path.as_bytes(), b"a/b.c");
        assert_eq!(path.file_name(), b"b.c");
        assert_eq!(RelativePath::default().file_name(), b"");
    }

    #[test]
    fn files_and_directories_are_found_both_ways() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/c.txt"), "four").unwrap();
        for root in both_ways(folder.path()) {
            assert!(matches!(root.entry(&RelativePath::default()).unwrap(), Entry::Directory));
            assert!(matches!(entry(&root, "a/b"), Entry::Directory));
            let Entry::File(opened) = entry(&root, "a/b/c.txt") else { panic!() };
            assert_eq!(opened.stamp.size, 4);
            assert!(matches!(entry(&root, "a/b/d"), Entry::Absent));
            assert!(matches!(entry(&root, "a/b/c.txt/d"), Entry::Absent));
            assert!(matches!(entry(&root, &"x".repeat(300)), Entry::Absent));
        }
    }

    #[test]
    fn links_never_lead_out() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path();
        fs::write(inside.join("file"), "file").unwrap();
        symlink(outside.path().join("secret"), inside.join("absolute")).unwrap();
        symlink("../../../../../../../../etc/passwd", inside.join("climbing")).unwrap();
        symlink(outside.path(), inside.join("folder")).unwrap();
        symlink("/proc/self/root/etc/passwd", inside.join("magic")).unwrap();
        symlink("looping", inside.join("looping")).unwrap();
        symlink("file", inside.join("fine")).unwrap();
        let [beneath, walk] = both_ways(inside);
        for root in [&beneath, &walk] {
            for name in ["absolute", "climbing", "folder", "folder/secret", "magic", "looping"] {
                assert!(matches!(entry(root, name), Entry::Absent), "{name}");
            }
        }
        assert_eq!(matches!(entry(&beneath, "fine"), Entry::File(_)), beneath.follows_links());
        assert!(matches!(entry(&walk, "fine"), Entry::Absent));
    }

    #[test]
    fn what_is_no_regular_file_is_absent() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR, 0)
            .unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("sock")).unwrap();
        for root in both_ways(folder.path()) {
            assert!(matches!(entry(&root, "fifo"), Entry::Absent));
            assert!(matches!(entry(&root, "sock"), Entry::Absent));
        }
    }

    /// H21: whoever may write to the folder swaps a link between the look and the open.
    #[test]
    fn a_link_swapped_during_reads_never_shows_what_is_outside() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "outside").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        fs::create_dir(path.join("good")).unwrap();
        fs::write(path.join("good/secret"), "inside").unwrap();
        let swapper = {
            let (path, outside) = (path.clone(), outside.path().to_owned());
            std::thread::spawn(move || {
                for turn in 0..10_000 {
                    let next = path.join("next");
                    if turn % 2 == 0 {
                        symlink(&outside, &next).unwrap();
                    } else {
                        symlink("good", &next).unwrap();
                    }
                    fs::rename(&next, path.join("link")).unwrap();
                }
            })
        };
        let roots = both_ways(&path);
        let mut reads = 0_u32;
        loop {
            let last = swapper.is_finished();
            for root in &roots {
                let Ok(Entry::File(mut opened)) =
                    root.entry(&RelativePath::parse("link/secret").unwrap())
                else {
                    continue;
                };
                let mut content = String::new();
                io::Read::read_to_string(&mut opened.file, &mut content).unwrap();
                assert_eq!(content, "inside");
                reads += 1;
            }
            if last {
                break;
            }
        }
        assert_eq!(reads > 0, roots[0].follows_links(), "the last link points inside");
        swapper.join().unwrap();
    }
}

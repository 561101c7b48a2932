//! The folder whose files outlive a restart: `[server] state_dir`.
//!
//! Owns how its files are written (whole or not at all, for their owner alone) and which are read
//! back. The attacker here is another user of this machine: what such a user could have written, or
//! can make us follow, is refused, not repaired. What the files say is for their readers to judge.
//! Everything here blocks: not for workers.

use std::fmt;
use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// How many bytes of a name are readable.
const READABLE: usize = 40;

/// What an unfinished file's name begins with; a process that was killed leaves one behind.
const UNFINISHED: &str = ".unfinished-";

/// How many entries of the folder are looked at when it is opened.
const SWEPT: usize = 1000;

/// The folder, held open: it stays the same one even if its path is given to another.
#[derive(Debug)]
pub struct StateDir {
    handle: OwnedFd,
    mode: u32,
}

/// The name of a file in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName(String);

/// Why a folder is not used.
#[derive(Debug)]
pub enum StateDirError {
    /// It does not exist, and can't be created.
    Create(io::Error),
    /// It belongs to another user, who may put there what he likes.
    ForeignOwner,
    /// It can't be opened, or is no folder.
    Open(io::Error),
    /// Every user may write to it.
    WritableByAll,
    /// We may not write to it.
    Write(io::Error),
}

impl fmt::Display for StateDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(error) => write!(f, "can't be created: {error}"),
            Self::ForeignOwner => f.write_str("belongs to another user"),
            Self::Open(error) => write!(f, "can't be opened: {error}"),
            Self::WritableByAll => f.write_str("can be written to by every user"),
            Self::Write(error) => write!(f, "can't be written to: {error}"),
        }
    }
}

impl std::error::Error for StateDirError {}

// === impl FileName ===

impl FileName {
    /// The one name of `id` among files of this kind: readable, and never another one's, whatever
    /// characters `id` holds.
    pub fn new(kind: &'static str, id: &str) -> Self {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let readable: String = id.chars().take(READABLE).map(plain).collect();
        let mut name = format!("{kind}-{readable}-");
        let hash = digest(&SHA256, id.as_bytes());
        for byte in hash.as_ref().iter().take(16) {
            name.push_str(&format!("{byte:02x}"));
        }
        name.push_str(".json");
        Self(name)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl StateDir ===

impl StateDir {
    /// Opens the folder; creates it for its owner alone if it does not exist.
    ///
    /// # Errors
    /// See [`StateDirError`].
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        let folder = match Self::inspect(path)? {
            Some(folder) => folder,
            None => {
                let mut builder = std::fs::DirBuilder::new();
                builder.recursive(true).mode(0o700).create(path).map_err(StateDirError::Create)?;
                Self::held(path).map_err(StateDirError::Open)??
            }
        };
        folder.sweep(path);
        // Found out now, by whoever starts it, and not at the first fetch.
        let probe = folder.create().map_err(StateDirError::Write)?;
        drop(probe);
        Ok(folder)
    }

    /// Looks at the folder without changing anything; `None` if it does not exist yet.
    ///
    /// # Errors
    /// See [`StateDirError`].
    pub fn inspect(path: &Path) -> Result<Option<Self>, StateDirError> {
        match Self::held(path) {
            Ok(folder) => folder.map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StateDirError::Open(error)),
        }
    }

    fn held(path: &Path) -> io::Result<Result<Self, StateDirError>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&handle)?;
        if stat.st_uid != 0 && stat.st_uid != own_user() {
            return Ok(Err(StateDirError::ForeignOwner));
        }
        if stat.st_mode & 0o002 != 0 {
            return Ok(Err(StateDirError::WritableByAll));
        }
        Ok(Ok(Self { handle, mode: stat.st_mode & 0o7777 }))
    }

    /// The folder's mode, if others than its owner may enter it.
    pub fn shared_mode(&self) -> Option<u32> {
        (self.mode & 0o077 != 0).then_some(self.mode)
    }

    /// What the file holds; `None` if there is none.
    ///
    /// # Errors
    /// It can't be read, is larger than `limit`, is no regular file, or others could have written
    /// it.
    pub fn read(&self, name: &FileName, limit: usize) -> io::Result<Option<Vec<u8>>> {
        // Opening a FIFO would wait for ever without NONBLOCK.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.handle, &name.0, flags, Mode::empty()) {
            Ok(handle) => File::from(handle),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(io::Error::other("a symbolic link")),
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        if metadata.uid() != own_user() {
            return Err(io::Error::other("another user's file"));
        }
        if metadata.mode() & 0o022 != 0 {
            return Err(io::Error::other("others may write to it"));
        }
        let mut bytes = Vec::new();
        file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(io::Error::other("larger than anything we write"));
        }
        Ok(Some(bytes))
    }

    /// Replaces the file's content, or creates it: after a crash it holds the old or the new, and
    /// after a return the new, even if the machine loses power.
    ///
    /// # Errors
    /// The file is as it was.
    pub fn write(&self, name: &FileName, bytes: &[u8]) -> io::Result<()> {
        let unfinished = self.create()?;
        (&unfinished.file).write_all(bytes)?;
        unfinished.file.sync_all()?;
        // Replaces a symbolic link and does not follow it.
        rustix::fs::renameat(&self.handle, &unfinished.name, &self.handle, &name.0)?;
        rustix::fs::fsync(&self.handle)?;
        Ok(())
    }

    /// Removes the file; one that is not there is gone already.
    ///
    /// # Errors
    /// It could not be removed.
    pub fn remove(&self, name: &FileName) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.handle, &name.0, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn create(&self) -> io::Result<Unfinished<'_>> {
        // Each write has its own: two processes may share the folder while one replaces the other.
        let name = format!("{UNFINISHED}{:016x}", RandomState::new().build_hasher().finish());
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.handle, &name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Unfinished { folder: self, name, file: File::from(file) })
    }

    /// Removes what earlier processes left unfinished. A write of another process that is cut short
    /// by it fails, and is made again with the next change.
    fn sweep(&self, path: &Path) {
        let Ok(entries) = std::fs::read_dir(path) else { return };
        for entry in entries.take(SWEPT).flatten() {
            if let Some(name) = entry.file_name().to_str()
                && name.starts_with(UNFINISHED)
            {
                // Left alone where it is not ours to remove.
                rustix::fs::unlinkat(&self.handle, name, AtFlags::empty()).unwrap_or_default();
            }
        }
    }
}

/// A file that is being written; removed when it is dropped before it got its name.
struct Unfinished<'a> {
    folder: &'a StateDir,
    name: String,
    file: File,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // After the rename there is nothing of this name.
        rustix::fs::unlinkat(&self.folder.handle, &self.name, AtFlags::empty()).unwrap_or_default();
    }
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
#[path = "state_dir_tests.rs"]
mod tests;

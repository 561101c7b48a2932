//! A file of the operator's that is read again when it changes.
//!
//! Owns how a change is noticed: by looking at the file's stamp once a second. That sees what
//! notifications miss: a symbolic link swapped somewhere on the path (Kubernetes), a rename over the
//! file (editors), network file systems. Trusts the path; refuses what is no regular file or larger
//! than its reader can use.

use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a file is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// The file, and what was true of it when it was read last.
#[derive(Clone, Debug)]
pub struct WatchedFile {
    path: PathBuf,
    limit: usize,
    seen: Seen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    /// Read, but perhaps before the last write within the same tick of the file system's clock.
    Once(Stamp),
    /// Read again later, with the same stamp.
    Twice(Stamp),
    Failed(io::ErrorKind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl WatchedFile {
    /// A file that nobody has read yet; more than `limit` bytes are refused.
    pub fn new(path: PathBuf, limit: usize) -> Self {
        Self { path, limit, seen: Seen::Nothing }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file holds, if that may be something else than at the last look; none if nothing
    /// speaks for a change, also of its being unreadable. The same content may come twice. Blocks.
    pub fn look(&mut self) -> Option<io::Result<Vec<u8>>> {
        let read = self.read();
        match &read {
            Ok((stamp, _)) => {
                self.seen = match self.seen {
                    Seen::Twice(known) if known == *stamp => return None,
                    Seen::Once(known) if known == *stamp => Seen::Twice(known),
                    Seen::Nothing | Seen::Once(_) | Seen::Twice(_) | Seen::Failed(_) => {
                        Seen::Once(*stamp)
                    }
                };
            }
            Err(error) => {
                let failed = Seen::Failed(error.kind());
                if self.seen == failed {
                    return None;
                }
                self.seen = failed;
            }
        }
        Some(read.map(|(_, bytes)| bytes))
    }

    /// Waits until [`look`](Self::look) has something to say, on a thread that may block.
    ///
    /// # Concurrency
    /// May be dropped at any time: what was not returned is found again.
    pub async fn changed(&mut self) -> io::Result<Vec<u8>> {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let mut looking = self.clone();
            let looked = tokio::task::spawn_blocking(move || {
                let found = looking.look();
                (looking, found)
            });
            if let Ok((looked, found)) = looked.await {
                *self = looked;
                if let Some(found) = found {
                    return found;
                }
            }
        }
    }

    fn read(&self) -> io::Result<(Stamp, Vec<u8>)> {
        // Opening a FIFO would hold a thread for ever.
        if !std::fs::metadata(&self.path)?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let file = std::fs::File::open(&self.path)?;
        // Of the open file and before it is read: what is written from here on changes the stamp.
        let stamp = Stamp::of(&file.metadata()?);
        if self.seen == Seen::Twice(stamp) {
            return Ok((stamp, Vec::new()));
        }
        let mut bytes = Vec::new();
        file.take(self.limit as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > self.limit {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        Ok((stamp, bytes))
    }
}

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn text(file: &mut WatchedFile) -> Option<String> {
        file.look().map(|read| String::from_utf8(read.unwrap()).unwrap())
    }

    #[test]
    fn every_way_of_changing_a_file_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        fs::write(&path, "one").unwrap();
        let mut file = WatchedFile::new(path.clone(), 10);
        assert_eq!(text(&mut file).unwrap(), "one");
        // Once more, for a write in the same tick of the clock; then there is peace.
        assert_eq!(text(&mut file).unwrap(), "one");
        assert_eq!(text(&mut file), None);

        fs::write(&path, "two").unwrap();
        assert_eq!(text(&mut file).unwrap(), "two", "written in place");

        let new = folder.path().join("new");
        fs::write(&new, "three").unwrap();
        fs::rename(&new, &path).unwrap();
        assert_eq!(text(&mut file).unwrap(), "three", "renamed over it");

        fs::remove_file(&path).unwrap();
        for (version, content) in [("v1", "four"), ("v2", "five")] {
            fs::create_dir(folder.path().join(version)).unwrap();
            fs::write(folder.path().join(version).join("keys.json"), content).unwrap();
            let link = folder.path().join("link");
            symlink(version, &link).unwrap();
            fs::rename(&link, folder.path().join("current")).unwrap();
            if !path.is_symlink() {
                symlink("current/keys.json", &path).unwrap();
            }
            assert_eq!(text(&mut file).unwrap(), content, "a link on the way was swapped");
        }
    }

    #[test]
    fn a_failure_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let mut file = WatchedFile::new(path.clone(), 3);
        assert_eq!(file.look().unwrap().unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(file.look().is_none());
        fs::write(&path, "four").unwrap();
        assert_eq!(file.look().unwrap().unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(file.look().is_none());
        fs::write(&path, "ok").unwrap();
        assert_eq!(text(&mut file).unwrap(), "ok");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(file.look().unwrap().is_err(), "a folder is no file");
    }

    #[tokio::test]
    async fn a_change_wakes_whoever_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let mut file = WatchedFile::new(path.clone(), 10);
        assert_eq!(file.path(), path);
        assert!(file.changed().await.is_err());
        fs::write(&path, "one").unwrap();
        assert_eq!(file.changed().await.unwrap(), b"one");
    }
}

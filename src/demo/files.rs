//! The demo's static folder: the repository's own, or a copy of it where there is no repository.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Where the repository keeps it.
const REPOSITORY: &str = "examples/demo/static";

/// The same files, for a binary that was copied elsewhere.
const EMBEDDED: &[(&str, &str)] = &[
    ("app.css", include_str!("../../examples/demo/static/app.css")),
    ("hello.txt", include_str!("../../examples/demo/static/hello.txt")),
    ("index.html", include_str!("../../examples/demo/static/index.html")),
];

/// A folder to serve; a copy is removed when this is dropped.
#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
    is_copy: bool,
}

impl Files {
    /// The repository's folder, if this is where it stands, else a copy in a new folder for
    /// temporary files. Blocks.
    ///
    /// # Errors
    /// The copy can't be written.
    pub fn provide() -> io::Result<Self> {
        let repository = Path::new(REPOSITORY);
        if repository.join("index.html").is_file() {
            return Ok(Self { folder: fs::canonicalize(repository)?, is_copy: false });
        }
        let files = Self { folder: temporary()?, is_copy: true };
        for (name, content) in EMBEDDED {
            fs::write(files.folder.join(name), content)?;
        }
        Ok(files)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// A folder of our own. `create` fails on a name that somebody else has taken: what is served must
/// be ours. Nor is the copy of a demo that was killed in the way of the next one with its number.
fn temporary() -> io::Result<PathBuf> {
    let mut attempt = 0_u32;
    loop {
        let name = format!("portcullis-demo-{}-{attempt}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 100 => {
                attempt = attempt.saturating_add(1);
            }
            Err(error) => return Err(error),
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if self.is_copy
            && let Err(error) = fs::remove_dir_all(&self.folder)
        {
            tracing::debug!(folder = %self.folder.display(), %error, "copy not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a container every demo has the number of the one that was killed before it.
    #[test]
    fn a_folder_that_was_left_behind_is_in_nobodys_way() {
        let first = temporary().unwrap();
        let second = temporary().unwrap();
        assert_ne!(first, second);
        for folder in [first, second] {
            fs::remove_dir(folder).unwrap();
        }
    }
}

//! A route's folder as it is served: the action behind the permit.
//!
//! Everything that can be settled when the configuration is compiled is settled here: the
//! directory is open, the names of index and fallback are well-formed, the manifest is read.

use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::HeaderValue;

use super::cache::Cache;
use super::containment::{RelativePath, Root};
use super::listing::encode;
use super::manifest::Manifest;
use super::resolve::below;
use crate::clock::Clock;
use crate::http::Coding;

/// A folder, opened and ready to be served. Cheap to clone; clones are the same folder.
#[derive(Clone, Debug)]
pub struct Files(Arc<Folder>);

/// How a folder is to be served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder. Symbolic links in this path itself are followed, once, when it is opened.
    pub folder: PathBuf,
    /// What of the request's canonical path stands for the folder: `/static` for the pattern
    /// `/static/*`, empty for `/*`. A slash at the end changes nothing.
    pub prefix: String,
    /// Names tried in a directory, in this order; default `index.html`.
    pub index: Vec<String>,
    /// The page of a single-page application, below the folder; default none. It answers for what
    /// is missing if the request accepts `text/html` and its last segment has no extension.
    pub fallback: Option<String>,
    /// What clients are told to keep, and how long.
    pub cache_control: CacheControl,
    /// The codings of files that lie beside theirs, encoded beforehand.
    pub precompressed: Vec<Coding>,
    /// Whether strangers put the files there. Nothing among them then speaks for the site: no index,
    /// no manifest, no file that claims to be another one's encoding; and no browser runs them.
    pub media: bool,
    /// Whether directories without an index show what is in them.
    pub listing: bool,
    /// Whether applications alone may name its files: what one client is shown is not for others.
    pub internal: bool,
    /// Where small files are kept.
    pub cache: Option<Arc<Cache>>,
}

/// Where the `Cache-Control` of a reply comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CacheControl {
    /// A year and `immutable` for names that hold a hash of their content, `no-cache` for HTML and
    /// the fallback, else a minute. `public`, but `private` for what a token was needed to see.
    #[default]
    Auto,
    /// This value, always.
    Fixed(HeaderValue),
}

#[derive(Debug)]
pub(super) struct Folder {
    /// What tells it from every other folder, before and after a reload.
    pub(super) id: u64,
    pub(super) root: Root,
    pub(super) path: PathBuf,
    /// The same without links in it.
    real_path: Option<PathBuf>,
    pub(super) prefix: String,
    pub(super) index: Vec<String>,
    pub(super) fallback: Option<RelativePath>,
    pub(super) cache_control: CacheControl,
    pub(super) precompressed: Vec<Coding>,
    pub(super) media: bool,
    pub(super) listing: bool,
    pub(super) internal: bool,
    pub(super) cache: Option<Arc<Cache>>,
    manifest: Manifest,
    pub(super) clock: Clock,
}

impl Files {
    /// Opens the folder and reads its `staticfiles.json`, if it has one. Blocks.
    ///
    /// # Errors
    /// The folder cannot be opened, or a name in the settings is not one below it.
    pub fn open(settings: Settings, clock: Clock) -> Result<Self, FilesError> {
        let Settings { folder: path, prefix, index, fallback, cache_control, .. } = settings;
        if let Some(name) = index.iter().find(|name| !is_component(name)) {
            return Err(FilesError::BadIndex(name.clone()));
        }
        let fallback = fallback
            .map(|name| RelativePath::parse(&name).ok_or(FilesError::BadFallback(name)))
            .transpose()?;
        let root = match Root::open(&path) {
            Ok(root) => root,
            Err(error) => return Err(FilesError::Folder { path, error }),
        };
        let manifest = Manifest::open(&root, &path, clock.clone());
        let prefix = prefix.trim_end_matches('/').to_owned();
        let media = settings.media;
        Ok(Self(Arc::new(Folder {
            id: FOLDERS.fetch_add(1, Ordering::Relaxed),
            root,
            real_path: path.canonicalize().ok(),
            path,
            prefix,
            index: if media { Vec::new() } else { index },
            fallback,
            cache_control,
            precompressed: if media { Vec::new() } else { settings.precompressed },
            media,
            listing: settings.listing,
            internal: settings.internal,
            cache: settings.cache,
            manifest,
            clock,
        })))
    }

    pub(super) fn folder(&self) -> &Arc<Folder> {
        &self.0
    }

    /// How much of a canonical path is the folder's prefix; `None` if it leads elsewhere.
    pub fn prefix_of(&self, path: &str) -> Option<usize> {
        below(&self.0, path).map(|_| self.0.prefix.len())
    }

    /// The canonical path of the file at this place on disk; `None` if that is not written as a
    /// place in the folder.
    pub fn path_of(&self, place: &[u8]) -> Option<String> {
        let folder = &self.0;
        let inner = [Some(&folder.path), folder.real_path.as_ref()].into_iter().flatten();
        let mut inner = inner.filter_map(|root| {
            let root = root.as_os_str().as_bytes();
            let root = root.strip_suffix(b"/").unwrap_or(root);
            place.strip_prefix(root)?.strip_prefix(b"/")
        });
        let inner = inner.next()?;
        let mut path = folder.prefix.clone();
        for name in inner.split(|byte| *byte == b'/') {
            path.push('/');
            path.push_str(&encode(name));
        }
        Some(path)
    }
}

/// Folders opened so far.
static FOLDERS: AtomicU64 = AtomicU64::new(0);

fn is_component(name: &str) -> bool {
    RelativePath::default().join(name.as_bytes()).is_some()
}

impl Folder {
    /// Whether `name` is listed in the folder's manifest. Blocks.
    pub(super) fn lists(&self, name: &RelativePath) -> bool {
        !self.media && self.manifest.lists(&self.root, &self.path, name)
    }
}

/// Why a folder cannot be served.
#[derive(Debug)]
pub enum FilesError {
    /// The fallback is not a path below the folder, such as `index.html` or `app/index.html`.
    BadFallback(String),
    /// An index is not a plain file name.
    BadIndex(String),
    /// The folder does not exist, is not a directory or may not be entered.
    Folder {
        /// As configured.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl fmt::Display for FilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadFallback(name) => write!(f, "`{name}` is not a path below the folder"),
            Self::BadIndex(name) => write!(f, "`{name}` is not a file name"),
            Self::Folder { path, error } => {
                write!(f, "the folder `{}` cannot be opened: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for FilesError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::BadFallback(_) | Self::BadIndex(_) => None,
            Self::Folder { error, .. } => Some(error),
        }
    }
}

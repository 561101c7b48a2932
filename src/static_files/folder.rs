//! A route's folder as it is served: the action behind the permit.
//!
//! Everything that can be settled when the configuration is compiled is settled here: the
//! directory is open, the names of index and fallback are well-formed, the manifest is read.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::HeaderValue;

use super::cache::Cache;
use super::containment::{RelativePath, Root};
use super::manifest::Manifest;
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
    pub(super) prefix: String,
    pub(super) index: Vec<String>,
    pub(super) fallback: Option<RelativePath>,
    pub(super) cache_control: CacheControl,
    pub(super) precompressed: Vec<Coding>,
    pub(super) media: bool,
    pub(super) listing: bool,
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
            path,
            prefix,
            index: if media { Vec::new() } else { index },
            fallback,
            cache_control,
            precompressed: if media { Vec::new() } else { settings.precompressed },
            media,
            listing: settings.listing,
            cache: settings.cache,
            manifest,
            clock,
        })))
    }

    pub(super) fn folder(&self) -> &Arc<Folder> {
        &self.0
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

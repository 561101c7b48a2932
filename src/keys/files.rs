//! Keys from the operator's own files: a JWK set, or PEM files, read again when they change.
//!
//! Owns when files give new keys: as soon as one of them changed and all of them are good. As long
//! as one is missing or wrong, the keys stay as they are. Trusts the paths; what the files hold
//! passes the same checks as an issuer's answer.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::fetch::{FetchError, MAX_DOCUMENT};
use super::jwks::{self, Parsed};
use super::pem::from_pem;
use crate::watched_file::WatchedFile;

/// What the files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Jwks,
    Pem,
}

/// What a look at the files brought: nothing new, or what they hold now.
pub(super) type Looked = Option<Result<Parsed, FetchError>>;

/// The files of one issuer, with what was last read of each.
#[derive(Debug)]
pub(super) struct Files {
    format: Format,
    paths: Vec<PathBuf>,
    /// None while a look is under way.
    state: Option<Vec<Watched>>,
    looking: Option<JoinHandle<(Vec<Watched>, Looked)>>,
}

#[derive(Debug)]
struct Watched {
    file: WatchedFile,
    /// The content, or why there is none.
    read: Result<Vec<u8>, Arc<std::io::Error>>,
}

impl Files {
    pub(super) fn new(format: Format, paths: Vec<PathBuf>) -> Self {
        Self { format, paths, state: None, looking: None }
    }

    /// Looks at the files on a thread that may block. A look that a slow disk keeps is joined by
    /// the next, so that at most one thread waits for it.
    pub(super) async fn look(&mut self) -> Looked {
        let looking = match self.looking.take() {
            Some(looking) => looking,
            None => {
                let format = self.format;
                let state = self.state.take().unwrap_or_else(|| watch(&self.paths));
                tokio::task::spawn_blocking(move || look(format, state))
            }
        };
        match self.looking.insert(looking).await {
            Ok((state, looked)) => {
                self.looking = None;
                self.state = Some(state);
                looked
            }
            Err(_) => {
                self.looking = None;
                Some(Err(FetchError::Panicked))
            }
        }
    }
}

fn watch(paths: &[PathBuf]) -> Vec<Watched> {
    let watched = |path: &PathBuf| Watched {
        file: WatchedFile::new(path.clone(), MAX_DOCUMENT),
        read: Err(Arc::new(std::io::ErrorKind::NotFound.into())),
    };
    paths.iter().map(watched).collect()
}

fn look(format: Format, mut state: Vec<Watched>) -> (Vec<Watched>, Looked) {
    let mut changed = false;
    for watched in &mut state {
        if let Some(read) = watched.file.look() {
            let read = read.map_err(Arc::new);
            // The same bytes again are no change.
            changed |= match (&read, &watched.read) {
                (Ok(new), Ok(old)) => new != old,
                (Ok(_), Err(_)) | (Err(_), _) => true,
            };
            watched.read = read;
        }
    }
    let looked = changed.then(|| parse(format, &state));
    (state, looked)
}

fn parse(format: Format, state: &[Watched]) -> Result<Parsed, FetchError> {
    let mut all = Parsed::default();
    for watched in state {
        let content = watched.read.as_ref().map_err(|error| match error.kind() {
            std::io::ErrorKind::FileTooLarge => FetchError::TooLarge,
            _ => FetchError::Read(Arc::clone(error)),
        })?;
        match format {
            Format::Jwks => all = jwks::parse_set(content).map_err(|_| FetchError::NotAKeySet)?,
            Format::Pem => all.keys.extend(from_pem(content).map_err(FetchError::Pem)?),
        }
    }
    if all.keys.is_empty() { Err(FetchError::NoUsableKeys) } else { Ok(all) }
}

//! What all comparisons of one invocation share: the upstream, the certificate, the tokens, the
//! files to serve, folders and cores.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use tokio::runtime::Handle;

use super::Result;
use super::certificate::Certificate;
use super::load::Algorithm;
use super::machine;
use super::programs::Programs;
use super::tokens::{self, Issued};
use super::upstream;

/// See above.
#[derive(Debug)]
pub(super) struct World {
    folder: TempDir,
    keep: PathBuf,
    programs: Programs,
    upstream: u16,
    thread: Handle,
    certificate: Certificate,
    proxy_core: usize,
    issued: RefCell<HashMap<(Algorithm, usize), Arc<Issued>>>,
}

/// The sizes of the files that are served.
const FILES: [(&str, usize); 3] =
    [("1k.bin", 1 << 10), ("100k.bin", 100 << 10), ("10m.bin", 10 << 20)];

impl World {
    /// From here on this process, and the load that it starts, stays on one core.
    pub(super) fn make(portcullis: &Path, proxy_core: usize, load_core: usize) -> Result<Self> {
        let keep = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compare");
        fs::create_dir_all(&keep)?;
        let programs = Programs::new(portcullis, &keep)?;
        machine::pin_self(load_core)?;
        let folder = tempfile::Builder::new().prefix("portcullis-compare-").tempdir()?;
        let (upstream, thread) = upstream::start()?;
        let certificate = Certificate::make(folder.path())?;
        let files = folder.path().join("files");
        fs::create_dir(&files)?;
        for (name, size) in FILES {
            fs::write(files.join(name), vec![b'x'; size])?;
        }
        let issued = RefCell::default();
        Ok(Self { folder, keep, programs, upstream, thread, certificate, proxy_core, issued })
    }

    /// Gone when the invocation ends.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The port of the application behind every proxy.
    pub(super) fn upstream(&self) -> u16 {
        self.upstream
    }

    /// What outlives an invocation.
    pub(super) fn keep(&self) -> &Path {
        &self.keep
    }

    /// The application's thread, which never sleeps while the steady load runs on it.
    pub(super) fn thread(&self) -> Handle {
        self.thread.clone()
    }

    pub(super) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(super) fn proxy_core(&self) -> usize {
        self.proxy_core
    }

    /// How many new tokens a run may take. A signature of RSA takes the longest to make, and to check.
    pub(super) fn new_tokens(&self, algorithm: Algorithm) -> usize {
        match algorithm {
            Algorithm::Rs256 => 60_000,
            Algorithm::Es256 | Algorithm::EdDsa | Algorithm::Hs256 => 100_000,
        }
    }

    /// Exactly this many tokens.
    pub(super) fn issued(&self, algorithm: Algorithm, count: usize) -> Result<Arc<Issued>> {
        if let Some(issued) = self.issued.borrow().get(&(algorithm, count)) {
            return Ok(Arc::clone(issued));
        }
        let issued = Arc::new(tokens::issue(algorithm, count, &self.keep.join("tokens"))?);
        self.issued.borrow_mut().insert((algorithm, count), Arc::clone(&issued));
        Ok(issued)
    }

    /// This many good ones with RS256, and a forged one behind each.
    pub(super) fn half_forged(&self, count: usize) -> Result<Arc<Issued>> {
        let good = self.issued(Algorithm::Rs256, count)?;
        let file = self.folder().join(format!("half-forged-{count}"));
        Ok(Arc::new(tokens::half_forged(&good, file)?))
    }
}

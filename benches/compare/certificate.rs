//! The certificate of every TLS listener: P-256, signed by itself, trusted by our own clients.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::Result;

/// Its files.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    /// Both in one file, for HAProxy.
    pub(super) pair: PathBuf,
    der: CertificateDer<'static>,
}

impl Certificate {
    pub(super) fn make(folder: &Path) -> Result<Self> {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names)?;
        let made = Self {
            cert: folder.join("server.crt"),
            key: folder.join("server.key"),
            pair: folder.join("server.pem"),
            der: cert.der().clone(),
        };
        let (cert, key) = (cert.pem(), signing_key.serialize_pem());
        fs::write(&made.cert, &cert)?;
        fs::write(&made.key, &key)?;
        fs::write(&made.pair, cert + &key)?;
        Ok(made)
    }

    /// Trusts it and nothing else.
    pub(super) fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone())?;
        Ok(roots)
    }
}

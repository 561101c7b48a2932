//! Certificates for the gateways under test, made per call, and clients that trust only them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// A self-signed certificate and its files.
#[derive(Clone)]
pub(crate) struct Certificate {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    der: CertificateDer<'static>,
}

impl Certificate {
    /// For `localhost` and `127.0.0.1`, as `server.crt` and `server.key` of `folder`.
    pub(crate) fn make(folder: &Path) -> Self {
        Self::for_names(folder, "server", &["localhost", "127.0.0.1"])
    }

    /// The one that lies in `folder` already, if there is one.
    pub(crate) fn make_once(folder: &Path) -> Self {
        let (cert, key) = (folder.join("server.crt"), folder.join("server.key"));
        match fs::read(&cert) {
            Ok(pem) => Self { cert, key, der: CertificateDer::from_pem_slice(&pem).unwrap() },
            Err(_) => Self::make(folder),
        }
    }

    pub(crate) fn for_names(folder: &Path, file: &str, names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let made = Self {
            cert: folder.join(format!("{file}.crt")),
            key: folder.join(format!("{file}.key")),
            der: cert.der().clone(),
        };
        fs::write(&made.cert, cert.pem()).unwrap();
        fs::write(&made.key, signing_key.serialize_pem()).unwrap();
        made
    }

    /// This certificate alone.
    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        roots
    }

    /// A client's settings that trust this certificate alone and offer `protocol`.
    pub(crate) fn client(&self, protocol: &str) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Arc::new(config)
    }
}

//! TLS towards the servers that Portcullis calls: issuers and upstreams.
//!
//! Owns whom we believe: the system's roots, or only the operator's own. There is no way to switch
//! the verification of certificates off here.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// TLS 1.2 and 1.3 with aws-lc-rs, `http/1.1` by ALPN, no client certificate.
///
/// The roots are the certificates of `ca_pem` and no others, or the system's. Loading the system's
/// reads files: call it while loading a configuration and share the result.
///
/// # Errors
/// [`ClientError`] if not one usable root is found, or `ca_pem` holds anything unusable.
pub fn config(ca_pem: Option<&[u8]>) -> Result<Arc<ClientConfig>, ClientError> {
    let roots = match ca_pem {
        Some(pem) => own_roots(pem)?,
        None => system_roots()?,
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ClientError::Provider)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Why no client can be made.
#[derive(Debug)]
pub enum ClientError {
    /// A block of the PEM text is not a certificate that can be a root.
    BadCertificate,
    /// The PEM text holds no certificate.
    NoCertificate,
    /// The system has no usable root certificate; what was tried and why it failed.
    NoSystemRoots(String),
    /// The cryptography provider lacks the protocol versions asked for.
    Provider(rustls::Error),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadCertificate => f.write_str("not a usable root certificate"),
            Self::NoCertificate => f.write_str("no certificate in the PEM text"),
            Self::NoSystemRoots(tried) if tried.is_empty() => {
                f.write_str("the system has no root certificates")
            }
            Self::NoSystemRoots(tried) => {
                write!(f, "the system has no usable root certificates: {tried}")
            }
            Self::Provider(error) => write!(f, "the TLS provider refuses: {error}"),
        }
    }
}

impl std::error::Error for ClientError {}

fn own_roots(pem: &[u8]) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| ClientError::BadCertificate)?;
        roots.add(certificate).map_err(|_| ClientError::BadCertificate)?;
    }
    if roots.is_empty() { Err(ClientError::NoCertificate) } else { Ok(roots) }
}

/// Unusable certificates in the system's store are passed over, as everyone does: only their
/// absence is an error.
fn system_roots() -> Result<RootCertStore, ClientError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let tried: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(ClientError::NoSystemRoots(tried.join("; ")));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_roots_replace_the_systems() {
        let ca = rcgen::generate_simple_self_signed(vec!["ca.test".to_owned()]).unwrap();
        let pem = ca.cert.pem();
        assert_eq!(own_roots(pem.as_bytes()).unwrap().len(), 1);
        assert_eq!(config(Some(pem.as_bytes())).unwrap().alpn_protocols, [b"http/1.1".to_vec()]);
    }

    #[test]
    fn unusable_roots_are_errors() {
        assert!(matches!(config(Some(b"")), Err(ClientError::NoCertificate)));
        assert!(matches!(config(Some(b"not PEM")), Err(ClientError::NoCertificate)));
        let garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(config(Some(garbage)), Err(ClientError::BadCertificate)));
        let cut = b"-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert!(config(Some(cut)).is_err());
    }
}

//! TLS towards the servers that Portcullis calls: issuers and upstreams.
//!
//! Owns whom we believe: the system's roots, or only the operator's own, and for the name that was
//! asked for. An upstream may be believed without a certificate that says so, where its operator
//! wrote that; an issuer never.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// TLS 1.2 and 1.3 with aws-lc-rs, `http/1.1` by ALPN, no client certificate.
///
/// The roots are the certificates of `ca_pem` and no others, or the system's. Loading the system's
/// reads files: call it while loading a configuration and share the result.
///
/// # Errors
/// [`ClientError`] if not one usable root is found, or `ca_pem` holds anything unusable.
pub fn config(ca_pem: Option<&[u8]>) -> Result<Arc<ClientConfig>, ClientError> {
    let trust = ca_pem.map_or(Trust::System, Trust::Own);
    build(&trust, None, Alpn::Http1)
}

/// Whom to believe.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// Whoever answers.
    Anybody,
    /// Certificates that lead to these roots, in PEM.
    Own(&'a [u8]),
    /// Certificates that lead to one of the system's roots.
    System,
}

/// The protocol that is asked for, the only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// HTTP/1.1; a server that chooses none is taken to speak it.
    Http1,
    /// HTTP/2; a server has to say so.
    Http2,
}

/// TLS 1.2 and 1.3 with aws-lc-rs; `identity` is our own certificate with its key, both in PEM.
///
/// # Errors
/// [`ClientError`] if anything of it is unusable.
pub fn build(
    trust: &Trust<'_>,
    identity: Option<(&[u8], &[u8])>,
    alpn: Alpn,
) -> Result<Arc<ClientConfig>, ClientError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(ClientError::Provider)?;
    let builder = match trust {
        Trust::Anybody => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        }
        Trust::Own(pem) => builder.with_root_certificates(own_roots(pem)?),
        Trust::System => builder.with_root_certificates(system_roots()?),
    };
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert).collect();
            let chain = chain.map_err(|_| ClientError::BadIdentity)?;
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| ClientError::BadKey)?;
            if chain.is_empty() {
                return Err(ClientError::BadIdentity);
            }
            builder.with_client_auth_cert(chain, key).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => ClientError::KeyMismatch,
                _ => ClientError::BadKey,
            })?
        }
    };
    config.alpn_protocols = vec![alpn.name().to_vec()];
    Ok(Arc::new(config))
}

impl Alpn {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// Whom a connection has to lead to.
#[derive(Clone)]
pub struct Destination {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    alpn: Alpn,
    /// Of every setting that `config` was made from: what of it can be compared.
    fingerprint: u64,
    /// The last handshake failed, and that was said.
    told: Arc<AtomicBool>,
}

impl Destination {
    /// `config` as [`build`] makes it for `alpn`.
    pub fn new(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        alpn: Alpn,
        fingerprint: u64,
    ) -> Self {
        Self { config, name, alpn, fingerprint, told: Arc::default() }
    }

    /// The handshake: no byte of the server counts before it is over, and its certificate was
    /// verified (H24). The first of failures in a row is logged: clients learn nothing of it.
    ///
    /// # Errors
    /// What TLS or the system said; the server may speak another protocol than was asked for.
    pub async fn secure(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let secured = self.handshake(stream).await;
        match &secured {
            Ok(_) if !self.told.load(Ordering::Relaxed) => {}
            Ok(_) => self.told.store(false, Ordering::Relaxed),
            Err(error) if !self.told.swap(true, Ordering::Relaxed) => {
                tracing::warn!(server = %self.name.to_str(), %error, "TLS to an upstream failed");
            }
            Err(_) => {}
        }
        secured
    }

    async fn handshake(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector.connect(self.name.clone(), stream).await?;
        match (stream.get_ref().1.alpn_protocol(), self.alpn) {
            (None, Alpn::Http1) => Ok(stream),
            (Some(chosen), _) if chosen == self.alpn.name() => Ok(stream),
            (Some(_) | None, _) => Err(io::Error::other("another protocol than was asked for")),
        }
    }
}

impl PartialEq for Destination {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.alpn, self.fingerprint) == (&other.name, other.alpn, other.fingerprint)
    }
}

impl Eq for Destination {}

impl Hash for Destination {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.name, self.alpn, self.fingerprint).hash(state);
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Believes every certificate, but not that whoever shows it has its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Why no client can be made.
#[derive(Debug)]
pub enum ClientError {
    /// A block of the PEM text is not a certificate that can be a root.
    BadCertificate,
    /// The PEM text of our own certificate holds none, or one that is damaged.
    BadIdentity,
    /// The PEM text of our own key holds no usable one.
    BadKey,
    /// Our own key is not the one of our own certificate.
    KeyMismatch,
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
            Self::BadIdentity => f.write_str("no usable certificate in the PEM text"),
            Self::BadKey => f.write_str("no usable private key in the PEM text"),
            Self::KeyMismatch => f.write_str("the private key is not the certificate's"),
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

//! Certificates: loading them, and choosing one by the name that a client asks for.
//!
//! Owns the map from server names to keys. Trusts the operator's files only as far as it can check
//! them: a key that does not fit its certificate is refused here, not at the first handshake.
//! Names come from the subject alternative names alone; the common name has meant nothing since
//! RFC 6125.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::SignatureAlgorithm;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;

use crate::clock::UnixTime;

/// What a client gets that names a host which no certificate covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownName {
    /// The first certificate.
    First,
    /// The alert `unrecognized_name`, the default.
    #[default]
    Reject,
}

/// The certificates of one listener, in the order of the configuration.
///
/// A client that names no host gets the first. Several certificates for one name are fine: each
/// client gets the first whose key it can verify, keys other than RSA before RSA since they cost
/// us a tenth of the time.
pub struct Certificates {
    entries: Vec<Arc<Certificate>>,
    exact: HashMap<Box<str>, Vec<usize>>,
    /// By the part behind `*.`: a wildcard stands for exactly one label.
    wildcard: HashMap<Box<str>, Vec<usize>>,
    unknown: UnknownName,
}

impl Certificates {
    /// These certificates.
    pub fn new(entries: Vec<Arc<Certificate>>, unknown: UnknownName) -> Self {
        let mut exact: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        let mut wildcard: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        let order = |index: &usize| entries.get(*index).is_some_and(|entry| entry.is_rsa());
        for (index, entry) in entries.iter().enumerate() {
            for name in &entry.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut wildcard, parent),
                    None => (&mut exact, &**name),
                };
                let indices = map.entry(name.into()).or_default();
                if !indices.contains(&index) {
                    indices.push(index);
                    indices.sort_by_key(order);
                }
            }
        }
        Self { entries, exact, wildcard, unknown }
    }

    /// Each certificate, for metrics and `check`.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.entries.iter()
    }

    /// What a client gets that names a host which none of them covers.
    pub fn unknown(&self) -> UnknownName {
        self.unknown
    }

    /// Whether any of the certificates covers this host: a name, or an address with or without
    /// brackets; no port.
    pub fn covers(&self, host: &str) -> bool {
        match address(host) {
            Some(address) => self.entries.iter().any(|entry| entry.addresses.contains(&address)),
            None => self.named(&host.to_ascii_lowercase()).is_some(),
        }
    }

    /// The certificates of which a client that names this host gets one, by its algorithms.
    pub fn chosen(&self, name: Option<&str>) -> Vec<&Certificate> {
        let candidates = self.candidates(name).iter();
        candidates.filter_map(|&index| self.entries.get(index).map(|entry| &**entry)).collect()
    }

    /// Whether a client that names this host gets a certificate at all.
    pub fn serves(&self, name: Option<&str>) -> bool {
        !self.candidates(name).is_empty()
    }

    /// Whether the certificate that a connection with this server name got also covers `host`
    /// (H6: a browser may reuse a connection for every host of its certificate, no other). Of
    /// several for one name each must, since it is not known which one the client could verify.
    pub fn served_covers(&self, name: Option<&str>, host: &str) -> bool {
        let candidates = self.candidates(name);
        let covers = |index: &usize| {
            self.entries.get(*index).is_some_and(|entry| match address(host) {
                Some(address) => entry.addresses.contains(&address),
                None => entry.covers_name(&host.to_ascii_lowercase()),
            })
        };
        !candidates.is_empty() && candidates.iter().all(covers)
    }

    fn candidates(&self, name: Option<&str>) -> &[usize] {
        const FIRST: &[usize] = &[0];
        let known = name.map(str::to_ascii_lowercase).and_then(|name| self.named(&name));
        match (known, name, self.unknown) {
            (Some(known), _, _) => known,
            (None, None, _) | (None, Some(_), UnknownName::First) => FIRST,
            (None, Some(_), UnknownName::Reject) => &[],
        }
    }

    fn named(&self, name: &str) -> Option<&[usize]> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let exact = self.exact.get(name);
        exact.or_else(|| self.wildcard.get(name.split_once('.')?.1)).map(Vec::as_slice)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.candidates(hello.server_name());
        let mut keys =
            candidates.iter().filter_map(|&index| self.entries.get(index)).map(|entry| &entry.key);
        let first = keys.clone().next();
        keys.find(|key| key.key.choose_scheme(hello.signature_schemes()).is_some())
            .or(first)
            .map(Arc::clone)
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries.iter().map(|entry| entry.name())).finish()
    }
}

/// One certificate chain with its key.
pub struct Certificate {
    name: String,
    key: Arc<CertifiedKey>,
    /// Lower-case, without a trailing dot.
    names: Vec<Box<str>>,
    addresses: Vec<IpAddr>,
    not_after: UnixTime,
}

impl Certificate {
    /// Reads a chain (its own certificate first) and its key, both PEM; the name is the path of
    /// the chain.
    ///
    /// # Errors
    /// The file that can't be used, and why.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, CertificateError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| CertificateError {
                path: path.to_owned(),
                fault: CertificateFault::Unreadable(error),
            })
        };
        let chain = read(cert)?;
        let secret = zeroize::Zeroizing::new(read(key)?);
        Self::from_pem(&cert.display().to_string(), &chain, &secret).map_err(|fault| {
            let path = if fault.is_of_key() { key } else { cert };
            CertificateError { path: path.to_owned(), fault }
        })
    }

    /// The same from bytes in memory.
    ///
    /// # Errors
    /// Why it can't be used.
    pub fn from_pem(name: &str, chain: &[u8], key: &[u8]) -> Result<Self, CertificateFault> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_| CertificateFault::BadPem)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            rustls_pki_types::pem::Error::NoItemsFound => CertificateFault::NoKey,
            _ => CertificateFault::BadKey,
        })?;
        let leaf = chain.first().ok_or(CertificateFault::NoCertificate)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf)
            .map_err(|_| CertificateFault::BadCertificate)?;
        let seconds = parsed.validity().not_after.timestamp();
        let not_after = UnixTime::from_secs(u64::try_from(seconds).unwrap_or(0));
        let (names, addresses) = alternative_names(&parsed)?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| {
            if matches!(error, rustls::Error::InconsistentKeys(_)) {
                CertificateFault::KeyMismatch
            } else {
                CertificateFault::BadKey
            }
        })?;
        Ok(Self { name: name.to_owned(), key: Arc::new(key), names, addresses, not_after })
    }

    /// The label in metrics and messages: the path of the chain.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host names it covers, wildcards as `*.example.com`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// When it ends.
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// Whether the other is the same chain; the key of one that fits it is, too.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }

    fn covers_name(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        let parent = name.split_once('.').map(|(_, parent)| parent);
        self.names
            .iter()
            .any(|own| **own == *name || (parent.is_some() && own.strip_prefix("*.") == parent))
    }

    fn is_rsa(&self) -> bool {
        self.key.key.algorithm() == SignatureAlgorithm::RSA
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("name", &self.name)
            .field("names", &self.names)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// A certificate or key that can't be used.
#[derive(Debug)]
pub struct CertificateError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: CertificateFault,
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.path.display(), self.fault)
    }
}

impl std::error::Error for CertificateError {}

/// What is wrong with a certificate or key.
#[derive(Debug)]
pub enum CertificateFault {
    /// The certificate is not well-formed X.509.
    BadCertificate,
    /// The key is of no kind that we can use.
    BadKey,
    /// The file is no well-formed list of revoked certificates.
    BadList,
    /// The certificate file is not well-formed PEM.
    BadPem,
    /// The certificate is over, and the one before it is not.
    Expired,
    /// The key belongs to another certificate.
    KeyMismatch,
    /// The certificate file holds no certificate.
    NoCertificate,
    /// The key file holds no private key.
    NoKey,
    /// The file holds no list of revoked certificates.
    NoList,
    /// The file can't be read.
    Unreadable(std::io::Error),
}

impl CertificateFault {
    fn is_of_key(&self) -> bool {
        match self {
            Self::BadKey | Self::KeyMismatch | Self::NoKey => true,
            Self::BadCertificate
            | Self::BadList
            | Self::BadPem
            | Self::Expired
            | Self::NoCertificate
            | Self::NoList
            | Self::Unreadable(_) => false,
        }
    }
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadCertificate => f.write_str("not a well-formed certificate"),
            Self::BadKey => f.write_str("not a usable private key"),
            Self::BadList => f.write_str("not a well-formed list of revoked certificates"),
            Self::BadPem => f.write_str("not well-formed PEM"),
            Self::Expired => f.write_str("the certificate has expired"),
            Self::KeyMismatch => f.write_str("the key does not belong to the certificate"),
            Self::NoCertificate => f.write_str("holds no certificate"),
            Self::NoKey => f.write_str("holds no private key"),
            Self::NoList => f.write_str("holds no list of revoked certificates"),
            Self::Unreadable(error) => write!(f, "can't be read: {error}"),
        }
    }
}

impl std::error::Error for CertificateFault {}

type Names = (Vec<Box<str>>, Vec<IpAddr>);

fn alternative_names(
    certificate: &x509_parser::certificate::X509Certificate<'_>,
) -> Result<Names, CertificateFault> {
    let extension =
        certificate.subject_alternative_name().map_err(|_| CertificateFault::BadCertificate)?;
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    for name in extension.iter().flat_map(|extension| &extension.value.general_names) {
        if let GeneralName::DNSName(name) = name {
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            names.push(name.into_boxed_str());
        } else if let GeneralName::IPAddress(bytes) = name {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            addresses.extend(v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)));
        }
    }
    Ok((names, addresses))
}

fn address(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;

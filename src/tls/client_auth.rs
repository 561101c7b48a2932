//! Client certificates: whom we believe, and what of a certificate the application is told.
//!
//! Owns the verdict on a certificate, at the handshake and again whenever a request comes over a
//! connection that some other policy let in: a resumed session, or one that is older than the
//! newest list of revoked certificates. Trusts the operator's CA file and lists. Fails closed: with
//! lists, every certificate of a chain needs one of its issuer's, and an overdue list (RFC 5280
//! section 5.1.2.5) counts for nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{Context, SHA256};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use super::certificate::{CertificateError, CertificateFault};
pub use super::client_names::Names;
use super::client_names::names;
use crate::clock::UnixTime;

/// Whether a client must have a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// It may have none; one that it shows must be good.
    Request,
    /// Without a good one there is no connection.
    Require,
}

impl Demand {
    /// What it asks of a client, in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "a client may show a certificate, which then has to be good",
            Self::Require => "a client has to show a good certificate",
        }
    }
}

/// Where a policy about client certificates is read from.
#[derive(Clone, Debug)]
pub struct ClientFiles {
    /// Whether there must be a certificate.
    pub demand: Demand,
    /// PEM: the roots that sign clients.
    pub ca: PathBuf,
    /// PEM or DER: what they have revoked.
    pub crls: Vec<PathBuf>,
}

/// A policy about client certificates.
#[derive(Debug)]
pub struct ClientAuth {
    demand: Demand,
    verifier: Arc<dyn ClientCertVerifier>,
    id: PolicyId,
    /// The lists' files, and when each is due again.
    lists: Vec<(PathBuf, Option<UnixTime>)>,
}

/// What tells one policy from another: demand, roots and lists, byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PolicyId([u8; 32]);

impl PolicyId {
    pub(super) fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Context::new(&SHA256);
        for part in parts {
            // With its length, so that neighbours can't lend each other bytes.
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut id = [0; 32];
        for (to, from) in id.iter_mut().zip(hash.finish().as_ref()) {
            *to = *from;
        }
        Self(id)
    }

    /// Never 0, which stands for none.
    fn mark(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) | 1
    }
}

impl ClientAuth {
    /// Reads a policy.
    ///
    /// # Errors
    /// The first file that can't be used.
    pub fn load(files: &ClientFiles) -> Result<Self, CertificateError> {
        let ca = read(&files.ca)?;
        let (mut lists, mut due) = (Vec::new(), Vec::new());
        for path in &files.crls {
            let list = read(path)?;
            let next = next_update(&list)
                .map_err(|fault| CertificateError { path: path.clone(), fault })?;
            due.push((path.clone(), next));
            lists.push(list);
        }
        let fault = |fault| CertificateError { path: files.ca.clone(), fault };
        let policy = Self::new(files.demand, &ca, &lists).map_err(fault)?;
        Ok(Self { lists: due, ..policy })
    }

    /// The same from bytes in memory.
    ///
    /// # Errors
    /// Why they can't be used.
    pub fn new(demand: Demand, ca: &[u8], lists: &[Vec<u8>]) -> Result<Self, CertificateFault> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca) {
            let certificate = certificate.map_err(|_| CertificateFault::BadPem)?;
            roots.add(certificate).map_err(|_| CertificateFault::BadCertificate)?;
        }
        if roots.is_empty() {
            return Err(CertificateFault::NoCertificate);
        }
        let mut revoked = Vec::new();
        for list in lists {
            revoked.extend(lists_of(list)?);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .with_crls(revoked)
            .enforce_revocation_expiration();
        let builder = match demand {
            Demand::Request => builder.allow_unauthenticated(),
            Demand::Require => builder,
        };
        let verifier = builder.build().map_err(|_| CertificateFault::BadList)?;
        let word: &[u8] = match demand {
            Demand::Request => b"request",
            Demand::Require => b"require",
        };
        let parts: Vec<&[u8]> =
            [word, ca].into_iter().chain(lists.iter().map(Vec::as_slice)).collect();
        Ok(Self { demand, verifier, id: PolicyId::of(&parts), lists: Vec::new() })
    }

    /// Whether a client must have a certificate.
    pub fn demand(&self) -> Demand {
        self.demand
    }

    /// Whether the list of this file should have been replaced by now.
    pub fn is_overdue(&self, path: &Path, now: UnixTime) -> bool {
        let list = self.lists.iter().find(|(of, _)| of == path);
        list.is_some_and(|(_, next)| next.is_none_or(|next| next < now))
    }

    /// Whether a request may come over a connection whose client showed this certificate, or none.
    ///
    /// # Errors
    /// It may not: there must be a certificate, or this one is not good any more.
    pub fn admits(
        &self,
        certificate: Option<&ClientCertificate>,
        now: UnixTime,
    ) -> Result<(), NotAdmitted> {
        let Some(certificate) = certificate else {
            return match self.demand {
                Demand::Request => Ok(()),
                Demand::Require => Err(NotAdmitted),
            };
        };
        if now < certificate.not_before || now > certificate.not_after {
            return Err(NotAdmitted);
        }
        if certificate.admitted_by.load(Ordering::Relaxed) == self.id.mark() {
            return Ok(());
        }
        let (leaf, issuers) = certificate.chain.split_first().ok_or(NotAdmitted)?;
        let time = rustls_pki_types::UnixTime::since_unix_epoch(now.since(UnixTime::from_secs(0)));
        self.verifier.verify_client_cert(leaf, issuers, time).map_err(|_| NotAdmitted)?;
        certificate.admitted_by.store(self.id.mark(), Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.verifier)
    }

    pub(super) fn id(&self) -> PolicyId {
        self.id
    }
}

/// There must be a certificate and is none, or it is not good (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAdmitted;

/// A certificate that a client showed, and proved to have the key of.
#[derive(Debug)]
pub struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    not_before: UnixTime,
    not_after: UnixTime,
    names: Arc<Names>,
    /// The policy that has verified it; 0: none since the session was resumed.
    admitted_by: AtomicU64,
}

impl ClientCertificate {
    /// What a handshake left us with; `verified` by that policy, unless it was a resumption: then
    /// the chain came out of a ticket and is to be looked at again.
    ///
    /// # Errors
    /// It can't be told to an application: its names are not well-formed, or beyond all measure.
    pub fn new(
        chain: &[CertificateDer<'_>],
        verified: Option<&ClientAuth>,
    ) -> Result<Self, CertificateFault> {
        let leaf = chain.first().ok_or(CertificateFault::NoCertificate)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf)
            .map_err(|_| CertificateFault::BadCertificate)?;
        let time = |time: x509_parser::time::ASN1Time| {
            UnixTime::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
        };
        let names = names(leaf, &parsed).ok_or(CertificateFault::BadCertificate)?;
        Ok(Self {
            chain: chain.iter().map(|one| one.clone().into_owned()).collect(),
            not_before: time(parsed.validity().not_before),
            not_after: time(parsed.validity().not_after),
            names: Arc::new(names),
            admitted_by: AtomicU64::new(verified.map_or(0, |policy| policy.id.mark())),
        })
    }

    /// The headers that tell an application of it.
    pub fn headers(&self) -> &Arc<Names> {
        &self.names
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    std::fs::read(path).map_err(|error| CertificateError {
        path: path.to_owned(),
        fault: CertificateFault::Unreadable(error),
    })
}

/// When the first of a file's lists is due; one that does not say so can't be believed for long.
fn next_update(bytes: &[u8]) -> Result<Option<UnixTime>, CertificateFault> {
    let mut first: Option<UnixTime> = None;
    for list in lists_of(bytes)? {
        let (_, parsed) =
            x509_parser::parse_x509_crl(&list).map_err(|_| CertificateFault::BadList)?;
        let next = parsed.next_update().ok_or(CertificateFault::BadList)?;
        let next = UnixTime::from_secs(u64::try_from(next.timestamp()).unwrap_or(0));
        first = Some(first.map_or(next, |first| first.min(next)));
    }
    Ok(first)
}

/// The lists of a file: PEM, or the DER that authorities publish.
fn lists_of(bytes: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, CertificateFault> {
    const SEQUENCE: u8 = 0x30;
    if bytes.first() == Some(&SEQUENCE) {
        return Ok(vec![CertificateRevocationListDer::from(bytes.to_vec())]);
    }
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(bytes).collect();
    let lists = lists.map_err(|_| CertificateFault::BadPem)?;
    if lists.is_empty() { Err(CertificateFault::NoList) } else { Ok(lists) }
}

#[cfg(test)]
#[path = "client_auth_tests.rs"]
mod tests;

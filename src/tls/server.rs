//! The TLS settings of one listener: versions, ALPN, certificates, client certificates, tickets.
//!
//! rustls' defaults are kept where they are the safe ones: AEAD suites only, no renegotiation,
//! `max_early_data_size` 0 (H23: 0-RTT bytes can be replayed). What was read from files is read
//! again when they change ([`ServerTls::renew`]), and swapped for handshakes to come as a whole.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};

use super::certificate::{Certificate, CertificateError, CertificateFault, Certificates};
use super::client_auth::{ClientAuth, ClientFiles};
use super::tickets::Tickets;
use crate::clock::UnixTime;

/// The oldest version that a listener speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2 and 1.3, the default.
    #[default]
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}

/// A protocol that a listener offers by ALPN (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// `h2`
    H2,
    /// `http/1.1`
    Http1,
}

impl Alpn {
    /// The protocol's id on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::H2 => "h2",
            Self::Http1 => "http/1.1",
        }
    }
}

/// What a listener offers, whatever its files hold.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The oldest version.
    pub min_version: MinVersion,
    /// In the order of our preference.
    pub protocols: Vec<Alpn>,
    /// Whose keys sessions are resumed with.
    pub tickets: Arc<Tickets>,
}

/// Where the certificates of a listener are read from, in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Chain and key, each.
    pub pairs: Vec<(PathBuf, PathBuf)>,
    /// Whose certificates clients may show.
    pub clients: Option<ClientFiles>,
}

/// What a listener needs for its handshakes; clones share it.
#[derive(Clone, Debug)]
pub struct ServerTls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    offer: Offer,
    files: Files,
    current: ArcSwap<Current>,
    /// What was wrong with each of the files when it was read last: told once.
    known_faults: Mutex<Vec<Option<String>>>,
}

/// What holds for a handshake that begins now.
#[derive(Debug)]
pub struct Current {
    /// What rustls takes.
    pub config: Arc<ServerConfig>,
    /// The certificates behind it.
    pub certificates: Arc<Certificates>,
    /// What is demanded of clients; `None`: nothing.
    pub client_auth: Option<Arc<ClientAuth>>,
}

/// What came of a file that has changed.
#[derive(Debug)]
pub enum Renewal {
    /// Another certificate is served.
    Certificate(Arc<Certificate>),
    /// Other clients are believed.
    ClientAuth,
    /// It can't be used; what was read before stays.
    Failed(CertificateError),
}

impl ServerTls {
    /// Settings with what was read from `files`.
    ///
    /// # Errors
    /// If the provider has no suite for the versions asked for, or the system no random bytes.
    pub fn new(
        offer: Offer,
        files: Files,
        certificates: Arc<Certificates>,
        client_auth: Option<Arc<ClientAuth>>,
    ) -> Result<Self, rustls::Error> {
        let current = Current::new(&offer, certificates, client_auth)?;
        Ok(Self(Arc::new(Shared {
            offer,
            files,
            current: ArcSwap::from_pointee(current),
            known_faults: Mutex::default(),
        })))
    }

    /// What holds now.
    pub fn current(&self) -> Arc<Current> {
        self.0.current.load_full()
    }

    /// What is demanded of clients now.
    pub fn client_auth(&self) -> Option<Arc<ClientAuth>> {
        self.0.current.load().client_auth.clone()
    }

    /// Every file that it was read from.
    pub fn files(&self) -> Vec<PathBuf> {
        let Files { pairs, clients } = &self.0.files;
        let pairs = pairs.iter().flat_map(|(cert, key)| [cert.clone(), key.clone()]);
        let clients = clients.iter();
        let clients = clients.flat_map(|files| std::iter::once(&files.ca).chain(&files.crls));
        pairs.chain(clients.cloned()).collect()
    }

    /// Reads all files again and swaps what has changed; a pair or list that can't be used leaves
    /// its last good one in force. Blocks. To be called by one thread at a time.
    ///
    /// # Errors
    /// What was read can't be put in force; nothing has changed.
    pub fn renew(&self, now: UnixTime) -> Result<Vec<Renewal>, rustls::Error> {
        let Shared { offer, files, current, known_faults } = &*self.0;
        let before = current.load_full();
        let mut faults = known_faults.lock();
        faults.resize(files.pairs.len() + 1, None);
        let mut renewals = Vec::new();
        let mut entries: Vec<_> = before.certificates.iter().cloned().collect();
        let places = entries.iter_mut().zip(&files.pairs).zip(faults.iter_mut());
        for ((entry, (cert, key)), fault) in places {
            let read = Certificate::load(cert, key).and_then(|read| newer(read, entry, now));
            if let Some(new) = told_once(read, fault, &mut renewals)
                && !new.is_same(entry)
            {
                *entry = Arc::new(new);
                renewals.push(Renewal::Certificate(Arc::clone(entry)));
            }
        }
        let mut client_auth = before.client_auth.clone();
        if let (Some(files), Some(fault)) = (&files.clients, faults.last_mut())
            && let Some(new) = told_once(ClientAuth::load(files), fault, &mut renewals)
            && client_auth.as_ref().is_none_or(|old| old.id() != new.id())
        {
            client_auth = Some(Arc::new(new));
            renewals.push(Renewal::ClientAuth);
        }
        if renewals.iter().any(|one| !matches!(one, Renewal::Failed(_))) {
            let certificates = Certificates::new(entries, before.certificates.unknown());
            let next = Current::new(offer, Arc::new(certificates), client_auth)?;
            current.store(Arc::new(next));
        }
        Ok(renewals)
    }
}

impl Current {
    fn new(
        offer: &Offer,
        certificates: Arc<Certificates>,
        client_auth: Option<Arc<ClientAuth>>,
    ) -> Result<Self, rustls::Error> {
        let versions: &[&rustls::SupportedProtocolVersion] = match offer.min_version {
            MinVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            MinVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = match &client_auth {
            Some(policy) => policy.verifier(),
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&certificates) as _);
        let protocols = offer.protocols.iter();
        config.alpn_protocols =
            protocols.map(|protocol| protocol.as_str().as_bytes().to_vec()).collect();
        // Tickets need no memory of ours; rustls' default store holds 256 sessions behind a lock
        // and is lost with every reload.
        config.ticketer = offer.tickets.of(client_auth.as_ref().map(|policy| policy.id()))?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { config: Arc::new(config), certificates, client_auth })
    }
}

/// Refuses a certificate that is over already, where the one before is not.
fn newer(
    read: Certificate,
    before: &Certificate,
    now: UnixTime,
) -> Result<Certificate, CertificateError> {
    if read.not_after() <= now && before.not_after() > now {
        let path = PathBuf::from(read.name());
        return Err(CertificateError { path, fault: CertificateFault::Expired });
    }
    Ok(read)
}

fn told_once<T>(
    read: Result<T, CertificateError>,
    known: &mut Option<String>,
    renewals: &mut Vec<Renewal>,
) -> Option<T> {
    match read {
        Ok(read) => {
            *known = None;
            Some(read)
        }
        Err(error) => {
            let said = error.to_string();
            if known.as_ref() != Some(&said) {
                *known = Some(said);
                renewals.push(Renewal::Failed(error));
            }
            None
        }
    }
}

/// Options that suit a test: every version, nothing of files.
#[cfg(test)]
impl ServerTls {
    pub(crate) fn of_memory(
        certificates: Arc<Certificates>,
        protocols: &[Alpn],
        client_auth: Option<Arc<ClientAuth>>,
        tickets: &Arc<Tickets>,
    ) -> Self {
        let offer = Offer {
            min_version: MinVersion::Tls12,
            protocols: protocols.to_vec(),
            tickets: Arc::clone(tickets),
        };
        Self::new(offer, Files::default(), certificates, client_auth).unwrap()
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;

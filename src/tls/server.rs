//! The TLS settings of one listener: versions, ALPN, certificates, tickets.
//!
//! rustls' defaults are kept where they are the safe ones: AEAD suites only, no renegotiation,
//! `max_early_data_size` 0 (H23: 0-RTT bytes can be replayed).

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;

use super::certificate::Certificates;
use super::tickets::Tickets;

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

/// What a listener needs for its handshakes; cheap to clone.
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
}

impl ServerTls {
    /// Settings that offer `protocols` in this order of preference.
    ///
    /// # Errors
    /// If the provider has no suite for the versions asked for.
    pub fn new(
        certificates: Arc<Certificates>,
        min_version: MinVersion,
        protocols: &[Alpn],
        tickets: &Tickets,
    ) -> Result<Self, rustls::Error> {
        let versions: &[&rustls::SupportedProtocolVersion] = match min_version {
            MinVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            MinVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificates) as _);
        config.alpn_protocols =
            protocols.iter().map(|protocol| protocol.as_str().as_bytes().to_vec()).collect();
        // Tickets need no memory of ours; rustls' default store holds 256 sessions behind a lock
        // and is lost with every reload.
        config.ticketer = tickets.producer();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { config: Arc::new(config), certificates })
    }

    /// What rustls takes.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// The certificates behind it.
    pub fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }
}

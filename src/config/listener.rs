//! `[listener.NAME]`: where clients connect.

use std::path::PathBuf;

use super::{Address, PeerNetwork, Spanned};

table! {
    /// Where clients connect. The name stands in logs and metrics.
    pub struct Listener [name] {
        /// `host:port`, `:port` (IPv6 and IPv4; IPv4 alone where there is no IPv6) or
        /// `unix:/path/of.sock`.
        address: Spanned<Address>, required;
        /// What redirects, X-Forwarded-Port and metadata URLs say.
        public_port: Option<u16>, optional("the port of `address`"), limits(1, 65535);
        /// Networks, or `"unix"` for the processes behind a unix socket, whose connections begin
        /// with a PROXY protocol header (version 1 or 2) that names the client; without one they
        /// are closed. Elsewhere nobody is believed to be somebody else.
        proxy_protocol: Vec<Spanned<PeerNetwork>>, default([]);
        /// What is spoken here, chosen by ALPN. Without TLS only `http/1.1`.
        protocols: Option<Spanned<Vec<Protocol>>>, optional("h2 and http/1.1 with TLS, http/1.1 without");
        /// Certificates. Without this table the listener speaks plain HTTP.
        tls: Option<ListenerTls>, optional("plain HTTP");
        /// The listener to send clients to (308; GET and HEAD 301), for hosts that its
        /// certificates cover. Routes that name this listener win.
        redirect_to: Option<Spanned<String>>, optional("no redirect");
    }
}

table! {
    /// TLS of one listener.
    pub struct ListenerTls {
        /// Chosen by SNI: exact name, then one-label wildcard. Several keys for one name are fine.
        certificates: Vec<CertificatePair>, required;
        /// What a client gets that asks for a name no certificate covers. Without SNI: the first.
        unknown_name: UnknownName, default("reject");
        /// The oldest version of TLS that is spoken.
        min_version: TlsVersion, default("1.2");
        /// Which certificates clients show.
        client_auth: Option<ClientAuth>, optional("clients are asked for none");
    }
}

table! {
    /// Certificates of clients (mutual TLS). Its files are followed: a changed one is read again
    /// by itself, and counts for connections that are open, too.
    pub struct ClientAuth {
        /// Whether a client must have one.
        mode: Option<Spanned<ClientAuthMode>>, optional("off");
        /// PEM file: the roots that sign clients, and no others.
        ca: Option<Spanned<PathBuf>>, optional("required, unless `mode` is off");
        /// PEM or DER files: what those roots, and the authorities below them, have revoked. With
        /// any, each of these needs one that is not overdue.
        crl: Vec<Spanned<PathBuf>>, default([]);
    }
}

table! {
    /// One certificate.
    pub struct CertificatePair {
        /// PEM file: the certificate, then its intermediates.
        cert: Spanned<PathBuf>, required;
        /// PEM file: the private key.
        key: Spanned<PathBuf>, required;
    }
}

words! {
    /// Whether a client must show a certificate.
    pub enum ClientAuthMode {
        /// Without a good one there is no connection.
        Require = "require",
        /// One that is shown must be good.
        Request = "request",
        /// Nobody is asked.
        Off = "off",
    }
}

words! {
    /// A version of HTTP.
    pub enum Protocol {
        /// HTTP/1.1 and 1.0.
        Http1 = "http/1.1",
        /// HTTP/2 over TLS.
        H2 = "h2",
    }
}

words! {
    /// What a client gets that asks for a name no certificate covers.
    pub enum UnknownName {
        /// A TLS alert.
        Reject = "reject",
        /// The first certificate.
        First = "first",
    }
}

words! {
    /// A version of TLS.
    pub enum TlsVersion {
        /// TLS 1.2.
        V1_2 = "1.2",
        /// TLS 1.3.
        V1_3 = "1.3",
    }
}

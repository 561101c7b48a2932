//! Names, protocols, tickets and handshakes that fail.

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::tls::certificate::{Certificate, Certificates, UnknownName};
use crate::tls::server::Alpn;
use crate::tls::tickets::Tickets;

/// Two certificates of one key each, and the roots that trust them.
pub(super) struct Names {
    pems: Vec<(String, String)>,
    roots: RootCertStore,
}

impl Names {
    pub(super) fn new(sets: &[&[&str]]) -> Self {
        let (mut pems, mut roots) = (Vec::new(), RootCertStore::empty());
        for names in sets {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let made = rcgen::generate_simple_self_signed(names).unwrap();
            roots.add(made.cert.der().clone()).unwrap();
            pems.push((made.cert.pem(), made.signing_key.serialize_pem()));
        }
        Self { pems, roots }
    }

    pub(super) fn server(&self, protocols: &[Alpn], tickets: &Arc<Tickets>) -> ServerTls {
        let certificates = self.pems.iter().map(|(cert, key)| {
            Arc::new(Certificate::from_pem("test", cert.as_bytes(), key.as_bytes()).unwrap())
        });
        let set = Arc::new(Certificates::new(certificates.collect(), UnknownName::Reject));
        ServerTls::of_memory(set, protocols, None, tickets)
    }

    pub(super) fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        self.client_of(protocols, &[&rustls::version::TLS13, &rustls::version::TLS12])
    }

    fn client_of(
        &self,
        protocols: &[&str],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

pub(super) fn gate(names: &Names, settings: Settings) -> Gate {
    let tls = names.server(&[Alpn::H2, Alpn::Http1], &Arc::new(Tickets::new().unwrap()));
    Gate::start(Options { tls: Some(tls), settings, ..Options::default() })
}

pub(super) async fn hello(
    gate: &Gate,
    config: &Arc<ClientConfig>,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    soon(TlsConnector::from(Arc::clone(config)).connect(name, gate.connect().await)).await
}

fn served(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn the_name_chooses_the_certificate() {
    let names = Names::new(&[&["example.com"], &["*.example.com"], &["127.0.0.1"]]);
    let gate = gate(&names, Settings::default());
    let client = names.client(&["http/1.1"]);
    let own = hello(&gate, &client, "example.com").await.unwrap();
    let star = hello(&gate, &client, "any.example.com").await.unwrap();
    assert_ne!(served(&own), served(&star));
    let mut own = own;
    send(&mut own, get("/info")).await;
    let expected = "0 Some(\"127.0.0.1\") Http1 Some((\"1.3\", Some(\"example.com\")))";
    read_until(&mut own, expected).await;
    for unknown in ["a.b.example.com", "evil.org"] {
        let error = hello(&gate, &client, unknown).await.unwrap_err();
        assert!(error.to_string().contains("UnrecognisedName"), "{error}");
    }
    // No server name is sent for an address: the first certificate, which does not cover it.
    let error = hello(&gate, &client, "127.0.0.1").await.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn alpn_chooses_the_protocol() {
    let names = Names::new(&[&["example.com"]]);
    let gate = gate(&names, Settings::default());
    for (offered, agreed) in
        [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)]
    {
        let stream = hello(&gate, &names.client(offered), "example.com").await.unwrap();
        let alpn = stream.get_ref().1.alpn_protocol();
        assert_eq!(alpn, agreed.map(str::as_bytes));
    }
    let error = hello(&gate, &names.client(&["spdy/3"]), "example.com").await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    let old = names.client_of(&["http/1.1"], &[&rustls::version::TLS12]);
    let mut stream = hello(&gate, &old, "example.com").await.unwrap();
    assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    send(&mut stream, get("/info")).await;
    read_until(&mut stream, "Some((\"1.2\", Some(\"example.com\")))").await;
}

#[tokio::test]
async fn tickets_outlive_a_change_of_configuration() {
    let names = Names::new(&[&["example.com"]]);
    let tickets = Arc::new(Tickets::new().unwrap());
    let tls = names.server(&[Alpn::Http1], &tickets);
    let gate = Gate::start(Options { tls: Some(tls), ..Options::default() });
    let both: [&'static rustls::SupportedProtocolVersion; 2] =
        [&rustls::version::TLS13, &rustls::version::TLS12];
    for version in both {
        let client = names.client_of(&["http/1.1"], &[version]);
        let kind = async || {
            let mut stream = hello(&gate, &client, "example.com").await.unwrap();
            send(&mut stream, get("/x")).await;
            read_until(&mut stream, "asked for /x").await;
            stream.get_ref().1.handshake_kind()
        };
        assert_ne!(kind().await, Some(HandshakeKind::Resumed));
        let tls = Some(names.server(&[Alpn::Http1], &tickets));
        gate.acceptor.update(ListenerState { tls, ..gate.state.clone() });
        assert_eq!(kind().await, Some(HandshakeKind::Resumed), "{version:?}");
        let tls = Some(names.server(&[Alpn::Http1], &Arc::new(Tickets::new().unwrap())));
        gate.acceptor.update(ListenerState { tls, ..gate.state.clone() });
        assert_ne!(kind().await, Some(HandshakeKind::Resumed), "other keys, {version:?}");
        gate.acceptor.update(gate.state.clone());
    }
}

#[tokio::test]
async fn a_stalled_handshake_and_plain_text_are_closed() {
    let names = Names::new(&[&["example.com"]]);
    let settings = Settings { handshake_timeout: millis(300), ..Settings::default() };
    let gate = gate(&names, settings);
    let mut silent = gate.connect().await;
    let mut half = gate.connect().await;
    send(&mut half, [22, 3, 1]).await;
    assert_eq!(read_all(&mut silent).await, "");
    assert_eq!(read_all(&mut half).await, "");
    let mut plain = gate.connect().await;
    send(&mut plain, get("/")).await;
    let answer = read_all(&mut plain).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nPlainText"), "{answer}");
    let mut garbage = gate.connect().await;
    send(&mut garbage, [0_u8; 16]).await;
    let mut alert = Vec::new();
    let _reset_or_end = soon(garbage.read_to_end(&mut alert)).await;
    assert!(!alert.starts_with(b"HTTP"), "{alert:?}");
    gate.until(|gate| gate.connections.open() == 0).await;
}

#[tokio::test]
async fn parking_works_under_tls() {
    let names = Names::new(&[&["example.com"]]);
    let gate = gate(&names, Settings::default());
    let mut client = hello(&gate, &names.client(&[]), "example.com").await.unwrap();
    for turn in 0..2 {
        send(&mut client, get(&format!("/{turn}"))).await;
        read_until(&mut client, &format!("asked for /{turn}")).await;
        gate.until(|gate| gate.connections.parked() == 1).await;
    }
    gate.acceptor.join();
    // A clean close: no truncation error.
    assert_eq!(read_all(&mut client).await, "");
}

#[test]
fn a_connection_covers_what_its_certificate_does() {
    let names = Names::new(&[&["example.com", "www.example.com"], &["other.org"]]);
    let tls = names.server(&[Alpn::Http1], &Arc::new(Tickets::new().unwrap()));
    let certificates = Arc::clone(&tls.current().certificates);
    let info = |sni: Option<&str>| {
        TlsInfo::new("1.3", sni.map(Box::from), None, Arc::clone(&certificates))
    };
    assert!(info(Some("example.com")).covers("www.example.com"));
    assert!(!info(Some("example.com")).covers("other.org"));
    assert!(info(Some("unknown.org")).covers("unknown.org"), "unknown_name = first");
    assert!(info(None).covers("anything"));
}

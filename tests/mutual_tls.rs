//! H23 and the rest of what TLS decides: certificates of clients, sessions that are resumed, files
//! that change while the gateway runs.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};
use serde_json::Value;

use crate::support::authority::{Authority, Signed};
use crate::support::certificate::Certificate;
use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;
use crate::support::{HUNG, eventually};

/// A gateway that speaks TLS on `main`, with `client_auth` as given.
struct Site {
    gateway: Gateway,
    upstream: Upstream,
    certificate: Certificate,
    ours: Authority,
}

fn text(upstream: &Upstream, client_auth: &str) -> String {
    format!(
        r#"
        [listener.main]
        address = "127.0.0.1:0"
        [listener.main.tls]
        certificates = [{{ cert = "server.crt", key = "server.key" }}]
        {client_auth}
        [[route]]
        path = "/*"
        upstream = "{}"
        public = true
        [server]
        workers = 2
        "#,
        upstream.url(),
    )
}

const REQUIRE: &str = r#"client_auth = { mode = "require", ca = "ca.pem", crl = ["list.pem"] }"#;
const REQUEST: &str = r#"client_auth = { mode = "request", ca = "ca.pem" }"#;

impl Site {
    fn start(client_auth: &str) -> Self {
        let setup = Setup::new();
        let certificate = Certificate::make(setup.folder());
        let ours = Authority::new("ours");
        fs::write(setup.folder().join("ca.pem"), &ours.pem).unwrap();
        fs::write(setup.folder().join("list.pem"), ours.revoke(&[], 2090)).unwrap();
        let upstream = Upstream::saying("reached");
        let gateway = setup.start(&text(&upstream, client_auth));
        Self { gateway, upstream, certificate, ours }
    }

    fn address(&self) -> SocketAddr {
        self.gateway.address("main")
    }

    fn config(&self, signed: Option<&Signed>) -> Arc<ClientConfig> {
        self.config_of(signed, &[&rustls::version::TLS13, &rustls::version::TLS12])
    }

    fn config_of(
        &self,
        signed: Option<&Signed>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.certificate.roots());
        Arc::new(match signed {
            None => builder.with_no_client_auth(),
            Some(signed) => {
                let chain = vec![CertificateDer::from_pem_slice(signed.cert.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(signed.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        })
    }

    fn replace(&self, name: &str, text: &str) {
        // As tools do it: written beside, then renamed over.
        let folder = self.gateway.folder();
        fs::write(folder.join("new"), text).unwrap();
        fs::rename(folder.join("new"), folder.join(name)).unwrap();
    }
}

/// One request on a connection of its own: whether the session was resumed, and the status line.
fn ask(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<(bool, String)> {
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(HUNG))?;
    let mut stream = StreamOwned::new(session, stream);
    stream.write_all(b"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let resumed = stream.conn.handshake_kind() == Some(HandshakeKind::Resumed);
    let line = answer.split(|byte| *byte == b'\r').next().unwrap();
    Ok((resumed, String::from_utf8_lossy(line).into_owned()))
}

#[test]
fn without_a_good_certificate_there_is_no_connection() {
    let site = Site::start(REQUIRE);
    let good = site.ours.client("good", 1);
    let over = site.ours.client_until("over", 2, 2022);
    let stranger = Authority::new("ours").client("stranger", 1);
    assert_eq!(ask(site.address(), &site.config(Some(&good))).unwrap().1, "HTTP/1.1 200 OK");
    for bad in [None, Some(&over), Some(&stranger)] {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let error = ask(site.address(), &site.config_of(bad, &[version])).unwrap_err();
            assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
        }
    }
    assert_eq!(site.upstream.count(), 1);
    let failed = r#"portcullis_tls_handshakes_total{listener="main",result="failed",version="-"}"#;
    eventually("counted", || (site.gateway.metric(failed) >= 6.0).then_some(()));
}

#[test]
fn an_application_is_told_of_the_certificate_by_us_alone() {
    let site = Site::start(REQUEST);
    let good = site.ours.client("alice", 1);
    let forged = "X-Client-Cert-Subject: CN=root\r\nx_client_cert_san: DNS:root\r\n\
                  X-Client-Cert: x\r\nX-CLIENT-CERT-VERIFIED: SUCCESS\r\n\
                  X-Client.Cert-Fingerprint: 0\r\nConnection: X-Client-Cert-Subject\r\n";
    Client::tls(site.address(), &site.config(Some(&good))).get("/x", forged).expect(200);
    Client::tls(site.address(), &site.config(None)).get("/x", forged).expect(200);
    let [shown, none] = &site.upstream.received()[..] else { panic!() };
    assert_eq!(shown.headers("x-client-cert-subject"), ["O=Acme\\, \\\"Inc\\\",CN=alice"]);
    assert_eq!(
        shown.headers("x-client-cert-san"),
        ["DNS:alice.clients.test,URI:spiffe://test/alice%2Cx"]
    );
    assert_eq!(shown.headers("x-client-cert-fingerprint")[0].len(), 64);
    let about = |head: &str| {
        let folded = head.to_ascii_lowercase().replace(['_', '.'], "-");
        folded.matches("x-client-cert").count()
    };
    assert_eq!(about(&shown.head), 3, "{}", shown.head);
    assert_eq!(about(&none.head), 0, "{}", none.head);
}

#[test]
fn h23_a_revoked_certificate_ends_open_connections_and_sessions() {
    let site = Site::start(REQUIRE);
    let (good, lost) = (site.ours.client("good", 1), site.ours.client("lost", 2));
    let (of_good, of_lost) = (site.config(Some(&good)), site.config(Some(&lost)));
    for config in [&of_good, &of_lost] {
        assert!(!ask(site.address(), config).unwrap().0);
        assert!(ask(site.address(), config).unwrap().0, "a session is resumed");
    }
    let mut open = Client::tls(site.address(), &site.config(Some(&lost)));
    open.get("/before", "").expect(200);
    let mut other = Client::tls(site.address(), &site.config(Some(&good)));
    other.get("/before", "").expect(200);
    site.replace("list.pem", &site.ours.revoke(&[&lost], 2090));
    // No reload: the file is followed.
    let refused = eventually("the list is in force", || {
        let response = open.get("/after", "");
        (response.status == 403).then_some(response)
    });
    assert_eq!(refused.json()["code"], "forbidden");
    assert!(refused.closes);
    assert!(ask(site.address(), &of_lost).is_err(), "no resumption past the list");
    other.get("/after", "").expect(200);
    assert!(!ask(site.address(), &of_good).unwrap().0, "other lists, other tickets");
    assert!(ask(site.address(), &of_good).unwrap().0);
    let record = eventually("its record", || {
        let records = site.gateway.records_of("/after", 1);
        records.into_iter().find(|record| record["status"] == 403)
    });
    assert_eq!(record["detail"], "client_certificate");
}

#[test]
fn h23_a_ticket_of_one_policy_opens_no_other() {
    let site = Site::start(REQUEST);
    // A session without any certificate, of the listener as it was.
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let anonymous = site.config_of(None, &[version]);
        assert!(!ask(site.address(), &anonymous).unwrap().0);
        assert!(ask(site.address(), &anonymous).unwrap().0);
        let mut open = Client::tls(site.address(), &anonymous);
        open.get("/before", "").expect(200);
        site.gateway.reload(&text(&site.upstream, REQUIRE)).unwrap();
        assert!(ask(site.address(), &anonymous).is_err(), "{version:?}");
        // Nor does a connection that is older than the policy.
        open.get("/after", "").expect(403);
        site.gateway.reload(&text(&site.upstream, REQUEST)).unwrap();
    }
}

#[test]
fn sessions_are_resumed_over_reloads_and_by_every_worker() {
    let site = Site::start("");
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let config = site.config_of(None, &[version]);
        let mut resumed = 0;
        assert!(!ask(site.address(), &config).unwrap().0);
        for turn in 0..20 {
            if turn % 5 == 0 {
                let change = format!("max_headers.count = {}\n", 80 + turn);
                site.gateway.reload(&(text(&site.upstream, "") + &change)).unwrap();
            }
            // Held open, so that the next one goes to the other worker.
            let _held = TcpStream::connect(site.address()).unwrap();
            resumed += u32::from(ask(site.address(), &config).unwrap().0);
        }
        assert_eq!(resumed, 20, "{version:?}");
    }
}

/// The days that a certificate made by [`renewed`] ends, as `/metrics` tells it.
fn not_after(gateway: &Gateway, folder: &Path) -> f64 {
    let name = folder.join("server.crt").display().to_string();
    gateway.metric(&format!(
        "portcullis_tls_certificate_not_after_timestamp_seconds{{name=\"{name}\"}}"
    ))
}

fn renewed(year: i32) -> (String, String) {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[test]
fn a_changed_certificate_is_picked_up_and_a_bad_one_is_not() {
    let site = Site::start("");
    let before = not_after(&site.gateway, site.gateway.folder());
    let mut open = Client::tls(site.address(), &site.config(None));
    open.get("/x", "").expect(200);
    let (cert, key) = renewed(2088);
    site.replace("server.crt", &cert);
    let failures = "portcullis_tls_certificate_reload_failures_total";
    eventually("the mismatch is counted", || (site.gateway.metric(failures) >= 1.0).then_some(()));
    assert!(ask(site.address(), &site.config(None)).is_ok(), "the last good pair stays");
    assert_eq!(not_after(&site.gateway, site.gateway.folder()), before);
    site.replace("server.key", &key);
    eventually("the new pair is served", || {
        (not_after(&site.gateway, site.gateway.folder()) == 3_723_753_600.0).then_some(())
    });
    assert!(ask(site.address(), &site.config(None)).is_err(), "another certificate");
    // Who was connected is not disturbed.
    open.get("/x", "").expect(200);
    assert_eq!(site.gateway.metric(failures), 1.0);
}

#[test]
fn links_that_are_swapped_on_the_way_are_followed() {
    let setup = Setup::new();
    let folder = setup.folder().to_owned();
    // As Kubernetes mounts secrets: `server.crt -> ..data/server.crt`, `..data -> version`.
    let version = |name: &str, year| {
        let (cert, key) = renewed(year);
        fs::create_dir(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("server.crt"), cert).unwrap();
        fs::write(folder.join(name).join("server.key"), key).unwrap();
        symlink(name, folder.join("..next")).unwrap();
        fs::rename(folder.join("..next"), folder.join("..data")).unwrap();
    };
    version("..one", 2087);
    symlink("..data/server.crt", folder.join("server.crt")).unwrap();
    symlink("..data/server.key", folder.join("server.key")).unwrap();
    let upstream = Upstream::saying("reached");
    let gateway = setup.start(&text(&upstream, ""));
    assert_eq!(not_after(&gateway, &folder), 3_692_217_600.0);
    version("..two", 2088);
    eventually("the swap is seen", || {
        (not_after(&gateway, &folder) == 3_723_753_600.0).then_some(())
    });
    assert_eq!(gateway.metric("portcullis_tls_certificate_reload_failures_total"), 0.0);
}

#[test]
fn a_client_that_forgets_tls_is_told_so() {
    let site = Site::start("");
    let mut client = Client::tcp(site.address());
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let response = client.response().expect(400);
    assert!(response.closes);
    let body: Value = response.json();
    assert_eq!(body["code"], "bad_request");
    assert_eq!(body["detail"], "This port speaks TLS: ask it by an https:// URL.");
    let record = site.gateway.records(1).remove(0);
    assert_eq!(record["request_id"], body["request_id"]);
    assert_eq!((&record["detail"], &record["route"]), (&"plain_text".into(), &"-".into()));
    assert_eq!(site.upstream.count(), 0);
}

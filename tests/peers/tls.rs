//! TLS as other people's clients speak it: OpenSSL's, curl's, Python's; and testssl.sh's opinion.

use std::fs;
use std::path::{Path, PathBuf};

use crate::program;
use crate::support::authority::{Authority, Signed};
use crate::support::certificate::Certificate;
use crate::support::gateway::{Gateway, Setup};
use crate::support::program::{Told, told_of};
use crate::support::upstream::Upstream;

/// A gateway that requires certificates, and who has which.
struct Site {
    gateway: Gateway,
    upstream: Upstream,
    ours: Authority,
}

fn text(upstream: &Upstream, client_auth: &str, more: &str) -> String {
    format!(
        "[listener.main]\naddress = \"127.0.0.1:0\"\n[listener.main.tls]\n\
         certificates = [{{ cert = \"server.crt\", key = \"server.key\" }}]\n{client_auth}\n\
         [[route]]\npath = \"/*\"\nupstream = \"{}\"\npublic = true\n\
         [server]\nworkers = 2\n{more}",
        upstream.url(),
    )
}

const REQUIRE: &str = "client_auth = { mode = \"require\", ca = \"ca.pem\", crl = [\"list.pem\"] }";

impl Site {
    fn start(client_auth: &str) -> Self {
        let setup = Setup::new();
        Certificate::make(setup.folder());
        let (ours, other) = (Authority::new("ours"), Authority::new("other"));
        let signed: [(&str, Signed); 3] = [
            ("good", ours.client("good", 1)),
            ("revoked", ours.client("revoked", 2)),
            ("stranger", other.client("stranger", 3)),
        ];
        for (name, signed) in &signed {
            signed.write(setup.folder(), name);
        }
        fs::write(setup.folder().join("ca.pem"), &ours.pem).unwrap();
        let list = ours.revoke(&[&signed[1].1], 2090);
        fs::write(setup.folder().join("list.pem"), list).unwrap();
        let upstream = Upstream::saying("reached");
        let gateway = setup.start(&text(&upstream, client_auth, ""));
        Self { gateway, upstream, ours }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.gateway.folder().join(name)
    }

    fn port(&self) -> u16 {
        self.gateway.address("main").port()
    }

    /// What `ask` gets, who shows nothing, or one of the certificates.
    fn holds(&self, ask: impl Fn(Option<(PathBuf, PathBuf)>) -> String) {
        for (who, is_served) in [
            (None, false),
            (Some("stranger"), false),
            (Some("revoked"), false),
            (Some("good"), true),
        ] {
            let pair =
                who.map(|who| (self.file(&format!("{who}.crt")), self.file(&format!("{who}.key"))));
            let said = ask(pair);
            assert_eq!(said.contains("reached"), is_served, "{who:?}: {said}");
        }
    }
}

fn all(told: &Told) -> String {
    format!("{}{}", told.stdout, told.stderr)
}

/// One request by OpenSSL's own client.
fn openssl(folder: &Path, port: u16, arguments: &[&str]) -> String {
    let script = format!(
        "printf 'GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' | \
         timeout 20 openssl s_client -connect 127.0.0.1:{port} -servername localhost -ign_eof {} \
         2>&1",
        arguments.join(" "),
    );
    all(&told_of(program("sh", "dash").args(["-c", &script]).current_dir(folder)))
}

#[test]
fn openssl_gets_in_with_a_good_certificate_alone() {
    let site = Site::start(REQUIRE);
    for version in ["-tls1_2", "-tls1_3"] {
        site.holds(|pair| {
            let mut arguments = vec![version.to_owned()];
            if let Some((cert, key)) = pair {
                arguments.push(format!("-cert {} -key {}", cert.display(), key.display()));
            }
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            openssl(site.gateway.folder(), site.port(), &arguments)
        });
    }
    assert_eq!(site.upstream.count(), 2);
}

#[test]
fn curl_gets_in_with_a_good_certificate_alone() {
    let site = Site::start(REQUIRE);
    site.holds(|pair| {
        let mut curl = program("curl", "curl");
        curl.args(["-s", "-S", "--max-time", "20", "--cacert"]).arg(site.file("server.crt"));
        if let Some((cert, key)) = pair {
            curl.arg("--cert").arg(cert).arg("--key").arg(key);
        }
        all(&told_of(curl.arg(format!("https://localhost:{}/", site.port()))))
    });
}

#[test]
fn python_gets_in_with_a_good_certificate_alone() {
    let site = Site::start(REQUIRE);
    const SCRIPT: &str = "import ssl, sys, http.client\n\
        context = ssl.create_default_context(cafile=sys.argv[1])\n\
        if len(sys.argv) > 3: context.load_cert_chain(sys.argv[3], sys.argv[4])\n\
        asked = http.client.HTTPSConnection('localhost', int(sys.argv[2]), context=context, timeout=20)\n\
        asked.request('GET', '/')\n\
        print(asked.getresponse().read())\n";
    site.holds(|pair| {
        let mut python = program("python3", "python3");
        python.args(["-c", SCRIPT]).arg(site.file("server.crt")).arg(site.port().to_string());
        if let Some((cert, key)) = pair {
            python.arg(cert).arg(key);
        }
        all(&told_of(&mut python))
    });
}

#[test]
fn openssl_resumes_its_session_over_a_reload_and_by_every_worker() {
    let site = Site::start("");
    for version in ["-tls1_2", "-tls1_3"] {
        let session = format!("{version}.pem");
        let first = openssl(site.gateway.folder(), site.port(), &[version, "-sess_out", &session]);
        assert!(first.contains("New, TLSv1."), "{first}");
        let mut reused = 0;
        for turn in 0..6 {
            let more = format!("max_headers.count = {}\n", 80 + turn);
            site.gateway.reload(&text(&site.upstream, "", &more)).unwrap();
            let said =
                openssl(site.gateway.folder(), site.port(), &[version, "-sess_in", &session]);
            assert!(said.contains("reached"), "{said}");
            reused += usize::from(said.contains("Reused, TLSv1."));
        }
        assert_eq!(reused, 6, "{version}");
    }
}

#[test]
fn h23_openssl_opens_no_strict_listener_with_a_ticket_of_a_lax_one() {
    let site = Site::start("client_auth = { mode = \"request\", ca = \"ca.pem\" }");
    for version in ["-tls1_2", "-tls1_3"] {
        let session = format!("{version}.pem");
        let said = openssl(site.gateway.folder(), site.port(), &[version, "-sess_out", &session]);
        assert!(said.contains("reached"), "{said}");
        site.gateway.reload(&text(&site.upstream, REQUIRE, "")).unwrap();
        let said = openssl(site.gateway.folder(), site.port(), &[version, "-sess_in", &session]);
        assert!(!said.contains("reached") && !said.contains("Reused, "), "{said}");
        let lax = "client_auth = { mode = \"request\", ca = \"ca.pem\" }";
        site.gateway.reload(&text(&site.upstream, lax, "")).unwrap();
    }
    assert!(!site.ours.pem.is_empty());
}

#[test]
fn each_client_gets_the_certificate_that_it_can_verify() {
    let setup = Setup::new();
    Certificate::make(setup.folder());
    let made = told_of(program("openssl", "openssl").current_dir(setup.folder()).args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "rsa.key",
        "-out",
        "rsa.crt",
        "-days",
        "30",
        "-subj",
        "/CN=rsa",
        "-addext",
        "subjectAltName=DNS:localhost",
    ]));
    made.expect(0);
    let upstream = Upstream::saying("reached");
    let gateway = setup.start(&text(&upstream, "", "").replace(
        "certificates = [",
        "certificates = [{ cert = \"rsa.crt\", key = \"rsa.key\" }, ",
    ));
    let port = gateway.address("main").port();
    let ask = |schemes: &str| openssl(gateway.folder(), port, &["-tls1_2", "-sigalgs", schemes]);
    for (schemes, kind) in
        [("ECDSA+SHA256:RSA+SHA256:RSA-PSS+SHA256", "ECDSA"), ("RSA+SHA256:RSA-PSS+SHA256", "RSA")]
    {
        let said = ask(schemes);
        assert!(said.contains(&format!("Peer signature type: {kind}")), "{kind}: {said}");
        assert!(said.contains("reached"), "{said}");
    }
}

/// What an outside scanner finds at least of medium severity that has no reason.
#[test]
fn h23_testssl_finds_no_weakness() {
    let site = Site::start("");
    let report = site.file("report.json");
    let address = format!("localhost:{}", site.port());
    told_of(
        program("testssl", "testssl.sh")
            .args([
                "--quiet",
                "--color",
                "0",
                "--warnings",
                "off",
                "--ip",
                "127.0.0.1",
                "--protocols",
                "--server-defaults",
                "--server-preference",
                "--vulnerable",
                "--jsonfile",
            ])
            .arg(&report)
            .arg(&address),
    );
    let found: Vec<serde_json::Value> =
        serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    assert!(found.len() > 30, "testssl.sh looked at nothing: {found:?}");
    let grave = found.iter().filter(|one| {
        matches!(one["severity"].as_str(), Some("MEDIUM" | "HIGH" | "CRITICAL" | "FATAL"))
    });
    let unjustified: Vec<_> = grave
        .filter(|one| {
            let id = one["id"].as_str().unwrap_or_default();
            // The certificate of a test: nobody's authority, no name but `localhost`, and for ever.
            // And clients choose the suite: every one of ours has forward secrecy and an AEAD, and
            // a phone without AES in hardware knows best.
            !(id.starts_with("cert_") || id.starts_with("DNS_") || id == "cipher_order")
        })
        .collect();
    assert!(unjustified.is_empty(), "{unjustified:#?}");
}

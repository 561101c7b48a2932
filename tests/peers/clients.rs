//! curl, nghttp, h2load and httpx: each fetches, posts and streams.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::program;
use crate::support::certificate::Certificate;
use crate::support::gateway::{Gateway, Setup};
use crate::support::program::told_of;
use crate::support::stack::{environment, run};
use crate::support::upstream::{Received, Then, Upstream};

struct Place {
    gateway: Gateway,
    certificate: Certificate,
    _upstream: Upstream,
}

/// Tells the length of what it got; streams where it is asked to.
fn answer(request: &Received, stream: &mut std::net::TcpStream) -> std::io::Result<Then> {
    if request.target() != "/stream" {
        // As framed: without a chunk's lines, the tests' bodies are of one letter.
        let length = request.body.iter().filter(|byte| **byte == b'x').count();
        let body = format!("{length} bytes\n");
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        return Ok(Then::Keep);
    }
    write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    for number in 0..1000 {
        let line = format!("{number}\n");
        write!(stream, "{:x}\r\n{line}\r\n", line.len())?;
    }
    write!(stream, "0\r\n\r\n")?;
    Ok(Then::Keep)
}

impl Place {
    fn start() -> Self {
        let upstream = Upstream::start(answer);
        let setup = Setup::new();
        let certificate = Certificate::make(setup.folder());
        let gateway = setup.start(&format!(
            "[listener.main]\naddress = \"127.0.0.1:0\"\n\
             [listener.main.tls]\ncertificates = [{{ cert = \"server.crt\", key = \"server.key\" }}]\n\
             [[route]]\npath = \"/*\"\nupstream = \"{}\"\npublic = true\n",
            upstream.url()
        ));
        Self { gateway, certificate, _upstream: upstream }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.gateway.address("main").port())
    }

    /// A file with a body of so many letters.
    fn file(&self, length: usize) -> std::path::PathBuf {
        let path = self.gateway.folder().join(format!("body-{length}"));
        std::fs::write(&path, vec![b'x'; length]).unwrap();
        path
    }
}

fn lines() -> String {
    (0..1000).map(|number| format!("{number}\n")).collect()
}

#[test]
fn curl_fetches_posts_and_streams_over_both_versions() {
    let place = Place::start();
    let file = place.file(2_000_000);
    for (version, number) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let curl = |path: &str, more: &[&str]| {
            let mut command = program("curl", "curl");
            command.args(["-sS", "--fail", version, "-w", "%{http_version}", "--cacert"]);
            command.arg(&place.certificate.cert).args(more).arg(place.url(path));
            let said = told_of(&mut command).expect(0).stdout;
            said.strip_suffix(number).unwrap_or_else(|| panic!("{version}: {said}")).to_owned()
        };
        assert_eq!(curl("/x", &[]), "0 bytes\n");
        assert_eq!(curl("/stream", &["-N"]), lines());
        let data = format!("@{}", file.display());
        assert_eq!(curl("/x", &["--data-binary", &data]), "2000000 bytes\n");
        // Of unknown length.
        let upload = ["-X", "POST", "-H", "Transfer-Encoding: chunked", "--data-binary", &data];
        assert_eq!(curl("/x", &upload), "2000000 bytes\n");
        assert_eq!(curl("/x", &["-T", &file.display().to_string()]), "2000000 bytes\n");
    }
}

#[test]
fn nghttp_fetches_posts_and_streams() {
    let place = Place::start();
    let file = place.file(500_000);
    let nghttp = |path: &str, more: &[&str]| {
        let mut command = program("nghttp", "nghttp2-client");
        told_of(command.args(["--no-verify-peer"]).args(more).arg(place.url(path))).expect(0).stdout
    };
    assert_eq!(nghttp("/x", &[]), "0 bytes\n");
    assert_eq!(nghttp("/stream", &[]), lines());
    assert_eq!(nghttp("/x", &["-d", &file.display().to_string()]), "500000 bytes\n");
}

#[test]
fn h2load_fetches_posts_and_streams_over_both_versions() {
    const REQUESTS: usize = 200;
    let place = Place::start();
    let file = place.file(50_000).display().to_string();
    for (version, protocol) in [(&["--h1"][..], "http/1.1"), (&["-m", "8"], "h2")] {
        let h2load = |path: &str, more: &[&str], body: &str| {
            let mut command = program("h2load", "nghttp2-client");
            command.args(["-n", &REQUESTS.to_string(), "-c", "4"]).args(version).args(more);
            let said = told_of(command.arg(place.url(path))).expect(0).stdout;
            let done = format!("{REQUESTS} done, {REQUESTS} succeeded, 0 failed, 0 errored");
            let data = format!("({}) data", REQUESTS * body.len());
            let codes = format!("status codes: {REQUESTS} 2xx, 0 3xx, 0 4xx, 0 5xx");
            let agreed = format!("Application protocol: {protocol}");
            for word in [&done, &codes, &agreed, &data] {
                assert!(said.contains(word), "no {word:?}: {said}");
            }
        };
        h2load("/x", &[], "0 bytes\n");
        h2load("/x", &["-d", &file], "50000 bytes\n");
        h2load("/stream", &[], &lines());
    }
}

#[test]
fn httpx_fetches_posts_and_streams_over_both_versions() {
    let place = Place::start();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/httpx");
    let python = environment(&sources.join("requirements.txt")).join("bin/python");
    let said = run(Command::new(python)
        .arg(sources.join("client.py"))
        .arg(place.url(""))
        .arg(&place.certificate.cert));
    assert_eq!(said, "HTTP/1.1\nHTTP/2\n");
}

//! WebSocket as others speak it, over HTTP/1.1 and HTTP/2.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::npm::{node, said};
use crate::program;
use crate::support::certificate::Certificate;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::program::Running;
use crate::support::stack::run;
use crate::support::token::{Signer, claims};
use crate::support::upstream::{Then, Upstream};

const SECRET: &str = "e5Nz0qWb7hXk2uLr9sTd4vYg6mJp8cAf1oQi3xEw5zRn";
const ISSUER: &str = "https://id.example.com/";

/// An echo server of npm's ws, a gateway before it, and somebody who takes reports.
struct Place {
    gateway: Gateway,
    certificate: Certificate,
    reports: Upstream,
    _echo: Running,
}

impl Place {
    fn start(folder: &Path) -> Self {
        let mut command = node("ws-echo.mjs");
        command.stdin(Stdio::null());
        let mut echo = Running::start(folder, &mut command);
        let port = echo.until("the echo server listens", |program| {
            said(program).iter().find_map(|event| event["port"].as_u64())
        });
        let reports = Upstream::start(|_, stream| {
            use std::io::Write as _;
            write!(stream, "HTTP/1.1 204 No Content\r\n\r\n")?;
            Ok(Then::Keep)
        });
        let setup = Setup::new();
        let certificate = Certificate::make(setup.folder());
        fs::create_dir(setup.folder().join("pages")).unwrap();
        let page = PAGE.replace("TOKEN", &token());
        fs::write(setup.folder().join("pages/page.html"), page).unwrap();
        let gateway = setup.variable("KEY", SECRET).start(&format!(
            r#"
            [listener.plain]
            address = "127.0.0.1:0"
            [listener.secured]
            address = "127.0.0.1:0"
            [listener.secured.tls]
            certificates = [{{ cert = "server.crt", key = "server.key" }}]
            [issuer.main]
            url = "{ISSUER}"
            audience = ["api"]
            secret = "${{KEY}}"
            token_from = ["header:Authorization", "websocket_protocol"]
            [[route]]
            path = "/ws"
            upstream = "http://127.0.0.1:{port}"
            [[route]]
            path = "/report"
            upstream = "{}"
            public = true
            [[route]]
            path = "/pages/*"
            static = "pages"
            public = true
            "#,
            reports.url()
        ));
        Self { gateway, certificate, reports, _echo: echo }
    }

    fn address(&self, listener: &str) -> SocketAddr {
        self.gateway.address(listener)
    }

    /// The statuses and versions of the tunnels that have ended, once there are so many.
    fn tunnels(&self, count: usize) -> Vec<(u64, String)> {
        let records = self.gateway.records_of("/ws", count);
        let text = |record: &Value| record["proto"].as_str().unwrap_or_default().to_owned();
        records.iter().map(|one| (one["status"].as_u64().unwrap(), text(one))).collect()
    }
}

fn token() -> String {
    Signer::hmac(SECRET.as_bytes()).sign(&claims(ISSUER, "ada"))
}

const SAID: &str = "10000 echoed, closed with 1000";

#[test]
fn ws_echoes_ten_thousand_messages_over_http1() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::start(folder.path());
    let plain = format!("ws://{}/ws", place.address("plain"));
    let said = run(node("ws-client.mjs").args([&plain, &token()]));
    assert_eq!(said.trim(), SAID);
    let secured = format!("wss://localhost:{}/ws", place.address("secured").port());
    let mut command = node("ws-client.mjs");
    command.args([&secured, &token()]).arg(&place.certificate.cert);
    assert_eq!(run(&mut command).trim(), SAID);
    assert!(place.tunnels(2).iter().all(|(status, _)| *status == 101));
}

#[test]
fn nodes_http2_echoes_ten_thousand_messages_over_a_stream() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::start(folder.path());
    let url = format!("https://localhost:{}", place.address("secured").port());
    let mut command = node("ws-h2-client.mjs");
    command.args([&url, "/ws", &token()]).arg(&place.certificate.cert);
    assert_eq!(run(&mut command).trim(), SAID);
    assert_eq!(place.tunnels(1)[0].0, 200);
}

#[test]
fn chromium_echoes_ten_thousand_messages_over_both() {
    for (listener, scheme, status) in [("plain", "http", 101), ("secured", "https", 200)] {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::start(folder.path());
        let port = place.address(listener).port();
        let mut command = program("chromium", "chromium");
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"])
            .args(["--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"])
            .args(["--ignore-certificate-errors", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
            .arg(format!("{scheme}://localhost:{port}/pages/page.html"))
            .stdin(Stdio::null());
        let browser = Running::start(folder.path(), &mut command);
        let reports = eventually("the page's report", || {
            Some(place.reports.received()).filter(|reports| !reports.is_empty())
        });
        assert_eq!(String::from_utf8_lossy(&reports[0].body), SAID, "{listener}");
        drop(browser);
        // Over HTTP/2 a tunnel is answered with 200, on the connection that brought the page.
        assert_eq!(place.tunnels(1)[0].0, status, "{listener}");
    }
}

/// Sends up to a hundred messages ahead, and says how it went.
const PAGE: &str = r#"<!doctype html><title>echo</title><script>
const url = location.origin.replace(/^http/, "ws") + "/ws";
const socket = new WebSocket(url, ["bearer", "TOKEN"]);
const message = (number) => String(number).repeat(1 + (number % 50));
let sent = 0, came = 0, wrong = "";
const fill = () => { while (sent < 10000 && sent < came + 100) socket.send(message(sent++)); };
socket.onopen = fill;
socket.onmessage = (event) => {
  if (event.data !== message(came)) wrong += came + " ";
  came += 1;
  if (came === 10000) socket.close(1000); else fill();
};
socket.onclose = (event) => {
  fetch("/report", { method: "POST", body: wrong + came + " echoed, closed with " + event.code });
};
</script>"#;

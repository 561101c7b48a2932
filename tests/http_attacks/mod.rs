//! Attacks on HTTP, as raw bytes to a whole gateway. Each test's name begins with the row of
//! docs/http.md that it is for.

use std::net::SocketAddr;

use crate::support::Response;
use crate::support::certificate::Certificate;
use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::h2::H2;
use crate::support::token::{ISSUER, SECRET, Signer, claims};
use crate::support::upstream::{Received, Upstream};

/// Bodies within their limits, and requests that are sent once.
mod bodies;
/// Compression, and where there is none.
mod compress;
/// Folders: ranges and ways out.
mod files;
/// What floods cost.
mod floods;
/// Frames as an attacker writes them.
pub(crate) mod frames;
/// Where one message ends and the next begins.
mod framing;
/// Names, hosts, targets, and headers that only a gateway may set.
mod heads;
/// The same over HTTP/2, where another set of rules keeps requests apart.
mod http2;
/// Logs and metrics under hostile input.
mod observed;
/// One path, and where it leads.
mod paths;
/// Clients that take their time.
mod slow;
/// Answers of an application that has been taken over.
mod upstreams;

/// A gateway with an application behind it: `/open/*` is public, everything else asks for a token.
pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    pub(crate) upstream: Upstream,
    pub(crate) certificate: Certificate,
}

impl Site {
    pub(crate) fn start() -> Self {
        Self::with(Upstream::saying("reached"), "")
    }

    /// With this application, and with more configuration behind the tables that each has.
    pub(crate) fn with(upstream: Upstream, more: &str) -> Self {
        let setup = Setup::new();
        let certificate = Certificate::make(setup.folder());
        let gateway = setup.variable("KEY", SECRET).start(&configuration(&upstream.url(), more));
        Self { gateway, upstream, certificate }
    }

    /// In clear text.
    pub(crate) fn client(&self) -> Client {
        Client::tcp(self.gateway.address("plain"))
    }

    pub(crate) fn secured(&self) -> SocketAddr {
        self.gateway.address("tls")
    }

    pub(crate) fn h2(&self) -> H2 {
        H2::tls(self.secured(), &self.certificate.client("h2"))
    }

    /// Sends these bytes over a connection of their own and reads the one response.
    #[track_caller]
    pub(crate) fn ask(&self, bytes: impl AsRef<[u8]>) -> Response {
        let mut client = self.client();
        client.send(bytes);
        client.response()
    }

    /// Panics unless these bytes are refused so, and reach nobody.
    #[track_caller]
    pub(crate) fn refuses(&self, bytes: impl AsRef<[u8]>, status: u16, reason: &str) {
        let bytes = bytes.as_ref();
        let before = self.upstream.count();
        let shown = String::from_utf8_lossy(bytes).into_owned();
        let mut client = self.client();
        client.send(bytes);
        let response =
            client.try_response("GET").unwrap_or_else(|broken| panic!("{shown:?}: {broken}"));
        assert_eq!(response.status, status, "{shown:?}: {}", response.text());
        // What hyper refuses while it reads a head has no body.
        if !response.body.is_empty() {
            assert_eq!(response.json()["code"], reason, "{shown:?}");
        }
        assert_eq!(self.upstream.count(), before, "went on: {shown:?}");
    }

    /// The one request that reached the application.
    #[track_caller]
    pub(crate) fn only(&self) -> Received {
        let received = self.upstream.received();
        assert_eq!(received.len(), 1, "{received:?}");
        received[0].clone()
    }

    /// The targets that reached the application, in order.
    pub(crate) fn targets(&self) -> Vec<String> {
        self.upstream.received().iter().map(|request| request.target().to_owned()).collect()
    }
}

/// A good token for `ada`.
pub(crate) fn token() -> String {
    Signer::hmac(SECRET.as_bytes()).sign(&claims(ISSUER, "ada"))
}

/// The header line that carries [`token`].
pub(crate) fn bearer() -> String {
    format!("Authorization: Bearer {}\r\n", token())
}

/// A site's configuration; `more` comes last, and may name the upstream's URL as `APPLICATION`.
pub(crate) fn configuration(upstream: &str, more: &str) -> String {
    format!(
        r#"
        [listener.plain]
        address = "127.0.0.1:0"
        [listener.tls]
        address = "127.0.0.1:0"
        [listener.tls.tls]
        certificates = [{{ cert = "server.crt", key = "server.key" }}]
        [issuer.main]
        url = "{ISSUER}"
        audience = ["api"]
        secret = "${{KEY}}"
        algorithms = ["HS256"]
        identity_headers = {{ "X-User" = "sub" }}
        [upstream.web]
        endpoints = ["{upstream}"]
        [[route]]
        path = "/open/*"
        upstream = "web"
        public = true
        [[route]]
        path = "/*"
        upstream = "web"
        {}
        "#,
        more.replace("APPLICATION", upstream),
    )
}

/// A good request for a public path, with these lines and then this body.
pub(crate) fn open(lines: &str, body: &str) -> String {
    format!("POST /open/first HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n{body}")
}

//! WebSocket through the gateway: what passes, what is refused, and what is recorded.

mod attacks;
mod echo;
mod ends;
mod over_http2;

use std::io::{self, Read, Write};
use std::net::TcpStream;

use portcullis::clock::{Clock, UnixTime};

use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::token::{ISSUER, SECRET, Signer, claims};
use crate::support::upstream::{Received, Then, Upstream};
use crate::support::{Response, eventually};

/// What the gateways' clocks say until a test moves them.
pub(crate) const NOW: u64 = 1_900_000_000;

/// What a client has to say, but for the request line and its token.
pub(crate) const ASKS: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                               Sec-WebSocket-Version: 13\r\n\
                               Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A right answer.
pub(crate) const SWITCHES: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                                   Upgrade: websocket\r\nX-App: here\r\n\
                                   Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A gateway before an application, with a protected and some public routes.
pub(crate) struct Place {
    pub(crate) clock: Clock,
    pub(crate) gateway: Gateway,
    pub(crate) upstream: Upstream,
}

impl Place {
    /// `routes` are keys of the protected route `/api/*`.
    pub(crate) fn start(
        routes: &str,
        server: &str,
        answer: impl Fn(&Received, &mut TcpStream) -> io::Result<Then> + Send + Sync + 'static,
    ) -> Self {
        let upstream = Upstream::start(answer);
        let text = configuration(&upstream.url(), routes, server);
        Self::of(Setup::new(), upstream, &text)
    }

    pub(crate) fn of(setup: Setup, upstream: Upstream, text: &str) -> Self {
        let clock = Clock::fixed(UnixTime::from_secs(NOW));
        let gateway = setup.clock(&clock).variable("KEY", SECRET).start(text);
        Self { clock, gateway, upstream }
    }

    /// Sends a request's head and what comes after it at once.
    pub(crate) fn client(&self, line: &str, headers: &str, after: &str) -> Client {
        let mut client = Client::tcp(self.gateway.address("main"));
        client.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{after}"));
        client
    }

    /// A tunnel on the protected route.
    pub(crate) fn tunnel(&self, token: &str) -> Client {
        let mut client = self.client("GET /api/ws", &format!("{ASKS}{}", bearer(token)), "");
        is_switched(&client.head());
        client
    }
}

pub(crate) fn configuration(url: &str, routes: &str, server: &str) -> String {
    format!(
        r#"
        [listener.main]
        address = "127.0.0.1:0"
        [issuer.main]
        url = "{ISSUER}"
        audience = ["api"]
        secret = "${{KEY}}"
        leeway = "0s"
        [upstream.web]
        endpoints = ["{url}"]
        max_tunnels = 3
        [[route]]
        path = "/api/*"
        upstream = "web"
        {routes}
        [[route]]
        path = "/public/*"
        upstream = "web"
        public = true
        [[route]]
        path = "/off/*"
        upstream = "web"
        public = true
        websocket = false
        [server]
        {server}
        "#
    )
}

/// Switches, and sends back whatever comes.
pub(crate) fn echoes(_: &Received, stream: &mut TcpStream) -> io::Result<Then> {
    stream.write_all(SWITCHES.as_bytes())?;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(Then::Close),
            count => stream.write_all(&buffer[..count])?,
        }
    }
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// A token of this subject that lives for so many seconds of the gateway's clock.
pub(crate) fn token(sub: &str, seconds: u64) -> String {
    let mut claims = claims(ISSUER, sub);
    claims["iat"] = NOW.into();
    claims["exp"] = (NOW + seconds).into();
    claims["jti"] = format!("{sub}-{seconds}").into();
    Signer::hmac(SECRET.as_bytes()).sign(&claims)
}

#[track_caller]
pub(crate) fn is_switched(head: &Response) {
    assert_eq!(head.status, 101, "{head:?}");
    assert_eq!(head.header("upgrade"), Some("websocket"));
    assert_eq!(head.header("connection"), Some("upgrade"));
    assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(head.header("content-length"), None);
    assert_eq!(head.header("x-app"), Some("here"));
}

//! Tokens that are taken back: by the operator's file, over the admin socket, and by a logout that
//! the gateway sees pass (attack J26).

mod logout;
mod told;

use serde_json::Value;

use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::token::{ISSUER, SECRET, Signer, claims};
use crate::support::upstream::Upstream;
use crate::support::{Response, eventually};

/// A gateway with one route that asks for a token, and its admin address on a unix socket.
pub(crate) struct Place {
    pub(crate) gateway: Gateway,
    pub(crate) upstream: Upstream,
}

impl Place {
    /// `server` are lines of `[server]`.
    pub(crate) fn start(setup: Setup, server: &str) -> Self {
        Self::over(Upstream::saying("reached"), setup, server)
    }

    pub(crate) fn over(upstream: Upstream, setup: Setup, server: &str) -> Self {
        let text = configuration(&upstream, server, "");
        Self { gateway: setup.variable("KEY", SECRET).start(&text), upstream }
    }

    pub(crate) fn ask(&self, token: &str) -> Response {
        let mut client = Client::tcp(self.gateway.address("main"));
        client.get("/api/x", &format!("Authorization: Bearer {token}\r\n"))
    }

    /// Sends lines to `/revocations` over the unix socket.
    pub(crate) fn order(&self, method: &str, lines: &str) -> Response {
        order(&self.gateway, method, lines)
    }

    #[track_caller]
    pub(crate) fn is_revoked(&self, token: &str) {
        let refused = self.ask(token).expect(401);
        assert_eq!(refused.json()["code"], "token_revoked");
        let challenge = refused.header("www-authenticate").unwrap();
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    }

    pub(crate) fn metric(&self, sample: &str) -> f64 {
        let text = order(&self.gateway, "METRICS", "");
        let line =
            text.text().lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }
}

pub(crate) fn configuration(upstream: &Upstream, server: &str, route: &str) -> String {
    let url = upstream.url();
    format!(
        r#"
        [listener.main]
        address = "127.0.0.1:0"
        [issuer.main]
        url = "{ISSUER}"
        audience = ["api"]
        secret = "${{KEY}}"
        [upstream.web]
        endpoints = ["{url}"]
        [[route]]
        path = "/api/*"
        upstream = "web"
        {route}
        [server]
        {server}
        [admin]
        address = "unix:admin.sock"
        "#
    )
}

/// An order to `/revocations`; `METRICS` reads the metrics instead.
pub(crate) fn order(gateway: &Gateway, method: &str, lines: &str) -> Response {
    let mut client = Client::unix(&gateway.folder().join("admin.sock"));
    if method == "METRICS" {
        return client.get("/metrics", "Connection: close\r\n").expect(200);
    }
    let length = lines.len();
    client.send(format!(
        "{method} /revocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{lines}"
    ));
    client.response()
}

/// A good token of this subject with this id.
pub(crate) fn token(sub: &str, jti: &str) -> String {
    let mut claims = claims(ISSUER, sub);
    claims["jti"] = Value::from(jti);
    Signer::hmac(SECRET.as_bytes()).sign(&claims)
}

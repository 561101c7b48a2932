//! What a route changes on the way: headers, paths, redirects, and how long and how many.

use std::io::Write;

use crate::support::caller::{Body, Caller};
use crate::support::certificate::Certificate;
use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::{Received, Then, Upstream};

/// Gunicorn with one worker, and clients that take their time.
mod gunicorn;
/// Headers, in and out.
mod headers;
/// How long, and how many at once.
mod limits;
/// Paths, and where clients are sent.
mod paths;

/// A gateway with TLS and plain listeners in front of one application.
struct Place {
    gateway: Gateway,
    upstream: Upstream,
    certificate: Certificate,
}

impl Place {
    /// With these routes; `APP` stands for the application's URL.
    fn start(upstream: Upstream, routes: &str) -> Self {
        let setup = Setup::new();
        let certificate = Certificate::make(setup.folder());
        let text = format!(
            r#"
            [listener.plain]
            address = "127.0.0.1:0"
            [listener.tls]
            address = "127.0.0.1:0"
            [listener.tls.tls]
            certificates = [{{ cert = "server.crt", key = "server.key" }}]
            [upstream.app]
            endpoints = ["APP"]
            [upstream.wsgi]
            endpoints = ["APP"]
            kind = "wsgi"
            {routes}
            "#
        );
        let gateway = setup.start(&text.replace("APP", &upstream.url()));
        Self { gateway, upstream, certificate }
    }

    fn both(&self) -> [Caller; 2] {
        Caller::both(self.gateway.address("tls"), &self.certificate)
    }

    fn plain(&self) -> Client {
        Client::tcp(self.gateway.address("plain"))
    }

    fn last(&self) -> Received {
        self.upstream.received().last().unwrap().clone()
    }
}

/// Answers with what an application's framework usually says.
fn talkative() -> Upstream {
    Upstream::start(|_, stream| {
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: app/1.0\r\nX-Powered-By: it\r\n\
             X-Frame-Options: SAMEORIGIN\r\nSet-Cookie: a=b\r\n\r\nok"
        )?;
        Ok(Then::Keep)
    })
}

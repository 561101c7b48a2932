//! `[upstream.NAME]`: where requests go.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::describe::Shape;
use super::node::Node;
use super::walk::{Value, Walk};
use super::{Endpoint, Spanned};

table! {
    /// Where requests go. The name stands in logs and metrics.
    pub struct Upstream [name] {
        /// `http://host:port`, `https://host:port`, `h2c://host:port` (HTTP/2 in clear text) or
        /// `unix:/path/of.sock`. All speak one version of HTTP.
        endpoints: Vec<Spanned<Endpoint>>, required;
        /// What runs there: that server's limits, buffering, keep-alive and headers. See
        /// docs/upstream-kinds.md.
        kind: Kind, default("http");
        /// How an endpoint is chosen.
        balance: Balance, default("least_requests");
        /// Until a connection stands.
        connect_timeout: Duration, default("3s"), limits("1ms", "5m");
        /// Until the first byte of the response.
        response_timeout: Option<Duration>, optional("60s; 1h for `kind = \"grpc\"`"), limits("1ms", "1d");
        /// Between two bytes of the response.
        read_timeout: Option<Duration>, optional("60s; 1h for `kind = \"grpc\"`"), limits("1ms", "1d");
        /// How long an idle connection is kept: less than its server keeps it.
        idle_timeout: Option<Duration>, optional("1500ms; 4s for `asgi` and `node`, 5m for `grpc`"), limits("0s", "1h");
        /// Idle connections kept, in all.
        idle_connections: usize, default(64), limits(0, 65536);
        /// WebSocket connections to one endpoint, counted apart from requests; more are 503.
        max_tunnels: usize, default(1024), limits(0, 1000000);
        /// TLS to `https://` endpoints.
        tls: Option<UpstreamTls>, optional("the system's roots, the endpoint's name, no certificate of ours");
        /// Whether a request is sent only once its body is here as a whole, with its length: a
        /// client that uploads slowly then holds no worker of the application. `auto`: for `wsgi`.
        buffer_requests: Buffering, default("auto");
        /// Whether a response is read as fast as the application writes it, whatever its client
        /// takes: a client that reads slowly then holds no worker either. `auto`: for `wsgi`.
        /// Never `text/event-stream`, gRPC, or what says `X-Accel-Buffering: no`.
        buffer_responses: Buffering, default("auto");
    }
}

table! {
    /// TLS to `https://` endpoints. The files are read while loading; a reload reads them again.
    pub struct UpstreamTls {
        /// PEM file with the roots to believe, in the place of the system's.
        ca: OrNone<Spanned<PathBuf>>, default("");
        /// The name that the endpoint's certificate must have, and that is asked for by SNI. Empty:
        /// the host of the endpoint's URL.
        server_name: OrNone<Spanned<String>>, default("");
        /// PEM file: our own certificate, then its intermediates, for servers that ask for one.
        cert: OrNone<Spanned<PathBuf>>, default("");
        /// PEM file: the private key of `cert`.
        key: OrNone<Spanned<PathBuf>>, default("");
        /// `false` believes whoever answers: anybody on the way can read and change everything.
        verify: Spanned<bool>, default(true);
    }
}

/// A value, or none where the file says `""`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrNone<T>(pub Option<T>);

impl<T: Value> Value for OrNone<T> {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        match node.text() {
            Some(text) if text.value.is_empty() => Some(Self(None)),
            Some(_) | None => T::read(node, walk).map(|value| Self(Some(value))),
        }
    }

    fn shape() -> Shape {
        Shape::new(format!("{}, or `\"\"`", T::shape().text), json!({ "type": "string" }))
    }
}

words! {
    /// What runs at an upstream's endpoints.
    pub enum Kind {
        /// Any HTTP server.
        Http = "http",
        /// A WSGI server, as Gunicorn is: bodies of unknown length are gathered first.
        Wsgi = "wsgi",
        /// An ASGI server, as uvicorn is.
        Asgi = "asgi",
        /// Node's own HTTP server.
        Node = "node",
        /// A gRPC server: HTTP/2 to `h2c://`, `https://` or a unix socket.
        Grpc = "grpc",
    }
}

words! {
    /// Whether bodies are buffered.
    pub enum Buffering {
        /// As the upstream's kind needs it.
        Auto = "auto",
        /// Always.
        On = "on",
        /// Never: bodies pass as they come.
        Off = "off",
    }
}

words! {
    /// How an endpoint is chosen.
    pub enum Balance {
        /// The less busy of two at random.
        LeastRequests = "least_requests",
        /// One after the other.
        RoundRobin = "round_robin",
    }
}

impl Upstream {
    /// What a URL in a route stands for: an upstream of that name with every default.
    pub fn of_url(text: &str, endpoint: &Endpoint, span: Range<usize>) -> Self {
        Self {
            name: Spanned { value: text.to_owned(), span: span.clone() },
            endpoints: vec![Spanned { value: endpoint.clone(), span: span.clone() }],
            kind: Kind::Http,
            balance: Balance::LeastRequests,
            connect_timeout: Duration::from_secs(3),
            response_timeout: None,
            read_timeout: None,
            idle_timeout: None,
            idle_connections: 64,
            max_tunnels: 1024,
            tls: None,
            buffer_requests: Buffering::Auto,
            buffer_responses: Buffering::Auto,
            span,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Environment, parse};

    #[test]
    fn a_url_in_a_route_has_the_defaults_of_a_table() {
        let text = "[listener.a]\naddress = ':0'\n[upstream.u]\nendpoints = ['http://h:1']\n\
                    [[route]]\npath = '/*'\nupstream = 'u'\npublic = true\n";
        let loaded = parse("t", text, &Environment::default(), Path::new("/")).unwrap();
        let written = &loaded.config.upstreams[0];
        let of_url = Upstream::of_url("u", &written.endpoints[0].value, 0..0);
        let settings = |one: &Upstream| {
            let times =
                (one.connect_timeout, one.response_timeout, one.read_timeout, one.idle_timeout);
            let buffering = (one.buffer_requests, one.buffer_responses);
            (one.kind, one.balance, times, one.idle_connections, one.max_tunnels, buffering)
        };
        assert_eq!(settings(written), settings(&of_url));
    }
}

//! `[upstream.NAME]`: where requests go.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::describe::Shape;
use super::node::Node;
use super::walk::{Value, Walk};
use super::{
    Balance, Eject, Ejection, Endpoint, HealthCheck, Queue, Secret, Spanned, UpstreamEndpoint,
};

table! {
    /// Where requests go. The name stands in logs and metrics.
    pub struct Upstream [name] {
        /// `http://host:port`, `https://host:port`, `h2c://host:port` (HTTP/2 in clear text),
        /// `dns://name:port` (each address of the name is an endpoint, looked up again and again) or
        /// `unix:/path/of.sock`, or `{ url = "...", weight = 2, backup = true }`. All speak one
        /// version of HTTP.
        endpoints: Vec<UpstreamEndpoint>, required;
        /// What runs there: that server's limits, buffering, keep-alive and headers. See
        /// docs/upstream-kinds.md.
        kind: Kind, default("http");
        /// How an endpoint is chosen: the less busy of two at random, one after the other, or the same
        /// one for the same client address, header, claim or cookie. A claim of this name is looked
        /// up in the verified token; a name that begins with `/` is a JSON Pointer. Requests without
        /// it go to the less busy of two. With `sticky:COOKIE` the gateway sets a cookie of that
        /// name, by which a client comes back to the endpoint that answered it first.
        balance: Spanned<Balance>, default("least_requests");
        /// Under what `sticky:` gives endpoints the names that stand in its cookie: at least 32 bytes.
        /// Gateways with the same secret understand each other's cookies, and a restart forgets
        /// none.
        sticky_secret: Option<Spanned<Secret>>, optional("random, as long as the process lives");
        /// Until a connection stands.
        connect_timeout: Duration, default("3s"), limits("1ms", "5m");
        /// Until the first byte of the response.
        response_timeout: Option<Duration>, optional("60s; 1h for `kind = \"grpc\"`"), limits("1ms", "1d");
        /// Between two bytes of the response.
        read_timeout: Option<Duration>, optional("60s; 1h for `kind = \"grpc\"`"), limits("1ms", "1d");
        /// How long an idle connection is kept: less than its server keeps it. `"auto"` begins with
        /// the default and learns from each endpoint: 70 % of the shortest of the last four idle
        /// times after which it closed a connection, and of what its `Keep-Alive: timeout=` says; at
        /// most 3 m 30 s. Not over HTTP/2.
        idle_timeout: Option<IdleTimeout>, optional("1500ms; 4s for `asgi` and `node`, 5m for `grpc`"), limits("0s", "1h");
        /// Requests in flight to one endpoint, over all workers. More wait in the `queue`.
        max_requests: usize, default(256), limits(1, 1000000);
        /// The line of those that wait. When it is full, or the time in it is over: 503. As many
        /// may wait, for as long, while an endpoint that was reached before is away, as during a
        /// restart; then it is 502. `size = 0`: nobody waits.
        queue: Queue, default({});
        /// Attempts beyond the first: at another endpoint if one can't be reached, and for
        /// requests that may be sent twice (GET, HEAD, OPTIONS, PUT and DELETE without a body) if a
        /// connection breaks before the first byte of an answer; no more than a fifth of the
        /// requests in flight are such repetitions, or three, and those beyond wait for their
        /// turn. 0: every request is tried once, at once.
        retries: u32, default(2), limits(0, 10);
        /// When failures eject an endpoint, never the last one. `"off"` never does.
        eject: Eject, default({ after = 5, time = "1s" });
        /// Checks of each endpoint that no client asked for.
        health: Option<HealthCheck>, optional("off");
        /// How long an endpoint that is back after an ejection or bad checks gets less than its
        /// share: a tenth at first, evenly more. Not with `hash:`.
        slow_start: Option<Duration>, optional("off"), limits("1s", "1h");
        /// Idle connections kept, in all.
        idle_connections: usize, default(64), limits(0, 65536);
        /// WebSocket connections to one endpoint, counted apart from requests; more are 503.
        max_tunnels: usize, default(1024), limits(0, 1000000);
        /// Whether a connection begins with a PROXY protocol header that names the client, as version 1
        /// or 2 (HAProxy's doc/proxy-protocol.txt): its address as `X-Forwarded-For` tells it, its
        /// port, or 0 where a trusted proxy named it, and `0.0.0.0` or `::` with the port that it
        /// asked. Checks and clients on a unix socket name nobody (`UNKNOWN`, `LOCAL`). Such a
        /// connection is made for one request and never kept. Not over HTTP/2.
        send_proxy_protocol: Spanned<SendProxyProtocol>, default("off");
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

/// How long idle connections are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleTimeout {
    /// As the endpoints do.
    Auto,
    /// This long.
    After(Duration),
}

impl Value for IdleTimeout {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        match node.text() {
            Some(text) if text.value == "auto" => Some(Self::Auto),
            Some(_) | None => Duration::read(node, walk).map(Self::After),
        }
    }

    fn shape() -> Shape {
        let time = Duration::shape();
        Shape::new(
            format!("`\"auto\"`, or {}", time.text),
            json!({ "anyOf": [{ "const": "auto" }, time.schema] }),
        )
    }

    fn measure(&self) -> Option<u128> {
        match self {
            Self::Auto => None,
            Self::After(time) => time.measure(),
        }
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
    /// How an endpoint is told for whom a connection is made.
    pub enum SendProxyProtocol {
        /// Not at all.
        Off = "off",
        /// By a line of text.
        V1 = "v1",
        /// By a binary header.
        V2 = "v2",
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

impl Upstream {
    /// What a URL in a route stands for: an upstream of that name with every default.
    pub fn of_url(text: &str, endpoint: &Endpoint, span: Range<usize>) -> Self {
        Self {
            name: Spanned { value: text.to_owned(), span: span.clone() },
            endpoints: vec![UpstreamEndpoint::of(Spanned {
                value: endpoint.clone(),
                span: span.clone(),
            })],
            kind: Kind::Http,
            balance: Spanned { value: Balance::LeastRequests, span: span.clone() },
            sticky_secret: None,
            connect_timeout: Duration::from_secs(3),
            response_timeout: None,
            read_timeout: None,
            idle_timeout: None,
            max_requests: 256,
            queue: Queue { size: 1024, timeout: Duration::from_secs(5), span: span.clone() },
            retries: 2,
            eject: Eject::After(Ejection {
                after: 5,
                time: Duration::from_secs(1),
                span: span.clone(),
            }),
            health: None,
            slow_start: None,
            idle_connections: 64,
            max_tunnels: 1024,
            send_proxy_protocol: Spanned { value: SendProxyProtocol::Off, span: span.clone() },
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
        let of_url = Upstream::of_url("u", &written.endpoints[0].0.url.value, 0..0);
        let settings = |one: &Upstream| {
            let times =
                (one.connect_timeout, one.response_timeout, one.read_timeout, one.idle_timeout);
            let eject = match &one.eject {
                Eject::Off => None,
                Eject::After(eject) => Some((eject.after, eject.time)),
            };
            let queue = (one.max_requests, one.queue.size, one.queue.timeout, one.retries);
            let health = (eject, one.health.is_some(), one.slow_start);
            let buffering = (one.buffer_requests, one.buffer_responses);
            let balance = (one.kind, one.balance.value.clone(), buffering);
            let balance = (balance, one.send_proxy_protocol.value, one.sticky_secret.is_some());
            (balance, times, queue, health, one.idle_connections, one.max_tunnels)
        };
        assert_eq!(settings(written), settings(&of_url));
    }
}

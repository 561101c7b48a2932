//! `[server]`: limits and deadlines of the whole process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::describe::Shape;
use super::node::Node;
use super::walk::{Value, Walk};
use super::{BadTokens, Coding, ErrorPages, PeerNetwork, Size, Spanned};

table! {
    /// Limits and deadlines of the whole process.
    pub struct Server {
        /// Data-plane threads; `auto` is one per core. A change needs a restart.
        workers: Workers, default("auto"), limits(1, 1024);
        /// Proxies in front: networks, or `"unix"` for unix sockets. Of their requests `Forwarded`
        /// and `X-Forwarded-*` count, read right to left up to the first address that is not
        /// listed: the client. Everybody else's are deleted unread.
        trusted_proxies: Vec<Spanned<PeerNetwork>>, default([]);
        /// Until the TLS handshake is done.
        handshake_timeout: Duration, default("10s"), limits("100ms", "10m");
        /// From the first byte of a request to the end of its head.
        header_timeout: Duration, default("10s"), limits("100ms", "10m");
        /// Without progress of a request's body; after 10 s also less than 1 KiB/s.
        body_timeout: Duration, default("30s"), limits("100ms", "1h");
        /// Without progress of a response.
        write_timeout: Duration, default("30s"), limits("100ms", "1h");
        /// Idle client connections are closed after this.
        idle_timeout: Duration, default("75s"), limits("100ms", "1d");
        /// How long exchanges in flight get to finish at shutdown.
        shutdown_timeout: Duration, default("25s"), limits("0s", "1d");
        /// How long the listeners stay open after SIGTERM, while `/readyz` already says 503.
        pre_drain: Duration, default("0s"), limits("0s", "10m");
        /// Client connections in all. At the limit the longest idle one is closed first.
        max_connections: usize, default(10000), limits(1, 10000000);
        /// Client connections per address; 0 is no limit.
        max_connections_per_ip: usize, default(0), limits(0, 10000000);
        /// Tokens that don't verify, for each client address (in IPv6 its /64). Beyond that, tokens
        /// that are not in the cache are refused unread: 429, with Retry-After. `"off"` verifies
        /// everything that anybody sends.
        bad_tokens: BadTokens, default({ rate = "100/min", burst = 50 });
        /// Limits of a request's head.
        max_headers: MaxHeaders, default({});
        /// Concurrent streams of an HTTP/2 connection.
        max_streams: u32, default(100), limits(1, 10000);
        /// What happens to header names with `_`, which many application servers read as `-`.
        underscore_headers: Underscores, default("drop");
        /// Header names with `_` that may pass.
        allow_headers: Vec<Spanned<String>>, default([]);
        /// Whether applications are told by `Forwarded` (RFC 7239) as well as by `X-Forwarded-*`.
        forwarded: bool, default(false);
        /// The header that carries the request's id, to the application and back.
        request_id: Spanned<String>, default("X-Request-Id");
        /// A file of tokens that are refused although they verify, one JSON object a line; read
        /// again whenever it changes. See docs/revocation.md.
        revocations: Option<Spanned<PathBuf>>, optional("none");
        /// What applications are told about the principal, signed by this gateway; the public keys
        /// are at `/.well-known/portcullis/jwks.json`.
        assertion: Option<Assertion>, optional("no assertion");
        /// How responses are compressed, best liked first: text of at least 1 KiB, on public routes,
        /// to requests without Cookie and Authorization; nothing with Set-Cookie, no event stream.
        /// See docs/static-files.md.
        compress: Vec<Coding>, default([]);
        /// Files in the place of the built-in pages that tell browsers of errors: `{ 404 =
        /// "404.html", 5xx = "sorry.html" }`. Read while loading.
        error_pages: ErrorPages, default({});
        /// Room for buffered bodies, in all. When it is full: 503.
        spool: Spool, default({});
        /// The folder in which the last good key sets and revocations survive a restart; created
        /// if it does not exist. Empty: they are not kept. A change needs a restart.
        state_dir: Spanned<Folder>, default("");
    }
}

table! {
    /// Limits of a request's head.
    pub struct MaxHeaders {
        /// Header lines.
        count: usize, default(90), limits(1, 1000);
        /// All header lines together.
        size: Size, default("32KiB"), limits("1KiB", "1MiB");
        /// One header line, and the request target.
        line: Size, default("8KiB"), limits("256B", "1MiB");
    }
}

table! {
    /// Room for buffered bodies, in all.
    pub struct Spool {
        /// In memory.
        memory: Size, default("64MiB"), limits("0B", "1TiB");
        /// On disk, in files without a name.
        disk: Size, default("1GiB"), limits("0B", "1PiB");
        /// The folder of those files; empty is the system's temporary folder.
        dir: Folder, default("");
    }
}

/// How many data-plane threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One per core.
    Auto,
    /// This many.
    Count(usize),
}

table! {
    /// A signed statement about the principal, on requests that were let through by a token.
    pub struct Assertion {
        /// The header that carries it.
        header: Spanned<String>, default("X-Portcullis-Assertion");
        /// How long one counts; never longer than the token.
        ttl: Duration, default("60s"), limits("1s", "1h");
        /// Its `iss`.
        issuer: String, default("portcullis");
        /// Its `aud`.
        audience: Option<String>, optional("the name of the route's upstream");
        /// How it is signed.
        algorithm: AssertionAlgorithm, default("ES256");
        /// The private key, a PEM file. Several gateways in front of one application need one; it
        /// is read again at each reload, and the key before it stays published.
        key: Option<Spanned<PathBuf>>, optional("a key of its own, made at the start");
    }
}

words! {
    /// How assertions are signed.
    pub enum AssertionAlgorithm {
        /// ECDSA over P-256.
        Es256 = "ES256",
        /// Ed25519.
        EdDsa = "EdDSA",
    }
}

words! {
    /// What happens to header names with `_`.
    pub enum Underscores {
        /// The header is dropped.
        Drop = "drop",
        /// The request is refused.
        Reject = "reject",
    }
}

/// A folder, or none where the file says `""`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Folder(Option<PathBuf>);

impl Folder {
    /// The folder, absolute.
    pub fn path(&self) -> Option<&Path> {
        self.0.as_deref()
    }
}

impl Value for Workers {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        match node.text() {
            Some(text) if text.value == "auto" => Some(Self::Auto),
            Some(_) | None => usize::read(node, walk).map(Self::Count),
        }
    }

    fn shape() -> Shape {
        let count = usize::shape();
        Shape::new(
            "`\"auto\"`, or a whole number",
            json!({ "anyOf": [{ "const": "auto" }, count.schema] }),
        )
    }

    fn measure(&self) -> Option<u128> {
        match self {
            Self::Auto => None,
            Self::Count(count) => count.measure(),
        }
    }
}

impl Value for Folder {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        match node.text() {
            Some(text) if text.value.is_empty() => Some(Self(None)),
            Some(_) | None => PathBuf::read(node, walk).map(|path| Self(Some(path))),
        }
    }

    fn shape() -> Shape {
        Shape::new("path, or `\"\"`", json!({ "type": "string" }))
    }
}

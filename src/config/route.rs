//! `[[route]]`: what is allowed, and what then happens.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::json;

use super::describe::Shape;
use super::node::Node;
use super::walk::{Value, Walk};
use super::{
    Coding, Cors, ErrorPages, RateLimits, Redirect, RequestHeaders, RequireTable, ResponseHeaders,
    Rewrite, Size, Spanned, UpstreamRef,
};

table! {
    /// What is allowed, and what then happens. A route wins over another if it is at least as
    /// specific in host (exact, then `*.host`, then any) and in path (exact, then the longer
    /// `/a/*`, then the shorter). Every route asks for a valid token unless it says
    /// `public = true`.
    pub struct Route {
        /// Unique; stands in logs and metrics.
        name: Option<Spanned<String>>, optional("host, path and methods as written");
        /// A path, or a prefix of whole segments: `/a/*` matches `/a`, `/a/` and `/a/x`, never
        /// `/ab`.
        path: Spanned<String>, required;
        /// `example.com`, or `*.example.com` for every name below it.
        hosts: Vec<Spanned<String>>, default([]);
        /// GET implies HEAD.
        methods: Option<Vec<Spanned<String>>>, optional("every method but CONNECT and TRACE");
        /// Names of the listeners where the route exists.
        listeners: Option<Vec<Spanned<String>>>, optional("all");
        /// The name of an upstream, or the URL of an endpoint.
        upstream: Option<Spanned<UpstreamRef>>, optional("this, `static`, `redirect` or `verify` is required");
        /// A folder to serve: no listing, no dotfiles, no way out by symlink.
        static_root as "static": Option<Spanned<PathBuf>>, optional("this, `upstream`, `redirect` or `verify` is required");
        /// Sends clients elsewhere.
        redirect: Option<Redirect>, optional("this, `upstream`, `static` or `verify` is required");
        /// Answers proxies that ask before they forward a request (nginx auth_request, Traefik
        /// forwardAuth, Caddy forward_auth, Envoy ext_authz): 200 with the identity headers, or
        /// the refusal. This route's own policy decides; the method and URI of the request asked
        /// about are logged and nothing else. Only `trusted_proxies` may ask.
        verify: Spanned<bool>, default(false);
        /// No token is asked for; one that is sent is neither read nor removed. Identity headers
        /// are removed.
        public: bool, default(false);
        /// Names of issuers, or `"all"`.
        issuers: Option<Spanned<Issuers>>, optional("the only issuer; required if there are several");
        /// What the token must claim: all named claims; per claim a value, a list (any of), or
        /// `{ any = [], all = [], none = [] }`. A list of tables means "or". A name that begins
        /// with `/` is a JSON Pointer; `scope` splits at spaces and reads `scp` too.
        require: Vec<RequireTable>, optional("nothing");
        /// A request without a token passes, and acts for nobody: no identity headers. A bad token
        /// is refused all the same. Not together with `require`.
        anonymous: bool, default(false);
        /// Which other sites' pages may read the answers.
        cors: Option<Cors>, optional("no other site's; what the application says itself passes");
        /// Clients of other addresses are refused. Behind a proxy `trusted_proxies` says whose
        /// address counts.
        allow_ips: Option<Vec<Spanned<IpNet>>>, optional("all");
        /// How often one client may ask: one limit, or a list of which all have to hold.
        rate_limit: Option<RateLimits>, optional("no limit");
        /// Longer request bodies are refused.
        max_body: Size, default("10MiB"), limits("0B", "1TiB");
        /// Requests of this route that are under way at the same time, over all workers, from the
        /// verdict on the token to the response's last byte; more are 503 `queue_full`. WebSocket
        /// connections count until they have switched (`max_tunnels`).
        max_in_flight: Option<usize>, optional("no limit"), limits(1, 1000000);
        /// The longest an exchange may take as a whole: then 504, or, once the response has begun,
        /// a cut. WebSocket connections are not ended by it.
        timeout: Option<Spanned<Duration>>, optional("off"), limits("1ms", "24h");
        /// What is changed of requests' headers.
        request_headers: Option<RequestHeaders>, optional("nothing is changed");
        /// What is changed of responses' headers.
        response_headers: Option<ResponseHeaders>, optional("nothing is changed");
        /// Taken off the path's front before it is forwarded, and told in `X-Forwarded-Prefix`.
        strip_prefix: Option<Spanned<String>>, optional("the path is forwarded whole");
        /// What the path, or what `strip_prefix` left of it, becomes.
        rewrite: Option<Rewrite>, optional("the path stays as it is");
        /// Put in front of the path, last of all.
        add_prefix: Option<Spanned<String>>, optional("nothing is put in front");
        /// Where the application lies: it is told in `X-Forwarded-Prefix` and makes its links with
        /// it. A `wsgi` upstream gets the whole path and `SCRIPT_NAME`, every other one the path
        /// below the mount.
        mount: Option<Spanned<String>>, optional("at the root");
        /// Whether clients may switch to WebSocket, once their token has passed: over HTTP/1.1, or by
        /// an extended CONNECT of HTTP/2, which counts as GET. Other protocols are never switched
        /// to.
        websocket: bool, default(true);
        /// What ends with the token that began it, when it expires or is revoked: `upgrades` are
        /// WebSocket connections, `all` is every response too. They are cut, not closed in order.
        end_with_token: EndWithToken, default("upgrades");
        /// How much longer than its token such a stream may live; not if the token is revoked.
        grace: Duration, default("0s"), limits("0s", "1d");
        /// A logout to watch for, such as simplejwt's: on the status, the refresh token in the
        /// request's JSON body (`{"refresh": ...}`), once verified, revokes all tokens of its user
        /// up to now, and, unless the route is public, the request's own.
        revoke_on: Option<RevokeOn>, optional("off");
        /// How refusals are written: `auto` answers gRPC requests as gRPC does, then asks the
        /// issuer's preset, then the Accept header.
        errors: Errors, default("auto");
        /// Cache-Control of static files. `auto`: hashed names immutable for a year, HTML
        /// no-cache, else 60 s.
        cache_control: CacheControl, default("auto");
        /// What stands for a folder.
        index: Vec<String>, default(["index.html"]);
        /// Files encoded beforehand, beside their originals: the smallest of those that the client
        /// likes best is sent, if it is not older than its original.
        precompressed: Option<Spanned<Vec<Coding>>>, optional("`[\"br\", \"zstd\", \"gzip\"]`; none with `media`");
        /// Whether a folder without an index shows what is in it.
        listing: Spanned<bool>, default(false);
        /// The folder holds what users uploaded: browsers run none of it (Content-Security-Policy:
        /// sandbox), what they might run is for saving (Content-Disposition: attachment), and
        /// there is no index.
        media: Spanned<bool>, default(false);
        /// The files are for applications to name (`accel`): clients get 404, and the route has no
        /// policy of its own.
        internal: Spanned<bool>, default(false);
        /// The application may answer with `X-Accel-Redirect` (a path of an `internal` route) or
        /// `X-Sendfile` (a place on disk below such a route's folder), and the client gets that
        /// file. See docs/static-files.md.
        accel: Spanned<bool>, default(false);
        /// Files in the place of the built-in pages, for browsers: `{ 404 = "404.html", 5xx =
        /// "sorry.html" }`. Where this route has none, `server.error_pages` counts.
        error_pages: ErrorPages, default({});
        /// The file for paths that name none, for requests that accept text/html and name no file
        /// extension.
        fallback: Option<Spanned<String>>, optional("404");
    }
}

table! {
    /// A logout that revokes tokens. See docs/revocation.md.
    pub struct RevokeOn {
        /// Where clients send it, by POST; within the route, and exactly this.
        path: Spanned<String>, required;
        /// The answer that says it was done.
        status: u16, default(200), limits(200, 299);
        /// Whose refresh token it is.
        issuer: Option<Spanned<String>>, optional("the route's only issuer; of a public route the only one with `preset = \"simplejwt\"`");
    }
}

impl Route {
    /// The written name, else hosts, path and methods as written.
    pub fn effective_name(&self) -> String {
        if let Some(name) = &self.name {
            return name.value.clone();
        }
        let hosts: Vec<&str> = self.hosts.iter().map(|host| host.as_str()).collect();
        let mut name = hosts.join(",");
        name.push_str(&self.path);
        if let Some(methods) = &self.methods {
            for (place, method) in methods.iter().enumerate() {
                name.push(if place == 0 { ' ' } else { ',' });
                name.push_str(method);
            }
        }
        name
    }
}

/// Whose tokens a route takes.
#[derive(Clone, Debug)]
pub enum Issuers {
    /// Those of every issuer.
    All,
    /// Those of these issuers.
    Named(Vec<Spanned<String>>),
}

words! {
    /// How refusals are written.
    pub enum Errors {
        /// As the issuer's preset and the request's Accept header say.
        Auto = "auto",
        /// RFC 9457 problem details.
        Problem = "problem",
        /// As Django REST framework with simplejwt writes them.
        Drf = "drf",
        /// A small page.
        Html = "html",
        /// As gRPC clients read them: status 200 with `grpc-status` and `grpc-message`.
        Grpc = "grpc",
        /// No body.
        Empty = "empty",
    }
}

words! {
    /// What ends with the token that began it.
    pub enum EndWithToken {
        /// WebSocket connections.
        Upgrades = "upgrades",
        /// WebSocket connections and responses.
        All = "all",
        /// Nothing.
        Off = "off",
    }
}

/// Cache-Control of a route's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheControl {
    /// By name and type of the file.
    Auto,
    /// This value for all.
    Text(String),
}

impl Value for Issuers {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        match node.text() {
            Some(text) if text.value == "all" => Some(Self::All),
            Some(_) | None => Vec::read(node, walk).map(Self::Named),
        }
    }

    fn shape() -> Shape {
        let list = Vec::<String>::shape();
        Shape::new(
            "list of names, or `\"all\"`",
            json!({ "anyOf": [list.schema, { "const": "all" }] }),
        )
    }
}

impl Value for CacheControl {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        let text = String::read(node, walk)?;
        if text.chars().any(|c| !matches!(c, ' '..='~')) {
            walk.wrong(
                &node.span,
                "not a header's value",
                "only printable ASCII may stand in a header",
            );
            return None;
        }
        Some(if text == "auto" { Self::Auto } else { Self::Text(text) })
    }

    fn shape() -> Shape {
        Shape::new("`\"auto\"`, or the header's value", String::shape().schema)
    }
}

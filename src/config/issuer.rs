//! `[issuer.NAME]`: whose tokens count, and how far.

use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::describe::Shape;
use super::node::{Node, NodeKind};
use super::walk::{Value, Walk};
use super::{OneOrMany, RequireTable, Secret, Size, Spanned, TokenPlace, TokenUpstream};

table! {
    /// Whose tokens count. The name stands in logs and metrics.
    pub struct Issuer [name] {
        /// Settings of a known kind of token, all of which may be overridden.
        preset: Option<Preset>, optional("none");
        /// The exact `iss` of its tokens. Unless another key source is named, the keys are found
        /// by OIDC discovery, then RFC 8414.
        url: Option<Spanned<String>>, optional("required, unless `preset` or `iss = \"any\"`");
        /// `"any"`: tokens with whatever `iss`, for which no other issuer is named.
        iss as "iss": Option<AnyIssuer>, optional("the `url`");
        /// Key source: a JWK set at this URL.
        jwks_url: Option<Spanned<String>>, optional("discovery");
        /// Key source: a JWK set, as a string of JSON. Keys that may not be used are skipped.
        jwks: Option<Spanned<String>>, optional("discovery");
        /// Key source: a file that holds a JWK set. A changed file is picked up by itself; a bad
        /// one keeps the last good keys.
        jwks_file: Option<Spanned<PathBuf>>, optional("discovery");
        /// Key source: a PEM file with a public key or certificate, or a list of them.
        /// Changed files are picked up by themselves; a bad one keeps the last good keys.
        public_key: Option<OneOrMany<Spanned<PathBuf>>>, optional("discovery");
        /// Key source: the shared secret of HMAC signatures. Weak ones are refused.
        secret: Option<Spanned<Secret>>, optional("discovery");
        /// How `secret` is written.
        secret_encoding: SecretEncoding, default("utf8");
        /// One of these must be in `aud`; `"any"` switches the check off and must be written.
        audience: Option<Audience>, optional("required, unless `preset`");
        /// Accepted signature algorithms; HS256, HS384 and HS512 with `secret` alone, and then
        /// nothing else.
        algorithms: Option<Spanned<Algorithms>>, optional("RS256, PS256, ES256, ES384 and EdDSA; with `secret` HS256");
        /// Accepted `typ`, in any case, with or without `application/`; an absent one counts as
        /// `JWT`.
        types: Vec<String>, default(["JWT", "at+jwt"]);
        /// Clock skew allowed for `exp`, `nbf` and `iat`.
        leeway: Option<Duration>, optional("30s; 0s with `preset = \"simplejwt\"`"), limits("0s", "5m");
        /// The longest time from a token's `iat` to its `exp`; with it, `iat` is required.
        max_lifetime: Option<Duration>, optional("off"), limits("1s", "10000d");
        /// Longer tokens are refused unread.
        max_token_size: Size, default("7KiB"), limits("256B", "64KiB");
        /// How long fetched keys count as fresh: `auto` follows Cache-Control within 1m and 24h,
        /// else 10m. They are renewed in the background at 80 % of it, or of `stale_for` where that is
        /// shorter.
        refresh: Refresh, default("auto"), limits("10s", "24h");
        /// Good keys outlive an unreachable issuer this long; then 503, never 401.
        stale_for: Duration, default("24h"), limits("1m", "30d");
        /// At most one forced fetch per this time, failures included.
        unknown_kid_cooldown: Duration, default("10s"), limits("1s", "1h");
        /// PEM file of the only roots that the key source's certificate may chain to.
        ca: Option<Spanned<PathBuf>>, optional("the system's roots");
        /// Allows plain `http://` to the issuer. Loopback addresses need no permission.
        allow_http: bool, default(false);
        /// Where the issuer is reached (`host:port`), if not where its URL says.
        connect_to: Option<Spanned<String>>, optional("as its URL says");
        /// Where its tokens may stand. A route looks wherever its issuers say, and takes one token
        /// alone: two, in one place or in two, are refused. `header:NAME` holds the token, with or
        /// without `Bearer` before it. `cookie:NAME` counts for methods other than GET, HEAD and
        /// OPTIONS, and for WebSockets, only if `Sec-Fetch-Site` or `Origin` says that a page of the
        /// same origin sent the request. `query:NAME` is for what can set no header; its value stays
        /// out of the log. `websocket_protocol` is for browsers:
        /// `new WebSocket(url, ["bearer", token])`.
        token_from: Vec<Spanned<TokenPlace>>, default(["header:Authorization"]);
        /// What the application gets of a verified token. Cookies, queries and subprotocols lose it
        /// in any case.
        token_upstream: TokenUpstream, default("keep");
        /// Headers for the application and the claims they are set from: a literal name, or a JSON
        /// Pointer. Clients' own copies are always dropped.
        identity_headers: NamePairs, default({});
        /// What every token of this issuer must claim, as in a route.
        require: Vec<RequireTable>, optional("nothing");
    }
}

words! {
    /// A known kind of token.
    pub enum Preset {
        /// What djangorestframework-simplejwt signs: HS256, no `iss`, `aud` or `kid`; `exp`, `jti`
        /// and `user_id` required; `token_type = "access"`; leeway 0; errors as DRF writes them.
        Simplejwt = "simplejwt",
    }
}

words! {
    /// The only word that `iss` may be.
    pub enum AnyIssuer {
        /// Whatever `iss`.
        Any = "any",
    }
}

words! {
    /// How a secret is written.
    pub enum SecretEncoding {
        /// The text's own bytes.
        Utf8 = "utf8",
        /// Base64, standard or URL-safe, padded or not.
        Base64 = "base64",
        /// Hexadecimal digits.
        Hex = "hex",
    }
}

/// Which `aud` counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The check is off.
    Any,
    /// One of these must be there.
    List(Vec<String>),
}

/// How long fetched keys count as fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// As Cache-Control says, within bounds.
    Auto,
    /// This long.
    Every(Duration),
}

/// Names of signature algorithms, each one known to the configuration.
#[derive(Clone, Debug)]
pub struct Algorithms(Vec<String>);

impl Deref for Algorithms {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

/// Header names and the claims they are set from, in the order of the file.
#[derive(Clone, Debug)]
pub struct NamePairs(Vec<(Spanned<String>, Spanned<String>)>);

impl Deref for NamePairs {
    type Target = [(Spanned<String>, Spanned<String>)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Value for Audience {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        match node.text() {
            Some(text) if text.value == "any" => Some(Self::Any),
            Some(_) | None => Vec::read(node, walk).map(Self::List),
        }
    }

    fn shape() -> Shape {
        let list = Vec::<String>::shape();
        Shape::new(
            "list of strings, or `\"any\"`",
            json!({ "anyOf": [list.schema, { "const": "any" }] }),
        )
    }
}

impl Value for Refresh {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        match node.text() {
            Some(text) if text.value == "auto" => Some(Self::Auto),
            Some(_) | None => Duration::read(node, walk).map(Self::Every),
        }
    }

    fn shape() -> Shape {
        let every = Duration::shape();
        Shape::new(
            format!("`\"auto\"`, or a {}", every.text),
            json!({ "anyOf": [{ "const": "auto" }, every.schema] }),
        )
    }

    fn measure(&self) -> Option<u128> {
        match self {
            Self::Auto => None,
            Self::Every(time) => time.measure(),
        }
    }
}

/// Every algorithm that an issuer may be allowed.
const ALGORITHMS: &[&str] = &[
    "ES256", "ES256K", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512", "PS256", "PS384",
    "PS512", "RS256", "RS384", "RS512",
];

impl Value for Algorithms {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        let names: Vec<Spanned<String>> = Vec::read(node, walk)?;
        let mut known = Vec::with_capacity(names.len());
        for name in &names {
            if ALGORITHMS.contains(&name.as_str()) {
                known.push(name.value.clone());
                continue;
            }
            let near = super::nearest::nearest(&name.to_uppercase(), ALGORITHMS.iter().copied());
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("one of {}", ALGORITHMS.join(", ")),
            };
            let shown = walk.shown(name);
            walk.wrong(
                &name.span,
                format!("{shown} is not an algorithm that can be allowed"),
                hint,
            );
        }
        (known.len() == names.len()).then_some(Self(known))
    }

    fn shape() -> Shape {
        let schema = json!({ "type": "array", "items": { "enum": ALGORITHMS } });
        Shape::new(format!("list of {}", ALGORITHMS.join(", ")), schema)
    }
}

impl Value for NamePairs {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        let NodeKind::Table(entries) = &node.kind else {
            walk.expected(node, "a table of header names and claims");
            return None;
        };
        let pair = |walk: &mut Walk<'_>, entry: &super::node::Entry| {
            Some((entry.key.clone(), Spanned::read(&entry.node, walk)?))
        };
        let pairs: Vec<Option<_>> = entries.iter().map(|entry| pair(walk, entry)).collect();
        pairs.into_iter().collect::<Option<_>>().map(Self)
    }

    fn shape() -> Shape {
        let claim = json!({ "type": "string", "minLength": 1 });
        Shape::new(
            "table of header names and claims",
            json!({ "type": "object", "additionalProperties": claim }),
        )
    }
}

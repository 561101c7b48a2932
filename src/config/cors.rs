//! `[route.cors]`: which other sites' pages may read a route's answers.

use std::time::Duration;

use serde_json::json;

use super::Spanned;
use super::describe::Shape;
use super::node::Node;
use super::walk::{Value, Walk};

table! {
    /// Which other sites' pages may read the answers of this route. A preflight is answered here and
    /// needs no token; refusals are readable too; the application's own `Access-Control-*` headers
    /// are dropped.
    pub struct Cors {
        /// Origins as browsers write them, compared byte by byte: `https://app.example.com`. `["*"]`
        /// is every page there is.
        origins: Vec<Spanned<WebOrigin>>, required;
        /// Whether the pages may send cookies along, and read what comes back. With a token in a
        /// cookie (`token_from`), requests of these origins count like those of the same origin.
        credentials: bool, default(false);
        /// The methods that a preflight allows.
        methods: Option<Vec<Spanned<String>>>, optional("the method that is asked for, where the route takes it");
        /// The request headers that a preflight allows; `["*"]` allows whichever are asked for.
        headers: Vec<Spanned<String>>, default(["Authorization", "Content-Type", "X-CSRFToken", "X-Requested-With"]);
        /// Response headers that pages may read, beside the simple ones, `WWW-Authenticate`,
        /// `Retry-After` and the request's id.
        expose_headers: Vec<Spanned<String>>, default([]);
        /// How long browsers may keep the answer to a preflight.
        max_age: Duration, default("10m"), limits("0s", "24h");
    }
}

/// A page's origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebOrigin {
    /// Every page's.
    Any,
    /// This one.
    Exact(String),
}

impl Value for WebOrigin {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        let text = String::read(node, walk)?;
        if text == "*" {
            return Some(Self::Any);
        }
        if let Err(hint) = check(&text) {
            let shown = walk.shown(&Spanned { value: text, span: node.span.clone() });
            walk.wrong(&node.span, format!("{shown} is not an origin"), hint);
            return None;
        }
        Some(Self::Exact(text))
    }

    fn shape() -> Shape {
        let schema = json!({ "type": "string", "pattern": "^(\\*|[a-z][a-z0-9+.-]*://[^/?#@]+)$" });
        Shape::or_expanded("origin (`\"https://app.example.com\"`), or `\"*\"`", &schema)
    }
}

/// Whether a browser would write an origin so (RFC 6454 section 6.2); if not, what to do about it.
fn check(text: &str) -> Result<(), &'static str> {
    if text == "null" {
        return Err("`null` is every sandboxed frame and every local file: it is never allowed");
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("write scheme and host: \"https://app.example.com\"");
    };
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|byte| letter(byte) || b"+-.".contains(&byte));
    if rest.contains('*') {
        return Err("origins are compared as a whole: name each one, or say [\"*\"]");
    }
    if rest.contains(['/', '?', '#', '@']) {
        return Err("an origin ends with its host or port: no path, no final slash");
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !rest.ends_with(']') => (host, Some(port)),
        Some(_) | None => (rest, None),
    };
    let is_name = host.bytes().all(|byte| letter(byte) || b"-._".contains(&byte));
    let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_v6 = inside.is_some_and(|inside| inside.parse::<std::net::Ipv6Addr>().is_ok());
    let is_port = port.is_none_or(|port| {
        port.parse::<u16>().is_ok_and(|number| number != 0 && number.to_string() == port)
    });
    if !is_scheme || host.is_empty() || !(is_name || is_v6) || !is_port {
        return Err("browsers write scheme and host in small letters, without user and path");
    }
    match (scheme, port) {
        ("http", Some("80")) | ("https", Some("443")) => {
            Err("browsers leave the scheme's own port out: so does the list")
        }
        (_, _) => Ok(()),
    }
}

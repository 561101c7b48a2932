//! What an upstream does with more endpoints than one: shares, the line in front of them, their
//! health.

use std::time::Duration;

use serde_json::json;

use super::describe::{Shape, TableDoc};
use super::node::{Node, NodeKind};
use super::walk::{Value, Walk};
use super::{Endpoint, Spanned};

table! {
    /// An endpoint, where its URL alone does not say enough.
    pub struct EndpointTable {
        /// Where it is.
        url: Spanned<Endpoint>, required;
        /// Its share: 2 gets twice what 1 gets.
        weight: u32, default(1), limits(1, 1000);
        /// Used only while none of the others is up.
        backup: bool, default(false);
    }
}

/// An endpoint: a URL, or a table.
#[derive(Clone, Debug)]
pub struct UpstreamEndpoint(pub EndpointTable);

impl UpstreamEndpoint {
    /// This one and all else default.
    pub fn of(url: Spanned<Endpoint>) -> Self {
        let span = url.span.clone();
        Self(EndpointTable { url, weight: 1, backup: false, span })
    }
}

impl Value for UpstreamEndpoint {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        match node.kind {
            NodeKind::Table(_) => EndpointTable::read(node, walk).map(Self),
            NodeKind::Array(_)
            | NodeKind::Boolean(_)
            | NodeKind::Datetime
            | NodeKind::Failed
            | NodeKind::Float(_)
            | NodeKind::Integer(_)
            | NodeKind::Text(_) => Spanned::<Endpoint>::read(node, walk).map(Self::of),
        }
    }

    fn shape() -> Shape {
        let (url, table) = (Endpoint::shape(), EndpointTable::shape());
        Shape::new(
            format!("{}, or a table", url.text),
            json!({ "anyOf": [url.schema, table.schema] }),
        )
    }

    fn table() -> Option<TableDoc> {
        EndpointTable::table()
    }
}

table! {
    /// The line of requests that wait while every endpoint has `max_requests`. First in, first out.
    pub struct Queue {
        /// Requests in it; 0 refuses at once.
        size: usize, default(1024), limits(0, 1000000);
        /// The longest anybody waits.
        timeout: Duration, default("5s"), limits("1ms", "10m");
    }
}

table! {
    /// When failures eject an endpoint: it gets no requests for a while.
    pub struct Ejection {
        /// Failures in a row: refused connections, broken ones without an answer, no answer in time,
        /// malformed answers.
        after: u32, default(5), limits(1, 1000000);
        /// For how long the first time; twice as long every time after that, up to 30 s, until it
        /// answers.
        time: Duration, default("1s"), limits("10ms", "1h");
    }
}

/// Whether failures eject.
#[derive(Clone, Debug)]
pub enum Eject {
    /// They don't.
    Off,
    /// They do.
    After(Ejection),
}

impl Value for Eject {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        match node.text() {
            Some(text) if text.value == "off" => Some(Self::Off),
            Some(_) | None => Ejection::read(node, walk).map(Self::After),
        }
    }

    fn shape() -> Shape {
        let table = Ejection::shape().schema;
        Shape::new("table, or `\"off\"`", json!({ "anyOf": [{ "const": "off" }, table] }))
    }

    fn table() -> Option<TableDoc> {
        Ejection::table()
    }
}

table! {
    /// Checks of each endpoint that no client asked for. It starts as up. Where HTTP/2 is spoken
    /// (`kind = "grpc"`, `h2c://`) only the connection is checked.
    pub struct HealthCheck {
        /// What is asked for by GET; 200 to 399 is good.
        path: Spanned<String>, required;
        /// The Host header of the checks, for applications that refuse hosts they don't know
        /// (Django's ALLOWED_HOSTS).
        host: Option<Spanned<String>>, optional("the endpoint's host and port; `localhost` for a unix socket");
        /// From one check to the next.
        interval: Duration, default("10s"), limits("10ms", "1h");
        /// For the connection and the answer, together.
        timeout: Duration, default("2s"), limits("10ms", "1m");
        /// Bad ones in a row until it gets no requests.
        fall: u32, default(3), limits(1, 100);
        /// Good ones in a row until it gets requests again.
        rise: u32, default(2), limits(1, 100);
    }
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Balance {
    /// The less busy of two at random.
    LeastRequests,
    /// One after the other.
    RoundRobin,
    /// The same endpoint for the same value.
    Hash(HashBy),
    /// The endpoint that a cookie of this name leads back to.
    Sticky(String),
}

/// What requests are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HashBy {
    /// The client's address.
    Ip,
    /// A header's value.
    Header(String),
    /// A claim's value.
    Claim(String),
    /// A cookie's value.
    Cookie(String),
}

impl Value for Balance {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        let text = String::read(node, walk)?;
        let balance = match (text.as_str(), text.split_once(':')) {
            ("least_requests", _) => Some(Self::LeastRequests),
            ("round_robin", _) => Some(Self::RoundRobin),
            (_, Some(("hash", by))) => hash_by(by).map(Self::Hash),
            (_, Some(("sticky", name))) if super::check::is_token(name) => {
                Some(Self::Sticky(name.to_owned()))
            }
            _ => None,
        };
        if balance.is_none() {
            let shown = node.text().map(super::node::Text::shown).unwrap_or_default();
            let hint = "one of `least_requests`, `round_robin`, `hash:ip`, `hash:header:NAME`, \
                        `hash:claim:NAME`, `hash:cookie:NAME`, `sticky:COOKIE`";
            walk.wrong(&node.span, format!("{shown} is no way to choose an endpoint"), hint);
        }
        balance
    }

    fn shape() -> Shape {
        let pattern =
            "^(least_requests|round_robin|hash:ip|hash:(header|claim|cookie):.+|sticky:.+)$|\\$\\{";
        Shape::new(
            "`\"least_requests\"`, `\"round_robin\"`, `\"hash:ip\"`, `\"hash:header:NAME\"`, \
             `\"hash:claim:NAME\"`, `\"hash:cookie:NAME\"` or `\"sticky:COOKIE\"`",
            json!({ "type": "string", "pattern": pattern }),
        )
    }
}

fn hash_by(text: &str) -> Option<HashBy> {
    match text.split_once(':') {
        None if text == "ip" => Some(HashBy::Ip),
        Some(("header", name)) if super::check::is_token(name) => {
            Some(HashBy::Header(name.to_owned()))
        }
        Some(("claim", name)) if !name.is_empty() => Some(HashBy::Claim(name.to_owned())),
        Some(("cookie", name)) if super::check::is_token(name) => {
            Some(HashBy::Cookie(name.to_owned()))
        }
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_requests_are_told_apart_by_has_a_kind_and_a_name() {
        let cookie = |name: &str| Some(HashBy::Cookie(name.to_owned()));
        assert_eq!(hash_by("ip"), Some(HashBy::Ip));
        assert_eq!(hash_by("cookie:sessionid"), cookie("sessionid"));
        assert_eq!(hash_by("claim:/a/b"), Some(HashBy::Claim("/a/b".to_owned())));
        for text in ["", "ip:", "cookie", "cookie:", "cookie:a b", "header:", "header:a:b", "x:y"] {
            assert_eq!(hash_by(text), None, "{text}");
        }
    }
}

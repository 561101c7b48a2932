//! What a route changes of requests and responses: headers, paths, and redirects.

use serde_json::json;

use super::Spanned;
use super::describe::Shape;
use super::node::{Entry, Node, NodeKind};
use super::walk::{Value, Walk};

table! {
    /// What is changed of a request's headers before it is forwarded. Never those that frame the
    /// message, name its host, its way here or its sender, or belong to the connection.
    pub struct RequestHeaders {
        /// Stand for whatever the client sent, in every spelling of the name.
        set: HeaderValues, default({});
        /// Stand beside what the client sent.
        add: HeaderValues, default({});
        /// Are not forwarded.
        remove: Vec<Spanned<String>>, default([]);
    }
}

table! {
    /// What is changed of a response's headers: `remove`, `set`, `add` and `default`, in this order.
    /// Refusals of the gateway's own get what they don't have, and lose nothing.
    /// `Strict-Transport-Security` is sent over TLS alone.
    pub struct ResponseHeaders {
        /// Stand for what the application sent.
        set: HeaderValues, default({});
        /// Stand beside what the application sent.
        add: HeaderValues, default({});
        /// Are sent where the application sent none.
        default: HeaderValues, default({});
        /// Don't reach the client.
        remove: Vec<Spanned<String>>, default([]);
    }
}

table! {
    /// Paths that become others. See docs/routing.md.
    pub struct Rewrite {
        /// A regular expression (RE2's syntax, ASCII) for the whole path, as it is left by
        /// `strip_prefix`. Paths that it does not match stay as they are.
        from: Spanned<String>, required;
        /// The path to forward. `{1}` or `{name}` is what that group matched.
        to: Spanned<String>, required;
    }
}

table! {
    /// An answer that sends the client elsewhere. See docs/routing.md.
    pub struct Redirect {
        /// A URL (`https://example.com/new/`), or a path of this host (`/new/`). The request's query
        /// is kept.
        to: Spanned<String>, required;
        /// 301 and 302 may turn a POST into a GET, 303 does, 307 and 308 don't. 301 and 308 are for
        /// good.
        status: Spanned<u16>, default(308);
        /// What the route's `/*` stood for is put behind `to`, which then ends in `/`.
        keep_path: bool, default(false);
    }
}

/// Headers and their values, each header once.
#[derive(Clone, Debug, Default)]
pub struct HeaderValues(Vec<(Spanned<String>, Spanned<String>)>);

impl HeaderValues {
    /// In the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &(Spanned<String>, Spanned<String>)> {
        self.0.iter()
    }
}

impl Value for HeaderValues {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        let NodeKind::Table(entries) = &node.kind else {
            walk.expected(node, "a table of headers and their values");
            return None;
        };
        let values: Vec<Option<_>> = entries.iter().map(|entry| value(entry, walk)).collect();
        values.into_iter().collect::<Option<_>>().map(Self)
    }

    fn shape() -> Shape {
        let text = "table of headers and their values";
        let value = json!({ "type": "string" });
        Shape::new(text, json!({ "type": "object", "additionalProperties": value }))
    }
}

/// RFC 9110 section 5.5: visible ASCII, with spaces and tabs inside.
fn value(entry: &Entry, walk: &mut Walk<'_>) -> Option<(Spanned<String>, Spanned<String>)> {
    let value: Spanned<String> = Spanned::read(&entry.node, walk)?;
    let visible = value.chars().all(|c| matches!(c, ' '..='~' | '\t'));
    if !visible || value.trim() != value.as_str() {
        let hint = "printable ASCII, without spaces at its ends";
        walk.wrong(&value.span, "not a value that a header can hold", hint);
        return None;
    }
    Some((entry.key.clone(), value))
}

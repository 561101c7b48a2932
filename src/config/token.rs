//! `token_from` and `token_upstream`: where an issuer's tokens stand, and what is sent on of them.

use serde_json::json;

use super::describe::Shape;
use super::node::Node;
use super::walk::{Value, Walk};

/// A place in a request where a token may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenPlace {
    /// The cookie of this name.
    Cookie(String),
    /// The header of this name.
    Header(String),
    /// The parameter of this name in the query.
    Query(String),
    /// After `bearer` in `Sec-WebSocket-Protocol`.
    WebSocketProtocol,
}

words! {
    /// What is sent on of a verified token.
    pub enum TokenUpstream {
        /// `Authorization: Bearer`, wherever it came from.
        Bearer = "bearer",
        /// Nothing.
        Drop = "drop",
        /// A header's token as it came; one from elsewhere is taken out.
        Keep = "keep",
    }
}

const PLACES: &str = "\"header:NAME\", \"cookie:NAME\", \"query:NAME\" or \"websocket_protocol\"; NAME in letters, digits, `-`, `_`, `.`";

impl Value for TokenPlace {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        let Some(text) = node.text() else {
            walk.expected(node, "a place of tokens");
            return None;
        };
        let place = match text.value.split_once(':') {
            Some(("cookie", name)) if is_name(name) => Some(Self::Cookie(name.to_owned())),
            Some(("header", name)) if is_name(name) => Some(Self::Header(name.to_owned())),
            Some(("query", name)) if is_name(name) => Some(Self::Query(name.to_owned())),
            None if text.value == "websocket_protocol" => Some(Self::WebSocketProtocol),
            Some(_) | None => None,
        };
        if place.is_none() {
            let message = format!("{} is not a place where a token can stand", text.shown());
            walk.wrong(&node.span, message, PLACES);
        }
        place
    }

    fn shape() -> Shape {
        let pattern = "^((header|cookie|query):[A-Za-z0-9._-]{1,64}|websocket_protocol)$";
        Shape::or_expanded(
            "`\"header:NAME\"`, `\"cookie:NAME\"`, `\"query:NAME\"`, `\"websocket_protocol\"`",
            &json!({ "type": "string", "pattern": pattern }),
        )
    }
}

/// Names that are written alike in headers, cookies and queries, without escapes or quotes.
fn is_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=64).contains(&name.len()) && name.bytes().all(good)
}

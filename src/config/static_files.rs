//! What belongs to files: their codings, and pages about errors.

use std::path::PathBuf;

use serde_json::json;

use super::Spanned;
use super::describe::Shape;
use super::node::{Node, NodeKind, quoted};
use super::walk::{Value, Walk};

words! {
    /// A way to encode content.
    pub enum Coding {
        /// Brotli; `app.js.br` beside `app.js`.
        Brotli = "br",
        /// Zstandard; `app.js.zst` beside `app.js`.
        Zstd = "zstd",
        /// gzip; `app.js.gz` beside `app.js`.
        Gzip = "gzip",
    }
}

/// Pages about errors: statuses and files.
#[derive(Clone, Debug, Default)]
pub struct ErrorPages(pub Vec<(Statuses, Spanned<PathBuf>)>);

/// Which statuses a page is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Statuses {
    /// `4xx` or `5xx`, by the first digit.
    Class(u16),
    /// This one.
    One(u16),
}

impl Statuses {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "4xx" => Some(Self::Class(4)),
            "5xx" => Some(Self::Class(5)),
            _ if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().ok().filter(|status| (400..600).contains(status)).map(Self::One)
            }
            _ => None,
        }
    }
}

impl Value for ErrorPages {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        let NodeKind::Table(entries) = &node.kind else {
            walk.expected(node, "a table of statuses and files");
            return None;
        };
        let mut pages = Vec::new();
        let mut whole = true;
        for entry in entries {
            let statuses = Statuses::parse(&entry.key.value);
            if statuses.is_none() {
                let message = format!("{} is no status of an error", quoted(&entry.key));
                walk.wrong(&entry.key.span, message, "write `404`, `4xx` or `5xx`");
            }
            let page = Spanned::read(&entry.node, walk);
            whole &= statuses.is_some() && page.is_some();
            pages.extend(statuses.zip(page));
        }
        whole.then_some(Self(pages))
    }

    fn shape() -> Shape {
        let path = json!({ "type": "string", "minLength": 1 });
        Shape::new(
            "table of statuses (`404`, `4xx`, `5xx`) and paths",
            json!({
                "type": "object",
                "patternProperties": { "^([45][0-9]{2}|[45]xx)$": path },
                "additionalProperties": false,
            }),
        )
    }
}

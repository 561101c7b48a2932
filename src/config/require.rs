//! `require`: what a token must claim, in a route or for all tokens of an issuer.

use std::ops::Range;

use serde_json::{Value as Json, json};

use super::describe::Shape;
use super::node::{Entry, Node, NodeKind, quoted};
use super::walk::{Value, Walk, read_list};
use super::{Diagnostic, Spanned};

/// One table of rules, all of which must hold. Several tables mean "or".
#[derive(Clone, Debug)]
pub struct RequireTable {
    /// One rule per claim named, in the order of the file.
    pub claims: Vec<ClaimRule>,
    /// Where the table stands in the file.
    pub span: Range<usize>,
}

/// What one claim must hold. Empty lists demand nothing.
#[derive(Clone, Debug)]
pub struct ClaimRule {
    /// A literal claim name; one that begins with `/` is a JSON Pointer.
    pub name: Spanned<String>,
    /// At least one of these.
    pub any: Vec<serde_json::Value>,
    /// All of these.
    pub all: Vec<serde_json::Value>,
    /// None of these.
    pub none: Vec<serde_json::Value>,
}

impl Value for RequireTable {
    // Of no alternatives none is met; whoever takes that for "nothing" opens the route.
    const NONE_IF_ABSENT: bool = true;

    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        let NodeKind::Table(entries) = &node.kind else {
            walk.expected(node, "a table of claims");
            return None;
        };
        if entries.is_empty() {
            // An empty table would be met by every token: surely not what somebody wrote it for.
            let problem = Diagnostic::error(node.span.clone(), "demands nothing");
            walk.report(problem.hint("name a claim, or leave the key out"));
            return None;
        }
        let rules: Vec<Option<ClaimRule>> = entries.iter().map(|entry| rule(entry, walk)).collect();
        let claims = rules.into_iter().collect::<Option<_>>()?;
        Some(Self { claims, span: node.span.clone() })
    }

    fn shape() -> Shape {
        let scalar = json!({ "type": ["string", "number", "boolean"] });
        let list = json!({ "type": "array", "items": scalar, "minItems": 1 });
        let rule = json!({
            "type": "object",
            "properties": { "all": list, "any": list, "none": list },
            "additionalProperties": false,
            "minProperties": 1,
        });
        let schema = json!({
            "type": "object",
            "additionalProperties": { "anyOf": [scalar, list, rule] },
            "minProperties": 1,
        });
        Shape::new("table of claims", schema)
    }

    fn read_many(node: &Node, walk: &mut Walk<'_>) -> Option<Vec<Self>> {
        match node.kind {
            NodeKind::Array(_) => read_list(node, walk),
            NodeKind::Boolean(_)
            | NodeKind::Datetime
            | NodeKind::Failed
            | NodeKind::Float(_)
            | NodeKind::Integer(_)
            | NodeKind::Table(_)
            | NodeKind::Text(_) => Self::read(node, walk).map(|one| vec![one]),
        }
    }

    fn shape_many() -> Shape {
        let one = Self::shape();
        let several = json!({ "type": "array", "items": one.schema, "minItems": 1 });
        let schema = json!({ "anyOf": [one.schema, several] });
        Shape::new("table of claims, or a list of tables", schema)
    }
}

fn rule(entry: &Entry, walk: &mut Walk<'_>) -> Option<ClaimRule> {
    let mut rule =
        ClaimRule { name: entry.key.clone(), any: Vec::new(), all: Vec::new(), none: Vec::new() };
    if !is_claim(&rule.name) {
        let message =
            format!("{} is neither a claim's name nor a JSON Pointer", quoted(&rule.name));
        walk.wrong(&rule.name.span, message, "in a JSON Pointer `~` is written `~0`, `/` `~1`");
        return None;
    }
    let NodeKind::Table(lists) = &entry.node.kind else {
        rule.any = values(&entry.node, walk)?;
        return Some(rule);
    };
    if lists.is_empty() {
        walk.wrong(&entry.node.span, "demands nothing", LISTS);
        return None;
    }
    for list in lists {
        let place = match list.key.as_str() {
            "all" => &mut rule.all,
            "any" => &mut rule.any,
            "none" => &mut rule.none,
            other => {
                walk.wrong(&list.key.span, format!("unknown key {}", quoted(other)), LISTS);
                return None;
            }
        };
        *place = values(&list.node, walk)?;
    }
    Some(rule)
}

const LISTS: &str = "known keys: any, all, none";

/// One value or a list of them, none of them nested.
fn values(node: &Node, walk: &mut Walk<'_>) -> Option<Vec<Json>> {
    let NodeKind::Array(items) = &node.kind else {
        return scalar(node, walk).map(|value| vec![value]);
    };
    if items.is_empty() {
        walk.wrong(
            &node.span,
            "an empty list demands nothing",
            "name a value, or leave the claim out",
        );
        return None;
    }
    let values: Vec<Option<Json>> = items.iter().map(|item| scalar(item, walk)).collect();
    values.into_iter().collect()
}

fn scalar(node: &Node, walk: &mut Walk<'_>) -> Option<Json> {
    let value = node.json().filter(|value| !value.is_array() && !value.is_object());
    if value.is_none() {
        walk.expected(node, "a string, a number or a boolean");
    }
    value
}

/// A literal name, or a JSON Pointer (RFC 6901) with sound escapes.
pub(super) fn is_claim(name: &str) -> bool {
    let escapes = |text: &str| text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    !name.is_empty() && (!name.starts_with('/') || escapes(name))
}

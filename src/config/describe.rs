//! What the definitions say of themselves: for messages, the reference page and the JSON Schema.

use serde_json::{Value as Json, json};

use super::node::{Node, quoted};
use super::walk::{Value, Walk};

/// What happens if a key is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// This TOML value stands for it.
    Default(&'static str),
    /// What its absence means, in words.
    Optional(&'static str),
    /// An error.
    Required,
}

/// The least and the greatest value, as TOML texts of the key's own type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) min: &'static str,
    pub(super) max: &'static str,
}

impl Limits {
    /// Reports a value beyond the limits.
    pub(super) fn check<T: Value>(&self, value: &T, node: &Node, walk: &mut Walk<'_>) -> bool {
        let mut limit = |text| T::read(&Node::literal(text, &node.span)?, walk)?.measure();
        let (Some(min), Some(max)) = (limit(self.min), limit(self.max)) else {
            return true;
        };
        let good = value.measure().is_none_or(|value| (min..=max).contains(&value));
        if !good {
            let message = format!(
                "out of range: between {} and {} is allowed",
                self.bare_min(),
                self.bare_max()
            );
            walk.report(super::Diagnostic::error(node.span.clone(), message));
        }
        good
    }

    /// The least value without quotes.
    pub(super) fn bare_min(&self) -> &'static str {
        self.min.trim_matches('"')
    }

    /// The greatest value without quotes.
    pub(super) fn bare_max(&self) -> &'static str {
        self.max.trim_matches('"')
    }
}

/// What a value looks like.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// In words, with examples.
    pub(super) text: String,
    /// As JSON Schema.
    pub(super) schema: Json,
    /// How a table of this shape is headed.
    pub(super) many: Many,
}

/// How tables of one kind are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Many {
    /// `[[key]]`
    List,
    /// `[key.NAME]`
    Named,
    /// `[key]`
    One,
}

impl Shape {
    pub(super) fn new(text: impl Into<String>, schema: Json) -> Self {
        Self { text: text.into(), schema, many: Many::One }
    }

    /// A value that is no string, but may be written as one that holds `${...}`.
    pub(super) fn or_expanded(text: impl Into<String>, schema: &Json) -> Self {
        let expanded = json!({ "type": "string", "pattern": "\\$\\{" });
        Self::new(text, json!({ "anyOf": [schema, expanded] }))
    }

    pub(super) fn list(item: Self) -> Self {
        let schema = json!({ "type": "array", "items": item.schema });
        let text = match item.text.as_str() {
            "string" => "list of strings".to_owned(),
            other => format!("list of: {other}"),
        };
        Self { text, schema, many: Many::List }
    }

    pub(super) fn named(item: Self) -> Self {
        let names = json!({ "pattern": "^[A-Za-z0-9._-]{1,64}$" });
        let schema = json!({ "type": "object", "propertyNames": names, "additionalProperties": item.schema });
        Self { text: format!("{} under names", item.text), schema, many: Many::Named }
    }

    /// The heading of such a table.
    pub(super) fn heading(&self, key: &str) -> String {
        match self.many {
            Many::List => format!("`[[{key}]]`"),
            Many::Named => format!("`[{key}.NAME]`"),
            Many::One => format!("`[{key}]`"),
        }
    }
}

/// A table as its definition describes it.
#[derive(Clone, Debug)]
pub(super) struct TableDoc {
    pub(super) doc: String,
    pub(super) fields: Vec<FieldDoc>,
}

/// A key as its definition describes it.
#[derive(Clone, Debug)]
pub(super) struct FieldDoc {
    pub(super) key: &'static str,
    pub(super) doc: String,
    pub(super) shape: Shape,
    pub(super) presence: Presence,
    pub(super) limits: Option<Limits>,
    pub(super) table: Option<TableDoc>,
}

impl TableDoc {
    /// The JSON Schema of the table.
    pub(super) fn shape(&self) -> Shape {
        let mut properties = serde_json::Map::new();
        let mut required = Vec::new();
        for field in &self.fields {
            properties.insert(field.key.to_owned(), field.schema());
            if field.presence == Presence::Required {
                required.push(field.key);
            }
        }
        let mut schema = json!({
            "type": "object",
            "description": self.doc,
            "properties": properties,
            "additionalProperties": false,
        });
        if let (Some(object), false) = (schema.as_object_mut(), required.is_empty()) {
            object.insert("required".to_owned(), json!(required));
        }
        Shape::new("table", schema)
    }
}

impl FieldDoc {
    /// The JSON Schema of the key's value, with its doc and its default.
    pub(super) fn schema(&self) -> Json {
        let mut schema = self.shape.schema.clone();
        if let Some(object) = schema.as_object_mut() {
            object.insert("description".to_owned(), json!(self.doc));
            if let Presence::Default(text) = self.presence
                && let Some(default) = Node::literal(text, &(0..0)).and_then(|node| node.json())
            {
                object.insert("default".to_owned(), default);
            }
        }
        schema
    }
}

/// Doc lines as one paragraph.
pub(super) fn paragraph(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// One of a closed list of words, or a message and a hint that name them.
pub(super) fn word<T: Copy>(
    words: &[(&'static str, T)],
    node: &Node,
    walk: &mut Walk<'_>,
) -> Option<T> {
    let names = || words.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let Some(text) = node.text() else {
        walk.expected(node, &format!("one of {}", names()));
        return None;
    };
    let found = words.iter().find(|(name, _)| *name == text.value).map(|(_, word)| *word);
    if found.is_none() {
        let near = super::nearest::nearest(&text.value, words.iter().map(|(name, _)| *name));
        let hint = match near.filter(|_| !text.expanded) {
            Some(near) => format!("did you mean {}?", quoted(near)),
            None => format!("one of {}", names()),
        };
        walk.wrong(
            &node.span,
            format!("{} is not a value of `{}`", text.shown(), walk.key()),
            hint,
        );
    }
    found
}

/// The shape of a closed list of words.
pub(super) fn word_shape(words: &[(&'static str, String)]) -> Shape {
    let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
    let text =
        words.iter().map(|(name, doc)| format!("`\"{name}\"` ({})", doc.trim_end_matches('.')));
    Shape::or_expanded(text.collect::<Vec<_>>().join(", "), &json!({ "enum": names }))
}

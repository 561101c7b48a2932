//! The parsed file as a tree of values with their places, every string expanded once.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::expand::Expander;
use super::{Diagnostic, Spanned};

/// A value of the file.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: NodeKind,
    pub(super) span: Range<usize>,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum NodeKind {
    Array(Vec<Node>),
    Boolean(bool),
    Datetime,
    /// A string whose expansion failed: reported already.
    Failed,
    Float(f64),
    Integer(i128),
    Table(Vec<Entry>),
    Text(Text),
}

/// A string of the file.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) value: String,
    /// Something in it came from the environment or from another file.
    pub(super) expanded: bool,
}

/// A key and its value, in the order of the file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Spanned<String>,
    pub(super) node: Node,
}

impl Node {
    /// The tree of a whole file, and whether there were syntax errors. They are reported, and what
    /// could be read of the file is returned all the same.
    pub(super) fn document(
        text: &str,
        expander: &Expander<'_>,
        problems: &mut Vec<Diagnostic>,
    ) -> (Self, bool) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let broken = !errors.is_empty();
        for error in errors {
            let span = error.span().unwrap_or(text.len()..text.len());
            problems.push(Diagnostic::error(span, error.message()));
        }
        let kind = table_kind(table.into_inner(), &mut |node| expand(node, expander, problems));
        (Self { kind, span: 0..0 }, broken)
    }

    /// A value of our own, a default or a limit, read as if it stood at `span`.
    pub(super) fn literal(text: &str, span: &Range<usize>) -> Option<Self> {
        let value = DeValue::parse(text).ok()?;
        let mut node = build(value.into_inner(), 0..0, &mut |text| NodeKind::Text(text.1));
        node.place(span);
        Some(node)
    }

    fn place(&mut self, span: &Range<usize>) {
        self.span = span.clone();
        match &mut self.kind {
            NodeKind::Array(items) => items.iter_mut().for_each(|item| item.place(span)),
            NodeKind::Table(entries) => entries.iter_mut().for_each(|entry| {
                entry.key.span = span.clone();
                entry.node.place(span);
            }),
            NodeKind::Boolean(_)
            | NodeKind::Datetime
            | NodeKind::Failed
            | NodeKind::Float(_)
            | NodeKind::Integer(_)
            | NodeKind::Text(_) => {}
        }
    }

    /// What the value is, in words.
    pub(super) fn found(&self) -> &'static str {
        match &self.kind {
            NodeKind::Array(_) => "a list",
            NodeKind::Boolean(_) => "a boolean",
            NodeKind::Datetime => "a date",
            NodeKind::Failed => "nothing",
            NodeKind::Float(_) => "a float",
            NodeKind::Integer(_) => "a whole number",
            NodeKind::Table(_) => "a table",
            NodeKind::Text(_) => "a string",
        }
    }

    /// The string, if it is one.
    pub(super) fn text(&self) -> Option<&Text> {
        match &self.kind {
            NodeKind::Text(text) => Some(text),
            NodeKind::Array(_)
            | NodeKind::Boolean(_)
            | NodeKind::Datetime
            | NodeKind::Failed
            | NodeKind::Float(_)
            | NodeKind::Integer(_)
            | NodeKind::Table(_) => None,
        }
    }
}

impl Text {
    /// The string as a message may show it: never what was expanded, and no control characters.
    pub(super) fn shown(&self) -> String {
        if self.expanded {
            return "the expanded value".to_owned();
        }
        quoted(&self.value)
    }
}

/// Text between backticks, cut at 60 characters, without control characters.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String =
        text.chars().take(60).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(60).is_some() {
        shown.push_str("...");
    }
    format!("`{shown}`")
}

type TextAt = (Range<usize>, Text);

fn expand(at: TextAt, expander: &Expander<'_>, problems: &mut Vec<Diagnostic>) -> NodeKind {
    let (span, text) = at;
    match expander.expand(&text.value) {
        Ok((value, expanded)) => NodeKind::Text(Text { value, expanded }),
        Err(error) => {
            let problem = Diagnostic::error(span, error.message);
            problems.push(match error.hint {
                Some(hint) => problem.hint(hint),
                None => problem,
            });
            NodeKind::Failed
        }
    }
}

// Recursion is bounded: the parser refuses files nested deeper than 80 levels.
fn build(value: DeValue<'_>, span: Range<usize>, text: &mut dyn FnMut(TextAt) -> NodeKind) -> Node {
    let kind = match value {
        DeValue::Array(items) => {
            NodeKind::Array(items.into_iter().map(|item| build_at(item, text)).collect())
        }
        DeValue::Boolean(value) => NodeKind::Boolean(value),
        DeValue::Datetime(_) => NodeKind::Datetime,
        DeValue::Float(float) => NodeKind::Float(float.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Integer(integer) => {
            // What even this type cannot hold is out of every range, and is told so later.
            let parsed = i128::from_str_radix(integer.as_str(), integer.radix());
            NodeKind::Integer(parsed.unwrap_or(i128::MAX))
        }
        DeValue::String(value) => {
            text((span.clone(), Text { value: value.into_owned(), expanded: false }))
        }
        DeValue::Table(table) => table_kind(table, text),
    };
    Node { kind, span }
}

fn build_at(value: toml::Spanned<DeValue<'_>>, text: &mut dyn FnMut(TextAt) -> NodeKind) -> Node {
    let span = value.span();
    build(value.into_inner(), span, text)
}

fn table_kind(table: DeTable<'_>, text: &mut dyn FnMut(TextAt) -> NodeKind) -> NodeKind {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| {
            let span = key.span();
            let key = Spanned { value: key.into_inner().into_owned(), span };
            Entry { key, node: build_at(value, text) }
        })
        .collect();
    // The parser sorts by key; the order of the file is the one that means something.
    entries.sort_by_key(|entry| entry.key.span.start);
    NodeKind::Table(entries)
}

impl Node {
    /// The value as JSON; none for dates, failed strings and floats that JSON lacks.
    pub(super) fn json(&self) -> Option<serde_json::Value> {
        use serde_json::Value as Json;
        Some(match &self.kind {
            NodeKind::Array(items) => {
                Json::Array(items.iter().map(Self::json).collect::<Option<_>>()?)
            }
            NodeKind::Boolean(value) => Json::Bool(*value),
            NodeKind::Datetime | NodeKind::Failed => return None,
            NodeKind::Float(value) => Json::Number(serde_json::Number::from_f64(*value)?),
            NodeKind::Integer(value) => Json::Number(i64::try_from(*value).ok()?.into()),
            NodeKind::Table(entries) => {
                let pair = |entry: &Entry| Some((entry.key.value.clone(), entry.node.json()?));
                Json::Object(entries.iter().map(pair).collect::<Option<_>>()?)
            }
            NodeKind::Text(text) => Json::String(text.value.clone()),
        })
    }
}

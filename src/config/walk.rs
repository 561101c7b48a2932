//! The walk over the tree: every value is read, every problem gathered, none ends the walk.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::describe::{Limits, Presence, Shape, TableDoc};
use super::nearest::nearest;
use super::node::{Entry, Node, NodeKind, quoted};
use super::{Diagnostic, Source, Spanned};

/// A type that a value of the file can be read as.
pub(super) trait Value: Sized {
    /// A table that stands in a map under a name of the operator's choice.
    const NAMED: bool = false;

    /// Whether a list of it that is not written has none, though an empty one may not be written.
    const NONE_IF_ABSENT: bool = false;

    /// Reads the value; what is wrong with it goes to the walk.
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self>;

    /// What the value looks like, for the reference and the schema.
    fn shape() -> Shape;

    /// The table it is, if it is one.
    fn table() -> Option<TableDoc> {
        None
    }

    /// What stands for a key that is not written.
    fn absent() -> Option<Self> {
        None
    }

    /// The number that limits are about.
    fn measure(&self) -> Option<u128> {
        None
    }

    /// Reads several: a list, unless the type says otherwise.
    fn read_many(node: &Node, walk: &mut Walk<'_>) -> Option<Vec<Self>> {
        if Self::NAMED { read_named(node, walk) } else { read_list(node, walk) }
    }

    /// What several look like.
    fn shape_many() -> Shape {
        if Self::NAMED { Shape::named(Self::shape()) } else { Shape::list(Self::shape()) }
    }
}

/// What the walk has found, and where it is.
pub(super) struct Walk<'a> {
    base_dir: &'a Path,
    source: &'a Source,
    pub(super) problems: Vec<Diagnostic>,
    /// As a person names the key: `upstream.web.kind`, `route[2].path`.
    path: String,
    /// As the definitions name it: `upstream.kind`, `route.path`.
    key: String,
    /// The name of the table that is about to be read.
    name: Option<Spanned<String>>,
    /// Starts of tables of which something could not be read: nothing is missing there for sure.
    incomplete: BTreeSet<usize>,
    /// Lines with syntax errors, if there are any: what else is wrong on them follows from those.
    broken: Option<BTreeSet<usize>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(base_dir: &'a Path, source: &'a Source) -> Self {
        Self {
            base_dir,
            source,
            problems: Vec::new(),
            path: String::new(),
            key: String::new(),
            name: None,
            incomplete: BTreeSet::new(),
            broken: None,
        }
    }

    /// From now on the tree is what was left of a file with syntax errors.
    pub(super) fn recover(&mut self) {
        let spans = self.problems.iter().filter_map(|one| one.span.as_ref());
        let lines = spans.map(|span| self.source.position(span.start).0).collect();
        self.broken = Some(lines);
    }

    /// Takes up a problem of the key that is being read.
    pub(super) fn report(&mut self, problem: Diagnostic) {
        if let (Some(lines), Some(span)) = (&self.broken, &problem.span)
            && lines.contains(&self.source.position(span.start).0)
        {
            return;
        }
        self.problems.push(match problem.path.is_empty() {
            true => problem.path(self.path.clone()),
            false => problem,
        });
    }

    /// `expected ..., found ...`
    pub(super) fn expected(&mut self, node: &Node, what: &str) {
        let message = match &node.kind {
            NodeKind::Failed => return,
            NodeKind::Text(text) if text.expanded => format!("the expanded value is not {what}"),
            NodeKind::Array(_)
            | NodeKind::Boolean(_)
            | NodeKind::Datetime
            | NodeKind::Float(_)
            | NodeKind::Integer(_)
            | NodeKind::Table(_)
            | NodeKind::Text(_) => format!("expected {what}, found {}", node.found()),
        };
        self.report(Diagnostic::error(node.span.clone(), message));
    }

    /// A value as a message may show it.
    pub(super) fn shown(&self, value: &Spanned<String>) -> String {
        self.source.shown(value)
    }

    /// What stands in the file there.
    pub(super) fn written(&self, span: &Range<usize>) -> &str {
        self.source.text().get(span.clone()).unwrap_or_default()
    }

    /// The key that is being read, without the tables around it.
    pub(super) fn key(&self) -> &str {
        self.key.rsplit('.').next().unwrap_or_default()
    }

    /// A wrong value.
    pub(super) fn wrong(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.report(Diagnostic::error(span.clone(), message).hint(hint));
    }

    /// The path as the file means it: relative ones begin at its folder.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.base_dir.join(path)
    }

    /// Whether something of the table could not be read, so that nothing may be called missing.
    pub(super) fn is_incomplete(&self, table: &Range<usize>) -> bool {
        self.incomplete.contains(&table.start)
    }

    /// Everything found.
    pub(super) fn finish(self) -> Vec<Diagnostic> {
        self.problems
    }

    /// Reads a value one level below, `path` and `key` being what is added to the names.
    fn descend<T>(&mut self, path: &str, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let (path_length, key_length) = (self.path.len(), self.key.len());
        if !self.path.is_empty() && !path.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(path);
        if !self.key.is_empty() && !key.is_empty() {
            self.key.push('.');
        }
        self.key.push_str(key);
        let value = read(self);
        self.path.truncate(path_length);
        self.key.truncate(key_length);
        value
    }

    /// Reads a value.
    pub(super) fn value<T: Value>(&mut self, node: &Node) -> Option<T> {
        T::read(node, self)
    }
}

/// Reads a list, every item of it.
pub(super) fn read_list<T: Value>(node: &Node, walk: &mut Walk<'_>) -> Option<Vec<T>> {
    let NodeKind::Array(items) = &node.kind else {
        let hint = node.text().map(|text| format!("write `[{}]`", text.shown().replace('`', "\"")));
        match hint.filter(|_| node.text().is_some_and(|text| !text.expanded)) {
            Some(hint) => {
                walk.wrong(&node.span, format!("expected a list, found {}", node.found()), hint)
            }
            None => walk.expected(node, "a list"),
        }
        return None;
    };
    let mut seen = BTreeSet::new();
    let mut values = Vec::with_capacity(items.len());
    let mut whole = true;
    for (place, item) in items.iter().enumerate() {
        if let Some(text) = item.text()
            && !seen.insert(text.value.as_str())
        {
            let message = format!("{} stands in the list twice", text.shown());
            walk.report(Diagnostic::error(item.span.clone(), message));
        }
        match walk.descend(&format!("[{place}]"), "", |walk| walk.value(item)) {
            Some(value) => values.push(value),
            None => whole = false,
        }
    }
    // Of the big tables the good ones are kept, so that the rules between tables can be checked.
    (whole || T::table().is_some()).then_some(values)
}

fn read_named<T: Value>(node: &Node, walk: &mut Walk<'_>) -> Option<Vec<T>> {
    let NodeKind::Table(entries) = &node.kind else {
        walk.expected(node, "tables with names");
        return None;
    };
    let mut values = Vec::with_capacity(entries.len());
    for Entry { key, node } in entries {
        if !is_name(key) {
            let message = format!("{} is not a good name", quoted(key));
            walk.wrong(&key.span, message, "up to 64 letters, digits, `-`, `_` and `.`");
        }
        walk.name = Some(key.clone());
        values.extend(walk.descend(key, "", |walk| walk.value(node)));
    }
    Some(values)
}

/// Names stand in logs, metrics and commands: no spaces, no quotes, nothing long.
fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=64).contains(&name.len()) && name.chars().all(good)
}

/// The keys of one table while it is read.
pub(super) struct Fields<'n> {
    entries: &'n [Entry],
    span: &'n Range<usize>,
    name: Option<Spanned<String>>,
    /// Keys that an unknown one was probably meant to be.
    meant: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// Opens a table whose keys are `known`; the others are reported.
    pub(super) fn open(
        node: &'n Node,
        known: &[&'static str],
        walk: &mut Walk<'_>,
    ) -> Option<Self> {
        let name = walk.name.take();
        let NodeKind::Table(entries) = &node.kind else {
            walk.expected(node, "a table");
            return None;
        };
        let mut fields = Self { entries, span: &node.span, name, meant: Vec::new() };
        for Entry { key, .. } in entries {
            if !known.contains(&key.as_str()) {
                fields.unknown(key, known, walk);
            }
        }
        Some(fields)
    }

    fn unknown(&mut self, key: &Spanned<String>, known: &[&'static str], walk: &mut Walk<'_>) {
        walk.incomplete.insert(self.span.start);
        let problem = Diagnostic::error(key.span.clone(), format!("unknown key {}", quoted(key)));
        walk.report(match nearest(key, known.iter().copied()) {
            Some(meant) => {
                self.meant.push(meant);
                problem.hint(format!("did you mean `{meant}`?"))
            }
            None if self.span.is_empty() => problem,
            None => problem.hint(format!("known keys: {}", known.join(", "))),
        });
    }

    /// The key that the table stands under, where it stands in a map.
    pub(super) fn name(&self) -> Option<Spanned<String>> {
        self.name.clone()
    }

    /// Reads one key. None only if there is nothing to go on with: a required key is missing or
    /// wrong. A wrong optional key counts as absent, and the table as incomplete.
    pub(super) fn read<T: Value>(
        &self,
        key: &'static str,
        presence: Presence,
        limits: Option<Limits>,
        walk: &mut Walk<'_>,
    ) -> Option<T> {
        let Some(entry) = self.entries.iter().find(|entry| entry.key.value == key) else {
            return self.missing(key, presence, walk);
        };
        let node = &entry.node;
        let read = walk.descend(key, key, |walk| {
            let empty = matches!(&node.kind, NodeKind::Array(items) if items.is_empty());
            if empty && presence != Presence::Default("[]") {
                walk.report(empty_list(key, presence, node));
                return None;
            }
            let value = walk.value::<T>(node)?;
            limits.is_none_or(|limits| limits.check(&value, node, walk)).then_some(value)
        });
        if read.is_none() {
            walk.incomplete.insert(self.span.start);
            return self.fallback(presence, walk);
        }
        read
    }

    fn missing<T: Value>(
        &self,
        key: &'static str,
        presence: Presence,
        walk: &mut Walk<'_>,
    ) -> Option<T> {
        let told = walk.broken.is_some() || self.meant.contains(&key);
        if presence == Presence::Required && !told {
            let shape = T::shape();
            walk.report(match walk.key.is_empty() {
                true => Diagnostic::of_file(format!("there is no {}", shape.heading(key)))
                    .hint("the smallest useful file has a `[listener.NAME]` and a `[[route]]`"),
                false => Diagnostic::error(self.span.clone(), format!("missing key `{key}`"))
                    .hint(format!("it takes: {}", shape.text)),
            });
        }
        self.fallback(presence, walk)
    }

    fn fallback<T: Value>(&self, presence: Presence, walk: &mut Walk<'_>) -> Option<T> {
        match presence {
            Presence::Default(text) => T::read(&Node::literal(text, self.span)?, walk),
            Presence::Optional(_) | Presence::Required => T::absent(),
        }
    }
}

fn empty_list(key: &str, presence: Presence, node: &Node) -> Diagnostic {
    let without = match presence {
        Presence::Default(default) => format!("; without the key: `{default}`"),
        Presence::Optional(absence) => format!("; without the key: {absence}"),
        Presence::Required => String::new(),
    };
    Diagnostic::error(node.span.clone(), format!("`{key}` is an empty list"))
        .hint(format!("write at least one value{without}"))
}

impl<T: Value> Value for Vec<T> {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        T::read_many(node, walk)
    }

    fn absent() -> Option<Self> {
        T::NONE_IF_ABSENT.then(Self::new)
    }

    fn shape() -> Shape {
        T::shape_many()
    }

    fn table() -> Option<TableDoc> {
        T::table()
    }
}

impl<T: Value> Value for Option<T> {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        T::read(node, walk).map(Some)
    }

    fn shape() -> Shape {
        T::shape()
    }

    fn table() -> Option<TableDoc> {
        T::table()
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn measure(&self) -> Option<u128> {
        self.as_ref().and_then(T::measure)
    }
}

impl<T: Value> Value for Spanned<T> {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        Some(Self { value: T::read(node, walk)?, span: node.span.clone() })
    }

    fn shape() -> Shape {
        T::shape()
    }

    fn table() -> Option<TableDoc> {
        T::table()
    }

    fn measure(&self) -> Option<u128> {
        self.value.measure()
    }
}

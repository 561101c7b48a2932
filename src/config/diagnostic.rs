//! Problems of a configuration: what, where, and what to do about it.
//!
//! Drawn like a compiler draws them. The source lines shown come from the file, so anything in
//! them that may be a secret is masked first (`mask`).

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::node::quoted;
use super::{Spanned, mask};

/// More than these are counted, not drawn: whoever has a hundred problems begins with the first.
const DRAWN: usize = 100;

/// A configuration's name and text, kept to draw diagnostics that are found after parsing.
#[derive(Clone)]
pub struct Source {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    text: String,
    masked: Vec<Range<usize>>,
}

/// Whether a problem forbids to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// Allowed, but hardly meant.
    Warning,
}

/// One problem of a configuration.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// Whether it forbids to run.
    pub severity: Severity,
    /// Byte offsets in the source; none if the problem has no place there.
    pub span: Option<Range<usize>>,
    /// The key, as `upstream.web.kind` or `route[2].path` (counted from 0); empty for the file.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What stands beside the caret.
    pub label: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Problems and the source that they are about.
#[derive(Clone)]
pub struct Diagnostics {
    source: Source,
    list: Vec<Diagnostic>,
}

impl Source {
    /// A source to be shown under `name`.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let masked = mask::secrets(&text);
        Self { inner: Arc::new(Inner { name: name.into(), text, masked }) }
    }

    /// The name under which the source is shown, usually its path.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The text as it was read. It may hold secrets.
    pub fn text(&self) -> &str {
        &self.inner.text
    }

    /// A value as a message may show it: not if anything in it was expanded, since what came from
    /// the environment may be a secret wherever it stands.
    pub fn shown(&self, value: &Spanned<String>) -> String {
        let written = self.text().get(value.span.clone()).unwrap_or_default();
        if written.contains("${") { "the expanded value".to_owned() } else { quoted(value) }
    }

    /// The text as it may be shown: secrets masked, `${...}` not expanded.
    pub fn masked(&self) -> String {
        mask::masked(self.text(), &self.inner.masked)
    }

    /// Line and column of a byte offset, both from 1, the column in characters.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text().get(..offset).unwrap_or(self.text());
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        (
            line,
            before.chars().count() - before.get(..line_start).map_or(0, |s| s.chars().count()) + 1,
        )
    }

    /// The line where `span` begins, masked, its number, and the span's place in it.
    fn line(&self, span: &Range<usize>) -> (String, usize, Range<usize>) {
        let text = self.text();
        let start = floor(text, span.start);
        let line_start = text.get(..start).and_then(|s| s.rfind('\n')).map_or(0, |at| at + 1);
        let rest = text.get(start..).unwrap_or_default();
        let line_end = rest.find('\n').map_or(text.len(), |at| start + at);
        let end = floor(text, span.end.min(line_end)).max(start);
        let (line, span) = mask::apply(text, line_start..line_end, &self.inner.masked, start..end);
        let line = line.trim_end_matches('\r');
        // The problem may be the very line end that is not drawn.
        let span = span.start.min(line.len())..span.end.min(line.len());
        (line.to_owned(), self.position(start).0, span)
    }
}

/// The nearest character boundary at or before `offset`.
fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

impl Diagnostic {
    /// A problem that forbids to run.
    pub fn error(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            span: Some(span),
            path: String::new(),
            message: message.into(),
            label: None,
            hint: None,
        }
    }

    /// Something allowed, but hardly meant.
    pub fn warning(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, message) }
    }

    /// A problem of the whole configuration, with no place in it.
    pub fn of_file(message: impl Into<String>) -> Self {
        Self { span: None, ..Self::error(0..0, message) }
    }

    /// The same with the key it is about.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// The same with words beside the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Diagnostics {
    /// Problems of `source`, put into the order of the file.
    pub fn new(source: Source, mut list: Vec<Diagnostic>) -> Self {
        list.sort_by_key(|one| one.span.as_ref().map_or(0, |span| span.start));
        Self { source, list }
    }

    /// No problem at all?
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Every problem, in the order of the file.
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }

    /// How many forbid to run.
    pub fn errors(&self) -> usize {
        self.list.iter().filter(|one| one.severity == Severity::Error).count()
    }

    /// How many do not.
    pub fn warnings(&self) -> usize {
        self.list.len() - self.errors()
    }

    /// The source they are about.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Both lists in one, for the same source.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let mut list = self.list;
        list.extend(other.list);
        Self::new(self.source, list)
    }

    /// Text for a person: each problem with its line, a caret and its hint, an empty line between.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let drawn: Vec<String> =
            self.list.iter().take(DRAWN).map(|one| self.draw(one, &renderer)).collect();
        let mut text = drawn.join("\n\n");
        if !text.is_empty() {
            text.push('\n');
        }
        if self.list.len() > DRAWN {
            text.push_str(&format!("\n... and {} more\n", self.list.len() - DRAWN));
        }
        text
    }

    fn draw(&self, one: &Diagnostic, renderer: &Renderer) -> String {
        let level = match one.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let name = self.source.name();
        let mut group = Group::with_title(level.primary_title(one.message.as_str()));
        group = match &one.span {
            None => group.element(Origin::path(name)),
            Some(span) => {
                let (line, number, place) = self.source.line(span);
                let annotation = AnnotationKind::Primary.span(place).label(one.label.as_deref());
                let snippet = Snippet::source(line).path(name).line_start(number);
                group.element(snippet.annotation(annotation))
            }
        };
        if let Some(hint) = &one.hint {
            group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
        }
        renderer.render(&[group])
    }
}

impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_at_a_line_end_is_drawn() {
        for text in ["\r\r", "a\r\r\n", "\r", ""] {
            for at in 0..=text.len() {
                let problem = Diagnostic::error(at..text.len(), "here");
                let drawn = Diagnostics::new(Source::new("f", text), vec![problem]).render(false);
                assert!(drawn.contains("here"), "{text:?} at {at}");
            }
        }
    }
}

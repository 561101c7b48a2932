//! Hides what may be a secret in the source lines that diagnostics show.
//!
//! Works on the text alone, so that it holds for files that do not parse: whoever reads a CI log
//! must not learn a secret because a quote was missing behind it. Rather too much than too little.

use std::ops::Range;

/// What stands in for a secret, whatever its length.
const MASK: &str = "***";

/// The places in `text` that must not be shown, in order, never overlapping.
pub(super) fn secrets(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut line_start = 0;
    for line in text.split_inclusive('\n') {
        let next = line_start + line.len();
        let covered = found.last().is_some_and(|last| last.end > line_start);
        if !covered {
            if let Some(value) = secret_value(line) {
                found.push(line_start + value..value_end(text, line_start + value, next));
            } else if let Some(credentials) = url_credentials(line) {
                found.push(line_start + credentials.start..line_start + credentials.end);
            }
        }
        line_start = next;
    }
    found
}

/// Where the value of the line's first secret key begins.
fn secret_value(line: &str) -> Option<usize> {
    for (at, _) in line.match_indices('=') {
        let before = line.get(..at)?;
        let key = before.trim_end().trim_end_matches(['"', '\'']);
        let start = key.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
        let key = key.get(start.map_or(0, |start| start + 1)..)?;
        if is_secret(key) {
            let value = line.get(at + 1..)?;
            return Some(line.len() - value.trim_start_matches([' ', '\t']).len());
        }
    }
    // A key that lost its `=` still has its value behind it.
    let at = line.find("secret")?;
    let rest = line.get(at + "secret".len()..)?;
    let lost = !rest.contains('=') && rest.starts_with([' ', '\t', '"', '\'', ':']);
    (lost && !line.trim_start().starts_with('#')).then_some(at + "secret".len())
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let words = ["secret", "password", "passwd", "private"];
    key != "secret_encoding"
        && (words.iter().any(|word| key.contains(word))
            || super::nearest::distance(&key, "secret") <= 2)
}

/// The end of the value that begins at `start`: of its line, or of its multi-line string.
fn value_end(text: &str, start: usize, line_end: usize) -> usize {
    let value = text.get(start..).unwrap_or_default().trim_start_matches([' ', '\t']);
    let opened = text.len() - value.len();
    if value.starts_with('[') {
        // A list is no secret's value, but somebody may have written one over several lines.
        return line_end.max(opened + value.find(']').unwrap_or(value.len()));
    }
    for quotes in ["\"\"\"", "'''"] {
        if let Some(inside) = value.strip_prefix(quotes) {
            let close = inside.find(quotes).map_or(inside.len(), |at| at + quotes.len());
            let end = (opened + quotes.len() + close).max(line_end);
            let rest = text.get(end..).unwrap_or_default();
            let on_line_start = text.get(..end).is_none_or(|before| before.ends_with('\n'));
            return if on_line_start { end } else { end + rest.find('\n').unwrap_or(rest.len()) };
        }
    }
    line_end
}

/// The whole text with its secrets masked.
pub(super) fn masked(text: &str, secrets: &[Range<usize>]) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut at = 0;
    for secret in secrets {
        shown.push_str(text.get(at..secret.start).unwrap_or_default());
        shown.push_str(MASK);
        let cut = text.get(secret.clone()).unwrap_or_default();
        shown.extend(cut.ends_with('\n').then_some('\n'));
        at = secret.end;
    }
    shown.push_str(text.get(at..).unwrap_or_default());
    shown
}

/// `user:password` of the first URL on the line.
fn url_credentials(line: &str) -> Option<Range<usize>> {
    let start = line.find("://")? + 3;
    let authority = line.get(start..)?;
    let end = authority.find(['/', '"', '\'', ' ']).unwrap_or(authority.len());
    let at = authority.get(..end)?.rfind('@')?;
    Some(start..start + at)
}

/// The line with its secrets masked, and `span` (byte offsets of `text`) moved with it.
pub(super) fn apply(
    text: &str,
    line: Range<usize>,
    secrets: &[Range<usize>],
    span: Range<usize>,
) -> (String, Range<usize>) {
    let mut shown = String::new();
    let mut at = line.start;
    let (mut start, mut end) = (None, None);
    for secret in secrets.iter().filter(|one| one.start < line.end && one.end > line.start) {
        let (from, to) = (secret.start.max(line.start), secret.end.min(line.end));
        let here = |offset: usize| (offset < from).then(|| shown.len() + (offset - at));
        start = start.or_else(|| here(span.start));
        end = end.or_else(|| here(span.end));
        shown.push_str(text.get(at..from).unwrap_or_default());
        let masked = |offset: usize, edge: usize| (offset < to).then_some(edge);
        start = start.or_else(|| masked(span.start, shown.len()));
        if from < to {
            shown.push_str(MASK);
        }
        end = end.or_else(|| masked(span.end, shown.len()));
        at = to;
    }
    let rest = |offset: usize| shown.len() + offset.saturating_sub(at);
    let start = start.unwrap_or_else(|| rest(span.start));
    let end = end.unwrap_or_else(|| rest(span.end)).max(start);
    shown.push_str(text.get(at..line.end).unwrap_or_default());
    (shown, start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let secrets = secrets(text);
        let mut start = 0;
        let mut all = String::new();
        for line in text.split_inclusive('\n') {
            let end = start + line.trim_end_matches('\n').len();
            all.push_str(&apply(text, start..end, &secrets, start..start).0);
            all.push('\n');
            start += line.len();
        }
        all
    }

    #[test]
    fn nothing_of_a_secret_is_shown() {
        for text in [
            "secret = \"hunter2\"",
            "secret=\"hunter2",
            "\"secret\" = 'hunter2' # hunter2",
            "issuer.main.secret = \"hunter2\"",
            "main = { preset = \"simplejwt\", secret = \"hunter2\" }",
            "sercet = \"hunter2\"",
            "secret_key = \"hunter2\"",
            "secret \"hunter2\"",
            "secret: hunter2",
            "secret = \"\"\"\nhunter2\nhunter2\"\"\"",
            "secret = '''\nhunter2\nhunter2",
            "secret = [\n\"hunter2\",\n\"hunter2\"",
            "url = \"https://me:hunter2@id.example.com/\"",
        ] {
            let shown = shown(text);
            assert!(!shown.contains("hunter2"), "{text:?} was shown as {shown:?}");
            assert!(shown.contains(MASK), "{text:?} was shown as {shown:?}");
            let whole = masked(text, &secrets(text));
            assert!(!whole.contains("hunter2"), "{text:?} was shown as {whole:?}");
        }
    }

    #[test]
    fn other_lines_are_shown_as_they_are() {
        for text in
            ["secret_encoding = \"hex\"\n", "# the secret is elsewhere\n", "a = \"https://b/\"\n"]
        {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn a_span_behind_a_secret_stays_at_its_place() {
        let text = "url = \"http://u:p@h/\" # here";
        let place = text.find("# here").unwrap();
        let (line, span) = apply(text, 0..text.len(), &secrets(text), place..place + 6);
        assert_eq!(line.get(span).unwrap(), "# here");
    }
}

//! The list of what is in a directory, where the operator asked for one.
//!
//! Shows what a request for it would get, and nothing else: hidden names, links that lead out,
//! pipes and devices are left out. Names come from whoever may write to the folder: they are
//! escaped for the page, and encoded and led by `./` in links, so that none of them can be a scheme,
//! a host or markup. Bounded: a directory of a million files costs no more than one of a thousand.

use std::fmt::Write as _;
use std::io;

use hyper::body::Bytes;

use super::containment::{Entry, RelativePath};
use super::folder::Folder;
use super::resolve::is_hidden;

/// Names that are read, of which the first in order are shown.
const MOST_READ: usize = 10_000;

/// Names that are shown.
const MOST_SHOWN: usize = 1_000;

/// The page for `directory`. Blocks.
///
/// # Errors
/// The directory cannot be read.
pub(super) fn page(folder: &Folder, directory: &RelativePath) -> io::Result<Bytes> {
    let mut names = folder.root.names(directory, MOST_READ)?;
    // `.` and `..` are read too.
    let more = names.len() >= MOST_READ.saturating_sub(2);
    let top = directory.as_bytes().is_empty();
    // No path may hold a control character, so nobody could ask for such a name.
    names.retain(|name| !is_hidden(name, top) && !name.iter().any(u8::is_ascii_control));
    names.sort_unstable();
    let mut rows = String::new();
    let mut shown = 0_usize;
    let mut left_out = more;
    for name in names {
        let Some(path) = directory.join(&name) else { continue };
        let (slash, size) = match folder.root.entry(&path) {
            Ok(Entry::Directory) => ("/", String::new()),
            Ok(Entry::File(opened)) => ("", opened.stamp.size.to_string()),
            // What cannot be opened would not be served either.
            Ok(Entry::Absent) | Err(_) => continue,
        };
        if shown == MOST_SHOWN {
            left_out = true;
            break;
        }
        shown = shown.saturating_add(1);
        row(&mut rows, &name, slash, &size);
    }
    let up = if top { "" } else { "<tr><td><a href=\"../\">../</a></td><td></td></tr>\n" };
    let note = if left_out { "<p>There is more than is shown here.</p>\n" } else { "" };
    let title = escape(&String::from_utf8_lossy(directory.as_bytes()));
    let slash = if top { "" } else { "/" };
    Ok(Bytes::from(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>/{title}{slash}</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;margin:2rem}}\
         td{{padding:0 2rem 0 0}}td+td{{text-align:right}}</style></head>\n\
         <body><h1>/{title}{slash}</h1>\n<table>\n{up}{rows}</table>\n{note}</body></html>\n"
    )))
}

fn row(rows: &mut String, name: &[u8], slash: &str, size: &str) {
    let text = escape(&String::from_utf8_lossy(name));
    let link = encode(name);
    // Writing to a string cannot fail.
    let _infallible = writeln!(
        rows,
        "<tr><td><a href=\"./{link}{slash}\">{text}{slash}</a></td><td>{size}</td></tr>"
    );
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Controls and what turns the direction of writing: a name must not look like another.
            c if c.is_control()
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                escaped.push('\u{fffd}');
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// Percent-encoded but for what RFC 3986 calls unreserved.
pub(super) fn encode(name: &[u8]) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(*byte));
        } else {
            let _infallible = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_neither_markup_nor_schemes() {
        let mut rows = String::new();
        row(&mut rows, b"<script>'\"&.txt", "", "5");
        assert_eq!(
            rows,
            "<tr><td><a href=\"./%3Cscript%3E%27%22%26.txt\">\
             &lt;script&gt;&#39;&quot;&amp;.txt</a></td><td>5</td></tr>\n"
        );
        assert_eq!(encode(b"javascript:a b\xff"), "javascript%3Aa%20b%FF");
        assert_eq!(escape("a\u{202e}b\n"), "a\u{fffd}b\u{fffd}");
    }
}

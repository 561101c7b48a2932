//! Media types of files, by their names.
//!
//! The table is built in, never the system's, so that every machine answers alike. What it does not
//! know is bytes, and `nosniff` goes with every reply: no browser guesses that it is a page.

use hyper::header::HeaderValue;

/// What a file is, as far as its name says.
#[derive(Clone, Copy, Debug)]
pub(super) struct MediaType(&'static str);

impl MediaType {
    pub(super) fn of(file_name: &[u8]) -> Self {
        let file_name = String::from_utf8_lossy(file_name);
        let guess = mime_guess::from_path(&*file_name);
        Self(match guess.first_raw() {
            // RFC 9239 made the other name of it obsolete.
            Some("application/javascript") => "text/javascript",
            Some(known) => known,
            None => "application/octet-stream",
        })
    }

    /// With `charset=utf-8` for text: what is published today is, and a browser's guess may differ.
    pub(super) fn content_type(self) -> HeaderValue {
        if self.is_text() {
            let text = format!("{}; charset=utf-8", self.0);
            return HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(self.0));
        }
        HeaderValue::from_static(self.0)
    }

    fn is_text(self) -> bool {
        self.0.starts_with("text/")
            || self.0.ends_with("+json")
            || matches!(self.0, |"application/json"| "application/xhtml+xml" | "image/svg+xml")
    }

    /// Whether it names the assets that it is shown with.
    pub(super) fn is_page(self) -> bool {
        matches!(self.0, "text/html" | "application/xhtml+xml")
    }

    /// Whether a browser shows it without running anything in it, whoever made it. Everything else
    /// that a stranger uploaded is for saving: pages, SVG and XML run scripts, PDF readers do too,
    /// and what is invented next is not in any list of dangers.
    pub(super) fn is_passive(self) -> bool {
        let (kind, _) = self.0.split_once('/').unwrap_or_default();
        match kind {
            "image" => !self.0.ends_with("+xml"),
            "audio" | "font" | "video" => true,
            _ => self.0 == "text/plain",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_says_its_charset_and_the_unknown_is_bytes() {
        for (name, expected) in [
            ("a.html", "text/html; charset=utf-8"),
            ("a.css", "text/css; charset=utf-8"),
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.mjs", "text/javascript; charset=utf-8"),
            ("a.json", "application/json; charset=utf-8"),
            ("a.svg", "image/svg+xml; charset=utf-8"),
            ("a.txt", "text/plain; charset=utf-8"),
            ("a.webmanifest", "application/manifest+json; charset=utf-8"),
            ("a.png", "image/png"),
            ("a.woff2", "font/woff2"),
            ("a.wasm", "application/wasm"),
            ("a.unheard-of", "application/octet-stream"),
            ("README", "application/octet-stream"),
        ] {
            assert_eq!(MediaType::of(name.as_bytes()).content_type(), expected);
        }
    }

    #[test]
    fn what_may_run_something_is_not_passive() {
        for name in ["a.png", "a.jpg", "a.webp", "a.mp4", "a.mp3", "a.txt", "a.woff2"] {
            assert!(MediaType::of(name.as_bytes()).is_passive(), "{name}");
        }
        for name in [
            "a.html",
            "a.htm",
            "a.xhtml",
            "a.svg",
            "a.svgz",
            "a.xml",
            "a.xsl",
            "a.js",
            "a.mjs",
            "a.css",
            "a.pdf",
            "a.swf",
            "a.json",
            "a.wasm",
            "a.mht",
            "a",
            "a.unheard-of",
        ] {
            assert!(!MediaType::of(name.as_bytes()).is_passive(), "{name}");
        }
    }
}

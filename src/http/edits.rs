//! What operators change about headers, on the way in and on the way out.
//!
//! Owns the order in which changes are made. Trusts the names: loading has refused those that
//! frame a message, name its host, its way or its sender, or belong to a connection. Trusts no
//! client: what is set here stands behind whatever the client sent, in every spelling of the name,
//! and is written after `Connection` was obeyed, so that nobody can have it removed (H10).

use std::fmt;

use hyper::header::{HeaderMap, HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY};

use super::headers::{is_spelling_of, write_line};

/// Names with their values.
pub type Pairs = Vec<(HeaderName, HeaderValue)>;

/// What becomes of a request's headers before they are forwarded.
#[derive(Default)]
pub struct RequestEdits {
    withheld: Box<[HeaderName]>,
    /// Whole lines of a head: every value is known while loading.
    lines: Box<[u8]>,
    /// Those of which the value is nobody's to see.
    secret: Box<[HeaderName]>,
}

impl RequestEdits {
    /// `set` stands for whatever the client sent, `added` beside it; `removed` goes nowhere.
    pub fn new(set: &Pairs, added: &Pairs, removed: Vec<HeaderName>) -> Self {
        let mut lines = Vec::new();
        for (name, value) in set.iter().chain(added) {
            write_line(&mut lines, name, value);
        }
        let written = set.iter().chain(added);
        let secret =
            written.filter(|(_, value)| value.is_sensitive()).map(|(name, _)| name.clone());
        let secret = secret.collect();
        let withheld = set.iter().map(|(name, _)| name.clone()).chain(removed);
        Self { withheld: withheld.collect(), lines: lines.into(), secret }
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.withheld.is_empty() && self.lines.is_empty()
    }

    /// Whether a client's header ends here. Applications fold spellings of one name into one.
    pub fn withholds(&self, name: &HeaderName) -> bool {
        self.withheld.iter().any(|one| is_spelling_of(name.as_str(), one.as_str()))
    }

    /// Whether the operator's value of a header is a secret.
    pub fn hides(&self, name: &str) -> bool {
        self.secret.iter().any(|one| one.as_str() == name)
    }

    /// Appends the lines of its own.
    pub fn write(&self, head: &mut Vec<u8>) {
        head.extend_from_slice(&self.lines);
    }
}

/// Names alone: a value may be a secret.
impl fmt::Debug for RequestEdits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestEdits").field("withheld", &self.withheld).finish_non_exhaustive()
    }
}

/// What becomes of a response's headers before the client has them.
#[derive(Debug, Default)]
pub struct ResponseEdits {
    /// In the place of what was there.
    pub set: Pairs,
    /// Beside what is there.
    pub add: Pairs,
    /// Where nothing is there.
    pub default: Pairs,
    /// Taken out first.
    pub remove: Vec<HeaderName>,
}

impl ResponseEdits {
    /// Changes a response that an application or a folder made. `secure`: the client came over
    /// TLS; without it no `Strict-Transport-Security` is sent (RFC 6797 section 7.2).
    pub fn apply(&self, headers: &mut HeaderMap, secure: bool) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in self.set.iter().filter(|(name, _)| may_go(name, secure)) {
            headers.insert(name, value.clone());
        }
        for (name, value) in self.add.iter().filter(|(name, _)| may_go(name, secure)) {
            headers.append(name, value.clone());
        }
        fill(&self.default, headers, secure);
    }

    /// Changes an answer of the gateway's own: it keeps what it has, such as `no-store` and its
    /// challenge, and gets what else every response of the route has.
    pub fn complete(&self, headers: &mut HeaderMap, secure: bool) {
        for pairs in [&self.set, &self.add, &self.default] {
            fill(pairs, headers, secure);
        }
    }
}

fn fill(pairs: &Pairs, headers: &mut HeaderMap, secure: bool) {
    for (name, value) in pairs.iter().filter(|(name, _)| may_go(name, secure)) {
        if !headers.contains_key(name) {
            headers.insert(name, value.clone());
        }
    }
}

fn may_go(name: &HeaderName, secure: bool) -> bool {
    secure || name != STRICT_TRANSPORT_SECURITY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(lines: &[(&'static str, &'static str)]) -> Pairs {
        let pair =
            |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        lines.iter().map(pair).collect()
    }

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs(lines).into_iter().collect()
    }

    #[test]
    fn what_is_set_stands_for_every_spelling_of_the_clients() {
        let set = pairs(&[("x-admin", "1")]);
        let edits = RequestEdits::new(
            &set,
            &pairs(&[("x-via", "a")]),
            vec![HeaderName::from_static("cookie")],
        );
        for name in ["x-admin", "x_admin", "x.admin", "cookie"] {
            assert!(edits.withholds(&HeaderName::from_static(name)), "{name}");
        }
        for name in ["x-admins", "x-via", "cookies"] {
            assert!(!edits.withholds(&HeaderName::from_static(name)), "{name}");
        }
        let mut head = b"GET / HTTP/1.1\r\n".to_vec();
        edits.write(&mut head);
        assert_eq!(head, b"GET / HTTP/1.1\r\nx-admin: 1\r\nx-via: a\r\n");
        assert!(!edits.is_empty());
        assert!(RequestEdits::default().is_empty());
    }

    #[test]
    fn a_secret_is_known_by_its_name() {
        let mut set = pairs(&[("x-key", "hunter2"), ("x-open", "1")]);
        set[0].1.set_sensitive(true);
        let edits = RequestEdits::new(&set, &Pairs::new(), Vec::new());
        assert!(edits.hides("x-key") && !edits.hides("x-open"));
        assert!(!format!("{edits:?}").contains("hunter2"), "not even to a debugger");
    }

    fn edits() -> ResponseEdits {
        ResponseEdits {
            set: pairs(&[("cache-control", "public"), ("x-set", "ours")]),
            add: pairs(&[("vary", "x-y"), ("link", "</a>")]),
            default: pairs(&[
                ("x-frame-options", "DENY"),
                ("strict-transport-security", "max-age=31536000"),
            ]),
            remove: vec![HeaderName::from_static("server")],
        }
    }

    #[test]
    fn a_response_is_changed_in_order() {
        let mut headers = map(&[
            ("server", "gunicorn"),
            ("x-set", "theirs"),
            ("vary", "accept"),
            ("x-frame-options", "SAMEORIGIN"),
        ]);
        edits().apply(&mut headers, true);
        assert!(!headers.contains_key("server"));
        assert_eq!(headers["x-set"], "ours");
        assert_eq!(headers.get_all("vary").iter().count(), 2);
        assert_eq!(headers["x-frame-options"], "SAMEORIGIN", "a default gives way");
        assert_eq!(headers["strict-transport-security"], "max-age=31536000");
    }

    #[test]
    fn transport_security_is_for_secure_transport() {
        let mut headers = HeaderMap::new();
        edits().apply(&mut headers, false);
        assert!(!headers.contains_key(STRICT_TRANSPORT_SECURITY));
        assert_eq!(headers["x-frame-options"], "DENY");
    }

    #[test]
    fn a_refusal_keeps_what_it_says() {
        let mut headers = map(&[("cache-control", "no-store"), ("server", "x")]);
        edits().complete(&mut headers, true);
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["server"], "x");
        assert_eq!(headers["x-frame-options"], "DENY");
        assert_eq!(headers["x-set"], "ours");
    }
}

//! Sets of methods: what a route serves and what a 405 answer names.
//!
//! CONNECT and TRACE are in no set, however they are written: the one would open a tunnel past
//! every policy, the other reflects credentials.

use std::fmt;

use hyper::Method;

/// The methods of a route; by default all but CONNECT and TRACE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodSet {
    /// Bits as in [`KNOWN`].
    known: u8,
    extensions: Extensions,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Extensions {
    All,
    /// Sorted, without repetition.
    Named(Vec<Box<str>>),
}

/// Why a name is no method that a route can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MethodError {
    /// It holds a character that no method can hold, or none at all.
    NotAToken,
    /// CONNECT or TRACE.
    NeverServed,
    /// Methods are case-sensitive: `get` is not GET and surely not meant.
    WrongCase,
}

/// The value of an `Allow` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow(MethodSet);

// === impl MethodSet ===

impl MethodSet {
    /// Every method but CONNECT and TRACE.
    pub const fn all() -> Self {
        Self { known: u8::MAX >> 1, extensions: Extensions::All }
    }

    /// No method.
    pub const fn none() -> Self {
        Self { known: 0, extensions: Extensions::Named(Vec::new()) }
    }

    /// The methods of these names; GET brings HEAD with it.
    ///
    /// # Errors
    /// The position of the first name that is none, and why.
    pub fn named<'n>(
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<Self, (usize, MethodError)> {
        let mut set = Self::none();
        for (position, name) in names.into_iter().enumerate() {
            set.insert(name).map_err(|error| (position, error))?;
        }
        Ok(set)
    }

    /// Whether `method` is one of them.
    pub fn contains(&self, method: &Method) -> bool {
        let name = method.as_str();
        match bit(name) {
            Some(bit) => self.known & bit != 0,
            None => match &self.extensions {
                Extensions::All => !is_never_served(name),
                Extensions::Named(names) => names.iter().any(|named| **named == *name),
            },
        }
    }

    /// Whether no method is in both.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        let extensions = match (&self.extensions, &other.extensions) {
            (Extensions::All, Extensions::All) => false,
            (Extensions::All, Extensions::Named(names))
            | (Extensions::Named(names), Extensions::All) => names.is_empty(),
            (Extensions::Named(own), Extensions::Named(others)) => {
                !own.iter().any(|name| others.contains(name))
            }
        };
        self.known & other.known == 0 && extensions
    }

    /// Whether every method of `other` is in this one.
    pub fn is_superset(&self, other: &Self) -> bool {
        let extensions = match (&self.extensions, &other.extensions) {
            (Extensions::All, _) => true,
            (Extensions::Named(_), Extensions::All) => false,
            (Extensions::Named(own), Extensions::Named(others)) => {
                others.iter().all(|name| own.contains(name))
            }
        };
        self.known & other.known == other.known && extensions
    }

    /// Adds the methods of `other`.
    pub fn extend(&mut self, other: &Self) {
        self.known |= other.known;
        match (&mut self.extensions, &other.extensions) {
            (Extensions::All, _) => {}
            (extensions @ Extensions::Named(_), Extensions::All) => *extensions = Extensions::All,
            (Extensions::Named(own), Extensions::Named(others)) => {
                own.extend(others.iter().cloned());
                own.sort_unstable();
                own.dedup();
            }
        }
    }

    fn insert(&mut self, name: &str) -> Result<(), MethodError> {
        if Method::from_bytes(name.as_bytes()).is_err() {
            return Err(MethodError::NotAToken);
        }
        if is_never_served(name) {
            return Err(MethodError::NeverServed);
        }
        if let Some(bit) = bit(name) {
            let head = if name == "GET" { HEAD } else { 0 };
            self.known |= bit | head;
            return Ok(());
        }
        if KNOWN.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return Err(MethodError::WrongCase);
        }
        if let Extensions::Named(names) = &mut self.extensions
            && let Err(place) = names.binary_search_by(|named| (**named).cmp(name))
        {
            names.insert(place, name.into());
        }
        Ok(())
    }
}

impl Default for MethodSet {
    fn default() -> Self {
        Self::all()
    }
}

/// The names joined by `, `; `*` for all.
impl fmt::Display for MethodSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = match &self.extensions {
            Extensions::All if self.known == Self::all().known => return f.write_str("*"),
            Extensions::All => &[][..],
            Extensions::Named(names) => names,
        };
        let known = KNOWN.iter().copied().filter(|name| bit(name).unwrap_or(0) & self.known != 0);
        for (position, name) in known.chain(named.iter().map(|name| &**name)).enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl fmt::Display for MethodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NeverServed => "CONNECT and TRACE are never served",
            Self::NotAToken => "not a method name",
            Self::WrongCase => "methods are written in upper case",
        })
    }
}

impl std::error::Error for MethodError {}

// === impl Allow ===

impl Allow {
    pub(super) const fn new(methods: MethodSet) -> Self {
        Self(methods)
    }

    /// The methods themselves.
    pub const fn methods(&self) -> &MethodSet {
        &self.0
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// In the order in which they are written; seven, so that a byte holds them.
const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const HEAD: u8 = 1 << 1;

const fn bit(name: &str) -> Option<u8> {
    Some(match name.as_bytes() {
        b"GET" => 1,
        b"HEAD" => HEAD,
        b"POST" => 1 << 2,
        b"PUT" => 1 << 3,
        b"PATCH" => 1 << 4,
        b"DELETE" => 1 << 5,
        b"OPTIONS" => 1 << 6,
        _ => return None,
    })
}

const fn is_never_served(name: &str) -> bool {
    name.eq_ignore_ascii_case("CONNECT") || name.eq_ignore_ascii_case("TRACE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> MethodSet {
        MethodSet::named(names.iter().copied()).unwrap()
    }

    fn method(name: &str) -> Method {
        Method::from_bytes(name.as_bytes()).unwrap()
    }

    #[test]
    fn all_is_all_but_connect_and_trace() {
        for name in KNOWN.iter().chain(&["PROPFIND", "get", "X"]) {
            assert!(MethodSet::all().contains(&method(name)), "{name}");
        }
        for name in ["CONNECT", "TRACE", "connect", "Trace"] {
            assert!(!MethodSet::all().contains(&method(name)), "{name}");
        }
        assert_eq!(MethodSet::default().to_string(), "*");
    }

    #[test]
    fn named_methods() {
        let methods = set(&["POST", "PROPFIND", "GET", "PROPFIND", "MKCOL"]);
        assert_eq!(methods.to_string(), "GET, HEAD, POST, MKCOL, PROPFIND");
        assert!(methods.contains(&Method::HEAD), "GET implies it");
        assert!(!methods.contains(&method("propfind")) && !methods.contains(&method("get")));
        assert!(!set(&["HEAD"]).contains(&Method::GET));
        for (name, error) in [
            ("", MethodError::NotAToken),
            ("GET,POST", MethodError::NotAToken),
            ("get", MethodError::WrongCase),
            ("Trace", MethodError::NeverServed),
            ("CONNECT", MethodError::NeverServed),
        ] {
            assert_eq!(MethodSet::named(["PUT", name]), Err((1, error)), "{name}");
        }
    }

    #[test]
    fn sets_relate() {
        let (all, get, post) = (MethodSet::all(), set(&["GET"]), set(&["POST", "LOCK"]));
        assert!(get.is_disjoint(&post) && !get.is_disjoint(&all) && !all.is_disjoint(&all));
        assert!(get.is_disjoint(&MethodSet::none()) && all.is_disjoint(&MethodSet::none()));
        assert!(!set(&["LOCK"]).is_disjoint(&all) && !set(&["LOCK"]).is_disjoint(&post));
        assert!(all.is_superset(&post) && !post.is_superset(&all) && !get.is_superset(&post));
        assert!(set(&["HEAD", "GET"]).is_superset(&get));
        let mut both = get.clone();
        both.extend(&post);
        assert!(both.is_superset(&get) && both.is_superset(&post));
        assert_eq!(Allow::new(both.clone()).to_string(), "GET, HEAD, POST, LOCK");
        both.extend(&all);
        assert_eq!(both, all);
    }
}

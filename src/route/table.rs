//! The compiled routes: one look-up, whatever their number.
//!
//! Owns the search order. Hosts first (exact, then families from the longest down, then any), in
//! each a trie of path segments, walked once and deepest first. The cost grows with the segments of
//! the request's path and the labels of its host that any pattern shares, not with the routes; a
//! look-up that finds a route allocates nothing.

use std::collections::HashMap;

use hyper::Method;

use crate::http::path::decode_segment;

use super::matcher::{HostPattern, LONGEST_SEGMENT, ListenerSet, Matcher, PathPattern};
use super::methods::{Allow, MethodSet};

/// Routes by host, path, method and listener; `T` is what a route is known by.
#[derive(Clone, Debug)]
pub struct Table<T> {
    exact: HashMap<Box<str>, Paths<T>>,
    families: Labels<T>,
    any: Paths<T>,
}

/// What a look-up comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// Routes match but for the method; these are the methods they serve.
    MethodNotAllowed(Allow),
    /// No route matches host, path and listener.
    None,
    /// The route.
    Route(T),
}

impl<T: Copy> Table<T> {
    /// Compiles routes; of equals, the earlier one wins.
    pub fn build(routes: Vec<(Matcher, T)>) -> Self {
        let mut table =
            Self { exact: HashMap::new(), families: Labels::default(), any: Paths::default() };
        for (matcher, route) in routes {
            let Matcher { hosts, path, methods, listeners } = matcher;
            if hosts.is_empty() {
                table.any.insert(&path, Entry { listeners, methods: methods.clone(), route });
            }
            for host in hosts {
                let paths = match host {
                    HostPattern::Exact(host) => table.exact.entry(host.into()).or_default(),
                    HostPattern::Suffix(suffix) => table.families.below(&suffix),
                };
                paths.insert(&path, Entry { listeners, methods: methods.clone(), route });
            }
        }
        table
    }

    /// The route of a request; `host` and `path` in canonical form.
    pub fn find(&self, listener: usize, host: &str, path: &str, method: &Method) -> Found<T> {
        let mut buffer = [0; LONGEST_SEGMENT];
        let mut has_other_methods = false;
        let route = self.first(host, path, &mut buffer, &mut |entry| {
            if !entry.listeners.contains(listener) {
                return None;
            }
            has_other_methods = true;
            entry.methods.contains(method).then_some(entry.route)
        });
        match route {
            Some(route) => Found::Route(route),
            None if has_other_methods => {
                Found::MethodNotAllowed(self.allowed(listener, host, path, &mut buffer))
            }
            None => Found::None,
        }
    }

    fn allowed(&self, listener: usize, host: &str, path: &str, buffer: &mut Buffer) -> Allow {
        let mut methods = MethodSet::none();
        let none: Option<()> = self.first(host, path, buffer, &mut |entry| {
            if entry.listeners.contains(listener) {
                methods.extend(&entry.methods);
            }
            None
        });
        debug_assert!(none.is_none(), "the visitor never chooses");
        Allow::new(methods)
    }

    /// The first answer of `choose`, asked about every route for this host and path in order.
    fn first<R>(
        &self,
        host: &str,
        path: &str,
        buffer: &mut Buffer,
        choose: &mut impl FnMut(&Entry<T>) -> Option<R>,
    ) -> Option<R> {
        let path = path.strip_prefix('/')?;
        let exact = self.exact.get(host).and_then(|paths| paths.first(Some(path), buffer, choose));
        exact
            .or_else(|| self.families.first(host, path, buffer, choose))
            .or_else(|| self.any.first(Some(path), buffer, choose))
    }
}

/// Where an escaped segment is decoded: no pattern's is longer.
type Buffer = [u8; LONGEST_SEGMENT];

#[derive(Clone, Debug)]
struct Entry<T> {
    listeners: ListenerSet,
    methods: MethodSet,
    route: T,
}

/// A trie of host labels from the right: `com`, `example`, ...
#[derive(Clone, Debug)]
struct Labels<T> {
    children: HashMap<Box<str>, Self>,
    /// The routes of `*.` and the labels so far.
    paths: Paths<T>,
}

impl<T: Copy> Labels<T> {
    fn below(&mut self, suffix: &str) -> &mut Paths<T> {
        let labels = suffix.rsplit('.');
        let node = labels.fold(self, |node, label| node.children.entry(label.into()).or_default());
        &mut node.paths
    }

    /// Recursion is as deep as the longest pattern, whatever the request's host.
    fn first<R>(
        &self,
        host: &str,
        path: &str,
        buffer: &mut Buffer,
        choose: &mut impl FnMut(&Entry<T>) -> Option<R>,
    ) -> Option<R> {
        if self.children.is_empty() {
            return self.paths.first(Some(path), buffer, choose);
        }
        // The leftmost label is below a family, never the family itself.
        let deeper = host
            .rsplit_once('.')
            .and_then(|(rest, label)| self.children.get(label)?.first(rest, path, buffer, choose));
        deeper.or_else(|| self.paths.first(Some(path), buffer, choose))
    }
}

impl<T> Default for Labels<T> {
    fn default() -> Self {
        Self { children: HashMap::new(), paths: Paths::default() }
    }
}

/// A trie of decoded path segments.
#[derive(Clone, Debug)]
struct Paths<T> {
    children: HashMap<Box<[u8]>, Self>,
    /// Routes of exactly the segments so far.
    exact: Vec<Entry<T>>,
    /// Routes of the segments so far and whatever follows.
    prefix: Vec<Entry<T>>,
}

impl<T: Copy> Paths<T> {
    fn insert(&mut self, pattern: &PathPattern, entry: Entry<T>) {
        let node = pattern
            .segments()
            .into_iter()
            .fold(self, |node, segment| node.children.entry(segment.into()).or_default());
        match pattern {
            PathPattern::Exact(_) => node.exact.push(entry),
            PathPattern::Prefix(_) => node.prefix.push(entry),
        }
    }

    /// `rest` is what follows the slash after the segments so far; `None` if nothing does, not
    /// even a slash. Recursion is as deep as the longest pattern.
    fn first<R>(
        &self,
        rest: Option<&str>,
        buffer: &mut Buffer,
        choose: &mut impl FnMut(&Entry<T>) -> Option<R>,
    ) -> Option<R> {
        let narrower = match rest {
            None => self.exact.iter().find_map(&mut *choose),
            Some(_) if self.children.is_empty() => None,
            Some(rest) => {
                let (segment, rest) =
                    rest.split_once('/').map_or((rest, None), |(first, rest)| (first, Some(rest)));
                let child =
                    decode_segment(segment, buffer).and_then(|decoded| self.children.get(decoded));
                child.and_then(|child| child.first(rest, buffer, choose))
            }
        };
        narrower.or_else(|| self.prefix.iter().find_map(choose))
    }
}

impl<T> Default for Paths<T> {
    fn default() -> Self {
        Self { children: HashMap::new(), exact: Vec::new(), prefix: Vec::new() }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

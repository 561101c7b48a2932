//! Indices that stand for names of the configuration.
//!
//! Plans hold them instead of names, so that counting a request looks nothing up. They come from
//! the registration methods of [`Metrics`](super::metrics::Metrics) alone and mean nothing to
//! another instance. Names are never forgotten: what a reload removes keeps its index and series,
//! so the lists are bounded by what operators ever configured in the life of the process.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// A listener's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub(super) u32);

/// A route's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub(super) u32);

impl RouteId {
    /// No route: the label `-`.
    pub(super) const NONE: Self = Self(0);
}

/// An issuer's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IssuerId(pub(super) u32);

impl IssuerId {
    /// No issuer: the label `none`.
    pub(super) const NONE: Self = Self(0);
}

/// The index of an upstream with one list of endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamId(pub(super) u32);

/// The names behind the indices.
#[derive(Debug)]
pub(super) struct Names {
    listeners: Interned<String>,
    routes: Interned<String>,
    issuers: Interned<String>,
    upstreams: Interned<UpstreamNames>,
}

impl Default for Names {
    fn default() -> Self {
        let mut names = Self {
            listeners: Interned::default(),
            routes: Interned::default(),
            issuers: Interned::default(),
            upstreams: Interned::default(),
        };
        names.add_route("-");
        names.add_issuer("none");
        names
    }
}

impl Names {
    pub(super) fn add_listener(&mut self, name: &str) -> ListenerId {
        ListenerId(self.listeners.add(name.to_owned()))
    }

    pub(super) fn add_route(&mut self, name: &str) -> RouteId {
        RouteId(self.routes.add(name.to_owned()))
    }

    pub(super) fn add_issuer(&mut self, name: &str) -> IssuerId {
        IssuerId(self.issuers.add(name.to_owned()))
    }

    /// A changed list of endpoints is a new index over the same series.
    pub(super) fn add_upstream(&mut self, name: &str, endpoints: &[&str]) -> UpstreamId {
        let endpoints = endpoints.iter().map(|&label| label.to_owned()).collect();
        UpstreamId(self.upstreams.add(UpstreamNames { name: name.to_owned(), endpoints }))
    }

    pub(super) fn listener(&self, id: ListenerId) -> Option<&str> {
        self.listeners.find(id.0).map(String::as_str)
    }

    pub(super) fn route(&self, id: RouteId) -> Option<&str> {
        self.routes.find(id.0).map(String::as_str)
    }

    pub(super) fn issuer(&self, id: IssuerId) -> Option<&str> {
        self.issuers.find(id.0).map(String::as_str)
    }

    pub(super) fn upstream(&self, id: UpstreamId) -> Option<&UpstreamNames> {
        self.upstreams.find(id.0)
    }
}

/// An upstream's name and the labels of its endpoints.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct UpstreamNames {
    /// Its name.
    pub(super) name: String,
    endpoints: Vec<String>,
}

impl UpstreamNames {
    /// The label of an endpoint; `-` if there is none with this index.
    pub(super) fn endpoint(&self, index: usize) -> &str {
        self.endpoints.get(index).map_or("-", String::as_str)
    }
}

/// Values by index, and indices by value.
#[derive(Debug)]
struct Interned<T> {
    values: Vec<Arc<T>>,
    indices: HashMap<Arc<T>, u32>,
}

impl<T: Eq + Hash> Interned<T> {
    fn add(&mut self, value: T) -> u32 {
        if let Some(index) = self.indices.get(&value) {
            return *index;
        }
        // 2^32 names fit into no configuration; past them the last index is shared, not wrapped.
        let index = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        let value = Arc::new(value);
        self.values.push(Arc::clone(&value));
        self.indices.insert(value, index);
        index
    }

    fn find(&self, index: u32) -> Option<&T> {
        self.values.get(index as usize).map(Arc::as_ref)
    }
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self { values: Vec::new(), indices: HashMap::new() }
    }
}

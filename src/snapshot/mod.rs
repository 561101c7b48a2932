//! The immutable runtime view of a configuration: the only folder that sees both what the operator
//! wrote and the modules that run it.
//!
//! [`compile()`] turns a [`Config`] into a [`Snapshot`], reporting every problem at once and
//! adopting from the running snapshot whatever did not change. [`SnapshotCell`] holds the
//! installed one. Nothing here changes after it is compiled, but for the live things it points to:
//! key sets, token cache, health.

mod assertion;
pub mod check;
pub mod compile;
mod error_pages;
mod files;
mod fingerprint;
mod issuers;
mod limits;
mod listeners;
mod local_keys;
pub mod metadata;
pub mod plan;
mod revocations;
mod revoke_on;
mod routes;
mod server;
mod shape;
mod state;
mod state_dir;
#[cfg(test)]
mod tests;
mod upstream_tls;
mod upstreams;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::Method;
use hyper::header::HeaderName;
use hyper::http::request::Parts;

use crate::auth::{Assertion, Issuer, Principal, Revocations, TokenCache};
use crate::config::{Config, Source};
use crate::http::Networks;
use crate::http::cors;
use crate::http::forwarded::Via;
use crate::http::head::HeadLimits;
use crate::http::headers::{Asserted, UnderscorePolicy};
use crate::keys::KeySet;
use crate::limit::Limiter;
use crate::proxy::Spool;
use crate::route::{Found, Matcher, Split, Table, split_view};
use crate::state_dir::StateDir;
use crate::telemetry::ids::IssuerId;
use crate::upstream::Upstream;

pub use compile::{Compiled, Surroundings, compile, problems};
pub use listeners::ListenerSpec;
use plan::{ListenerPlan, RoutePlan};
pub use revocations::{MAX_FILE, ReadError, Revoked, kept_name, said};
pub use shape::Misrouted;
pub use state::RouteRow;

/// One generation of the configuration, ready to serve.
#[derive(Debug)]
pub struct Snapshot {
    config: Arc<Config>,
    source: Source,
    /// By slot; slots of removed listeners keep their last plan for the connections still on them.
    listeners: Vec<Arc<ListenerPlan>>,
    table: Table<usize>,
    matchers: Vec<Matcher>,
    routes: Vec<RoutePlan>,
    /// For each route, the listeners it names (none if it names none).
    named_listeners: Vec<Vec<usize>>,
    issuers: Vec<Arc<Issuer>>,
    /// The place of each issuer in the metric tables, and in this list by its fingerprint.
    issuer_ids: Vec<IssuerId>,
    issuers_by_fingerprint: HashMap<u64, usize>,
    upstreams: Vec<Arc<Upstream>>,
    trusted_proxies: Networks,
    verifies: bool,
    asserted: Asserted,
    underscores: (UnderscorePolicy, Vec<HeaderName>),
    head_limits: HeadLimits,
    request_id: HeaderName,
    forwarded: bool,
    via: Via,
    secret_parameters: Vec<Box<str>>,
    spool: Arc<Spool>,
    error_pages: Option<Arc<plan::ErrorPages>>,
    compression: Option<plan::Compression>,
    tokens: Arc<TokenCache>,
    assertion: Option<Arc<Assertion>>,
    /// Where state is kept, if it is; the next reload adopts it.
    state_dir: Option<Arc<StateDir>>,
    bad_tokens: Option<Arc<Limiter>>,
    /// Every limiter by its fingerprint, for the next reload to adopt.
    limiters: Vec<(u64, Arc<Limiter>)>,
    revocations: Arc<Revocations>,
    /// Issuer, fingerprint and key set, for the next reload to adopt.
    key_sets: Vec<(String, u64, Arc<KeySet>)>,
}

// === impl Snapshot ===

impl Snapshot {
    /// The configuration it was compiled from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The text it was compiled from, for operators: secrets masked, variables not expanded.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The plan of the listener in `slot`.
    #[expect(
        clippy::indexing_slicing,
        reason = "slots come from a compiled snapshot, and later ones keep every slot"
    )]
    pub fn listener(&self, slot: usize) -> &ListenerPlan {
        &self.listeners[slot]
    }

    /// The route that serves this request, or why there is none.
    pub fn find(&self, listener: usize, host: &str, path: &str, method: &Method) -> Found<usize> {
        self.table.find(listener, host, path, method)
    }

    /// The route of a request; of a CORS preflight the one that it asks about, with the method it
    /// asks for, where that route answers preflights. Elsewhere a preflight is a request like any
    /// other.
    pub fn find_for(
        &self,
        listener: usize,
        host: &str,
        path: &str,
        parts: &Parts,
    ) -> (Found<usize>, Option<Method>) {
        if let Some(asked) = cors::preflight(parts)
            && let Found::Route(index) = self.find(listener, host, path, &asked)
            && self.route(index).is_some_and(|route| route.cors.is_some())
        {
            return (Found::Route(index), Some(asked));
        }
        (self.find(listener, host, path, &parts.method), None)
    }

    /// Whether everybody who reads `raw_path` comes to what the canonical path `found`; asked only
    /// about doubtful ones.
    ///
    /// # Errors
    /// A reading that leads elsewhere.
    pub fn agree(
        &self,
        listener: usize,
        host: &str,
        raw_path: &str,
        method: &Method,
        found: &Found<usize>,
    ) -> Result<(), Split<usize>> {
        split_view::agree(&self.table, listener, host, raw_path, method, found)
    }

    /// The plan of a route that [`Snapshot::find`] returned.
    pub fn route(&self, index: usize) -> Option<&RoutePlan> {
        self.routes.get(index)
    }

    /// Every route, in the order of the file.
    pub fn routes(&self) -> &[RoutePlan] {
        &self.routes
    }

    /// What each route matches, in the order of the file.
    pub fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    /// Whether the route names this listener, and so wins against its redirect.
    pub fn names_listener(&self, route: usize, listener: usize) -> bool {
        self.named_listeners.get(route).is_some_and(|named| named.contains(&listener))
    }

    /// Every issuer, in the order of the file.
    pub fn issuers(&self) -> &[Arc<Issuer>] {
        &self.issuers
    }

    /// The place of a principal's issuer in this snapshot.
    pub fn issuer_of(&self, principal: &Principal) -> Option<usize> {
        self.issuers_by_fingerprint.get(&principal.issuer_fingerprint()).copied()
    }

    /// The place of the issuer of this name.
    pub fn issuer_named(&self, name: &str) -> Option<usize> {
        self.issuers.iter().position(|issuer| &**issuer.name() == name)
    }

    /// Index and name of an issuer, for its record.
    pub fn issuer_label(&self, place: usize) -> Option<(IssuerId, &str)> {
        Some((*self.issuer_ids.get(place)?, self.issuers.get(place)?.name()))
    }

    /// Every upstream, those written inside routes included.
    pub fn upstreams(&self) -> &[Arc<Upstream>] {
        &self.upstreams
    }

    /// The peers whose forwarding headers count.
    pub fn trusted_proxies(&self) -> &Networks {
        &self.trusted_proxies
    }

    /// Whether some route answers proxies that ask: only then what they ask about is of interest.
    pub fn verifies(&self) -> bool {
        self.verifies
    }

    /// Leaves the files of key sets that `next` does not adopt to those that take their place: a
    /// request that still holds this snapshot must not have them overwritten.
    pub fn leave_files_to(&self, next: &Self) {
        for (_, _, keys) in &self.key_sets {
            if !next.key_sets.iter().any(|(_, _, kept)| Arc::ptr_eq(kept, keys)) {
                keys.stop_keeping();
            }
        }
    }

    /// The headers that only Portcullis may set.
    pub fn asserted(&self) -> &Asserted {
        &self.asserted
    }

    /// What happens to header names with `_`, and which may pass.
    pub fn underscores(&self) -> (UnderscorePolicy, &[HeaderName]) {
        (self.underscores.0, &self.underscores.1)
    }

    /// The limits of a request's head.
    pub fn head_limits(&self) -> &HeadLimits {
        &self.head_limits
    }

    /// The header that carries the request's id, to the application and back.
    pub fn request_id_header(&self) -> &HeaderName {
        &self.request_id
    }

    /// Whether applications are told by `Forwarded` as well.
    pub fn tells_forwarded(&self) -> bool {
        self.forwarded
    }

    /// This gateway's own `Via` entry.
    pub fn via(&self) -> &Via {
        &self.via
    }

    /// The parameters of queries that hold tokens: their values stay out of the log.
    pub fn secret_parameters(&self) -> &[Box<str>] {
        &self.secret_parameters
    }

    /// The operator's pages about errors, for requests that no route takes.
    pub fn error_pages(&self) -> Option<&plan::ErrorPages> {
        self.error_pages.as_deref()
    }

    /// How responses are compressed, if they are.
    pub fn compression(&self) -> Option<&plan::Compression> {
        self.compression.as_ref()
    }

    /// Where bodies are gathered.
    pub fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    /// Who signs what applications are told about principals, where the operator wants that.
    pub fn assertion(&self) -> Option<&Arc<Assertion>> {
        self.assertion.as_ref()
    }

    /// The cache of verified tokens.
    pub fn tokens(&self) -> &Arc<TokenCache> {
        &self.tokens
    }

    /// The accounts for bad tokens; `None` where nobody counts them.
    pub fn bad_tokens(&self) -> Option<&Limiter> {
        self.bad_tokens.as_deref()
    }

    /// Where state is kept, if it is.
    pub fn state_dir(&self) -> Option<&Arc<StateDir>> {
        self.state_dir.as_ref()
    }

    /// The file of revoked tokens, if the configuration names one.
    pub fn revocations_file(&self) -> Option<&Path> {
        self.config.server.revocations.as_ref().map(|file| file.value.as_path())
    }

    /// The tokens that count no more; one list for the process, over every snapshot.
    pub fn revocations(&self) -> &Arc<Revocations> {
        &self.revocations
    }

    /// How long a request body may make no progress.
    pub fn body_timeout(&self) -> Duration {
        self.config.server.body_timeout
    }
}

// === impl SnapshotCell ===

/// The installed snapshot and its generation.
///
/// # Concurrency
/// [`install`](Self::install) is called by the control thread alone. Workers compare generations
/// with one relaxed load a request and load the pointer only when it moved. A worker that reads the
/// new generation is sure to load at least that snapshot, since the pointer is stored first; one
/// that reads the old generation serves one more request with the old snapshot, as a request that
/// came a microsecond earlier would have been.
#[derive(Debug)]
pub struct SnapshotCell {
    snapshot: ArcSwap<Snapshot>,
    generation: AtomicU64,
}

impl SnapshotCell {
    /// A cell that holds generation 1.
    pub fn new(first: Arc<Snapshot>) -> Arc<Self> {
        Arc::new(Self { snapshot: ArcSwap::new(first), generation: AtomicU64::new(1) })
    }

    /// The number of the installed snapshot.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The installed snapshot, with a generation that is not newer than it.
    pub fn load(&self) -> (u64, Arc<Snapshot>) {
        let generation = self.generation();
        (generation, self.snapshot.load_full())
    }

    /// Makes `next` the snapshot of every request that begins from now on; returns the old one,
    /// which the caller keeps until no request holds it, so that no worker pays for its end.
    pub fn install(&self, next: Arc<Snapshot>) -> Arc<Snapshot> {
        let old = self.snapshot.swap(next);
        self.generation.fetch_add(1, Ordering::Release);
        old
    }
}

//! From what the operator wrote to what serves: every problem at once, never only the first.
//!
//! The only place that wraps an action in its policy: a new way to make a [`Guarded`] is a decision
//! of loading, never of a request.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use hyper::header::HeaderName;

use super::issuers::Issuers;
use super::listeners::{self, ListenerSpec};
use super::metadata::is_well_known;
use super::plan::{
    Action, Destination, ErrorFormat, ErrorPages, PathPlan, Proxied, ResourceMetadata, RoutePlan,
    Verify,
};
use super::upstreams::{Target, Upstreams};
use super::{
    Revoked, Snapshot, assertion, check, error_pages, files, issuers, revocations, revoke_on,
    routes, state_dir,
};
use crate::auth::{ErrorStyle, Guarded, Issuer, Policy, Revocations};
use crate::clock::Clock;
use crate::config::{
    self, Config, Diagnostic, Diagnostics, Loaded, Rest, Route, Severity, Source, Spanned,
};
use crate::http::Cors;
use crate::http::forwarded::{Via, request_id};
use crate::keys::KeySet;
use crate::limit::Limiter;
use crate::proxy::Proxy;
use crate::route::{Matcher, Table};
use crate::state_dir::StateDir;
use crate::static_files::{Cache, Files};
use crate::telemetry::ids::IssuerId;
use crate::telemetry::metrics::Metrics;
use crate::tls::tickets::Tickets;
use crate::upstream::{Kind, Protocol};

/// What compiling draws on beside the file.
#[derive(Debug)]
pub struct Surroundings {
    /// Where names become metric indices.
    pub metrics: Arc<Metrics>,
    /// Whether certificates are about to expire.
    pub clock: Clock,
    /// The process's ticket keys, which outlive every snapshot.
    pub tickets: Arc<Tickets>,
    /// This gateway's name in `Via`, the same over reloads.
    pub via: Via,
    /// The tokens that count no more.
    pub revocations: Arc<Revocations>,
    /// Whether it is compiled for looking only: then nothing is created on disk.
    pub offline: bool,
}

/// A snapshot, with what is bound and started but not part of it.
#[derive(Debug)]
pub struct Compiled {
    /// Ready to install.
    pub snapshot: Arc<Snapshot>,
    /// Where to listen.
    pub listeners: Vec<ListenerSpec>,
    /// What is revoked from the start, to be put in force with the snapshot.
    pub revoked: Revoked,
    /// What is odd but not wrong.
    pub warnings: Diagnostics,
}

/// Compiles a configuration; adopts from `previous` what did not change. Binds and fetches nothing.
///
/// # Errors
/// Everything that is wrong, and what is odd besides.
pub fn compile(
    loaded: &Loaded,
    previous: Option<&Snapshot>,
    surroundings: &Surroundings,
) -> Result<Compiled, Diagnostics> {
    let mut compiling = Compiling::of(loaded, previous, surroundings);
    let compiled = compiling.run();
    let revoked = revocations::compile(&mut compiling);
    if compiled.is_none() && !compiling.has_errors() {
        let message =
            "something here can't be compiled, and nothing says what: a mistake in Portcullis";
        compiling.report(Diagnostic::of_file(message));
    }
    let diagnostics = Diagnostics::new(loaded.source.clone(), compiling.diagnostics);
    match compiled {
        Some((snapshot, listeners)) if diagnostics.errors() == 0 => {
            Ok(Compiled { snapshot: Arc::new(snapshot), listeners, revoked, warnings: diagnostics })
        }
        Some(_) | None => Err(diagnostics),
    }
}

/// What is wrong with what `rest` of a configuration refers to: files, keys, and routes that meet.
/// Of what is not as it was meant nothing is told, nor what the text's own problems tell already.
pub fn problems(rest: &Rest, surroundings: &Surroundings, told: &Diagnostics) -> Vec<Diagnostic> {
    let mut compiling = Compiling::of(&rest.loaded, None, surroundings);
    compiling.routes_are_whole = rest.routes_are_whole;
    drop(compiling.run());
    drop(revocations::compile(&mut compiling));
    // What is told of a key's value holds, whatever is wrong beside it; but for issuers, whose keys
    // depend on each other, and for redirects to listeners that may have been meant to have TLS.
    let is_doubtful = |kind: &str| rest.doubtful.iter().any(|table| table.starts_with(kind));
    let doubtful = |path: &str| {
        let table = |name: &&String| path == name.as_str() || path.starts_with(&format!("{name}."));
        let of_issuer = path.starts_with("issuer.") && rest.doubtful.iter().any(|one| table(&one));
        of_issuer || path.ends_with(".redirect_to") && is_doubtful("listener.")
    };
    let is_told = |one: &Diagnostic| {
        one.span.is_some() && told.list().iter().any(|known| known.span == one.span)
    };
    let errors = compiling.diagnostics.into_iter().filter(|one| one.severity == Severity::Error);
    errors.filter(|one| !doubtful(&one.path) && !is_told(one)).collect()
}

/// A compilation under way.
#[derive(Debug)]
pub(super) struct Compiling<'a> {
    pub(super) config: &'a Config,
    pub(super) source: &'a Source,
    pub(super) previous: Option<&'a Snapshot>,
    pub(super) surroundings: &'a Surroundings,
    slots: HashMap<String, usize>,
    /// Where state is kept, if it is.
    pub(super) state_dir: Option<Arc<StateDir>>,
    /// Issuer, fingerprint and key set, for the next reload to adopt.
    pub(super) key_sets: Vec<(String, u64, Arc<KeySet>)>,
    /// As `key_sets`.
    pub(super) limiters: Vec<(u64, Arc<Limiter>)>,
    /// Where this snapshot's folders keep small files; the next one's read them anew.
    pub(super) files: Option<Arc<Cache>>,
    /// The folders whose files applications may name, and where.
    internal: Vec<(Matcher, Files)>,
    /// The pages of all routes that have none of their own.
    pub(super) error_pages: Option<Arc<ErrorPages>>,
    /// Whether the routes are those that were meant: only then it means something how they meet.
    routes_are_whole: bool,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Compiling<'a> {
    fn of(
        loaded: &'a Loaded,
        previous: Option<&'a Snapshot>,
        surroundings: &'a Surroundings,
    ) -> Self {
        let mut compiling = Self {
            config: &loaded.config,
            source: &loaded.source,
            previous,
            surroundings,
            slots: HashMap::new(),
            state_dir: None,
            key_sets: Vec::new(),
            limiters: Vec::new(),
            files: Cache::new(loaded.config.cache.files.bytes()),
            internal: Vec::new(),
            error_pages: None,
            routes_are_whole: true,
            diagnostics: Vec::new(),
        };
        compiling.slots = listeners::slots(&compiling);
        compiling
    }
}

impl Compiling<'_> {
    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|one| one.severity == Severity::Error)
    }

    /// A path as a message may show it.
    pub(super) fn shown(&self, path: &Spanned<PathBuf>) -> String {
        let value = path.value.display().to_string();
        self.source.shown(&Spanned { value, span: path.span.clone() })
    }

    pub(super) fn listener_slot(&self, name: &str) -> Option<usize> {
        self.slots.get(name).copied()
    }

    fn run(&mut self) -> Option<(Snapshot, Vec<ListenerSpec>)> {
        let config = self.config;
        let listeners = listeners::compile(self);
        self.state_dir = state_dir::open(self);
        self.error_pages = error_pages::of_server(self);
        let mut issuers = Issuers::compile(self);
        let upstreams = Upstreams::compile(self);
        let (matchers, plans) = self.routes(&mut issuers, &upstreams);
        // How routes meet does not depend on what they lead to.
        if matchers.len() == config.routes.len() && self.routes_are_whole {
            routes::overlaps(self, &matchers);
        }
        check::warn(self);
        let assertion = assertion::compile(self);
        // A route that is missing would leave its requests to whatever lies below it.
        let complete = matchers.len() == config.routes.len() && plans.len() == config.routes.len();
        if self.has_errors() || !complete {
            return None;
        }
        let issuers = issuers.into_list();
        let snapshot = Snapshot {
            source: self.source.clone(),
            config: Arc::new(config.clone()),
            listeners: listeners.plans,
            table: Table::build(matchers.iter().cloned().zip(0..).collect()),
            named_listeners: config.routes.iter().map(|route| self.named(route)).collect(),
            matchers,
            routes: plans,
            trusted_proxies: self.trusted_proxies(),
            verifies: config.routes.iter().any(|route| route.verify.value),
            asserted: self.asserted(),
            underscores: self.underscores(),
            head_limits: self.head_limits()?,
            request_id: HeaderName::try_from(config.server.request_id.value.as_str()).ok()?,
            forwarded: config.server.forwarded,
            via: self.surroundings.via.clone(),
            secret_parameters: self.secret_parameters(),
            spool: self.spool(),
            error_pages: self.error_pages.clone(),
            compression: self.compression(),
            tokens: self.tokens(),
            revocations: Arc::clone(&self.surroundings.revocations),
            assertion,
            state_dir: self.state_dir.clone(),
            issuer_ids: self.issuer_ids(&issuers),
            issuers_by_fingerprint: by_fingerprint(&issuers),
            issuers,
            upstreams: upstreams.into_list(),
            bad_tokens: self.bad_tokens(),
            limiters: std::mem::take(&mut self.limiters),
            key_sets: std::mem::take(&mut self.key_sets),
        };
        Some((snapshot, listeners.specs))
    }

    fn issuer_ids(&self, issuers: &[Arc<Issuer>]) -> Vec<IssuerId> {
        issuers.iter().map(|one| self.surroundings.metrics.issuer(one.name())).collect()
    }

    // === routes ===

    fn routes(
        &mut self,
        issuers: &mut Issuers,
        upstreams: &Upstreams,
    ) -> (Vec<Matcher>, Vec<RoutePlan>) {
        let routes = &self.config.routes;
        let all: Vec<Option<Matcher>> =
            routes.iter().enumerate().map(|(at, route)| routes::matcher(self, at, route)).collect();
        for (at, (route, matcher)) in routes.iter().zip(&all).enumerate() {
            if let Some(matcher) = matcher.as_ref().filter(|_| route.internal.value) {
                let folder = files::compile(self, at, route, matcher);
                self.internal.extend(folder.map(|files| (matcher.clone(), files)));
            }
        }
        let mut plans = Vec::new();
        for (at, (route, matcher)) in routes.iter().zip(&all).enumerate() {
            plans.extend(self.plan(at, route, matcher.as_ref(), issuers, upstreams));
        }
        (all.into_iter().flatten().collect(), plans)
    }

    fn plan(
        &mut self,
        at: usize,
        route: &Route,
        matcher: Option<&Matcher>,
        issuers: &mut Issuers,
        upstreams: &Upstreams,
    ) -> Option<RoutePlan> {
        let name = route.effective_name();
        // No client gets to an internal route: it has no policy.
        let policy = match route.internal.value {
            true => None,
            false => self.policy(at, route, issuers),
        };
        let errors = error_format(route, policy.as_ref());
        // Who asks a verify route is a proxy: its clients' resource is elsewhere.
        let described = policy.as_ref().filter(|_| !route.verify.value);
        let metadata = described.and_then(ResourceMetadata::of);
        let does = self.does(at, route, matcher?, policy, upstreams)?;
        let revoke_on = match &route.revoke_on {
            Some(written) => Some(revoke_on::compile(self, at, route, written, matcher?, issuers)?),
            None => None,
        };
        Some(RoutePlan {
            id: self.surroundings.metrics.route(&name),
            name: Arc::from(name),
            to: does.to,
            action: does.action,
            upstream: does.upstream,
            concurrency: self.concurrency(route),
            timeout: route.timeout.as_ref().map(|timeout| timeout.value),
            path: does.path,
            response_edits: self.response_edits(route)?,
            allow_ips: self.allow_ips(route),
            limits: self.rate_limits(at, route)?,
            max_body: route.max_body.bytes(),
            errors,
            error_pages: error_pages::of_route(self, at, route)?,
            cors: match &route.cors {
                Some(cors) => Some(Box::new(self.cors(at, cors)?)),
                None => None,
            },
            metadata: metadata.map(Box::new),
            is_well_known: is_well_known(&matcher?.path),
            // Nothing is upgraded on a stream of HTTP/2.
            websocket: route.websocket && does.upgrades,
            streams: routes::stream_ends(route),
            revoke_on,
        })
    }

    /// The action behind its policy, and where it leads. Without a policy there is none, but what is
    /// wrong with it is told all the same.
    fn does(
        &mut self,
        at: usize,
        route: &Route,
        matcher: &Matcher,
        policy: Option<Policy>,
        upstreams: &Upstreams,
    ) -> Option<Does> {
        if route.internal.value {
            // Its folder is with the routes whose applications may name its files.
            let to = route.static_root.as_ref()?.value.display().to_string();
            let (action, upgrades) = (Action::Internal, false);
            return Some(Does { action, upstream: None, upgrades, path: None, to });
        }
        let (action, to) = if let Some(reference) = &route.upstream {
            // A name that does not exist was reported while loading.
            let target = upstreams.find(&reference.value)?;
            return self.forwards(at, route, matcher, policy, target);
        } else if let Some(written) = &route.redirect {
            let redirection = self.redirection(at, written, matcher)?;
            let kept = if redirection.kept.is_some() { "*" } else { "" };
            let to = format!("{} {}{kept}", redirection.status.as_u16(), redirection.to);
            (Action::Redirect(Guarded::new(policy?, redirection)), to)
        } else if route.verify.value {
            (Action::Verify(Guarded::new(policy?, Verify)), "verify".to_owned())
        } else {
            let files = files::compile(self, at, route, matcher)?;
            let to = route.static_root.as_ref()?.value.display().to_string();
            (Action::Files(Guarded::new(policy?, files)), to)
        };
        Some(Does { action, upstream: None, upgrades: true, path: None, to })
    }

    fn forwards(
        &mut self,
        at: usize,
        route: &Route,
        matcher: &Matcher,
        policy: Option<Policy>,
        target: Target,
    ) -> Option<Does> {
        let Target { upstream, by, id } = target;
        let endpoints = upstream.endpoints().iter().map(|one| one.label().to_owned());
        let destination = Destination {
            id,
            name: Arc::from(upstream.name()),
            endpoints: endpoints.collect(),
            body_pause: (upstream.kind() == Kind::Grpc).then_some(upstream.timeouts().read),
        };
        let upgrades = upstream.protocol() == Protocol::Http1;
        let (path, told) = self.path_plan(at, route, matcher, upstream.kind())?;
        let edits = Some(self.request_edits(route, told)?).filter(|edits| !edits.is_empty());
        let to = upstream.name().to_owned();
        let proxy = Proxy {
            buffers_requests: self.buffers_requests(route, upstream.kind()),
            buffers_responses: self.buffers_responses(route, upstream.kind()),
            edits: edits.map(Box::new),
            by,
            upstream,
        };
        let internal = files::internal(&self.internal, route, matcher);
        let action = Action::Proxy(Guarded::new(policy?, Proxied { proxy, internal }));
        Some(Does { action, upstream: Some(destination), upgrades, path, to })
    }

    fn cors(&mut self, at: usize, cors: &config::Cors) -> Option<Cors> {
        let compiled = routes::cors(cors, &self.config.server.request_id);
        if compiled.is_none() {
            // Loading told already why, or should have.
            let diagnostic = Diagnostic::error(cors.span.clone(), "can't be answered so");
            self.report(diagnostic.path(format!("route[{at}].cors")));
        }
        compiled
    }

    fn policy(&mut self, at: usize, route: &Route, issuers: &mut Issuers) -> Option<Policy> {
        if route.public {
            return Some(Policy::Public);
        }
        let issuers = issuers.of_route(self, at, route);
        if route.anonymous {
            // Loading made sure that nothing is required.
            return Some(Policy::Anonymous { issuers: issuers? });
        }
        let require = issuers::require(self, &format!("route[{at}].require"), &route.require);
        Some(Policy::Token { issuers: issuers?, require: require? })
    }

    /// The slots of the listeners that a route names.
    fn named(&self, route: &Route) -> Vec<usize> {
        let names = route.listeners.iter().flatten();
        names.filter_map(|name| self.listener_slot(&name.value)).collect()
    }
}

/// What a route does, and where it leads.
struct Does {
    action: Action,
    upstream: Option<Destination>,
    /// Whether what it leads to may switch protocols.
    upgrades: bool,
    path: Option<Box<PathPlan>>,
    to: String,
}

/// `auto` follows the issuers: what simplejwt's clients expect, they get from the gateway too.
fn error_format(route: &Route, policy: Option<&Policy>) -> ErrorFormat {
    match route.errors {
        config::Errors::Auto => match policy.and_then(Policy::issuers) {
            Some(issuers) if issuers.errors() == ErrorStyle::Drf => ErrorFormat::AutoDrf,
            Some(_) | None => ErrorFormat::Auto,
        },
        config::Errors::Drf => ErrorFormat::Drf,
        config::Errors::Grpc => ErrorFormat::Grpc,
        config::Errors::Empty => ErrorFormat::Empty,
        config::Errors::Html => ErrorFormat::Html,
        config::Errors::Problem => ErrorFormat::Problem,
    }
}

fn by_fingerprint(issuers: &[Arc<Issuer>]) -> HashMap<u64, usize> {
    issuers.iter().enumerate().map(|(place, issuer)| (issuer.fingerprint(), place)).collect()
}

impl Surroundings {
    /// For verbs that only look at a configuration: counts nothing that anybody scrapes.
    ///
    /// # Errors
    /// The system gave no random bytes for the ticket keys.
    pub fn offline() -> Result<Self, String> {
        Ok(Self { offline: true, ..Self::new(Metrics::new(), Clock::system())? })
    }

    /// With fresh ticket keys and a fresh name in `Via`.
    ///
    /// # Errors
    /// The system gave no random bytes for the ticket keys.
    pub fn new(metrics: Arc<Metrics>, clock: Clock) -> Result<Self, String> {
        // Two gateways in a row are no loop: each needs a name of its own.
        let id = request_id();
        let own = id.to_str().ok().and_then(|id| id.get(..8)).unwrap_or_default();
        let tickets = Tickets::new().map_err(|error| format!("no ticket keys: {error}"))?;
        Ok(Self {
            metrics,
            clock,
            tickets: Arc::new(tickets),
            via: Via::new(&format!("portcullis-{own}")),
            revocations: Revocations::new(),
            offline: false,
        })
    }
}

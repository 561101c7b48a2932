//! What a route changes: headers, the path it forwards, where it sends clients.
//!
//! The names of headers were judged while loading; here they become what a request uses as it is.
//! Prefixes have to be those of the route's own paths, so that no request has another.

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, StatusCode};

use super::Snapshot;
use super::compile::Compiling;
use super::plan::{PathPlan, Redirection, RoutePlan};
use super::routes;
use crate::config::{self, Buffering, Diagnostic, HeaderValues, Route, Spanned, UpstreamRef};
use crate::http::edits::Pairs;
use crate::http::{RequestEdits, ResponseEdits};
use crate::limit::Concurrency;
use crate::route::rewrite::prefix;
use crate::route::{
    Found, ListenerSet, Matcher, MethodSet, PathPattern, Pattern, Rewrite, RewriteError, Split,
    Table, split_view,
};
use crate::upstream::Kind;

/// What a proxy sends to an application that does not lie at the root. Gunicorn takes the second
/// from trusted peers, in exactly this spelling.
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const SCRIPT_NAME: HeaderName = HeaderName::from_static("script_name");

/// Why a rewritten path is not forwarded.
#[derive(Debug)]
pub enum Misrouted {
    /// It is no canonical path.
    Rewrite(RewriteError),
    /// Somebody takes it for a path of another route.
    Split(Split<usize>),
}

impl Snapshot {
    /// The path to forward for the canonical `path` of a request that `route` serves; `None` if
    /// that is the path itself.
    ///
    /// # Errors
    /// It would be ambiguous.
    pub fn forwarded_path(
        &self,
        route: usize,
        listener: usize,
        host: &str,
        path: &str,
        method: &Method,
    ) -> Result<Option<String>, Misrouted> {
        let Some(plan) = self.route(route).and_then(|plan| plan.path.as_deref()) else {
            return Ok(None);
        };
        let rewritten = plan.rewrite.apply(path).map_err(Misrouted::Rewrite)?;
        let at = split_view::At { table: &self.table, listener, host, method };
        let rival = |path: &str| match plan.namespace.find(0, "", path, method) {
            Found::Route((other, true)) => Some(other),
            Found::Route((_, false)) | Found::MethodNotAllowed(_) | Found::None => None,
        };
        split_view::agree_rewritten(&at, route, &plan.rewrite, &rewritten, &rival)
            .map_err(Misrouted::Split)?;
        Ok(Some(rewritten.path))
    }
}

impl Compiling<'_> {
    /// What becomes of the path, and the header that tells of it.
    pub(super) fn path_plan(
        &mut self,
        at: usize,
        route: &Route,
        matcher: &Matcher,
        kind: Kind,
    ) -> Option<(Option<Box<PathPlan>>, Pairs)> {
        let mut told = Pairs::new();
        let rewrite = if let Some(mount) = &route.mount {
            self.covering(at, "mount", mount, matcher)?;
            let value = HeaderValue::try_from(mount.value.as_str()).ok()?;
            told.push((FORWARDED_PREFIX, value.clone()));
            match kind {
                Kind::Wsgi => {
                    told.push((SCRIPT_NAME, value));
                    Rewrite::mounted(mount)
                }
                Kind::Asgi | Kind::Grpc | Kind::Http | Kind::Node => Rewrite::new(mount, None, ""),
            }
        } else {
            let strip = match &route.strip_prefix {
                None => "",
                Some(strip) => {
                    self.covering(at, "strip_prefix", strip, matcher)?;
                    told.push((FORWARDED_PREFIX, HeaderValue::try_from(strip.as_str()).ok()?));
                    strip
                }
            };
            let add = match &route.add_prefix {
                None => "",
                Some(add) => self.prefix(at, "add_prefix", add)?,
            };
            let pattern = match &route.rewrite {
                None => None,
                Some(written) => Some(self.pattern(at, written)?),
            };
            if strip.is_empty() && add.is_empty() && pattern.is_none() {
                return Some((None, told));
            }
            Rewrite::new(strip, pattern, add)
        };
        let neighbours = self.neighbours(at, route);
        self.warn_of_rivals(at, route, matcher, &rewrite, &neighbours);
        Some((Some(Box::new(PathPlan { rewrite, namespace: Table::build(neighbours) })), told))
    }

    /// A prefix of paths.
    fn prefix<'r>(&mut self, at: usize, key: &str, text: &'r Spanned<String>) -> Option<&'r str> {
        match prefix(text) {
            Ok(()) => Some(text.value.as_str()),
            Err(error) => {
                let message = format!("{} is no prefix of paths: {error}", self.source.shown(text));
                self.report(
                    Diagnostic::error(text.span.clone(), message)
                        .path(format!("route[{at}].{key}"))
                        .hint("whole segments, spelled as paths are matched: \"/api\", \"/a/b\""),
                );
                None
            }
        }
    }

    /// A prefix that every path of the route has.
    fn covering(
        &mut self,
        at: usize,
        key: &str,
        text: &Spanned<String>,
        matcher: &Matcher,
    ) -> Option<()> {
        let text_of = self.prefix(at, key, text)?;
        let prefix = format!("{text_of}/*").parse::<PathPattern>();
        let covers = prefix.is_ok_and(|prefix| prefix.covers(&matcher.path));
        if !covers {
            let message =
                format!("the route takes paths that don't begin with {}", self.source.shown(text));
            self.report(
                Diagnostic::error(text.span.clone(), message)
                    .path(format!("route[{at}].{key}"))
                    .hint(format!("let the route's `path` begin so: \"{text_of}/*\"")),
            );
        }
        covers.then_some(())
    }

    fn pattern(&mut self, at: usize, written: &config::Rewrite) -> Option<Pattern> {
        match Pattern::new(&written.from, &written.to) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                use crate::route::rewrite::PatternError;
                let (key, span, hint) = match &error {
                    PatternError::From(_) => (
                        "from",
                        &written.from.span,
                        "a regular expression for whole paths: \"/users/([0-9]+)/.*\"",
                    ),
                    PatternError::NoGroup(_) | PatternError::To(_) => (
                        "to",
                        &written.to.span,
                        "a path; `{1}` or `{name}` is what that group matched: \"/u/{1}\"",
                    ),
                };
                let message = format!("`{key}` can't be used: {error}");
                self.report(
                    Diagnostic::error(span.clone(), message)
                        .path(format!("route[{at}].rewrite.{key}"))
                        .hint(hint),
                );
                None
            }
        }
    }

    /// Routes to the same upstream that forward their paths as they are; those that ask for another
    /// token, or keep somebody out, first: what they protect must not be reached under another name.
    /// Their paths count on every host and listener, since the application may not look at the first
    /// and can't see the others.
    fn neighbours(&self, at: usize, route: &Route) -> Vec<(Matcher, (usize, bool))> {
        let own = routes::policy(self.config, route);
        let mut found = Vec::new();
        for (place, other) in self.config.routes.iter().enumerate() {
            let as_it_is = other.mount.is_none()
                && other.strip_prefix.is_none()
                && other.rewrite.is_none()
                && other.add_prefix.is_none();
            if place == at || !as_it_is || !routes::same_destination(route, other) {
                continue;
            }
            // What does not parse was told of its own route.
            let Ok(path) = other.path.parse::<PathPattern>() else { continue };
            let methods = other.methods.as_ref().and_then(|names| {
                MethodSet::named(names.iter().map(|name| name.value.as_str())).ok()
            });
            let other_tokens = !routes::is_open(other) && own != routes::policy(self.config, other);
            let is_rival = other_tokens || self.keeps_out(route, other);
            let matcher = Matcher {
                hosts: Vec::new(),
                path,
                methods: methods.unwrap_or_else(MethodSet::all),
                listeners: ListenerSet::All,
            };
            found.push((matcher, (place, is_rival)));
        }
        found.sort_by_key(|(_, (_, is_rival))| !is_rival);
        found
    }

    /// Whether `other` refuses somebody by address, or by the listener, whom `route` lets in.
    fn keeps_out(&self, route: &Route, other: &Route) -> bool {
        let networks = |one: &Route| -> Option<Vec<_>> {
            Some(one.allow_ips.as_ref()?.iter().map(|network| network.value).collect())
        };
        let by_address = networks(other).is_some_and(|others| networks(route) != Some(others));
        let serves = |one: &Route, name: &str| match &one.listeners {
            None => true,
            Some(names) => names.iter().any(|known| known.value == name),
        };
        let mut names = self.config.listeners.iter().map(|one| one.name.value.as_str());
        by_address || names.any(|name| serves(route, name) && !serves(other, name))
    }

    /// Warns where all that a route forwards belongs to another.
    fn warn_of_rivals(
        &mut self,
        at: usize,
        route: &Route,
        matcher: &Matcher,
        rewrite: &Rewrite,
        neighbours: &[(Matcher, (usize, bool))],
    ) {
        if rewrite.has_pattern() {
            return;
        }
        let base = matcher.path.base();
        let Ok(forwarded) = rewrite.apply(if base.is_empty() { "/" } else { base }) else { return };
        let rivals = neighbours.iter().filter(|(_, (_, is_rival))| *is_rival);
        for (matcher, (rival, _)) in rivals {
            let Some(other) = self.config.routes.get(*rival) else { continue };
            if !matcher.path.matches(&forwarded.path) {
                continue;
            }
            let message = format!(
                "what route {} forwards are paths of route {}, which has the same upstream and \
                 another policy: such requests are refused (ambiguous_path)",
                routes::shown(self, at, route),
                routes::shown(self, *rival, other)
            );
            self.report(
                Diagnostic::warning(route.path.span.clone(), message)
                    .path(format!("route[{at}]"))
                    .hint("give both one policy, or the endpoints another `[upstream.NAME]` here"),
            );
        }
    }

    // === headers ===

    /// The changes of a request's headers, what is told of the path among them.
    pub(super) fn request_edits(&self, route: &Route, mut told: Pairs) -> Option<RequestEdits> {
        let Some(edits) = &route.request_headers else {
            return Some(RequestEdits::new(&told, &Pairs::new(), Vec::new()));
        };
        told.extend(self.pairs(&edits.set)?);
        Some(RequestEdits::new(&told, &self.pairs(&edits.add)?, names(&edits.remove)?))
    }

    /// The changes of a response's headers.
    pub(super) fn response_edits(&self, route: &Route) -> Option<Option<Box<ResponseEdits>>> {
        let Some(edits) = &route.response_headers else { return Some(None) };
        Some(Some(Box::new(ResponseEdits {
            set: self.pairs(&edits.set)?,
            add: self.pairs(&edits.add)?,
            default: self.pairs(&edits.default)?,
            remove: names(&edits.remove)?,
        })))
    }

    /// Values that were expanded are marked: they are shown to nobody.
    fn pairs(&self, values: &HeaderValues) -> Option<Pairs> {
        let pair = |(name, value): &(Spanned<String>, Spanned<String>)| {
            let header = HeaderName::try_from(name.value.as_str()).ok()?;
            let mut line = HeaderValue::try_from(value.value.as_str()).ok()?;
            line.set_sensitive(!self.source.shown(value).starts_with('`'));
            Some((header, line))
        };
        values.iter().map(pair).collect()
    }

    // === bodies ===

    /// Whether requests are sent whole: a WSGI server's worker is held for as long as it reads.
    pub(super) fn buffers_requests(&self, route: &Route, kind: Kind) -> bool {
        buffers(self.written_upstream(route).map(|upstream| upstream.buffer_requests), kind)
    }

    /// Whether responses are read ahead: it is held for as long as it writes, too.
    pub(super) fn buffers_responses(&self, route: &Route, kind: Kind) -> bool {
        buffers(self.written_upstream(route).map(|upstream| upstream.buffer_responses), kind)
    }

    /// The table of a route's upstream; none where it is a URL.
    fn written_upstream(&self, route: &Route) -> Option<&config::Upstream> {
        let UpstreamRef::Name(name) = &route.upstream.as_ref()?.value else { return None };
        self.config.upstreams.iter().find(|upstream| upstream.name.value == *name)
    }

    // === limits ===

    /// Who is in stays in over a reload.
    pub(super) fn concurrency(&self, route: &Route) -> Option<Box<Concurrency>> {
        let places = route.max_in_flight?;
        let name = route.effective_name();
        let running = |snapshot: &Snapshot| {
            let old = snapshot.routes().iter().find(|old| *old.name == *name)?;
            old.concurrency.as_ref().map(|old| old.resized(places))
        };
        let adopted = self.previous.and_then(running);
        Some(Box::new(adopted.unwrap_or_else(|| Concurrency::new(places))))
    }

    // === redirects ===

    /// Where a route sends its clients, and how `routes` shows it.
    pub(super) fn redirection(
        &mut self,
        at: usize,
        written: &config::Redirect,
        matcher: &Matcher,
    ) -> Option<Redirection> {
        let to = &written.to;
        let (url, fragment) = match to.split_once('#') {
            Some((url, fragment)) => (url, format!("#{fragment}")),
            None => (to.as_str(), String::new()),
        };
        let redirection = Redirection {
            to: url.to_owned(),
            fragment,
            // Loading looked at it.
            status: StatusCode::from_u16(written.status.value).ok()?,
            kept: written.keep_path.then(|| matcher.path.clone()),
        };
        let path = url.split('?').next().unwrap_or_default();
        if !redirection.is_elsewhere() && matcher.path.matches(path) {
            let message = format!("{} is a path of this very route", self.source.shown(to));
            self.report(
                Diagnostic::error(to.span.clone(), message)
                    .path(format!("route[{at}].redirect.to"))
                    .hint("clients would be sent in a circle: name a path of another route"),
            );
            return None;
        }
        Some(redirection)
    }
}

impl RoutePlan {
    /// What `routes` and `explain` show of the path: as it arrives, and as it is forwarded.
    pub fn path_shown(&self) -> Option<String> {
        self.path.as_ref().map(|plan| plan.rewrite.to_string())
    }
}

fn buffers(written: Option<Buffering>, kind: Kind) -> bool {
    match written {
        Some(Buffering::On) => true,
        Some(Buffering::Off) => false,
        Some(Buffering::Auto) | None => matches!(kind, Kind::Wsgi),
    }
}

fn names(names: &[Spanned<String>]) -> Option<Vec<HeaderName>> {
    names.iter().map(|name| HeaderName::try_from(name.value.as_str()).ok()).collect()
}

//! Routes: matchers, conflicts, and what may overlap unprotected.

use std::collections::HashMap;

use hyper::Method;

use super::compile::Compiling;
use super::plan::StreamEnds;
use crate::config::{self, Diagnostic, RequireTable, Route, Spanned, WebOrigin};
use crate::http::path::canonicalize;
use crate::http::{Cors, CorsSettings};
use crate::route::{
    HostPattern, ListenerSet, Matcher, MethodSet, PathPattern, PathPatternError, Relation, relation,
};

/// What a route matches, and which listeners it names; `None` after a diagnostic.
pub(super) fn matcher(compiling: &mut Compiling<'_>, at: usize, route: &Route) -> Option<Matcher> {
    let place = |key: &str| format!("route[{at}].{key}");
    let mut hosts = Vec::new();
    for host in &route.hosts {
        match host.value.parse::<HostPattern>() {
            Ok(pattern) => hosts.push(pattern),
            Err(error) => compiling.report(
                Diagnostic::error(host.span.clone(), format!("bad host: {error}"))
                    .path(place("hosts"))
                    .hint("a host is written `example.com` or `*.example.com`, without a port"),
            ),
        }
    }
    let path = match route.path.value.parse::<PathPattern>() {
        Ok(path) => Some(path),
        Err(error) => {
            compiling.report(bad_path(&route.path, error).path(place("path")));
            None
        }
    };
    let mut methods = MethodSet::all();
    if let Some(names) = &route.methods {
        match MethodSet::named(names.iter().map(|name| name.value.as_str())) {
            Ok(set) => methods = set,
            Err((position, error)) => {
                let span = names.get(position).map_or(route.span.clone(), |name| name.span.clone());
                let message = format!("bad method: {error}");
                compiling.report(Diagnostic::error(span, message).path(place("methods")));
            }
        }
    }
    let listeners = match &route.listeners {
        None => ListenerSet::All,
        Some(names) => {
            let slots = names.iter().filter_map(|name| compiling.listener_slot(&name.value));
            match ListenerSet::of(slots) {
                Some(set) => set,
                None => {
                    let message = format!("more than {} listeners", ListenerSet::MAX);
                    let diagnostic = Diagnostic::error(route.span.clone(), message);
                    compiling.report(diagnostic.path(place("listeners")));
                    return None;
                }
            }
        }
    };
    Some(Matcher { hosts, path: path?, methods, listeners })
}

fn bad_path(written: &Spanned<String>, error: PathPatternError) -> Diagnostic {
    let hint = match (error, canonicalize(&written.value)) {
        (PathPatternError::Dots, Ok(meant)) => format!("write what it means: `{}`", meant.path),
        _ => "a path is written as clients' paths are matched: `/a`, or `/a/*` for all below"
            .to_owned(),
    };
    Diagnostic::error(written.span.clone(), format!("bad path: {error}")).hint(hint)
}

/// The answers of a route to pages of other origins; `request_id` names the header with the id.
pub(super) fn cors(cors: &config::Cors, request_id: &str) -> Option<Cors> {
    let text = |names: &[Spanned<String>]| names.iter().map(|name| name.value.clone()).collect();
    let mut expose: Vec<String> = text(&cors.expose_headers);
    expose.extend(["WWW-Authenticate", "Retry-After", request_id].map(str::to_owned));
    Cors::new(CorsSettings {
        origins: cors
            .origins
            .iter()
            .map(|origin| match &origin.value {
                WebOrigin::Any => None,
                WebOrigin::Exact(origin) => Some(origin.clone()),
            })
            .collect(),
        credentials: cors.credentials,
        methods: cors.methods.as_deref().map(text),
        headers: Some(text(&cors.headers)).filter(|names: &Vec<_>| names != &["*"]),
        expose,
        max_age: cors.max_age,
    })
}

/// What ends with the token that began it.
pub(super) fn stream_ends(route: &Route) -> StreamEnds {
    let (upgrades, bodies) = match route.end_with_token {
        config::EndWithToken::All => (true, true),
        config::EndWithToken::Off => (false, false),
        config::EndWithToken::Upgrades => (true, false),
    };
    StreamEnds { upgrades, bodies, grace: route.grace }
}

/// Reports pairs of routes that meet with neither winning though their policies differ, routes
/// that never match, and protection that has a hole.
pub(super) fn overlaps(compiling: &mut Compiling<'_>, matchers: &[Matcher]) {
    for (first, second) in meeting_pairs(matchers) {
        let (Some(a), Some(b)) = (matchers.get(first), matchers.get(second)) else { continue };
        lost_logout(compiling, first, second, a, b);
        lost_logout(compiling, second, first, b, a);
        match relation(a, b) {
            Relation::Disjoint => {}
            Relation::Mixed => {
                uncovered(compiling, first, second, a, b);
                uncovered(compiling, second, first, b, a);
            }
            Relation::Tie => tie(compiling, first, second),
            Relation::FirstWins => uncovered(compiling, first, second, a, b),
            Relation::SecondWins => uncovered(compiling, second, first, b, a),
        }
    }
    for (never, by) in crate::route::shadowed(matchers) {
        let Some((route, other)) = pair(compiling.config, never, by) else { continue };
        let message = format!(
            "route {} never matches: route {} takes all of its requests",
            shown(compiling, never, route),
            shown(compiling, by, other)
        );
        let span = route.path.span.clone();
        compiling.report(Diagnostic::warning(span, message).path(format!("route[{never}]")));
    }
}

/// A logout that another route takes revokes nothing.
fn lost_logout(
    compiling: &mut Compiling<'_>,
    winner: usize,
    loser: usize,
    a: &Matcher,
    b: &Matcher,
) {
    let Some((winning, losing)) = pair(compiling.config, winner, loser) else { return };
    let Some(watched) = &losing.revoke_on else { return };
    let takes = a.path.matches(&watched.path.value) && a.methods.contains(&Method::POST);
    let wins = matches!(relation(a, b), Relation::FirstWins | Relation::Mixed);
    if !takes || !wins || winning.revoke_on.is_some() {
        return;
    }
    let message = format!(
        "route {} takes this logout, or a part of them, and revokes nothing",
        shown(compiling, winner, winning)
    );
    compiling.report(
        Diagnostic::warning(watched.path.span.clone(), message)
            .path(format!("route[{loser}].revoke_on.path"))
            .hint("say `revoke_on` there, too"),
    );
}

/// Pairs that may match one request. Two path patterns meet only if one's path is the other's or
/// lies above it, so each route looks upwards alone, and two exact hosts only if they are one: the
/// cost grows with the depth of the paths, not with the square of the routes.
fn meeting_pairs(matchers: &[Matcher]) -> Vec<(usize, usize)> {
    let mut by_path: HashMap<&str, SamePath<'_>> = HashMap::new();
    for (index, matcher) in matchers.iter().enumerate() {
        by_path.entry(matcher.path.base()).or_default().add(index, matcher);
    }
    let mut pairs = Vec::new();
    for (index, matcher) in matchers.iter().enumerate() {
        let base = matcher.path.base();
        for above in ancestors(base) {
            for other in by_path.get(above).into_iter().flat_map(|same| same.meeting(matcher)) {
                if above != base || other < index {
                    pairs.push((other.min(index), other.max(index)));
                }
            }
        }
    }
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

/// Routes of one path, by their exact hosts.
#[derive(Debug, Default)]
struct SamePath<'m> {
    by_host: HashMap<&'m str, Vec<usize>>,
    /// Those with a host pattern, or for any host.
    wide: Vec<usize>,
    all: Vec<usize>,
}

impl<'m> SamePath<'m> {
    fn add(&mut self, index: usize, matcher: &'m Matcher) {
        self.all.push(index);
        match exact_hosts(matcher) {
            Some(hosts) => {
                for host in hosts {
                    self.by_host.entry(host).or_default().push(index);
                }
            }
            None => self.wide.push(index),
        }
    }

    /// Those that may share a host with `matcher`.
    fn meeting(&self, matcher: &Matcher) -> Vec<usize> {
        let Some(hosts) = exact_hosts(matcher) else { return self.all.clone() };
        let same = hosts.iter().filter_map(|host| self.by_host.get(host)).flatten();
        same.chain(&self.wide).copied().collect()
    }
}

/// The hosts of a route that names nothing but exact ones.
fn exact_hosts(matcher: &Matcher) -> Option<Vec<&str>> {
    let exact = matcher.hosts.iter().map(|host| match host {
        HostPattern::Exact(host) => Some(host.as_str()),
        HostPattern::Suffix(_) => None,
    });
    exact.collect::<Option<Vec<_>>>().filter(|hosts| !hosts.is_empty())
}

/// The path itself and every path above it, the root last (as `/` and as the empty base of `/*`).
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let cuts = path.rmatch_indices('/').filter_map(|(at, _)| path.get(..at));
    std::iter::once(path).chain(cuts).chain(std::iter::once("/").filter(move |_| path != "/"))
}

fn pair(config: &config::Config, a: usize, b: usize) -> Option<(&Route, &Route)> {
    Some((config.routes.get(a)?, config.routes.get(b)?))
}

fn tie(compiling: &mut Compiling<'_>, first: usize, second: usize) {
    let Some((a, b)) = pair(compiling.config, first, second) else { return };
    if policy(compiling.config, a) == policy(compiling.config, b) {
        return;
    }
    let message = format!(
        "routes {} and {} match the same requests, neither is more specific, and their policies \
         differ",
        shown(compiling, first, a),
        shown(compiling, second, b)
    );
    let diagnostic = Diagnostic::error(b.path.span.clone(), message)
        .path(format!("route[{second}]"))
        .hint("make one of them more specific in host or path, or give both the same policy");
    compiling.report(diagnostic);
}

/// A protected route that is limited to some methods, listeners or hosts leaves the rest of its path
/// to the route below it: if that one is public, the rest is open to everybody. Other hosts may be
/// other applications, so they count only where the same one answers.
fn uncovered(
    compiling: &mut Compiling<'_>,
    winner: usize,
    loser: usize,
    winning: &Matcher,
    losing: &Matcher,
) {
    let Some((inner, outer)) = pair(compiling.config, winner, loser) else { return };
    let same = same_destination(inner, outer);
    // Nobody gets there.
    if inner.internal.value || outer.internal.value {
        return;
    }
    let rest_is_left = !winning.methods.is_superset(&losing.methods)
        || !winning.listeners.is_superset(losing.listeners);
    let hosts_are_left = same && !covers_hosts(winning, losing);
    let reaches = outer.upstream.is_some() || same;
    if !is_open(inner) && is_open(outer) && reaches && (rest_is_left || hosts_are_left) {
        let message = format!(
            "route {} asks for a token, but the requests it leaves out go to the {} route {}",
            shown(compiling, winner, inner),
            if outer.public { "public" } else { "anonymous" },
            shown(compiling, loser, outer)
        );
        compiling.report(
            Diagnostic::warning(inner.path.span.clone(), message)
                .path(format!("route[{winner}]"))
                .hint("leave out `methods`, `listeners` and `hosts`, or add a route for the rest"),
        );
    }
    if is_open(inner) && !is_open(outer) && inner.methods.is_none() && same {
        let message = format!(
            "{} route {} opens a part of route {}, which asks for a token, for all methods",
            if inner.public { "public" } else { "anonymous" },
            shown(compiling, winner, inner),
            shown(compiling, loser, outer)
        );
        compiling.report(
            Diagnostic::warning(inner.path.span.clone(), message)
                .path(format!("route[{winner}]"))
                .hint("name the methods that need no token: `methods = [\"POST\"]`"),
        );
    }
}

/// Whether a request without a token passes.
pub(super) fn is_open(route: &Route) -> bool {
    route.public || route.anonymous
}

pub(super) fn same_destination(one: &Route, other: &Route) -> bool {
    are_same(&one.upstream, &other.upstream) || are_same(&one.static_root, &other.static_root)
}

/// Whether both are written, and alike.
fn are_same<T: PartialEq>(one: &Option<Spanned<T>>, other: &Option<Spanned<T>>) -> bool {
    one.as_ref().zip(other.as_ref()).is_some_and(|(one, other)| one.value == other.value)
}

/// Whether no host of `losing` lies outside those of `winning`.
pub(super) fn covers_hosts(winning: &Matcher, losing: &Matcher) -> bool {
    let covered = |host: &HostPattern| winning.hosts.iter().any(|one| one.covers(host));
    winning.hosts.is_empty() || (!losing.hosts.is_empty() && losing.hosts.iter().all(covered))
}

/// A route's name as a message may show it: not if any part of it was expanded.
pub(super) fn shown(compiling: &Compiling<'_>, at: usize, route: &Route) -> String {
    let parts = route.hosts.iter().chain(route.methods.iter().flatten());
    let written = match &route.name {
        Some(name) => compiling.source.shown(name).starts_with('`'),
        None => {
            parts.chain([&route.path]).all(|part| compiling.source.shown(part).starts_with('`'))
        }
    };
    if written { format!("`{}`", route.effective_name()) } else { format!("route[{at}]") }
}

/// What a route's policy asks for, in a form that can be compared.
pub(super) fn policy(
    config: &config::Config,
    route: &Route,
) -> Option<(bool, Vec<String>, String)> {
    if route.public {
        return None;
    }
    if route.internal.value {
        return Some((false, Vec::new(), "internal".to_owned()));
    }
    let mut issuers: Vec<_> = issuer_names(config, route).map(str::to_owned).collect();
    issuers.sort_unstable();
    Some((route.anonymous, issuers, require_text(&route.require)))
}

/// The names of the issuers whose tokens a route takes.
pub(super) fn issuer_names<'a>(
    config: &'a config::Config,
    route: &'a Route,
) -> impl Iterator<Item = &'a str> {
    let named = match route.issuers.as_ref().map(|issuers| &issuers.value) {
        Some(config::Issuers::Named(names)) => Some(names),
        Some(config::Issuers::All) | None => None,
    };
    let all = named.is_none().then_some(&config.issuers);
    named
        .into_iter()
        .flatten()
        .map(|name| name.value.as_str())
        .chain(all.into_iter().flatten().map(|issuer| issuer.name.value.as_str()))
}

/// A text that is equal for equal requirements.
pub(super) fn require_text(tables: &[RequireTable]) -> String {
    let mut text = String::new();
    for table in tables {
        let mut rules: Vec<_> = table
            .claims
            .iter()
            .map(|rule| {
                let lists = serde_json::json!([rule.name.value, rule.any, rule.all, rule.none]);
                lists.to_string()
            })
            .collect();
        rules.sort_unstable();
        text.push_str(&rules.join(";"));
        text.push('|');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_above_a_path_end_with_the_root() {
        assert_eq!(ancestors("/a/b").collect::<Vec<_>>(), ["/a/b", "/a", "", "/"]);
        assert_eq!(ancestors("/").collect::<Vec<_>>(), ["/", ""]);
        assert_eq!(ancestors("").collect::<Vec<_>>(), ["", "/"]);
    }
}

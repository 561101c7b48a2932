//! Routes: matchers, conflicts, and what may overlap unprotected.

use std::collections::HashMap;

use super::compile::Compiling;
use crate::config::{self, Diagnostic, RequireTable, Route};
use crate::route::{HostPattern, ListenerSet, Matcher, MethodSet, PathPattern, Relation, relation};

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
            compiling.report(
                Diagnostic::error(route.path.span.clone(), format!("bad path: {error}"))
                    .path(place("path"))
                    .hint("a path is written as clients' paths are matched: `/a`, or `/a/*` for all below"),
            );
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

/// Reports pairs of routes that meet with neither winning though their policies differ, routes
/// that never match, and protection that has a hole.
pub(super) fn overlaps(compiling: &mut Compiling<'_>, matchers: &[Matcher]) {
    for (first, second) in meeting_pairs(matchers) {
        let (Some(a), Some(b)) = (matchers.get(first), matchers.get(second)) else { continue };
        match relation(a, b) {
            Relation::Disjoint | Relation::Mixed => {}
            Relation::Tie => tie(compiling, first, second),
            Relation::FirstWins => uncovered(compiling, first, second, a, b),
            Relation::SecondWins => uncovered(compiling, second, first, b, a),
        }
    }
    for (never, by) in crate::route::shadowed(matchers) {
        let Some((route, other)) = pair(compiling.config, never, by) else { continue };
        let message = format!(
            "route `{}` never matches: route `{}` takes all of its requests",
            route.effective_name(),
            other.effective_name()
        );
        let span = route.path.span.clone();
        compiling.report(Diagnostic::warning(span, message).path(format!("route[{never}]")));
    }
}

/// Pairs that may match one request. Two path patterns meet only if one's path is the other's or
/// lies above it, so each route looks upwards alone: the cost grows with the depth of the paths,
/// not with the square of the routes.
fn meeting_pairs(matchers: &[Matcher]) -> Vec<(usize, usize)> {
    let mut by_path: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, matcher) in matchers.iter().enumerate() {
        by_path.entry(matcher.path.base()).or_default().push(index);
    }
    let mut pairs = Vec::new();
    for (index, matcher) in matchers.iter().enumerate() {
        let base = matcher.path.base();
        for above in ancestors(base) {
            for &other in by_path.get(above).into_iter().flatten() {
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
        "routes `{}` and `{}` match the same requests, neither is more specific, and their \
         policies differ",
        a.effective_name(),
        b.effective_name()
    );
    let diagnostic = Diagnostic::error(b.path.span.clone(), message)
        .path(format!("route[{second}]"))
        .hint("make one of them more specific in host or path, or give both the same policy");
    compiling.report(diagnostic);
}

/// A protected route that is limited to some methods or listeners leaves the rest of its path
/// to the route below it: if that one is public, the rest is open to everybody.
fn uncovered(
    compiling: &mut Compiling<'_>,
    winner: usize,
    loser: usize,
    winning: &Matcher,
    losing: &Matcher,
) {
    let Some((inner, outer)) = pair(compiling.config, winner, loser) else { return };
    let rest_is_left = !winning.methods.is_superset(&losing.methods)
        || !winning.listeners.is_superset(losing.listeners);
    if !inner.public && outer.public && outer.upstream.is_some() && rest_is_left {
        let message = format!(
            "route `{}` asks for a token, but the requests it leaves out go to the public route `{}`",
            inner.effective_name(),
            outer.effective_name()
        );
        compiling.report(
            Diagnostic::warning(inner.path.span.clone(), message)
                .path(format!("route[{winner}]"))
                .hint("leave out `methods` and `listeners`, or add a route for the rest"),
        );
    }
    let same_upstream = match (&inner.upstream, &outer.upstream) {
        (Some(a), Some(b)) => a.value == b.value,
        (Some(_) | None, _) => false,
    };
    if inner.public && !outer.public && inner.methods.is_none() && same_upstream {
        let message = format!(
            "public route `{}` opens a part of route `{}`, which asks for a token, for all methods",
            inner.effective_name(),
            outer.effective_name()
        );
        compiling.report(
            Diagnostic::warning(inner.path.span.clone(), message)
                .path(format!("route[{winner}]"))
                .hint("name the methods that need no token: `methods = [\"POST\"]`"),
        );
    }
}

/// What a route's policy asks for, in a form that can be compared.
fn policy(config: &config::Config, route: &Route) -> Option<(Vec<String>, String)> {
    if route.public {
        return None;
    }
    let mut issuers: Vec<_> = issuer_names(config, route).map(str::to_owned).collect();
    issuers.sort_unstable();
    Some((issuers, require_text(&route.require)))
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

//! How routes relate: who wins where two meet, who never gets a request, and why.
//!
//! Owns the contract's partial order in its plainest reading, one matcher against another. The
//! configuration's checks and `portcullis explain` use it; the table is its compiled form, and a
//! test holds the two together.

use std::cmp::Ordering;
use std::collections::HashMap;

use hyper::Method;

use super::matcher::{HostPattern, Matcher, PathPattern};
use super::methods::MethodSet;

/// What happens on the requests that two routes both match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// There are none.
    Disjoint,
    /// The first wins all of them.
    FirstWins,
    /// Each wins some of them, by different hosts; no request is in doubt.
    Mixed,
    /// The second wins all of them.
    SecondWins,
    /// On some, neither is at least as specific as the other in both host and path.
    Tie,
}

/// How `first` and `second` relate.
pub fn relation(first: &Matcher, second: &Matcher) -> Relation {
    if first.methods.is_disjoint(&second.methods) || first.listeners.is_disjoint(second.listeners) {
        return Relation::Disjoint;
    }
    let Some(path) = narrower_path(&first.path, &second.path) else { return Relation::Disjoint };
    let mut total = Relation::Disjoint;
    for region in shared_regions(first, second) {
        let (own, others) = (narrowest(first, region), narrowest(second, region));
        let here = match (narrower_host(own, others), path) {
            (Some(Ordering::Equal), Ordering::Equal) | (None, _) => Relation::Tie,
            (Some(Ordering::Less | Ordering::Equal), Ordering::Less | Ordering::Equal) => {
                Relation::FirstWins
            }
            (Some(Ordering::Greater | Ordering::Equal), Ordering::Greater | Ordering::Equal) => {
                Relation::SecondWins
            }
            (Some(Ordering::Less), Ordering::Greater)
            | (Some(Ordering::Greater), Ordering::Less) => Relation::Tie,
        };
        total = match (total, here) {
            (Relation::Tie, _) | (_, Relation::Tie) => return Relation::Tie,
            (Relation::Disjoint, here) => here,
            (total, here) if total == here => total,
            _ => Relation::Mixed,
        };
    }
    total
}

/// Routes that no request can reach, each with one that takes its requests.
///
/// A route is unreachable if for each of its hosts, routes before it with the same host and path
/// serve all its methods on all its listeners. (A wider pattern never hides a narrower one, and
/// no set of narrower ones fills a wider one.)
pub fn shadowed(routes: &[Matcher]) -> Vec<(usize, usize)> {
    let mut before: HashMap<(Option<&HostPattern>, &PathPattern), Vec<usize>> = HashMap::new();
    let mut unreachable = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let hosts = hosts(route);
        let takers: Option<Vec<usize>> = hosts
            .iter()
            .map(|&host| taker(routes, route, before.get(&(host, &route.path))?))
            .collect();
        if let Some(&taker) = takers.as_ref().and_then(|takers| takers.first()) {
            unreachable.push((index, taker));
        }
        for host in hosts {
            before.entry((host, &route.path)).or_default().push(index);
        }
    }
    unreachable
}

/// Which route a request takes and why each other one does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Every other route, in order, with the first condition that failed.
    pub lost: Vec<(usize, Lost)>,
    /// The route taken.
    pub winner: Option<usize>,
}

/// Why a route was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lost {
    /// The host is none of its hosts.
    Host,
    /// It matches, but a more specific one does too (or an equal one before it).
    LessSpecific,
    /// The listener is none of its listeners.
    Listener,
    /// The method is none of its methods.
    Method,
    /// The path is not one of its paths.
    Path,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Host => "another host",
            Self::LessSpecific => "less specific",
            Self::Listener => "another listener",
            Self::Method => "another method",
            Self::Path => "another path",
        })
    }
}

/// Asks every route about one request; `host` and `path` in canonical form.
pub fn explain(
    routes: &[Matcher],
    listener: usize,
    host: &str,
    path: &str,
    method: &Method,
) -> Explanation {
    let verdicts: Vec<Result<_, Lost>> =
        routes.iter().map(|route| specificity(route, listener, host, path, method)).collect();
    let mut winner: Option<(usize, Specificity)> = None;
    for (index, verdict) in verdicts.iter().enumerate() {
        if let Ok(specificity) = verdict
            && winner.is_none_or(|(_, best)| *specificity > best)
        {
            winner = Some((index, *specificity));
        }
    }
    let winner = winner.map(|(index, _)| index);
    let lost = verdicts
        .into_iter()
        .enumerate()
        .filter(|(index, _)| Some(*index) != winner)
        .map(|(index, verdict)| (index, verdict.err().unwrap_or(Lost::LessSpecific)))
        .collect();
    Explanation { lost, winner }
}

/// How closely a route fits a request: host before path. Of patterns that match one host or path,
/// the longer one is the narrower one.
type Specificity = (Rank, Rank);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Any,
    Family(usize),
    Exact,
}

fn specificity(
    route: &Matcher,
    listener: usize,
    host: &str,
    path: &str,
    method: &Method,
) -> Result<Specificity, Lost> {
    let host = hosts(route)
        .into_iter()
        .filter(|pattern| pattern.is_none_or(|pattern| pattern.matches(host)))
        .map(|pattern| match pattern {
            None => Rank::Any,
            Some(HostPattern::Suffix(suffix)) => Rank::Family(suffix.len()),
            Some(HostPattern::Exact(_)) => Rank::Exact,
        })
        .max()
        .ok_or(Lost::Host)?;
    if !route.path.matches(path) {
        return Err(Lost::Path);
    }
    let path = match &route.path {
        PathPattern::Exact(_) => Rank::Exact,
        PathPattern::Prefix(_) => Rank::Family(route.path.segments().len()),
    };
    if !route.listeners.contains(listener) {
        return Err(Lost::Listener);
    }
    if !route.methods.contains(method) {
        return Err(Lost::Method);
    }
    Ok((host, path))
}

/// The hosts of a route; `None` is any host.
fn hosts(route: &Matcher) -> Vec<Option<&HostPattern>> {
    if route.hosts.is_empty() { vec![None] } else { route.hosts.iter().map(Some).collect() }
}

/// `Less` if the first covers fewer paths; `None` if they share none.
///
/// Patterns that share a path are nested, so there is no third case; likewise with hosts.
fn narrower_path(first: &PathPattern, second: &PathPattern) -> Option<Ordering> {
    nesting(first.covers(second), second.covers(first))
}

fn narrower_host(first: Option<&HostPattern>, second: Option<&HostPattern>) -> Option<Ordering> {
    nesting(host_covers(first, second), host_covers(second, first))
}

const fn nesting(first_covers: bool, second_covers: bool) -> Option<Ordering> {
    match (first_covers, second_covers) {
        (true, true) => Some(Ordering::Equal),
        (true, false) => Some(Ordering::Greater),
        (false, true) => Some(Ordering::Less),
        (false, false) => None,
    }
}

fn host_covers(wide: Option<&HostPattern>, narrow: Option<&HostPattern>) -> bool {
    match (wide, narrow) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wide), Some(narrow)) => wide.covers(narrow),
    }
}

/// The narrower of each pair of hosts that share one: where both routes match.
fn shared_regions<'m>(
    first: &'m Matcher,
    second: &'m Matcher,
) -> impl Iterator<Item = Option<&'m HostPattern>> {
    let others = hosts(second);
    hosts(first).into_iter().flat_map(move |own| {
        let regions: Vec<_> = others
            .iter()
            .filter_map(|&other| match narrower_host(own, other)? {
                Ordering::Less | Ordering::Equal => Some(own),
                Ordering::Greater => Some(other),
            })
            .collect();
        regions
    })
}

/// A route's narrowest host pattern that covers the whole region.
fn narrowest<'m>(route: &'m Matcher, region: Option<&HostPattern>) -> Option<&'m HostPattern> {
    hosts(route)
        .into_iter()
        .filter(|&host| host_covers(host, region))
        .reduce(|best, host| if host_covers(best, host) { host } else { best })
        .flatten()
}

/// The first of `earlier` (same host and path) if together they take all of `route`'s requests.
fn taker(routes: &[Matcher], route: &Matcher, earlier: &[usize]) -> Option<usize> {
    let mut taken = MethodSet::none();
    let mut first = None;
    for &index in earlier {
        let Some(other) = routes.get(index) else { continue };
        if other.listeners.is_superset(route.listeners)
            && !other.methods.is_disjoint(&route.methods)
        {
            first = first.or(Some(index));
            taken.extend(&other.methods);
        }
    }
    first.filter(|_| taken.is_superset(&route.methods))
}

#[cfg(test)]
#[path = "relation_tests.rs"]
mod tests;

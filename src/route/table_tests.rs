//! The table by example, and against two slower readings of the contract.

use proptest::prelude::*;

use super::super::relation::{Relation, explain, relation};
use super::*;

fn matcher(hosts: &[&str], path: &str, methods: &[&str]) -> Matcher {
    Matcher {
        hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        path: path.parse().unwrap(),
        methods: match methods {
            [] => MethodSet::all(),
            names => MethodSet::named(names.iter().copied()).unwrap(),
        },
        listeners: ListenerSet::All,
    }
}

fn table(matchers: &[Matcher]) -> Table<usize> {
    Table::build(matchers.iter().cloned().zip(0..).collect())
}

#[test]
fn the_most_specific_route_wins() {
    let routes = table(&[
        matcher(&[], "/*", &[]),
        matcher(&[], "/api/*", &[]),
        matcher(&[], "/api", &[]),
        matcher(&["*.example.com"], "/*", &[]),
        matcher(&["*.b.example.com"], "/*", &[]),
        matcher(&["a.example.com"], "/*", &[]),
        matcher(&["a.example.com"], "/api/", &[]),
        matcher(&["a.example.com"], "/@me/*", &[]),
    ]);
    for (host, path, route) in [
        ("x", "/", 0),
        ("x", "/apix", 0),
        ("x", "/api", 2),
        ("x", "/api/", 1),
        ("x", "/api/x/y", 1),
        ("example.com", "/", 0),
        ("z.example.com", "/api", 3),
        ("b.example.com", "/", 3),
        ("z.b.example.com", "/", 4),
        ("y.z.b.example.com", "/", 4),
        ("zb.example.com", "/", 3),
        ("a.example.com", "/api", 5),
        ("a.example.com", "/api/", 6),
        ("a.example.com", "/api/x", 5),
        ("a.example.com", "/%40me/x", 7),
        ("a.example.com", "/@me", 7),
        ("[::1]", "/", 0),
    ] {
        assert_eq!(routes.find(0, host, path, &Method::GET), Found::Route(route), "{host}{path}");
    }
    assert_eq!(routes.find(0, "x", "*", &Method::OPTIONS), Found::None);
}

#[test]
fn a_route_without_the_method_gives_the_next_its_chance() {
    let routes = table(&[
        matcher(&[], "/api/*", &["GET", "PUT"]),
        matcher(&[], "/api/token", &["POST"]),
        matcher(&["a"], "/api/token", &["PROPFIND"]),
    ]);
    let find = |host: &str, path: &str, method: &str| {
        routes.find(0, host, path, &Method::from_bytes(method.as_bytes()).unwrap())
    };
    assert_eq!(find("a", "/api/token", "POST"), Found::Route(1));
    assert_eq!(find("a", "/api/token", "HEAD"), Found::Route(0));
    let Found::MethodNotAllowed(allow) = find("a", "/api/token", "DELETE") else { panic!() };
    assert_eq!(allow.to_string(), "GET, HEAD, POST, PUT, PROPFIND");
    let Found::MethodNotAllowed(allow) = find("b", "/api/x", "POST") else { panic!() };
    assert_eq!(allow.to_string(), "GET, HEAD, PUT");
    assert_eq!(find("b", "/", "POST"), Found::None);
}

#[test]
fn listeners_hide_routes_from_each_other() {
    let mut internal = matcher(&[], "/admin/*", &["GET"]);
    internal.listeners = ListenerSet::of([1]).unwrap();
    let routes = table(&[internal]);
    assert_eq!(routes.find(1, "a", "/admin", &Method::GET), Found::Route(0));
    assert_eq!(routes.find(0, "a", "/admin", &Method::GET), Found::None);
    assert_eq!(routes.find(0, "a", "/admin", &Method::POST), Found::None, "not even a 405");
}

#[test]
fn hostile_requests_neither_recurse_nor_overflow() {
    let routes = table(&[matcher(&[], "/*", &[]), matcher(&["*.a.b"], "/x/*", &[])]);
    let deep = "/x".repeat(30_000);
    let labels = "b.".repeat(30_000) + "a.b";
    let long = format!("/x/{}", "%41".repeat(30_000));
    assert_eq!(routes.find(0, &labels, &deep, &Method::GET), Found::Route(1));
    assert_eq!(routes.find(0, "a", &long, &Method::GET), Found::Route(0));
    assert_eq!(routes.find(0, &labels, &long, &Method::GET), Found::Route(1));
}

#[test]
fn many_routes_are_told_apart() {
    let matchers: Vec<Matcher> = (0..10_000)
        .map(|n| matcher(&[], &format!("/service-{}/v{}/*", n / 10, n % 10), &[]))
        .collect();
    let routes = table(&matchers);
    for n in [0, 4_321, 9_999] {
        let path = format!("/service-{}/v{}/x", n / 10, n % 10);
        assert_eq!(routes.find(0, "a", &path, &Method::GET), Found::Route(n));
    }
    assert_eq!(routes.find(0, "a", "/service-1000/v0/x", &Method::GET), Found::None);
}

fn hosts() -> impl Strategy<Value = Vec<&'static str>> {
    let host = prop::sample::select(vec!["a", "b", "x.a", "y.x.a", "*.a", "*.x.a", "*.b"]);
    prop::collection::vec(host, 0..3)
}

fn path() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "ab", "%40", "@"]);
    let tail = prop::sample::select(vec!["", "/", "/*"]);
    (prop::collection::vec(segment, 0..4), tail).prop_map(|(segments, tail)| {
        let path: String = segments.iter().map(|segment| format!("/{segment}")).collect();
        if path.is_empty() && tail.is_empty() { "/".to_owned() } else { path + tail }
    })
}

fn any_matcher() -> impl Strategy<Value = Matcher> {
    let methods =
        prop::sample::select(vec![&[][..], &["GET"][..], &["POST"][..], &["GET", "LOCK"][..]]);
    let listeners =
        prop::sample::select(vec![ListenerSet::All, ListenerSet::Bits(1), ListenerSet::Bits(2)]);
    (hosts(), path(), methods, listeners).prop_map(|(hosts, path, methods, listeners)| Matcher {
        listeners,
        ..matcher(&hosts, &path, methods)
    })
}

fn request() -> impl Strategy<Value = (usize, &'static str, String, Method)> {
    let host = prop::sample::select(vec!["a", "b", "c", "x.a", "y.x.a", "z.y.x.a", "x.b", "xa"]);
    let method = prop::sample::select(vec!["GET", "HEAD", "POST", "LOCK", "PUT"]);
    let path = path().prop_map(|pattern| pattern.replace("/*", "/c"));
    (0..2_usize, host, path, method).prop_map(|(listener, host, path, method)| {
        (listener, host, path, Method::from_bytes(method.as_bytes()).unwrap())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_table_agrees_with_asking_every_route(
        matchers in prop::collection::vec(any_matcher(), 0..12),
        requests in prop::collection::vec(request(), 8),
    ) {
        let routes = table(&matchers);
        for (listener, host, path, method) in requests {
            let found = routes.find(listener, host, &path, &method);
            let explained = explain(&matchers, listener, host, &path, &method);
            let fits = |matcher: &Matcher| {
                (matcher.hosts.is_empty() || matcher.hosts.iter().any(|own| own.matches(host)))
                    && matcher.path.matches(&path)
                    && matcher.listeners.contains(listener)
            };
            match found {
                Found::Route(index) => {
                    prop_assert_eq!(explained.winner, Some(index));
                    // The contract's own words, without the order between hosts and paths: no
                    // route that also matches wins over the one taken.
                    for (other, matcher) in matchers.iter().enumerate() {
                        if other != index && fits(matcher) && matcher.methods.contains(&method) {
                            let relation = relation(&matchers[index], matcher);
                            prop_assert!(
                                !matches!(relation, Relation::SecondWins | Relation::Disjoint),
                                "{} {:?} {}", index, relation, other,
                            );
                        }
                    }
                }
                Found::MethodNotAllowed(allow) => {
                    prop_assert_eq!(explained.winner, None);
                    let mut expected = MethodSet::none();
                    matchers.iter().filter(|&m| fits(m)).for_each(|m| expected.extend(&m.methods));
                    prop_assert_eq!(allow.methods(), &expected);
                }
                Found::None => {
                    prop_assert_eq!(explained.winner, None);
                    prop_assert!(!matchers.iter().any(fits));
                }
            }
        }
    }

    #[test]
    fn an_unreachable_route_is_never_found(
        matchers in prop::collection::vec(any_matcher(), 0..12),
        requests in prop::collection::vec(request(), 8),
    ) {
        let unreachable = super::super::relation::shadowed(&matchers);
        let routes = table(&matchers);
        for (listener, host, path, method) in requests {
            if let Found::Route(index) = routes.find(listener, host, &path, &method) {
                prop_assert!(!unreachable.iter().any(|(route, _)| *route == index));
            }
        }
    }
}

//! Pairs of routes, and who gets the requests they share.

use super::super::matcher::ListenerSet;
use super::*;

fn matcher(hosts: &[&str], path: &str) -> Matcher {
    Matcher {
        hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        path: path.parse().unwrap(),
        methods: MethodSet::all(),
        listeners: ListenerSet::All,
    }
}

fn with_methods(matcher: Matcher, methods: &[&str]) -> Matcher {
    Matcher { methods: MethodSet::named(methods.iter().copied()).unwrap(), ..matcher }
}

fn on(matcher: Matcher, listeners: &[usize]) -> Matcher {
    let listeners = ListenerSet::of(listeners.iter().copied()).unwrap();
    Matcher { listeners, ..matcher }
}

#[test]
fn relations() {
    let any = matcher(&[], "/*");
    let api = matcher(&[], "/api/*");
    for (first, second, expected) in [
        (&api, &any, Relation::FirstWins),
        (&api, &matcher(&[], "/apis/*"), Relation::Disjoint),
        (&api, &matcher(&[], "/api"), Relation::SecondWins),
        (&api, &api, Relation::Tie),
        (&matcher(&["a"], "/*"), &any, Relation::FirstWins),
        (&matcher(&["a"], "/*"), &api, Relation::Tie),
        (&matcher(&["a"], "/api/*"), &api, Relation::FirstWins),
        (&matcher(&["a"], "/api/x"), &api, Relation::FirstWins),
        (&matcher(&["a"], "/*"), &matcher(&["b"], "/*"), Relation::Disjoint),
        (&matcher(&["*.a"], "/*"), &matcher(&["*.b.a"], "/*"), Relation::SecondWins),
        (&matcher(&["*.a"], "/x"), &matcher(&["*.b.a"], "/*"), Relation::Tie),
        (&matcher(&["*.a"], "/*"), &matcher(&["b.a"], "/x/*"), Relation::SecondWins),
        (&matcher(&["a", "*.b"], "/*"), &matcher(&["x.b", "*.a"], "/*"), Relation::SecondWins),
        (&matcher(&["a", "*.b"], "/*"), &matcher(&["*.a.b", "c"], "/*"), Relation::SecondWins),
        (&matcher(&["x.a", "*.b"], "/*"), &matcher(&["*.a", "x.b"], "/*"), Relation::Mixed),
        (&matcher(&["x.a", "*.a"], "/*"), &matcher(&["x.a"], "/*"), Relation::Tie),
        (&matcher(&["x.a", "*.a"], "/x"), &matcher(&["x.a"], "/*"), Relation::FirstWins),
        (&matcher(&[], "/@a/*"), &matcher(&[], "/%40a/*"), Relation::Tie),
    ] {
        assert_eq!(relation(first, second), expected, "{first:?} {second:?}");
        let mirrored = match expected {
            Relation::FirstWins => Relation::SecondWins,
            Relation::SecondWins => Relation::FirstWins,
            Relation::Disjoint | Relation::Mixed | Relation::Tie => expected,
        };
        assert_eq!(relation(second, first), mirrored, "{second:?} {first:?}");
    }
}

#[test]
fn methods_and_listeners_keep_routes_apart() {
    let route = || matcher(&[], "/a");
    let get = with_methods(route(), &["GET"]);
    assert_eq!(relation(&get, &with_methods(route(), &["POST"])), Relation::Disjoint);
    assert_eq!(relation(&get, &with_methods(route(), &["HEAD"])), Relation::Tie);
    assert_eq!(relation(&on(route(), &[0]), &on(route(), &[1])), Relation::Disjoint);
    assert_eq!(relation(&on(route(), &[0]), &route()), Relation::Tie);
}

#[test]
fn unreachable_routes_are_named_with_their_taker() {
    let routes = [
        with_methods(matcher(&["a", "b"], "/x"), &["GET", "POST"]),
        with_methods(matcher(&["a"], "/x"), &["POST"]),
        with_methods(matcher(&["b", "c"], "/x"), &["POST"]),
        with_methods(matcher(&["b"], "/x"), &["PUT"]),
        with_methods(matcher(&["b"], "/x"), &["PUT", "POST"]),
        on(with_methods(matcher(&["a"], "/x"), &["GET"]), &[1]),
        matcher(&[], "/x"),
        matcher(&["a"], "/x/*"),
    ];
    assert_eq!(shadowed(&routes), [(1, 0), (4, 0), (5, 0)]);
    let narrow_first = [on(matcher(&[], "/x"), &[0]), matcher(&[], "/x")];
    assert!(shadowed(&narrow_first).is_empty());
}

#[test]
fn explanations_name_the_first_failing_condition() {
    let routes = [
        matcher(&["b"], "/a/*"),
        matcher(&[], "/b/*"),
        on(matcher(&[], "/a/*"), &[3]),
        with_methods(matcher(&[], "/a/x"), &["POST"]),
        matcher(&[], "/*"),
        matcher(&[], "/a/*"),
        matcher(&[], "/a/*"),
    ];
    let explanation = explain(&routes, 0, "a", "/a/x", &Method::GET);
    assert_eq!(explanation.winner, Some(5));
    assert_eq!(
        explanation.lost,
        [
            (0, Lost::Host),
            (1, Lost::Path),
            (2, Lost::Listener),
            (3, Lost::Method),
            (4, Lost::LessSpecific),
            (6, Lost::LessSpecific),
        ]
    );
    assert_eq!(explain(&[], 0, "a", "/", &Method::GET).winner, None);
}

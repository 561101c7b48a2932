//! The syntax of patterns, and what each covers.

use super::*;

fn host(text: &str) -> HostPattern {
    text.parse().unwrap()
}

fn path(text: &str) -> PathPattern {
    text.parse().unwrap()
}

#[test]
fn host_patterns() {
    assert_eq!(host("Example.COM."), HostPattern::Exact("example.com".into()));
    assert_eq!(host("*.Example.com"), HostPattern::Suffix("example.com".into()));
    assert_eq!(host("[0::1]"), HostPattern::Exact("[::1]".into()));
    assert_eq!(host("*.example.com").to_string(), "*.example.com");
    let family = host("*.example.com");
    assert!(family.matches("a.example.com") && family.matches("a.b.example.com"));
    for other in ["example.com", ".example.com", "aexample.com", "example.com.a"] {
        assert!(!family.matches(other), "{other}");
    }
    for (text, error) in [
        ("", HostPatternError::NotAHost),
        ("*", HostPatternError::Wildcard),
        ("*.", HostPatternError::NotAHost),
        ("*.*.a", HostPatternError::Wildcard),
        ("a.*.b", HostPatternError::Wildcard),
        ("a*.b", HostPatternError::Wildcard),
        ("a:80", HostPatternError::NotAHost),
        ("https://a", HostPatternError::NotAHost),
        ("*.[::1]", HostPatternError::NotAHost),
    ] {
        assert_eq!(text.parse::<HostPattern>(), Err(error), "{text}");
    }
}

#[test]
fn hosts_cover_hosts() {
    assert!(host("*.a").covers(&host("b.a")) && host("*.a").covers(&host("*.b.a")));
    assert!(host("*.a").covers(&host("*.a")) && host("a").covers(&host("a")));
    assert!(!host("*.b.a").covers(&host("*.a")) && !host("b.a").covers(&host("*.a")));
    assert!(!host("*.a").covers(&host("a")) && !host("*.a").covers(&host("*.ba")));
}

#[test]
fn path_patterns() {
    assert_eq!(path("/*"), PathPattern::Prefix(String::new()));
    assert_eq!(path("/a/*"), PathPattern::Prefix("/a".into()));
    assert_eq!(path("/"), PathPattern::Exact("/".into()));
    assert_eq!(path("/%40a%62/b%20c"), PathPattern::Exact("/@ab/b%20c".into()));
    assert_eq!(path("/caf\u{e9}/*").to_string(), "/caf%C3%A9/*");
    assert_eq!(path("/b/%2A"), PathPattern::Exact("/b/%2A".into()));
    for (text, error) in [
        ("", PathPatternError::Path(PathError::NotAbsolute)),
        ("*", PathPatternError::Wildcard),
        ("/a*", PathPatternError::Wildcard),
        ("/*/a", PathPatternError::Wildcard),
        ("/a/*/*", PathPatternError::Wildcard),
        ("/a//*", PathPatternError::Path(PathError::Ambiguous)),
        ("//*", PathPatternError::Path(PathError::Ambiguous)),
        ("/a/../b", PathPatternError::Dots),
        ("/a/./*", PathPatternError::Dots),
        ("/a/%2e%2E/b", PathPatternError::Dots),
        ("/a/.", PathPatternError::Dots),
        ("/a?b", PathPatternError::Path(PathError::Control)),
        ("/a%2Fb", PathPatternError::Path(PathError::Ambiguous)),
        ("/../*", PathPatternError::Path(PathError::AboveRoot)),
    ] {
        assert_eq!(text.parse::<PathPattern>(), Err(error), "{text}");
    }
    let long = format!("/{}", "a".repeat(LONGEST_SEGMENT + 1));
    assert_eq!(long.parse::<PathPattern>(), Err(PathPatternError::TooLong));
    let deep = "/aaaaaaa".repeat(LONGEST_PATTERN / 8 + 1);
    assert_eq!(deep.parse::<PathPattern>(), Err(PathPatternError::TooLong));
}

#[test]
fn prefixes_end_at_segments() {
    let prefix = path("/a/*");
    for inside in ["/a", "/a/", "/a/x", "/a/x/y", "/a/%40"] {
        assert!(prefix.matches(inside), "{inside}");
    }
    for outside in ["/", "/ab", "/A", "/b/a", "", "a", "/a%20", "/a;x"] {
        assert!(!prefix.matches(outside), "{outside}");
    }
    assert!(path("/*").matches("/") && path("/*").matches("/a"));
    assert!(!path("/a").matches("/a/") && !path("/a/").matches("/a"));
    assert!(path("/@a/*").matches("/%40a/x") && path("/%40a").matches("/@a"));
}

#[test]
fn paths_cover_paths() {
    assert!(path("/*").covers(&path("/a/*")) && path("/a/*").covers(&path("/a")));
    assert!(path("/a/*").covers(&path("/a/")) && path("/a/*").covers(&path("/a/*")));
    assert!(!path("/a/*").covers(&path("/ab")) && !path("/a/*").covers(&path("/*")));
    assert!(!path("/a").covers(&path("/a/*")) && !path("/a").covers(&path("/a/")));
}

#[test]
fn listeners() {
    let some = ListenerSet::of([0, 63]).unwrap();
    assert!(some.contains(0) && some.contains(63) && !some.contains(1) && !some.contains(64));
    assert!(ListenerSet::All.contains(64));
    assert_eq!(ListenerSet::of([64]), None);
    assert!(some.is_disjoint(ListenerSet::of([1]).unwrap()));
    assert!(!some.is_disjoint(ListenerSet::All));
    assert!(ListenerSet::All.is_superset(some) && !some.is_superset(ListenerSet::All));
}

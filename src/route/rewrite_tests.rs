use proptest::prelude::*;

use super::*;

fn to(rewrite: &Rewrite, path: &str) -> String {
    rewrite.apply(path).map_or_else(|error| error.to_string(), |one| one.path)
}

#[test]
fn a_prefix_is_taken_off_by_whole_segments() {
    let strip = Rewrite::new("/api", None, "");
    for (path, forwarded) in [
        ("/api/users", "/users"),
        ("/api/", "/"),
        ("/api", "/"),
        ("/api/a%2Fb", "/a%2Fb"),
        ("/api/%2525", "/%2525"),
    ] {
        assert_eq!(to(&strip, path), forwarded);
    }
    let strip = Rewrite::new("/@a/b", None, "");
    assert_eq!(to(&strip, "/%40a/b/c"), "/c", "the client's spelling of the prefix is as good");
}

#[test]
fn what_would_begin_like_a_host_goes_nowhere() {
    let strip = Rewrite::new("/api", None, "");
    assert_eq!(strip.apply("/api//evil.example"), Err(RewriteError::NotCanonical));
}

#[test]
fn a_prefix_is_put_in_front() {
    let add = Rewrite::new("", None, "/v1");
    assert_eq!(to(&add, "/users"), "/v1/users");
    assert_eq!(to(&add, "/"), "/v1/");
    let both = Rewrite::new("/api", None, "/v1");
    assert_eq!(to(&both, "/api"), "/v1/");
    assert_eq!(both.to_string(), "/api/* -> /v1/*");
}

#[test]
fn a_mount_keeps_the_path_and_spells_its_prefix() {
    let mount = Rewrite::mounted("/@app");
    assert_eq!(to(&mount, "/%40app/x"), "/@app/x");
    assert_eq!(to(&mount, "/@app"), "/@app");
    assert_eq!(to(&mount, "/@app/"), "/@app/");
}

#[test]
fn a_pattern_matches_the_whole_path_or_nothing() {
    let pattern = Pattern::new("/users/([0-9]+)/(?P<what>[a-z]*)", "/{what}/of/{1}").unwrap();
    let rewrite = Rewrite::new("/api", Some(pattern), "/v1");
    assert_eq!(to(&rewrite, "/api/users/7/posts"), "/v1/posts/of/7");
    assert_eq!(to(&rewrite, "/api/users/7/posts/x"), "/v1/users/7/posts/x");
    assert!(rewrite.apply("/api/users/7/posts").unwrap().by_pattern);
    assert!(!rewrite.apply("/api/users/x").unwrap().by_pattern);
    let either = Pattern::new("/a|/b(x)?", "/c{1}").unwrap();
    let rewrite = Rewrite::new("", Some(either), "");
    assert_eq!(to(&rewrite, "/bx"), "/cx");
    assert_eq!(to(&rewrite, "/b"), "/c");
    assert_eq!(to(&rewrite, "/ax"), "/ax", "not `^/a`, or `/b...$`");
}

#[test]
fn nothing_is_decoded_twice() {
    // Without its `25`, `%2561` would be `a`, and `%252E%252E` two dots.
    let pattern = Pattern::new("/(.*)25(.*)", "/{1}{2}").unwrap();
    let rewrite = Rewrite::new("", Some(pattern), "");
    assert_eq!(rewrite.apply("/%2561"), Err(RewriteError::NotCanonical));
    assert_eq!(rewrite.apply("/x/%252E"), Err(RewriteError::NotCanonical));
    let dots = Pattern::new("/a/(.*)/b/(.*)", "/{1}./.{2}").unwrap();
    let rewrite = Rewrite::new("", Some(dots), "");
    assert_eq!(rewrite.apply("/a/./b/x"), Err(RewriteError::NotCanonical));
}

#[test]
fn what_grows_beyond_a_path_is_refused() {
    let pattern = Pattern::new("/(.*)", "/{1}{1}{1}").unwrap();
    let rewrite = Rewrite::new("", Some(pattern), "");
    assert_eq!(rewrite.apply(&format!("/{}", "a".repeat(4000))), Err(RewriteError::TooLong));
}

#[test]
fn bad_patterns_are_told() {
    let error = |from, to| Pattern::new(from, to).unwrap_err().to_string();
    assert!(error("/(", "/").contains("unclosed group"));
    assert!(Pattern::new("a)|(b", "/").is_err());
    assert!(error("/(a{1000}){1000}", "/").contains("size limit"));
    assert_eq!(error("/a", "/{1}"), "the pattern has no group `1`");
    assert_eq!(error("/a", "/{x}"), "the pattern has no group `x`");
    assert_eq!(error("/a", "b"), "it begins with `/`");
    assert_eq!(error("/a", "/b?c"), "it is a path: the query stays as it is");
    assert_eq!(error("/a", "/b/../c"), "it is not in canonical form");
    assert_eq!(error("/a", "/b c"), "it is not in canonical form");
    assert_eq!(error("/(a)", "/{1"), "a group is written `{1}` or `{name}`");
}

#[test]
fn the_way_back() {
    let rewrite = Rewrite::new("/api", None, "/v1");
    assert_eq!(rewrite.undo("/v1/x").as_deref(), Some("/api/x"));
    assert_eq!(rewrite.undo("/v1").as_deref(), Some("/api/"));
    assert_eq!(rewrite.undo("/%761/x").as_deref(), Some("/api/x"));
    assert_eq!(rewrite.undo("/v11/x"), None);
    assert_eq!(rewrite.undo("/x"), None);
    assert_eq!(Rewrite::new("/api", None, "").undo("/x").as_deref(), Some("/api/x"));
}

#[test]
fn prefixes_are_canonical_segments() {
    assert_eq!(prefix("/a/b"), Ok(()));
    for text in ["", "a", "/", "/a/", "/a/../b", "/%61", "/a;b", "//a", "/a b", "/a\\b", "/a%2fb"] {
        assert!(prefix(text).is_err(), "{text}");
    }
}

proptest! {
    /// Whatever is forwarded is its own canonical form, and leads back to the path it was.
    #[test]
    fn what_is_forwarded_is_canonical(
        raw in "(/[a-c%2ef5./;A-F@-]{0,6}){1,4}",
        strip in prop_oneof![Just(""), Just("/a")],
        add in prop_oneof![Just(""), Just("/v1"), Just("/x/y")],
    ) {
        let path = format!("{strip}{raw}");
        let Ok(canonical) = canonicalize(&path) else { return Ok(()) };
        let route: PathPattern = format!("{strip}/*").parse().unwrap();
        prop_assume!(route.matches(&canonical.path));
        let rewrite = Rewrite::new(strip, None, add);
        if let Ok(Rewritten { path: forwarded, by_pattern, .. }) = rewrite.apply(&canonical.path) {
            prop_assert!(!by_pattern);
            let again = canonicalize(&forwarded).unwrap();
            prop_assert_eq!(&*again.path, &*forwarded);
            prop_assert!(forwarded.starts_with(add));
            let back = rewrite.undo(&forwarded).unwrap();
            let bare = canonical.path.len() == strip.len();
            let expected = if bare { format!("{strip}/") } else { canonical.path.to_string() };
            let (a, b): (PathPattern, PathPattern) = match (back.parse(), expected.parse()) {
                (Ok(a), Ok(b)) => (a, b),
                (_, _) => return Ok(()),
            };
            prop_assert_eq!(a, b);
        }
    }

    /// A pattern of any kind ends, and what it makes is canonical or refused.
    #[test]
    fn patterns_end(raw in "(/[a%2ef5.;]{0,30}){1,6}") {
        let Ok(canonical) = canonicalize(&raw) else { return Ok(()) };
        let pattern = Pattern::new("/((?:a*)*)*(.*?)(a|%2)*(.*)", "/{4}{2}/{3}").unwrap();
        if let Ok(one) = Rewrite::new("", Some(pattern), "").apply(&canonical.path) {
            let again = canonicalize(&one.path).unwrap();
            prop_assert_eq!(&*again.path, &*one.path);
        }
    }
}

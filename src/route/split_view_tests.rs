//! The guard against an oracle that applies everything servers do, in every order.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::http::path::canonicalize;
use crate::route::{ListenerSet, Matcher, MethodSet, Pattern};

/// A table of these patterns, each route known by its place.
fn table(patterns: &[&str]) -> Table<usize> {
    let routes = patterns.iter().enumerate().map(|(place, pattern)| {
        let matcher = Matcher {
            hosts: Vec::new(),
            path: pattern.parse().unwrap(),
            methods: MethodSet::all(),
            listeners: ListenerSet::All,
        };
        (matcher, place)
    });
    Table::build(routes.collect())
}

/// What becomes of a path: the canonical one and its route, or a refusal.
fn verdict(table: &Table<usize>, raw: &str) -> Result<(String, Found<usize>), PathError> {
    let canonical = canonicalize(raw)?;
    let found = table.find(0, "h", &canonical.path, &Method::GET);
    if canonical.doubtful {
        agree(table, 0, "h", raw, &Method::GET, &found).map_err(|_| PathError::Ambiguous)?;
    }
    Ok((canonical.path.into_owned(), found))
}

#[test]
fn encoded_slashes_work_where_one_route_takes_them_and_nowhere_else() {
    let gitlab = table(&["/*", "/admin/*", "/public/*"]);
    for (raw, route) in [
        ("/api/v4/projects/group%2Fname/issues", 0),
        ("/api/v4/projects/group%2fname%2fsub", 0),
        ("/a//b", 0),
        ("/a;v=1/b", 0),
        ("/100%2525", 0),
        ("/public/x%2Fy", 2),
        ("/public/a/../b", 2),
        ("/admin/%2e/x", 1),
        ("/public/a;x/b", 2),
        ("/files/what%3F.txt", 0),
        ("/public/c%23.txt", 2),
    ] {
        let (path, found) = verdict(&gitlab, raw).unwrap_or_else(|error| panic!("{raw}: {error}"));
        assert_eq!(found, Found::Route(route), "{raw} as {path}");
    }
    for raw in [
        "/public%2F..%2Fadmin",
        "/public/..%2Fadmin",
        "/public%2Fx",
        "/admin;x=1/users",
        "/admin%3Bx/users",
        "/;/admin",
        "/x;/../admin",
        "/public/..;/admin",
        "/public/..%5Cadmin",
        "/a//../admin",
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/%252e%252e/admin",
        "/%2561dmin/x",
        "/x/../admin%2F",
        "/.//admin",
        "//x",
        "/admin%3Fx",
        "/admin%23.png",
        "/public%3F/x",
        "/admin%253Fx",
    ] {
        assert_eq!(verdict(&gitlab, raw), Err(PathError::Ambiguous), "{raw}");
    }
}

#[test]
fn a_way_out_of_all_routes_is_none() {
    let one = table(&["/api/*"]);
    for raw in ["/api/a%2F..%2F..%2Fx", "/api/..%2Finternal", "/api/..;/internal", "/api%2Fx"] {
        assert_eq!(verdict(&one, raw), Err(PathError::Ambiguous), "{raw}");
    }
    // Nobody who leaves the dots alone serves these from elsewhere.
    assert_eq!(verdict(&one, "/x/../api/y").unwrap().1, Found::Route(0));
    assert_eq!(verdict(&one, "/./api/y").unwrap().1, Found::Route(0));
    assert_eq!(verdict(&one, "/x%2Fy").unwrap().1, Found::None);
}

/// Everything that `depth` steps, in any order, can make of a path. Bytes as letters, so that no
/// step can fail on them; a mark in front once escapes were decoded.
fn reachable(path: &str, depth: usize, seen: &mut Vec<(String, bool)>, decoded: bool) {
    let state = (path.to_owned(), decoded);
    if seen.contains(&state) {
        return;
    }
    seen.push(state);
    if depth == 0 {
        return;
    }
    let mut once_more = String::new();
    let letters: Vec<char> = path.chars().collect();
    let mut at = 0;
    while at < letters.len() {
        let escape: String = letters[at..].iter().take(3).collect();
        let value = escape.strip_prefix('%').filter(|hex| hex.len() == 2);
        match value.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) => {
                once_more.push(char::from(value));
                at += 3;
            }
            None => {
                once_more.push(letters[at]);
                at += 1;
            }
        }
    }
    reachable(&once_more, depth - 1, seen, true);
    reachable(&path.replace('\\', "/"), depth - 1, seen, decoded);
    let cut: Vec<&str> = path.split('/').map(|one| one.split(';').next().unwrap()).collect();
    reachable(&cut.join("/"), depth - 1, seen, decoded);
    let bare: Vec<&str> = path
        .split('/')
        .map(|one| one.rsplit(';').next().filter(|end| [".", ".."].contains(end)).unwrap_or(one))
        .collect();
    reachable(&bare.join("/"), depth - 1, seen, decoded);
    // Nobody ends a path at what he has not decoded.
    let end = path.split(['?', '#']).next().unwrap();
    reachable(end, depth - 1, seen, decoded);
    let mut merged = path.to_owned();
    while merged.contains("//") {
        merged = merged.replace("//", "/");
    }
    reachable(&merged, depth - 1, seen, decoded);
    let mut kept = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    if path.ends_with("/.") || path.ends_with("/..") {
        kept.push("");
    }
    reachable(&format!("/{}", kept.join("/")), depth - 1, seen, decoded);
}

/// The place of the most specific pattern for segments as a reader sees them.
fn naive_find(patterns: &[&str], segments: &[String]) -> Option<usize> {
    let fits = |pattern: &&str| {
        let own: Vec<&str> = pattern.split('/').skip(1).collect();
        match own.split_last() {
            Some((&"*", above)) => {
                segments.len() >= above.len() && above.iter().zip(segments).all(|(a, b)| a == b)
            }
            _ => own == segments,
        }
    };
    let weight = |pattern: &&str| (!pattern.ends_with('*'), pattern.len());
    let best = patterns.iter().filter(|one| fits(one)).max_by_key(|one| weight(one))?;
    patterns.iter().position(|one| one == best)
}

fn segments(path: &str, decoded: bool) -> Vec<String> {
    let once = |segment: &str| {
        let mut seen = Vec::new();
        reachable(segment, 1, &mut seen, false);
        // The second state is the decoded one, or there is none since nothing is escaped.
        seen.get(1).filter(|(_, is)| *is).map_or(segment.to_owned(), |(text, _)| text.clone())
    };
    path.split('/').skip(1).map(|one| if decoded { one.to_owned() } else { once(one) }).collect()
}

const PIECES: [&str; 25] = [
    "/", "/", "/", "a", "b", "admin", "..", ".", "%2F", "%2f", "%5C", ";", ";x", "%3B", "%2e",
    "%252F", "%252e", "%253B", "%255c", "%25", "%61", "//", "%3F", "%23", "%253f",
];
const PATTERNS: [&str; 9] =
    ["/*", "/a/*", "/admin/*", "/a/b/*", "/a/admin", "/b/*", "/b", "/a/", "/admin/a/*"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_is_forwarded_meets_one_policy_in_every_reading(
        chosen in proptest::collection::btree_set(select(PATTERNS.to_vec()), 1..5),
        pieces in proptest::collection::vec(select(PIECES.to_vec()), 1..8),
    ) {
        let patterns: Vec<&str> = chosen.into_iter().collect();
        let raw = format!("/{}", pieces.concat());
        let Ok((forwarded, Found::Route(route))) = verdict(&table(&patterns), &raw) else {
            return Ok(());
        };
        prop_assert_eq!(naive_find(&patterns, &segments(&forwarded, false)), Some(route));
        let mut seen = Vec::new();
        reachable(&raw, 6, &mut seen, false);
        reachable(&forwarded, 6, &mut seen, false);
        for (reading, decoded) in seen {
            let segments = segments(&reading, decoded);
            let found = naive_find(&patterns, &segments);
            let dots = segments.iter().any(|one| matches!(one.as_str(), "." | ".."));
            let agrees = found == Some(route) || (found.is_none() && dots);
            prop_assert!(agrees, "{} is forwarded as {} but read as {}", raw, forwarded, reading);
        }
    }
}

// === rewritten paths ===

/// Routes by path, of which `rewritten` takes its prefix off and puts another in front.
struct Rewriting {
    table: Table<usize>,
    rewrite: Rewrite,
    rivals: Vec<usize>,
}

impl Rewriting {
    fn new(paths: &[&str], rewrite: Rewrite, rivals: &[usize]) -> Self {
        Self { table: table(paths), rewrite, rivals: rivals.to_vec() }
    }

    /// What the first route forwards for a path, or what somebody takes it for.
    fn forwards(&self, raw: &str) -> String {
        let canonical = canonicalize(raw).unwrap().path;
        let Ok(rewritten) = self.rewrite.apply(&canonical) else { return "no path".to_owned() };
        let at = At { table: &self.table, listener: 0, host: "h", method: &Method::GET };
        let rival = |path: &str| match self.table.find(0, "h", path, &Method::GET) {
            Found::Route(other) if self.rivals.contains(&other) => Some(other),
            _ => None,
        };
        match agree_rewritten(&at, 0, &self.rewrite, &rewritten, &rival) {
            Ok(()) => rewritten.path,
            Err(split) => split.to_string(),
        }
    }
}

#[test]
fn h8_a_rewritten_path_is_read_in_every_way() {
    let routes =
        Rewriting::new(&["/api/public/*", "/api/admin/*"], Rewrite::new("/api", None, ""), &[]);
    assert_eq!(routes.forwards("/api/public/x"), "/public/x");
    assert_eq!(routes.forwards("/api/public/a%2Fb"), "/public/a%2Fb", "as GitLab's projects are");
    assert_eq!(routes.forwards("/api/public/..%2fadmin"), "some read it as `/admin`");
    assert_eq!(routes.forwards("/api/public/..;/admin"), "some read it as `/admin`");
    assert_eq!(routes.forwards("/api/public/%252e%252e%252fadmin"), "some read it as `/admin`");
}

#[test]
fn h8_nothing_climbs_out_of_what_is_put_in_front() {
    // One route for everything: before it was rewritten no reading led elsewhere.
    let routes = Rewriting::new(&["/*"], Rewrite::new("", None, "/tenants/a"), &[]);
    assert_eq!(routes.forwards("/x/y"), "/tenants/a/x/y");
    assert_eq!(routes.forwards("/x%2Fy"), "/tenants/a/x%2Fy");
    for raw in ["/..;/b/secret", "/..%2fb/secret", "/x%2f..%2f..%2fb", "/%252e%252e/b", "/..%5cb"] {
        let said = routes.forwards(raw);
        assert!(said.starts_with("some read it as"), "{raw}: {said}");
    }
}

#[test]
fn h8_what_a_rival_protects_has_no_second_name() {
    let strip = || Rewrite::new("/open", None, "");
    let routes = Rewriting::new(&["/open/*", "/admin/*", "/other/*"], strip(), &[1]);
    assert_eq!(routes.forwards("/open/x"), "/x");
    assert_eq!(routes.forwards("/open/admin/x"), "some read it as `/admin/x`");
    assert_eq!(routes.forwards("/open/other/x"), "/other/x", "another application's");
    assert_eq!(routes.forwards("/open/x;/../admin"), "some read it as `/admin`");
    assert_eq!(routes.forwards("/open//admin"), "no path");
}

#[test]
fn h8_a_pattern_has_no_way_back() {
    let pattern = Pattern::new("/u/(.*)", "/users/{1}").unwrap();
    let routes = Rewriting::new(&["/*"], Rewrite::new("", Some(pattern), ""), &[]);
    assert_eq!(routes.forwards("/u/a"), "/users/a");
    assert_eq!(routes.forwards("/u/a%2Fb"), "as it is rewritten it can be read in several ways");
    assert_eq!(routes.forwards("/x/a%2Fb"), "/x/a%2Fb", "nothing was rewritten");
}

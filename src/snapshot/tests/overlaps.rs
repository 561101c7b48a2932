//! What is told of routes that meet, of redirects, and never of expanded values.

use super::Workshop;

const HEAD: &str = r#"
    [listener.main]
    address = "127.0.0.1:8080"
    [issuer.django]
    preset = "simplejwt"
    secret = "d2hvIHJlYWRzIHRoaXMgaGFzIHRpbWUgdG8gc3BhcmU5"
    "#;

fn route(settings: &str) -> String {
    let upstream = if settings.contains("upstream") { "" } else { "upstream = \"http://a:1\"\n" };
    format!("[[route]]\n{upstream}{settings}\n")
}

fn routes(settings: &[&str]) -> String {
    settings.iter().fold(HEAD.to_owned(), |text, settings| text + &route(settings))
}

fn warnings(settings: &[&str]) -> Vec<String> {
    Workshop::new().warnings(&routes(settings))
}

const EVERYTHING_PUBLIC: &str = "path = \"/*\"\npublic = true";

#[test]
fn a_tie_is_an_error_if_and_only_if_policies_differ() {
    let tie = ["path = \"/a/*\"", "path = \"/*\"\nhosts = [\"h\"]\npublic = true"];
    let errors = Workshop::new().errors(&routes(&tie));
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("neither is more specific"), "{errors:?}");
    assert!(errors[0].contains("`/a/*`") && errors[0].contains("`h/*`"), "{errors:?}");

    let same = ["path = \"/a/*\"", "path = \"/*\"\nhosts = [\"h\"]"];
    assert_eq!(warnings(&same), Vec::<String>::new());
}

#[test]
fn a_route_that_never_matches_is_told() {
    let hidden = ["path = \"/a\"", "path = \"/a\"\nname = \"hidden\""];
    let told = warnings(&hidden);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("`hidden` never matches"), "{told:?}");
}

#[test]
fn what_a_protected_route_leaves_to_a_public_one_is_told() {
    let left = |settings: &str| {
        let told = warnings(&[settings, EVERYTHING_PUBLIC]);
        told.iter().filter(|one| one.contains("the requests it leaves out")).count()
    };
    assert_eq!(left("path = \"/api/*\"\nmethods = [\"GET\"]"), 1);
    assert_eq!(left("path = \"/api/*\""), 0);
    // An attacker writes another host, and the same application answers.
    assert_eq!(left("path = \"/api/*\"\nhosts = [\"api.example.com\"]"), 1);
    assert_eq!(left("path = \"/*\"\nhosts = [\"*.example.com\"]"), 1);
    let elsewhere = "path = \"/api/*\"\nhosts = [\"api.example.com\"]\nupstream = \"http://b:1\"";
    assert_eq!(left(elsewhere), 0, "another application answers other hosts");
}

#[test]
fn a_logout_that_another_route_takes_is_told() {
    let watches = "path = \"/api/token/*\"\nrevoke_on = { path = \"/api/token/blacklist/\" }";
    let taken = |other: &str| {
        let told = warnings(&[watches, other]);
        told.iter().filter(|one| one.contains("takes this logout")).count()
    };
    assert_eq!(taken("path = \"/api/token/blacklist/*\""), 1);
    assert_eq!(taken("path = \"/api/token/blacklist/\"\nmethods = [\"POST\"]"), 1);
    assert_eq!(taken("path = \"/api/token/blacklist/*\"\nhosts = [\"a\"]"), 1);
    assert_eq!(taken("path = \"/api/token/blacklist/\"\nmethods = [\"GET\"]"), 0);
    assert_eq!(taken("path = \"/api/token/refresh/\""), 0);
    assert_eq!(taken("path = \"/api/*\""), 0);
    let too = "path = \"/api/token/blacklist/\"\nrevoke_on = { path = \"/api/token/blacklist/\" }";
    assert_eq!(taken(too), 0);
}

#[test]
fn hosts_that_are_all_covered_leave_nothing() {
    let public = "path = \"/*\"\npublic = true\nhosts = [\"a.example.com\", \"b.example.com\"]";
    let count = |hosts: &str| {
        let protected = format!("path = \"/api/*\"\nhosts = {hosts}");
        warnings(&[&protected, public]).len()
    };
    assert_eq!(count("[\"a.example.com\", \"b.example.com\"]"), 0);
    assert_eq!(count("[\"a.example.com\"]"), 1);
}

#[test]
fn a_public_part_of_a_protected_route_is_told_unless_its_methods_are() {
    let told = |methods: &str| {
        let public = format!("path = \"/a/b\"\npublic = true\n{methods}");
        warnings(&["path = \"/a/*\"", &public]).len()
    };
    assert_eq!(told(""), 1);
    assert_eq!(told("methods = [\"POST\"]"), 0);
}

#[test]
fn routes_of_ten_thousand_hosts_are_compared_in_no_time() {
    let mut text = HEAD.to_owned();
    for host in 0..10_000 {
        text.push_str(&route(&format!("path = \"/*\"\nhosts = [\"t{host}.example.com\"]")));
    }
    text.push_str(&route(EVERYTHING_PUBLIC));
    let told = Workshop::new().warnings(&text);
    assert_eq!(told.len(), 10_000, "each leaves other hosts to the last");
}

#[test]
fn a_redirect_to_a_plain_listener_is_an_error() {
    let text = format!(
        "[listener.other]\naddress = \"127.0.0.1:8081\"\nredirect_to = \"main\"\n{}",
        routes(&[EVERYTHING_PUBLIC, "path = \"/a\""])
    );
    let errors = Workshop::new().errors(&text);
    assert!(errors.iter().any(|one| one.contains("`main` has no TLS")), "{errors:?}");
}

#[test]
fn no_message_shows_what_was_expanded() {
    let workshop = Workshop::new();
    for text in [
        routes(&["path = \"/*\"\nupstream = \"http://a:1\"\nname = \"${HIDDEN}\"", "path = \"/*\""]),
        routes(&["path = \"/a/*\"", "path = \"/*\"\nhosts = [\"${HIDDEN}\"]\npublic = true"]),
        format!("{HEAD}[[route]]\npath = \"/*\"\nstatic = \"/nowhere/${{HIDDEN}}\""),
        routes(&["path = \"/*\""]).replace(
            "secret = \"d2hvIHJlYWRzIHRoaXMgaGFzIHRpbWUgdG8gc3BhcmU5\"",
            "algorithms = [\"RS256\"]\npublic_key = \"/nowhere/${HIDDEN}\"",
        ),
        routes(&["path = \"/*\""]).replace(
            "[issuer",
            "tls = { certificates = [{ cert = \"/${HIDDEN}.crt\", key = \"/${HIDDEN}.key\" }] }\n[issuer",
        ),
    ] {
        let told = match workshop.try_compile(&text, None) {
            Ok(compiled) => compiled.warnings,
            Err(errors) => errors,
        };
        assert!(!told.is_empty(), "{text}");
        assert!(!told.render(false).contains("hunter2"), "{}", told.render(false));
    }
}

#[test]
fn a_path_that_means_another_is_refused_with_the_one_it_means() {
    let workshop = Workshop::new();
    let text = routes(&["path = \"/a/../b/*\""]);
    let errors = workshop.try_compile(&text, None).map(|_| ()).unwrap_err();
    let drawn = errors.render(false);
    assert!(drawn.contains("paths are matched without `.` and `..` segments"), "{drawn}");
    assert!(drawn.contains("write what it means: `/b/*`"), "{drawn}");
}

//! Prefixes, patterns and redirects: what can't be meant, and what counts over a reload.

use hyper::Method;

use super::Workshop;
use crate::snapshot::Misrouted;

const HEAD: &str = r#"
    [listener.main]
    address = "127.0.0.1:8080"
    [issuer.django]
    preset = "simplejwt"
    secret = "d2hvIHJlYWRzIHRoaXMgaGFzIHRpbWUgdG8gc3BhcmU5"
    [upstream.app]
    endpoints = ["http://127.0.0.1:1"]
    kind = "wsgi"
    "#;

fn text(routes: &[&str]) -> String {
    routes.iter().fold(HEAD.to_owned(), |text, route| text + "\n[[route]]\n" + route)
}

fn errors(route: &str) -> Vec<String> {
    Workshop::new().errors(&text(&[route]))
}

const APP: &str = "upstream = \"app\"\npublic = true\n";

#[test]
fn a_prefix_has_to_be_every_paths() {
    let error = |route: &str| errors(&format!("{APP}{route}")).join("; ");
    assert_eq!(
        error("path = \"/*\"\nstrip_prefix = \"/api\""),
        "the route takes paths that don't begin with `/api`"
    );
    assert!(error("path = \"/apis/*\"\nmount = \"/api\"").contains("don't begin with `/api`"));
    for bad in ["/", "api", "/api/", "/a/../b", "/a b", "/%61", "//a", "/a?b"] {
        for key in ["strip_prefix", "add_prefix", "mount"] {
            let told = error(&format!("path = \"/api/*\"\n{key} = \"{bad}\""));
            assert!(told.contains("is no prefix of paths"), "{key} {bad}: {told}");
        }
    }
    assert!(
        errors(&format!("{APP}path = \"/a/*\"\nrewrite = {{ from = \"/(\", to = \"/\" }}"))[0]
            .contains("`from` can't be used")
    );
    assert!(
        errors(&format!("{APP}path = \"/a/*\"\nrewrite = {{ from = \"/x\", to = \"/{{1}}\" }}"))[0]
            .contains("has no group `1`")
    );
}

#[test]
fn a_redirect_never_leads_to_itself() {
    let told = errors("path = \"/old/*\"\npublic = true\nredirect = { to = \"/old/x\" }");
    assert_eq!(told, ["`/old/x` is a path of this very route"]);
    let text = text(&["path = \"/old/*\"\npublic = true\nredirect = { to = \"/older\" }"]);
    Workshop::new().compile(&text, None);
}

#[test]
fn a_rewritten_path_is_no_second_name_for_what_is_protected() {
    let open = "path = \"/open/*\"\nupstream = \"app\"\npublic = true\nstrip_prefix = \"/open\"";
    let admin = "path = \"/admin/*\"\nupstream = \"app\"\nrequire = { is_staff = [true] }";
    let all = "path = \"/*\"\nupstream = \"app\"";
    let workshop = Workshop::new();
    let compiled = workshop.compile(&text(&[open, admin]), None);
    let forwarded = |path: &str| compiled.snapshot.forwarded_path(0, 0, "h", path, &Method::GET);
    assert_eq!(forwarded("/open/x").unwrap().as_deref(), Some("/x"));
    assert!(matches!(forwarded("/open/admin/x"), Err(Misrouted::Split(_))));
    let plain = compiled.snapshot.forwarded_path(1, 0, "h", "/admin/x", &Method::GET);
    assert_eq!(plain.unwrap(), None);

    // The application may not look at the host, and can't see the listener.
    let hosted = format!("{admin}\nhosts = [\"admin.example.com\"]");
    let compiled = workshop.compile(&text(&[open, &hosted]), None);
    let forwarded =
        |path: &str| compiled.snapshot.forwarded_path(0, 0, "www.example.com", path, &Method::GET);
    assert_eq!(forwarded("/open/x").unwrap().as_deref(), Some("/x"));
    assert!(matches!(forwarded("/open/admin/x"), Err(Misrouted::Split(_))));

    // Where it is all of them, the operator hears it before any client.
    let told = workshop.warnings(&text(&[open, all]));
    assert!(told.iter().any(|one| one.contains("what route `/open/*` forwards")), "{told:?}");
    let other = "path = \"/*\"\nupstream = \"http://127.0.0.1:2\"";
    let told = workshop.warnings(&text(&[open, other]));
    assert!(!told.iter().any(|one| one.contains("forwards")), "another application: {told:?}");
    let same = "path = \"/open/*\"\nupstream = \"app\"\nstrip_prefix = \"/open\"";
    let told = workshop.warnings(&text(&[same, all]));
    assert!(!told.iter().any(|one| one.contains("forwards")), "one policy: {told:?}");
}

#[test]
fn who_is_in_counts_over_a_reload() {
    let limited =
        |max: usize| text(&[&format!("{APP}path = \"/*\"\nname = \"all\"\nmax_in_flight = {max}")]);
    let workshop = Workshop::new();
    let first = workshop.compile(&limited(1), None);
    let concurrency = first.snapshot.routes()[0].concurrency.as_ref().unwrap();
    let place = concurrency.enter().unwrap();
    let second = workshop.compile(&limited(2), Some(&first));
    let concurrency = second.snapshot.routes()[0].concurrency.as_ref().unwrap();
    let _one = concurrency.enter().unwrap();
    assert!(concurrency.enter().is_none(), "one came before the reload");
    drop(place);
    assert!(concurrency.enter().is_some());
}

use super::*;
use crate::support::token::Signer;

/// The target that the application got, or how the request was refused.
fn forwarded(place: &Place, caller: &mut Caller, path: &str) -> String {
    let before = place.upstream.count();
    let response = caller.get(path, &[]);
    match response.status {
        200 => place.upstream.received()[before].target().to_owned(),
        status => {
            assert_eq!(place.upstream.count(), before, "{path}");
            let text = response.json();
            format!("{status} {}", text["code"].as_str().unwrap())
        }
    }
}

const PREFIXES: &str = r#"
    [[route]]
    path = "/api/*"
    upstream = "app"
    public = true
    strip_prefix = "/api"
    [[route]]
    path = "/both/*"
    upstream = "app"
    public = true
    strip_prefix = "/both"
    add_prefix = "/v1"
    [[route]]
    path = "/tenant/*"
    upstream = "app"
    public = true
    add_prefix = "/tenants/a"
    [[route]]
    path = "/users/*"
    upstream = "app"
    public = true
    rewrite = { from = "/users/(?P<id>[0-9]+)(/.*)?", to = "/u/{id}{2}" }
"#;

#[test]
fn prefixes_and_patterns() {
    let place = Place::start(talkative(), PREFIXES);
    for mut caller in place.both() {
        for (path, expected) in [
            ("/api/users?a=b", "/users?a=b"),
            ("/api", "/"),
            ("/api/", "/"),
            ("/%61pi/%7Eme", "/~me"),
            ("/api/group%2Fname", "/group%2Fname"),
            ("/api/%2561", "/%2561"),
            ("/both/x", "/v1/x"),
            ("/both", "/v1/"),
            ("/tenant/x", "/tenants/a/tenant/x"),
            ("/users/7/posts?x", "/u/7/posts?x"),
            ("/users/7", "/u/7"),
            ("/users/x", "/users/x"),
        ] {
            assert_eq!(forwarded(&place, &mut caller, path), expected, "{path}");
        }
        let received = place.last();
        assert!(received.headers("x-forwarded-prefix").is_empty());
        let spoofed = [("x-forwarded-prefix", "/evil"), ("script-name", "/evil")];
        caller.get("/api/x", &spoofed).expect(200);
        assert_eq!(place.last().headers("x-forwarded-prefix"), ["/api"]);
        assert!(place.last().headers("script-name").is_empty());
    }
    // The log has the path that the client asked for.
    assert_eq!(place.gateway.records_of("/api/users", 2).len(), 2);
}

#[test]
fn h8_a_rewritten_path_means_one_thing() {
    let place = Place::start(talkative(), PREFIXES);
    for mut caller in place.both() {
        for path in [
            "/api//evil.example/x",
            "/tenant/..;/..;/b",
            "/tenant/..%2f..%2fb/secret",
            "/tenant/%252e%252e%252f%252e%252e%252fb",
            "/both/..%2fadmin",
            "/both/x%2f..%2f..%2f..%2fadmin",
            "/both/..%5c..%5cadmin",
            "/users/7/a%2fb",
            "/users/7/..;/x",
        ] {
            let told = forwarded(&place, &mut caller, path);
            assert_eq!(told, "400 ambiguous_path", "{path}");
        }
    }
}

#[test]
fn h8_what_a_policy_protects_has_no_second_name() {
    let text = r#"
        [issuer.main]
        url = "https://id.example.com/"
        audience = ["api"]
        secret = "e5Nz0qWb7hXk2uLr9sTd4vYg6mJp8cAf1oQi3xEw5zRn"
        [[route]]
        path = "/open/*"
        upstream = "app"
        public = true
        strip_prefix = "/open"
        [[route]]
        path = "/admin/*"
        upstream = "app"
        [[route]]
        path = "/elsewhere/*"
        upstream = "wsgi"
    "#;
    let place = Place::start(talkative(), text);
    for mut caller in place.both() {
        assert_eq!(forwarded(&place, &mut caller, "/open/x"), "/x");
        assert_eq!(forwarded(&place, &mut caller, "/open/elsewhere/x"), "/elsewhere/x");
        for path in ["/open/admin", "/open/admin/x", "/open/%61dmin/x", "/open/x/../admin/"] {
            let told = forwarded(&place, &mut caller, path);
            assert_eq!(told, "400 ambiguous_path", "{path}");
        }
    }
}

#[test]
fn h8_what_addresses_or_listeners_protect_has_no_second_name() {
    let text = r#"
        [[route]]
        path = "/open/*"
        upstream = "app"
        public = true
        strip_prefix = "/open"
        [[route]]
        path = "/admin/*"
        upstream = "app"
        public = true
        allow_ips = ["10.0.0.0/8"]
        [[route]]
        path = "/inner/*"
        upstream = "app"
        public = true
        listeners = ["tls"]
        [[route]]
        path = "/both/*"
        upstream = "app"
        public = true
        listeners = ["plain", "tls"]
    "#;
    let place = Place::start(talkative(), text);
    for mut caller in place.both() {
        assert_eq!(forwarded(&place, &mut caller, "/open/x"), "/x");
        assert_eq!(forwarded(&place, &mut caller, "/open/both/x"), "/both/x");
        for path in ["/open/admin", "/open/admin/x", "/open/x/../admin/", "/open/inner/x"] {
            let told = forwarded(&place, &mut caller, path);
            assert_eq!(told, "400 ambiguous_path", "{path}");
        }
    }
}

#[test]
fn a_mount_is_told_to_whoever_makes_links() {
    let text = r#"
        [[route]]
        path = "/app/*"
        upstream = "app"
        public = true
        mount = "/app"
        [[route]]
        path = "/shop/*"
        upstream = "wsgi"
        public = true
        mount = "/shop"
    "#;
    let place = Place::start(talkative(), text);
    for mut caller in place.both() {
        assert_eq!(forwarded(&place, &mut caller, "/app/x?y"), "/x?y");
        assert_eq!(place.last().headers("x-forwarded-prefix"), ["/app"]);
        assert!(place.last().headers("script_name").is_empty());
        assert_eq!(forwarded(&place, &mut caller, "/sho%70/x"), "/shop/x");
        assert_eq!(place.last().headers("script_name"), ["/shop"]);
        assert_eq!(place.last().headers("x-forwarded-prefix"), ["/shop"]);
        assert_eq!(forwarded(&place, &mut caller, "/shop"), "/shop");
    }
}

#[test]
fn redirects_lead_where_the_operator_says() {
    let text = r#"
        [[route]]
        path = "/old/*"
        public = true
        redirect = { to = "https://example.com/new/", keep_path = true }
        response_headers = { set = { X-Set = "1" } }
        [[route]]
        path = "/here/*"
        public = true
        redirect = { to = "/", status = 302, keep_path = true }
        [[route]]
        path = "/fixed"
        public = true
        redirect = { to = "/x?a=1#top", status = 303 }
    "#;
    let place = Place::start(talkative(), text);
    for mut caller in place.both() {
        for (path, status, to) in [
            ("/old/a/b?c=d", 308, "https://example.com/new/a/b?c=d"),
            ("/old", 308, "https://example.com/new/"),
            ("/old//evil.example/", 308, "https://example.com/new//evil.example/"),
            ("/old/%0d%0aSet-Cookie:%20a=b", 400, ""),
            ("/here/x", 302, "/x"),
            ("/here//evil.example", 400, ""),
            ("/here/%2F/evil.example", 302, "/%2F/evil.example"),
            ("/here/%5Cevil.example", 302, "/%5Cevil.example"),
            ("/fixed?b=2", 303, "/x?a=1&b=2#top"),
        ] {
            let response = caller.get(path, &[]).expect(status);
            assert_eq!(response.header("location").unwrap_or(""), to, "{path}");
        }
        let response = caller.call("POST", "/old/x", &[], Body::Whole(b"ignored"));
        let response = response.expect(308);
        assert_eq!(response.header("x-set"), Some("1"));
        assert!(response.body.is_empty());
    }
    assert_eq!(place.upstream.count(), 0);
}

#[test]
fn a_redirect_asks_for_its_token_first_and_takes_none_along() {
    let text = r#"
        [issuer.main]
        url = "https://id.example.com/"
        audience = ["api"]
        secret = "e5Nz0qWb7hXk2uLr9sTd4vYg6mJp8cAf1oQi3xEw5zRn"
        token_from = ["header:Authorization", "query:access_token"]
        [[route]]
        path = "/old"
        redirect = { to = "https://example.com/" }
        [[route]]
        path = "/open"
        public = true
        redirect = { to = "https://example.com/" }
    "#;
    let place = Place::start(talkative(), text);
    let signer = Signer::hmac(b"e5Nz0qWb7hXk2uLr9sTd4vYg6mJp8cAf1oQi3xEw5zRn");
    let token = signer.good("https://id.example.com/", "alice");
    for mut caller in place.both() {
        caller.get("/old", &[]).expect(401);
        for path in ["/old", "/open"] {
            let response = caller.get(&format!("{path}?a=b&access_token={token}"), &[]);
            let response = response.expect(308);
            assert_eq!(response.header("location"), Some("https://example.com/?a=b"), "{path}");
        }
    }
}

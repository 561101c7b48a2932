use super::*;

const EDITS: &str = r#"
    [server]
    allow_headers = ["X_Admin"]
    [[route]]
    path = "/x/*"
    upstream = "app"
    public = true
    [route.request_headers]
    set = { X-Admin = "1" }
    add = { X-Tag = "ours" }
    remove = ["Cookie", "X-Gone"]
    [route.response_headers]
    set = { X-Set = "ours" }
    add = { Link = "</a>; rel=preload" }
    remove = ["Server", "X-Powered-By"]
    [route.response_headers.default]
    X-Frame-Options = "DENY"
    X-Content-Type-Options = "nosniff"
    Strict-Transport-Security = "max-age=31536000"
"#;

#[test]
fn h10_what_is_set_is_no_clients_to_say_or_to_remove() {
    let place = Place::start(talkative(), EDITS);
    for mut caller in place.both() {
        let sent = [
            ("x-admin", "0"),
            ("x.admin", "0"),
            ("x_admin", "0"),
            ("x-tag", "theirs"),
            ("cookie", "a=b"),
            ("x-gone", "1"),
            ("x-kept", "1"),
        ];
        caller.get("/x/", &sent).expect(200);
        let received = place.last();
        assert_eq!(received.headers("x-admin"), ["1"], "{}", caller.name());
        for name in ["x.admin", "x_admin", "cookie", "x-gone"] {
            assert!(received.headers(name).is_empty(), "{name}: {}", received.head);
        }
        assert_eq!(received.headers("x-tag"), ["theirs", "ours"]);
        assert_eq!(received.headers("x-kept"), ["1"]);
    }
    let lines = "Connection: close, x-admin, x-tag\r\nConnection: X-Admin\r\nX-Admin: 0\r\n";
    place.plain().get("/x/", lines).expect(200);
    assert_eq!(place.last().headers("x-admin"), ["1"]);
    assert_eq!(place.last().headers("x-tag"), ["ours"]);
}

#[test]
fn responses_are_changed_in_the_documented_order() {
    let place = Place::start(talkative(), EDITS);
    for mut caller in place.both() {
        let response = caller.get("/x/", &[]).expect(200);
        assert_eq!(response.header("server"), None);
        assert_eq!(response.header("x-powered-by"), None);
        assert_eq!(response.header("x-set"), Some("ours"));
        assert_eq!(response.header("link"), Some("</a>; rel=preload"));
        assert_eq!(response.header("x-frame-options"), Some("SAMEORIGIN"));
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(response.header("strict-transport-security"), Some("max-age=31536000"));
        assert_eq!(response.header("set-cookie"), Some("a=b"));
        assert_eq!(response.text(), "ok");
    }
    let response = place.plain().get("/x/", "").expect(200);
    assert_eq!(response.header("strict-transport-security"), None, "RFC 6797 section 7.2");
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
}

#[test]
fn a_refusal_has_the_routes_headers_and_keeps_its_own() {
    let text = r#"
        [issuer.main]
        url = "https://id.example.com/"
        audience = ["api"]
        secret = "e5Nz0qWb7hXk2uLr9sTd4vYg6mJp8cAf1oQi3xEw5zRn"
        [[route]]
        path = "/*"
        upstream = "app"
        response_headers = { set = { Cache-Control = "public, max-age=600", X-Set = "1" } }
    "#;
    let place = Place::start(talkative(), text);
    for mut caller in place.both() {
        let refused = caller.get("/x", &[]).expect(401);
        assert_eq!(refused.header("cache-control"), Some("no-store"), "{}", caller.name());
        assert_eq!(refused.header("x-set"), Some("1"));
        assert!(refused.header("www-authenticate").is_some());
    }
}

#[test]
fn a_trace_is_passed_on_and_logged_and_forwarded_told_where_wanted() {
    let text = r#"
        [server]
        forwarded = true
        [[route]]
        path = "/*"
        upstream = "app"
        public = true
    "#;
    let place = Place::start(talkative(), text);
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let lines = format!("traceparent: {parent}\r\ntracestate: a=b\r\nForwarded: for=evil\r\n");
    place.plain().get("/x", &lines).expect(200);
    let received = place.last();
    assert_eq!(received.headers("traceparent"), [parent]);
    assert_eq!(received.headers("tracestate"), ["a=b"]);
    assert_eq!(received.headers("forwarded"), ["for=127.0.0.1;host=\"localhost\";proto=http"]);
    let records = place.gateway.records_of("/x", 1);
    assert_eq!(records[0]["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
}

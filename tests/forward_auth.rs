//! `verify = true`: what a proxy is told that asks before it forwards a request.

use serde_json::json;

use crate::support::Response;
use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::token::{ISSUER, SECRET, Signer, claims, tampered};

fn start(trusted: &str) -> Gateway {
    let text = format!(
        r#"
        [listener.plain]
        address = "127.0.0.1:0"
        [issuer.main]
        url = "{ISSUER}"
        audience = ["api"]
        secret = "${{KEY}}"
        identity_headers = {{ "X-User" = "sub", "X-Role" = "role" }}
        [[route]]
        name = "verify"
        path = "/verify/*"
        verify = true
        [[route]]
        name = "orders"
        path = "/orders/*"
        verify = true
        require = {{ scope = ["orders:read"] }}
        [server]
        trusted_proxies = {trusted}
        "#
    );
    Setup::new().variable("KEY", SECRET).start(&text)
}

fn token(sub: &str, role: Option<&str>) -> String {
    let mut claims = claims(ISSUER, sub);
    if let Some(role) = role {
        claims["role"] = json!(role);
    }
    Signer::hmac(SECRET.as_bytes()).sign(&claims)
}

fn ask(gateway: &Gateway, method: &str, path: &str, lines: &str) -> Response {
    Client::tcp(gateway.address("plain")).ask(method, path, lines)
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[test]
fn a_good_token_is_200_with_the_identity_and_nothing_else() {
    let gateway = start(r#"["127.0.0.1"]"#);
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"] {
        let lines = bearer(&token("ada", Some("admin")));
        let answer = ask(&gateway, method, "/verify", &lines).expect(200);
        assert_eq!(answer.header("x-user"), Some("ada"), "{method}");
        assert_eq!(answer.header("x-role"), Some("admin"), "{method}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{method}");
        assert!(answer.body.is_empty(), "{method}");
    }
}

#[test]
fn j28_identity_that_the_client_sends_is_never_given_back() {
    let gateway = start(r#"["127.0.0.1"]"#);
    let forged = "X-User: root\r\nX-Role: root\r\nX_Role: root\r\nx.role: root\r\n";
    let lines = format!("{forged}{}", bearer(&token("ada", None)));
    let answer = ask(&gateway, "GET", "/verify", &lines).expect(200);
    assert_eq!(answer.header("x-user"), Some("ada"));
    assert!(!answer.headers.iter().any(|(_, value)| value.contains("root")), "{answer:?}");
    assert_eq!(answer.header("x-role"), None, "an absent claim makes no header");
    let refused = ask(&gateway, "GET", "/verify", forged).expect(401);
    assert!(!refused.headers.iter().any(|(_, value)| value.contains("root")), "{refused:?}");
}

#[test]
fn refusals_have_their_usual_bodies_and_challenges() {
    let gateway = start(r#"["127.0.0.1"]"#);
    let missing = ask(&gateway, "GET", "/verify", "").expect(401);
    assert_eq!(missing.header("www-authenticate"), Some("Bearer realm=\"localhost\""));
    assert_eq!(missing.json()["code"], "token_missing");
    let bad = bearer(&tampered(&token("ada", None)));
    let bad = ask(&gateway, "POST", "/verify", &bad).expect(401);
    assert_eq!(bad.json()["code"], "bad_signature");
    assert!(bad.header("x-user").is_none());
    let denied = ask(&gateway, "GET", "/orders", &bearer(&token("ada", None))).expect(403);
    assert_eq!(denied.json()["code"], "insufficient_scope");
    assert!(denied.header("x-user").is_none());
}

#[test]
fn what_is_asked_about_is_logged_and_decides_nothing() {
    let gateway = start(r#"["127.0.0.1"]"#);
    let good = bearer(&token("ada", None));
    // Another route's path, and one that would be public elsewhere: the asked route decides alone.
    let about = "X-Forwarded-Method: DELETE\r\nX-Forwarded-Uri: /orders/7?access_token=hush&a=b\r\n\
                 X-Forwarded-Host: shop.test\r\n";
    ask(&gateway, "GET", "/verify/a", &format!("{about}{good}")).expect(200);
    ask(&gateway, "GET", "/verify/b", about).expect(401);
    let nginx = "X-Original-Method: POST\r\nX-Original-URI: /verify\r\n";
    ask(&gateway, "GET", "/orders/c", &format!("{nginx}{good}")).expect(403);
    let mut records = gateway.records(3);
    records.sort_by_key(|record| record["path"].as_str().map(str::to_owned));
    // By path: /orders/c, /verify/a, /verify/b.
    records.rotate_left(1);
    let original = json!({
        "method": "DELETE", "host": "shop.test", "uri": "/orders/7?access_token=REDACTED&a=b"
    });
    let logged = &records[0]["original"];
    assert_eq!(logged["method"], original["method"]);
    assert_eq!(logged["host"], original["host"]);
    let uri = logged["uri"].as_str().unwrap();
    assert!(uri.starts_with("/orders/7?") && uri.contains("a=b") && !uri.contains("hush"), "{uri}");
    assert_eq!(records[0]["route"], "verify");
    assert_eq!(records[1]["original"], records[0]["original"]);
    assert_eq!(records[2]["original"], json!({ "method": "POST", "uri": "/verify" }));
}

#[test]
fn only_trusted_proxies_may_ask() {
    let good = bearer(&token("ada", None));
    let gateway = start(r#"["192.0.2.1", "unix"]"#);
    // The client that a stranger names does not make the stranger a proxy.
    let lines = format!("X-Forwarded-For: 192.0.2.1\r\n{good}");
    let refused = ask(&gateway, "GET", "/verify", &lines).expect(403);
    assert_eq!(refused.json()["code"], "address_not_allowed");
    assert!(refused.header("x-user").is_none());
    assert!(gateway.records(1)[0].get("original").is_none());
}

#[test]
fn the_original_requests_length_is_not_the_questions() {
    let gateway = start(r#"["127.0.0.1"]"#);
    // Some proxies send the length along, which is beyond any route's `max_body`, and a beginning
    // of the body; nobody reads it.
    let lines = format!("{}Content-Length: 99999999\r\n\r\nhello", bearer(&token("ada", None)));
    let mut client = Client::tcp(gateway.address("plain"));
    client.send(format!("POST /verify HTTP/1.1\r\nHost: localhost\r\n{lines}"));
    client.response().expect(200);
}

#[test]
fn j27_a_cookie_answers_a_question_only_for_pages_of_the_same_origin() {
    let text = format!(
        r#"
        [listener.plain]
        address = "127.0.0.1:0"
        [issuer.main]
        url = "{ISSUER}"
        audience = ["api"]
        secret = "${{KEY}}"
        token_from = ["cookie:session"]
        [[route]]
        path = "/verify/*"
        verify = true
        [server]
        trusted_proxies = ["127.0.0.1"]
        "#
    );
    let gateway = Setup::new().variable("KEY", SECRET).start(&text);
    let cookie = format!("Cookie: session={}\r\nX-Forwarded-Proto: https\r\n", token("ada", None));
    let asked = |lines: &str| ask(&gateway, "GET", "/verify", &format!("{cookie}{lines}")).status;
    assert_eq!(asked("Sec-Fetch-Site: same-origin\r\n"), 200);
    assert_eq!(asked("Origin: https://localhost\r\n"), 200, "as the trusted proxy tells it");
    for lines in [
        "",
        // Whatever method is said to be asked about.
        "X-Forwarded-Method: GET\r\n",
        "Sec-Fetch-Site: cross-site\r\nX-Original-Method: GET\r\n",
        "Sec-Fetch-Site: none\r\n",
        "Origin: http://localhost\r\n",
        "Origin: https://evil.test\r\n",
    ] {
        assert_eq!(asked(lines), 403, "{lines}");
    }
    // A question is not what a client may ask for.
    let missing = ask(&gateway, "GET", "/verify/x", "").expect(401);
    assert_eq!(missing.header("www-authenticate"), Some("Bearer realm=\"localhost\""));
    let location = "/.well-known/oauth-protected-resource/verify/x";
    assert_eq!(ask(&gateway, "GET", location, "").status, 404);
}

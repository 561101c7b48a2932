//! What Django is told of a request: the same, whatever headers a client adds.

use serde_json::{Value, json};

use crate::real_stack::{Shop, bearer, sign_in};
use crate::support::caller::Caller;
use crate::support::stack::Socket;

#[test]
fn meta_is_the_gateways_over_a_unix_socket() {
    meta(&Shop::open(Socket::Unix));
}

#[test]
fn meta_is_the_gateways_over_tcp() {
    meta(&Shop::open(Socket::Tcp));
}

fn meta(shop: &Shop) {
    let port = shop.gateway.address("https").port().to_string();
    for mut caller in shop.callers() {
        let access = bearer(&sign_in(&mut caller, "alice").access);
        for (path, token) in [("/public/echo", None), ("/api/echo/", Some(&*access))] {
            let mut headers: Vec<(&str, &str)> = Vec::new();
            headers.extend(token.map(|token| ("Authorization", token)));
            let honest = echoed(&mut caller, path, &headers);
            asserted(&honest, &port, token.is_some());
            let http2 = matches!(caller, Caller::Http2(_));
            let hostile: Vec<_> = HOSTILE
                .iter()
                .filter(|(name, _)| !http2 || !CONNECTION_SPECIFIC.contains(name))
                .copied()
                .collect();
            for &(name, value) in &hostile {
                headers.push((name, value));
                let got = echoed(&mut caller, path, &headers);
                assert_eq!(got, honest, "{} {path} with {name}: {value}", caller.name());
                headers.pop();
            }
            headers.extend(&hostile);
            assert_eq!(echoed(&mut caller, path, &headers), honest, "{} {path}", caller.name());
        }
    }
}

/// META but for what differs from request to request anyway.
fn echoed(caller: &mut Caller, path: &str, headers: &[(&str, &str)]) -> Value {
    let mut echo = caller.get(path, headers).expect(200).json();
    let meta = echo["meta"].as_object_mut().unwrap();
    let id = meta.remove("HTTP_X_REQUEST_ID").unwrap();
    assert!(!id.as_str().unwrap().contains("attacker"), "{id}");
    // The port of the gateway's own connection.
    meta.remove("REMOTE_PORT");
    echo
}

fn asserted(honest: &Value, port: &str, token: bool) {
    let meta = &honest["meta"];
    let expected = [
        ("HTTP_HOST", "localhost"),
        ("HTTP_X_FORWARDED_FOR", "127.0.0.1"),
        ("HTTP_X_FORWARDED_HOST", "localhost"),
        ("HTTP_X_FORWARDED_PORT", port),
        ("HTTP_X_FORWARDED_PROTO", "https"),
        ("SCRIPT_NAME", ""),
        ("wsgi.url_scheme", "https"),
    ];
    for (name, value) in expected {
        assert_eq!(meta[name], value, "{name} in {meta}");
    }
    assert_eq!(meta["PATH_INFO"], honest["path"]);
    assert_eq!(meta.get("HTTP_X_USER"), token.then_some(&json!("alice")));
    assert_eq!(meta.get("HTTP_X_USER_ID"), token.then_some(&json!("1")));
}

/// Headers that must not exist on HTTP/2.
const CONNECTION_SPECIFIC: &[&str] = &["Connection", "Keep-Alive", "Proxy-Connection"];

/// Each of these says something that only the gateway may say, or that only one hop may hear.
const HOSTILE: &[(&str, &str)] = &[
    ("SCRIPT_NAME", "/admin"),
    ("Script-Name", "/admin"),
    ("script_name", "/admin"),
    ("PATH_INFO", "/admin/"),
    ("Path-Info", "/admin/"),
    ("REMOTE_USER", "attacker"),
    ("Remote-User", "attacker"),
    ("REMOTE_ADDR", "10.0.0.1"),
    ("X-User", "attacker"),
    ("x-user", "attacker"),
    ("x_user", "attacker"),
    ("X_User", "attacker"),
    ("X-User-Id", "2"),
    ("x_user_id", "2"),
    ("X-USER_ID", "2"),
    ("X_USER-ID", "2"),
    ("X-Forwarded-For", "10.0.0.1"),
    ("X_Forwarded_For", "10.0.0.1"),
    ("X-Forwarded_For", "10.0.0.1"),
    ("x_forwarded-for", "10.0.0.1"),
    ("X-Forwarded-Host", "attacker.example"),
    ("X_Forwarded_Host", "attacker.example"),
    ("X-Forwarded-Port", "1"),
    ("X-Forwarded-Prefix", "/attacker"),
    ("X-Forwarded-Proto", "http"),
    ("X_FORWARDED_PROTO", "http"),
    ("X-Forwarded-Protocol", "ssl"),
    ("X-Forwarded-Protocol", "http"),
    ("X-Forwarded-Server", "attacker.example"),
    ("X-Forwarded-Scheme", "http"),
    ("X-Forwarded-Ssl", "on"),
    ("X-Forwarded-Ssl", "off"),
    ("X_Forwarded_Ssl", "off"),
    ("X-Forwarded-User", "attacker"),
    ("X-Real-IP", "10.0.0.1"),
    ("X_Real_IP", "10.0.0.1"),
    ("X-Scheme", "http"),
    ("X-Url-Scheme", "http"),
    ("Front-End-Https", "off"),
    ("Forwarded", "for=10.0.0.1;proto=http;host=attacker.example"),
    ("X-Request-Id", "attacker"),
    ("X_Request_Id", "attacker"),
    ("X-Client-Cert", "attacker"),
    ("X-Accel-Redirect", "/admin/"),
    ("X-Portcullis-Subject", "attacker"),
    ("Proxy", "http://attacker.example"),
    ("Content_Length", "5"),
    ("Content_Type", "text/html"),
    ("HTTP_HOST", "attacker.example"),
    ("Under_Score", "dropped"),
    ("Connection", "X-User-Id"),
    ("Connection", "X-User, X-Forwarded-For, X-Forwarded-Proto"),
    ("Connection", "keep-alive, x-forwarded-host"),
    ("Connection", "Via"),
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Connection", "keep-alive"),
];

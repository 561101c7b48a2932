//! H3, H4, H5, H6, H7, H10, H11, H12, H15: heads with two readings, and headers that only a gateway
//! may set.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{Site, bearer, open};
use crate::support::caller::{Body, Caller};
use crate::support::certificate::Certificate;
use crate::support::client::Client;
use crate::support::gateway::Setup;
use crate::support::h2::H2;
use crate::support::upstream::Upstream;

#[test]
fn h3_header_names_that_are_no_tokens_are_refused() {
    let site = Site::start();
    for name in [
        "", " ", "\t", "a b", "a\t", " a", "a(", "a,b", "a;b", "a/b", "a=b", "a@b", "a[b", "a\"b",
        "a\\b", "a{b", "a?", "a\u{7f}", "a\u{1}", "a\0", "\u{e9}", "a\u{80}",
    ] {
        site.refuses(open(&format!("{name}: x\r\nContent-Length: 0\r\n"), ""), 400, "bad_request");
    }
    for line in ["no colon at all", "GET / HTTP/1.1", ": x", "=: x"] {
        site.refuses(open(&format!("{line}\r\nContent-Length: 0\r\n"), ""), 400, "bad_request");
    }
    let mut raw = b"GET /open/x HTTP/1.1\r\nHost: localhost\r\nX-\xff: a\r\n\r\n".to_vec();
    site.refuses(&raw, 400, "bad_request");
    raw.splice(..3, *b"G\x00T");
    site.refuses(&raw, 400, "bad_request");
}

#[test]
fn h4_names_with_underscores_are_dropped() {
    let site = Site::start();
    let lines = "X_User: root\r\nx_user: root\r\nX_FORWARDED_FOR: 10.0.0.1\r\nSCRIPT_NAME: /admin\r\n\
                 REMOTE_USER: root\r\nTransfer_Encoding: chunked\r\nContent_Length: 9\r\n\
                 HOST_: b\r\nAuthorization_: Bearer x\r\nX_Custom: 1\r\nX-Custom: 2\r\n";
    let request = format!("GET /first HTTP/1.1\r\nHost: localhost\r\n{}{lines}\r\n", bearer());
    site.ask(request).expect(200);
    let head = site.only().head;
    for line in head.split("\r\n").skip(1) {
        let name = line.split(':').next().unwrap();
        assert!(!name.contains('_'), "{line}");
    }
    assert_eq!(site.only().headers("x-user"), ["ada"]);
    assert_eq!(site.only().headers("x-custom"), ["2"]);
    assert!(site.gateway.metric("portcullis_headers_dropped_total{kind=\"underscore\"}") >= 4.0);
    assert!(site.gateway.metric("portcullis_headers_dropped_total{kind=\"asserted\"}") >= 1.0);
}

#[test]
fn h4_names_with_underscores_are_refused_or_let_through_where_the_operator_says_so() {
    let more = "[server]\nunderscore_headers = \"reject\"\nallow_headers = [\"X_Custom\"]\n";
    let site = Site::with(Upstream::saying("reached"), more);
    site.refuses(open("X_Other: 1\r\nContent-Length: 0\r\n", ""), 400, "bad_request");
    site.ask(open("X_Custom: 1\r\nX_User: root\r\nContent-Length: 0\r\n", "")).expect(200);
    assert_eq!(site.only().headers("x_custom"), ["1"]);
    assert_eq!(site.only().headers("x_user"), [""; 0]);
}

#[test]
fn h5_there_is_one_host_and_it_is_a_host() {
    let site = Site::start();
    for lines in [
        "",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host:\r\n",
        "Host: a b\r\n",
        "Host: user@a\r\n",
        "Host: user:pw@a\r\n",
        "Host: a,b\r\n",
        "Host: a/b\r\n",
        "Host: a?b\r\n",
        "Host: a#b\r\n",
        "Host: a\\b\r\n",
        "Host: http://a\r\n",
        "Host: a:b\r\n",
        "Host: a:80:80\r\n",
        "Host: a:99999\r\n",
        "Host: a:+80\r\n",
        "Host: :80\r\n",
        "Host: [::1\r\n",
        "Host: ::1\r\n",
        "Host: [::1]a\r\n",
        "Host: a..b\r\n",
        "Host: %61\r\n",
        "Host: a%00\r\n",
        "Host: *.a\r\n",
        "Host: <script>\r\n",
        "Host: b\u{fc}cher.de\r\n",
        "Host: a\u{0b}b\r\n",
    ] {
        let request = format!("GET /open/x HTTP/1.1\r\n{lines}\r\n");
        let mut client = site.client();
        client.send(&request);
        let response = client.response();
        assert_eq!(response.status, 400, "{lines:?}");
        assert!(response.closes, "{lines:?}");
        if !response.body.is_empty() {
            let reason = response.json()["code"].clone();
            assert!(reason == "bad_host" || reason == "bad_request", "{lines:?}: {reason}");
        }
    }
    // HTTP/1.0 may leave it out elsewhere; no route could be chosen here.
    let mut old = TcpStream::connect(site.gateway.address("plain")).unwrap();
    old.write_all(b"GET /open/x HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    old.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 400") && answer.contains("bad_host"), "{answer}");
    for (target, host) in [
        ("http://a/open/x", "b"),
        ("http://a:81/open/x", "a"),
        ("http://a@b/open/x", "b"),
        ("http://a@b/open/x", "a@b"),
        ("http:///open/x", "a"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let response = site.ask(&request);
        assert_eq!(response.status, 400, "{request:?}");
    }
    assert_eq!(site.upstream.count(), 0);
}

#[test]
fn h5_every_spelling_of_a_host_is_the_same_host() {
    let upstream = Upstream::saying("reached");
    let more = format!(
        "[[route]]\npath = \"/inner/*\"\nhosts = [\"api.example.com\"]\nupstream = \"{}\"\n\
         public = true\n",
        upstream.url(),
    );
    let site = Site::with(upstream, &more);
    for host in ["api.example.com", "API.Example.COM", "api.example.com.", "api.example.com:80"] {
        let request = format!("GET /inner/x HTTP/1.1\r\nHost: {host}\r\n\r\n");
        site.ask(&request).expect(200);
        assert_eq!(site.upstream.received().last().unwrap().headers("host"), [host]);
    }
    // Nobody else's: `/*` asks for a token.
    for host in
        ["example.com", "xapi.example.com", "api.example.com.evil.test", "a.api.example.com"]
    {
        let request = format!("GET /inner/x HTTP/1.1\r\nHost: {host}\r\n\r\n");
        site.refuses(&request, 401, "token_missing");
    }
    let absolute = "GET http://api.example.com/inner/x HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
    site.ask(absolute).expect(200);
    assert_eq!(site.upstream.received().last().unwrap().target(), "/inner/x");
}

#[test]
fn h6_a_connection_serves_the_hosts_of_its_certificate_alone() {
    let setup = Setup::new();
    let certificate = Certificate::make(setup.folder());
    Certificate::for_names(setup.folder(), "other", &["other.test"]);
    let upstream = Upstream::saying("reached");
    let gateway = setup.start(&format!(
        r#"
        [listener.tls]
        address = "127.0.0.1:0"
        [listener.tls.tls]
        certificates = [
          {{ cert = "server.crt", key = "server.key" }},
          {{ cert = "other.crt", key = "other.key" }},
        ]
        [[route]]
        path = "/*"
        upstream = "{}"
        public = true
        "#,
        upstream.url(),
    ));
    let address = gateway.address("tls");
    for host in ["other.test", "nowhere.test", "localhost.evil.test", "evil-localhost"] {
        let mut client = Client::tls(address, &certificate.client("http/1.1"));
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let response = client.response().expect(421);
        assert_eq!(response.json()["code"], "misdirected");
        let h2 = H2::tls(address, &certificate.client("h2"));
        let request = crate::support::caller::http2("GET", "/", &[], Body::None);
        let (mut parts, body) = request.into_parts();
        parts.uri = format!("https://{host}/").parse().unwrap();
        let response = h2.send(hyper::Request::from_parts(parts, body)).unwrap();
        assert_eq!(response.expect(421).json()["code"], "misdirected");
    }
    for mut caller in Caller::both(address, &certificate) {
        caller.get("/", &[]).expect(200);
    }
    assert_eq!(upstream.count(), 2);
}

#[test]
fn h7_targets_are_paths_of_this_server() {
    let site = Site::start();
    for (line, status, reason) in [
        ("GET * HTTP/1.1", 400, "bad_request"),
        ("POST * HTTP/1.1", 400, "bad_request"),
        ("GET localhost:80 HTTP/1.1", 400, "bad_request"),
        ("GET open HTTP/1.1", 400, "bad_request"),
        ("GET open/x HTTP/1.1", 400, "bad_request"),
        ("GET @localhost/open/x HTTP/1.1", 400, "bad_request"),
        ("GET ?x HTTP/1.1", 400, "bad_request"),
        ("GET ftp://localhost/open/x HTTP/1.1", 400, "bad_request"),
        ("GET file:///etc/passwd HTTP/1.1", 400, "bad_request"),
        ("GET /open/a b HTTP/1.1", 400, "bad_request"),
        ("GET  HTTP/1.1", 400, "bad_request"),
        ("GET", 400, "bad_request"),
        ("GET /open/x", 400, "bad_request"),
        ("GET /open/x HTTP/1.2", 400, "bad_request"),
        ("GET /open/x HTTP/0.9", 400, "bad_request"),
        ("GET /open/x HTTP/3", 400, "bad_request"),
        ("GET /open/x http/1.1", 400, "bad_request"),
        ("G@T /open/x HTTP/1.1", 400, "bad_request"),
        ("CONNECT localhost:443 HTTP/1.1", 405, "method_not_allowed"),
        ("TRACE /open/x HTTP/1.1", 405, "method_not_allowed"),
        ("trace /open/x HTTP/1.1", 405, "method_not_allowed"),
        ("Connect /open/x HTTP/1.1", 405, "method_not_allowed"),
    ] {
        site.refuses(format!("{line}\r\nHost: localhost\r\n\r\n"), status, reason);
    }
    let mut client = site.client();
    client.send("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let response = client.response().expect(204);
    assert!(response.header("allow").unwrap().contains("GET"));
    assert_eq!(site.upstream.count(), 0);

    // What follows `#` is never part of a request: neither the route nor the application sees it.
    for target in ["/open/x#/../../private", "/private#/open/x"] {
        let response = site.ask(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert!(matches!(response.status, 200 | 400 | 401), "{}", response.status);
    }
    assert!(site.targets().iter().all(|target| target == "/open/x"), "{:?}", site.targets());
}

#[test]
fn h10_a_client_removes_nothing_that_we_set() {
    let site = Site::start();
    let names =
        "x-user, X-Forwarded-For, x-forwarded-proto, X-Real-IP, via, x-request-id, X-Secret";
    for lines in [
        format!("Connection: close, {names}\r\n"),
        format!("Connection: close\r\nConnection: {names}\r\n"),
        format!("Connection: {names}\r\nConnection:\r\nConnection: close\r\n"),
        format!("Connection: ,,{},,close,\r\n", names.to_uppercase()),
        format!("Connection: close, upgrade, {names}\r\nUpgrade: websocket\r\n"),
    ] {
        let request = format!(
            "GET /first HTTP/1.1\r\nHost: localhost\r\n{}{lines}X-Secret: 1\r\nX-Kept: 1\r\n\
             Keep-Alive: timeout=5\r\nProxy-Connection: x\r\nProxy-Authorization: Basic x\r\n\r\n",
            bearer()
        );
        let response = site.ask(&request);
        response.expect(200);
        let received = site.upstream.received().pop().unwrap();
        assert_eq!(received.headers("x-user"), ["ada"], "{lines:?}");
        for (name, times) in [
            ("x-forwarded-for", 1),
            ("x-forwarded-proto", 1),
            ("x-real-ip", 1),
            ("via", 1),
            ("x-request-id", 1),
            ("x-kept", 1),
            ("host", 1),
            ("x-secret", 0),
            ("keep-alive", 0),
            ("connection", 0),
            ("proxy-connection", 0),
            ("proxy-authorization", 0),
            ("upgrade", 0),
        ] {
            assert_eq!(received.headers(name).len(), times, "{name} in {}", received.head);
        }
    }
}

#[test]
fn h10_connection_cannot_name_what_frames_addresses_or_authenticates() {
    let site = Site::start();
    for name in [
        "authorization",
        "Host",
        "cookie",
        "content-length",
        "Content-Type",
        "content-encoding",
        "content_length",
        "AUTHORIZATION",
    ] {
        for lines in [
            format!("Connection: {name}\r\n"),
            format!("Connection: close\r\nConnection: x, {name}\r\n"),
        ] {
            let request =
                format!("{lines}Cookie: a=b\r\nContent-Type: a/b\r\nContent-Length: 0\r\n");
            site.refuses(open(&request, ""), 400, "bad_request");
        }
    }
}

#[test]
fn h11_forwarding_headers_are_set_and_never_believed() {
    let site = Site::start();
    let lines = "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2, 10.0.0.3\r\n\
                 X-Forwarded-Host: evil.test\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\n\
                 X-Forwarded-Prefix: /admin\r\nX-Forwarded: x\r\nForwarded: for=10.0.0.1\r\n\
                 X-Real-IP: 10.0.0.1\r\nX-Forwarded-Ssl: on\r\nX-Forwarded-Protocol: https\r\n\
                 X-Forwarded-Scheme: https\r\nX-Url-Scheme: https\r\nFront-End-Https: on\r\n\
                 X-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\nProxy: http://evil.test\r\n\
                 X-Client-Cert-Subject: root\r\nX-Accel-Redirect: /x\r\nX-Portcullis-User: root\r\n\
                 X-Request-Id: mine\r\nX.User: root\r\nX-User: root\r\nx-USER: root\r\n\
                 Script-Name: /x\r\nRemote-User: root\r\nPath-Info: /x\r\n";
    site.ask(format!("GET /open/x HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")).expect(200);
    let received = site.only();
    let port = site.gateway.address("plain").port().to_string();
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "localhost"),
        ("host", "localhost"),
    ] {
        assert_eq!(received.headers(name), [value], "{name}");
    }
    let known = [
        "host",
        "x-forwarded-for",
        "x-real-ip",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "via",
        "x-request-id",
    ];
    for line in received.head.trim_end().split("\r\n").skip(1) {
        let name = line.split(':').next().unwrap().to_ascii_lowercase();
        assert!(known.contains(&name.as_str()), "{line}");
        assert!(!line.contains("10.0.0") && !line.contains("mine"), "{line}");
    }
    assert_ne!(received.headers("x-forwarded-port"), ["1"], "{port}");
}

#[test]
fn h12_upgrades_are_not_passed_on() {
    let site = Site::start();
    let hidden = "GET /open/hidden HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for lines in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
        "Upgrade: h2c\r\n",
    ] {
        let site = Site::start();
        let mut client = site.client();
        // What is sent before an answer stays HTTP, whatever was asked for.
        client.send(format!("GET /open/x HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n{hidden}"));
        client.response().expect(200);
        client.response().expect(200);
        client.expect_end();
        assert_eq!(site.targets(), ["/open/x", "/open/hidden"]);
        let received = site.upstream.received();
        for name in ["upgrade", "http2-settings", "connection"] {
            assert_eq!(received[0].headers(name), [""; 0], "{lines:?}");
        }
    }
    // The token comes first.
    let lines = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    site.refuses(
        format!("GET /x HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"),
        401,
        "token_missing",
    );
    // HTTP/2 without its agreement.
    let mut client = site.client();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    client.response().expect(400);
    client.expect_end();
}

#[test]
fn h15_nothing_is_invited_before_it_is_allowed() {
    let site = Site::start();
    let ask = |target: &str, lines: &str| {
        let mut client = site.client();
        client.send(format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"));
        // Whatever comes first, `100 Continue` included.
        (client.head(), client)
    };
    let expects = "Expect: 100-continue\r\nContent-Length: 5\r\n";
    assert_eq!(ask("/private", expects).0.status, 401);
    assert_eq!(ask("//open/x", expects).0.status, 400);
    let large = "Expect: 100-continue\r\nContent-Length: 99999999999\r\n";
    assert_eq!(ask("/open/x", large).0.status, 413);
    let bad = format!("{expects}Authorization: Bearer a.b.c\r\n");
    assert_eq!(ask("/private", &bad).0.status, 401);
    assert_eq!(site.upstream.count(), 0);

    for target in ["/open/x", "/private"] {
        let (head, mut client) = ask(target, &format!("{expects}{}", bearer()));
        assert_eq!(head.status, 100);
        client.send("hello");
        client.response().expect(200);
        let received = site.upstream.received().pop().unwrap();
        assert_eq!(received.headers("expect"), [""; 0]);
        assert_eq!(received.body, b"hello");
    }
}

#[test]
fn h15_other_expectations_fail() {
    let site = Site::start();
    for lines in [
        "Expect: 200-ok\r\n",
        "Expect:\r\n",
        "Expect: 100-continue, x\r\n",
        "Expect: x=y\r\n",
        "Expect: 100-continue\r\nExpect: 100-continue\r\n",
    ] {
        let request = open(&format!("{lines}Content-Length: 0\r\n"), "");
        site.refuses(request, 417, "expectation_failed");
    }
    site.ask(open("Expect: 100-CONTINUE\r\nContent-Length: 5\r\n", "hello")).expect(200);
}

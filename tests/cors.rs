//! Preflights, and answers that other sites' pages may read: who is asked, who is told, and that
//! nothing gets past a token by the way it asks.

use std::io::Write;

use crate::support::Response;
use crate::support::certificate::Certificate;
use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::h2::{H2, Pieces};
use crate::support::token::{ISSUER, SECRET, Signer, claims};
use crate::support::upstream::{Then, Upstream};

const APP: &str = "https://app.test";

struct Site {
    gateway: Gateway,
    upstream: Upstream,
    certificate: Certificate,
}

impl Site {
    fn start() -> Self {
        let setup = Setup::new();
        let certificate = Certificate::make(setup.folder());
        std::fs::create_dir(setup.folder().join("files")).unwrap();
        std::fs::write(setup.folder().join("files/a.txt"), "a file").unwrap();
        // It would open itself to everybody.
        let upstream = Upstream::start(|_, stream| {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nVary: Accept\r\n\
                 Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Origin: https://evil.test\r\n\
                 Access-Control-Allow-Credentials: true\r\nAccess-Control-Expose-Headers: X-Inside\r\n\
                 Access-Control-Allow-Private-Network: true\r\n\r\nok"
            )?;
            Ok(Then::Keep)
        });
        let gateway = setup.variable("KEY", SECRET).start(&configuration(&upstream.url()));
        Self { gateway, upstream, certificate }
    }

    fn ask(&self, method: &str, target: &str, lines: &str) -> Response {
        Client::tcp(self.gateway.address("plain")).ask(method, target, lines)
    }

    fn preflight(&self, target: &str, origin: &str, method: &str) -> Response {
        let lines = format!("Origin: {origin}\r\nAccess-Control-Request-Method: {method}\r\n");
        self.ask("OPTIONS", target, &lines)
    }
}

fn configuration(upstream: &str) -> String {
    let gone = "http://127.0.0.1:1";
    format!(
        r#"
        [listener.plain]
        address = "127.0.0.1:0"
        [listener.tls]
        address = "127.0.0.1:0"
        [listener.tls.tls]
        certificates = [{{ cert = "server.crt", key = "server.key" }}]
        [issuer.main]
        url = "{ISSUER}"
        audience = ["api"]
        secret = "${{KEY}}"
        algorithms = ["HS256"]
        token_from = ["header:Authorization", "cookie:session"]
        [[route]]
        path = "/api/*"
        methods = ["GET", "POST", "DELETE"]
        upstream = "{upstream}"
        require = {{ scope = "orders:read" }}
        max_body = "4B"
        cors = {{ origins = ["{APP}"], credentials = true, expose_headers = ["X-Total"] }}
        [[route]]
        path = "/api/*"
        methods = ["PATCH"]
        upstream = "{upstream}"
        cors = {{ origins = ["https://editor.test"], methods = ["PATCH"], headers = ["*"], max_age = "1m" }}
        [[route]]
        path = "/open/*"
        upstream = "{upstream}"
        public = true
        cors = {{ origins = ["*"] }}
        [[route]]
        path = "/gone/*"
        upstream = "{gone}"
        public = true
        cors = {{ origins = ["{APP}"] }}
        [[route]]
        path = "/files/*"
        static = "files"
        public = true
        cors = {{ origins = ["{APP}"] }}
        [[route]]
        path = "/own/*"
        upstream = "{upstream}"
        "#
    )
}

fn token(scope: &str) -> String {
    let mut claims = claims(ISSUER, "ada");
    claims["scope"] = scope.into();
    Signer::hmac(SECRET.as_bytes()).sign(&claims)
}

fn allowed(response: &Response) -> Option<&str> {
    response.header("access-control-allow-origin")
}

/// Of several lines one list.
fn vary(response: &Response) -> String {
    let lines = response.headers.iter().filter(|(name, _)| name == "vary");
    lines.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(", ")
}

#[test]
fn j30_a_preflight_needs_no_token_and_reaches_nobody() {
    let site = Site::start();
    for method in ["GET", "POST", "DELETE", "HEAD"] {
        let answer = site.preflight("/api/x", APP, method).expect(204);
        assert_eq!(allowed(&answer), Some(APP));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.header("access-control-allow-methods"), Some(method));
        assert_eq!(
            answer.header("access-control-allow-headers"),
            Some("Authorization, Content-Type, X-CSRFToken, X-Requested-With")
        );
        assert_eq!(answer.header("access-control-max-age"), Some("600"));
        let depends = "Access-Control-Request-Method, Access-Control-Request-Headers, Origin";
        assert_eq!(vary(&answer), depends);
        assert!(answer.body.is_empty());
    }
    // Also with a token, good or not: it is not looked at.
    let lines =
        format!("Origin: {APP}\r\nAccess-Control-Request-Method: GET\r\nAuthorization: x\r\n");
    site.ask("OPTIONS", "/api/x", &lines).expect(204);
    // The route is that of the method asked for, and each answers for itself.
    let editor = site.preflight("/api/x", "https://editor.test", "PATCH").expect(204);
    assert_eq!(allowed(&editor), Some("https://editor.test"));
    assert_eq!(editor.header("access-control-max-age"), Some("60"));
    assert_eq!(editor.header("access-control-allow-headers"), None, "none was asked for");
    assert_eq!(editor.header("access-control-allow-credentials"), None);
    assert_eq!(allowed(&site.preflight("/api/x", "https://editor.test", "GET").expect(204)), None);
    assert_eq!(allowed(&site.preflight("/api/x", APP, "PATCH").expect(204)), None);
    let lines = "Origin: https://editor.test\r\nAccess-Control-Request-Method: PATCH\r\n\
                 Access-Control-Request-Headers: x-a, x-b\r\n";
    let editor = site.ask("OPTIONS", "/api/x", lines).expect(204);
    assert_eq!(editor.header("access-control-allow-headers"), Some("x-a, x-b"));
    assert_eq!(site.upstream.count(), 0);
    let records = site.gateway.drain();
    assert!(records.iter().all(|record| record["auth"]["result"] == "skipped"));
    assert!(records.iter().all(|record| record["route"].as_str().unwrap().starts_with("/api/*")));
}

#[test]
fn j30_what_only_looks_like_a_preflight_is_an_ordinary_request() {
    let site = Site::start();
    let asks = "Access-Control-Request-Method: GET\r\n";
    let origin = format!("Origin: {APP}\r\n");
    for (method, target, lines) in [
        // No method, no page, two of either.
        ("OPTIONS", "/own/x", String::new()),
        ("OPTIONS", "/own/x", origin.clone()),
        ("OPTIONS", "/own/x", asks.to_owned()),
        // A route that answers none.
        ("OPTIONS", "/own/x", format!("{origin}{asks}")),
        // Another method with a preflight's headers.
        ("GET", "/api/x", format!("{origin}{asks}")),
        ("HEAD", "/api/x", format!("{origin}{asks}")),
        ("POST", "/api/x", format!("{origin}{asks}")),
        ("GET", "/api/x", format!("{origin}X-HTTP-Method-Override: OPTIONS\r\n")),
        ("GET", "/api/x", "User-Agent: kube-probe/1.30\r\n".to_owned()),
        ("GET", "/api/x", "User-Agent: GoogleHC/1.0\r\n".to_owned()),
        ("HEAD", "/api/x", String::new()),
    ] {
        let response = site.ask(method, target, &lines);
        assert_eq!(response.status, 401, "{method} {target} {lines}");
    }
    for lines in [
        format!("{origin}{origin}{asks}"),
        format!("{origin}{asks}{asks}"),
        format!("{origin}Access-Control-Request-Method: a b\r\n"),
        format!("{origin}Access-Control-Request-Method: TRACE\r\n"),
        format!("{origin}Access-Control-Request-Method: CONNECT\r\n"),
        format!("{origin}Access-Control-Request-Method: PUT\r\n"),
    ] {
        // OPTIONS is no method of any of the path's routes.
        assert_eq!(site.ask("OPTIONS", "/api/x", &lines).status, 405, "{lines}");
    }
    assert_eq!(site.upstream.count(), 0);
}

#[test]
fn j30_only_the_pages_named_may_read() {
    let site = Site::start();
    let bearer = format!("Authorization: Bearer {}\r\n", token("orders:read"));
    let own = site.ask("GET", "/api/x", &format!("Origin: {APP}\r\n{bearer}")).expect(200);
    assert_eq!(allowed(&own), Some(APP));
    assert_eq!(own.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(
        own.header("access-control-expose-headers"),
        Some("X-Total, WWW-Authenticate, Retry-After, X-Request-Id")
    );
    assert_eq!(vary(&own), "Accept, Origin");
    for origin in [
        "null",
        "https://evil.test",
        "https://app.test.evil.test",
        "https://evil-app.test",
        "http://app.test",
        "https://app.test:8443",
        "https://APP.test",
        "https://app.test/",
        "https://app.test, https://evil.test",
        "*",
    ] {
        let response = site.ask("GET", "/api/x", &format!("Origin: {origin}\r\n{bearer}"));
        assert_eq!(vary(&response), "Accept, Origin", "{origin}");
        is_closed(&response);
        let preflight = site.preflight("/api/x", origin, "GET").expect(204);
        is_closed(&preflight);
    }
    is_closed(&site.ask("GET", "/api/x", &bearer).expect(200));
    // Any page may read what is open to all, and none of them with cookies.
    let open = site.ask("GET", "/open/x", "Origin: https://evil.test\r\n").expect(200);
    assert_eq!(allowed(&open), Some("*"));
    assert_eq!(open.header("access-control-allow-credentials"), None);
    assert_eq!(vary(&open), "Accept");
    let file = site.ask("GET", "/files/a.txt", &format!("Origin: {APP}\r\n")).expect(200);
    assert_eq!((allowed(&file), file.text()), (Some(APP), "a file"));
    is_closed(&site.ask("GET", "/files/a.txt", "Origin: null\r\n").expect(200));
    // Without `cors` the application's own words pass.
    let own = site.ask("GET", "/own/x", &bearer).expect(200);
    assert!(own.headers.iter().any(|(name, _)| name == "access-control-allow-origin"));
}

/// No page is told anything.
#[track_caller]
fn is_closed(response: &Response) {
    let told = response.headers.iter().find(|(name, _)| name.starts_with("access-control-"));
    assert_eq!(told, None);
}

#[test]
fn j30_refusals_can_be_read_by_the_pages_named() {
    let site = Site::start();
    let refused = |method: &str, target: &str, lines: &str, status: u16| {
        let theirs = site.ask(method, target, &format!("Origin: {APP}\r\n{lines}")).expect(status);
        assert_eq!(allowed(&theirs), Some(APP), "{target} {lines}");
        let exposed = theirs.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("WWW-Authenticate") && exposed.contains("Retry-After"));
        assert_eq!(vary(&theirs), "Origin");
        let others = site.ask(method, target, &format!("Origin: https://evil.test\r\n{lines}"));
        assert_eq!(others.status, status);
        is_closed(&others);
        theirs
    };
    let missing = refused("GET", "/api/x", "", 401);
    assert!(missing.header("www-authenticate").is_some());
    refused("GET", "/api/x", "Authorization: Bearer a.b.c\r\n", 401);
    let poor = format!("Authorization: Bearer {}\r\n", token("nothing"));
    let scope = refused("GET", "/api/x", &poor, 403);
    assert!(scope.header("www-authenticate").unwrap().contains("scope=\"orders:read\""));
    refused("GET", "/api/x", &format!("{poor}{poor}"), 400);
    refused("POST", "/api/x", "Content-Length: 5\r\n", 413);
    refused("GET", "/gone/x", "", 502);
    refused("GET", "/files/nothing", "", 404);
    assert_eq!(site.upstream.count(), 0);
}

#[test]
fn j30_a_cookie_of_a_page_named_with_credentials_counts() {
    let site = Site::start();
    let session = format!("Cookie: session={}\r\nContent-Length: 0\r\n", token("orders:read"));
    let post =
        |target: &str, lines: &str| site.ask("POST", target, &format!("{session}{lines}")).status;
    assert_eq!(post("/api/x", &format!("Origin: {APP}\r\nSec-Fetch-Site: same-site\r\n")), 200);
    for lines in [
        "Origin: https://evil.test\r\nSec-Fetch-Site: same-site\r\n".to_owned(),
        "Sec-Fetch-Site: same-site\r\n".to_owned(),
        "Origin: null\r\n".to_owned(),
        format!("Origin: {APP}\r\nOrigin: {APP}\r\n"),
    ] {
        assert_eq!(post("/api/x", &lines), 403, "{lines}");
    }
    // Named elsewhere, or named without credentials, is not named here.
    assert_eq!(post("/own/x", &format!("Origin: {APP}\r\n")), 403);
    let patch = format!("{session}Origin: https://editor.test\r\n");
    assert_eq!(site.ask("PATCH", "/api/x", &patch).status, 403);
}

#[test]
fn j30_over_http2_it_is_the_same() {
    let site = Site::start();
    let client = H2::tls(site.gateway.address("tls"), &site.certificate.client("h2"));
    let ask = |method: &str, lines: &[(&str, &str)]| {
        let mut request = hyper::Request::builder().method(method).uri("https://localhost/api/x");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        client.send(request.body(Pieces::whole("")).unwrap()).unwrap()
    };
    let asks = ("access-control-request-method", "DELETE");
    let answer = ask("OPTIONS", &[("origin", APP), asks]).expect(204);
    assert_eq!(allowed(&answer), Some(APP));
    let refused = ask("DELETE", &[("origin", APP)]).expect(401);
    assert_eq!(allowed(&refused), Some(APP));
    is_closed(&ask("OPTIONS", &[("origin", "https://evil.test"), asks]).expect(204));
    assert_eq!(site.upstream.count(), 0);
}

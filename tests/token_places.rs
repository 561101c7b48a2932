//! Tokens elsewhere than in Authorization, end to end: what reaches the application, what is logged,
//! and what is refused.

use serde_json::Value;

use crate::support::Response;
use crate::support::certificate::Certificate;
use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::h2::{H2, Pieces};
use crate::support::token::{ISSUER, SECRET, Signer, claims, tampered};
use crate::support::upstream::{Received, Upstream};

/// A gateway with a route for each way to send a token on.
struct Site {
    gateway: Gateway,
    upstream: Upstream,
    certificate: Certificate,
}

impl Site {
    fn start() -> Self {
        let setup = Setup::new();
        let certificate = Certificate::make(setup.folder());
        let upstream = Upstream::saying("reached");
        let gateway = setup.variable("KEY", SECRET).start(&configuration(&upstream.url()));
        Self { gateway, upstream, certificate }
    }

    fn client(&self) -> Client {
        Client::tcp(self.gateway.address("plain"))
    }

    /// Sends a request of this method and target with these lines.
    fn ask(&self, method: &str, target: &str, lines: &str) -> Response {
        self.client().ask(method, target, lines)
    }

    /// What the application got of a request that must arrive.
    #[track_caller]
    fn sent_on(&self, method: &str, target: &str, lines: &str) -> Received {
        let response = self.ask(method, target, lines);
        assert_eq!(response.status, 200, "{method} {target} {lines}: {}", response.text());
        self.upstream.received().pop().unwrap()
    }

    #[track_caller]
    fn refuses(&self, target: &str, lines: &str, status: u16, reason: &str) -> Response {
        self.refuses_method("GET", target, lines, status, reason)
    }

    /// Panics unless the request is refused so and reaches nobody.
    #[track_caller]
    fn refuses_method(
        &self,
        method: &str,
        target: &str,
        lines: &str,
        status: u16,
        reason: &str,
    ) -> Response {
        let before = self.upstream.count();
        let response = self.ask(method, target, lines).expect(status);
        assert_eq!(response.json()["code"], reason, "{method} {target} {lines}");
        assert_eq!(self.upstream.count(), before, "went on: {method} {target} {lines}");
        response
    }
}

fn configuration(upstream: &str) -> String {
    let places = r#"["header:Authorization", "header:X-Token", "cookie:session", "query:t",
        "websocket_protocol"]"#;
    let issuer = |name: &str, more: &str| {
        format!(
            r#"
            [issuer.{name}]
            url = "{ISSUER}"
            audience = ["api"]
            secret = "${{KEY}}"
            algorithms = ["HS256"]
            identity_headers = {{ "X-User" = "sub" }}
            {more}
            [[route]]
            path = "/{name}/*"
            upstream = "{upstream}"
            issuers = ["{name}"]
            "#
        )
    };
    let from = |more: &str| format!("token_from = {places}\n{more}");
    [
        r#"
        [listener.plain]
        address = "127.0.0.1:0"
        [listener.tls]
        address = "127.0.0.1:0"
        [listener.tls.tls]
        certificates = [{ cert = "server.crt", key = "server.key" }]
        "#
        .to_owned(),
        issuer("keep", &from("")),
        issuer("drop", &from("token_upstream = \"drop\"")),
        issuer("bearer", &from("token_upstream = \"bearer\"")),
        issuer("header", ""),
        issuer("cookie", "token_from = [\"cookie:session\"]"),
        format!(
            r#"
            [[route]]
            path = "/anonymous/*"
            upstream = "{upstream}"
            issuers = ["keep"]
            anonymous = true
            [[route]]
            path = "/public/*"
            upstream = "{upstream}"
            public = true
            "#
        ),
    ]
    .concat()
}

fn token() -> String {
    Signer::hmac(SECRET.as_bytes()).sign(&claims(ISSUER, "ada"))
}

/// One token in each place: target, lines.
fn carried(route: &str, token: &str) -> Vec<(String, String)> {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    vec![
        (format!("/{route}/x?a=1"), format!("Authorization: bearer {token}\r\n")),
        (format!("/{route}/x?a=1"), format!("X-Token: {token}\r\n")),
        (format!("/{route}/x?a=1"), format!("Cookie: a=1; session={token}; b=2\r\n")),
        (
            format!("/{route}/x?a=1&t={token}"),
            format!("Referer: https://localhost/p?t={token}\r\n"),
        ),
        (
            format!("/{route}/x?a=1"),
            format!("{upgrade}Sec-WebSocket-Protocol: app.v1, bearer, {token}\r\n"),
        ),
    ]
}

#[test]
fn j27_a_token_from_any_named_place_is_taken_out_as_the_issuer_says() {
    let site = Site::start();
    let token = token();
    for route in ["keep", "drop", "bearer"] {
        for (place, (target, lines)) in carried(route, &token).into_iter().enumerate() {
            let received = site.sent_on("GET", &target, &lines);
            let is_header = place < 2;
            let whole = format!("Bearer {token}");
            let authorization = match (route, place) {
                ("bearer", _) | ("keep", 0) => vec![whole.as_str()],
                _ => vec![],
            };
            assert_eq!(received.headers("authorization"), authorization, "{route} {lines}");
            let own = if (route, place) == ("keep", 1) { vec![token.as_str()] } else { vec![] };
            assert_eq!(received.headers("x-token"), own, "{route} {lines}");
            let cookies = if place == 2 { vec!["a=1; b=2"] } else { vec![] };
            assert_eq!(received.headers("cookie"), cookies, "{route} {lines}");
            assert_eq!(received.target(), format!("/{route}/x?a=1"), "{route} {lines}");
            let referers = if place == 3 { vec!["https://localhost/p"] } else { vec![] };
            assert_eq!(received.headers("referer"), referers, "{route} {lines}");
            let protocols = if place == 4 { vec!["app.v1"] } else { vec![] };
            assert_eq!(received.headers("sec-websocket-protocol"), protocols, "{route} {lines}");
            assert_eq!(received.headers("x-user"), ["ada"], "{route} {lines}");
            let times = received.head.matches(&token).count();
            let kept = usize::from(route == "bearer" || (route == "keep" && is_header));
            assert_eq!(times, kept, "{route} {}", received.head);
        }
    }
    for (target, lines) in carried("keep", &tampered(&token)) {
        site.refuses(&target, &lines, 401, "bad_signature");
    }
}

#[test]
fn j27_routes_look_only_where_their_issuers_say() {
    let site = Site::start();
    let token = token();
    let outcomes = |route: &str| -> Vec<u16> {
        let requests = carried(route, &token).into_iter();
        requests.map(|(target, lines)| site.ask("GET", &target, &lines).status).collect()
    };
    assert_eq!(outcomes("header"), [200, 401, 401, 401, 401]);
    assert_eq!(outcomes("cookie"), [401, 401, 200, 401, 401]);
    // What stands elsewhere is the application's affair, and goes on as it is.
    let both = format!("Cookie: session={token}\r\nAuthorization: Bearer theirs\r\n");
    let received = site.sent_on("GET", "/cookie/x", &both);
    assert_eq!(received.headers("authorization"), ["Bearer theirs"]);
    assert_eq!(received.headers("cookie"), [""; 0]);
    // A public route reads and removes nothing.
    for (target, lines) in carried("public", &token) {
        let received = site.sent_on("GET", &target, &lines);
        assert!(received.head.contains(&token), "{}", received.head);
        assert_eq!(received.headers("x-user"), [""; 0]);
    }
}

#[test]
fn j27_two_credentials_are_400_even_where_one_is_cached() {
    let site = Site::start();
    let token = token();
    let known = format!("Authorization: Bearer {token}\r\n");
    site.sent_on("GET", "/keep/x", &known);
    site.sent_on("GET", "/keep/x", &known);
    for (target, lines) in [
        ("/keep/x", format!("{known}{known}")),
        ("/keep/x", format!("{known}X-Token: {token}\r\n")),
        ("/keep/x", format!("{known}Cookie: session={token}\r\n")),
        ("/keep/x", format!("{known}Cookie: session=broken\r\n")),
        ("/keep/x", format!("{known}Cookie: SESSION=broken\r\n")),
        ("/keep/x?t=broken", known.clone()),
        ("/keep/x?%74=broken", known.clone()),
        ("/keep/x?t=a&t=b", String::new()),
        ("/keep/x", format!("Cookie: session={token}; session={token}\r\n")),
        ("/keep/x", format!("Cookie: session={token}\r\nCookie: session={token}\r\n")),
        ("/keep/x", format!("Cookie: session={token}; x=1,session=evil\r\n")),
        ("/keep/x", format!("Cookie: session={token}\r\nAuthorization: Basic eDp5\r\n")),
        ("/keep/x", format!("X-Token: {token}\r\nX-Token: {token}\r\n")),
        ("/keep/x", format!("X-Token: {token}\r\nX.Token: {token}\r\n")),
        ("/anonymous/x", format!("{known}Cookie: session=broken\r\n")),
    ] {
        site.refuses(target, &lines, 400, "duplicate_credentials");
    }
    // An empty cookie is one that was cleared.
    site.sent_on("GET", "/keep/x", &format!("{known}Cookie: session=\r\n"));
}

#[test]
fn j27_a_cookie_changes_nothing_for_pages_of_other_origins() {
    let site = Site::start();
    let cookie = format!("Cookie: session={}\r\nContent-Length: 0\r\n", token());
    let post = |lines: &str| site.ask("POST", "/keep/x", &format!("{cookie}{lines}")).status;
    assert_eq!(post("Origin: http://localhost\r\n"), 200);
    assert_eq!(post("Sec-Fetch-Site: same-origin\r\n"), 200);
    for lines in [
        "",
        "Origin: https://localhost\r\n",
        "Origin: http://localhost:81\r\n",
        "Origin: http://evil.test\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Sec-Fetch-Site: none\r\n",
        "Sec-Fetch-Site: cross-site\r\nOrigin: http://localhost\r\n",
        "Origin: http://localhost\r\nOrigin: http://evil.test\r\n",
        "Referer: http://localhost/\r\n",
    ] {
        let lines = format!("{cookie}{lines}");
        let refused = site.refuses_method("POST", "/keep/x", &lines, 403, "forbidden");
        assert_eq!(refused.header("www-authenticate"), None);
    }
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let cookie = format!("Cookie: session={}\r\n", token());
    site.refuses("/keep/x", &format!("{cookie}{upgrade}"), 403, "forbidden");
    let hijack = format!("{cookie}{upgrade}Origin: http://evil.test\r\n");
    site.refuses("/keep/x", &hijack, 403, "forbidden");
    site.sent_on("GET", "/keep/x", &format!("{cookie}{upgrade}Origin: http://localhost\r\n"));
    // A link from elsewhere may lead here.
    site.sent_on("GET", "/keep/x", &format!("{cookie}Sec-Fetch-Site: cross-site\r\n"));
    let records = site.gateway.drain();
    let details = records.iter().filter(|record| record["detail"] == "cross_origin_cookie");
    assert_eq!(details.count(), 12);
}

#[test]
fn j27_over_http2_cookies_come_in_pieces_and_count_as_one_header() {
    let site = Site::start();
    let client = H2::tls(site.gateway.address("tls"), &site.certificate.client("h2"));
    let ask = |method: &str, cookies: &[&str], origin: Option<&str>| {
        let mut request = hyper::Request::builder().method(method).uri("https://localhost/keep/x");
        for cookie in cookies {
            request = request.header("cookie", *cookie);
        }
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        client.send(request.body(Pieces::whole("")).unwrap()).unwrap().status
    };
    let session = format!("session={}", token());
    assert_eq!(ask("GET", &["a=1", &session, "b=2"], None), 200);
    let received = site.upstream.received().pop().unwrap();
    assert_eq!(received.headers("cookie"), ["a=1; b=2"]);
    assert_eq!(received.headers("x-user"), ["ada"]);
    assert_eq!(ask("GET", &[&session, "a=1", &session], None), 400);
    assert_eq!(ask("DELETE", &[&session], None), 403);
    assert_eq!(ask("DELETE", &[&session], Some("http://localhost")), 403);
    assert_eq!(ask("DELETE", &[&session], Some("https://localhost")), 200);
}

#[test]
fn j27_no_token_reaches_the_log() {
    let site = Site::start();
    // A header with a space in its JSON: it does not begin as tokens are known to.
    let signer = Signer::hmac(SECRET.as_bytes());
    let header = br#" {"alg":"HS256"}"#;
    let odd = signer.sign_bytes(header, claims(ISSUER, "ada").to_string().as_bytes());
    assert!(!odd.starts_with("eyJ"));
    for token in [token(), tampered(&token()), odd.clone(), tampered(&odd)] {
        for route in ["keep", "bearer", "anonymous", "cookie", "public"] {
            for (target, lines) in carried(route, &token) {
                site.ask("GET", &target, &lines);
            }
            site.ask("GET", &format!("/{route}/x?%54={token}"), "");
            site.ask("GET", &format!("/{route}/x"), &format!("Referer: /p?a&t={token}#x\r\n"));
        }
        site.ask("GET", &format!("/nowhere?t={token}"), "");
    }
    let records = site.gateway.drain();
    assert_eq!(records.len(), 4 * (5 * 7 + 1));
    let text = Value::Array(records).to_string();
    for part in [token(), odd].iter().flat_map(|token| token.split('.').map(str::to_owned)) {
        // The second part differs by the time of signing; its beginning does not.
        let part = &part[..part.len().min(30)];
        assert!(!text.contains(part), "{part} in {text}");
    }
    assert!(text.contains("t=REDACTED"), "{text}");
}

#[test]
fn anonymous_passes_without_identity_and_a_bad_token_does_not() {
    let site = Site::start();
    let token = token();
    let received = site.sent_on("GET", "/anonymous/x", "X-User: root\r\n");
    assert_eq!(received.headers("x-user"), [""; 0]);
    for (target, lines) in carried("anonymous", &token) {
        let received = site.sent_on("GET", &target, &lines);
        assert_eq!(received.headers("x-user"), ["ada"], "{lines}");
    }
    for (target, lines) in carried("anonymous", &tampered(&token)) {
        site.refuses(&target, &lines, 401, "bad_signature");
    }
    for lines in ["Authorization: Bearer\r\n", "Authorization: Bearer a b\r\n", "X-Token:\r\n"] {
        let refused = site.ask("GET", "/anonymous/x", lines).expect(401);
        assert!(refused.header("www-authenticate").is_some(), "{lines}");
    }
    let received = site.sent_on("GET", "/anonymous/x", "Authorization: Basic eDp5\r\n");
    assert_eq!(received.headers("authorization"), ["Basic eDp5"]);
    assert_eq!(received.headers("x-user"), [""; 0]);
    let sample = "portcullis_auth_requests_total{issuer=\"none\",result=\"anonymous\",\
                  route=\"/anonymous/*\"}";
    crate::support::eventually("two anonymous", || {
        (site.gateway.metric(sample) == 2.0).then_some(())
    });
    let records = site.gateway.drain();
    let anonymous: Vec<_> =
        records.iter().filter(|record| record["auth"]["result"] == "anonymous").collect();
    assert_eq!(anonymous.len(), 2);
    assert!(anonymous.iter().all(|record| record["auth"]["sub"].is_null()));
}

#[test]
fn j27_no_spelling_of_a_bearer_token_passes_for_no_token() {
    let site = Site::start();
    let client = H2::tls(site.gateway.address("tls"), &site.certificate.client("h2"));
    for value in [
        // HTTP/2 keeps the spaces before a value; the next hop's HTTP/1.1 reader does not.
        " Bearer e30.e30.AA",
        "\tBearer e30.e30.AA",
        "\u{a0}Bearer e30.e30.AA",
        // Applications that cut at any white space, or behind the word.
        "Bearer\u{a0}e30.e30.AA",
        "Bearer\te30.e30.AA",
        "bearer:e30.e30.AA",
        "Bearere30.e30.AA",
        // Flask-JWT-Extended looks for its scheme in a list.
        "Basic eDp5, Bearer e30.e30.AA",
        "Basic eDp5,bearer e30.e30.AA",
    ] {
        let before = site.upstream.count();
        let written: Vec<u8> = value.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        let request = hyper::Request::get("https://localhost/anonymous/x")
            .header("authorization", hyper::header::HeaderValue::from_bytes(&written).unwrap());
        let over_h2 = client.send(request.body(Pieces::whole("")).unwrap()).unwrap();
        assert!(matches!(over_h2.status, 400 | 401), "{value:?}: {}", over_h2.status);
        let mut line = b"GET /anonymous/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: ".to_vec();
        line.extend_from_slice(&written);
        line.extend_from_slice(b"\r\n\r\n");
        let mut plain = site.client();
        plain.send(line);
        let over_h1 = plain.response();
        assert!(matches!(over_h1.status, 400 | 401), "{value:?}: {}", over_h1.status);
        assert_eq!(site.upstream.count(), before, "went on: {value:?}");
    }
    for other in ["Basic eDp5", "Digest username=\"bearer\", nc=00000001", "Negotiate YII="] {
        let received = site.sent_on("GET", "/anonymous/x", &format!("Authorization: {other}\r\n"));
        assert_eq!(received.headers("authorization"), [other]);
    }
}

//! Protected resource metadata (RFC 9728): which paths have a document, what it says, and that it
//! says nothing else.

use serde_json::{Value, json};

use crate::support::Response;
use crate::support::certificate::Certificate;
use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::h2::{H2, Pieces};
use crate::support::token::SECRET;
use crate::support::upstream::Upstream;

const AT: &str = "/.well-known/oauth-protected-resource";

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

    fn ask(&self, method: &str, target: &str, lines: &str) -> Response {
        self.ask_host(method, target, "localhost", lines)
    }

    fn ask_host(&self, method: &str, target: &str, host: &str, lines: &str) -> Response {
        let mut client = Client::tcp(self.gateway.address("plain"));
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n"));
        client.try_response(method).unwrap()
    }
}

fn configuration(upstream: &str) -> String {
    let issuer = |name: &str, more: &str| {
        format!(
            "[issuer.{name}]\naudience = [\"secret-audience\"]\nsecret = \"${{KEY}}\"\n{more}\n"
        )
    };
    let route = |path: &str, more: &str| {
        format!("[[route]]\npath = \"{path}\"\nupstream = \"{upstream}\"\n{more}\n")
    };
    [
        r#"
        [listener.plain]
        address = "127.0.0.1:0"
        [listener.tls]
        address = "127.0.0.1:0"
        public_port = 8443
        [listener.tls.tls]
        certificates = [{ cert = "server.crt", key = "server.key" }]
        "#
        .to_owned(),
        issuer("main", "url = \"https://id.example.com/\""),
        issuer(
            "other",
            "url = \"https://other.example.com/\"\n\
             token_from = [\"cookie:session\", \"query:access_token\"]",
        ),
        "[issuer.django]\npreset = \"simplejwt\"\nsecret = \"${KEY}\"\n".to_owned(),
        "[issuer.named]\niss = \"any\"\naudience = \"any\"\nsecret = \"${KEY}\"\n".to_owned(),
        route(
            "/api/*",
            "issuers = [\"main\"]\nrequire = [{ scope = { any = [\"b\", \"a\"], none = [\"z\"] }, \
             role = \"hidden-role\" }, { scope = { all = [\"c\"] } }]",
        ),
        route("/both/*", "issuers = [\"main\", \"other\"]"),
        route("/cookies/*", "issuers = [\"other\"]"),
        route("/django/*", "issuers = [\"django\"]"),
        route("/any/*", "issuers = [\"named\"]"),
        route("/maybe/*", "issuers = [\"main\"]\nanonymous = true"),
        route("/split", "methods = [\"GET\"]\npublic = true"),
        route("/split", "name = \"split-post\"\nmethods = [\"POST\"]\nissuers = [\"main\"]"),
        route("/tenant/*", "hosts = [\"tenant.test\"]\nissuers = [\"main\"]"),
        route(&format!("{AT}/own/*"), "public = true"),
        route("/own/*", "issuers = [\"main\"]"),
        route("/open/*", "public = true"),
        "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n".to_owned(),
    ]
    .concat()
}

#[test]
fn each_protected_path_has_its_document() {
    let site = Site::start();
    let document = |target: &str| site.ask("GET", target, "").expect(200).json();
    let main = json!(["https://id.example.com/"]);
    assert_eq!(
        document(&format!("{AT}/api/orders/7")),
        json!({
            "resource": "http://localhost/api/orders/7",
            "authorization_servers": main,
            "bearer_methods_supported": ["header"],
            "scopes_supported": ["a", "b", "c"],
        })
    );
    assert_eq!(
        document(&format!("{AT}/both/x?a=1")),
        json!({
            "resource": "http://localhost/both/x",
            "authorization_servers": ["https://id.example.com/", "https://other.example.com/"],
            "bearer_methods_supported": ["header", "query"],
        })
    );
    assert_eq!(document(&format!("{AT}/cookies/x"))["bearer_methods_supported"], json!(["query"]));
    assert_eq!(document(&format!("{AT}/maybe/x"))["authorization_servers"], main);
    // Of several routes of one path, the one that asks for a token.
    assert_eq!(document(&format!("{AT}/split"))["resource"], "http://localhost/split");
    let response =
        site.ask("GET", &format!("{AT}/api/x"), "Origin: https://a.test\r\n").expect(200);
    assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("cache-control"), Some("max-age=300"));
    let head = site.ask("HEAD", &format!("{AT}/api/x"), "").expect(200);
    assert_eq!(head.header("content-length"), Some(response.body.len().to_string().as_str()));
    assert_eq!(site.upstream.count(), 0);
}

#[test]
fn a_resource_is_named_as_its_client_names_it() {
    let site = Site::start();
    let named = |host: &str, path: &str| {
        let response = site.ask_host("GET", &format!("{AT}{path}"), host, "").expect(200);
        response.json()["resource"].as_str().unwrap().to_owned()
    };
    assert_eq!(named("LOCALHOST:80", "/api/x"), "http://localhost/api/x");
    assert_eq!(named("localhost:8080", "/api/x"), "http://localhost:8080/api/x");
    assert_eq!(named("tenant.test", "/tenant/x"), "http://tenant.test/tenant/x");
    assert_eq!(named("localhost", "/api/%7Ex/../y/%20"), "http://localhost/api/y/%20");
    // Behind a proxy that is trusted and ends TLS.
    let lines = "X-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n";
    let response = site.ask_host("GET", &format!("{AT}/api/x"), "localhost", lines).expect(200);
    assert_eq!(response.json()["resource"], "https://localhost/api/x");
    let client = H2::tls(site.gateway.address("tls"), &site.certificate.client("h2"));
    let request = hyper::Request::builder().uri(format!("https://localhost{AT}/api/x"));
    let response = client.send(request.body(Pieces::whole("")).unwrap()).unwrap().expect(200);
    assert_eq!(response.json()["resource"], "https://localhost:8443/api/x");
}

#[test]
fn challenges_lead_there_and_the_document_is_about_what_was_asked_for() {
    let site = Site::start();
    for (target, lines, status) in [
        ("/api/orders/7?a=b", "", 401),
        ("/api/", "Authorization: Bearer a.b.c\r\n", 401),
        ("/both/%41", "", 401),
        ("/maybe/x", "Authorization: Bearer a.b.c\r\n", 401),
    ] {
        let refused = site.ask("GET", target, lines).expect(status);
        let challenge = refused.header("www-authenticate").unwrap();
        let url = challenge.split("resource_metadata=\"").nth(1).unwrap().trim_end_matches('"');
        let location = url.strip_prefix("http://localhost").unwrap();
        let document = site.ask("GET", location, "").expect(200).json();
        let path = target.split('?').next().unwrap().replace("%41", "A");
        assert_eq!(document["resource"], format!("http://localhost{path}"));
    }
    // Nobody to send a client to.
    for target in ["/django/x", "/any/x"] {
        let refused = site.ask("GET", target, "").expect(401);
        assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"localhost\""));
    }
    // Not to be quoted, or not to be borne.
    let long = format!("/api/{}", "a".repeat(2000));
    for target in ["/api/a\"b", long.as_str()] {
        let refused = site.ask("GET", target, "").expect(401);
        assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"localhost\""));
    }
}

#[test]
fn what_asks_for_no_token_has_none() {
    let site = Site::start();
    for path in ["", "/", "/open/x", "/nowhere", "/django/x", "/any/x", "/tenant/x", "x/api/x"] {
        let response = site.ask("GET", &format!("{AT}{path}"), "").expect(404);
        assert_eq!(response.json()["code"], "no_route", "{path}");
    }
    for (path, status) in [("//api/x", 404), ("/api/%2e%2e/%2Fx", 404), ("/../../..", 400)] {
        assert_eq!(site.ask("GET", &format!("{AT}{path}"), "").status, status, "{path}");
    }
    // Other methods are ordinary requests.
    for method in ["POST", "DELETE", "OPTIONS"] {
        assert_eq!(site.ask(method, &format!("{AT}/api/x"), "").status, 404, "{method}");
    }
    assert_eq!(site.upstream.count(), 0);
    // A route that names the location is the operator's own answer.
    assert_eq!(site.ask("GET", &format!("{AT}/own/x"), "").expect(200).text(), "reached");
}

#[test]
fn pages_may_send_headers_of_their_own() {
    let site = Site::start();
    let lines = "Origin: https://a.test\r\nAccess-Control-Request-Method: GET\r\n\
                 Access-Control-Request-Headers: mcp-protocol-version\r\n";
    let answer = site.ask("OPTIONS", &format!("{AT}/api/x"), lines).expect(204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("*"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    assert_eq!(site.upstream.count(), 0);
}

#[test]
fn nothing_else_of_the_configuration_is_told() {
    let site = Site::start();
    for path in ["/api/x", "/both/x", "/cookies/x", "/maybe/x", "/split"] {
        let response = site.ask("GET", &format!("{AT}{path}"), "").expect(200);
        let Value::Object(members) = response.json() else { panic!("no object") };
        let known =
            ["resource", "authorization_servers", "bearer_methods_supported", "scopes_supported"];
        assert!(members.keys().all(|name| known.contains(&name.as_str())), "{members:?}");
        let text = response.text();
        for inside in ["127.0.0.1", "main", "role", "audience", "session", "\"z\"", SECRET] {
            assert!(!text.contains(inside), "{inside} in {text}");
        }
    }
}

//! gRPC through the gateway, and HTTP/2 to application servers.

/// grpcio's client and server.
mod grpcio;
/// How HTTP/2 towards an endpoint is used: streams, refusals, ends.
mod streams;

use hyper::{Method, Request, Version};

use crate::support::Response;
use crate::support::certificate::Certificate;
use crate::support::gateway::{Gateway, Setup};
use crate::support::h2::{H2, Pieces};
use crate::support::h2_upstream::{Call, H2Upstream};
use crate::support::token::{Signer, claims};

const SECRET: &str = "e5Nz0qWb7hXk2uLr9sTd4vYg6mJp8cAf1oQi3xEw5zRn";
const ISSUER: &str = "https://id.example.com/";

/// A gateway before an application that speaks HTTP/2.
pub(crate) struct Place {
    pub(crate) gateway: Gateway,
    pub(crate) certificate: Certificate,
    pub(crate) upstream: H2Upstream,
}

impl Place {
    /// `settings` are keys of the upstream, `more` comes last.
    pub(crate) fn start(upstream: H2Upstream, settings: &str, more: &str) -> Self {
        let setup = Setup::new();
        let certificate = Certificate::make(setup.folder());
        let text = configuration(&upstream.url(), settings, more);
        let gateway = setup.variable("KEY", SECRET).start(&text);
        Self { gateway, certificate, upstream }
    }

    pub(crate) fn client(&self) -> H2 {
        H2::tls(self.gateway.address("main"), &self.certificate.client("h2"))
    }
}

fn configuration(url: &str, settings: &str, more: &str) -> String {
    format!(
        r#"
        [listener.main]
        address = "127.0.0.1:0"
        [listener.main.tls]
        certificates = [{{ cert = "server.crt", key = "server.key" }}]
        [listener.plain]
        address = "127.0.0.1:0"
        [issuer.main]
        url = "{ISSUER}"
        audience = ["api"]
        secret = "${{KEY}}"
        algorithms = ["HS256"]
        identity_headers = {{ "X-User" = "sub" }}
        [upstream.calls]
        endpoints = ["{url}"]
        {settings}
        [[route]]
        path = "/open.Echo/*"
        upstream = "calls"
        public = true
        [[route]]
        path = "/shop.Orders/*"
        upstream = "calls"
        [[route]]
        path = "/admin.Orders/*"
        upstream = "calls"
        require = {{ scope = ["admin"] }}
        {more}
        "#
    )
}

pub(crate) fn token() -> String {
    Signer::hmac(SECRET.as_bytes()).sign(&claims(ISSUER, "ada"))
}

/// A call with this message.
pub(crate) fn call(path: &str, message: &[u8]) -> Request<Pieces> {
    let mut request = Request::new(Pieces::of_unknown_length([message]));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("https://localhost{path}").parse().unwrap();
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.insert("content-type", "application/grpc".parse().unwrap());
    headers.insert("te", "trailers".parse().unwrap());
    request
}

pub(crate) fn with(
    mut request: Request<Pieces>,
    lines: &[(&'static str, &str)],
) -> Request<Pieces> {
    for (name, value) in lines {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

fn authorized(path: &str, message: &[u8]) -> Request<Pieces> {
    with(call(path, message), &[("authorization", &format!("Bearer {}", token()))])
}

/// Sends back what came, and says that all was well.
pub(crate) async fn echo(mut call: Call) {
    let message = call.read().await;
    call.answer(&message, &[("grpc-status", "0"), ("x-last", "one"), ("x-last-bin", "AAE")]);
}

/// Panics unless it is a refusal of this code, for this reason.
#[track_caller]
fn is_refused(response: &Response, code: &str, reason: &str) {
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/grpc"), "{response:?}");
    assert_eq!(response.header("grpc-status"), Some(code), "{response:?}");
    let message = response.header("grpc-message").unwrap();
    assert!(message.starts_with(&format!("{reason}: ")), "{response:?}");
    assert!(response.body.is_empty(), "{response:?}");
    assert_eq!(response.header("cache-control"), Some("no-store"), "{response:?}");
}

#[test]
fn messages_metadata_and_trailers_pass_both_ways() {
    let place = Place::start(H2Upstream::start(100, echo), "kind = \"grpc\"", "");
    let client = place.client();
    for length in [0, 5, 100_000, 3 << 20] {
        let message = vec![b'm'; length];
        let asked = with(
            authorized("/shop.Orders/Get", &message),
            &[("x-meta", "one"), ("x-meta-bin", "AAE")],
        );
        let response = client.send(asked).unwrap();
        assert_eq!(response.status, 200, "{length}");
        assert!(response.body == message, "{length}");
        assert_eq!(response.header("x-initial"), Some("first"));
        for (name, value) in [("grpc-status", "0"), ("x-last", "one"), ("x-last-bin", "AAE")] {
            assert_eq!(response.header(&format!("trailer:{name}")), Some(value), "{name}");
        }
    }
    let (_, head) = place.upstream.heads().remove(0);
    assert_eq!(head.method(), Method::POST);
    assert_eq!(head.uri(), "http://localhost/shop.Orders/Get");
    for (name, value) in [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("x-meta", "one"),
        ("x-meta-bin", "AAE"),
        ("x-user", "ada"),
        ("x-forwarded-proto", "https"),
    ] {
        let lines: Vec<_> = head.headers().get_all(name).iter().collect();
        assert_eq!(lines, [value], "{name}");
    }
    for gone in ["connection", "transfer-encoding", "host", "upgrade"] {
        assert!(!head.headers().contains_key(gone), "{gone}");
    }
}

#[test]
fn without_a_token_nothing_reaches_a_grpc_upstream() {
    let place = Place::start(H2Upstream::start(100, echo), "kind = \"grpc\"", "");
    let client = place.client();
    let calls = [
        (call("/shop.Orders/Get", b"x"), "16", "token_missing"),
        (
            with(call("/shop.Orders/Get", b"x"), &[("authorization", "Bearer nonsense")]),
            "16",
            "token_malformed",
        ),
        (
            with(call("/shop.Orders/Get", b"x"), &[("authorization-bin", "AAE")]),
            "16",
            "token_missing",
        ),
        (
            with(authorized("/shop.Orders/Get", b"x"), &[("authorization", "Bearer x")]),
            "16",
            "duplicate_credentials",
        ),
        (authorized("/admin.Orders/Get", b"x"), "7", "insufficient_scope"),
        (authorized("/nobody.Orders/Get", b"x"), "12", "no_route"),
        (authorized("/shop.Orders/../admin.Orders/Get", b"x"), "13", "ambiguous_path"),
        (authorized("/open.Echo/%2e%2e%2fadmin.Orders/Get", b"x"), "13", "ambiguous_path"),
        (with(authorized("/shop.Orders/Get", b"x"), &[("host", "elsewhere")]), "13", "bad_host"),
    ];
    for (request, code, reason) in calls {
        let shown = request.uri().to_string();
        let response = client.send(request).unwrap();
        assert_eq!(response.status, 200, "{shown}: {response:?}");
        is_refused(&response, code, reason);
    }
    assert_eq!(place.upstream.heads().len(), 0, "{:?}", place.upstream.heads());
    // What is no call is answered as everybody is.
    let mut plain = call("/shop.Orders/Get", b"x");
    plain.headers_mut().remove("content-type");
    assert_eq!(client.send(plain).unwrap().expect(401).json()["code"], "token_missing");
}

#[test]
fn identity_can_not_be_forged_by_metadata() {
    let place = Place::start(H2Upstream::start(100, echo), "kind = \"grpc\"", "");
    let client = place.client();
    let forged = [
        ("x-user", "root"),
        ("x_user", "root"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-real-ip", "10.0.0.1"),
        ("forwarded", "for=10.0.0.1"),
        ("x-forwarded-user", "root"),
        ("remote-user", "root"),
    ];
    for (path, user) in [("/open.Echo/Get", None), ("/shop.Orders/Get", Some("ada"))] {
        let asked = match user {
            None => call(path, b"x"),
            Some(_) => authorized(path, b"x"),
        };
        client.send(with(asked, &forged)).unwrap().expect(200);
        let (_, head) = place.upstream.heads().pop().unwrap();
        let users: Vec<_> = head.headers().get_all("x-user").iter().collect();
        assert_eq!(users, user.into_iter().collect::<Vec<_>>(), "{path}");
        for (name, value) in head.headers() {
            assert_ne!(value, "root", "{path}: {name}");
            assert_ne!(value, "10.0.0.1", "{path}: {name}");
        }
        assert_eq!(head.headers()["x-forwarded-proto"], "https");
    }
    // A name in `Connection`'s place has no meaning in HTTP/2, and takes nothing out.
    let asked = with(authorized("/shop.Orders/Get", b"x"), &[("te", "x-user")]);
    client.send(asked).unwrap_err();
}

#[test]
fn failures_of_the_application_have_grpcs_codes() {
    let dead = H2Upstream::start(100, |mut call: Call| async move {
        match call.head.uri().path() {
            "/open.Echo/Stall" | "/small.Echo/Get" => call.taken_back().await,
            _ => call.respond.send_reset(h2::Reason::INTERNAL_ERROR),
        }
    });
    let more = "[upstream.nobody]\nendpoints = [\"h2c://127.0.0.1:9\"]\nkind = \"grpc\"\n\
                [[route]]\npath = \"/gone.Echo/*\"\nupstream = \"nobody\"\npublic = true\n\
                [[route]]\npath = \"/limited.Echo/*\"\nupstream = \"calls\"\npublic = true\n\
                rate_limit = { rate = \"1/h\" }\n\
                [[route]]\npath = \"/small.Echo/*\"\nupstream = \"calls\"\npublic = true\nmax_body = \"10B\"\n\
                [[route]]\npath = \"/always.Echo/*\"\nupstream = \"nobody\"\npublic = true\nerrors = \"grpc\"\n";
    let place = Place::start(dead, "kind = \"grpc\"\nresponse_timeout = \"200ms\"", more);
    let client = place.client();
    let refused = |path: &str, message: &[u8], code, reason| {
        is_refused(&client.send(call(path, message)).unwrap(), code, reason);
    };
    refused("/open.Echo/Stall", b"x", "4", "upstream_timeout");
    refused("/open.Echo/Reset", b"x", "14", "upstream_failed");
    refused("/gone.Echo/Get", b"x", "14", "upstream_refused");
    refused("/limited.Echo/Get", b"x", "14", "upstream_failed");
    refused("/limited.Echo/Get", b"x", "8", "rate_limited");
    refused("/small.Echo/Get", b"longer than ten", "8", "body_too_large");
    // Where the route says so, also to what is no call.
    let mut plain = call("/always.Echo/Get", b"x");
    plain.headers_mut().remove("content-type");
    is_refused(&client.send(plain).unwrap(), "14", "upstream_refused");
    let records = place.gateway.records_of("/open.Echo/Stall", 1);
    assert_eq!(records[0]["reason"], "upstream_timeout");
    assert_eq!(records[0]["upstream"]["attempts"], 1);
    // The gateway took the call back from the application that stalled.
    crate::support::eventually("the stalled stream is reset", || {
        place.upstream.resets().contains(&h2::Reason::CANCEL).then_some(())
    });
}

#[test]
fn drf_errors_give_way_to_grpc() {
    let more = "[issuer.django]\npreset = \"simplejwt\"\nsecret = \"${KEY}\"\n\
                [[route]]\npath = \"/django.Shop/*\"\nupstream = \"calls\"\nissuers = [\"django\"]\n";
    let upstream = H2Upstream::start(100, echo);
    let setup = Setup::new();
    let certificate = Certificate::make(setup.folder());
    let text = configuration(&upstream.url(), "kind = \"grpc\"", more)
        .replace(
            "[[route]]\n        path = \"/shop.Orders/*\"",
            "[[route]]\n        issuers = [\"main\"]\n        path = \"/shop.Orders/*\"",
        )
        .replace(
            "[[route]]\n        path = \"/admin.Orders/*\"",
            "[[route]]\n        issuers = [\"main\"]\n        path = \"/admin.Orders/*\"",
        );
    let gateway = setup.variable("KEY", SECRET).start(&text);
    let place = Place { gateway, certificate, upstream };
    let client = place.client();
    is_refused(&client.send(call("/django.Shop/Get", b"x")).unwrap(), "16", "token_missing");
    let mut plain = call("/django.Shop/Get", b"x");
    plain.headers_mut().remove("content-type");
    let response = client.send(plain).unwrap().expect(401);
    assert_eq!(response.json()["detail"], "Authentication credentials were not provided.");
}

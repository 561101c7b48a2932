//! Every way to be refused, produced once from outside: its status, its challenge, its body, and its
//! line in the log.

use std::io::Write;
use std::net::TcpListener;

use portcullis::auth::Cause;
use portcullis::telemetry::labels::Reason;
use serde_json::{Value, json};

use crate::support::certificate::Certificate;
use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::issuer::{Issuer, Mood};
use crate::support::token::{ISSUER, SECRET, Signer, claims, ec, tampered};
use crate::support::upstream::{Then, Upstream};
use crate::support::{Response, eventually};

/// A gateway with a route for each thing that can go wrong.
struct Place {
    gateway: Gateway,
    certificate: Certificate,
    issuer: Issuer,
    upstream: Upstream,
}

impl Place {
    fn start() -> Self {
        let setup = Setup::new();
        let certificate = Certificate::make(setup.folder());
        Certificate::for_names(setup.folder(), "other", &["other.test"]);
        std::fs::create_dir(setup.folder().join("files")).unwrap();
        std::fs::create_dir(setup.folder().join("spool")).unwrap();
        let revoked = r#"{"issuer":"main","jti":"taken back","until":4102444800}"#;
        std::fs::write(setup.folder().join("revoked.jsonl"), revoked).unwrap();
        let upstream = Upstream::start(|request, stream| {
            match request.target() {
                "/upstream_failed" => return Ok(Then::Close),
                "/upstream_bad_response" => write!(stream, "nonsense\r\n\r\n")?,
                "/client_gone" | "/upstream_timeout" => std::thread::sleep(crate::support::HUNG),
                _ => write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?,
            }
            Ok(Then::Keep)
        });
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let issuer = Issuer::start(&[ec()]);
        issuer.set(Mood::Failing);
        let text = configuration(&upstream, &format!("http://{gone}"), &issuer);
        let gateway = setup.variable("KEY", SECRET).start(&text);
        Self { gateway, certificate, issuer, upstream }
    }
}

fn configuration(upstream: &Upstream, gone: &str, issuer: &Issuer) -> String {
    let (url, issuer) = (upstream.url(), issuer.url());
    format!(
        r#"
        [listener.plain]
        address = "127.0.0.1:0"
        [listener.tls]
        address = "127.0.0.1:0"
        [listener.tls.tls]
        certificates = [
          {{ cert = "server.crt", key = "server.key" }},
          {{ cert = "other.crt", key = "other.key" }},
        ]
        [issuer.main]
        url = "{ISSUER}"
        audience = ["api"]
        secret = "${{KEY}}"
        require = {{ role = ["reader", "writer"] }}
        [issuer.away]
        url = "{issuer}"
        audience = ["api"]
        [upstream.web]
        endpoints = ["{url}"]
        [upstream.slow]
        endpoints = ["{url}"]
        response_timeout = "200ms"
        [upstream.gone]
        endpoints = ["{gone}"]
        [upstream.checked]
        endpoints = ["unix:/nonexistent/app.sock"]
        health = {{ path = "/", fall = 1 }}
        [upstream.narrow]
        endpoints = ["{url}"]
        max_tunnels = 0
        [upstream.app]
        endpoints = ["{url}"]
        kind = "wsgi"
        [[route]]
        path = "/private/*"
        upstream = "web"
        issuers = ["main"]
        errors = "problem"
        [[route]]
        path = "/page/*"
        upstream = "web"
        issuers = ["main"]
        [[route]]
        path = "/drf/*"
        upstream = "web"
        issuers = ["main"]
        errors = "drf"
        [[route]]
        path = "/away/*"
        upstream = "web"
        issuers = ["away"]
        [[route]]
        path = "/scoped/*"
        upstream = "web"
        issuers = ["main"]
        require = {{ scope = ["orders:read"] }}
        [[route]]
        path = "/writers/*"
        upstream = "web"
        issuers = ["main"]
        require = {{ role = ["writer"] }}
        [[route]]
        path = "/files/*"
        static = "files"
        public = true
        [[route]]
        path = "/gathered/*"
        upstream = "app"
        public = true
        [[route]]
        path = "/small/*"
        upstream = "web"
        public = true
        max_body = "4B"
        [[route]]
        path = "/get"
        methods = ["GET"]
        upstream = "web"
        public = true
        [[route]]
        path = "/narrow"
        upstream = "narrow"
        public = true
        [[route]]
        path = "/checked"
        upstream = "checked"
        public = true
        [[route]]
        path = "/upstream_refused"
        upstream = "gone"
        public = true
        [[route]]
        path = "/upstream_timeout"
        upstream = "slow"
        public = true
        [[route]]
        path = "/limited"
        upstream = "web"
        public = true
        rate_limit = {{ rate = "1/d" }}
        [[route]]
        path = "/verify"
        verify = true
        issuers = ["main"]
        {}
        [server]
        trusted_proxies = ["192.0.2.1"]
        header_timeout = "200ms"
        revocations = "revoked.jsonl"
        spool = {{ memory = "1MiB", disk = "200KiB", dir = "spool" }}
        "#,
        ["upstream_failed", "upstream_bad_response", "client_gone", "open"]
            .map(|name| format!(
                "[[route]]\npath = \"/{name}\"\nupstream = \"web\"\npublic = true\n"
            ))
            .concat(),
    )
}

/// What a response must be like, beside its reason.
struct Expected {
    status: u16,
    /// `WWW-Authenticate` without its realm.
    challenge: Option<&'static str>,
}

fn expected(reason: Reason) -> Expected {
    const SENT: Option<&str> = Some(", error=\"invalid_token\"");
    let (status, challenge) = match reason {
        Reason::AmbiguousPath
        | Reason::BadHost
        | Reason::BadRequest
        | Reason::DuplicateCredentials => (400, None),
        Reason::AlgorithmNotAllowed
        | Reason::AudienceMismatch
        | Reason::BadSignature
        | Reason::ClaimRefused
        | Reason::TokenExpired
        | Reason::TokenMalformed
        | Reason::TokenNotYetValid
        | Reason::TokenRevoked
        | Reason::TokenTooLarge
        | Reason::TokenUnsupported
        | Reason::TypeNotAllowed
        | Reason::UnknownIssuer
        | Reason::UnknownKey => (401, SENT),
        Reason::TokenMissing => (401, Some("")),
        Reason::AddressNotAllowed | Reason::Forbidden => (403, None),
        Reason::InsufficientScope => {
            (403, Some(", error=\"insufficient_scope\", scope=\"orders:read\""))
        }
        Reason::NoRoute | Reason::NotFound => (404, None),
        Reason::MethodNotAllowed => (405, None),
        Reason::RateLimited => (429, None),
        Reason::RequestTimeout => (408, None),
        Reason::BodyTooLarge => (413, None),
        Reason::TargetTooLong => (414, None),
        Reason::ExpectationFailed => (417, None),
        Reason::Misdirected => (421, None),
        Reason::HeadersTooLarge => (431, None),
        Reason::ClientGone => (499, None),
        Reason::Internal => (500, None),
        Reason::UpstreamBadResponse | Reason::UpstreamFailed | Reason::UpstreamRefused => {
            (502, None)
        }
        Reason::KeysUnavailable
        | Reason::NoHealthyEndpoint
        | Reason::QueueFull
        | Reason::SpoolFull => (503, None),
        Reason::UpstreamTimeout => (504, None),
        Reason::Loop => (508, None),
    };
    Expected { status, challenge }
}

/// Makes a gateway refuse a request for this reason; `None` where there is nobody left to answer.
fn produce(place: &Place, reason: Reason) -> Option<Response> {
    let good = || with_role(claims(ISSUER, "ada"));
    let hmac = Signer::hmac(SECRET.as_bytes());
    let signed = |claims: &Value| place.token("/private/x", &hmac.sign(claims));
    let headed = |name: &str, value: Value| {
        let mut header = hmac.header();
        header[name] = value;
        place.token("/private/x", &hmac.sign_with(&header, &good()))
    };
    let changed = |name: &str, value: Value| {
        let mut claims = good();
        claims[name] = value;
        signed(&claims)
    };
    let response = match reason {
        Reason::AddressNotAllowed => place.get("/verify", ""),
        Reason::AlgorithmNotAllowed => headed("alg", json!("none")),
        Reason::AmbiguousPath => place.get("/private/..%2Fpage/x", ""),
        Reason::AudienceMismatch => changed("aud", json!("another")),
        Reason::BadHost => place.send("GET /open HTTP/1.1\r\n\r\n"),
        Reason::BadRequest => place.get("/open/%00", ""),
        Reason::BadSignature => place.token("/private/x", &tampered(&hmac.sign(&good()))),
        Reason::BodyTooLarge => place
            .send("POST /small/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"),
        Reason::ClaimRefused => changed("role", json!("nobody")),
        Reason::ClientGone => {
            let mut client = place.client();
            client.send("GET /client_gone HTTP/1.1\r\nHost: localhost\r\n\r\n");
            eventually("the application is asked", || {
                let received = place.upstream.received();
                received.iter().any(|request| request.target() == "/client_gone").then_some(())
            });
            drop(client);
            return None;
        }
        Reason::DuplicateCredentials => {
            let token = hmac.sign(&good());
            let line = format!("Authorization: Bearer {token}\r\n");
            place.get("/private/x", &format!("{line}{line}"))
        }
        Reason::ExpectationFailed => place.get("/open", "Expect: miracles\r\n"),
        Reason::Forbidden => place.token("/writers/x", &hmac.sign(&good())),
        Reason::HeadersTooLarge => place.get("/open", &"X-A: b\r\n".repeat(95)),
        Reason::InsufficientScope => place.token("/scoped/x", &hmac.sign(&good())),
        Reason::Internal => {
            // The folder for gathered bodies is gone.
            let spool = place.gateway.folder().join("spool");
            std::fs::remove_dir(&spool).unwrap();
            let response = place.gathered(90_000);
            std::fs::create_dir(spool).unwrap();
            response
        }
        Reason::KeysUnavailable => {
            let claims = claims(&place.issuer.url(), "ada");
            place.token("/away/x", &ec().sign(&claims))
        }
        Reason::Loop => {
            // Its own mark, as an application that calls it again would send it.
            let via = place.via();
            place.get("/open", &format!("Via: 1.0 other, {via}\r\n"))
        }
        Reason::MethodNotAllowed => place.send("DELETE /get HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        Reason::Misdirected => {
            let address = place.gateway.address("tls");
            let mut client = Client::tls(address, &place.certificate.client("http/1.1"));
            client.send("GET /open HTTP/1.1\r\nHost: other.test\r\n\r\n");
            client.response()
        }
        Reason::NoHealthyEndpoint => {
            let down = "upstream_endpoint_up{endpoint=\"unix:/nonexistent/app.sock\",upstream=\"checked\"} 0";
            eventually("the check has failed", || {
                place.gateway.admin("/metrics").text().contains(down).then_some(())
            });
            place.get("/checked", "")
        }
        Reason::NoRoute => place.get("/nowhere", ""),
        Reason::NotFound => place.get("/files/nothing", ""),
        Reason::QueueFull => place.get(
            "/narrow",
            "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n",
        ),
        Reason::RateLimited => {
            place.get("/limited", "").expect(200);
            place.get("/limited", "")
        }
        Reason::RequestTimeout => place.send("GET /open HTTP/1.1\r\nHost: loc"),
        Reason::SpoolFull => place.gathered(2_000_000),
        Reason::TargetTooLong => place.get(&format!("/open?{}", "a".repeat(9000)), ""),
        Reason::TokenExpired => changed("exp", json!(1_700_000_000)),
        Reason::TokenMalformed => place.token("/private/x", "a.b"),
        Reason::TokenMissing => place.get("/private/x", ""),
        Reason::TokenNotYetValid => changed("nbf", json!(99_999_999_999_u64)),
        Reason::TokenRevoked => changed("jti", json!("taken back")),
        Reason::TokenTooLarge => changed("pad", json!("x".repeat(5500))),
        Reason::TokenUnsupported => headed("crit", json!(["b64"])),
        Reason::TypeNotAllowed => headed("typ", json!("dpop+jwt")),
        Reason::UnknownIssuer => changed("iss", json!("https://evil.test/")),
        Reason::UnknownKey => unknown_key(place),
        Reason::UpstreamBadResponse
        | Reason::UpstreamFailed
        | Reason::UpstreamRefused
        | Reason::UpstreamTimeout => place.get(&format!("/{reason}"), ""),
    };
    Some(response)
}

/// A key of an issuer whose keys are there: needs that issuer to have recovered.
fn unknown_key(place: &Place) -> Response {
    place.issuer.set(Mood::Well);
    eventually("the keys arrive", || (place.gateway.admin("/readyz").status == 200).then_some(()));
    let claims = claims(&place.issuer.url(), "ada");
    place.token("/away/x", &ec().sign(&claims)).expect(200);
    let mut header = ec().header();
    header["kid"] = json!("never-published");
    place.token("/away/x", &ec().sign_with(&header, &claims))
}

fn with_role(mut claims: Value) -> Value {
    claims["role"] = json!("reader");
    claims
}

impl Place {
    fn client(&self) -> Client {
        Client::tcp(self.gateway.address("plain"))
    }

    fn send(&self, bytes: &str) -> Response {
        let mut client = self.client();
        client.send(bytes);
        client.response()
    }

    fn get(&self, path: &str, lines: &str) -> Response {
        self.client().get(path, lines)
    }

    fn token(&self, path: &str, token: &str) -> Response {
        self.get(path, &format!("Authorization: Bearer {token}\r\n"))
    }

    /// A body of a length that is not told, which has to be gathered.
    fn gathered(&self, length: usize) -> Response {
        let body = "x".repeat(length);
        self.send(&format!(
            "POST /gathered/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
             {length:x}\r\n{body}\r\n0\r\n\r\n"
        ))
    }

    /// What it adds to `Via`.
    fn via(&self) -> String {
        self.get("/open", "").expect(200);
        let received = self.upstream.received();
        received.iter().rev().find(|r| r.target() == "/open").unwrap().headers("via")[0].to_owned()
    }
}

#[test]
fn every_reason_has_its_status_challenge_body_and_record() {
    let place = Place::start();
    // The issuer's recovery comes last: without keys is where it begins.
    let mut reasons = Reason::ALL.to_vec();
    reasons.sort_by_key(|reason| *reason == Reason::UnknownKey);
    for reason in reasons {
        let Expected { status, challenge } = expected(reason);
        let Some(response) = produce(&place, reason) else {
            is_recorded(&place, reason, status);
            continue;
        };
        assert_eq!(response.status, status, "{reason}: {}", response.text());
        // A head that was never whole has no request to answer in a format.
        if reason != Reason::RequestTimeout {
            is_problem(&response, reason);
        }
        let realm = if reason == Reason::Misdirected { "other.test" } else { "localhost" };
        let path = match reason {
            Reason::InsufficientScope => "/scoped/x",
            Reason::UnknownKey => "/away/x",
            _ => "/private/x",
        };
        let challenge = challenge.map(|rest| format!("Bearer realm=\"{realm}\"{rest}{}", at(path)));
        assert_eq!(response.header("www-authenticate"), challenge.as_deref(), "{reason}");
        assert_eq!(
            response.header("retry-after").is_some(),
            [429, 503].contains(&status),
            "{reason}"
        );
        assert_eq!(response.header("allow").is_some(), status == 405, "{reason}");
        is_recorded(&place, reason, status);
    }
}

/// The challenge's pointer to the way to a token.
fn at(path: &str) -> String {
    let location = "http://localhost/.well-known/oauth-protected-resource";
    format!(", resource_metadata=\"{location}{path}\"")
}

fn is_problem(response: &Response, reason: Reason) {
    assert_eq!(response.header("cache-control"), Some("no-store"), "{reason}");
    assert_eq!(response.header("content-type"), Some("application/problem+json"), "{reason}");
    let problem = response.json();
    assert_eq!(problem["code"], reason.as_str());
    assert_eq!(problem["status"], response.status);
    assert_eq!(problem["request_id"].as_str(), response.header("x-request-id"), "{reason}");
    let mut names: Vec<&str> = problem.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["code", "detail", "request_id", "status", "title", "type"]);
    // J32: nothing about keys, issuers or upstreams.
    let text = response.text();
    for inside in ["id.example.com", "127.0.0.1", "main", "kid", "HS256", "web"] {
        assert!(!text.contains(inside), "{reason}: {text}");
    }
}

#[track_caller]
fn is_recorded(place: &Place, reason: Reason, status: u16) {
    let log = place.gateway.folder().join("access.log");
    let record = eventually(reason.as_str(), || {
        let records = crate::support::gateway::read_records(&log);
        records.into_iter().find(|record| record["reason"] == reason.as_str())
    });
    assert_eq!(record["status"], status, "{record}");
    if reason == Reason::ClientGone {
        // Whom the client had been waiting for.
        assert_eq!(record["upstream"]["endpoint"], place.upstream.url(), "{record}");
        assert_eq!(record["upstream"]["attempts"], 1, "{record}");
    }
    eventually(reason.as_str(), || {
        let metrics = place.gateway.admin("/metrics");
        let word = format!("reason=\"{reason}\"");
        let counted = metrics.text().lines().any(|line| {
            line.starts_with("portcullis_rejects_total{")
                && line.contains(&word)
                && !line.ends_with(" 0")
        });
        counted.then_some(())
    });
}

#[test]
fn a_refusal_is_written_for_whoever_asked() {
    let place = Place::start();
    let browser = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    let page = place.get("/page/x", browser).expect(401);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().contains("401 Unauthorized") && page.text().contains("token_missing"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let page = place.get("/nowhere/%3Cscript%3E", browser).expect(404);
    assert!(!page.text().contains("<script"), "{}", page.text());

    let problem = place.get("/page/x", "Accept: application/json\r\n").expect(401);
    assert_eq!(problem.header("content-type"), Some("application/problem+json"));

    let missing = place.get("/drf/x", browser).expect(401);
    assert_eq!(missing.header("content-type"), Some("application/json"));
    assert_eq!(
        missing.json(),
        json!({ "detail": "Authentication credentials were not provided." })
    );
    let malformed = place.token("/drf/x", "a.b.c").expect(401);
    assert_eq!(malformed.json()["code"], "token_not_valid");
    assert_eq!(malformed.header("cache-control"), Some("no-store"));
    let challenge = format!("Bearer realm=\"localhost\", error=\"invalid_token\"{}", at("/drf/x"));
    assert_eq!(malformed.header("www-authenticate"), Some(challenge.as_str()));
}

/// What a forger could learn from: which part was wrong, which keys there are, whom we ask.
#[test]
fn j32_a_client_learns_the_reason_and_nothing_finer() {
    let place = Place::start();
    let signer = Signer::hmac(SECRET.as_bytes());
    let other = Signer::hmac(b"another secret of more than thirty-two bytes");
    let good = with_role(claims(ISSUER, "ada"));
    let kid = "a-very-telling-kid";
    let upstream = place.upstream.url();
    let told = |token: &str| {
        let response = place.token("/private/x", token).expect(401);
        let text = response.text().to_ascii_lowercase();
        for word in Cause::ALL.iter().map(|cause| cause.as_str()) {
            // Some finer words are the reason itself.
            let public = Reason::ALL.iter().any(|reason| reason.as_str().contains(word));
            assert!(public || !text.contains(word), "{word}: {text}");
        }
        for secret in [kid, "id.example.com", "\"main\"", "away", &upstream, SECRET] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        let mut body = response.json();
        assert!(body.as_object_mut().unwrap().remove("request_id").is_some());
        (response.header("www-authenticate").map(str::to_owned), body)
    };
    // Forgeries that come equally far are told the same.
    let token = signer.sign(&good);
    let forged = told(&tampered(&token));
    let mut header = other.header();
    header["kid"] = json!(kid);
    let (head, _) = token.rsplit_once('.').unwrap();
    for forgery in [
        other.sign(&good),
        other.sign_with(&header, &good),
        format!("{head}."),
        format!("{head}.AAAA"),
    ] {
        assert_eq!(told(&forgery), forged);
    }
    // So is whatever claim is refused of those that were rightly signed.
    let mut unlimited = good.clone();
    unlimited.as_object_mut().unwrap().remove("exp");
    let mut nobody = good;
    nobody["role"] = json!("nobody");
    assert_eq!(told(&signer.sign(&unlimited)), told(&signer.sign(&nobody)));
}

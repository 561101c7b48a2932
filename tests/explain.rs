//! `explain`, word by word: one golden text for every reason that can be decided offline, and the
//! others by name with why not. `UPDATE_GOLDEN=1` writes the texts anew; read the difference.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use portcullis::telemetry::labels::Reason;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::certificate::Certificate;
use crate::support::client::Client;
use crate::support::gateway::Setup;
use crate::support::program::{portcullis, told_of};
use crate::support::token::{Signer, tampered};

const SECRET: &str = "q3Zt7Hn0sVb5Xw1Lr8Jk4Pd6Gf2MyCeA";

/// 2100-01-01: the texts say nothing of today.
const LATER: i64 = 4_102_444_800;

const CONFIGURATION: &str = r#"
[server]
trusted_proxies = ["10.0.0.0/8"]
revocations = "revoked.jsonl"
max_headers = { count = 20, size = "8KiB", line = "2KiB" }

[listener.http]
address = ":8080"
[listener.https]
address = ":8443"
public_port = 443
[listener.https.tls]
certificates = [{ cert = "server.crt", key = "server.key" }]

[issuer.main]
url = "https://id.example.com/"
audience = ["https://api.example.com"]
secret = "${KEY}"
max_token_size = "1KiB"
require = { token_use = ["access"] }
identity_headers = { "X-User" = "sub" }
[issuer.static]
url = "https://static.example.com/"
audience = "any"
jwks = '{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
[issuer.away]
url = "https://away.example.com/"
audience = "any"

[upstream.web]
endpoints = ["http://127.0.0.1:8000", "unix:gunicorn.sock"]
kind = "wsgi"

[[route]]
path = "/api/*"
upstream = "web"
issuers = ["main"]
max_body = "1KiB"
cors = { origins = ["https://app.example.com"] }
rate_limit = { rate = "60/min", by = "claim:sub" }
[[route]]
path = "/api/orders/*"
upstream = "web"
issuers = ["main"]
require = { scope = ["orders:read"] }
[[route]]
path = "/api/admin/*"
upstream = "web"
issuers = ["main"]
require = { role = ["admin"] }
[[route]]
path = "/office/*"
upstream = "web"
issuers = ["main"]
allow_ips = ["198.51.100.0/24"]
[[route]]
path = "/static-keys/*"
upstream = "web"
issuers = ["static"]
[[route]]
path = "/away/*"
upstream = "web"
issuers = ["away"]
[[route]]
path = "/files/*"
static = "files"
public = true
[[route]]
path = "/read"
methods = ["GET"]
upstream = "web"
public = true
"#;

struct Site(TempDir);

/// What the configuration refers to.
fn furnish(folder: &Path) {
    let file = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    file("revoked.jsonl", r#"{"issuer":"main","jti":"gone","until":4102444800}"#);
    Certificate::make(folder);
    fs::create_dir(folder.join("files")).unwrap();
    file("files/hello.txt", "hello\n");
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("gateway.toml"), CONFIGURATION).unwrap();
        furnish(folder.path());
        Self(folder)
    }

    /// What is told, without what is another one each time.
    fn explain(&self, arguments: &[String]) -> String {
        let mut command = portcullis(self.0.path());
        command.arg("explain").args(arguments).env("KEY", SECRET);
        let said = told_of(&mut command).expect(0).stdout;
        let place = fs::canonicalize(self.0.path()).unwrap();
        let said = said
            .replace(&format!("{}/", place.display()), "")
            .replace(&format!("{}/", self.0.path().display()), "");
        let lines = said.lines().map(|line| {
            if let Some(("etag" | "last-modified", _)) = line.trim_start().split_once(": ") {
                return "  (a validator)".to_owned();
            }
            let line = uncounted(line, " days left");
            uncounted(&line, " s from now")
        });
        lines.map(|line| line + "\n").collect()
    }
}

/// The number before `unit` as `N`.
fn uncounted(line: &str, unit: &str) -> String {
    match line.split_once(unit) {
        Some((before, after)) => {
            let before = before.trim_end_matches(|c: char| c.is_ascii_digit());
            format!("{before}N{unit}{after}")
        }
        None => line.to_owned(),
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example.com/", "aud": "https://api.example.com", "sub": "alice",
        "exp": LATER, "token_use": "access",
    })
}

/// Alice's token, but for these claims.
fn token(changed: &Value) -> String {
    let mut all = claims();
    for (name, value) in changed.as_object().unwrap() {
        all[name] = value.clone();
    }
    Signer::hmac(SECRET.as_bytes()).sign(&all)
}

/// Alice's token under this header.
fn headed(header: &Value) -> String {
    Signer::hmac(SECRET.as_bytes()).sign_with(header, &claims())
}

struct Case {
    name: &'static str,
    arguments: Vec<String>,
}

/// `name` is the reason, unless it is not refused at all.
fn case(name: &'static str, arguments: &[&str]) -> Case {
    Case { name, arguments: arguments.iter().map(|&one| one.to_owned()).collect() }
}

fn with_token(name: &'static str, path: &str, token: &str) -> Case {
    let url = format!("http://shop.example{path}");
    case(name, &["GET", &url, "--token", token])
}

fn heads() -> Vec<Case> {
    let many: Vec<String> = (0..21).flat_map(|n| ["-H".to_owned(), format!("X-{n}: x")]).collect();
    let long = format!("http://shop.example/{}", "a".repeat(3000));
    let api = "http://shop.example/api/x";
    let mut headers_too_large = case("headers_too_large", &["GET", api]);
    headers_too_large.arguments.extend(many);
    vec![
        headers_too_large,
        case("target_too_long", &["GET", &long]),
        case("bad_host", &["GET", api, "-H", "Host: a b"]),
        case("bad_request", &["GET", "http://shop.example/a/%2e%2e/%2e%2e/x"]),
        case("ambiguous_path", &["GET", "http://shop.example/files%2F..%2Fapi/admin"]),
        case("expectation_failed", &["PUT", api, "-H", "Expect: the-unexpected"]),
        case("misdirected", &["GET", "https://localhost/api/x", "-H", "Host: shop.example"]),
        case("method_not_allowed", &["POST", "http://shop.example/read"]),
        case("no_route", &["GET", "http://shop.example/elsewhere"]),
        case("not_found", &["GET", "http://shop.example/files/missing.txt"]),
        case("body_too_large", &["POST", api, "-H", "Content-Length: 1025"]),
        case("address_not_allowed", &["GET", "http://shop.example/office/x"]),
    ]
}

fn tokens() -> Vec<Case> {
    let good = token(&json!({}));
    let twice = ["GET", "http://shop.example/api/x", "-H", "Authorization: Bearer x"];
    let api = |name, token: &str| with_token(name, "/api/x", token);
    vec![
        case("token_missing", &["GET", "http://shop.example/api/x"]),
        case("duplicate_credentials", &[&twice[..], &["--token", &good]].concat()),
        api("token_malformed", "not.a-token"),
        api("token_too_large", &good.repeat(8)),
        api("token_unsupported", &headed(&json!({ "alg": "HS256", "crit": ["x"], "x": 1 }))),
        api("unknown_issuer", &token(&json!({ "iss": "https://other.example/" }))),
        api("algorithm_not_allowed", &headed(&json!({ "alg": "HS512" }))),
        api("type_not_allowed", &headed(&json!({ "alg": "HS256", "typ": "logout+jwt" }))),
        api("bad_signature", &tampered(&good)),
        api("token_expired", &token(&json!({ "exp": 1_000_000_000 }))),
        api("token_not_yet_valid", &token(&json!({ "nbf": LATER - 1 }))),
        api("audience_mismatch", &token(&json!({ "aud": "https://other.example" }))),
        api("claim_refused", &token(&json!({ "token_use": "refresh" }))),
        api("token_revoked", &token(&json!({ "jti": "gone" }))),
        with_token("insufficient_scope", "/api/orders/1", &token(&json!({ "scope": "orders" }))),
        with_token("forbidden", "/api/admin/x", &good),
        with_token("unknown_key", "/static-keys/x", &foreign("https://static.example.com/")),
    ]
}

/// A token of an issuer with keys of its own, signed by nobody that it knows.
fn foreign(iss: &str) -> String {
    let header = json!({ "alg": "EdDSA", "kid": "two" });
    Signer::hmac(SECRET.as_bytes()).sign_with(&header, &json!({ "iss": iss, "exp": LATER }))
}

/// What is not refused.
fn stories() -> Vec<Case> {
    let good = token(&json!({ "scope": "orders:read" }));
    let mut forwarded = case("forwarded", &["PUT", "https://localhost/api/orders/%31?page=2"]);
    for header in [
        "Accept: */*",
        "Cookie: session=very-secret",
        "Connection: X-Hop, close",
        "X-Hop: 1",
        "X-User: root",
        "x_user: root",
        "X_Other: 1",
        "X-Forwarded-For: 203.0.113.9",
        "Content-Length: 5",
    ] {
        forwarded.arguments.extend(["-H".to_owned(), header.to_owned()]);
    }
    forwarded.arguments.extend(["--token".to_owned(), good]);
    let proxied = ["GET", "http://shop.example/read", "--from", "10.1.2.3"];
    let told = ["-H", "X-Forwarded-For: 6.6.6.6, 203.0.113.9", "-H", "X-Forwarded-Proto: https"];
    let preflight =
        ["OPTIONS", "http://shop.example/api/x", "-H", "Origin: https://app.example.com"];
    vec![
        forwarded,
        case("forwarded_for_a_trusted_proxy", &[&proxied[..], &told].concat()),
        case("file", &["GET", "http://shop.example/files/hello.txt"]),
        case(
            "preflight",
            &[&preflight[..], &["-H", "Access-Control-Request-Method: PUT"]].concat(),
        ),
        case("no_certificate", &["GET", "https://nobody.example/"]),
        with_token("undecided", "/away/x", &foreign("https://away.example.com/")),
    ]
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/explain")
}

#[test]
fn every_story_is_told_as_its_golden_text_says() {
    let (site, update) = (Site::new(), std::env::var_os("UPDATE_GOLDEN").is_some());
    let mut wrong = Vec::new();
    let reasons: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let mut kept = BTreeSet::new();
    for case in heads().into_iter().chain(tokens()).chain(stories()) {
        let said = site.explain(&case.arguments);
        // A refusal is the last step told, and nothing that comes after it.
        if reasons.contains(case.name) {
            let answer = said.lines().last().unwrap().strip_prefix("answer     ").unwrap();
            assert_eq!(answer.split_once(' ').unwrap().1, case.name, "{said}");
            let step = said.lines().rev().nth(1).unwrap();
            assert!(step.contains(&format!(" refused: {} (", case.name)), "{said}");
            assert!(!said.contains("\naction "), "{}: {said}", case.name);
        }
        for secret in [SECRET, "very-secret"] {
            assert!(!said.contains(secret), "{}: {said}", case.name);
        }
        for token in case.arguments.iter().filter(|one| one.len() > 60 && one.contains("eyJ")) {
            assert!(!said.contains(token), "the token is repeated: {said}");
        }
        let file = folder().join(format!("{}.txt", case.name));
        kept.insert(file.clone());
        if update {
            fs::create_dir_all(folder()).unwrap();
            fs::write(&file, &said).unwrap();
        } else if fs::read_to_string(&file).unwrap_or_default() != said {
            wrong.push(format!("{}:\n{said}", case.name));
        }
    }
    assert!(wrong.is_empty(), "not as expected:\n{}", wrong.join("\n"));
    let there: BTreeSet<_> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(there, kept, "a golden text of no case");
}

/// Reasons that no request has by itself, and what they depend on.
const NOT_OFFLINE: &[(&str, &str)] = &[
    ("client_gone", "on the client, while the answer is made"),
    ("internal", "on a fault of Portcullis"),
    ("keys_unavailable", "on the issuer, whose keys a running gateway fetches"),
    ("loop", "on the running gateway's own name in `Via`"),
    ("no_healthy_endpoint", "on what the endpoints' checks have found"),
    ("queue_full", "on how many are being served"),
    ("rate_limited", "on what the client has asked before"),
    ("request_timeout", "on how fast the client sends"),
    ("spool_full", "on how many bodies are gathered"),
    ("upstream_bad_response", "on the application"),
    ("upstream_failed", "on the application"),
    ("upstream_refused", "on the application"),
    ("upstream_timeout", "on the application"),
];

#[test]
fn every_reason_has_a_golden_text_or_an_excuse() {
    let golden = heads().into_iter().chain(tokens()).map(|case| case.name);
    let mut told: Vec<&str> = golden.chain(NOT_OFFLINE.iter().map(|(name, _)| *name)).collect();
    told.sort_unstable();
    let mut reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(told, reasons);
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/command-line.md"));
    let page = page.unwrap();
    for (name, why) in NOT_OFFLINE {
        assert!(page.contains(&format!("| `{name}` | {why} |")), "docs/command-line.md: {name}");
    }
}

/// As a client would send it over the plain listener; `None` for what asks for TLS.
fn written(case: &Case) -> Option<String> {
    let (method, url) = (&case.arguments[0], &case.arguments[1]);
    let (host, path) = url.strip_prefix("http://")?.split_once('/').unwrap();
    let (mut lines, mut hosts) = (String::new(), Vec::new());
    for pair in case.arguments[2..].chunks(2) {
        let [option, value] = pair else { panic!("{pair:?}") };
        match option.as_str() {
            "-H" if value.starts_with("Host: ") => hosts.push(value.clone()),
            "-H" => lines += &format!("{value}\r\n"),
            "--token" => lines += &format!("Authorization: Bearer {value}\r\n"),
            other => panic!("{other}"),
        }
    }
    let host = hosts.pop().unwrap_or_else(|| format!("Host: {host}"));
    Some(format!("{method} /{path} HTTP/1.1\r\n{host}\r\n{lines}\r\n"))
}

#[test]
fn the_gateway_says_what_explain_says() {
    let setup = Setup::new();
    furnish(setup.folder());
    let text = CONFIGURATION.replace(":8080", "127.0.0.1:0").replace(":8443", "127.0.0.1:0");
    let gateway = setup.variable("KEY", SECRET).start(&text);
    let mut count = 0;
    for case in heads().into_iter().chain(tokens()) {
        let Some(request) = written(&case) else { continue };
        let mut client = Client::tcp(gateway.address("http"));
        client.send(request);
        let answer = client.response();
        let golden = fs::read_to_string(folder().join(format!("{}.txt", case.name))).unwrap();
        let expected = format!("answer     {} {}\n", answer.status, case.name);
        assert!(golden.ends_with(&expected), "{}: {} {golden}", case.name, answer.status);
        if let Some(code) = answer.json().get("code") {
            assert_eq!(code, case.name);
        }
        count += 1;
    }
    assert!(count > 25, "only {count}");
}

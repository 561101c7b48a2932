//! Django behind Gunicorn behind the gateway, as `examples/django-gunicorn` configures them: over
//! TLS, HTTP/1.1 and HTTP/2, with Gunicorn on a unix socket and on TCP.

use std::fs;
use std::net::{SocketAddr, TcpListener};

use portcullis::app::StartError;
use serde_json::{Value, json};

use crate::support::caller::{Body, Caller};
use crate::support::certificate::Certificate;
use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::stack::{SECRET, Socket, Stack, example};
use crate::support::token::{self, Signer};
use crate::support::{Response, eventually};

const PASSWORD: &str = "portcullis";
const JSON: (&str, &str) = ("Content-Type", "application/json");
const MIB: usize = 1 << 20;

/// The example, running.
pub(crate) struct Shop {
    // First, so that it drains before Gunicorn ends.
    pub(crate) gateway: Gateway,
    certificate: Certificate,
    stack: Stack,
}

impl Shop {
    pub(crate) fn open(socket: Socket) -> Self {
        let stack = Stack::start(socket);
        let text = fs::read_to_string(example().join("gateway.toml")).unwrap();
        loop {
            let setup = Setup::new();
            let certificate = Certificate::make(setup.folder());
            let setup = setup
                .variable("HTTPS_PORT", free_port())
                .variable("HTTP_PORT", free_port())
                .variable("TLS_CERT", certificate.cert.display())
                .variable("TLS_KEY", certificate.key.display())
                .variable("GUNICORN", &stack.endpoint)
                .variable("STATIC_ROOT", stack.static_root.display())
                .variable("ADMIN_ADDRESS", "127.0.0.1:0")
                .variable("DJANGO_SECRET_KEY", SECRET);
            match setup.try_start(&text) {
                Ok(gateway) => return Self { gateway, certificate, stack },
                // Somebody was faster to take a port that was free.
                Err(error) if error.to_string().contains("can't listen here") => {}
                Err(StartError::Configuration(problems)) => panic!("{}", problems.render(false)),
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub(crate) fn callers(&self) -> [Caller; 2] {
        Caller::both(self.gateway.address("https"), &self.certificate)
    }

    /// Panics unless a path arrived at Gunicorn that often. It writes a line after the response,
    /// so the last ones may come late.
    #[track_caller]
    fn expect_arrived(&self, path: &str, times: usize) {
        let count = || {
            let log = self.stack.arrived();
            log.lines().filter(|line| line.contains(&format!(" {path} "))).count()
        };
        eventually("that many requests at Gunicorn", || (count() >= times).then_some(()));
        assert_eq!(count(), times, "{path}");
    }

    /// Panics unless all of the last exchanges on this path ended here, for this reason.
    #[track_caller]
    fn expect_refused(&self, path: &str, known: usize, reasons: &[&str]) {
        let records = self.gateway.records_of(path, known + reasons.len());
        let records = &records[known..];
        assert_eq!(records.len(), reasons.len());
        for (record, reason) in records.iter().zip(reasons) {
            assert_eq!(record["reason"], *reason, "{record}");
            let attempts = record.pointer("/upstream/attempts");
            assert!(attempts.is_none_or(|attempts| *attempts == 0), "{record}");
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A pair of tokens as simplejwt gives it.
pub(crate) struct Pair {
    pub(crate) access: String,
    refresh: String,
}

pub(crate) fn sign_in(caller: &mut Caller, user: &str) -> Pair {
    let body = json!({ "username": user, "password": PASSWORD }).to_string();
    let response = caller.call("POST", "/api/token/", &[JSON], Body::Whole(body.as_bytes()));
    let pair = response.expect(200).json();
    let token = |name: &str| pair[name].as_str().unwrap().to_owned();
    Pair { access: token("access"), refresh: token("refresh") }
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn get_with(caller: &mut Caller, path: &str, token: &str) -> Response {
    caller.get(path, &[("Authorization", &bearer(token))])
}

// === tokens ===

#[test]
fn tokens_over_a_unix_socket() {
    tokens(&Shop::open(Socket::Unix));
}

#[test]
fn tokens_over_tcp() {
    tokens(&Shop::open(Socket::Tcp));
}

fn tokens(shop: &Shop) {
    for (round, mut caller) in shop.callers().into_iter().enumerate() {
        let pair = sign_in(&mut caller, "alice");
        let me = get_with(&mut caller, "/api/me/", &pair.access).expect(200).json();
        assert_eq!(me["user"], "alice", "{}", caller.name());

        let missing = caller.get("/api/me/", &[]).expect(401);
        assert_eq!(missing.header("www-authenticate"), Some("Bearer realm=\"localhost\""));
        refused(&get_with(&mut caller, "/api/me/", &token::tampered(&pair.access)));
        refused(&get_with(&mut caller, "/api/me/", &expired()));
        refused(&get_with(&mut caller, "/api/me/", &pair.refresh));
        refused(&get_with(&mut caller, "/api/me/", &unsigned(&pair.access)));
        let reasons = [
            "token_missing",
            "bad_signature",
            "token_expired",
            "claim_refused",
            "algorithm_not_allowed",
        ];
        shop.expect_refused("/api/me/", round * 8 + 1, &reasons);

        let body = json!({ "refresh": pair.refresh }).to_string();
        let fresh =
            caller.call("POST", "/api/token/refresh/", &[JSON], Body::Whole(body.as_bytes()));
        let fresh = fresh.expect(200).json();
        let fresh = fresh["access"].as_str().unwrap();
        assert_ne!(fresh, pair.access);
        let me = get_with(&mut caller, "/api/me/", fresh).expect(200).json();
        assert_eq!(me["user"], "alice");
        scopes(&mut caller, &pair.access);
    }
    // Those of alice, of alice's fresh token, and of bob.
    shop.expect_arrived("/api/me/", 2 * 3);
    shop.expect_arrived("/api/orders/", 2);
}

/// As Django REST framework itself refuses a token.
#[track_caller]
fn refused(response: &Response) {
    assert_eq!(response.status, 401, "{}", response.text());
    assert_eq!(response.json()["code"], "token_not_valid");
    let challenge = response.header("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
}

fn expired() -> String {
    let now = token::now();
    Signer::hmac(SECRET.as_bytes()).sign(&json!({
        "token_type": "access", "exp": now - 1, "iat": now - 301, "jti": "0123456789", "user_id": "1",
    }))
}

/// The same claims with `alg: none`.
fn unsigned(token: &str) -> String {
    let claims = token.split('.').nth(1).unwrap();
    // {"alg":"none","typ":"JWT"}
    format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.")
}

fn scopes(caller: &mut Caller, of_alice: &str) {
    get_with(caller, "/api/orders/", of_alice).expect(200);
    let of_bob = sign_in(caller, "bob").access;
    let me = get_with(caller, "/api/me/", &of_bob).expect(200).json();
    assert_eq!(me["user"], "bob");
    let denied = get_with(caller, "/api/orders/", &of_bob).expect(403);
    let challenge = denied.header("www-authenticate").unwrap();
    assert!(challenge.contains("insufficient_scope"), "{challenge}");
}

#[test]
fn what_the_gateway_accepts_and_refuses_is_what_simplejwt_does() {
    let shop = Shop::open(Socket::Unix);
    let signer = Signer::hmac(SECRET.as_bytes());
    let now = token::now();
    let good = json!({
        "token_type": "access", "exp": now + 300, "iat": now, "jti": "0123456789", "user_id": "1",
    });
    let [mut caller, _] = shop.callers();
    get_with(&mut caller, "/api/me/", &signer.sign(&good)).expect(200);
    let changes: &[(&str, Value)] = &[
        ("token_type", json!("refresh")),
        ("token_type", json!("sliding")),
        ("token_type", Value::Null),
        ("exp", Value::Null),
        ("exp", json!(now - 1)),
        ("jti", Value::Null),
        ("user_id", Value::Null),
    ];
    for (name, value) in changes {
        let mut claims = good.clone();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(*name)),
            value => claims[*name] = value.clone(),
        }
        refused(&get_with(&mut caller, "/api/me/", &signer.sign(&claims)));
    }
    let other = Signer::hmac(b"another secret, just as long as the one that Django has");
    refused(&get_with(&mut caller, "/api/me/", &other.sign(&good)));
    shop.expect_arrived("/api/me/", 1);
}

// === bodies ===

#[test]
fn bodies_over_a_unix_socket() {
    bodies(&Shop::open(Socket::Unix));
}

#[test]
fn bodies_over_tcp() {
    bodies(&Shop::open(Socket::Tcp));
}

fn bodies(shop: &Shop) {
    for mut caller in shop.callers() {
        let access = sign_in(&mut caller, "alice").access;
        let headers =
            [("Authorization", &*bearer(&access)), ("Content-Type", "application/octet-stream")];
        let small: &[&[u8]] = &[b"a", b"chunked body ", b"arrives whole"];
        let large = noise(300_000);
        let pieces: Vec<&[u8]> = large.chunks(7_777).collect();
        for pieces in [small, &pieces] {
            let sent = pieces.concat();
            let echo = caller.call("POST", "/api/echo/", &headers, Body::Pieces(pieces));
            let echo = echo.expect(200).json();
            assert_eq!(echo["length"], sent.len(), "{}", caller.name());
            assert_eq!(echo["sha256"], sha256(&sent));
            assert_eq!(echo["meta"]["CONTENT_LENGTH"], sent.len().to_string());
            assert_eq!(echo["meta"].get("HTTP_TRANSFER_ENCODING"), None);
        }
        upload(&mut caller, &access);
        download(&mut caller, &access);
    }
}

fn upload(caller: &mut Caller, access: &str) {
    let file = noise(20 * MIB);
    let boundary = "portcullis-0123456789";
    let mut body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"noise\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(&file);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let headers = [
        ("Authorization", &*bearer(access)),
        ("Content-Type", &*format!("multipart/form-data; boundary={boundary}")),
    ];
    let pieces: Vec<&[u8]> = body.chunks(100_000).collect();
    for body in [Body::Whole(&body), Body::Pieces(&pieces)] {
        let stored = caller.call("POST", "/api/upload/", &headers, body).expect(200).json();
        assert_eq!(stored["length"], file.len(), "{}", caller.name());
        assert_eq!(stored["sha256"], sha256(&file));
    }
}

fn download(caller: &mut Caller, access: &str) {
    let size = 20 * MIB;
    let response = get_with(caller, &format!("/api/download/?size={size}"), access).expect(200);
    assert_eq!(response.header("content-length"), Some(&*size.to_string()));
    assert_eq!(response.body.len(), size);
    let wrong = response.body.iter().zip((0..=255_u8).cycle()).position(|(&got, sent)| got != sent);
    assert_eq!(wrong, None, "{}", caller.name());
}

#[test]
fn a_body_that_is_too_large_never_reaches_the_upstream() {
    let shop = Shop::open(Socket::Unix);
    for mut caller in shop.callers() {
        let access = bearer(&sign_in(&mut caller, "alice").access);
        let headers = [("Authorization", &*access), ("Content-Type", "application/octet-stream")];
        // By its announced length, before a byte of it; then by what has come without one.
        for told in [true, false] {
            let mut caller = match &caller {
                Caller::Http1(_) => {
                    let mut client = Client::tls(
                        shop.gateway.address("https"),
                        &shop.certificate.client("http/1.1"),
                    );
                    client.send(too_large(&headers, told));
                    Caller::Http1(client)
                }
                Caller::Http2(_) => shop.callers().into_iter().nth(1).unwrap(),
            };
            let response = match &mut caller {
                Caller::Http1(client) => client.response(),
                Caller::Http2(_) => {
                    let body = noise(20 * MIB);
                    let pieces: Vec<&[u8]> = body.chunks(100_000).collect();
                    let body = if told { Body::Whole(&body) } else { Body::Pieces(&pieces) };
                    caller.call("POST", "/api/echo/", &headers, body)
                }
            };
            response.expect(413);
        }
    }
    shop.expect_refused("/api/echo/", 0, &["body_too_large"; 4]);
    shop.expect_arrived("/api/echo/", 0);
}

/// A head that tells of 20 MB, or 10 MiB and a byte without telling.
fn too_large(headers: &[(&str, &str)], told: bool) -> Vec<u8> {
    let mut bytes = b"POST /api/echo/ HTTP/1.1\r\nHost: localhost\r\n".to_vec();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if told {
        bytes.extend_from_slice(b"Content-Length: 20000000\r\n\r\n");
    } else {
        bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        bytes.extend_from_slice(format!("{:x}\r\n", 10 * MIB + 1).as_bytes());
        bytes.extend_from_slice(&noise(10 * MIB + 1));
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Bytes that neither compress nor repeat.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

// === the admin and its files ===

#[test]
fn the_admin_signs_in_with_its_files_from_the_gateway() {
    let shop = Shop::open(Socket::Unix);
    for mut caller in shop.callers() {
        let page = caller.get("/admin/login/", &[]).expect(200);
        let html = page.text().to_owned();
        let files: Vec<&str> =
            html.split(['"', '\'']).filter(|text| text.starts_with("/static/")).collect();
        assert!(files.iter().any(|file| file.ends_with(".css")), "{html}");
        assert!(files.iter().any(|file| file.ends_with(".js")), "{html}");
        for file in files {
            let got = caller.get(file, &[]).expect(200);
            let path = file.strip_prefix("/static/").unwrap();
            assert_eq!(got.body, fs::read(shop.stack.static_root.join(path)).unwrap(), "{file}");
            let cached = got.header("cache-control").unwrap();
            assert!(cached.contains("immutable"), "{file}: {cached}");
            let etag = got.header("etag").unwrap().to_owned();
            let again = caller.get(file, &[("If-None-Match", &etag)]);
            assert_eq!((again.status, again.body.len()), (304, 0), "{file}");
        }
        sign_in_to_admin(&mut caller, &page);
    }
    caller_finds_no_way_out(&shop);
    assert!(!shop.stack.arrived().contains("/static/"), "{}", shop.stack.arrived());
}

/// Cookies, CSRF's check of the Referer, a redirect: Django believes that it speaks https.
fn sign_in_to_admin(caller: &mut Caller, page: &Response) {
    let (_, rest) = page.text().split_once("name=\"csrfmiddlewaretoken\" value=\"").unwrap();
    let (token, _) = rest.split_once('"').unwrap();
    let csrf = cookie(page, "csrftoken");
    let form =
        format!("csrfmiddlewaretoken={token}&username=alice&password={PASSWORD}&next=/admin/");
    let headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Referer", "https://localhost/admin/login/"),
        ("Cookie", &*csrf),
    ];
    let entered = caller.call("POST", "/admin/login/", &headers, Body::Whole(form.as_bytes()));
    let entered = entered.expect(302);
    assert_eq!(entered.header("location"), Some("/admin/"));
    let session = cookie(&entered, "sessionid");
    let cookies = match caller {
        Caller::Http1(_) => vec![("Cookie", format!("{csrf}; {session}"))],
        // As browsers do over HTTP/2: one line each.
        Caller::Http2(_) => vec![("Cookie", csrf), ("Cookie", session)],
    };
    let cookies: Vec<_> = cookies.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let inside = caller.get("/admin/", &cookies).expect(200);
    assert!(inside.text().contains("Log out"), "{}", inside.text());
}

/// `name=value` out of the one Set-Cookie that sets it.
fn cookie(response: &Response, name: &str) -> String {
    let set = response.headers.iter().find_map(|(known, value)| {
        (known == "set-cookie" && value.starts_with(&format!("{name}="))).then_some(value)
    });
    let set = set.unwrap_or_else(|| panic!("no {name} in {:?}", response.headers));
    assert!(set.contains("Secure"), "{set}");
    set.split(';').next().unwrap().to_owned()
}

fn caller_finds_no_way_out(shop: &Shop) {
    let [mut caller, _] = shop.callers();
    caller.get("/static/staticfiles.json", &[]).expect(404);
    caller.get("/static/../db.sqlite3", &[]).expect(400);
    caller.get("/static/%2e%2e/db.sqlite3", &[]).expect(400);
    caller.get("/static/admin/", &[]).expect(404);
}

// === plain HTTP ===

#[test]
fn plain_http_only_leads_to_https() {
    let shop = Shop::open(Socket::Unix);
    let https: SocketAddr = shop.gateway.address("https");
    let mut client = Client::tcp(shop.gateway.address("http"));
    let target = format!("https://localhost:{}/api/me/?x=%2F1", https.port());
    let moved = client.get("/api/me/?x=%2F1", "Authorization: Bearer x\r\n").expect(301);
    assert_eq!(moved.header("location"), Some(&*target));
    client.send("POST /api/me/?x=%2F1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi");
    let moved = client.response().expect(308);
    assert_eq!(moved.header("location"), Some(&*target));
    let mut client = Client::tcp(shop.gateway.address("http"));
    client.send("GET / HTTP/1.1\r\nHost: attacker.example\r\n\r\n");
    client.response().expect(421);
    assert_eq!(shop.stack.arrived(), "");
    shop.expect_refused("/", 0, &["misdirected"]);
}

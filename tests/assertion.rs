//! Signed assertions: who gets one, what it says, and that an application of its own verifies it.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::stack::environment;
use crate::support::token::{ISSUER, SECRET, Signer, ec, now};
use crate::support::upstream::Upstream;

const HEADER: &str = "x-portcullis-assertion";
const JWKS: &str = "/.well-known/portcullis/jwks.json";

fn configuration(assertion: &str, upstream: &str) -> String {
    format!(
        r#"
        server.assertion = {{ {assertion} }}
        listener.plain = {{ address = "127.0.0.1:0" }}
        upstream.app = {{ endpoints = ["{upstream}"] }}
        [issuer.main]
        url = "{ISSUER}"
        secret = "${{KEY}}"
        algorithms = ["HS256"]
        audience = ["api"]
        identity_headers = {{ "X-User" = "sub", "X-Roles" = "roles" }}
        [[route]]
        path = "/private/*"
        upstream = "app"
        [[route]]
        path = "/maybe/*"
        upstream = "app"
        anonymous = true
        [[route]]
        path = "/public/*"
        upstream = "app"
        public = true
        "#
    )
}

/// A token of the issuer, good for `seconds`.
fn token(seconds: i64) -> String {
    let claims = json!({
        "iss": ISSUER, "aud": "api", "sub": "ada", "roles": ["admin", "a,b"],
        "iat": now(), "exp": now() + seconds,
    });
    Signer::hmac(SECRET.as_bytes()).sign(&claims)
}

fn ask(gateway: &Gateway, path: &str, lines: &str) {
    Client::tcp(gateway.address("plain")).get(path, lines).expect(200);
}

fn bearer(seconds: i64) -> String {
    format!("Authorization: Bearer {}\r\n", token(seconds))
}

fn published(gateway: &Gateway) -> Value {
    let response = Client::tcp(gateway.address("plain")).get(JWKS, "").expect(200);
    assert_eq!(response.header("cache-control"), Some("public, max-age=300"));
    response.json()
}

/// The claims, once signature, issuer and audience are verified with the published keys.
fn verified(keys: &Value, assertion: &str) -> Value {
    let header = decode_header(assertion).unwrap();
    assert_eq!(header.typ.as_deref(), Some("portcullis-assertion+jwt"));
    let set: JwkSet = serde_json::from_value(keys.clone()).unwrap();
    let key = DecodingKey::from_jwk(set.find(&header.kid.unwrap()).unwrap()).unwrap();
    let mut validation = Validation::new(header.alg);
    validation.set_audience(&["app"]);
    validation.set_issuer(&["portcullis"]);
    decode::<Value>(assertion, &key, &validation).unwrap().claims
}

#[test]
fn an_assertion_says_who_for_whom_and_until_when() {
    for (settings, algorithm) in
        [("ttl = \"60s\"", Algorithm::ES256), ("algorithm = \"EdDSA\"", Algorithm::EdDSA)]
    {
        let upstream = Upstream::saying("reached");
        let gateway =
            Setup::new().variable("KEY", SECRET).start(&configuration(settings, &upstream.url()));
        let keys = published(&gateway);
        assert!(keys["keys"][0].get("d").is_none(), "{keys}");
        ask(&gateway, "/private/x", &bearer(3600));
        let received = upstream.received().pop().unwrap();
        let assertion = received.headers(HEADER)[0];
        assert_eq!(decode_header(assertion).unwrap().alg, algorithm);
        let claims = verified(&keys, assertion);
        assert_eq!(claims["sub"], "ada");
        assert_eq!(claims["issuer"], "main");
        assert_eq!(claims["identity"], json!({ "x-user": "ada", "x-roles": "admin,a%2Cb" }));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
        // The token ends first: 30 s of leeway are left to it.
        let until = now() + 10;
        ask(&gateway, "/private/x", &bearer(10 - 30));
        let received = upstream.received().pop().unwrap();
        let claims = verified(&keys, received.headers(HEADER)[0]);
        assert!(claims["exp"].as_i64().unwrap() <= until + 5, "{claims}");
    }
}

#[test]
fn only_a_token_brings_one_and_no_client_can() {
    let upstream = Upstream::saying("reached");
    let gateway = Setup::new().variable("KEY", SECRET).start(&configuration("", &upstream.url()));
    let own = |path: &str, lines: &str| {
        ask(&gateway, path, lines);
        let received = upstream.received().pop().unwrap();
        assert!(!received.head.contains("forged"), "{}", received.head);
        received.headers(HEADER).len()
    };
    let forged = "X-Portcullis-Assertion: forged\r\nX_Portcullis_Assertion: forged\r\n";
    assert_eq!(own("/public/x", &format!("{forged}{}", bearer(60))), 0);
    assert_eq!(own("/maybe/x", forged), 0);
    assert_eq!(own("/maybe/x", &format!("{forged}{}", bearer(60))), 1);
    assert_eq!(own("/private/x", &format!("{forged}{}", bearer(60))), 1);
    let nominated = format!("Connection: x-portcullis-assertion\r\n{}", bearer(60));
    assert_eq!(own("/private/x", &nominated), 1);
    // The keys are published, and nothing near them is.
    let mut client = Client::tcp(gateway.address("plain"));
    client.send(format!("HEAD {JWKS} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    assert_eq!(client.try_response("HEAD").unwrap().status, 200);
    client.get(&format!("{JWKS}/"), "").expect(404);
    client.send(format!("POST {JWKS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"));
    client.response().expect(404);
}

#[test]
fn without_the_setting_nothing_is_published() {
    let upstream = Upstream::saying("reached");
    let text = configuration("", &upstream.url()).replace("server.assertion = {  }", "");
    let gateway = Setup::new().variable("KEY", SECRET).start(&text);
    Client::tcp(gateway.address("plain")).get(JWKS, "").expect(404);
    ask(&gateway, "/private/x", &bearer(60));
    assert_eq!(upstream.received()[0].headers(HEADER), [""; 0]);
}

#[test]
fn a_key_outlives_reloads_and_its_successor() {
    let upstream = Upstream::saying("reached");
    let gateway = Setup::new().variable("KEY", SECRET).start(&configuration("", &upstream.url()));
    let asserted = || {
        ask(&gateway, "/private/x", &bearer(60));
        upstream.received().pop().unwrap().headers(HEADER)[0].to_owned()
    };
    let (first, keys) = (asserted(), published(&gateway));
    gateway.reload(&configuration("ttl = \"30s\"", &upstream.url())).unwrap();
    assert_eq!(published(&gateway), keys, "a generated key stays");
    let pem = jwt_key_pem();
    fs::write(gateway.folder().join("key.pem"), pem).unwrap();
    gateway.reload(&configuration("key = \"key.pem\"", &upstream.url())).unwrap();
    let both = published(&gateway);
    assert_eq!(both["keys"].as_array().unwrap().len(), 2);
    assert_eq!(both["keys"][1], keys["keys"][0], "what the old key signed still counts");
    verified(&both, &first);
    let second = asserted();
    assert_ne!(decode_header(&first).unwrap().kid, decode_header(&second).unwrap().kid);
    verified(&both, &second);
    // A key that is none changes nothing.
    fs::write(gateway.folder().join("key.pem"), "no key").unwrap();
    assert!(gateway.reload(&configuration("key = \"key.pem\"", &upstream.url())).is_err());
    assert_eq!(published(&gateway), both);
}

/// A private P-256 key in PKCS #8.
fn jwt_key_pem() -> String {
    rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem()
}

// === the real stack ===

/// Gunicorn with Django and the middleware of docs/assertion.md.
struct App {
    gunicorn: Child,
}

impl App {
    fn start(folder: &Path, socket: &Path, jwks: &str) -> Self {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/assertion");
        let page = tests.join("../../docs/assertion.md");
        let page = fs::read_to_string(page).unwrap();
        let middleware = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
        fs::write(folder.join("portcullis_assertion.py"), middleware).unwrap();
        fs::copy(tests.join("app.py"), folder.join("app.py")).unwrap();
        let python = environment(&tests.join("requirements.txt"));
        let gunicorn = Command::new(python.join("bin/python"))
            .args(["-m", "gunicorn", "app:application", "--bind"])
            .arg(format!("unix:{}", socket.display()))
            .current_dir(folder)
            .env("JWKS", jwks)
            .stdin(Stdio::null())
            .stderr(fs::File::create(folder.join("gunicorn.log")).unwrap())
            .spawn()
            .unwrap();
        Self { gunicorn }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let id = i32::try_from(self.gunicorn.id()).unwrap();
        if kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).is_ok() {
            drop(self.gunicorn.wait());
        }
    }
}

#[test]
fn django_verifies_it_with_the_middleware_of_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("app.sock");
    let upstream = format!("unix:{}", socket.display());
    let text = configuration("ttl = \"2s\"", &upstream);
    let gateway = Setup::new().variable("KEY", SECRET).start(&text);
    let jwks = format!("http://{}{JWKS}", gateway.address("plain"));
    let _app = App::start(folder.path(), &socket, &jwks);
    eventually("Gunicorn answers", || {
        let mut client = Client::tcp(gateway.address("plain"));
        (client.get("/public/x", "").status == 200).then_some(())
    });

    let mut client = Client::tcp(gateway.address("plain"));
    let answer = client.get("/private/x", &bearer(3600)).expect(200).json();
    assert_eq!(answer["principal"]["sub"], "ada");
    assert_eq!(answer["principal"]["identity"]["x-roles"], "admin,a%2Cb");
    let public = client.get("/public/x", &bearer(3600)).expect(200).json();
    assert_eq!(public["principal"], Value::Null);

    // Past the gateway, on the application's own socket.
    let direct = |assertion: &str| {
        let line = format!("X-Portcullis-Assertion: {assertion}\r\nConnection: close\r\n");
        Client::unix(&socket).get("/private/x", &line).status
    };
    let good = answer["assertion"].as_str().unwrap();
    let fresh = client.get("/private/x", &bearer(3600)).expect(200).json();
    assert_eq!(direct(fresh["assertion"].as_str().unwrap()), 200);
    let claims = json!({
        "iss": "portcullis", "aud": "app", "sub": "root", "iat": now(), "exp": now() + 60,
    });
    let typ = json!({ "alg": "ES256", "typ": "portcullis-assertion+jwt", "kid": "ec-1" });
    assert_eq!(direct(&ec().sign_with(&typ, &claims)), 401, "another key");
    assert_eq!(direct(&crate::support::token::tampered(good)), 401, "another signature");
    assert_eq!(direct(&token(3600)), 401, "an access token");
    eventually("it ends", || (direct(good) == 401).then_some(()));
}

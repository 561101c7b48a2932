//! What npm brings: tokens of jose, and oidc-provider as the issuer of a running gateway.
//!
//! The packages are installed once under `target/`, as `npm/package-lock.json` names them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use portcullis::keys::Algorithm;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::program;
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::gateway::Setup;
use crate::support::program::{Running, told};
use crate::support::stack::{hash_of, once, run};
use crate::support::token::claims;
use crate::support::upstream::{Then, Upstream};

const FILES: [&str; 9] = [
    "issuer.mjs",
    "mint.mjs",
    "node-restarts.mjs",
    "node-server.mjs",
    "package-lock.json",
    "package.json",
    "ws-client.mjs",
    "ws-echo.mjs",
    "ws-h2-client.mjs",
];

/// A folder with the scripts and the packages they use.
fn folder() -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/npm");
    let version = run(program("node", "nodejs").arg("--version"));
    let mut parts = vec![version.into_bytes()];
    parts.extend(FILES.iter().map(|name| fs::read(sources.join(name)).unwrap()));
    once(&format!("npm-{:016x}", hash_of(&parts)), |folder| {
        fs::create_dir_all(folder).unwrap();
        for name in FILES {
            fs::copy(sources.join(name), folder.join(name)).unwrap();
        }
        run(program("npm", "npm").current_dir(folder).args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ]));
    })
}

/// Node with one of the scripts.
pub(crate) fn node(script: &str) -> Command {
    let mut command = program("node", "nodejs");
    command.current_dir(folder()).arg(script);
    command
}

#[test]
fn tokens_of_jose_verify_for_every_algorithm() {
    let iss = "https://id.example.com/";
    let minted = run(node("mint.mjs").arg(claims(iss, "ada").to_string()));
    let minted: Vec<Value> = serde_json::from_str(&minted).unwrap();
    let mut accepted = Vec::new();
    for entry in &minted {
        let (alg, token) = (entry["alg"].as_str().unwrap(), entry["token"].as_str().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let source = match entry["secret"].as_str() {
            Some(secret) => format!("secret = \"{secret}\"\nalgorithms = [\"{alg}\"]"),
            None => {
                let set = json!({ "keys": [entry["jwk"]] }).to_string();
                fs::write(folder.path().join("jwks.json"), set).unwrap();
                let name = if alg == "Ed25519" { "EdDSA" } else { alg };
                format!("jwks_file = \"jwks.json\"\nalgorithms = [\"{name}\"]")
            }
        };
        let text = format!(
            "[listener.main]\naddress = \"127.0.0.1:0\"\n\
             [issuer.main]\nurl = \"{iss}\"\naudience = [\"api\"]\n{source}\n\
             [[route]]\npath = \"/*\"\nupstream = \"http://127.0.0.1:9\"\n"
        );
        fs::write(folder.path().join("gateway.toml"), text).unwrap();
        let verify = |token: &str| told(folder.path(), &["token", "verify", token]);
        if alg.starts_with("ML-DSA") {
            verify(token).expect(1);
            continue;
        }
        verify(token).expect(0);
        for place in [3, token.find('.').unwrap() + 3, token.rfind('.').unwrap() + 3] {
            let mut altered = token.as_bytes().to_vec();
            altered[place] = if altered[place] == b'A' { b'Q' } else { b'A' };
            verify(std::str::from_utf8(&altered).unwrap()).expect(1);
        }
        accepted.push(alg);
    }
    println!("jose {:2}: {}", accepted.len(), accepted.join(" "));
    for algorithm in Algorithm::ALL.iter().filter(|one| **one != Algorithm::ES256K) {
        assert!(accepted.contains(&algorithm.as_str()), "{algorithm}");
    }
    assert!(accepted.contains(&"Ed25519"));
}

/// oidc-provider, listening.
struct Provider {
    program: Running,
    url: String,
}

impl Provider {
    fn start(place: &Path) -> Self {
        let mut command = node("issuer.mjs");
        command.stdin(Stdio::null());
        let mut program = Running::start(place, &mut command);
        let url = program.until("the issuer listens", |program| {
            said(program).into_iter().find_map(|event| event["url"].as_str().map(str::to_owned))
        });
        Self { program, url }
    }

    fn address(&self) -> SocketAddr {
        self.url.strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// A new key, and the former gone.
    fn rotate(&mut self) {
        let rotated =
            |program: &Running| said(program).iter().filter(|e| e["rotated"].is_u64()).count();
        let before = rotated(&self.program);
        self.program.signal(Signal::USR2);
        self.program
            .until("the key is rotated", |program| (rotated(program) > before).then_some(()));
    }

    /// How often each path was asked for.
    fn asked(&self) -> BTreeMap<String, usize> {
        let mut asked = BTreeMap::new();
        for path in said(&self.program).iter().filter_map(|event| event["path"].as_str()) {
            *asked.entry(path.to_owned()).or_default() += 1;
        }
        asked
    }

    /// An access token for the resource of these tests.
    fn token(&self) -> String {
        let body = "grant_type=client_credentials&scope=orders%3Aread\
                    &client_id=service&client_secret=a+secret+of+the+client";
        let mut client = Client::tcp(self.address());
        client.send(format!(
            "POST /token HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address(),
            body.len()
        ));
        let answer = client.response().expect(200).json();
        answer["access_token"].as_str().unwrap().to_owned()
    }
}

/// The lines of JSON that a script has written.
pub(crate) fn said(program: &Running) -> Vec<Value> {
    let said = program.stdout();
    said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn the_keys_of_oidc_provider_are_discovered_and_rotated() {
    let place = tempfile::tempdir().unwrap();
    let mut provider = Provider::start(place.path());
    let upstream = Upstream::start(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        Ok(Then::Keep)
    });
    let gateway = Setup::new().start(&format!(
        "[listener.main]\naddress = \"127.0.0.1:0\"\n\
         [issuer.provider]\nurl = \"{}\"\naudience = [\"https://api.example.com\"]\n\
         types = [\"at+jwt\"]\nunknown_kid_cooldown = \"1s\"\n\
         identity_headers = {{ \"X-Client\" = \"client_id\" }}\n\
         [[route]]\npath = \"/*\"\nupstream = \"{}\"\nrequire = {{ scope = [\"orders:read\"] }}\n",
        provider.url,
        upstream.url()
    ));
    let ask = |token: &str| {
        let mut client = Client::tcp(gateway.address("main"));
        client.send(format!(
            "GET /orders HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        ));
        client.response().status
    };
    eventually("the keys arrive", || (gateway.admin("/readyz").status == 200).then_some(()));
    let first = provider.token();
    assert_eq!(ask(&first), 200);
    let received = upstream.received();
    assert_eq!(received[0].headers("x-client"), ["service"]);
    let before = provider.asked();
    assert_eq!((before["/.well-known/openid-configuration"], before["/jwks"]), (1, 1));

    // A key that nobody knew: the first request after the cool-down makes the one fetch.
    provider.rotate();
    let second = provider.token();
    eventually("the new key counts", || match ask(&second) {
        200 => Some(()),
        refused => {
            assert_eq!(refused, 401);
            std::thread::sleep(Duration::from_millis(100));
            None
        }
    });
    assert_eq!(provider.asked()["/jwks"], 2, "one forced fetch");
    // The former key is gone from the set, and its cached token with it.
    eventually("the old key is forgotten", || (ask(&first) == 401).then_some(()));
    for _ in 0..20 {
        assert_eq!(ask(&second), 200);
    }
    assert!(provider.asked()["/jwks"] <= 3, "the old token may force one more");
}

//! The verbs, run as an operator runs them: what they print, and how they end.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::certificate::Certificate;
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::program::{Running, portcullis, told, told_of, told_with_input};
use crate::support::token::{Signer, now, tampered};
use crate::support::upstream::{Then, Upstream};

const SECRET: &str = "q3Zt7Hn0sVb5Xw1Lr8Jk4Pd6Gf2MyCeA";

/// A folder with this `gateway.toml`.
fn folder(text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("gateway.toml"), text).unwrap();
    folder
}

/// Golden texts of this file lie in `golden/cli/`.
fn golden(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

// === check ===

#[test]
fn check_shows_every_mistake_of_the_text() {
    let name = "everything_at_once.toml";
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), golden(&format!("config/{name}"))).unwrap();
    // What is not there is told as well.
    fs::create_dir(folder.path().join("public")).unwrap();
    let told = told(folder.path(), &["check", "-c", name]).expect(2);
    assert_eq!(told.stderr, golden("config/everything_at_once.txt"));
    assert_eq!(told.stdout, "");
}

/// Each of these is well written; what it names is not there, too weak, or in doubt.
#[test]
fn check_shows_every_problem_with_what_the_text_refers_to() {
    let folder = folder(&golden("cli/unusable.toml"));
    let told = told(folder.path(), &["check"]).expect(2);
    let place = fs::canonicalize(folder.path()).unwrap();
    let stderr = told.stderr.replace(place.to_str().unwrap(), "FOLDER");
    assert_eq!(
        stderr.replace(folder.path().to_str().unwrap(), "FOLDER"),
        golden("cli/unusable.txt")
    );
    assert!(!told.stderr.contains("swordfish"), "a secret is shown");
}

/// Mistakes of the text hide nothing of what it refers to, and make nothing up.
#[test]
fn check_tells_of_the_text_and_of_what_it_refers_to_at_once() {
    let folder = folder(&golden("cli/both.toml"));
    for verb in ["check", "run", "routes"] {
        let told = told(folder.path(), &[verb]).expect(2);
        let place = fs::canonicalize(folder.path()).unwrap();
        let stderr = told.stderr.replace(place.to_str().unwrap(), "FOLDER");
        let stderr = stderr.replace(folder.path().to_str().unwrap(), "FOLDER");
        assert_eq!(stderr, golden("cli/both.txt"), "{verb}");
    }
    // How routes meet is told where they are all as they were meant.
    let twice = "[[route]]\npath = \"/a\"\nupstream = \"http://h:1\"\npublic = true\n";
    let tie = format!(
        "[listener.a]\naddress = \":0\"\n[issuer.x]\nurl = \"https://x/\"\naudience = [\"x\"]\n\
         secret_encoding = \"hex\"\n{twice}{}",
        twice.replace("public = true\n", "name = \"other\"\n")
    );
    let told_tie = |text: &str| {
        fs::write(folder.path().join("gateway.toml"), text).unwrap();
        told(folder.path(), &["check"]).expect(2).stderr
    };
    let said = told_tie(&tie);
    assert!(said.contains("`secret_encoding` without a `secret`"), "{said}");
    assert!(said.contains("neither is more specific"), "{said}");
    let said = told_tie(&tie.replace("public = true", "pubic = true"));
    assert!(!said.contains("neither is more specific"), "{said}");
}

#[test]
fn check_says_that_a_good_file_has_no_errors_and_warns_of_what_is_odd() {
    let text = plain("127.0.0.1:0", "http://127.0.0.1:1");
    let good = folder(&text.replace("/open/*\"\n", "/open/*\"\nmethods = [\"GET\"]\n"));
    let told_good = told(good.path(), &["check"]).expect(0);
    assert_eq!((&*told_good.stdout, &*told_good.stderr), ("./gateway.toml: no errors\n", ""));
    let odd = folder(&text.replace("127.0.0.1:0", "0.0.0.0:0"));
    let told_odd = told(odd.path(), &["check"]).expect(0);
    assert_eq!(told_odd.stdout, "./gateway.toml: no errors\n");
    for line in [
        "warning: listener `main` takes tokens over plain HTTP from other machines",
        " --> ./gateway.toml:2:11\n",
        "warning: public route `/open/*` opens a part of route `/*`",
        "  --> ./gateway.toml:10:8\n",
    ] {
        assert!(told_odd.stderr.contains(line), "no {line:?}: {}", told_odd.stderr);
    }
}

#[test]
fn the_configuration_is_found_where_the_help_says() {
    let text = plain("127.0.0.1:0", "http://127.0.0.1:1");
    let (here, elsewhere) = (folder(&text), folder("[listner]"));
    told(here.path(), &["check"]).expect(0);
    let variable = |command: &mut std::process::Command| {
        told_of(command.env("PORTCULLIS_CONFIG", elsewhere.path().join("gateway.toml")))
    };
    variable(portcullis(here.path()).arg("check")).expect(2);
    variable(portcullis(here.path()).args(["-c", "gateway.toml", "check"])).expect(0);
    variable(portcullis(here.path()).args(["check", "-c", "gateway.toml"])).expect(0);
    let missing = told(here.path(), &["check", "-c", "none.toml"]).expect(2);
    assert!(missing.stderr.contains("cannot read the configuration `none.toml`"));
}

#[test]
fn without_a_configuration_every_verb_says_how_to_get_one() {
    if Path::new("/etc/portcullis/gateway.toml").exists() {
        panic!("this machine has a configuration in /etc/portcullis");
    }
    let empty = tempfile::tempdir().unwrap();
    for verb in ["run", "check", "routes", "reload", "healthcheck"] {
        let told = told(empty.path(), &[verb]).expect(2);
        assert!(told.stderr.contains("no configuration: neither ./gateway.toml nor"), "{verb}");
        assert!(told.stderr.contains("hint: `portcullis init` writes one"), "{verb}");
    }
    // No verb is `run`.
    assert!(told(empty.path(), &[]).expect(2).stderr.contains("no configuration"));
}

#[test]
fn what_is_no_verb_is_an_error_of_usage() {
    let empty = tempfile::tempdir().unwrap();
    for arguments in [&["serve"][..], &["check", "--fast"], &["explain", "GET"], &["run", "extra"]]
    {
        let told = told(empty.path(), arguments).expect(2);
        assert!(told.stderr.contains("Usage: portcullis"), "{arguments:?}: {}", told.stderr);
    }
    let help = told(empty.path(), &["--help"]).expect(0).stdout;
    for verb in [
        "run",
        "demo",
        "init",
        "check",
        "explain",
        "routes",
        "reload",
        "healthcheck",
        "schema",
        "reference",
        "completions",
        "man",
        "version",
    ] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(verb)), "{verb}: {help}");
    }
}

// === routes, explain ===

/// Four routes that meet each other; tokens as simplejwt signs them.
fn shop() -> TempDir {
    let folder = folder(&format!(
        r#"[listener.main]
address = "127.0.0.1:8080"
[listener.tls]
address = "127.0.0.1:8443"
[listener.tls.tls]
certificates = [{{ cert = "server.crt", key = "server.key" }}]
[issuer.shop]
preset = "simplejwt"
secret = "{SECRET}"
identity_headers = {{ X-User = "user_id" }}
[upstream.web]
endpoints = ["http://127.0.0.1:8000", "unix:gunicorn.sock"]
response_timeout = "7s"
[[route]]
path = "/api/*"
upstream = "web"
max_body = "2MiB"
[[route]]
path = "/api/orders/*"
methods = ["GET", "POST"]
upstream = "web"
require = {{ scope = ["orders:read"] }}
[[route]]
hosts = ["*.example.com"]
path = "/about"
static = "."
public = true
[[route]]
path = "/only"
methods = ["PUT"]
upstream = "web"
[[route]]
path = "/old/*"
upstream = "web"
strip_prefix = "/old"
add_prefix = "/new"
"#
    ));
    Certificate::make(folder.path());
    fs::write(folder.path().join("about"), "us").unwrap();
    // As `init` would leave it.
    fs::set_permissions(
        folder.path().join("server.key"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    folder
}

#[test]
fn explain_knows_what_servers_of_a_kind_take_of_a_head() {
    let folder = folder(
        "[listener.main]\naddress = \"127.0.0.1:8080\"\n\
         [upstream.web]\nendpoints = [\"http://127.0.0.1:8000\"]\nkind = \"wsgi\"\n\
         [[route]]\npath = \"/*\"\nupstream = \"web\"\npublic = true\n",
    );
    let explained = |length: usize| {
        let url = format!("http://localhost/{}", "a".repeat(length));
        let said = told(folder.path(), &["explain", "GET", &url]).expect(0).stdout;
        said.lines().last().unwrap().to_owned()
    };
    assert_eq!(explained(4000), "answer     what web answers");
    assert_eq!(explained(4100), "answer     414 target_too_long");
}

#[test]
fn routes_prints_the_table_as_compiled() {
    let shop = shop();
    let printed = told(shop.path(), &["routes"]).expect(0).stdout;
    let rows: Vec<Vec<&str>> = printed
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    let place = fs::canonicalize(shop.path()).unwrap();
    let about = rows[3][4].to_owned();
    assert_eq!(fs::canonicalize(&about).unwrap(), place);
    let expected = [
        ["HOST", "PATH", "METHODS", "WHO", "WHERE"],
        ["*", "/api/*", "*", "shop", "web"],
        ["*", "/api/orders/*", "GET, HEAD, POST", r#"shop: scope any of ["orders:read"]"#, "web"],
        ["*.example.com", "/about", "*", "public", &about],
        ["*", "/only", "PUT", "shop", "web"],
        ["*", "/old/*", "*", "shop", "web (/old/* -> /new/*)"],
    ];
    assert_eq!(rows, expected.map(Vec::from));
}

fn access(claims: &Value) -> String {
    let mut all = json!({
        "token_type": "access", "jti": "1", "user_id": "7", "iat": now(), "exp": now() + 300,
    });
    for (name, value) in claims.as_object().unwrap() {
        all[name] = value.clone();
    }
    Signer::hmac(SECRET.as_bytes()).sign(&all)
}

#[test]
fn explain_tells_the_route_and_why_the_others_lost() {
    let shop = shop();
    let explain = |method: &str, url: &str, headers: &[&str]| {
        let headers = headers.iter().flat_map(|header| ["-H", header]);
        let arguments: Vec<_> = ["explain", method, url].into_iter().chain(headers).collect();
        told(shop.path(), &arguments).expect(0).stdout
    };
    // (method, URL, header, lines in this order)
    let cases: &[(&str, &str, &[&str], &[&str])] = &[
        (
            "GET",
            "http://a/api/%6frders/1?x=2",
            &[],
            &[
                "listener   main",
                "host       a",
                "path       /api/orders/1",
                "route      /api/orders/* GET,POST",
                "  not /api/*: less specific",
                "  not *.example.com/about: another host",
                "token      refused: token_missing (no_credentials)",
            ],
        ),
        (
            "DELETE",
            "http://a/api/orders/1",
            &[],
            &["route      /api/*", "  not /api/orders/* GET,POST: another method"],
        ),
        (
            "GET",
            "http://a.example.com/about",
            &[],
            &[
                "host       a.example.com",
                "route      *.example.com/about",
                "policy     public",
                "action     serve a file of ",
            ],
        ),
        (
            "GET",
            "http://a/about",
            &[],
            &["route      refused: no_route (", "answer     404 no_route\n"],
        ),
        (
            "GET",
            "http://a/only",
            &[],
            &["refused: method_not_allowed (", "allowed: PUT", "answer     405 "],
        ),
        ("GET", "http://a/api/../only", &[], &["path       /only"]),
        ("GET", "http://a/%2e%2e/x", &[], &["path       refused: bad_request ("]),
        (
            "GET",
            "http://a/api%2fx",
            &[],
            &[
                "path       /api%2Fx\n",
                "  leads to no route",
                "  but another reading to route /api/*",
                "path       refused: ambiguous_path (some read it as `/api/x`)",
            ],
        ),
        (
            "GET",
            "http://a/api/group%2fname",
            &[],
            &["path       /api/group%2Fname", "route      /api/*"],
        ),
        ("TRACE", "http://a/api/x", &[], &["head       refused: method_not_allowed ("]),
        (
            "GET",
            "https://localhost/api/x",
            &[],
            &[
                "listener   tls",
                "tls        ",
                "server.crt for localhost, ",
                "host       localhost\n",
            ],
        ),
        (
            "GET",
            "https://other.example/api/x",
            &[],
            &["tls        refused: no certificate covers other.example (alert unrecognized_name)"],
        ),
        (
            "GET",
            "http://a/api/x",
            &["X_User: root", "x-user: root"],
            &["deleted    x_user: ", "deleted    x-user: "],
        ),
        (
            "GET",
            "http://a/api/x",
            &["Authorization: Basic eA=="],
            &["token      refused: token_missing"],
        ),
        (
            "GET",
            "http://a/api/x",
            &["Authorization: Bearer a", "authorization: Bearer b"],
            &["token      refused: duplicate_credentials"],
        ),
    ];
    for (method, url, headers, lines) in cases {
        let said = explain(method, url, headers);
        let mut rest = said.as_str();
        for line in *lines {
            let at =
                rest.find(line).unwrap_or_else(|| panic!("{method} {url}: no {line:?}: {said}"));
            rest = &rest[at + line.len()..];
        }
    }
    // Nothing that comes after a refusal is told as if it happened.
    assert!(!explain("GET", "https://other.example/api/x", &[]).contains("\nroute"));
}

#[test]
fn explain_tells_the_tokens_verdict_step_by_step() {
    let shop = shop();
    let explain = |path: &str, token: &str| {
        let url = format!("http://a{path}");
        told(shop.path(), &["explain", "GET", &url, "--token", token]).expect(0).stdout
    };
    let good = explain("/api/x", &access(&json!({})));
    for line in [
        "  algorithm   shop: `HS256`\n",
        "  signature   shop: the secret\n",
        "token      ok (issuer shop)\n",
        "identity   x-user: 7\n",
        "action     forward to web\n",
        "body       at most 2097152 bytes, ",
        "response 7s",
    ] {
        assert!(good.contains(line), "no {line:?}: {good}");
    }
    let other = Signer::hmac(b"another secret of thirty-two bytes").sign(&json!({
        "token_type": "access", "jti": "1", "user_id": "7", "exp": now() + 300,
    }));
    let cases = [
        ("bad_signature", tampered(&access(&json!({})))),
        ("bad_signature", other),
        ("token_expired", access(&json!({ "exp": now() - 1 }))),
        ("token_not_yet_valid", access(&json!({ "nbf": now() + 300 }))),
        ("claim_refused", access(&json!({ "token_type": "refresh" }))),
        ("unknown_issuer", access(&json!({ "iss": "https://id.example.com/" }))),
        ("token_malformed", "a.b".to_owned()),
        ("token_too_large", "a".repeat(8000)),
    ];
    for (reason, token) in cases {
        let said = explain("/api/x", &token);
        assert!(said.contains(&format!("token      refused: {reason} (")), "{reason}: {said}");
        assert!(!said.contains("action "), "{reason}: {said}");
        assert!(!said.contains(&token), "the token is repeated: {said}");
        assert!(!said.contains(SECRET), "{said}");
    }
    // A good token that is not enough, and one that is, from standard input.
    let said = explain("/api/orders/1", &access(&json!({ "scope": "orders:write" })));
    assert!(said.contains("policy     refused: insufficient_scope ("), "{said}");
    let enough = access(&json!({ "scope": "openid orders:read" })) + "\n";
    let arguments = ["explain", "GET", "http://a/api/orders/1", "--token", "-"];
    let said = told_with_input(shop.path(), &arguments, &enough).expect(0).stdout;
    assert!(said.contains("action     forward to web"), "{said}");
}

#[test]
fn explain_never_says_yes_where_the_gateway_says_no() {
    let folder = folder(&format!(
        r#"[server]
revocations = "revoked.jsonl"
assertion = {{}}
[listener.main]
address = "127.0.0.1:8080"
redirect_to = "tls"
[listener.tls]
address = "127.0.0.1:8443"
[listener.tls.tls]
certificates = [{{ cert = "server.crt", key = "server.key" }}]
[issuer.shop]
preset = "simplejwt"
secret = "{SECRET}"
[[route]]
path = "/api/*"
upstream = "http://127.0.0.1:8000"
websocket = false
"#
    ));
    Certificate::make(folder.path());
    let line = json!({ "issuer": "shop", "jti": "gone", "until": now() + 900 });
    fs::write(folder.path().join("revoked.jsonl"), line.to_string()).unwrap();
    let explain = |url: &str, more: &[&str]| {
        let arguments = [&["explain", "GET", url], more].concat();
        told(folder.path(), &arguments).expect(0).stdout
    };
    let (good, gone) = (access(&json!({})), access(&json!({ "jti": "gone" })));
    let api = "https://localhost/api/x";
    let switch = ["-H", "Upgrade: websocket", "-H", "Connection: Upgrade"];
    let switch = [&switch[..], &["-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]].concat();
    let switch = [&switch[..], &["-H", "Sec-WebSocket-Version: 13", "--token", &good]].concat();
    for (said, line) in [
        (explain(api, &["--token", &gone]), "token      refused: token_revoked (jti_revoked)"),
        (explain(api, &switch), "websocket  refused: forbidden ("),
        (explain("http://other.example/api/x", &[]), "redirect   refused: misdirected ("),
    ] {
        assert!(said.contains(line) && !said.contains("action "), "no {line:?}: {said}");
        assert!(!said.contains("redirect   to"), "{said}");
    }
    assert!(explain(api, &["--token", &good]).contains("action     forward"), "the control");
    assert!(explain("http://localhost/api/x", &[]).contains("redirect   to https"));
    let keys = explain("http://any.example/.well-known/portcullis/jwks.json", &[]);
    assert!(keys.contains("local      the public keys"), "{keys}");
}

#[test]
fn explain_refuses_what_is_no_request() {
    let shop = shop();
    for (arguments, says) in [
        (&["GET", "/api/x"][..], "URL: begins with https:// or http://"),
        (&["GET", "ftp://a/x"], "URL: begins with https:// or http://"),
        (&["G T", "http://a/"], "method: "),
        (&["GET", "http://a/", "-H", "no colon"], "header `no colon`: written `Name: value`"),
        (
            &["GET", "http://a/", "--token", "a\nb"],
            "the token holds a character that no header may",
        ),
    ] {
        let arguments: Vec<_> = [&["explain"], arguments].concat();
        let told = told(shop.path(), &arguments).expect(2);
        assert!(told.stderr.contains(says), "{arguments:?}: {}", told.stderr);
    }
}

// === schema, reference, version, init ===

#[test]
fn generated_pages_are_compared_with_the_files_that_hold_them() {
    let folder = tempfile::tempdir().unwrap();
    for verb in ["schema", "reference"] {
        let printed = told(folder.path(), &[verb]).expect(0).stdout;
        fs::write(folder.path().join("kept"), &printed).unwrap();
        let same = told(folder.path(), &[verb, "--check", "kept"]).expect(0);
        assert_eq!((&*same.stdout, &*same.stderr), ("", ""));
        fs::write(folder.path().join("kept"), printed + "x").unwrap();
        let other = told(folder.path(), &[verb, "--check", "kept"]).expect(1);
        let hint = format!("kept is out of date\nhint: portcullis {verb} > kept\n");
        assert!(other.stderr.ends_with(&hint), "{}", other.stderr);
        told(folder.path(), &[verb, "--check", "missing"]).expect(1);
    }
    let schema: Value = serde_json::from_str(&told(folder.path(), &["schema"]).stdout).unwrap();
    assert_eq!(schema["type"], "object");
    for table in ["listener", "issuer", "upstream", "route", "server", "cache", "admin", "log"] {
        assert!(schema["properties"][table].is_object(), "{table}");
    }
}

#[test]
fn version_is_cargos() {
    let folder = tempfile::tempdir().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let text = told(folder.path(), &["version"]).expect(0).stdout;
    assert_eq!(text, format!("portcullis {version}\n"));
    assert_eq!(told(folder.path(), &["--version"]).expect(0).stdout, text);
    let printed = told(folder.path(), &["version", "--json"]).expect(0).stdout;
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed["version"], version);
}

#[test]
fn completions_complete() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = told(folder.path(), &["completions", shell]).expect(0).stdout;
        assert!(script.contains("healthcheck") && script.contains("watch"), "{shell}: {script}");
        fs::write(folder.path().join(shell), script).unwrap();
    }
    told(folder.path(), &["completions", "tcsh"]).expect(2);
    // As bash asks after TAB: the words so far, and which of them is meant.
    let complete = |words: &str, at: usize| {
        let script = format!(
            "source ./bash; COMP_WORDS=({words}); COMP_CWORD={at}; \
             _portcullis portcullis \"${{COMP_WORDS[{at}]}}\" \"${{COMP_WORDS[{at}-1]}}\"; \
             echo \"${{COMPREPLY[*]}}\""
        );
        let mut bash = std::process::Command::new("bash");
        told_of(bash.current_dir(folder.path()).args(["--norc", "-c", &script])).expect(0).stdout
    };
    assert_eq!(complete("portcullis che", 1), "check\n");
    assert_eq!(complete("portcullis token si", 2), "sign\n");
    assert_eq!(complete("portcullis run --w", 2), "--watch\n");
    // What is nobody's verb is not offered.
    assert_eq!(complete("portcullis exe", 1), "\n");
}

#[test]
fn the_manual_page_has_every_verb_and_option() {
    let folder = tempfile::tempdir().unwrap();
    let page = told(folder.path(), &["man"]).expect(0).stdout.replace("\\-", "-");
    for part in [
        ".TH portcullis 1",
        ".SH NAME",
        "portcullis run",
        "--watch",
        "portcullis token sign",
        "--secret-file",
        "-H, --header",
        ".SH FILES",
        "/etc/portcullis/gateway.toml",
        ".SH \"EXIT STATUS\"",
        env!("CARGO_PKG_VERSION"),
    ] {
        assert!(page.contains(part), "no {part:?}: {page}");
    }
    assert!(!page.contains("portcullis exec"), "{page}");
}

#[test]
fn init_writes_what_passes_check_and_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let said = told(folder.path(), &["init"]).expect(0).stdout;
    assert!(said.starts_with("wrote gateway.toml\n"), "{said}");
    let checked = told(folder.path(), &["check"]).expect(0);
    assert_eq!((&*checked.stdout, &*checked.stderr), ("./gateway.toml: no errors\n", ""));
    let key = folder.path().join("certs/dev.key");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&key).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // Again: nothing changes, and it says so.
    let certificate = fs::read(folder.path().join("certs/dev.crt")).unwrap();
    fs::write(folder.path().join("gateway.toml"), "mine").unwrap();
    let again = told(folder.path(), &["init"]).expect(1);
    assert!(again.stderr.contains("hint: nothing is overwritten"), "{}", again.stderr);
    assert_eq!(fs::read_to_string(folder.path().join("gateway.toml")).unwrap(), "mine");
    assert_eq!(fs::read(folder.path().join("certs/dev.crt")).unwrap(), certificate);
    // A certificate of the operator's own stays his.
    for file in ["gateway.toml", "certs/dev-ca.crt"] {
        fs::remove_file(folder.path().join(file)).unwrap();
    }
    fs::write(folder.path().join("certs/dev.crt"), "mine too").unwrap();
    let kept = told(folder.path(), &["init"]).expect(1);
    assert!(kept.stderr.contains("hint: nothing is overwritten"), "{}", kept.stderr);
    assert_eq!(fs::read_to_string(folder.path().join("certs/dev.crt")).unwrap(), "mine too");
}

// === run, reload, healthcheck, signals ===

/// One plain listener, one protected route, one that is public; admin by unix socket.
fn plain(address: &str, upstream: &str) -> String {
    format!(
        "[listener.main]\naddress = \"{address}\"\n\
         [issuer.shop]\npreset = \"simplejwt\"\nsecret = \"{SECRET}\"\n\
         [[route]]\npath = \"/*\"\nupstream = \"{upstream}\"\n\
         [[route]]\npath = \"/open/*\"\nupstream = \"{upstream}\"\npublic = true\n\
         [admin]\naddress = \"unix:admin.sock\"\n"
    )
}

/// Starts `run` and waits until it listens.
fn run(folder: &Path, arguments: &[&str]) -> (Running, SocketAddr) {
    let mut program = Running::start(folder, portcullis(folder).arg("run").args(arguments));
    let address = program.until("it listens", |program| {
        let said = program.stderr();
        let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter_map(|line| line["address"].as_str()?.parse().ok()).next()
    });
    (program, address)
}

fn status(address: SocketAddr, path: &str) -> u16 {
    Client::tcp(address).get(path, "Connection: close\r\n").status
}

#[test]
fn the_running_gateway_is_asked_and_told_through_its_admin_address() {
    let upstream = Upstream::saying("hello");
    let text = plain("127.0.0.1:0", &upstream.url());
    let folder = folder(&text);
    let nobody = told(folder.path(), &["healthcheck"]).expect(1);
    assert!(nobody.stderr.contains("hint: is it running?"), "{}", nobody.stderr);
    told(folder.path(), &["reload"]).expect(1);

    let (program, address) = run(folder.path(), &[]);
    assert_eq!(told(folder.path(), &["healthcheck"]).expect(0).stdout, "ready\n");
    assert_eq!((status(address, "/open/x"), status(address, "/x")), (200, 401));
    let more = format!(
        "{text}[[route]]\npath = \"/x\"\nupstream = \"{}\"\npublic = true\n",
        upstream.url()
    );
    fs::write(folder.path().join("gateway.toml"), &more).unwrap();
    let reloaded = told(folder.path(), &["reload"]).expect(0);
    assert_eq!(reloaded.stdout, "installed as generation 2\n");
    assert_eq!(status(address, "/x"), 200);

    // Wrong as text, or for this gateway: told in the gateway's own words, and it stays healthy.
    fs::write(folder.path().join("gateway.toml"), format!("{more}oops = 1\n")).unwrap();
    assert!(told(folder.path(), &["reload"]).expect(2).stderr.contains("unknown key `oops`"));
    assert_eq!(told(folder.path(), &["healthcheck"]).expect(0).stdout, "ready\n");
    fs::write(folder.path().join("gateway.toml"), format!("{more}[server]\nworkers = 7\n"))
        .unwrap();
    let refused = told(folder.path(), &["reload"]).expect(2).stderr;
    assert!(refused.contains("`server.workers` can't change while the gateway runs"), "{refused}");
    assert!(refused.contains("= hint: restart the gateway"), "{refused}");
    assert_eq!((status(address, "/x"), status(address, "/y")), (200, 401));

    fs::write(folder.path().join("gateway.toml"), &more).unwrap();
    program.signal(Signal::TERM);
    let ended = program.ended().expect(0);
    assert!(!folder.path().join("admin.sock").exists(), "the admin socket is left behind");
    assert_eq!(ended.stdout.lines().count(), 5, "one record an exchange: {}", ended.stdout);
}

#[test]
fn a_gateway_without_keys_is_not_healthy() {
    // Nothing listens there any more.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = folder(&format!(
        "[listener.main]\naddress = \"127.0.0.1:0\"\n\
         [issuer.main]\nurl = \"http://{gone}\"\naudience = [\"api\"]\n\
         [[route]]\npath = \"/*\"\nupstream = \"http://127.0.0.1:1\"\n\
         [admin]\naddress = \"unix:admin.sock\"\n"
    ));
    let (_program, _) = run(folder.path(), &[]);
    let told = told(folder.path(), &["healthcheck"]).expect(1);
    assert_eq!(told.stderr, "error: not ready: keys_unavailable\n");
}

#[test]
fn hangup_and_watch_apply_the_file_and_keep_the_old_one_if_it_is_wrong() {
    let upstream = Upstream::saying("hello");
    let text = plain("127.0.0.1:0", &upstream.url());
    for (arguments, signalled) in [(&[][..], true), (&["--watch"][..], false)] {
        let folder = folder(&text);
        let file = folder.path().join("gateway.toml");
        let (mut program, address) = run(folder.path(), arguments);
        assert_eq!(status(address, "/x"), 401);
        fs::write(&file, "[listner]\n").unwrap();
        if signalled {
            program.signal(Signal::HUP);
        }
        let refused = "reload refused, the running configuration stays";
        program.until("the wrong file is refused", |program| {
            program.stderr().contains(refused).then_some(())
        });
        assert!(program.stderr().contains("unknown key `listner`"), "{}", program.stderr());
        assert_eq!(status(address, "/x"), 401);
        let open = text.replace("path = \"/*\"\n", "path = \"/*\"\npublic = true\n");
        fs::write(&file, open).unwrap();
        if signalled {
            program.signal(Signal::HUP);
        }
        eventually("the right file is applied", || (status(address, "/x") == 200).then_some(()));
        program.signal(Signal::TERM);
        program.ended().expect(0);
    }
}

#[test]
fn a_port_in_use_is_a_diagnostic_with_its_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (taken, address)).unwrap();
    let folder = folder(&plain(&taken.1.to_string(), "http://127.0.0.1:1"));
    let told = told(folder.path(), &["run"]).expect(2);
    for line in [
        "error: can't listen here: Address already in use",
        " --> ./gateway.toml:2:11\n",
        &format!("address = \"{}\"\n", taken.1),
        "= hint: is another process, or another gateway, using it?",
    ] {
        assert!(told.stderr.contains(line), "no {line:?}: {}", told.stderr);
    }
}

#[test]
fn an_admin_address_in_use_is_one_too() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = plain("127.0.0.1:0", "http://127.0.0.1:1")
        .replace("unix:admin.sock", &taken.local_addr().unwrap().to_string());
    let folder = folder(&text);
    let told = told(folder.path(), &["run"]).expect(2);
    assert!(told.stderr.contains(" --> ./gateway.toml:14:11\n"), "{}", told.stderr);
}

/// `timeout` and process managers signal the process and its group.
#[test]
fn two_signals_at_once_are_one() {
    let folder = folder(&plain("127.0.0.1:0", "http://127.0.0.1:1"));
    let (program, _) = run(folder.path(), &[]);
    program.signal(Signal::TERM);
    program.signal(Signal::INT);
    program.ended().expect(0);
}

#[test]
fn whoever_insists_does_not_wait_for_the_drain() {
    // An application that answers when the test is over.
    let (answer, wait) = std::sync::mpsc::channel::<()>();
    let wait = parking_lot::Mutex::new(wait);
    let upstream = Upstream::start(move |_, _| {
        // The error of a sender that is gone is the test's end.
        let _over = wait.lock().recv();
        Ok(Then::Close)
    });
    let folder = folder(&plain("127.0.0.1:0", &upstream.url()));
    let (mut program, address) = run(folder.path(), &[]);
    let mut client = Client::tcp(address);
    client.send("GET /open/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    eventually("the request is under way", || (upstream.count() == 1).then_some(()));
    program.signal(Signal::TERM);
    program.until("it drains", |program| program.stderr().contains("draining").then_some(()));
    assert!(!program.has_ended());
    eventually("it ends before the application answers", || {
        program.has_ended().then_some(()).or_else(|| {
            program.signal(Signal::TERM);
            None
        })
    });
    let ended = program.ended().expect(1);
    assert!(ended.stderr.contains("error: stopped before the drain was over"), "{}", ended.stderr);
    assert!(TcpStream::connect(address).is_err());
    drop(answer);
}

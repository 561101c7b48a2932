//! grpcio's own client and server, with the gateway between them.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{ISSUER, SECRET, token};
use crate::support::certificate::Certificate;
use crate::support::gateway::{Gateway, Setup};
use crate::support::stack::{environment, run};

/// A server; it ends when this is dropped.
struct Server {
    child: Child,
    port: u16,
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/grpc/grpcio")
}

fn python() -> PathBuf {
    environment(&scripts().join("requirements.txt")).join("bin/python")
}

impl Server {
    fn start(place: Option<&Path>) -> Self {
        let mut command = Command::new(python());
        command.arg(scripts().join("server.py"));
        command.args(place.map(|path| format!("unix:{}", path.display())));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, port: line.trim().parse().unwrap() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn gateway(setup: Setup, endpoint: &str, silent: u16) -> Gateway {
    setup.variable("KEY", SECRET).start(&format!(
        r#"
        [listener.main]
        address = "127.0.0.1:0"
        [listener.main.tls]
        certificates = [{{ cert = "server.crt", key = "server.key" }}]
        [server]
        body_timeout = "1s"
        [issuer.main]
        url = "{ISSUER}"
        audience = ["api"]
        secret = "${{KEY}}"
        identity_headers = {{ "X-User" = "sub" }}
        [upstream.calls]
        endpoints = ["{endpoint}"]
        kind = "grpc"
        [upstream.gone]
        endpoints = ["h2c://127.0.0.1:9"]
        kind = "grpc"
        [upstream.slow]
        endpoints = ["h2c://127.0.0.1:{silent}"]
        kind = "grpc"
        response_timeout = "300ms"
        [[route]]
        path = "/test.Echo/*"
        upstream = "calls"
        [[route]]
        path = "/admin.Echo/*"
        upstream = "calls"
        require = {{ scope = ["admin"] }}
        [[route]]
        path = "/limited.Echo/*"
        upstream = "calls"
        rate_limit = {{ rate = "1/h" }}
        [[route]]
        path = "/gone.Echo/*"
        upstream = "gone"
        [[route]]
        path = "/slow.Echo/*"
        upstream = "slow"
        "#
    ))
}

#[test]
fn every_kind_of_call_passes_and_every_refusal_is_a_status() {
    // Accepts connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = tempfile::tempdir().unwrap();
    let path = socket.path().join("calls.sock");
    for unix in [false, true] {
        let server = Server::start(unix.then_some(&*path));
        let endpoint = match unix {
            true => format!("unix:{}", path.display()),
            false => format!("h2c://127.0.0.1:{}", server.port),
        };
        let setup = Setup::new();
        let certificate = Certificate::make(setup.folder());
        let silent = silent.local_addr().unwrap().port();
        let gateway = gateway(setup, &endpoint, silent);
        let address = format!("localhost:{}", gateway.address("main").port());
        let said = run(Command::new(python())
            .arg(scripts().join("client.py"))
            .arg(address)
            .arg(&certificate.cert)
            .arg(token()));
        assert_eq!(said.trim(), "all kinds of calls passed");
        let record = gateway.records_of("/test.Echo/Unary", 1).remove(0);
        assert_eq!(record["auth"]["sub"], "ada", "{record}");
    }
}

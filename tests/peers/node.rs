//! Node's own HTTP server behind `kind = "node"`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::npm::{node, said};
use crate::support::caller::{Body, http2};
use crate::support::certificate::Certificate;
use crate::support::client::{Broken, Client};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::h2::H2;
use crate::support::program::Running;
use crate::support::steady::{counts, free_port, steadily};

#[test]
fn node_takes_what_its_kind_lets_through() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = node("node-server.mjs");
    command.stdin(Stdio::null());
    let mut server = Running::start(folder.path(), &mut command);
    let port = server.until("the server listens", |program| {
        said(program).iter().find_map(|event| event["port"].as_u64())
    });
    let gateway = Setup::new().start(&format!(
        "[listener.main]\naddress = \"127.0.0.1:0\"\n\
         [server]\nmax_headers = {{ count = 200, size = \"60KiB\", line = \"16KiB\" }}\n\
         [upstream.web]\nendpoints = [\"http://127.0.0.1:{port}\"]\nkind = \"node\"\n\
         [upstream.raw]\nendpoints = [\"http://127.0.0.1:{port}\"]\n\
         [[route]]\npath = \"/*\"\nupstream = \"web\"\npublic = true\n\
         [[route]]\npath = \"/raw/*\"\nupstream = \"raw\"\npublic = true\n"
    ));
    let mut client = Client::tcp(gateway.address("main"));
    let mut ask = |path: &str, size: usize| {
        let value = "v".repeat(size);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nX-One: {value}\r\n\r\n"));
        client.response()
    };
    // Just below the kind's limit, which Node takes; beyond, the answer is ours and says why.
    assert_eq!(ask("/x", 15_500).status, 200);
    let refused = ask("/x", 16_300).expect(431);
    assert_eq!(refused.json()["code"], "headers_too_large");
    // What Node says itself, where nobody knows that it is Node.
    let its_own = ask("/raw/x", 16_350).expect(431);
    assert!(its_own.body.is_empty(), "{:?}", its_own.text());
    for body in [
        "Content-Length: 5\r\n\r\nhello".to_owned(),
        "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n".to_owned(),
    ] {
        let mut client = Client::tcp(gateway.address("main"));
        client.send(format!("POST /x HTTP/1.1\r\nHost: localhost\r\n{body}"));
        assert_eq!(client.response().expect(200).json()["length"], 5, "{body}");
        let streamed = client.get("/stream", "").expect(200);
        assert_eq!(streamed.text().lines().count(), 1000);
    }
}

/// A server that notes what arrives; killed when it is dropped.
struct Noting {
    folder: TempDir,
    running: Option<Running>,
    port: u16,
    arrived: PathBuf,
}

impl Noting {
    fn start(arrived: &Path) -> Self {
        let mut noting = Self {
            folder: tempfile::tempdir().unwrap(),
            running: None,
            port: free_port(),
            arrived: arrived.to_owned(),
        };
        noting.start_again();
        noting
    }

    /// On the same port.
    fn start_again(&mut self) {
        let mut command = node("node-restarts.mjs");
        command.arg(self.port.to_string()).env("ARRIVED", &self.arrived).stdin(Stdio::null());
        let mut running = Running::start(self.folder.path(), &mut command);
        running.until("the server listens", |program| {
            said(program).iter().find_map(|event| event["port"].as_u64())
        });
        self.running = Some(running);
    }

    fn end(&mut self, signal: Signal) {
        let running = self.running.take().unwrap();
        running.signal(signal);
        running.ended();
    }

    /// Kills it once it has noted this.
    fn kill_after(&mut self, noted: &str) {
        eventually("it arrives", || {
            let text = fs::read_to_string(&self.arrived).unwrap();
            text.lines().any(|line| line.starts_with(&format!("{noted} "))).then_some(())
        });
        self.end(Signal::KILL);
        self.start_again();
    }
}

fn before(servers: &[&Noting]) -> (Gateway, Certificate) {
    let endpoints: Vec<_> =
        servers.iter().map(|server| format!("\"http://127.0.0.1:{}\"", server.port)).collect();
    let setup = Setup::new();
    let certificate = Certificate::make(setup.folder());
    let gateway = setup.start(&format!(
        "[listener.main]\naddress = \"127.0.0.1:0\"\n\
         [listener.tls]\naddress = \"127.0.0.1:0\"\n\
         tls = {{ certificates = [{{ cert = \"server.crt\", key = \"server.key\" }}] }}\n\
         [upstream.web]\nendpoints = [{}]\nkind = \"node\"\nqueue = {{ timeout = \"60s\" }}\n\
         [[route]]\npath = \"/*\"\nupstream = \"web\"\npublic = true\n",
        endpoints.join(", ")
    ));
    (gateway, certificate)
}

#[test]
fn restarts_under_load_fail_nothing_that_may_be_sent_twice_and_repeat_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let arrived = folder.path().join("arrived");
    fs::write(&arrived, "").unwrap();
    let mut one = Noting::start(&arrived);
    let (gateway, _) = before(&[&one]);
    let tally = steadily(gateway.address("main"), &arrived, |more| {
        for _ in 0..2 {
            more(100);
            one.end(Signal::TERM);
            let waiting = "portcullis_upstream_queue_depth{upstream=\"web\"}";
            eventually("all wait", || (gateway.metric(waiting) >= 8.0).then_some(()));
            one.start_again();
        }
        more(100);
    });
    println!("restarts of Node: {tally:?}");
    let mut two = Noting::start(&arrived);
    fs::write(&arrived, "").unwrap();
    let (gateway, _) = before(&[&one, &two]);
    let tally = steadily(gateway.address("main"), &arrived, |more| {
        for server in [&mut one, &mut two] {
            more(100);
            server.end(Signal::TERM);
            more(50);
            server.start_again();
        }
        more(100);
    });
    println!("rolling restart of Node: {tally:?}");
}

#[test]
fn a_process_that_is_killed_is_a_502_or_breaks_its_answer_off() {
    let folder = tempfile::tempdir().unwrap();
    let arrived = folder.path().join("arrived");
    fs::write(&arrived, "").unwrap();
    let mut server = Noting::start(&arrived);
    let (gateway, certificate) = before(&[&server]);
    let mut client = Client::tcp(gateway.address("main"));
    client.send("POST /silent/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    server.kill_after("POST /silent/1");
    assert_eq!(client.response().expect(502).json()["code"], "upstream_failed");
    client.send("GET /once/2 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    server.kill_after("GET /once/2");
    assert_eq!(client.response().expect(200).text(), "/once/2");
    for framing in ["length", "chunked"] {
        let path = format!("/partly/{framing}/1");
        let mut client = Client::tcp(gateway.address("main"));
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        server.kill_after(&format!("BEGUN {path}"));
        match client.try_response("GET") {
            Err(Broken::Cut(_)) => {}
            other => panic!("{path}: {other:?}"),
        }
        let path = format!("/partly/{framing}/2");
        let h2 = H2::tls(gateway.address("tls"), &certificate.client("h2"));
        let begun = h2.begin(http2("GET", &path, &[], Body::None));
        server.kill_after(&format!("BEGUN {path}"));
        let broken = h2.finish(begun).unwrap_err();
        assert!(broken.starts_with("body: ") && broken.contains("Reset("), "{path}: {broken}");
    }
    let counts = counts(&arrived);
    assert_eq!((counts["POST /silent/1"], counts["GET /once/2"]), (1, 2));
    assert!(counts.iter().all(|(line, times)| !line.contains("/partly/") || *times == 1));
}

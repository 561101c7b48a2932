//! SIGTERM to the real program: every request of which a byte was read gets its whole response.

use std::collections::HashSet;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;

use parking_lot::{Condvar, Mutex};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::lifecycle::{configuration, publish};
use crate::support::caller::{Body, http2};
use crate::support::certificate::Certificate;
use crate::support::client::Client;
use crate::support::h2::H2;
use crate::support::kernel::all_read;
use crate::support::load::{Last, Load, Target, application, expected, is_whole, until_drained};
use crate::support::process::Process;
use crate::support::upstream::{Then, Upstream};
use crate::support::{Response, eventually};

/// The program, with what its configuration refers to.
struct Program {
    process: Process,
    certificate: Certificate,
    token: String,
    _folder: TempDir,
}

impl Program {
    fn start(upstream: &Upstream) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let token = publish(folder.path());
        let certificate = Certificate::make_once(folder.path());
        let text = configuration(folder.path(), &upstream.url(), 0);
        let text =
            format!("{text}\n[admin]\naddress = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n");
        let process = Process::run(folder.path(), &text, 2, &[]);
        Self { process, certificate, token, _folder: folder }
    }

    fn plain(&self) -> SocketAddr {
        self.process.listeners["plain"]
    }

    fn tls(&self) -> Client {
        let config = self.certificate.client("http/1.1");
        Client::tls(self.process.listeners["https"], &config)
    }

    fn h2(&self) -> H2 {
        H2::tls(self.process.listeners["https"], &self.certificate.client("h2"))
    }

    fn target(&self) -> Target {
        Target {
            plain: self.plain(),
            tls: self.process.listeners["https"],
            http1: self.certificate.client("http/1.1"),
            h2: self.certificate.client("h2"),
            token: self.token.clone(),
        }
    }

    /// Sends SIGTERM and waits until nobody can connect any more.
    fn stop(&self) {
        self.process.signal(Signal::TERM);
        eventually("the drain", || self.process.said().contains("draining").then_some(()));
        for address in self.process.listeners.values() {
            eventually("a closed socket", || TcpStream::connect(address).is_err().then_some(()));
        }
    }
}

/// Answers when it is told to; of `/halves/*`, the first half before that.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.open.lock() = true;
        self.opened.notify_all();
    }

    fn wait(&self) {
        self.opened.wait_while(&mut self.open.lock(), |open| !*open);
    }

    fn application(self: &Arc<Self>) -> Upstream {
        let gate = Arc::clone(self);
        Upstream::start(move |request, stream| {
            let text = expected(request.target(), request.body.len());
            let (first, second) = text.split_at(text.len() / 2);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
            if request.target().starts_with("/halves/") {
                write!(stream, "{head}{first}")?;
                gate.wait();
                write!(stream, "{second}")?;
            } else {
                if request.target().starts_with("/held/") {
                    gate.wait();
                }
                write!(stream, "{head}{text}")?;
            }
            Ok(Then::Keep)
        })
    }
}

/// A response to what was begun before the drain: whole, and the connection's last.
#[track_caller]
fn finishes(client: &mut Client, path: &str, sent: usize) {
    let response = client.response();
    assert!(response.closes, "{path}: {:?}", response.headers);
    is_whole(response, path, sent);
    client.expect_end();
}

/// Connections in every state that a SIGTERM can find them in.
struct Begun {
    byte: Client,
    head: Client,
    body: Client,
    second_head: Client,
    secure_head: Client,
    held: Client,
    pipelined: Client,
    halves: (Client, Response),
    h2: H2,
    streams: Vec<(&'static str, JoinHandle<Result<Response, String>>)>,
    /// Nothing is under way on these: they may just end.
    idle: [Client; 2],
}

impl Begun {
    /// All of them; what was sent is read when this returns.
    fn begin(program: &Program, upstream: &Upstream) -> Self {
        let plain = program.plain();
        let after = |first: &str, bytes: &str| {
            let mut client = Client::tcp(plain);
            if !first.is_empty() {
                is_whole(client.get(first, ""), first, 0);
            }
            client.send(bytes);
            all_read(client.local.unwrap(), plain);
            client
        };
        let begin = |bytes| after("", bytes);
        let h2 = program.h2();
        let mut halves = program.tls();
        halves.send(get("/halves/1"));
        let halves_head = halves.head();
        let mut secure_head = program.tls();
        secure_head.send("GET /plain/secure HTTP/1.1\r\nHo");
        let begun = Self {
            byte: begin("G"),
            head: begin("GET /plain/head HTTP/1.1\r\nHost: local"),
            body: begin("POST /plain/body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234"),
            second_head: after("/plain/first", "GET /plain/second HTTP/1.1\r\n"),
            secure_head,
            held: begin(&get("/held/1")),
            pipelined: begin(&[get("/held/2"), get("/plain/next")].concat()),
            halves: (halves, halves_head),
            streams: ["/held/3", "/halves/2"]
                .map(|path| (path, h2.begin(http2("GET", path, &[], Body::None))))
                .into(),
            h2,
            idle: [after("/plain/idle", ""), begin("")],
        };
        let waiting = ["/held/1", "/held/2", "/held/3", "/halves/1", "/halves/2"];
        eventually("all of these at the upstream", || {
            let received = upstream.received();
            let has = |path| received.iter().any(|request| request.target() == path);
            waiting.iter().all(|path| has(*path)).then_some(())
        });
        begun
    }

    fn finish(mut self, gate: &Gate) {
        self.idle.iter_mut().for_each(Client::expect_end);
        self.byte.send("ET /plain/byte HTTP/1.1\r\nHost: localhost\r\n\r\n");
        finishes(&mut self.byte, "/plain/byte", 0);
        self.head.send("host\r\n\r\n");
        finishes(&mut self.head, "/plain/head", 0);
        self.body.send("56789");
        finishes(&mut self.body, "/plain/body", 10);
        self.second_head.send("Host: localhost\r\n\r\n");
        finishes(&mut self.second_head, "/plain/second", 0);
        self.secure_head.send("st: localhost\r\n\r\n");
        finishes(&mut self.secure_head, "/plain/secure", 0);
        gate.open();
        finishes(&mut self.held, "/held/1", 0);
        finish_pipelined(&mut self.pipelined);
        finish_halves(&mut self.halves.0, &self.halves.1);
        for (path, stream) in self.streams {
            is_whole(self.h2.finish(stream).unwrap(), path, 0);
        }
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

#[test]
fn whatever_was_begun_at_sigterm_is_finished() {
    let gate = Arc::new(Gate::default());
    let upstream = gate.application();
    let mut program = Program::start(&upstream);
    let begun = Begun::begin(&program, &upstream);
    program.stop();
    begun.finish(&gate);
    assert!(program.process.ended().success(), "{}", program.process.said());
    assert!(program.process.said().contains("drained"));
    let records = program.process.records();
    let cut: Vec<_> = records.iter().filter(|record| record["status"] != 200).collect();
    assert!(cut.is_empty(), "{cut:?}");
}

/// The first response may be the connection's last, but then it says so: the client sends the
/// second request again. Both were read, so both get their response here.
fn finish_pipelined(client: &mut Client) {
    let first = client.response();
    let closes = first.closes;
    is_whole(first, "/held/2", 0);
    if !closes {
        finishes(client, "/plain/next", 0);
    }
}

fn finish_halves(client: &mut Client, begun: &Response) {
    let text = expected("/halves/1", 0);
    assert_eq!(begun.header("content-length"), Some(&*text.len().to_string()));
    let rest = client.read_exactly(text.len());
    assert_eq!(String::from_utf8(rest).unwrap(), text);
    client.expect_end();
}

#[test]
fn sigterm_under_load_cuts_nobody_short() {
    let upstream = application();
    let mut program = Program::start(&upstream);
    let target = program.target();
    let load = Load::default();
    let ends = thread::scope(|scope| {
        let (load, target) = (&load, &target);
        let mut clients = Vec::new();
        for number in 0..12 {
            let kind = if number % 3 == 0 { "stream" } else { "plain" };
            clients.push(scope.spawn(move || {
                load.run(|| {
                    let client = match number % 2 {
                        0 => Client::tcp(target.plain),
                        _ => Client::tls(target.tls, &target.http1),
                    };
                    until_drained(load, client, kind, number)
                })
            }));
        }
        for number in 12..14 {
            clients.push(scope.spawn(move || load.run(|| h2_until_drained(load, target, number))));
        }
        eventually("a load", || (load.is_stopped() || load.served() >= 500).then_some(()));
        program.stop();
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(program.process.ended().success(), "{}", program.process.said());
    untouched(&program, &upstream, &ends, load.served());
}

/// Two streams at a time until the gateway takes no more.
fn h2_until_drained(load: &Load, target: &Target, number: usize) -> Last {
    let client = H2::tls(target.tls, &target.h2);
    for round in 0.. {
        let paths = ["plain", "stream"].map(|kind| format!("/{kind}/{number}/{round}"));
        let begun = paths.map(|path| (client.begin(http2("GET", &path, &[], Body::None)), path));
        let mut refused = None;
        for (begun, path) in begun {
            match client.finish(begun) {
                Ok(response) => {
                    is_whole(response, &path, 0);
                    load.count();
                }
                Err(error) => {
                    assert!(!error.contains("body"), "{path}: cut short: {error}");
                    refused = Some(path);
                }
            }
        }
        if let Some(path) = refused {
            return Last::Untouched(path);
        }
    }
    Last::Answered
}

/// Panics if anything was begun of a request that got no response, or cut of one that did.
fn untouched(program: &Program, upstream: &Upstream, ends: &[Last], served: usize) {
    let records = program.process.records();
    let reached: HashSet<_> =
        upstream.received().iter().map(|request| request.target().to_owned()).collect();
    for end in ends {
        if let Last::Untouched(path) = end {
            assert!(!reached.contains(path), "{path} was forwarded and not answered");
            let record = records.iter().find(|record| record["path"] == **path);
            assert!(record.is_none(), "read and not answered: {record:?}");
        }
    }
    let cut: Vec<_> = records.iter().filter(|record| record["status"] != 200).collect();
    assert!(cut.is_empty(), "{cut:?}");
    assert_eq!(records.len(), served, "each response has its record");
}

#[test]
fn a_second_signal_does_not_wait() {
    let gate = Arc::new(Gate::default());
    let upstream = gate.application();
    let mut program = Program::start(&upstream);
    let mut held = Client::tcp(program.plain());
    held.send("GET /held/1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    eventually("it waits", || (upstream.count() == 1).then_some(()));
    program.stop();
    // One that comes together with the first is the same: somebody insists.
    let status = eventually("it ends", || {
        program.process.signal(Signal::TERM);
        program.process.try_ended()
    });
    assert_eq!(status.code(), Some(1), "{}", program.process.said());
    gate.open();
}

//! What a tunnel carries, how many there may be, and what is told of them.

use super::*;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::certificate::Certificate;
use crate::support::stack::{once, run};

#[test]
fn a_tunnel_is_recorded_when_it_ends() {
    let place = Place::start("", "", echoes);
    let mut client = place.tunnel(&token("ada", 600));
    client.send("0123456789");
    assert_eq!(client.read_exactly(10), b"0123456789");
    let open = "portcullis_upstream_connections{state=\"tunnel\",upstream=\"web\"}";
    assert_eq!(place.gateway.metric(open), 1.0);
    assert_eq!(place.gateway.metric("portcullis_http_requests_in_flight{listener=\"main\"}"), 1.0);
    drop(client);
    let record = place.gateway.records_of("/api/ws", 1).remove(0);
    assert_eq!(record["status"], 101, "{record}");
    assert_eq!(record["bytes_in"], 10);
    assert_eq!(record["bytes_out"], 10);
    assert_eq!(record["auth"]["sub"], "ada");
    assert_eq!(record["upstream"]["status"], 101);
    assert!(record.get("reason").is_none_or(serde_json::Value::is_null), "{record}");
    assert_eq!(place.gateway.metric(open), 0.0);
}

#[test]
fn an_application_that_closes_ends_the_tunnel_and_its_last_bytes_arrive() {
    let place = Place::start("", "", |_, stream| {
        stream.write_all(SWITCHES.as_bytes())?;
        stream.write_all(&vec![b'x'; 300_000])?;
        Ok(Then::Close)
    });
    let mut client = place.tunnel(&token("ada", 600));
    assert_eq!(client.read_exactly(300_000).len(), 300_000);
    client.expect_end();
    assert_eq!(place.gateway.records_of("/api/ws", 1)[0]["bytes_out"], 300_000);
}

#[test]
fn a_tunnel_over_tls_is_the_same() {
    let upstream = Upstream::start(echoes);
    let setup = Setup::new();
    let certificate = Certificate::make(setup.folder());
    let tls =
        "[listener.main.tls]\ncertificates = [{ cert = \"server.crt\", key = \"server.key\" }]";
    let text = configuration(&upstream.url(), "", "")
        .replace("[issuer.main]", &format!("{tls}\n[issuer.main]"));
    let Place { gateway, upstream: _upstream, .. } = Place::of(setup, upstream, &text);
    let mut client = Client::tls(gateway.address("main"), &certificate.client("http/1.1"));
    let token = bearer(&token("ada", 600));
    client.send(format!("GET /api/ws HTTP/1.1\r\nHost: localhost\r\n{ASKS}{token}\r\nearly"));
    is_switched(&client.head());
    assert_eq!(client.read_exactly(5), b"early");
    let piece = vec![b'x'; 200_000];
    client.send(&piece[..100_000]);
    assert_eq!(client.read_exactly(100_000), piece[..100_000]);
    drop(client);
    assert_eq!(gateway.records_of("/api/ws", 1)[0]["bytes_out"], 100_005);
}

#[test]
fn tunnels_have_their_own_limit_and_leave_requests_alone() {
    let place = Place::start("", "", |request, stream| match request.target() {
        "/public/plain" => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            Ok(Then::Keep)
        }
        _ => echoes(request, stream),
    });
    let token = token("ada", 600);
    let mut open: Vec<_> = (0..3).map(|_| place.tunnel(&token)).collect();
    let headers = format!("{ASKS}{}", bearer(&token));
    let refused = place.client("GET /api/ws", &headers, "").response().expect(503);
    assert_eq!(refused.json()["code"], "queue_full");
    assert!(refused.header("retry-after").is_some());
    place.client("GET /public/plain", "", "").response().expect(200);
    open.pop();
    eventually("room", || {
        let mut client = place.client("GET /api/ws", &headers, "");
        (client.head().status == 101).then_some(())
    });
}

#[test]
fn tunnels_end_with_the_gateway() {
    let place = Place::start("", "shutdown_timeout = \"300ms\"", echoes);
    let mut client = place.tunnel(&token("ada", 600));
    let Place { gateway, upstream: _upstream, .. } = place;
    let records = gateway.drain();
    client.expect_end();
    let record = records.iter().find(|record| record["path"] == "/api/ws").unwrap();
    assert_eq!(record["status"], 101, "{record}");
}

/// An echo server of `websockets`; it ends when this is dropped.
struct Script {
    child: Child,
    port: u16,
}

impl Script {
    fn start() -> Self {
        let mut command = Command::new(python());
        let child = command.args(["-c", SERVER]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, port: line.trim().parse().unwrap() }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A Python with `websockets`.
pub(crate) fn python() -> PathBuf {
    let folder = once("venv-websockets-15", |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder));
        run(Command::new(folder.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .arg("websockets>=15"));
    });
    folder.join("bin/python")
}

#[test]
fn ten_thousand_messages_come_back() {
    let server = Script::start();
    let text = configuration(&format!("http://127.0.0.1:{}", server.port), "", "");
    let Place { gateway, .. } = Place::of(Setup::new(), Upstream::saying(""), &text);
    let said = run(Command::new(python())
        .args(["-c", CLIENT])
        .arg(format!("ws://{}/api/ws", gateway.address("main")))
        .arg(token("ada", 600)));
    assert_eq!(said.trim(), "10000 echoed, closed with 1000");
    let record = gateway.records_of("/api/ws", 1).remove(0);
    assert_eq!(record["status"], 101, "{record}");
}

const SERVER: &str = r#"
import asyncio, websockets
async def echo(socket):
    async for message in socket:
        await socket.send(message)
async def main():
    async with websockets.serve(echo, "127.0.0.1", 0) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()
asyncio.run(main())
"#;

const CLIENT: &str = r#"
import asyncio, sys, websockets
async def main():
    headers = {"Authorization": "Bearer " + sys.argv[2]}
    async with websockets.connect(sys.argv[1], additional_headers=headers) as socket:
        for number in range(10000):
            message = str(number) * (1 + number % 50)
            await socket.send(message)
            assert await socket.recv() == message
    print("10000 echoed, closed with", socket.close_code)
asyncio.run(main())
"#;

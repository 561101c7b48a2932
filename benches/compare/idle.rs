//! S7: what connections cost that nobody uses. 10,000 of them, each with one request behind it, are
//! left alone for 30 s; what counts is the growth of the programs' resident memory.
//!
//! The client is this process. Each row has a fresh program: what the allocator keeps of the time
//! when the connections were made belongs to their price.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::Result;
use super::load::{Kind, Load, Tokens};
use super::proxy::{Proxy, Setup};
use super::say;
use super::setups::{NGINX_SENDFILE, NGINX_TLS, PORTCULLIS_IDLE, PORTCULLIS_IDLE_TLS};
use super::world::World;

const CONNECTIONS: u64 = 10_000;
const IDLE: Duration = Duration::from_secs(30);

const LOAD: Load =
    Load { kind: Kind::Wrk, tokens: Tokens::None, path: "/files/1k.bin", connections: 64 };

/// Bytes a connection, and bytes at the start.
type Target = (u64, u64);

/// Program and configuration, and what it must not exceed.
const ROWS: [(&str, &Setup, Option<Target>); 4] = [
    ("nginx", &NGINX_SENDFILE, None),
    ("portcullis", &PORTCULLIS_IDLE, Some((2_000, 20_000_000))),
    ("nginx TLS", &NGINX_TLS, None),
    ("portcullis TLS", &PORTCULLIS_IDLE_TLS, Some((14_000, 20_000_000))),
];

/// Prints a row for each program.
pub(super) fn run(world: &World) -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    say(
        "| program | kB at start | kB with them | bytes a connection | target |\n|---|---|---|---|---|",
    );
    for (name, setup, target) in ROWS {
        let proxy = Proxy::start(world, setup, &LOAD, world.upstream())?;
        // The readiness check's own connections are closed and forgotten.
        sleep(Duration::from_secs(2));
        let before = resident(&proxy)?;
        let held = open(world, &proxy, setup.has_tls)?;
        sleep(IDLE);
        let after = resident(&proxy)?;
        drop(held);
        let each = after.saturating_sub(before) / CONNECTIONS;
        let target = target.map_or_else(String::new, |(most, start)| {
            let met = if each <= most && before <= start { "met" } else { "not met" };
            format!("{most}, {} kB at start: {met}", start / 1000)
        });
        let (before, after) = (before / 1000, after / 1000);
        say(&format!("| {name} | {before} | {after} | {each} | {target} |"));
    }
    Ok(())
}

/// Resident memory of the program and its workers, in bytes.
fn resident(proxy: &Proxy) -> Result<u64> {
    let mut sum = 0;
    for process in proxy.processes()? {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        sum += kib.ok_or("/proc/PID/status has another form")? * 1024;
    }
    Ok(sum)
}

trait Held: Read + Write {}

impl<S: Read + Write> Held for S {}

/// Connections that were used once.
fn open(world: &World, proxy: &Proxy, tls: bool) -> Result<Vec<Box<dyn Held>>> {
    let config = ClientConfig::builder()
        .with_root_certificates(world.certificate().roots()?)
        .with_no_client_auth();
    let config = Arc::new(config);
    let mut held: Vec<Box<dyn Held>> = Vec::new();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(("127.0.0.1", proxy.port()))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut stream: Box<dyn Held> = if tls {
            let name = ServerName::try_from("localhost")?;
            let connection = ClientConnection::new(Arc::clone(&config), name)?;
            Box::new(StreamOwned::new(connection, stream))
        } else {
            Box::new(stream)
        };
        ask(stream.as_mut())?;
        held.push(stream);
    }
    Ok(held)
}

fn ask(stream: &mut dyn Held) -> Result<()> {
    write!(stream, "GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", LOAD.path)?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    let body =
        |answer: &[u8]| answer.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
    while body(&answer).is_none_or(|body| answer.len() < body + 1024) {
        match stream.read(&mut piece)? {
            0 => return Err("the connection was closed".into()),
            length => answer.extend_from_slice(piece.get(..length).unwrap_or_default()),
        }
    }
    if answer.starts_with(b"HTTP/1.1 200 ") { Ok(()) } else { Err("no 200".into()) }
}

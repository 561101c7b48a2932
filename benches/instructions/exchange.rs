//! Whole exchanges: the real program with one worker under callgrind, an application and a client.
//!
//! One request after the other over one connection, each end waiting a moment before it speaks: the
//! worker so always goes to sleep in between, and takes the same way every time. What one exchange
//! takes is the difference of a longer and a shorter run, on the worker's thread alone.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::{self, sleep};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Result;
use super::callgrind::{Callgrind, Profile};

/// Every kind of exchange: its name and the path that is asked for.
pub(super) const ALL: &[(&str, &str)] = &[
    ("exchange/public", "/public/orders/4711"),
    // With a token that the worker remembers.
    ("exchange/token", "/api/v1/orders/4711"),
];

/// Requests of the longer run beyond those of the shorter one.
const TURNS: u32 = 400;

/// Requests of the shorter run: everything is remembered and allocated by then.
const FIRST: u32 = 100;

/// Longer than either end needs to be asleep again, also under callgrind.
const MOMENT: Duration = Duration::from_millis(2);

/// Valgrind starts a program slowly.
const START: Duration = Duration::from_secs(60);

/// What the worker's thread takes for an exchange.
pub(super) fn count(callgrind: &Callgrind, program: &Path, path: &str) -> Result<Profile> {
    let application = application()?;
    let run = |requests| run(callgrind, program, path, application, requests);
    let shorter = run(FIRST)?;
    Ok(run(FIRST + TURNS)?.less(&shorter, TURNS))
}

fn run(
    callgrind: &Callgrind,
    program: &Path,
    path: &str,
    application: u16,
    requests: u32,
) -> Result<Profile> {
    let folder = tempfile::tempdir()?;
    let (port, config) = (free_port()?, folder.path().join("gateway.toml"));
    fs::write(&config, gateway_toml(port, free_port()?, application))?;
    let out = folder.path().join("out");
    let said = folder.path().join("said");
    let child = callgrind
        .command(program, &out, &["--separate-threads=yes"])
        .arg("--config")
        .arg(&config)
        .arg("run")
        .stdout(Stdio::null())
        .stderr(fs::File::create(&said)?)
        .spawn()?;
    let mut gateway = Gateway(child);
    let asked = gateway.connect(port).and_then(|stream| ask(stream, path, requests));
    gateway.end();
    if let Err(error) = asked {
        let said = fs::read_to_string(&said).unwrap_or_default();
        return Err(format!("{error}\n{said}").into());
    }
    let profile = Profile::read_threads(folder.path(), "portcullis::gateway::handle::")?;
    match profile.instructions() {
        0 => Err("callgrind found nothing to count".into()),
        _ => Ok(profile),
    }
}

/// The program; it ends when this is dropped.
#[derive(Debug)]
struct Gateway(Child);

impl Gateway {
    fn connect(&mut self, port: u16) -> Result<TcpStream> {
        const PAUSE: Duration = Duration::from_millis(50);
        let mut waited = Duration::ZERO;
        while waited < START && self.0.try_wait()?.is_none() {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
                stream.set_read_timeout(Some(START))?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            sleep(PAUSE);
            waited += PAUSE;
        }
        Err("the gateway did not start".into())
    }

    /// As an operator would: what was counted is written at the end.
    fn end(&mut self) {
        let _gone = kill_process(Pid::from_child(&self.0), Signal::TERM).is_err();
        let _ended = self.0.wait().is_ok();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.end();
    }
}

fn gateway_toml(port: u16, admin: u16, application: u16) -> String {
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/cases/rs256.pem");
    format!(
        "[listener.http]
address = \"127.0.0.1:{port}\"

[issuer.main]
url = \"https://issuer.example\"
audience = [\"api\"]
public_key = \"{}\"
algorithms = [\"RS256\"]

[upstream.app]
endpoints = [\"http://127.0.0.1:{application}\"]

[[route]]
path = \"/api/*\"
upstream = \"app\"

[[route]]
path = \"/public/*\"
upstream = \"app\"
public = true

[server]
workers = 1

[admin]
address = \"127.0.0.1:{admin}\"
",
        key.display()
    )
}

/// A port that nothing listens on at the moment.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

// === the client ===

/// Asks one time after the other.
fn ask(mut stream: TcpStream, path: &str, requests: u32) -> Result<()> {
    let token = include_str!("../cases/rs256.jwt").trim_ascii_end();
    let request = format!(
        "GET {path}?expand=lines&page=2 HTTP/1.1\r\n\
         Host: api.example.com\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101\r\n\
         Accept: application/json\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\n\
         Authorization: Bearer {token}\r\n\
         Referer: https://app.example.com/orders\r\n\r\n"
    );
    let mut buffer = Vec::new();
    for _ in 0..requests {
        sleep(MOMENT);
        stream.write_all(request.as_bytes())?;
        buffer.clear();
        read_until(&mut stream, &mut buffer, |read| {
            head_length(read).is_some_and(|head| read.len() >= head + BODY)
        })?;
        if !buffer.starts_with(b"HTTP/1.1 200 ") {
            let head = String::from_utf8_lossy(&buffer).into_owned();
            return Err(format!("answered with {}", head.lines().next().unwrap_or("")).into());
        }
    }
    Ok(())
}

fn read_until(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    enough: impl Fn(&[u8]) -> bool,
) -> std::io::Result<()> {
    let mut piece = [0; 4096];
    while !enough(buffer) {
        match stream.read(&mut piece)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            length => buffer.extend_from_slice(piece.get(..length).unwrap_or_default()),
        }
    }
    Ok(())
}

fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

// === the application ===

const BODY: usize = 1024;

/// Answers every request alike until the program ends; gives its port.
fn application() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever leaves has what was wanted.
            thread::spawn(move || answer_all(stream).is_err());
        }
    });
    Ok(port)
}

fn answer_all(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: Tue, 24 Nov 2026 18:00:00 GMT\r\n\
         Connection: keep-alive\r\nContent-Type: application/json\r\nVary: Accept\r\n\
         Content-Length: {BODY}\r\n\r\n"
    );
    let response = [head.into_bytes(), vec![b'x'; BODY]].concat();
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        read_until(&mut stream, &mut buffer, |read| head_length(read).is_some())?;
        sleep(MOMENT);
        stream.write_all(&response)?;
    }
}

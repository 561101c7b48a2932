//! H1 and H2: one request in, at most one out, and the same one for whoever reads it.
//!
//! Thousands of odd and malformed requests go through the gateway to an application that only
//! keeps bytes. Then h11, httptools (Node's parser) and Gunicorn's own parser read what came over
//! each connection: all of them have to see one request, with the method, target and body that
//! was meant, or, where the gateway broke off, none.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::Value;

use crate::http_attacks::frames::{Fate, Frames};
use crate::support::certificate::Certificate;
use crate::support::gateway::Setup;
use crate::support::{HUNG, eventually, stack};

/// Requests made of parts, over HTTP/1 and HTTP/2.
mod cases;

use cases::{Case, Listed, Meaning};

/// An application that keeps what comes over each connection, to the last byte.
struct Recorder {
    address: SocketAddr,
    shared: Arc<Kept>,
}

#[derive(Default)]
struct Kept {
    raw: Mutex<Vec<Vec<u8>>>,
    open: AtomicUsize,
    ended: AtomicBool,
}

impl Recorder {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared: Arc<Kept> = Arc::default();
        let kept = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if kept.ended.load(Ordering::SeqCst) {
                    return;
                }
                kept.open.fetch_add(1, Ordering::SeqCst);
                let kept = Arc::clone(&kept);
                thread::spawn(move || {
                    let raw = record(stream);
                    kept.raw.lock().push(raw);
                    kept.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, shared }
    }

    /// Everything that came, once every connection has ended.
    fn finish(self) -> Vec<Vec<u8>> {
        eventually("every connection to the application ends", || {
            (self.shared.open.load(Ordering::SeqCst) == 0).then_some(())
        });
        std::mem::take(&mut *self.shared.raw.lock())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

/// Reads to the end, and answers when a request seems to be whole. That is a guess: what it was is
/// for the parsers to say, and whatever follows is kept as well.
fn record(mut stream: TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(HUNG)).unwrap();
    let (mut raw, mut buffer, mut answered) = (Vec::new(), [0; 16 * 1024], false);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return raw,
            Ok(count) => raw.extend_from_slice(&buffer[..count]),
        }
        if !answered && seems_whole(&raw) {
            answered = true;
            // Whether anybody still wants it is not the point.
            let said = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            if said.is_err() || stream.shutdown(Shutdown::Write).is_err() {
                return raw;
            }
        }
    }
}

fn seems_whole(raw: &[u8]) -> bool {
    let Some(end) = raw.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&raw[..end]).to_ascii_lowercase();
    let body = &raw[end + 4..];
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    match (value("transfer-encoding: "), value("content-length: ")) {
        (Some(_), _) => body.ends_with(b"0\r\n\r\n"),
        (None, Some(length)) => body.len() >= length.parse().unwrap(),
        (None, None) => true,
    }
}

/// Sends bytes and reads until the gateway closes.
fn send(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(HUNG)).unwrap();
    stream.set_nodelay(true).unwrap();
    // It may have closed already: what it thought of that is in the record.
    if stream.write_all(bytes).is_ok() {
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        let hung = ended.is_err_and(|error| {
            matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        });
        assert!(!hung, "neither an answer nor an end: {:?}", String::from_utf8_lossy(bytes));
    }
}

/// Sends requests frame by frame, over as many connections as they break.
fn send_frames(address: SocketAddr, certificate: &Certificate, cases: &[&Case]) {
    let config = certificate.client("h2");
    let mut connection: Option<(Frames, u32)> = None;
    for case in cases {
        let Listed::Frames { headers, body } = &case.sent else { continue };
        let (mut frames, stream) =
            connection.take().unwrap_or_else(|| (Frames::connect(address, &config), 1));
        let headers: Vec<(&[u8], &[u8])> =
            headers.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        frames.request(stream, &headers, body);
        if !matches!(frames.fate(stream), Fate::Ended) && stream < 400 {
            connection = Some((frames, stream + 2));
        }
    }
}

/// What the parsers say of each.
fn verdicts(raws: &[Vec<u8>]) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/semantics");
    let python = stack::environment(&folder.join("requirements.txt")).join("bin/python");
    let mut child = Command::new(python)
        .arg(folder.join("parsers.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let encoded: Vec<String> = raws.iter().map(|raw| STANDARD.encode(raw)).collect();
    let mut stdin = child.stdin.take().unwrap();
    let writing = thread::spawn(move || serde_json::to_writer(&mut stdin, &encoded).unwrap());
    let said = child.wait_with_output().unwrap();
    writing.join().unwrap();
    assert!(said.status.success());
    serde_json::from_slice(&said.stdout).unwrap()
}

/// The one request that the parsers see; `None` if all of them see that it is not whole.
fn agreed(raw: &[u8], verdict: &Value) -> Result<Option<Meaning>, String> {
    let mut seen: Vec<(&str, Option<Meaning>)> = Vec::new();
    for (parser, said) in verdict.as_object().unwrap() {
        let error = said["error"].as_str().unwrap_or("");
        // Two of the parsers know only some methods; the third reads the rest for them.
        if error.contains("nvalid method") || error.contains("Invalid HTTP method") {
            continue;
        }
        let requests = said["requests"].as_array().unwrap();
        let one = match &requests[..] {
            [] if incomplete(error) => None,
            [one] if error.is_empty() && said["rest"] == 0 => {
                let part = |at: usize| STANDARD.decode(one[at].as_str().unwrap()).unwrap();
                Some(Meaning { method: part(0), target: part(1), body: part(2) })
            }
            _ => return Err(format!("{parser}: {said}")),
        };
        seen.push((parser, one));
    }
    let (_, first) = seen.first().ok_or("nobody has read it")?;
    match seen.iter().find(|(_, one)| one != first) {
        Some((parser, _)) => Err(format!("{parser} sees another one in {}", raw.escape_ascii())),
        None => Ok(first.clone()),
    }
}

/// What the parsers say of a message that breaks off.
fn incomplete(error: &str) -> bool {
    [
        "without sending complete message",
        "EOFError",
        "NoMoreData",
        "IncompleteBody",
        "ChunkMissingTerminator",
        "peer unexpectedly closed",
    ]
    .iter()
    .any(|text| error.contains(text))
}

const ROUTES: &str = r#"
    [listener.plain]
    address = "127.0.0.1:0"
    [listener.tls]
    address = "127.0.0.1:0"
    [listener.tls.tls]
    certificates = [{ cert = "server.crt", key = "server.key" }]
    [server]
    header_timeout = "1s"
    body_timeout = "1s"
    [upstream.http]
    endpoints = ["APP"]
    idle_connections = 0
    [upstream.wsgi]
    endpoints = ["APP"]
    kind = "wsgi"
    idle_connections = 0
    [[route]]
    path = "/http/*"
    upstream = "http"
    public = true
    [[route]]
    path = "/wsgi/*"
    upstream = "wsgi"
    public = true
"#;

#[test]
fn h1_what_goes_on_is_one_request_to_every_parser() {
    let cases = cases::all();
    assert!(cases.len() >= 2000, "{}", cases.len());
    let over_http2 = cases.iter().filter(|case| matches!(case.sent, Listed::Frames { .. })).count();
    assert!(over_http2 >= 500 && cases.len() - over_http2 >= 1500, "{over_http2}");

    let recorder = Recorder::start();
    let setup = Setup::new();
    let certificate = Certificate::make(setup.folder());
    let gateway = setup.start(&ROUTES.replace("APP", &format!("http://{}", recorder.address)));
    let (plain, tls) = (gateway.address("plain"), gateway.address("tls"));
    thread::scope(|scope| {
        for part in cases.chunks(cases.len().div_ceil(4)) {
            let certificate = &certificate;
            scope.spawn(move || {
                for case in part {
                    if let Listed::Bytes(bytes) = &case.sent {
                        send(plain, bytes);
                    }
                }
                send_frames(tls, certificate, &part.iter().collect::<Vec<_>>());
            });
        }
    });
    gateway.drain();
    let raws = recorder.finish();

    let mut wrong = Vec::new();
    let mut whole = 0;
    let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
    for (raw, verdict) in raws.iter().zip(verdicts(&raws)) {
        let case = cases::number(raw).and_then(|number| Some((number, cases.get(number)?)));
        let Some((number, case)) = case else {
            // A connection that was made and not used says nothing.
            if !raw.is_empty() {
                wrong.push(format!("nobody sent {}", raw.escape_ascii()));
            }
            continue;
        };
        *seen.entry(number).or_default() += 1;
        match (agreed(raw, &verdict), &case.meaning) {
            (Err(told), _) => wrong.push(format!("{told}\n  sent: {}", case.sent)),
            (Ok(None), _) => {}
            (Ok(Some(_)), None) => {
                wrong.push(format!(
                    "was meant by nobody: {}\n  sent: {}",
                    raw.escape_ascii(),
                    case.sent
                ));
            }
            (Ok(Some(read)), Some(meant)) if read == *meant => whole += 1,
            (Ok(Some(read)), Some(meant)) => {
                wrong.push(format!("{read} instead of {meant}\n  sent: {}", case.sent));
            }
        }
    }
    for (number, times) in seen.into_iter().filter(|(_, times)| *times > 1) {
        wrong.push(format!("{times} requests of {}", cases[number].sent));
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
    // Most are odd and none the less good: a gateway that refused them all would prove nothing.
    assert!(whole * 3 > cases.len(), "only {whole} of {} arrived", cases.len());
}

#[test]
fn the_parsers_tell_one_request_from_two_from_a_half() {
    let raw = |text: &str| text.as_bytes().to_vec();
    let one = "POST /http/1 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
    let raws = [
        raw(one),
        raw(&one.repeat(2)),
        raw(&format!("{one}!")),
        raw(&one[..one.len() - 1]),
        raw(&one.replace(
            "content-length: 2\r\n",
            "content-length: 2\r\ntransfer-encoding: chunked\r\n",
        )),
        raw(&one.replace("host: a", "host: a\rb")),
    ];
    let said: Vec<_> =
        raws.iter().zip(verdicts(&raws)).map(|(raw, verdict)| agreed(raw, &verdict)).collect();
    assert!(matches!(&said[0], Ok(Some(seen)) if seen.body == b"hi"), "{:?}", said[0]);
    assert!(said[1].is_err() && said[2].is_err(), "{said:?}");
    assert_eq!(said[3], Ok(None));
    assert!(said[4].is_err() && said[5].is_err(), "{said:?}");
}

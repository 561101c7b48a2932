//! A million tokens with random `kid`s beside a steady stream of good ones: J20 at full size.
//!
//! The gateway is the real program, the issuer and the upstream share a process of their own, and
//! the load is this one. Correctness decides: no good token is refused, no bad one passes, and the
//! issuer counts its fetches. Latencies are printed; on a machine that does something else too they
//! say little. To measure: `cargo build --release`, then on an idle machine
//! `PORTCULLIS_PROGRAM=target/release/portcullis PORTCULLIS_FLOOD=1000000 cargo test --features
//! peers --test peers -- --nocapture flood`.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis::clock::Clock;
use socket2::{Domain, Socket, Type};

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::issuer::Issuer;
use crate::support::process::Process;
use crate::support::token;
use crate::support::upstream::Upstream;

/// Tokens of unknown kids, unless `PORTCULLIS_FLOOD` says how many.
const FLOOD: u64 = 100_000;
/// How many of them a second: a million take 250 s. Two cores that also run load, issuer and
/// upstream can't keep up with much more, and a queue would be measured instead.
const FLOOD_RATE: u64 = 4_000;
const FLOOD_CONNECTIONS: u64 = 32;
/// Good requests a second, before the flood and beside it.
const GOOD_RATE: u64 = 400;
const GOOD_CONNECTIONS: u64 = 8;
/// How long the good stream runs alone.
const ALONE: Duration = Duration::from_secs(30);
/// Distinct good tokens; the caches know them after their first use.
const GOOD_TOKENS: usize = 2_000;
const COOL_DOWN: Duration = Duration::from_secs(10);

/// What the other process says begins with it: the test harness writes there too.
const MARK: &str = "@@ ";
const TOKENS: &str = "PORTCULLIS_FLOOD_TOKENS";

// === the process of issuer and upstream ===

/// The other process, which the test starts under its own name. Answers each line with its counts.
fn servers(file: OsString) {
    let issuer = Issuer::start(&[token::ec()]);
    let upstream = Upstream::saying("reached");
    let tokens: Vec<_> = (0..GOOD_TOKENS)
        .map(|number| token::ec().good(&issuer.url(), &format!("user-{number}")))
        .collect();
    std::fs::write(file, tokens.join("\n")).unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "\n{MARK}{} {}", issuer.url(), upstream.url()).unwrap();
    for _ in std::io::stdin().lock().lines().map_while(Result::ok) {
        writeln!(out, "\n{MARK}{} {}", issuer.fetches(), upstream.count()).unwrap();
    }
}

struct Servers {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
    issuer: String,
    upstream: String,
    tokens: Vec<String>,
}

impl Servers {
    fn start(folder: &std::path::Path) -> Self {
        let file = folder.join("tokens");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "flood::j20_a_million_random_kids_beside_good_tokens", "--nocapture"])
            .env(TOKENS, &file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let [issuer, upstream] = pair(&mut said);
        let tokens = std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect();
        Self { child, said, issuer, upstream, tokens }
    }

    /// How often the issuer was asked for keys, and the upstream for anything.
    fn counts(&mut self) -> (u64, u64) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        let [fetches, requests] = pair(&mut self.said);
        (fetches.parse().unwrap(), requests.parse().unwrap())
    }
}

fn pair(said: &mut impl BufRead) -> [String; 2] {
    loop {
        let mut line = String::new();
        assert!(said.read_line(&mut line).unwrap() > 0, "the other process ended");
        if let Some(line) = line.trim_end().strip_prefix(MARK) {
            let (first, second) = line.split_once(' ').unwrap();
            return [first.to_owned(), second.to_owned()];
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // The end of its input ends it, were it not for connections that are still open.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

// === the load ===

/// Sends at fixed times, whatever the answers take; `each` gets the number and says when to end.
fn paced(rate: u64, lanes: u64, lane: u64, mut each: impl FnMut(u64) -> bool) {
    let begun = Clock::system().now();
    for number in 0.. {
        let at = Duration::from_micros((number * lanes + lane) * 1_000_000 / rate);
        thread::sleep(at.saturating_sub(begun.elapsed()));
        if !each(number * lanes + lane) {
            return;
        }
    }
}

/// Good tokens at a fixed rate until `ended`; how long each request took.
fn good_stream(address: SocketAddr, tokens: &[String], ended: &AtomicBool) -> Vec<Duration> {
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..GOOD_CONNECTIONS)
            .map(|lane| {
                scope.spawn(move || {
                    let mut client = Client::tcp(address);
                    let mut took = Vec::new();
                    paced(GOOD_RATE, GOOD_CONNECTIONS, lane, |number| {
                        let token = &tokens[usize::try_from(number).unwrap() % tokens.len()];
                        let sent = Clock::system().now();
                        let headers = format!("Authorization: Bearer {token}\r\n");
                        client.get("/good", &headers).expect(200);
                        took.push(sent.elapsed());
                        !ended.load(Ordering::Relaxed)
                    });
                    took
                })
            })
            .collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    })
}

/// How the flood was answered.
#[derive(Default)]
struct Answered {
    unauthorized: AtomicU64,
    unavailable: AtomicU64,
    limited: AtomicU64,
}

fn flood_size() -> u64 {
    std::env::var("PORTCULLIS_FLOOD").map_or(FLOOD, |count| count.parse().unwrap())
}

/// Random kids at a fixed rate, from another address than the good stream's.
fn flood(address: SocketAddr, iss: &str, answered: &Answered) {
    let count = flood_size();
    let claims = URL_SAFE_NO_PAD.encode(token::claims(iss, "mallory").to_string());
    let signature = URL_SAFE_NO_PAD.encode([7; 64]);
    thread::scope(|scope| {
        for lane in 0..FLOOD_CONNECTIONS {
            let (claims, signature) = (&claims, &signature);
            scope.spawn(move || {
                let mut stream = from_another_address(address);
                let mut buffer = vec![0; 16 * 1024];
                paced(FLOOD_RATE, FLOOD_CONNECTIONS, lane, |number| {
                    if number >= count {
                        return false;
                    }
                    let kid = mixed(number);
                    let header = format!(r#"{{"typ":"JWT","alg":"ES256","kid":"{kid:016x}"}}"#);
                    let header = URL_SAFE_NO_PAD.encode(header);
                    let request = format!(
                        "GET /flood HTTP/1.1\r\nHost: localhost\r\n\
                         Authorization: Bearer {header}.{claims}.{signature}\r\n\r\n"
                    );
                    stream.write_all(request.as_bytes()).unwrap();
                    let counter = match status(&mut stream, &mut buffer) {
                        401 => &answered.unauthorized,
                        429 => &answered.limited,
                        503 => &answered.unavailable,
                        other => panic!("{other}"),
                    };
                    counter.fetch_add(1, Ordering::Relaxed);
                    true
                });
            });
        }
    });
}

/// Numbers that look like no sequence (splitmix64's finish).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number ^ (number >> 27)
}

fn from_another_address(to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.set_tcp_nodelay(true).unwrap();
    socket.set_read_timeout(Some(crate::support::HUNG)).unwrap();
    socket.into()
}

/// Reads one whole response with a Content-Length; its status.
fn status(stream: &mut TcpStream, buffer: &mut [u8]) -> u16 {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).unwrap();
        assert!(read > 0, "closed");
        filled += read;
        let text = std::str::from_utf8(&buffer[..filled]).unwrap();
        let Some(end) = text.find("\r\n\r\n") else { continue };
        let length: usize = text[..end]
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        if filled >= end + 4 + length {
            assert_eq!(filled, end + 4 + length, "more than was asked for");
            return text[9..12].parse().unwrap();
        }
    }
}

// === the test ===

fn percentile(sorted: &[Duration], part: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "an index of a list that fits in memory"
    )]
    let at = (sorted.len() as f64 * part) as usize;
    sorted[at.min(sorted.len() - 1)]
}

/// The 99th percentile, and a line for people.
fn report(what: &str, mut took: Vec<Duration>) -> (Duration, String) {
    took.sort();
    let at = |part| percentile(&took, part);
    let (count, p50, p99, p999) = (took.len(), at(0.5), at(0.99), at(0.999));
    let line =
        format!("{what}: {count} requests, 0 errors, p50 {p50:?}, p99 {p99:?}, p99.9 {p999:?}");
    (p99, line)
}

#[test]
fn j20_a_million_random_kids_beside_good_tokens() {
    if let Some(file) = std::env::var_os(TOKENS) {
        return servers(file);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut servers = Servers::start(folder.path());
    let begun: Instant = Clock::system().now();
    let text = format!(
        r#"
        [listener.main]
        address = "127.0.0.1:0"
        [issuer.main]
        url = "{}"
        audience = ["api"]
        [[route]]
        path = "/*"
        upstream = "{}"
        [admin]
        address = "127.0.0.1:0"
        [server]
        bad_tokens = "off"  # which would keep the flood from the key service
        [log]
        format = "json"
        access = "off"
        "#,
        servers.issuer, servers.upstream
    );
    let gateway = Process::run(folder.path(), &text, 1, &[]);
    let address = gateway.listeners["main"];
    let mut client = Client::tcp(address);
    let first = format!("Authorization: Bearer {}\r\n", servers.tokens[0]);
    eventually("keys", || (client.get("/warm", &first).status == 200).then_some(()));

    let tokens = &servers.tokens;
    let timed = |length: Duration| {
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(length);
                ended.store(true, Ordering::Relaxed);
            });
            good_stream(address, tokens, &ended)
        })
    };
    let warm = timed(Duration::from_secs(5)).len();
    let alone = timed(ALONE);
    let before = 1 + warm + alone.len();
    let (alone, line) = report("alone", alone);
    println!("{line}");

    let answered = Answered::default();
    let ended = AtomicBool::new(false);
    let flooded = Clock::system().now();
    let beside = thread::scope(|scope| {
        let good = scope.spawn(|| good_stream(address, tokens, &ended));
        flood(address, &servers.issuer, &answered);
        ended.store(true, Ordering::Relaxed);
        good.join().unwrap()
    });
    let (flood_took, good) = (flooded.elapsed(), before + beside.len());
    let (beside, line) = report("beside the flood", beside);
    println!("{line}");
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let elapsed = begun.elapsed();
    let (fetches, reached) = servers.counts();
    let sent = flood_size();
    println!(
        "{sent} random kids in {flood_took:?}: {} times 401, {} times 503, {} times 429; \
         p99 ratio {:.2}; \
         {fetches} fetches in {elapsed:?}",
        count(&answered.unauthorized),
        count(&answered.unavailable),
        count(&answered.limited),
        beside.as_secs_f64() / alone.as_secs_f64(),
    );
    let bound = 1 + elapsed.as_secs() / COOL_DOWN.as_secs();
    assert!(fetches <= bound, "{fetches} fetches in {elapsed:?}, at most {bound}");
    let all = [&answered.unauthorized, &answered.unavailable, &answered.limited];
    assert_eq!(all.into_iter().map(count).sum::<u64>(), sent);
    assert_eq!(reached, good as u64, "requests at the upstream, and good tokens");
}

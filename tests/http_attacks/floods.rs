//! H17: what a flood costs in memory, of a gateway in a process of its own.
//!
//! Every flood goes on until its connection ends or takes nothing more, so that a gateway which kept
//! what comes in would have to keep all of it. The bound is the process's peak, not its size at
//! some moment.

use std::fs;
use std::io::Write;
use std::time::Duration;

use super::configuration;
use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PING, RST_STREAM, SETTINGS, block,
};
use crate::support::caller::{Body, http2};
use crate::support::certificate::Certificate;
use crate::support::h2::H2;
use crate::support::process::Process;
use crate::support::token::SECRET;
use crate::support::upstream::{Then, Upstream};

const WINDOW_UPDATE: u8 = 8;
const PRIORITY: u8 = 2;

/// What all the floods together may cost, in KiB; together they send six times as much.
const ALL: u64 = 24 * 1024;

/// What streams that nobody reads may cost, each, in KiB: a response's place in HTTP/2 (64), what is
/// on its way from the application, and what a task needs.
const STREAM: u64 = 160;

struct Flooded {
    program: Process,
    certificate: Certificate,
    _upstream: Upstream,
    _folder: tempfile::TempDir,
}

impl Flooded {
    fn start(upstream: Upstream) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificate = Certificate::make(folder.path());
        let text = configuration(&upstream.url(), "")
            .replace("${KEY}", SECRET)
            .replace("[upstream.web]", "[upstream.web]\nmax_requests = 1000")
            + "[admin]\naddress = \"127.0.0.1:0\"\n[log]\naccess = \"off\"\n";
        let program = Process::run(folder.path(), &text, 2, &[]);
        Self { program, certificate, _upstream: upstream, _folder: folder }
    }

    fn frames(&self) -> Frames {
        let frames = Frames::connect(self.program.listeners["tls"], &self.certificate.client("h2"));
        frames.give_up_after(Duration::from_secs(1));
        frames
    }

    fn h2(&self) -> H2 {
        H2::tls(self.program.listeners["tls"], &self.certificate.client("h2"))
    }

    /// KiB, at most so far.
    fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.program.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// A request that others make meanwhile.
    fn serves(&self) {
        self.h2().send(http2("GET", "/open/quick", &[], Body::None)).unwrap().expect(200);
    }
}

fn head() -> Vec<u8> {
    block(&[
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":path", b"/open/flood"),
        (b":authority", b"localhost"),
    ])
}

/// Sends `frame` again and again, many at a time, until `bytes` have gone or nothing goes any more.
fn flood(frames: &mut Frames, bytes: usize, mut frame: impl FnMut(&mut Vec<u8>)) {
    let mut sent = 0;
    while sent < bytes {
        let mut several = Vec::new();
        while several.len() < 16 * 1024 {
            frame(&mut several);
        }
        if !frames.send_raw(&several) {
            return;
        }
        sent += several.len();
    }
}

fn put(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

#[test]
fn h17_no_flood_of_frames_grows_the_process() {
    const MIB: usize = 1024 * 1024;
    let site = Flooded::start(Upstream::saying("reached"));
    site.serves();
    let before = site.peak();
    let head = head();
    let filler = block(&[(b"x-filler", &[b'a'; 1000])]);

    // A head without end.
    let mut frames = site.frames();
    assert!(frames.send(HEADERS, END_STREAM, 1, &head));
    flood(&mut frames, 64 * MIB, |bytes| put(bytes, CONTINUATION, 0, 1, &filler));

    // A body of nothing.
    let mut frames = site.frames();
    assert!(frames.send(HEADERS, END_HEADERS, 1, &head));
    flood(&mut frames, 8 * MIB, |bytes| put(bytes, DATA, 0, 1, b""));

    // What has to be answered, to a client that reads no answer.
    let mut frames = site.frames();
    flood(&mut frames, 16 * MIB, |bytes| put(bytes, PING, 0, 0, b"pingpong"));
    let mut frames = site.frames();
    flood(&mut frames, 16 * MIB, |bytes| put(bytes, SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]));

    // What is said about streams that are not there.
    let (mut frames, mut stream) = (site.frames(), 1);
    flood(&mut frames, 4 * MIB, |bytes| {
        put(bytes, PRIORITY, 0, stream, &[0, 0, 0, 0, 7]);
        stream += 2;
    });
    let mut frames = site.frames();
    flood(&mut frames, 4 * MIB, |bytes| put(bytes, WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]));

    // Streams that are opened and taken back, or never may be opened.
    let (mut frames, mut stream) = (site.frames(), 1);
    flood(&mut frames, 16 * MIB, |bytes| {
        put(bytes, HEADERS, END_HEADERS | END_STREAM, stream, &head);
        put(bytes, RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        stream += 2;
    });
    let (mut frames, mut stream) = (site.frames(), 1);
    flood(&mut frames, 16 * MIB, |bytes| {
        put(bytes, HEADERS, END_HEADERS, stream, &head);
        stream += 2;
    });

    let grown = site.peak() - before;
    assert!(grown < ALL, "{grown} KiB");
    site.serves();
}

#[test]
fn h17_streams_that_nobody_reads_have_a_bounded_share() {
    const CONNECTIONS: u64 = 4;
    const STREAMS: u64 = 100;
    // An answer that never ends, to whoever takes it.
    let upstream = Upstream::start(|request, stream| {
        if request.target() == "/open/quick" {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            return Ok(Then::Keep);
        }
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
        let chunk = [b'x'; 64 * 1024];
        loop {
            stream.write_all(&chunk)?;
        }
    });
    let site = Flooded::start(upstream);
    site.serves();
    let before = site.peak();
    let head = head();
    let held: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut frames = site.frames();
            // No stream may send a byte of its body.
            assert!(frames.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
            for stream in (0..u32::try_from(STREAMS).unwrap()).map(|number| 2 * number + 1) {
                assert!(frames.send(HEADERS, END_HEADERS | END_STREAM, stream, &head));
            }
            let mut answered = 0;
            while answered < STREAMS {
                let frame = frames.next().expect("an answer's head");
                assert_ne!(frame.kind, DATA);
                answered += u64::from(frame.kind == HEADERS);
            }
            frames
        })
        .collect();
    // Each was answered, so each has begun to be read; by the time that others are served again and
    // again, what can be read ahead has been.
    for _ in 0..20 {
        site.serves();
    }
    let grown = site.peak() - before;
    assert!(grown < CONNECTIONS * STREAMS * STREAM, "{grown} KiB");
    drop(held);
    site.serves();
}

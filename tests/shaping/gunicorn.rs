//! A real Gunicorn with one sync worker: whoever holds that holds everybody.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::*;
use crate::http_attacks::frames::Frames;
use crate::support::stack::virtual_environment;
use crate::support::{Response, eventually};

/// Ends when it is dropped.
struct Gunicorn {
    process: Child,
    folder: TempDir,
}

impl Gunicorn {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let said = folder.path().join("said");
        let socket = format!("unix:{}", folder.path().join("app.sock").display());
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shaping");
        let process = Command::new(virtual_environment().join("bin/python"))
            .args(["-m", "gunicorn", "app:application", "--workers", "1", "--worker-class", "sync"])
            .args(["--timeout", "90", "--graceful-timeout", "1", "--bind", &socket])
            .current_dir(here)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env_remove("GUNICORN_CMD_ARGS")
            .stdin(Stdio::null())
            .stderr(File::create(&said).unwrap())
            .spawn()
            .unwrap();
        let gunicorn = Self { process, folder };
        eventually("Gunicorn's worker", || {
            fs::read_to_string(&said).unwrap().contains("Booting worker").then_some(())
        });
        gunicorn
    }

    fn place(&self) -> Place {
        let app = format!("unix:{}", self.folder.path().join("app.sock").display());
        let text = format!(
            r#"
            [upstream.gunicorn]
            endpoints = ["{app}"]
            kind = "wsgi"
            [[route]]
            path = "/shop/*"
            upstream = "gunicorn"
            public = true
            mount = "/shop"
            [[route]]
            path = "/*"
            upstream = "gunicorn"
            public = true
            "#
        );
        Place::start(talkative(), &text)
    }
}

impl Drop for Gunicorn {
    fn drop(&mut self) {
        let id = i32::try_from(self.process.id()).unwrap();
        // Its own process alone; Gunicorn then ends its worker.
        if kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).is_ok() {
            drop(self.process.wait());
        }
    }
}

/// The one worker is free.
fn served(place: &Place) -> Response {
    place.plain().get("/quick", "").expect(200)
}

#[test]
fn h18_a_slow_upload_holds_no_worker() {
    const PIECE: usize = 4096;
    const PIECES: usize = 24;
    let gunicorn = Gunicorn::start();
    let place = gunicorn.place();
    let whole = PIECE * PIECES;
    let piece = "x".repeat(PIECE);
    for framing in [format!("Content-Length: {whole}"), "Transfer-Encoding: chunked".to_owned()] {
        let is_chunked = framing.starts_with('T');
        let mut slow = place.plain();
        slow.send(format!("POST /slow HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n"));
        for _ in 0..PIECES {
            match is_chunked {
                true => slow.send(format!("{PIECE:x}\r\n{piece}\r\n")),
                false => slow.send(&piece),
            }
            // Between any two pieces, however long the client takes.
            served(&place);
        }
        if is_chunked {
            slow.send("0\r\n\r\n");
        }
        let told = slow.response().expect(200).json();
        assert_eq!(told["length"], whole.to_string(), "{told}");
        assert_eq!(told["read"], whole);
        assert_eq!(told["chunked"], serde_json::Value::Null);
    }
}

#[test]
fn h18_a_slow_reader_holds_no_worker() {
    const WHOLE: usize = 256 * 65536;
    let gunicorn = Gunicorn::start();
    let place = gunicorn.place();
    // One takes the head and nothing more, the other not even that: its window stays closed.
    let mut slow = place.plain();
    slow.send("GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    slow.head();
    served(&place);
    let mut frames = Frames::connect(place.gateway.address("tls"), &place.certificate.client("h2"));
    let head: [(&[u8], &[u8]); 4] = [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":authority", b"localhost"),
        (b":path", b"/large"),
    ];
    frames.request(1, &head, b"");
    served(&place);
    served(&place);
    let mut read = 0;
    loop {
        let chunk = slow.chunk();
        if chunk.is_empty() {
            break;
        }
        for byte in chunk {
            assert_eq!(usize::from(byte), read / 65536 % 251, "at {read}");
            read += 1;
        }
    }
    assert_eq!(read, WHOLE);
}

#[test]
fn a_mount_is_taken_off_by_gunicorn() {
    let gunicorn = Gunicorn::start();
    let place = gunicorn.place();
    for mut caller in place.both() {
        for (path, script_name, path_info) in [
            ("/shop/a%20b", "/shop", "/a b"),
            ("/sho%70/x", "/shop", "/x"),
            ("/shop", "/shop", ""),
            ("/other/x", "", "/other/x"),
        ] {
            let spoofed = [("script-name", "/other"), ("x-forwarded-prefix", "/other")];
            let told = caller.get(path, &spoofed).expect(200).json();
            assert_eq!(told["script_name"], script_name, "{path}");
            assert_eq!(told["path_info"], path_info, "{path}");
        }
    }
}

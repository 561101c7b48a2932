//! What `kind` of an upstream means (docs/upstream-kinds.md), beside the servers themselves.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::stack::environment;
use crate::support::upstream::Upstream;

fn before(endpoint: &str, kind: &str) -> Gateway {
    Setup::new().start(&format!(
        "[listener.main]\naddress = \"127.0.0.1:0\"\n\
         [server]\nmax_headers = {{ count = 200, size = \"60KiB\", line = \"16KiB\" }}\n\
         [upstream.web]\nendpoints = [\"{endpoint}\"]\nkind = \"{kind}\"\n\
         [[route]]\npath = \"/*\"\nupstream = \"web\"\npublic = true\n"
    ))
}

/// A request with so much of each.
fn head(target: usize, lines: usize, value: usize) -> String {
    let lines: Vec<_> = (0..lines).map(|at| format!("X-{at}: {}\r\n", "v".repeat(value))).collect();
    format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "a".repeat(target), lines.concat())
}

#[test]
fn heads_beyond_a_kinds_limits_are_refused_here() {
    for (kind, request, refused) in [
        ("wsgi", head(4000, 80, 20), None),
        ("wsgi", head(4090, 1, 20), Some((414, "target_too_long"))),
        ("wsgi", head(1, 100, 20), Some((431, "headers_too_large"))),
        ("wsgi", head(1, 1, 8190), Some((431, "headers_too_large"))),
        ("node", head(1, 2, 7000), None),
        ("node", head(1, 3, 7000), Some((431, "headers_too_large"))),
        ("asgi", head(8000, 150, 100), None),
        ("http", head(8000, 150, 100), None),
    ] {
        let upstream = Upstream::saying("ok");
        let gateway = before(&upstream.url(), kind);
        let mut client = Client::tcp(gateway.address("main"));
        client.send(&request);
        let response = client.response();
        let shown = (kind, request.len());
        match refused {
            None => assert_eq!((response.status, upstream.count()), (200, 1), "{shown:?}"),
            Some((status, code)) => {
                assert_eq!(response.status, status, "{shown:?}");
                assert_eq!(response.json()["code"], code, "{shown:?}");
                assert_eq!(upstream.count(), 0, "{shown:?}");
            }
        }
    }
}

/// A running uvicorn; it ends when this is dropped.
struct Uvicorn {
    child: Child,
    url: String,
}

impl Uvicorn {
    fn start(folder: &Path, http: &str) -> Self {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upstream_kinds");
        let python = environment(&sources.join("requirements.txt")).join("bin/python");
        let said = folder.join(format!("{http}.log"));
        let child = Command::new(python)
            .args(["-m", "uvicorn", "application:application", "--port", "0", "--http", http])
            .current_dir(&sources)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said).unwrap())
            .spawn()
            .unwrap();
        let url = eventually("uvicorn listens", || {
            let said = std::fs::read_to_string(&said).unwrap();
            let line = said.lines().find_map(|line| line.split_once("running on "))?.1.to_owned();
            Some(line.split(' ').next()?.to_owned())
        });
        Self { child, url }
    }
}

impl Drop for Uvicorn {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn uvicorn_takes_what_asgi_lets_through() {
    let folder = tempfile::tempdir().unwrap();
    for http in ["h11", "httptools"] {
        let uvicorn = Uvicorn::start(folder.path(), http);
        let gateway = before(&uvicorn.url, "asgi");
        let mut client = Client::tcp(gateway.address("main"));
        // As much as the listener takes.
        client.send(head(8000, 180, 200));
        let told = client.response().expect(200).json();
        assert_eq!(
            told["headers"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|name| name.as_str().unwrap().starts_with("x-1"))
                .count(),
            91,
            "{http}"
        );
        // Bodies with and without a length, as they come.
        for body in [
            "Content-Length: 5\r\n\r\nhello".to_owned(),
            "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n".to_owned(),
        ] {
            client.send(format!("POST /x HTTP/1.1\r\nHost: localhost\r\n{body}"));
            assert_eq!(client.response().expect(200).json()["length"], 5, "{http} {body}");
        }
        let streamed = client.get("/stream", "").expect(200);
        assert_eq!(streamed.text().lines().count(), 1000, "{http}");
        let reused = "portcullis_upstream_connections_reused_total{upstream=\"web\"}";
        assert!(gateway.metric(reused) >= 1.0, "{http}");
        client
            .send(format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{}\r\n", crate::websocket::ASKS));
        assert_eq!(client.head().status, 101, "{http}");
        // A text frame, masked with zeros, and its echo.
        client.send(b"\x81\x84\0\0\0\0ping");
        assert_eq!(client.read_exactly(6), b"\x81\x04ping", "{http}");
    }
}

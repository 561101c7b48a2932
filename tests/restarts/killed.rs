//! A worker that is killed: what the client of its request gets.

use super::before;
use super::server::{Kind, Server};
use crate::support::caller::{Body, http2};
use crate::support::client::{Broken, Client};
use crate::support::h2::H2;
use crate::support::steady::counts;

#[test]
fn before_a_byte_was_answered_it_is_502_and_what_may_be_sent_twice_is_answered_by_another() {
    let folder = tempfile::tempdir().unwrap();
    for kind in Kind::ALL {
        let mut server = Server::start(folder.path(), kind, "one");
        let (gateway, certificate) = before(&[&server]);
        let mut client = Client::tcp(gateway.address("main"));
        client.send("POST /silent/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        kill(&mut server, "POST /silent/1");
        assert_eq!(client.response().expect(502).json()["code"], "upstream_failed", "{kind:?}");

        let h2 = H2::tls(gateway.address("tls"), &certificate.client("h2"));
        let begun = h2.begin(http2("POST", "/silent/2", &[], Body::None));
        kill(&mut server, "POST /silent/2");
        assert_eq!(h2.finish(begun).unwrap().expect(502).json()["code"], "upstream_failed");

        client.send("GET /once/3 HTTP/1.1\r\nHost: localhost\r\n\r\n");
        kill(&mut server, "GET /once/3");
        assert_eq!(client.response().expect(200).text(), "/once/3", "{kind:?}");

        let counts = counts(server.arrived());
        let times = |request| counts.get(request).copied();
        assert_eq!((times("POST /silent/1"), times("POST /silent/2")), (Some(1), Some(1)));
        assert_eq!(times("GET /once/3"), Some(2));
    }
}

#[test]
fn within_an_answer_it_is_broken_off_and_never_looks_whole() {
    let folder = tempfile::tempdir().unwrap();
    for kind in Kind::ALL {
        let mut server = Server::start(folder.path(), kind, "one");
        let (gateway, certificate) = before(&[&server]);
        for framing in ["length", "chunked"] {
            let path = format!("/partly/{framing}/1");
            let mut client = Client::tcp(gateway.address("main"));
            client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
            kill(&mut server, &format!("BEGUN {path}"));
            // The head has come; the last byte, or the last chunk, never does.
            match client.try_response("GET") {
                Err(Broken::Cut(_)) => {}
                other => panic!("{kind:?} {path}: {other:?}"),
            }

            let path = format!("/partly/{framing}/2");
            let h2 = H2::tls(gateway.address("tls"), &certificate.client("h2"));
            let begun = h2.begin(http2("GET", &path, &[], Body::None));
            kill(&mut server, &format!("BEGUN {path}"));
            let broken = h2.finish(begun).unwrap_err();
            assert!(
                broken.starts_with("body: ") && broken.contains("Reset("),
                "{kind:?} {path}: {broken}"
            );
            // The stream is reset, the connection is not.
            let other = h2.send(http2("GET", "/quick/x", &[], Body::None)).unwrap();
            assert_eq!(other.expect(200).text(), "/quick/x");

            let counts = counts(server.arrived());
            for nth in [1, 2] {
                assert_eq!(counts.get(&format!("GET /partly/{framing}/{nth}")), Some(&1));
            }
        }
    }
}

/// Kills the worker that has noted this. Gunicorn starts another by itself.
fn kill(server: &mut Server, noted: &str) {
    let worker = server.worker_of(noted);
    server.kill(worker);
    if server.kind == Kind::Uvicorn {
        server.start_again();
    }
}

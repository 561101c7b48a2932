//! TLS to application servers: who is believed, and for what name (docs/http.md, H24).

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use crate::support::HUNG;
use rustls::{ServerConnection, StreamOwned};

use crate::support::certificate::Certificate;
use crate::support::client::{Broken, Client};
use crate::support::gateway::{Gateway, Setup};
use crate::support::terminator::{self, Terminator};
use crate::support::upstream::{Received, Then, Upstream};

/// A gateway in front of one https endpoint on `localhost`; `tls` is what its table says.
fn before(setup: Setup, address: SocketAddr, tls: &str, more: &str) -> Gateway {
    setup.start(&configuration(address, tls, more))
}

fn configuration(address: SocketAddr, tls: &str, more: &str) -> String {
    format!(
        "[listener.main]\naddress = \"127.0.0.1:0\"\n\
         [upstream.web]\nendpoints = [\"https://localhost:{}\"]\n{tls}\n{more}\n\
         [[route]]\npath = \"/*\"\nupstream = \"web\"\npublic = true\n",
        address.port()
    )
}

fn ask(gateway: &Gateway) -> (u16, String) {
    let response = Client::tcp(gateway.address("main")).get("/x", "");
    let text = response.text().to_owned();
    (response.status, text)
}

#[test]
fn h24_an_upstream_has_to_be_who_its_name_says() {
    let upstream = Upstream::saying("secret answer");
    let place = tempfile::tempdir().unwrap();
    let own = Certificate::make(place.path());
    let other = Certificate::for_names(place.path(), "other", &["other.example"]);
    let (own_ca, other_ca) = (own.cert.display(), other.cert.display());

    // What the table says, which certificate is shown, and whether that is enough.
    let cases = [
        (format!("tls = {{ ca = \"{own_ca}\" }}"), &own, true),
        // Another root, though the name is right.
        (format!("tls = {{ ca = \"{other_ca}\" }}"), &own, false),
        // The system's roots.
        (String::new(), &own, false),
        // The right root, another name.
        (format!("tls = {{ ca = \"{other_ca}\" }}"), &other, false),
        (format!("tls = {{ ca = \"{other_ca}\", server_name = \"other.example\" }}"), &other, true),
        (format!("tls = {{ ca = \"{own_ca}\", server_name = \"other.example\" }}"), &own, false),
        // Whoever answers.
        ("tls = { verify = false }".to_owned(), &other, true),
        // All defaults, as they may be written.
        (
            "tls = { ca = \"\", server_name = \"\", cert = \"\", key = \"\", verify = true }"
                .to_owned(),
            &own,
            false,
        ),
    ];
    for (tls, shown, good) in cases {
        let terminator = Terminator::start(shown, "http/1.1", None, upstream.address);
        let gateway = before(Setup::new(), terminator.address, &tls, "");
        let before = upstream.count();
        let (status, text) = ask(&gateway);
        if good {
            assert_eq!((status, text.as_str()), (200, "secret answer"), "{tls}");
            let name = if tls.contains("other.example") { "other.example" } else { "localhost" };
            assert_eq!(terminator.names(), [Some(name.to_owned())], "{tls}");
        } else {
            assert_eq!(status, 502, "{tls}: {text}");
            assert!(text.contains("upstream_refused"), "{tls}: {text}");
            assert_eq!(upstream.count(), before, "{tls}");
        }
    }
}

#[test]
fn h24_no_byte_counts_before_the_handshake() {
    // Speaks first, or answers the handshake in clear text (nginx's CVE-2026-1642).
    for speaks_first in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                if !speaks_first {
                    drop(stream.read(&mut [0; 4096]));
                }
                let text = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\ninjected";
                drop(stream.write_all(text));
                stream.set_read_timeout(Some(HUNG)).unwrap();
                drop(stream.read_to_end(&mut Vec::new()));
            }
        });
        let gateway = before(Setup::new(), address, "tls = { verify = false }", "");
        let (status, text) = ask(&gateway);
        assert_eq!(status, 502, "{text}");
        assert!(text.contains("upstream_refused") && !text.contains("injected"), "{text}");
    }
}

#[test]
fn h24_a_handshake_is_part_of_connecting() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let gateway = before(Setup::new(), address, "", "connect_timeout = \"200ms\"");
    let (status, text) = ask(&gateway);
    assert_eq!(status, 502, "{text}");
    assert!(text.contains("upstream_refused"), "{text}");
}

#[test]
fn a_server_that_asks_for_our_certificate_gets_it() {
    let upstream = Upstream::saying("ok");
    let setup = Setup::new();
    let own = Certificate::make(setup.folder());
    let ours = Certificate::for_names(setup.folder(), "ours", &["gateway.example"]);
    let terminator = Terminator::start(&own, "http/1.1", Some(&ours), upstream.address);
    let bare = before(
        Setup::new(),
        terminator.address,
        &format!("tls = {{ ca = \"{}\" }}", own.cert.display()),
        "",
    );
    assert_eq!(ask(&bare).0, 502);
    let tls = "tls = { ca = \"server.crt\", cert = \"ours.crt\", key = \"ours.key\" }";
    let gateway = before(setup, terminator.address, tls, "");
    assert_eq!(ask(&gateway), (200, "ok".to_owned()));
}

#[test]
fn connections_are_kept_and_bodies_are_whole_over_tls() {
    let upstream = Upstream::start(|request: &Received, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len())?;
        stream.write_all(&request.body)?;
        Ok(Then::Keep)
    });
    let setup = Setup::new();
    let own = Certificate::make(setup.folder());
    let terminator = Terminator::start(&own, "http/1.1", None, upstream.address);
    let gateway = before(setup, terminator.address, "tls = { ca = \"server.crt\" }", "");
    let mut client = Client::tcp(gateway.address("main"));
    let body = vec![b'x'; 3 << 20];
    for length in [0, 1, 70_000, body.len(), 17] {
        client.send(format!(
            "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        ));
        client.send(&body[..length]);
        let response = client.response().expect(200);
        assert!(response.body == body[..length], "{length}");
    }
    assert_eq!(terminator.names().len(), 1, "one connection for all");
}

#[test]
fn a_reload_reads_the_files_again() {
    let upstream = Upstream::saying("ok");
    let setup = Setup::new();
    let own = Certificate::make(setup.folder());
    let other = Certificate::for_names(setup.folder(), "other", &["localhost"]);
    let ca = setup.folder().join("ca.pem");
    fs::copy(&other.cert, &ca).unwrap();
    let terminator = Terminator::start(&own, "http/1.1", None, upstream.address);
    let gateway = before(setup, terminator.address, "tls = { ca = \"ca.pem\" }", "");
    assert_eq!(ask(&gateway).0, 502);
    fs::copy(&own.cert, &ca).unwrap();
    let text = configuration(terminator.address, "tls = { ca = \"ca.pem\" }", "");
    gateway.reload(&text).unwrap();
    assert_eq!(ask(&gateway).0, 200);
    // A file that is no certificate changes nothing.
    fs::write(&ca, "nothing").unwrap();
    assert!(gateway.reload(&text).is_err());
    assert_eq!(ask(&gateway).0, 200);
}

#[test]
fn websocket_goes_over_tls_too() {
    let upstream = Upstream::start(crate::websocket::echoes);
    let setup = Setup::new();
    let own = Certificate::make(setup.folder());
    let terminator = Terminator::start(&own, "http/1.1", None, upstream.address);
    let gateway = before(setup, terminator.address, "tls = { ca = \"server.crt\" }", "");
    let mut client = Client::tcp(gateway.address("main"));
    client.send(format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{}\r\n", crate::websocket::ASKS));
    crate::websocket::is_switched(&client.head());
    for text in ["one", "two", "a longer third"] {
        client.send(text);
        assert_eq!(client.read_exactly(text.len()), text.as_bytes());
    }
}

#[test]
fn h13_a_body_whose_tls_is_cut_off_is_not_a_whole_one() {
    let setup = Setup::new();
    let own = Certificate::make(setup.folder());
    let config = Arc::new(terminator::config(&own, "http/1.1", None));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (index, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut secured = StreamOwned::new(session, stream);
            drop(secured.read(&mut [0; 4096]));
            secured.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npart").unwrap();
            if index == 0 {
                // What ends with the connection ends with TLS's own word for it.
                secured.conn.send_close_notify();
            }
            secured.flush().unwrap();
        }
    });
    let gateway = before(setup, address, "tls = { ca = \"server.crt\" }", "");
    assert_eq!(ask(&gateway), (200, "part".to_owned()));
    let mut client = Client::tcp(gateway.address("main"));
    client.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let broken = client.try_response("GET").map(|whole| whole.status);
    let cut = matches!(broken, Err(Broken::Cut(_) | Broken::Nothing(_)));
    assert!(cut, "{broken:?}");
}

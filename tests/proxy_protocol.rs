//! Balancers that say for whom they connect (the PROXY protocol), and clients that would like to.

use std::net::{IpAddr, Ipv4Addr};

use portcullis::http::proxy_protocol::{Version, write};

use crate::support::certificate::Certificate;
use crate::support::client::{Broken, Client};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

const BALANCER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const SOMEBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
const REQUEST: &str = "GET /x HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n";

struct Site {
    gateway: Gateway,
    upstream: Upstream,
}

impl Site {
    fn start(more: &str) -> Self {
        let setup = Setup::new();
        let upstream = Upstream::saying("reached");
        let text = format!(
            "[listener.main]\naddress = \"127.0.0.1:0\"\nproxy_protocol = [\"127.0.0.2\"]\n\
             [[route]]\npath = \"/*\"\nupstream = \"{}\"\npublic = true\n\
             [server]\ntrusted_proxies = [\"127.0.0.2\"]\n{more}",
            upstream.url(),
        );
        Self { gateway: setup.start(&text), upstream }
    }

    fn from(&self, source: IpAddr) -> Client {
        Client::tcp_from(source, self.gateway.address("main"))
    }

    fn counted(&self, result: &str) -> f64 {
        let sample = "portcullis_proxy_headers_total{listener=\"main\",result=";
        self.gateway.metric(&format!("{sample}\"{result}\"}}"))
    }
}

fn header(version: Version, client: &str) -> Vec<u8> {
    write(version, Some(client.parse().unwrap()), "10.0.0.1:443".parse().unwrap())
}

/// Without a byte of an answer; bytes that nobody has read make a reset of it.
fn is_closed(mut connection: Client) -> bool {
    matches!(connection.try_response("GET"), Err(Broken::Nothing(_)))
}

#[test]
fn the_client_that_a_balancer_names_is_the_client() {
    let site = Site::start("");
    for (version, client, address) in [
        (Version::V1, "192.0.2.7:50000", "192.0.2.7"),
        (Version::V2, "192.0.2.8:50000", "192.0.2.8"),
        (Version::V2, "[2001:db8::9]:50000", "2001:db8::9"),
    ] {
        let mut connection = site.from(BALANCER);
        connection.send([&header(version, client)[..], REQUEST.as_bytes()].concat());
        connection.response().expect(200);
        // And stays it for the whole connection.
        connection.send(REQUEST);
        connection.response().expect(200);
        for received in site.upstream.received().iter().rev().take(2) {
            // The client itself is trusted with nothing, whoever carries its bytes.
            assert_eq!(received.headers("x-forwarded-for"), [address]);
        }
    }
    let addresses: Vec<_> =
        site.gateway.records(6).iter().map(|record| record["client_ip"].clone()).collect();
    for address in ["192.0.2.7", "192.0.2.8", "2001:db8::9"] {
        assert_eq!(addresses.iter().filter(|logged| *logged == address).count(), 2);
    }
    assert_eq!(site.counted("ok"), 3.0);
}

#[test]
fn a_balancer_may_speak_for_itself() {
    let site = Site::start("");
    for bytes in [b"PROXY UNKNOWN\r\n".to_vec(), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec()] {
        let mut connection = site.from(BALANCER);
        connection.send([&bytes[..], REQUEST.as_bytes()].concat());
        connection.response().expect(200);
        // As the balancer's own word: it is a trusted proxy.
        let received = site.upstream.received();
        let forwarded = received.last().unwrap().headers("x-forwarded-for").concat();
        assert!(forwarded.starts_with("203.0.113.9"), "{forwarded}");
    }
    assert_eq!(site.counted("local"), 2.0);
}

#[test]
fn a_balancer_that_says_nothing_or_nonsense_is_closed() {
    let site = Site::start("handshake_timeout = \"300ms\"\n");
    for bytes in [
        REQUEST.as_bytes(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 1\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    ] {
        let mut connection = site.from(BALANCER);
        connection.send(bytes);
        assert!(is_closed(connection));
    }
    eventually("counted", || (site.counted("malformed") == 3.0).then_some(()));
    let mut silent = site.from(BALANCER);
    let mut half = site.from(BALANCER);
    half.send("PROXY TCP4 ");
    silent.expect_end();
    half.expect_end();
    eventually("counted", || (site.counted("timed_out") == 2.0).then_some(()));
    assert_eq!(site.upstream.count(), 0);
}

#[test]
fn nobody_else_can_name_a_client() {
    let site = Site::start("");
    let mut somebody = site.from(SOMEBODY);
    somebody.send([&header(Version::V1, "192.0.2.7:1")[..], REQUEST.as_bytes()].concat());
    somebody.response().expect(400);
    let mut plain = site.from(SOMEBODY);
    plain.send(REQUEST);
    plain.response().expect(200);
    assert_eq!(site.upstream.received()[0].headers("x-forwarded-for"), ["127.0.0.3"]);
}

#[test]
fn connections_are_counted_for_the_client_and_not_for_its_balancer() {
    let site = Site::start("max_connections_per_ip = 1\n");
    let open = |client| {
        let mut connection = site.from(BALANCER);
        connection.send([&header(Version::V2, client)[..], REQUEST.as_bytes()].concat());
        connection
    };
    let (mut first, mut second) = (open("192.0.2.7:1"), open("192.0.2.8:1"));
    first.response().expect(200);
    second.response().expect(200);
    assert!(is_closed(open("192.0.2.7:2")));
    drop(first);
    eventually("its place is free again", || {
        open("192.0.2.7:3").try_response("GET").is_ok().then_some(())
    });
}

#[test]
fn tls_begins_behind_the_header() {
    use std::io::{Read as _, Write as _};
    let setup = Setup::new();
    let certificate = Certificate::make(setup.folder());
    let upstream = Upstream::saying("reached");
    let gateway = setup.start(&format!(
        "[listener.main]\naddress = \"127.0.0.1:0\"\nproxy_protocol = [\"127.0.0.0/8\"]\n\
         tls = {{ certificates = [{{ cert = \"server.crt\", key = \"server.key\" }}] }}\n\
         [[route]]\npath = \"/*\"\nupstream = \"{}\"\npublic = true\n",
        upstream.url(),
    ));
    for version in [Version::V1, Version::V2] {
        let mut socket = std::net::TcpStream::connect(gateway.address("main")).unwrap();
        socket.write_all(&header(version, "192.0.2.7:50000")).unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let session = rustls::ClientConnection::new(certificate.client("http/1.1"), name).unwrap();
        let mut stream = rustls::StreamOwned::new(session, socket);
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert!(upstream.received().iter().all(|one| one.headers("x-real-ip") == ["192.0.2.7"]));
}

#[test]
fn on_a_unix_socket_every_peer_can_be_a_balancer() {
    let setup = Setup::new();
    let socket = setup.folder().join("gate.sock");
    let upstream = Upstream::saying("reached");
    let _gateway = setup.start(&format!(
        "[listener.main]\naddress = \"unix:gate.sock\"\nproxy_protocol = [\"unix\"]\n\
         [[route]]\npath = \"/*\"\nupstream = \"{}\"\npublic = true\n",
        upstream.url(),
    ));
    let mut client = Client::unix(&socket);
    client.send([&header(Version::V1, "192.0.2.7:1")[..], REQUEST.as_bytes()].concat());
    client.response().expect(200);
    assert_eq!(upstream.received()[0].headers("x-forwarded-for"), ["192.0.2.7"]);
}

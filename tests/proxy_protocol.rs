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

/// An application that takes PROXY protocol headers: what came over each connection, byte by byte.
struct Told {
    address: std::net::SocketAddr,
    connections: std::sync::mpsc::Receiver<Vec<u8>>,
}

impl Told {
    /// Answers every request, and keeps the connections for more.
    fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, connections) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let sender = sender.clone();
                std::thread::spawn(move || sender.send(Self::serve(stream)));
            }
        });
        Self { address, connections }
    }

    fn serve(mut stream: std::net::TcpStream) -> Vec<u8> {
        use std::io::{Read as _, Write as _};
        stream.set_read_timeout(Some(crate::support::HUNG)).unwrap();
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..read]);
            if bytes.ends_with(b"\r\n\r\n") && bytes.windows(5).any(|five| five == b"GET /") {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                if stream.write_all(answer).is_err() {
                    break;
                }
            }
        }
        bytes
    }

    /// What came over one connection that is over now: its header, and the requests behind it.
    fn connection(&self) -> (Vec<u8>, String) {
        let bytes = self.connections.recv_timeout(crate::support::HUNG).unwrap();
        let get = bytes.windows(5).position(|five| five == b"GET /").unwrap();
        (bytes[..get].to_vec(), String::from_utf8(bytes[get..].to_vec()).unwrap())
    }
}

#[test]
fn an_application_is_told_each_client_on_a_connection_of_its_own() {
    for version in [Version::V1, Version::V2] {
        let told = Told::start();
        let word = if version == Version::V1 { "v1" } else { "v2" };
        let setup = Setup::new();
        let gateway = setup.start(&format!(
            "[listener.main]\naddress = \"127.0.0.1:0\"\nproxy_protocol = [\"127.0.0.2\"]\n\
             [upstream.app]\nendpoints = [\"http://{}\"]\nsend_proxy_protocol = \"{word}\"\n\
             [[route]]\npath = \"/*\"\nupstream = \"app\"\npublic = true\n",
            told.address,
        ));
        let expected = |client: &str| {
            // The configured port, which is 0 here.
            let server = if client.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
            write(version, Some(client.parse().unwrap()), server.parse().unwrap())
        };
        // Two requests of one client, then those of others: a connection each.
        let clients = ["192.0.2.7:50000", "192.0.2.8:50001", "[2001:db8::9]:50002"];
        for client in clients {
            let mut connection = Client::tcp_from(BALANCER, gateway.address("main"));
            connection.send(header(version, client));
            for _ in 0..2 {
                connection.send(REQUEST);
                connection.response().expect(200);
                let (opening, requests) = told.connection();
                assert_eq!(opening, expected(client), "{word}");
                assert_eq!(requests.matches("HTTP/1.1\r\n").count(), 1, "{requests}");
            }
        }
    }
}

#[test]
fn whom_a_trusted_proxy_names_has_no_port_and_who_has_no_address_is_unknown() {
    let told = Told::start();
    let setup = Setup::new();
    let socket = setup.folder().join("gate.sock");
    let gateway = setup.start(&format!(
        "[listener.main]\naddress = \"127.0.0.1:0\"\n[listener.local]\naddress = \"unix:gate.sock\"\n\
         [upstream.app]\nendpoints = [\"http://{}\"]\nsend_proxy_protocol = \"v1\"\n\
         [[route]]\npath = \"/*\"\nupstream = \"app\"\npublic = true\n\
         [server]\ntrusted_proxies = [\"127.0.0.2\"]\n",
        told.address,
    ));
    let mut proxied = Client::tcp_from(BALANCER, gateway.address("main"));
    proxied.send(REQUEST.replace("X-For", "X-Forwarded-Port: 8443\r\nX-For"));
    proxied.response().expect(200);
    assert_eq!(told.connection().0, b"PROXY TCP4 203.0.113.9 0.0.0.0 0 8443\r\n");
    let mut local = Client::unix(&socket);
    local.send(REQUEST);
    local.response().expect(200);
    assert_eq!(told.connection().0, b"PROXY UNKNOWN\r\n");
    // Nobody who is not trusted chooses what is told.
    let mut somebody = Client::tcp_from(SOMEBODY, gateway.address("main"));
    somebody.send(REQUEST);
    somebody.response().expect(200);
    let line = String::from_utf8(told.connection().0).unwrap();
    assert!(line.starts_with("PROXY TCP4 127.0.0.3 0.0.0.0 "), "{line}");
}

#[test]
fn a_gateway_behind_a_gateway_hears_the_client() {
    let upstream = Upstream::saying("reached");
    let inner = Setup::new();
    let certificate = Certificate::make(inner.folder());
    let inner = inner.start(&format!(
        "[listener.main]\naddress = \"127.0.0.1:0\"\nproxy_protocol = [\"127.0.0.1\"]\n\
         tls = {{ certificates = [{{ cert = \"server.crt\", key = \"server.key\" }}] }}\n\
         [[route]]\npath = \"/*\"\nupstream = \"{}\"\npublic = true\n",
        upstream.url(),
    ));
    for version in ["v1", "v2"] {
        let outer = Setup::new();
        let outer = outer.start(&format!(
            "[listener.main]\naddress = \"127.0.0.1:0\"\n\
             [upstream.inner]\nendpoints = [\"https://localhost:{}\"]\ntls = {{ ca = \"{}\" }}\n\
             send_proxy_protocol = \"{version}\"\nhealth = {{ path = \"/\", interval = \"50ms\" }}\n\
             [[route]]\npath = \"/*\"\nupstream = \"inner\"\npublic = true\n",
            inner.address("main").port(),
            certificate.cert.display(),
        ));
        let mut client = Client::tcp_from(SOMEBODY, outer.address("main"));
        client.send("GET /asked HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.response().expect(200);
        let received = upstream.received();
        let asked = received.iter().rev().find(|one| one.target() == "/asked").unwrap();
        assert_eq!(asked.headers("x-real-ip"), ["127.0.0.3"], "{version}");
        // The gateway's own checks name nobody.
        eventually("a check", || {
            let received = upstream.received();
            received.iter().any(|one| one.target() == "/").then_some(())
        });
    }
    let local = "portcullis_proxy_headers_total{listener=\"main\",result=\"local\"}";
    assert!(inner.metric(local) >= 1.0);
}

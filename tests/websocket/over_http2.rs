//! WebSocket by an extended CONNECT of HTTP/2 (RFC 8441): the same rules as over HTTP/1.1.

use super::*;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use hyper::body::Bytes;
use hyper::{Method, Request};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::support::HUNG;
use crate::support::certificate::Certificate;

const TLS: &str =
    "[listener.main.tls]\ncertificates = [{ cert = \"server.crt\", key = \"server.key\" }]";

/// As [`Place`], over TLS.
struct Secured {
    place: Place,
    certificate: Certificate,
}

impl Secured {
    fn start(
        routes: &str,
        more: &str,
        answer: impl Fn(&Received, &mut TcpStream) -> io::Result<Then> + Send + Sync + 'static,
    ) -> Self {
        let setup = Setup::new();
        let certificate = Certificate::make(setup.folder());
        std::fs::create_dir(setup.folder().join("files")).unwrap();
        std::fs::write(setup.folder().join("files/a.txt"), "text").unwrap();
        let upstream = Upstream::start(answer);
        let (more, server) = match more.strip_prefix("[server]") {
            Some(server) => ("", server),
            None => (more, ""),
        };
        let text = configuration(&upstream.url(), routes, server)
            .replace("        [server]", &format!("{more}\n[server]"))
            .replace("[issuer.main]", &format!("{TLS}\n[issuer.main]"))
            .replace("audience = [\"api\"]", ISSUER_KEYS);
        let place = Place::of(setup, upstream, &text);
        Self { place, certificate }
    }

    fn connect(&self) -> Connection {
        Connection::open(self.place.gateway.address("main"), &self.certificate)
    }
}

const ISSUER_KEYS: &str = "audience = [\"api\"]\nidentity_headers = { \"X-User\" = \"sub\" }\n\
                           token_from = [\"header:Authorization\", \"cookie:session\", \"websocket_protocol\"]";

/// A connection of HTTP/2.
struct Connection {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
}

/// An answer, with what stays open behind it.
struct Answer {
    status: u16,
    headers: hyper::HeaderMap,
    send: SendStream<Bytes>,
    receive: RecvStream,
}

impl Connection {
    fn open(address: std::net::SocketAddr, certificate: &Certificate) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let config = certificate.client("h2");
        let requests = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let stream = TlsConnector::from(config).connect(name, stream).await.unwrap();
            // One stream that nobody reads must not hold up another.
            let (requests, connection) = h2::client::Builder::new()
                .initial_connection_window_size(1 << 20)
                .handshake(stream)
                .await
                .unwrap();
            tokio::spawn(async move { drop(connection.await) });
            requests
        });
        let connection = Self { runtime, requests };
        eventually("the gateway's settings", || {
            connection.turn();
            connection.requests.is_extended_connect_protocol_enabled().then_some(())
        });
        connection
    }

    /// Lets the connection's task do what there is to do.
    fn turn(&self) {
        self.runtime
            .block_on(async { tokio::time::sleep(std::time::Duration::from_millis(1)).await });
    }

    fn ask(&self, protocol: Option<&'static str>, path: &str, lines: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(format!("https://localhost{path}"))
            .header("sec-websocket-version", "13");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        if let Some(protocol) = protocol {
            request = request.extension(Protocol::from_static(protocol));
        }
        let request = request.body(()).unwrap();
        self.runtime.block_on(async {
            let mut requests = self.requests.clone().ready().await.unwrap();
            let (answer, send) = requests.send_request(request, false).unwrap();
            let answer = timeout(HUNG, answer).await.unwrap().unwrap();
            let (parts, receive) = answer.into_parts();
            let status = parts.status.as_u16();
            Answer { status, headers: parts.headers, send, receive }
        })
    }

    fn websocket(&self, path: &str, lines: &[(&str, &str)]) -> Answer {
        self.ask(Some("websocket"), path, lines)
    }

    /// The next bytes of a tunnel, exactly so many; nothing behind its end.
    fn read(&self, answer: &mut Answer, length: usize) -> Vec<u8> {
        let mut all = Vec::new();
        self.runtime.block_on(async {
            while all.len() < length {
                let Some(data) = timeout(HUNG, answer.receive.data()).await.unwrap() else { break };
                let data = data.unwrap();
                answer.receive.flow_control().release_capacity(data.len()).unwrap();
                all.extend_from_slice(&data);
            }
        });
        all
    }

    /// How the endpoint's direction of a tunnel ended.
    fn end(&self, answer: &mut Answer) -> Option<Reason> {
        self.runtime.block_on(async {
            loop {
                match timeout(HUNG, answer.receive.data()).await.unwrap() {
                    None => return None,
                    Some(Ok(data)) => assert!(data.is_empty(), "{data:?}"),
                    Some(Err(error)) => return error.reason(),
                }
            }
        })
    }

    #[track_caller]
    fn is_refused(&self, mut answer: Answer, status: u16, code: &str) {
        let body = self.read(&mut answer, usize::MAX);
        assert_eq!(answer.status, status, "{}", String::from_utf8_lossy(&body));
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], code, "{body}");
    }
}

impl Answer {
    fn send(&mut self, bytes: &[u8]) {
        self.send.send_data(Bytes::copy_from_slice(bytes), false).unwrap();
    }
}

/// Switches as a WebSocket server does, and sends back whatever comes.
fn proves(request: &Received, stream: &mut TcpStream) -> io::Result<Then> {
    if request.headers("upgrade").is_empty() {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        return Ok(Then::Keep);
    }
    let key = request.headers("sec-websocket-key")[0];
    let guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{guid}").as_bytes());
    let accept = base64::engine::general_purpose::STANDARD.encode(hash.as_ref());
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\nX-App: here\r\n\r\n"
    )?;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(Then::Close),
            count => stream.write_all(&buffer[..count])?,
        }
    }
}

fn authorization(seconds: u64) -> String {
    format!("Bearer {}", token("ada", seconds))
}

#[test]
fn a_tunnel_on_a_stream_is_a_tunnel() {
    let site = Secured::start("methods = [\"GET\"]", "", proves);
    let connection = site.connect();
    let lines = [
        ("authorization", authorization(600)),
        ("sec-websocket-key", "the client's own".to_owned()),
        ("x-user", "root".to_owned()),
        ("x-forwarded-for", "10.0.0.1".to_owned()),
        ("sec-websocket-protocol", "app.v1".to_owned()),
    ];
    let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut answer = connection.websocket("/api/ws?a=b", &lines);
    assert_eq!(answer.status, 200, "{:?}", answer.headers);
    assert_eq!(answer.headers["x-app"], "here");
    for gone in ["connection", "upgrade", "sec-websocket-accept", "content-length"] {
        assert!(!answer.headers.contains_key(gone), "{gone}");
    }
    let request = site.place.upstream.received().remove(0);
    assert!(request.head.starts_with("GET /api/ws?a=b HTTP/1.1\r\n"), "{}", request.head);
    for (name, value) in [
        ("host", "localhost"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "app.v1"),
        ("x-user", "ada"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
    ] {
        assert_eq!(request.headers(name), [value], "{name}");
    }
    assert_ne!(request.headers("sec-websocket-key"), ["the client's own"]);
    assert!(request.headers("via")[0].starts_with("2 "), "{:?}", request.headers("via"));

    // More than any window holds, and beside it another tunnel and an ordinary request.
    let piece = vec![b'x'; 300_000];
    answer.send(&piece);
    let mut other = connection.websocket("/public/ws", &[]);
    other.send(b"other");
    assert_eq!(connection.read(&mut other, 5), b"other");
    assert!(connection.read(&mut answer, piece.len()) == piece);
    answer.send.send_data(Bytes::new(), true).unwrap();
    assert_eq!(connection.end(&mut answer), None);
    let record = site.place.gateway.records_of("/api/ws", 1).remove(0);
    assert_eq!(record["method"], "GET", "{record}");
    assert_eq!(record["status"], 200, "{record}");
    assert_eq!(record["bytes_in"], 300_000, "{record}");
    assert_eq!(record["bytes_out"], 300_000, "{record}");
    assert_eq!(record["upstream"]["status"], 101, "{record}");
    other.send(b"still");
    assert_eq!(connection.read(&mut other, 5), b"still");
}

#[test]
fn h12_over_http2_the_token_and_the_route_come_first() {
    let more = "[[route]]\npath = \"/files/*\"\nstatic = \"files\"\npublic = true\n\
                [[route]]\npath = \"/posts/*\"\nupstream = \"web\"\npublic = true\nmethods = [\"POST\"]\n\
                [[route]]\npath = \"/calls/*\"\nupstream = \"web\"\nerrors = \"grpc\"\n";
    let site = Secured::start("", more, proves);
    let connection = site.connect();
    let good = authorization(600);
    let authorized = [("authorization", good.as_str())];
    for (protocol, path, lines, status, code) in [
        (Some("websocket"), "/api/ws", &[][..], 401, "token_missing"),
        (Some("websocket"), "/api/ws", &[("authorization", "Bearer x")], 401, "token_malformed"),
        (Some("websocket"), "/calls/ws", &[], 401, "token_missing"),
        (Some("websocket"), "/off/ws", &[], 403, "forbidden"),
        (Some("websocket"), "/nowhere/ws", &[], 404, "no_route"),
        (Some("websocket"), "/posts/ws", &[], 405, "method_not_allowed"),
        // A file would be a success, which is the switch.
        (Some("websocket"), "/files/a.txt", &[], 403, "forbidden"),
        (Some("websocket"), "/public/%2e%2e%2fapi/ws", &[], 400, "ambiguous_path"),
        (Some("connect-udp"), "/api/ws", &authorized, 405, "method_not_allowed"),
        (Some("h2c"), "/public/ws", &[], 405, "method_not_allowed"),
        (Some("websocket"), "/public/ws", &[("content-length", "0")], 405, "method_not_allowed"),
        (Some("websocket"), "/public/ws", &[("expect", "more")], 417, "expectation_failed"),
        (Some("websocket"), "/public/ws", &[("host", "elsewhere")], 400, "bad_host"),
    ] {
        connection.is_refused(connection.ask(protocol, path, lines), status, code);
    }
    assert_eq!(site.place.upstream.count(), 0);
    assert_eq!(connection.websocket("/api/ws", &authorized).status, 200);
}

#[test]
fn h12_over_http2_the_application_has_to_switch_and_to_prove_it() {
    let site = Secured::start("", "", |request, stream| {
        let (status, lines) = match request.target() {
            "/public/unproven" => {
                ("101 Switching Protocols", SWITCHES.split_once("\r\n").unwrap().1)
            }
            "/public/unnamed" => ("101 Switching Protocols", "Connection: upgrade\r\n\r\n"),
            "/public/answers" => ("200 OK", "Content-Length: 0\r\n\r\n"),
            "/public/moved" => ("302 Found", "Location: /x\r\nContent-Length: 0\r\n\r\n"),
            _ => ("403 Forbidden", "Content-Length: 2\r\n\r\nno"),
        };
        write!(stream, "HTTP/1.1 {status}\r\n{lines}")?;
        Ok(Then::Keep)
    });
    let connection = site.connect();
    for path in ["/public/unproven", "/public/unnamed", "/public/answers"] {
        connection.is_refused(connection.websocket(path, &[]), 502, "upstream_bad_response");
    }
    assert_eq!(connection.websocket("/public/moved", &[]).status, 302);
    let mut refused = connection.websocket("/public/refused", &[]);
    assert_eq!((refused.status, connection.read(&mut refused, 9)), (403, b"no".to_vec()));
}

#[test]
fn tokens_are_found_where_a_handshake_has_them() {
    let site = Secured::start("", "", proves);
    let connection = site.connect();
    let token = token("ada", 600);
    let offered = format!("bearer, {token}, app.v1");
    let mut answer = connection.websocket("/api/ws", &[("sec-websocket-protocol", &offered)]);
    assert_eq!(answer.status, 200);
    answer.send(b"x");
    assert_eq!(connection.read(&mut answer, 1), b"x");
    let request = site.place.upstream.received().remove(0);
    assert_eq!(request.headers("sec-websocket-protocol"), ["app.v1"]);
    assert!(!request.head.contains(&token));
    // The application chose none: the marker is what a browser offered.
    let alone = format!("bearer, {token}");
    let answer = connection.websocket("/api/ws", &[("sec-websocket-protocol", &alone)]);
    assert_eq!(answer.headers["sec-websocket-protocol"], "bearer");

    // A page of another site must not open a tunnel with somebody's cookie.
    let cookie = format!("session={token}");
    for (lines, status) in [
        (vec![("cookie", cookie.as_str()), ("origin", "https://evil.example")], 403),
        (vec![("cookie", cookie.as_str())], 403),
        (vec![("cookie", cookie.as_str()), ("sec-fetch-site", "cross-site")], 403),
        (vec![("cookie", cookie.as_str()), ("origin", "https://localhost")], 200),
    ] {
        assert_eq!(connection.websocket("/api/ws", &lines).status, status, "{lines:?}");
    }
}

#[test]
fn j26_a_tunnel_on_a_stream_ends_with_its_token() {
    let site = Secured::start("", "", proves);
    let connection = site.connect();
    let mut short = connection.websocket("/api/ws", &[("authorization", &authorization(2))]);
    let mut long = connection.websocket("/api/ws", &[("authorization", &authorization(600))]);
    short.send(b"here");
    assert_eq!(connection.read(&mut short, 4), b"here");
    site.place.clock.set(UnixTime::from_secs(NOW + 2));
    connection.end(&mut short);
    let record = site.place.gateway.records_of("/api/ws", 1).remove(0);
    assert_eq!(record["reason"], "token_expired", "{record}");
    long.send(b"here");
    assert_eq!(connection.read(&mut long, 4), b"here");
}

#[test]
fn a_connection_with_a_tunnel_is_not_idle() {
    let site = Secured::start("", "[server]\nidle_timeout = \"500ms\"\n", proves);
    let connection = site.connect();
    let mut answer = connection.websocket("/public/ws", &[]);
    // Longer than the connection may idle, and than it takes to say goodbye.
    std::thread::sleep(std::time::Duration::from_secs(3));
    answer.send(b"here");
    assert_eq!(connection.read(&mut answer, 4), b"here");
    // Then it is.
    drop(answer);
    eventually("the connection ends", || {
        connection.turn();
        let asked = connection.runtime.block_on(connection.requests.clone().ready());
        asked.is_err().then_some(())
    });
}

#[test]
fn tunnels_on_streams_have_the_same_limit() {
    let site = Secured::start("", "", proves);
    let connection = site.connect();
    let mut open: Vec<_> = (0..3).map(|_| connection.websocket("/public/ws", &[])).collect();
    assert!(open.iter().all(|answer| answer.status == 200));
    connection.is_refused(connection.websocket("/public/ws", &[]), 503, "queue_full");
    open.pop();
    eventually("room", || (connection.websocket("/public/ws", &[]).status == 200).then_some(()));
}

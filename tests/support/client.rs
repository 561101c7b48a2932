//! A client that writes raw bytes and reads HTTP/1.1 responses strictly: whatever could be framed
//! in two ways, or ends too early, is an error.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::{HUNG, Response};

/// Something to read from and write to.
trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One connection.
pub(crate) struct Client {
    stream: BufReader<Box<dyn Stream>>,
    /// The TCP connection's own end.
    pub(crate) local: Option<SocketAddr>,
}

/// What was wrong with a response.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The connection ended, or was reset, before the first byte of a response.
    Nothing(io::Error),
    /// It ended, or was reset, within one.
    Cut(io::Error),
    /// It can't be read in exactly one way.
    Malformed(String),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing(error) => write!(f, "no response: {error}"),
            Self::Cut(error) => write!(f, "response cut short: {error}"),
            Self::Malformed(what) => write!(f, "malformed response: {what}"),
        }
    }
}

// === impl Client ===

impl Client {
    pub(crate) fn tcp(address: SocketAddr) -> Self {
        Self::try_tcp(address).unwrap()
    }

    pub(crate) fn try_tcp(address: SocketAddr) -> io::Result<Self> {
        let stream = connect(address)?;
        Ok(Self::over(Box::new(stream.try_clone()?), Some(&stream)))
    }

    /// From this address of the machine: all of 127.0.0.0/8 are.
    pub(crate) fn tcp_from(source: IpAddr, address: SocketAddr) -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        let stream = settled(socket.into()).unwrap();
        Self::over(Box::new(stream.try_clone().unwrap()), Some(&stream))
    }

    /// Speaks HTTP/1.1 over TLS to `localhost` at this address.
    pub(crate) fn tls(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        Self::try_tls(address, config).unwrap()
    }

    pub(crate) fn try_tls(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        let stream = connect(address)?;
        let mut secured = StreamOwned::new(session, stream.try_clone()?);
        while secured.conn.is_handshaking() {
            secured.conn.complete_io(&mut secured.sock)?;
        }
        Ok(Self::over(Box::new(secured), Some(&stream)))
    }

    pub(crate) fn unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(HUNG)).unwrap();
        stream.set_write_timeout(Some(HUNG)).unwrap();
        Self::over(Box::new(stream), None)
    }

    fn over(stream: Box<dyn Stream>, tcp: Option<&TcpStream>) -> Self {
        let local = tcp.map(|tcp| tcp.local_addr().unwrap());
        Self { stream: BufReader::new(stream), local }
    }

    /// Writes these bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes.as_ref())?;
        stream.flush()
    }

    /// Sends one request without a body and reads its response.
    pub(crate) fn get(&mut self, path: &str, headers: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
        self.response()
    }

    /// Sends one request without a body, of any method, and reads its response.
    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, target: &str, headers: &str) -> Response {
        self.send(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
        self.try_response(method).unwrap_or_else(|broken| panic!("{method} {target}: {broken}"))
    }

    /// The next response; panics if it is broken.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        self.try_response("GET").unwrap_or_else(|broken| panic!("{broken}"))
    }

    /// The next final response to a request of this method; interim ones are skipped.
    pub(crate) fn try_response(&mut self, method: &str) -> Result<Response, Broken> {
        match self.stream.fill_buf() {
            Ok([]) => return Err(Broken::Nothing(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(error) => return Err(Broken::Nothing(error)),
        }
        loop {
            let mut response = read_head(&mut self.stream)?;
            if response.status != 101 && (100..200).contains(&response.status) {
                continue;
            }
            read_body(&mut self.stream, method, &mut response)?;
            return Ok(response);
        }
    }

    /// A head alone, for bodies that are read piece by piece with [`Client::read_chunk`].
    pub(crate) fn head(&mut self) -> Response {
        read_head(&mut self.stream).unwrap_or_else(|broken| panic!("{broken}"))
    }

    /// The next chunk of a chunked body after a [`Client::head`]; empty behind the last.
    pub(crate) fn chunk(&mut self) -> Vec<u8> {
        read_chunk(&mut self.stream).unwrap_or_else(|broken| panic!("{broken}"))
    }

    /// The next `length` bytes, for the body after a [`Client::head`].
    pub(crate) fn read_exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Panics unless the connection has ended, in order, and without another byte.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty(), "after the response: {:?}", String::from_utf8_lossy(&rest));
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    settled(TcpStream::connect(address)?)
}

fn settled(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_read_timeout(Some(HUNG))?;
    stream.set_write_timeout(Some(HUNG))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

// === reading a response ===

const MAX_LINE: u64 = 64 * 1024;

fn read_head(stream: &mut impl BufRead) -> Result<Response, Broken> {
    let line = read_line(stream)?;
    let status = line
        .strip_prefix("HTTP/1.1 ")
        .filter(|rest| rest.len() == 3 || rest.as_bytes().get(3) == Some(&b' '))
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or_else(|| malformed(format!("status line {line:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            break;
        }
        let (name, value) =
            line.split_once(':').ok_or_else(|| malformed(format!("header {line:?}")))?;
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(token) {
            return Err(malformed(format!("header {line:?}")));
        }
        headers.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }
    let mut response = Response { status, headers, body: Vec::new(), closes: false };
    response.closes = response.header("connection").is_some_and(|options| {
        options.split(',').any(|option| option.trim().eq_ignore_ascii_case("close"))
    });
    Ok(response)
}

fn read_body(
    stream: &mut impl BufRead,
    method: &str,
    response: &mut Response,
) -> Result<(), Broken> {
    let coding = response.header("transfer-encoding").map(str::to_owned);
    let length = response.header("content-length").map(str::to_owned);
    let bodiless = method == "HEAD" || matches!(response.status, 101 | 204 | 304);
    match (coding, length) {
        (Some(_), Some(_)) => Err(malformed("two framings".to_owned())),
        (Some(coding), None) if coding != "chunked" => Err(malformed(coding)),
        (Some(_), None) if matches!(response.status, 101 | 204 | 304) => {
            Err(malformed("a chunked nothing".to_owned()))
        }
        _ if bodiless => Ok(()),
        (Some(_), None) => loop {
            let chunk = read_chunk(stream)?;
            if chunk.is_empty() {
                return Ok(());
            }
            response.body.extend_from_slice(&chunk);
        },
        (None, Some(length)) => {
            let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
            let length = length.parse().ok().filter(|_| digits);
            let length: usize = length.ok_or_else(|| malformed("content-length".to_owned()))?;
            response.body = vec![0; length];
            stream.read_exact(&mut response.body).map_err(Broken::Cut)
        }
        (None, None) if response.closes => {
            stream.read_to_end(&mut response.body).map(drop).map_err(Broken::Cut)
        }
        (None, None) => Err(malformed("no framing on a connection that stays".to_owned())),
    }
}

fn read_chunk(stream: &mut impl BufRead) -> Result<Vec<u8>, Broken> {
    let line = read_line(stream)?;
    let size = match line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => usize::from_str_radix(&line, 16).ok(),
        false => None,
    };
    let size = size.ok_or_else(|| malformed(format!("chunk size {line:?}")))?;
    if size == 0 {
        // Trailers, which none of the tests asks for, would show here.
        let end = read_line(stream)?;
        return if end.is_empty() { Ok(Vec::new()) } else { Err(malformed(end)) };
    }
    let mut chunk = vec![0; size];
    stream.read_exact(&mut chunk).map_err(Broken::Cut)?;
    let end = read_line(stream)?;
    if end.is_empty() { Ok(chunk) } else { Err(malformed(format!("chunk end {end:?}"))) }
}

/// A line without its CRLF; a bare LF or CR within is an error.
fn read_line(stream: &mut impl BufRead) -> Result<String, Broken> {
    let mut line = Vec::new();
    stream.take(MAX_LINE).read_until(b'\n', &mut line).map_err(Broken::Cut)?;
    if !line.ends_with(b"\n") {
        return Err(Broken::Cut(io::ErrorKind::UnexpectedEof.into()));
    }
    let text = line.strip_suffix(b"\r\n").and_then(|text| std::str::from_utf8(text).ok());
    match text {
        Some(text) if !text.contains(['\r', '\0']) => Ok(text.to_owned()),
        Some(_) | None => Err(malformed(String::from_utf8_lossy(&line).into_owned())),
    }
}

fn malformed(what: String) -> Broken {
    Broken::Malformed(what)
}

//! The same request over HTTP/1.1 and HTTP/2.

use std::net::SocketAddr;

use hyper::Request;

use super::Response;
use super::certificate::Certificate;
use super::client::Client;
use super::h2::{H2, Pieces};

/// A client of either protocol, over TLS.
pub(crate) enum Caller {
    Http1(Client),
    Http2(H2),
}

/// What a request carries.
#[derive(Clone, Copy)]
pub(crate) enum Body<'a> {
    None,
    /// Its length is told.
    Whole(&'a [u8]),
    /// Pieces of a length that is not told: chunked over HTTP/1.1.
    Pieces(&'a [&'a [u8]]),
}

impl Caller {
    /// One of each, both connected.
    pub(crate) fn both(address: SocketAddr, certificate: &Certificate) -> [Self; 2] {
        [
            Self::Http1(Client::tls(address, &certificate.client("http/1.1"))),
            Self::Http2(H2::tls(address, &certificate.client("h2"))),
        ]
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Http1(_) => "HTTP/1.1",
            Self::Http2(_) => "HTTP/2",
        }
    }

    /// Sends one request to `localhost` and reads its whole response.
    #[track_caller]
    pub(crate) fn call(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Body<'_>,
    ) -> Response {
        match self {
            Self::Http1(client) => {
                client.send(http1(method, path, headers, body));
                let response = client.try_response(method);
                response.unwrap_or_else(|broken| panic!("{method} {path}: {broken}"))
            }
            Self::Http2(client) => {
                let response = client.send(http2(method, path, headers, body));
                response.unwrap_or_else(|broken| panic!("{method} {path}: {broken}"))
            }
        }
    }

    #[track_caller]
    pub(crate) fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.call("GET", path, headers, Body::None)
    }
}

/// The request's bytes.
pub(crate) fn http1(method: &str, path: &str, headers: &[(&str, &str)], body: Body<'_>) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    match body {
        Body::None => bytes.extend_from_slice(b"\r\n"),
        Body::Whole(whole) => {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", whole.len()).as_bytes());
            bytes.extend_from_slice(whole);
        }
        Body::Pieces(pieces) => {
            bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            for piece in pieces {
                bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                bytes.extend_from_slice(piece);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
    }
    bytes
}

/// The same for HTTP/2.
pub(crate) fn http2(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Body<'_>,
) -> Request<Pieces> {
    let mut request = Request::builder().method(method).uri(format!("https://localhost{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = match body {
        Body::None => Pieces::whole(""),
        Body::Whole(whole) => {
            request = request.header("content-length", whole.len());
            Pieces::whole(whole.to_vec())
        }
        Body::Pieces(pieces) => Pieces::of_unknown_length(pieces.iter().copied()),
    };
    request.body(body).unwrap()
}

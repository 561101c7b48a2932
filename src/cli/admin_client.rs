//! One request to the admin address of the running gateway.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::Failure;
use crate::config::Address;

/// Longer than any admin answer takes, shorter than an orchestrator's own probe deadline matters.
const DEADLINE: Duration = Duration::from_secs(30);

/// A drawn diagnostic list is a few KiB; the admin address says no more than that to a verb.
const MAX_ANSWER: u64 = 1024 * 1024;

/// Status code and body.
pub(super) fn ask(
    address: &Address,
    method: &str,
    path: &str,
    headers: &str,
) -> Result<(u16, String), Failure> {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Length: 0\r\n{headers}\r\n"
    );
    let answer = match address {
        Address::Unix(path) => UnixStream::connect(path).and_then(|stream| {
            stream.set_read_timeout(Some(DEADLINE))?;
            exchange(stream, &request)
        }),
        Address::Tcp { host, port } => connect(host.as_deref(), *port).and_then(|stream| {
            stream.set_read_timeout(Some(DEADLINE))?;
            exchange(stream, &request)
        }),
    };
    let answer = answer.map_err(|error| {
        Failure::Running(format!(
            "the admin address does not answer: {error}\nhint: is it running?"
        ))
    })?;
    parse(&answer)
}

fn connect(host: Option<&str>, port: u16) -> std::io::Result<TcpStream> {
    let host = match host {
        // A gateway that listens everywhere is reached through loopback.
        None | Some("0.0.0.0" | "::") => IpAddr::V4(Ipv4Addr::LOCALHOST).to_string(),
        Some(host) => host.to_owned(),
    };
    let mut refused = std::io::Error::other("the host has no address");
    for address in (host.as_str(), port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, DEADLINE) {
            Ok(stream) => return Ok(stream),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn exchange(mut stream: impl Read + Write, request: &str) -> std::io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    Ok(answer)
}

fn parse(answer: &[u8]) -> Result<(u16, String), Failure> {
    let text = String::from_utf8_lossy(answer);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    match (status, body) {
        (Some(status), Some(body)) => Ok((status, body)),
        _ => Err(Failure::Running("the admin address did not answer with HTTP".to_owned())),
    }
}

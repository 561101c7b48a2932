//! One request over a connection of its own, plain or with TLS: whether a program is ready, and
//! whether it guards what it should.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::Result;
use super::certificate::Certificate;

/// The status of the answer.
pub(super) fn status(
    port: u16,
    tls: Option<&Certificate>,
    path: &str,
    token: Option<&str>,
) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{}Connection: close\r\n\r\n",
        token.unwrap_or_default()
    );
    match tls {
        None => exchange(&mut stream, &request),
        Some(certificate) => {
            let config = ClientConfig::builder()
                .with_root_certificates(certificate.roots()?)
                .with_no_client_auth();
            let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
            let connection = ClientConnection::new(Arc::new(config), name)?;
            exchange(&mut StreamOwned::new(connection, stream), &request)
        }
    }
}

fn exchange(stream: &mut (impl Read + Write), request: &str) -> Result<String> {
    stream.write_all(request.as_bytes())?;
    // The status line is enough; what follows may be long.
    let mut head = [0; 64];
    let read = stream.read(&mut head)?;
    let head = String::from_utf8_lossy(head.get(..read).unwrap_or_default());
    Ok(head.split(' ').nth(1).unwrap_or("no status").to_owned())
}

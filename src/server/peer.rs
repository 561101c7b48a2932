//! For whom a load balancer connects: the PROXY protocol header before everything else.
//!
//! Read from the listed peers alone, of whom it is demanded. Not a byte more than the header is
//! taken, so that what follows (a TLS handshake, most often) begins where it should. A connection
//! whose header is missing, malformed or late is closed without a word: there is nobody to whom it
//! could be said, and guessing would let anybody claim an address.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::connection::Peer;
use super::io::Transport;
use super::listener::ListenerState;
use crate::http::proxy_protocol::{
    FIXED, LONGEST_LINE, Malformed, Named, OPENING, Version, parse_v1, parse_v2, rest_v2, version,
};
use crate::telemetry::labels::ProxyHeaderResult;

/// The client that a balancer's header names, or the balancer itself where it speaks for itself;
/// `None`: the connection is over.
pub(super) async fn named(
    transport: &mut Transport,
    peer: Peer,
    state: &ListenerState,
) -> Option<Peer> {
    let read = tokio::time::timeout(state.settings.handshake_timeout, header(transport)).await;
    let (result, named) = match read {
        Ok(Ok(Named::Client(client))) => match transport.count_for(client.ip()) {
            true => (ProxyHeaderResult::Ok, Some(Peer::Tcp(client))),
            false => (ProxyHeaderResult::Ok, None),
        },
        Ok(Ok(Named::Peer)) => (ProxyHeaderResult::Local, Some(peer)),
        Ok(Err(error)) => {
            tracing::debug!(%error, ?peer, "no PROXY protocol header");
            (ProxyHeaderResult::Malformed, None)
        }
        Err(_elapsed) => (ProxyHeaderResult::TimedOut, None),
    };
    state.metrics.proxy_header(state.id, result);
    named
}

/// Reads a header and nothing behind it.
async fn header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Named> {
    let mut opening = [0; OPENING];
    stream.read_exact(&mut opening).await?;
    let named = match version(opening).map_err(malformed)? {
        Version::V1 => parse_v1(&line(stream, opening).await?),
        Version::V2 => {
            let mut tail = [0; FIXED - OPENING];
            stream.read_exact(&mut tail).await?;
            let mut fixed = [0; FIXED];
            for (to, from) in fixed.iter_mut().zip(opening.iter().chain(&tail)) {
                *to = *from;
            }
            let mut rest = vec![0; rest_v2(fixed).map_err(malformed)?];
            stream.read_exact(&mut rest).await?;
            parse_v2(fixed, &rest)
        }
    };
    named.map_err(malformed)
}

/// A byte at a time, since nothing says how long it is.
async fn line(
    stream: &mut (impl AsyncRead + Unpin),
    opening: [u8; OPENING],
) -> io::Result<Vec<u8>> {
    let mut line = opening.to_vec();
    while !line.ends_with(b"\n") {
        if line.len() == LONGEST_LINE {
            return Err(malformed(Malformed));
        }
        line.push(stream.read_u8().await?);
    }
    Ok(line)
}

fn malformed(_: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::proxy_protocol::write;

    #[tokio::test]
    async fn a_header_is_taken_and_not_a_byte_more() {
        let client = "192.0.2.7:50000".parse().unwrap();
        let server = "10.0.0.1:443".parse().unwrap();
        for version in [Version::V1, Version::V2] {
            let mut bytes = write(version, Some(client), server);
            bytes.extend_from_slice(b"GET / HTTP/1.1");
            let mut stream = &bytes[..];
            assert_eq!(header(&mut stream).await.unwrap(), Named::Client(client));
            assert_eq!(stream, b"GET / HTTP/1.1");
            // Cut anywhere, it is none.
            let whole = bytes.len() - stream.len();
            for end in 0..whole {
                assert!(header(&mut &bytes[..end]).await.is_err(), "{version:?} {end}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_not_read_for_long() {
        for bytes in [
            b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
            [b"PROXY TCP4 ".to_vec(), vec![b'1'; 4096]].concat(),
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec(),
        ] {
            let mut stream = &bytes[..];
            assert!(header(&mut stream).await.is_err());
            assert!(bytes.len() - stream.len() <= LONGEST_LINE);
        }
    }
}

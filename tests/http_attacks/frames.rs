//! HTTP/2 frame by frame, with headers that no client library would send.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::support::HUNG;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// One connection, its preface and settings sent.
pub(crate) struct Frames {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

/// One frame.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// What became of one stream.
#[derive(Debug)]
pub(crate) enum Fate {
    /// A whole response, of which only the body is read.
    Answered(Vec<u8>),
    /// Its stream was reset.
    Reset,
    /// Its connection was ended.
    Ended,
}

impl Frames {
    pub(crate) fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::clone(config), name).unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(HUNG)).unwrap();
        stream.set_write_timeout(Some(HUNG)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut frames = Self { stream: StreamOwned::new(session, stream) };
        frames.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        assert!(frames.send(SETTINGS, 0, 0, &[]));
        frames
    }

    /// Sends one frame; false if the connection has ended.
    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend_from_slice(&[kind, flags]);
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        self.stream.write_all(&bytes).and_then(|()| self.stream.flush()).is_ok()
    }

    /// Sends these bytes; false if the connection has ended, or takes nothing for too long.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).is_ok()
    }

    /// How long to wait until what is sent is taken.
    pub(crate) fn give_up_after(&self, patience: Duration) {
        self.stream.sock.set_write_timeout(Some(patience)).unwrap();
    }

    /// Sends a request whose headers are these and no others.
    pub(crate) fn request(&mut self, stream: u32, headers: &[(&[u8], &[u8])], body: &[u8]) {
        let end = if body.is_empty() { END_STREAM } else { 0 };
        let sent = self.send(HEADERS, END_HEADERS | end, stream, &block(headers));
        if sent && !body.is_empty() {
            self.send(DATA, END_STREAM, stream, body);
        }
    }

    /// The next frame; `None` at the connection's end.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.fill(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.fill(&mut payload)?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Option<()> {
        match self.stream.read_exact(buffer) {
            Ok(()) => Some(()),
            Err(error) => {
                let hung = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                assert!(!hung, "neither a frame nor an end");
                None
            }
        }
    }

    /// Reads until this stream is over.
    pub(crate) fn fate(&mut self, stream: u32) -> Fate {
        let mut body = Vec::new();
        while let Some(frame) = self.next() {
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => drop(self.send(SETTINGS, ACK, 0, &[])),
                GOAWAY => return Fate::Ended,
                _ if frame.stream != stream => {}
                RST_STREAM if body.is_empty() => return Fate::Reset,
                DATA => body.extend_from_slice(&frame.payload),
                _ => {}
            }
            let of_stream = frame.stream == stream && matches!(frame.kind, DATA | HEADERS);
            if of_stream && frame.flags & END_STREAM != 0 {
                return Fate::Answered(body);
            }
        }
        Fate::Ended
    }

    /// Reads until the connection ends.
    pub(crate) fn end(&mut self) {
        while self.next().is_some_and(|frame| frame.kind != GOAWAY) {}
    }
}

/// A header block of literals that are not indexed (RFC 7541, section 6.2.2).
pub(crate) fn block(headers: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in headers {
        bytes.push(0);
        for text in [name, value] {
            length(text.len(), &mut bytes);
            bytes.extend_from_slice(text);
        }
    }
    bytes
}

/// An integer with a prefix of seven bits (RFC 7541, section 5.1).
fn length(mut number: usize, bytes: &mut Vec<u8>) {
    const PREFIX: usize = 127;
    if number < PREFIX {
        bytes.push(u8::try_from(number).unwrap());
        return;
    }
    bytes.push(127);
    number -= PREFIX;
    while number >= 128 {
        bytes.push(u8::try_from(number % 128).unwrap() | 128);
        number /= 128;
    }
    bytes.push(u8::try_from(number).unwrap());
}

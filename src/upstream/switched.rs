//! A connection to an endpoint that has left HTTP: plain bytes both ways.
//!
//! Owns the socket and what was read of it behind the 101. Counted in its upstream as long as it is
//! open, like any other connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connect::Stream;
use super::connection::Open;
use crate::telemetry::metrics::UpstreamConnection;

/// A switched connection; dropped, it is closed.
#[derive(Debug)]
pub struct Switched {
    io: Stream,
    /// Comes first.
    read: Bytes,
    _gauge: UpstreamConnection,
    _open: Open,
}

impl Switched {
    pub(super) fn new(io: Stream, read: Bytes, gauge: UpstreamConnection, open: Open) -> Self {
        Self { io, read, _gauge: gauge, _open: open }
    }
}

impl AsyncRead for Switched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.read.has_remaining() {
            let count = this.read.len().min(buffer.remaining());
            buffer.put_slice(&this.read.split_to(count));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Switched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

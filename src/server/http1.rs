//! HTTP/1 over one connection: hyper while something happens, next to nothing while nothing does.
//!
//! Hyper's connection keeps some 20 KiB while it idles. So after a second without an exchange the
//! connection is taken apart and *parked*: what is left is the socket, one timer and this task.
//! The first byte puts it together again. Bytes of a half-read head are carried over, with the
//! deadline they had. The same taking apart is how a slow head gets its 408 and how a connection
//! leaves at a drain without losing a request of which a byte was read.
//!
//! Deadlines are ours ([`Activity`]), since hyper's one timer would be made anew for each request
//! and can't tell a slow head from an idle client.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::server::conn::http1::{Builder, Parts, UpgradeableConnection};
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;

use super::activity::{Activity, Alarm, Due};
use super::connection::{HyperIo, Life, refuse_slow, refused_by_hyper};
use super::drain::Notice;
use super::handler::{Answer, Handler, Shared, service};
use super::io::Io;
use super::listener::{MaxHeaders, Settings};
use crate::telemetry::labels::ConnectionState;
use crate::telemetry::metrics::ListenerConnection;

/// Serves HTTP/1 until the connection is closed.
pub(super) async fn serve<H: Handler>(
    mut io: Io,
    shared: &Arc<Shared<H>>,
    settings: &Settings,
    life: Life,
    mut gauge: ListenerConnection,
) {
    let builder = builder(settings.max_headers);
    let mut service = service(shared);
    let mut alarm = Alarm::default();
    let started = pin!(life.drain.clone().started());
    let mut drain = Notice::new(started);
    loop {
        let connection = builder.serve_connection(TokioIo::new(io), service).with_upgrades();
        let mut connection = Box::new(connection);
        let turn =
            poll_fn(|context| poll_turn(&mut connection, &life, &mut alarm, &mut drain, context))
                .await;
        // Absent after an upgrade: the socket belongs to the tunnel, which is still a connection.
        let Some((inner, left, same)) = take_apart(connection) else {
            return life.activity.stays_open(gauge);
        };
        io = inner;
        service = same;
        match turn {
            Turn::Over(outcome) => {
                if let Err(error) = outcome {
                    tracing::debug!(%error, "HTTP/1 connection ended");
                    Box::pin(refused_by_hyper(shared, &error, &mut io)).await;
                }
                return Box::pin(io.linger()).await;
            }
            Turn::Due(Due::Write) => return io.reset(),
            Turn::Due(Due::Idle) => return Box::pin(io.close()).await,
            Turn::Due(due @ (Due::Head | Due::Rest)) => {
                if let Some(left) = left {
                    if due == Due::Head {
                        return Box::pin(refuse_slow(shared, io)).await;
                    }
                    io.unread(left);
                    life.activity.head_was_waiting();
                } else {
                    life.activity.no_head();
                    gauge.set(ConnectionState::Idle);
                    if park(&io, &life, &mut alarm, &mut drain).await == Wake::Close {
                        return Box::pin(io.close()).await;
                    }
                    gauge.set(ConnectionState::Active);
                }
            }
        }
    }
}

/// What is left of hyper's connection: the bytes below it, the beginning of a head, the service.
///
/// By value and with no bytes in the place of none: the box, or an empty view of the read buffer,
/// would keep all of its memory for as long as the connection is parked.
#[expect(clippy::boxed_local, reason = "the box has to go, too")]
fn take_apart<S, B>(
    connection: Box<UpgradeableConnection<HyperIo, S>>,
) -> Option<(Io, Option<Bytes>, S)>
where
    S: HttpService<hyper::body::Incoming, ResBody = Answer<B>>,
    Answer<B>: hyper::body::Body + 'static,
    <Answer<B> as hyper::body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Parts { io, read_buf, service, .. } = connection.into_parts()?;
    let left = without_blank_lines(read_buf);
    Some((io.into_inner(), (!left.is_empty()).then_some(left), service))
}

enum Turn {
    Due(Due),
    Over(hyper::Result<()>),
}

fn poll_turn<S, B>(
    connection: &mut UpgradeableConnection<HyperIo, S>,
    life: &Life,
    alarm: &mut Alarm,
    drain: &mut Notice<'_>,
    context: &mut Context<'_>,
) -> Poll<Turn>
where
    S: HttpService<hyper::body::Incoming, ResBody = Answer<B>, Error = std::convert::Infallible>,
    Answer<B>: hyper::body::Body + 'static,
    <Answer<B> as hyper::body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    note_drain(&life.activity, drain, context);
    if let Poll::Ready(outcome) = Pin::new(connection).poll(context) {
        return Poll::Ready(Turn::Over(outcome));
    }
    match life.activity.http1_due(&life.limits) {
        Some((deadline, due)) if alarm.poll(context, deadline) => Poll::Ready(Turn::Due(due)),
        Some(_) | None => Poll::Pending,
    }
}

fn note_drain(activity: &Activity, drain: &mut Notice<'_>, context: &Context<'_>) {
    if drain.poll(context) {
        activity.drain();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wake {
    Close,
    Readable,
}

/// Waits for the client's next byte, the idle deadline, or the word to make room.
async fn park(io: &Io, life: &Life, alarm: &mut Alarm, drain: &mut Notice<'_>) -> Wake {
    let _place = life.connections.park(&life.activity.evicted);
    let mut evicted = pin!(life.activity.evicted.notified());
    poll_fn(|context| {
        note_drain(&life.activity, drain, context);
        // Before the deadlines: a byte that is there is a request of which a byte was read.
        if io.poll_readable(context).is_ready() {
            return Poll::Ready(Wake::Readable);
        }
        let over = alarm.poll(context, life.activity.idle_deadline(&life.limits));
        if over || evicted.as_mut().poll(context).is_ready() {
            return Poll::Ready(Wake::Close);
        }
        Poll::Pending
    })
    .await
}

/// Blank lines before a request line mean nothing (RFC 9112, section 2.2).
fn without_blank_lines(mut buffer: Bytes) -> Bytes {
    let blank = buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    buffer.advance(blank);
    buffer
}

fn builder(limits: MaxHeaders) -> Builder {
    let mut builder = Builder::new();
    // The request line is no header, but counts for hyper.
    let head = limits.size.saturating_add(limits.line);
    builder.header_read_timeout(None).max_header_size(head).max_buf_size(head.max(BUFFER));
    if limits.count > HYPERS_COUNT {
        // Costs an allocation a request, so only where it is needed.
        builder.max_headers(limits.count);
    }
    builder
}

/// Hyper reads and writes at most this much at a time; without a limit, 400 KiB a connection.
const BUFFER: usize = 64 * 1024;

/// Header fields that hyper keeps on its stack; beyond it answers 431.
const HYPERS_COUNT: usize = 100;

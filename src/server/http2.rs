//! HTTP/2 over one connection.
//!
//! A connection keeps its buffers while it idles, since h2 can't be taken apart, but after a second
//! without streams it makes room for others like a parked one.
//!
//! The h2 crate counts and caps what it can see: frames, header lists, its own resets. Ours are
//! the waits it knows nothing of: a preface that never comes, a connection without streams, a
//! socket or a single stream whose client takes nothing, and streams taken back by the hundred.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use hyper::rt::Executor;
use hyper::server::conn::http2::{Builder, Connection};
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::activity::{Activity, Alarm, Due};
use super::connection::{HyperIo, Life};
use super::drain::Notice;
use super::handler::Answer;
use super::io::Io;
use super::listener::Settings;
use crate::telemetry::labels::ConnectionState;
use crate::telemetry::metrics::ListenerConnection;

/// Serves HTTP/2 until the connection is closed.
pub(super) async fn serve<S, B>(
    io: Io,
    service: S,
    settings: &Settings,
    life: Life,
    mut gauge: ListenerConnection,
) where
    S: HttpService<
            hyper::body::Incoming,
            ResBody = Answer<B>,
            Error = std::convert::Infallible,
            Future: Send + 'static,
        > + Send,
    B: Send + 'static,
    Answer<B>: hyper::body::Body<Data = bytes::Bytes, Error: Into<BoxError>>,
{
    let streams = Streams { activity: Arc::clone(&life.activity), write: settings.write_timeout };
    let mut connection =
        pin!(builder(settings, streams).serve_connection(TokioIo::new(io), service));
    let mut alarm = Alarm::default();
    let started = pin!(life.drain.clone().started());
    let mut drain = Notice::new(started);
    let evicted = pin!(life.activity.evicted.notified());
    let mut evicted = Notice::new(evicted);
    let (mut place, mut leave_by) = (None, None);
    poll_fn(|context| {
        if leave_by.is_none() && (drain.poll(context) || evicted.poll(context)) {
            leave_by = Some(say_goodbye(connection.as_mut()));
        }
        loop {
            if let Poll::Ready(outcome) = connection.as_mut().poll(context) {
                let error = outcome.err();
                tracing::debug!(?error, "HTTP/2 connection ended");
                return Poll::Ready(());
            }
            if life.activity.resets_too_often() {
                tracing::debug!("HTTP/2 connection closed: its client takes back what it asks");
                return Poll::Ready(());
            }
            if place.is_some() && !life.activity.is_quiet() {
                place = None;
                gauge.set(ConnectionState::Active);
            }
            let due = due(&life, place.is_some(), leave_by)
                .filter(|(deadline, _)| alarm.poll(context, *deadline));
            match due.map(|(_, due)| due) {
                None => return Poll::Pending,
                Some(Due::Rest) => {
                    place = Some(life.connections.park(&life.activity.evicted));
                    gauge.set(ConnectionState::Idle);
                }
                Some(Due::Idle) if leave_by.is_none() => {
                    leave_by = Some(say_goodbye(connection.as_mut()));
                }
                Some(Due::Head | Due::Idle | Due::Write) => return Poll::Ready(()),
            }
        }
    })
    .await;
}

/// The next deadline. After our GOAWAY h2 ends a connection by itself once its client has
/// confirmed and its streams are done, so what passes then is the patience with a client that
/// does not, or that leaves the rest of a response with us.
fn due(life: &Life, parked: bool, leave_by: Option<Instant>) -> Option<(Instant, Due)> {
    let (deadline, due) = life.activity.http2_due(&life.limits, parked || leave_by.is_some())?;
    match (due, leave_by) {
        (Due::Idle, Some(leave_by)) => {
            let taken = if life.activity.latest() == 0 {
                leave_by
            } else {
                life.activity.quiet_since() + life.limits.write
            };
            Some((leave_by.max(taken), due))
        }
        (Due::Head, Some(leave_by)) => Some((leave_by.min(deadline), due)),
        (Due::Rest | Due::Write, _) | (_, None) => Some((deadline, due)),
    }
}

fn say_goodbye<S, B>(connection: Pin<&mut Connection<HyperIo, S, Streams>>) -> Instant
where
    S: HttpService<
            hyper::body::Incoming,
            ResBody = Answer<B>,
            Error = std::convert::Infallible,
            Future: Send + 'static,
        >,
    B: Send + 'static,
    Answer<B>: hyper::body::Body<Data = bytes::Bytes, Error: Into<BoxError>>,
{
    connection.graceful_shutdown();
    Instant::now() + GOODBYE
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn builder(settings: &Settings, streams: Streams) -> Builder<Streams> {
    let mut builder = Builder::new(streams);
    let list = settings.max_headers.size.saturating_mul(LIST);
    builder
        .max_concurrent_streams(settings.max_streams)
        .max_local_error_reset_streams(LOCAL_RESETS)
        .max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        // WebSocket (RFC 8441); what else is asked for in that way is a CONNECT and refused.
        .enable_connect_protocol();
    builder
}

/// Makes a task of each stream, and ends those whose client takes nothing of the response.
#[derive(Clone)]
struct Streams {
    activity: Arc<Activity>,
    write: std::time::Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        // Hyper hands the stream over right after it called the service for it.
        let Some(stall) = self.activity.beginning.lock().take() else {
            tokio::spawn(stream);
            return;
        };
        let write = self.write;
        tokio::spawn(async move {
            let mut stream = pin!(stream);
            let mut alarm = Alarm::default();
            poll_fn(|context| {
                if stream.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                // Dropping the stream resets it.
                match stall.since() {
                    Some(since) if alarm.poll(context, since + write) => Poll::Ready(()),
                    Some(_) | None => Poll::Pending,
                }
            })
            .await;
        });
    }
}

/// Beyond `max_headers.size` the handler answers 431; beyond this times as much h2 resets.
const LIST: usize = 4;

/// Streams that h2 itself resets because of what a client sends, before it closes the connection
/// (MadeYouReset, CVE-2025-8671). Hyper's default is 1024.
const LOCAL_RESETS: usize = 100;

/// What a client may send on one stream before the handler reads: bounds the memory of an upload.
const STREAM_WINDOW: u32 = 256 * 1024;

/// What it may send on all streams before handlers read.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Of a response, per stream; hyper's default is 400 KiB, times 100 streams.
const SEND_BUFFER: usize = 64 * 1024;

/// From our GOAWAY to the close of a connection that has no streams: time for the client's last
/// requests, which were on their way, to arrive.
const GOODBYE: std::time::Duration = std::time::Duration::from_secs(1);

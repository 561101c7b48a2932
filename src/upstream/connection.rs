//! One HTTP/1.1 connection to an endpoint, driven by whoever uses it.
//!
//! Owns the socket, hyper's protocol state and one timer. There is no task behind a connection: the
//! exchange that holds it polls it in place, so a request wakes no other task and dropping the
//! exchange closes the socket. An idle connection is polled by nobody; [`Connection::settle`] looks
//! at it when it is put away, taken out or swept.
//!
//! Trusts nothing of the endpoint: heads are capped, and interim responses are counted, because
//! hyper alone would read them for ever.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use tokio::time::{Instant, Sleep, sleep};

use super::connect::{Stream, connect};
use super::{Endpoint, Upstream};
use crate::telemetry::labels::{PooledState, UpstreamFault};
use crate::telemetry::metrics::UpstreamConnection;

/// An open connection that sends requests with bodies of type `B`.
#[derive(Debug)]
pub struct Connection<B: Body + 'static> {
    sender: SendRequest<B>,
    /// `None` once the protocol has ended: dropping the driver is what gives an unsent request back.
    driver: Option<http1::Connection<Stream, B>>,
    /// What the driver ended with.
    failure: Option<hyper::Error>,
    /// One timer for the connection's life: moving it later is far cheaper than making a new one.
    timer: Pin<Box<Sleep>>,
    interim: Arc<AtomicUsize>,
    endpoint: u64,
    gauge: UpstreamConnection,
    open: Open,
}

/// Counts an open connection in its upstream.
#[derive(Debug)]
struct Open(Arc<Upstream>);

/// Largest head of a response, and largest piece of a body that is read at once: 64 KiB, eight
/// times what nginx takes by default, and still little for each of a thousand slow clients.
const BUFFER: usize = 64 * 1024;

impl<B> Connection<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Connects to an endpoint of `upstream` within its connect timeout.
    ///
    /// # Errors
    /// What the system said; [`io::ErrorKind::TimedOut`] when the time was over.
    pub async fn open(upstream: &Arc<Upstream>, endpoint: &Endpoint) -> io::Result<Box<Self>> {
        let stream = connect(endpoint.address(), upstream.timeouts().connect).await?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER).max_header_size(BUFFER);
        // hyper's handshake does no I/O for HTTP/1.
        let (sender, driver) = builder.handshake(stream).await.map_err(io::Error::other)?;
        upstream.open.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Self {
            sender,
            driver: Some(driver),
            failure: None,
            timer: Box::pin(sleep(upstream.timeouts().response)),
            interim: Arc::new(AtomicUsize::new(0)),
            endpoint: endpoint.id(),
            gauge: upstream.connected(),
            open: Open(Arc::clone(upstream)),
        }))
    }

    /// Hands the request over; nothing moves until [`Connection::drive`] is called.
    ///
    /// The future ends with the response's head, or with an error that holds the request if no
    /// byte of it was written.
    pub fn send(
        &mut self,
        mut request: Request<B>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<B>>>> + Send + use<B>
    {
        self.interim.store(0, Ordering::Relaxed);
        let interim = Arc::clone(&self.interim);
        hyper::ext::on_informational(&mut request, move |_| {
            interim.fetch_add(1, Ordering::Relaxed);
        });
        self.sender.try_send_request(request)
    }

    /// Moves bytes in both directions as far as they go without waiting.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && let Poll::Ready(end) = Pin::new(driver).poll(cx)
        {
            self.driver = None;
            self.failure = end.err();
        }
    }

    /// Whether the connection is between two requests and open, as far as is known now.
    pub fn settle(&mut self) -> bool {
        // Nobody waits for an idle connection, and a waker left behind would keep a task alive.
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }

    /// What broke the connection, if it is broken.
    pub fn failure(&self) -> Option<&hyper::Error> {
        self.failure.as_ref()
    }

    /// Interim (1xx) responses since the request was sent.
    pub fn interim(&self) -> usize {
        self.interim.load(Ordering::Relaxed)
    }

    /// Sets the one timer to go off after `time` from now.
    pub fn arm(&mut self, time: Duration) {
        let now = Instant::now();
        // Longer than any sensible setting: some day is as good as never.
        const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);
        self.timer.as_mut().reset(now.checked_add(time).unwrap_or(now + NEVER));
    }

    /// Ready when the timer has gone off.
    pub fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().poll(cx)
    }

    /// Counts it as in use or as idle from now on.
    pub(super) fn count_as(&mut self, state: PooledState) {
        self.gauge.set(state);
    }

    /// Counts a failure of its endpoint.
    pub(crate) fn failed(&self, fault: UpstreamFault) {
        self.open.0.failed(self.endpoint, fault);
    }

    /// The upstream it belongs to.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.open.0
    }

    /// The id of the endpoint it leads to.
    pub fn endpoint(&self) -> u64 {
        self.endpoint
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

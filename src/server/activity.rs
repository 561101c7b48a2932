//! What one connection is doing, and which deadline follows from it.
//!
//! Its I/O, its exchanges and its task write here; the task alone judges. All of them run on the
//! worker's one thread, so relaxed atomics are plain memory there; they are atomics because
//! futures stay `Send`. Times are read when something begins or ends, never per byte.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::Context;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use crate::telemetry::metrics::ListenerConnection;

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    epoch: Instant,
    /// Exchanges whose handler or response body is alive.
    exchanges: AtomicU32,
    /// Exchanges so far; also the number of the latest.
    begun: AtomicU32,
    /// Exchanges that ended before they had a response (H16).
    abandoned: AtomicU32,
    /// The number of the exchange whose request body is not known to be read; 0: none.
    open_body: AtomicU32,
    /// Plain bytes received, as far as anyone asks (see [`Activity::has_preface`]).
    received: AtomicU32,
    /// When the first byte of a head came.
    head_since: Moment,
    /// When the last exchange ended.
    quiet_since: Moment,
    /// Since when the socket has taken nothing of what we have to write.
    blocked_since: Moment,
    read_pending: AtomicBool,
    read_closed: AtomicBool,
    flushed: AtomicBool,
    draining: AtomicBool,
    /// Rung when the connection has to make room for others.
    pub(super) evicted: Arc<Notify>,
    /// Of an HTTP/2 exchange that begins, for the task that is made for it next.
    pub(super) beginning: Mutex<Option<Arc<Stall>>>,
    /// Counts the connection when it has become a tunnel; the socket's transport holds this.
    tunnel: Mutex<Option<ListenerConnection>>,
}

/// The deadlines of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) header: Duration,
    pub(super) idle: Duration,
    pub(super) write: Duration,
}

/// What is over when a deadline passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A request's head has begun and not ended in time.
    Head,
    /// Nothing was asked for a while.
    Idle,
    /// Long enough that the connection may be parked.
    Rest,
    /// The client takes nothing of its response.
    Write,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        let activity = Self {
            epoch: Instant::now(),
            exchanges: AtomicU32::new(0),
            begun: AtomicU32::new(0),
            abandoned: AtomicU32::new(0),
            open_body: AtomicU32::new(0),
            received: AtomicU32::new(0),
            head_since: Moment::default(),
            quiet_since: Moment::default(),
            blocked_since: Moment::default(),
            read_pending: AtomicBool::new(false),
            read_closed: AtomicBool::new(false),
            flushed: AtomicBool::new(true),
            draining: AtomicBool::new(false),
            evicted: Arc::new(Notify::new()),
            beginning: Mutex::new(None),
            tunnel: Mutex::new(None),
        };
        activity.quiet_since.set(activity.now());
        Arc::new(activity)
    }

    /// Goes on counting a connection whose own task is over, for as long as its socket is open.
    pub(super) fn stays_open(&self, gauge: ListenerConnection) {
        *self.tunnel.lock() = Some(gauge);
    }

    // --- told by the I/O

    pub(super) fn read(&self, outcome: ReadOutcome) {
        self.read_pending.store(matches!(outcome, ReadOutcome::Pending), Relaxed);
        match outcome {
            ReadOutcome::Pending => {}
            ReadOutcome::End => self.read_closed.store(true, Relaxed),
            ReadOutcome::Bytes(count) => {
                if self.received.load(Relaxed) < H2_PREFACE {
                    let count = u32::try_from(count).unwrap_or(H2_PREFACE).min(H2_PREFACE);
                    self.received.fetch_add(count, Relaxed);
                }
                if self.is_quiet() && !self.head_since.is_set() && !self.has_open_body() {
                    self.head_since.set(self.now());
                }
            }
        }
    }

    pub(super) fn flushed(&self, all: bool) {
        self.flushed.store(all, Relaxed);
    }

    pub(super) fn wrote(&self, progress: bool) {
        if progress {
            if self.blocked_since.is_set() {
                self.blocked_since.clear();
            }
        } else if !self.blocked_since.is_set() {
            self.blocked_since.set(self.now());
        }
    }

    // --- told by exchanges

    /// An exchange begins; returns its number.
    pub(super) fn begin(&self, has_body: bool) -> u32 {
        self.exchanges.fetch_add(1, Relaxed);
        let number = self.begun.fetch_add(1, Relaxed).wrapping_add(1);
        self.head_since.clear();
        self.open_body.store(if has_body { number } else { 0 }, Relaxed);
        number
    }

    /// Something else than an exchange uses the connection; ends as one.
    pub(super) fn hold(&self) {
        self.exchanges.fetch_add(1, Relaxed);
    }

    pub(super) fn end(&self, responded: bool) {
        if !responded {
            self.abandoned.fetch_add(1, Relaxed);
        }
        if self.exchanges.fetch_sub(1, Relaxed) == 1 {
            self.quiet_since.set(self.now());
        }
    }

    /// The request body of this exchange was read to its end. Too late a word, after the next
    /// exchange has begun, changes nothing.
    pub(super) fn body_ended(&self, number: u32) {
        let _later = self.open_body.compare_exchange(number, 0, Relaxed, Relaxed).is_err();
    }

    pub(super) fn latest(&self) -> u32 {
        self.begun.load(Relaxed)
    }

    // --- asked and told by the connection's task

    /// The handshake is over: deadlines count from here.
    pub(super) fn greeted(&self) {
        self.quiet_since.set(self.now());
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    pub(super) fn drain(&self) {
        if !self.draining.swap(true, Relaxed) && self.is_quiet() && !self.head_since.is_set() {
            // The grace of an idle connection counts from here.
            self.quiet_since.set(self.now());
        }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.exchanges.load(Relaxed) == 0
    }

    /// The client has said that it sends nothing more.
    pub(super) fn is_read_closed(&self) -> bool {
        self.read_closed.load(Relaxed)
    }

    /// Bytes of a head were found in a buffer: it began when the exchange before it ended.
    pub(super) fn head_was_waiting(&self) {
        self.head_since.copy(&self.quiet_since);
    }

    /// What was taken for a head was none.
    pub(super) fn no_head(&self) {
        self.head_since.clear();
    }

    /// How long the head that is being read has taken so far.
    pub(super) fn head_age(&self) -> Duration {
        let since = self.head_since.at(self.epoch);
        since.map_or(Duration::ZERO, |since| Instant::now().duration_since(since))
    }

    /// More than 100 exchanges, and more than half of all, were taken back before their response:
    /// a client that makes us work and reads nothing (CVE-2023-44487).
    pub(super) fn resets_too_often(&self) -> bool {
        let abandoned = self.abandoned.load(Relaxed);
        abandoned > RESETS && abandoned > self.begun.load(Relaxed) / 2
    }

    /// The next deadline of an HTTP/1 connection.
    pub(super) fn http1_due(&self, limits: &Limits) -> Option<(Instant, Due)> {
        if let Some(since) = self.blocked_since.at(self.epoch) {
            return Some((since + limits.write, Due::Write));
        }
        if !self.is_quiet() {
            return None;
        }
        if let Some(since) = self.head_since.at(self.epoch) {
            return Some((since + limits.header, Due::Head));
        }
        let quiet = self.quiet_since();
        if self.may_rest() {
            let after = if self.is_draining() { Duration::ZERO } else { REST_AFTER };
            return Some((quiet + after.min(limits.idle), Due::Rest));
        }
        Some((self.idle_deadline(limits), Due::Idle))
    }

    /// The next deadline of an HTTP/2 connection.
    pub(super) fn http2_due(&self, limits: &Limits, parked: bool) -> Option<(Instant, Due)> {
        if let Some(since) = self.blocked_since.at(self.epoch) {
            return Some((since + limits.write, Due::Write));
        }
        if !self.is_quiet() {
            return None;
        }
        if !self.has_preface() {
            return Some((self.quiet_since() + limits.header, Due::Head));
        }
        if !parked {
            return Some((self.quiet_since() + REST_AFTER.min(limits.idle), Due::Rest));
        }
        Some((self.idle_deadline(limits), Due::Idle))
    }

    /// When a connection without an exchange is closed.
    pub(super) fn idle_deadline(&self, limits: &Limits) -> Instant {
        let after = if self.is_draining() { DRAIN_GRACE.min(limits.idle) } else { limits.idle };
        self.quiet_since() + after
    }

    /// Nothing is under way, and hyper has read all there was and written all it had. A half-read
    /// request body would be taken for the next head (request smuggling), so a connection never
    /// rests with one.
    fn may_rest(&self) -> bool {
        self.read_pending.load(Relaxed) && self.flushed.load(Relaxed) && !self.has_open_body()
    }

    fn has_open_body(&self) -> bool {
        self.open_body.load(Relaxed) != 0
    }

    fn has_preface(&self) -> bool {
        self.received.load(Relaxed) >= H2_PREFACE
    }

    /// When the last exchange ended, or the handshake.
    pub(super) fn quiet_since(&self) -> Instant {
        self.quiet_since.at(self.epoch).unwrap_or(self.epoch)
    }

    fn now(&self) -> u64 {
        let passed = Instant::now().duration_since(self.epoch).as_millis();
        u64::try_from(passed).unwrap_or(u64::MAX)
    }
}

/// What a read of the connection brought.
#[derive(Clone, Copy, Debug)]
pub(super) enum ReadOutcome {
    Bytes(usize),
    End,
    Pending,
}

/// Whether an HTTP/2 response waits for its client: flow control lets a client stop one stream
/// while the socket stays writable, so the socket's own deadline never sees it (H18).
#[derive(Debug)]
pub(super) struct Stall {
    epoch: Instant,
    since: Moment,
}

impl Stall {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { epoch: Instant::now(), since: Moment::default() })
    }

    /// A frame was handed out: the client's turn, until the body is asked for the next.
    pub(super) fn handed_out(&self) {
        let passed = Instant::now().duration_since(self.epoch).as_millis();
        self.since.set(u64::try_from(passed).unwrap_or(u64::MAX));
    }

    /// The body waits for whoever makes it.
    pub(super) fn waiting(&self) {
        self.since.clear();
    }

    /// Since when it has been the client's turn.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since.at(self.epoch)
    }
}

/// One timer for all the deadlines of a task. It is moved only when a deadline comes to lie before
/// it; one that lies later is looked at when the timer rings. A connection in use therefore
/// touches the runtime's timer wheel about once a second, not once a request.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    set_to: Option<Instant>,
}

impl Alarm {
    /// Whether the deadline has passed; if not, the task is woken when it does.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, deadline: Instant) -> bool {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        loop {
            if self.set_to.is_none_or(|set_to| deadline < set_to) {
                sleep.as_mut().reset(deadline);
                self.set_to = Some(deadline);
            }
            if sleep.as_mut().poll(context).is_pending() {
                return false;
            }
            if self.set_to.take().is_some_and(|set_to| deadline <= set_to) {
                return true;
            }
        }
    }
}

/// Milliseconds after an epoch, or never.
#[derive(Debug, Default)]
struct Moment(AtomicU64);

impl Moment {
    fn set(&self, millis: u64) {
        self.0.store(millis.saturating_add(1), Relaxed);
    }

    fn clear(&self) {
        self.0.store(0, Relaxed);
    }

    fn copy(&self, other: &Self) {
        self.0.store(other.0.load(Relaxed), Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Relaxed) != 0
    }

    fn at(&self, epoch: Instant) -> Option<Instant> {
        let millis = self.0.load(Relaxed).checked_sub(1)?;
        epoch.checked_add(Duration::from_millis(millis))
    }
}

/// How long nothing may happen before a connection gives up its buffers (20 KiB of hyper's). Less,
/// and clients that ask once a second pay for it with every request; more, and memory grows.
const REST_AFTER: Duration = Duration::from_secs(1);

/// How long an idle connection stays open when its listener closes: a request that is under way to
/// us still gets its response, where a close would meet it.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// See [`Activity::resets_too_often`].
const RESETS: u32 = 100;

/// Bytes of the client's connection preface (RFC 9113, section 3.4).
const H2_PREFACE: u32 = 24;

#[cfg(test)]
#[path = "activity_tests.rs"]
mod tests;

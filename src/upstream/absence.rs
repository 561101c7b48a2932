//! Endpoints that are away for a moment, as while their application is started again.
//!
//! Owns what is known of whether somebody listens at an endpoint, and the requests that wait until
//! somebody does again. Of those nothing was sent, so any request may wait; none holds a slot
//! meanwhile. They are no more than the line may be long, wait no longer than in it, and only for
//! what was reached before: an address where nobody ever listened is a mistake that should be seen
//! at once. However many they are, few look: each look is a connection that is most likely refused.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::balance::random;
use super::health::millis;
use super::{Endpoint, Upstream};
use crate::telemetry::metrics::Queued;

/// Whether somebody listens at an endpoint.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// [`NEVER`], [`REACHED`], or since when nobody was.
    state: AtomicU64,
    /// The last attempt was refused there: what is still connected belongs to a server that ends.
    refuses: AtomicBool,
}

const NEVER: u64 = 0;
const REACHED: u64 = 1;

/// The requests that wait for an endpoint of one upstream to come back.
#[derive(Debug, Default)]
pub(super) struct Absentees {
    waiting: AtomicUsize,
    /// When one of them looked last.
    looked: AtomicU64,
}

/// A request's wait for an endpoint to come back; dropped, it no longer counts.
#[derive(Debug)]
pub(crate) struct Stay {
    upstream: Arc<Upstream>,
    until: u64,
    pause: u64,
    _counted: Queued,
}

/// The pauses between two looks of one request, in milliseconds; each is twice the last.
const PAUSES: (u64, u64) = (20, 160);

/// All requests together look no more often than once in so many milliseconds.
const BETWEEN_LOOKS: u64 = 20;

/// Whether a connection that could not be made says that nobody listens there, or nobody takes more
/// connections at this moment. Not so one that was not answered at all: that has cost its time.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NotFound
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::WouldBlock
    )
}

/// Whether the endpoint itself says so: a full backlog does not, nor a name that is not found.
fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

impl Presence {
    pub(super) fn reached(&self) {
        if !self.is_reached() {
            self.state.store(REACHED, Ordering::Relaxed);
        }
        if self.refuses() {
            self.refuses.store(false, Ordering::Relaxed);
        }
    }

    /// From now on, unless that is known, or nobody was ever there.
    fn missed(&self, now: u64) {
        let since = now.saturating_add(REACHED);
        let relaxed = Ordering::Relaxed;
        let _known = self.state.compare_exchange(REACHED, since, relaxed, relaxed);
    }

    /// What was there is not meant any more.
    pub(super) fn forget(&self) {
        self.state.store(NEVER, Ordering::Relaxed);
        self.refuses.store(false, Ordering::Relaxed);
    }

    fn is_reached(&self) -> bool {
        self.state.load(Ordering::Relaxed) == REACHED
    }

    fn refuses(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
    }

    /// Whether somebody was there less than `within` milliseconds ago.
    fn was_reached(&self, now: u64, within: u64) -> bool {
        match self.state.load(Ordering::Relaxed) {
            NEVER => false,
            REACHED => true,
            since => now.saturating_add(REACHED).saturating_sub(since) < within,
        }
    }
}

impl Absentees {
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether it is this caller's turn to look.
    fn may_look(&self, now: u64) -> bool {
        let due = |last: u64| (now.saturating_sub(last) >= BETWEEN_LOOKS).then_some(now);
        self.looked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok()
    }
}

impl Stay {
    /// `None` if as many wait as may, or waiting is off.
    fn begin(upstream: &Arc<Upstream>) -> Option<Box<Self>> {
        if upstream.retries() == 0 {
            return None;
        }
        let size = upstream.queue.size();
        let free = |count: usize| (count < size).then_some(count + 1);
        let waiting = &upstream.absentees.waiting;
        waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
        Some(Box::new(Self {
            until: upstream.times.now().saturating_add(millis(upstream.queue_timeout)),
            pause: PAUSES.0,
            _counted: upstream.metrics.queued(upstream.metrics_id),
            upstream: Arc::clone(upstream),
        }))
    }

    /// Between half and all of it, so that those who came together don't look together.
    fn next_pause(&mut self) -> Duration {
        let pause = self.pause / 2 + random(self.pause / 2 + 1);
        self.pause = (self.pause * 2).min(PAUSES.1);
        Duration::from_millis(pause)
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.upstream.absentees.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Upstream {
    /// Notes what came of connecting to an endpoint.
    pub(super) fn connecting<T>(&self, endpoint: &Endpoint, made: &io::Result<T>) {
        match made {
            Ok(_) => endpoint.presence().reached(),
            Err(error) if is_refused(error) => {
                endpoint.presence().missed(self.times.now());
                endpoint.presence().refuses.store(true, Ordering::Relaxed);
            }
            Err(error) if error.kind() == io::ErrorKind::HostUnreachable => {
                endpoint.presence().missed(self.times.now());
            }
            Err(_) => {}
        }
    }

    /// Whether nobody listens any more at the endpoint with this id. What is still connected there
    /// ends, and may wait for its idle connections to be closed.
    pub(super) fn is_away(&self, endpoint: u64) -> bool {
        self.endpoints.iter().any(|one| one.id() == endpoint && one.presence().refuses())
    }

    /// Waits, with a request that found nobody, until it is worth its while to try all endpoints
    /// once more; false if that is not to be expected any more. The `stay` begins with the first
    /// wait and lasts for as long as the caller keeps it.
    pub(crate) async fn until_back(self: &Arc<Self>, stay: &mut Option<Box<Stay>>) -> bool {
        if stay.is_none() {
            *stay = Stay::begin(self);
        }
        let Some(stay) = stay else { return false };
        loop {
            let now = self.times.now();
            if now >= stay.until || !self.comes_back(now) {
                return false;
            }
            sleep(stay.next_pause()).await;
            if self.is_reached() || self.absentees.may_look(self.times.now()) {
                return true;
            }
        }
    }

    /// Whether an endpoint that is not down by its checks was reached a moment ago.
    fn comes_back(&self, now: u64) -> bool {
        let within = millis(self.queue_timeout);
        self.endpoints
            .iter()
            .any(|one| !one.health().is_down() && one.presence().was_reached(now, within))
    }

    /// Whether somebody listens at an endpoint that may be used.
    fn is_reached(&self) -> bool {
        self.endpoints.iter().any(|one| one.health().is_up() && one.presence().is_reached())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Balance;
    use crate::upstream::tests::on_ports;

    #[test]
    fn an_absence_begins_where_somebody_was_and_ends_when_somebody_is() {
        let presence = Presence::default();
        presence.missed(5);
        assert!(!presence.was_reached(5, 100), "nobody ever was");
        presence.reached();
        assert!(
            presence.is_reached() && !presence.refuses() && presence.was_reached(1_000_000, 100)
        );
        presence.missed(1000);
        presence.missed(1090);
        assert!(!presence.is_reached() && presence.was_reached(1099, 100));
        assert!(!presence.was_reached(1100, 100), "that is when it began");
        presence.reached();
        presence.missed(2000);
        assert!(presence.was_reached(2099, 100));
    }

    #[tokio::test]
    async fn of_many_that_wait_few_look() {
        let mut settings = on_ports(&[1], Balance::RoundRobin);
        settings.queue.1 = Duration::from_millis(400);
        let upstream = Arc::new(Upstream::new(settings));
        upstream.endpoints()[0].presence().reached();
        upstream.endpoints()[0].presence().missed(upstream.times.now());
        let begin = tokio::time::Instant::now();
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..500 {
            let upstream = Arc::clone(&upstream);
            waiting.spawn(async move {
                let (mut stay, mut looks) = (None, 0);
                while upstream.until_back(&mut stay).await {
                    looks += 1;
                }
                looks
            });
        }
        let looks: u64 = waiting.join_all().await.into_iter().sum();
        let most = begin.elapsed().as_millis() / u128::from(BETWEEN_LOOKS) + 1;
        assert!((1..=most).contains(&u128::from(looks)), "{looks} looks, {most} at most");
        assert_eq!(upstream.waiting(), 0);
    }

    #[tokio::test]
    async fn the_places_are_counted_and_come_back() {
        let mut settings = on_ports(&[1], Balance::RoundRobin);
        settings.queue.0 = 2;
        let upstream = Arc::new(Upstream::new(settings));
        let held: Vec<_> = (0..5).filter_map(|_| Stay::begin(&upstream)).collect();
        assert_eq!((held.len(), upstream.waiting()), (2, 2));
        let depth = "portcullis_upstream_queue_depth{upstream=\"web\"} ";
        assert!(upstream.metrics.render().contains(&format!("{depth}2")));
        drop(held);
        assert!(upstream.metrics.render().contains(&format!("{depth}0")));
        assert!(Stay::begin(&upstream).is_some());
    }
}

//! How often requests are sent again.
//!
//! Owns the budget of requests that may have been received and are sent once more: a fifth of those
//! in flight, at least three. Without it an application that fails under load would get several
//! times that load from the clients it has failed already. One that ends loses all it had taken at
//! once, which is far more than a fifth: those beyond the budget wait for their turn in a line like
//! that for slots, and while it lasts each one that is answered lets one more go with the next. The
//! first that is lost again takes that back. A request of which nothing was written needs no
//! budget: it has cost the application nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use super::Upstream;
use super::queue::Queue;

/// The retries of one upstream.
#[derive(Debug)]
pub(super) struct Retries {
    limit: u32,
    under_way: AtomicUsize,
    /// What may be under way beyond the budget, since those before were answered.
    beyond: AtomicUsize,
    line: Queue,
}

/// A request that is sent again. See [`Upstream::retry`].
#[derive(Debug)]
#[must_use = "the request is no longer counted when this is dropped"]
pub(crate) struct Retrying(Arc<Upstream>);

/// Always allowed, so that a quiet gateway retries, too.
const AT_LEAST: usize = 3;
/// One in so many of those in flight.
const ONE_IN: usize = 5;

impl Retries {
    /// `line` is for those that wait for their turn.
    pub(super) fn new(limit: u32, line: Queue) -> Self {
        Self { limit, under_way: AtomicUsize::new(0), beyond: AtomicUsize::new(0), line }
    }

    pub(super) fn limit(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    /// Requests that wait for their turn.
    pub(super) fn waiting(&self) -> usize {
        self.line.waiting()
    }

    /// A turn, in the order in which they were asked for; `None` after `within`, or if as many wait
    /// as may.
    pub(super) async fn turn(
        &self,
        upstream: &Arc<Upstream>,
        within: Duration,
    ) -> Option<Retrying> {
        if self.line.waiting() == 0
            && let Some(turn) = self.claim(upstream)
        {
            return Some(turn);
        }
        let place = self.line.enter()?;
        let turn = async {
            loop {
                if place.is_first()
                    && let Some(turn) = self.claim(upstream)
                {
                    return turn;
                }
                place.called().await;
            }
        };
        timeout(within, turn).await.ok()
    }

    fn claim(&self, upstream: &Arc<Upstream>) -> Option<Retrying> {
        let budget = AT_LEAST.max(upstream.in_flight() / ONE_IN);
        let most = budget.saturating_add(self.beyond.load(Ordering::Relaxed));
        let free = |count: usize| (count < most).then_some(count + 1);
        // As with slots, who finds none free and stands in line is seen by whoever frees one.
        self.under_way.fetch_update(Ordering::SeqCst, Ordering::SeqCst, free).ok()?;
        Some(Retrying(Arc::clone(upstream)))
    }
}

impl Retrying {
    /// It was answered.
    pub(crate) fn answered(self) {
        let Retries { beyond, line, .. } = &self.0.retries;
        match line.waiting() {
            0 => beyond.store(0, Ordering::Relaxed),
            waiting => {
                let more = |count: usize| (count < waiting).then_some(count + 1);
                let _most = beyond.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
            }
        }
    }

    /// It was lost again.
    pub(crate) fn lost(&self) {
        self.0.retries.beyond.store(0, Ordering::Relaxed);
    }
}

impl Drop for Retrying {
    fn drop(&mut self) {
        let retries = &self.0.retries;
        retries.under_way.fetch_sub(1, Ordering::SeqCst);
        retries.line.call();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Balance;
    use super::super::tests::on_ports;
    use super::*;

    /// All the turns that there are now.
    fn take(upstream: &Arc<Upstream>) -> Vec<Retrying> {
        (0..100).map_while(|_| upstream.retries.claim(upstream)).collect()
    }

    #[tokio::test]
    async fn a_fifth_of_those_in_flight_and_at_least_three_may_be_sent_again() {
        let upstream = Arc::new(Upstream::new(on_ports(&[1], Balance::RoundRobin)));
        let endpoint = &upstream.endpoints()[0];
        let mut again = take(&upstream);
        assert_eq!(again.len(), 3);
        let in_flight: Vec<_> = (0..25).map(|_| endpoint.count()).collect();
        again.extend(take(&upstream));
        assert_eq!(again.len(), 5);
        drop(in_flight);
        assert!(take(&upstream).is_empty());
        again.truncate(2);
        assert_eq!(take(&upstream).len(), 1);
    }

    #[tokio::test]
    async fn those_beyond_wait_for_their_turn_and_not_for_ever() {
        let mut settings = on_ports(&[1], Balance::RoundRobin);
        settings.queue = (1, Duration::from_millis(200));
        let upstream = Arc::new(Upstream::new(settings));
        let mut again = take(&upstream);
        assert!(upstream.retry().await.is_none());
        let (first, second, ()) = tokio::join!(upstream.retry(), upstream.retry(), async {
            assert_eq!(upstream.waiting(), 1);
            again.pop();
        });
        assert!(first.is_some() && second.is_none(), "there is one place in line");
        assert_eq!(upstream.waiting(), 0);
    }

    #[tokio::test]
    async fn while_they_are_answered_more_go_until_one_is_lost() {
        let upstream = Arc::new(Upstream::new(on_ports(&[1], Balance::RoundRobin)));
        let mut again = take(&upstream);
        let mut line = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let upstream = Arc::clone(&upstream);
            line.spawn(async move { upstream.retry().await.unwrap() });
        }
        while upstream.waiting() < 20 {
            tokio::task::yield_now().await;
        }
        for (under_way, waiting) in [(4, 18), (5, 16), (6, 14)] {
            again.remove(0).answered();
            while again.len() < under_way {
                again.push(line.join_next().await.unwrap().unwrap());
            }
            assert_eq!(upstream.waiting(), waiting);
        }
        again[0].lost();
        again.truncate(3);
        assert_eq!(upstream.waiting(), 14);
        again.pop();
        again.push(line.join_next().await.unwrap().unwrap());
        assert_eq!((again.len(), upstream.waiting()), (3, 13));
    }
}

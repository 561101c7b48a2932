//! How often requests are sent again.
//!
//! Owns the budget of requests that may have been received and are sent once more: a fifth of those
//! in flight, at least three. Without it an application that fails under load would get several
//! times that load from the clients it has failed already. A request of which nothing was written
//! needs no budget: it has cost the application nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Upstream;

/// The retries of one upstream.
#[derive(Debug)]
pub(super) struct Retries {
    limit: u32,
    under_way: AtomicUsize,
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
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, under_way: AtomicUsize::new(0) }
    }

    pub(super) fn limit(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    pub(super) fn begin(&self, upstream: &Arc<Upstream>) -> Option<Retrying> {
        let most = AT_LEAST.max(upstream.in_flight() / ONE_IN);
        let free = |count: usize| (count < most).then_some(count + 1);
        self.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
        Some(Retrying(Arc::clone(upstream)))
    }
}

impl Drop for Retrying {
    fn drop(&mut self) {
        self.0.retries.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Balance;
    use super::super::tests::on_ports;
    use super::*;

    #[tokio::test]
    async fn a_fifth_of_those_in_flight_and_at_least_three_may_be_sent_again() {
        let upstream = Arc::new(Upstream::new(on_ports(&[1], Balance::RoundRobin)));
        let endpoint = &upstream.endpoints()[0];
        let mut again: Vec<_> = (0..10).map_while(|_| upstream.retry()).collect();
        assert_eq!(again.len(), 3);
        let in_flight: Vec<_> = (0..25).map(|_| endpoint.count()).collect();
        again.extend((0..10).map_while(|_| upstream.retry()));
        assert_eq!(again.len(), 5);
        drop(in_flight);
        assert!(upstream.retry().is_none());
        again.truncate(2);
        assert!(upstream.retry().is_some());
    }
}

//! The line of requests that wait because every endpoint of an upstream is full.
//!
//! First in, first out, bounded in number; the time in it is the caller's to bound. A request in
//! line costs no slot at an endpoint, and one whose client leaves is out of it at once. Whoever
//! comes while others wait goes to the end, so nobody is overtaken. The lock is taken only while
//! somebody waits: a request that finds a slot, and one that ends with nobody waiting, read one
//! atomic.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::telemetry::ids::UpstreamId;
use crate::telemetry::metrics::{Metrics, Queued};

/// The line in front of one upstream.
#[derive(Debug)]
pub(super) struct Queue {
    size: usize,
    /// Read at the end of every request; changed under the lock.
    waiting: CachePadded<AtomicUsize>,
    line: Mutex<Line>,
    metrics: Arc<Metrics>,
    metrics_id: UpstreamId,
}

#[derive(Debug, Default)]
struct Line {
    next: u64,
    places: VecDeque<(u64, Arc<Notify>)>,
}

/// A place in line; dropped, it is given up.
#[derive(Debug)]
pub(super) struct Place<'q> {
    queue: &'q Queue,
    number: u64,
    call: Arc<Notify>,
    _counted: Queued,
}

impl Queue {
    pub(super) fn new(size: usize, metrics: &Arc<Metrics>, metrics_id: UpstreamId) -> Self {
        Self {
            size,
            waiting: CachePadded::new(AtomicUsize::new(0)),
            line: Mutex::default(),
            metrics: Arc::clone(metrics),
            metrics_id,
        }
    }

    /// How many may stand in it.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Requests in line.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// A place at the end; `None` if the line is as long as it may be.
    pub(super) fn enter(&self) -> Option<Place<'_>> {
        let mut line = self.line.lock();
        if line.places.len() >= self.size {
            return None;
        }
        let (number, call) = (line.next, Arc::new(Notify::new()));
        line.next += 1;
        line.places.push_back((number, Arc::clone(&call)));
        // Before the caller looks for a slot once more: whoever frees one after that look sees it.
        self.waiting.store(line.places.len(), Ordering::SeqCst);
        drop(line);
        let counted = self.metrics.queued(self.metrics_id);
        Some(Place { queue: self, number, call, _counted: counted })
    }

    /// Tells whoever is first that a slot may be free.
    pub(super) fn call(&self) {
        if self.waiting() > 0 {
            self.call_first(&self.line.lock());
        }
    }

    fn call_first(&self, line: &Line) {
        if let Some((_, call)) = line.places.front() {
            call.notify_one();
        }
    }
}

impl Place<'_> {
    /// Whether nobody stands before it.
    pub(super) fn is_first(&self) -> bool {
        let line = self.queue.line.lock();
        line.places.front().is_some_and(|(number, _)| *number == self.number)
    }

    /// Waits until there is a reason to look: a slot was freed, or who stood before has left. A call
    /// that came before is not lost.
    pub(super) async fn called(&self) {
        self.call.notified().await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut line = self.queue.line.lock();
        line.places.retain(|(number, _)| *number != self.number);
        self.queue.waiting.store(line.places.len(), Ordering::SeqCst);
        // Who is first now may have missed calls that went to this one.
        self.queue.call_first(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(size: usize) -> Queue {
        let metrics = Metrics::new();
        let id = metrics.upstream("web", &[]);
        Queue::new(size, &metrics, id)
    }

    #[tokio::test]
    async fn the_line_is_bounded_and_keeps_its_order() {
        let queue = queue(2);
        let first = queue.enter().unwrap();
        let second = queue.enter().unwrap();
        assert!(queue.enter().is_none());
        assert!(first.is_first() && !second.is_first());
        queue.call();
        first.called().await;
        drop(first);
        // Who leaves calls the next.
        second.called().await;
        assert!(second.is_first());
        let third = queue.enter().unwrap();
        assert!(!third.is_first());
        assert_eq!(queue.waiting(), 2);
        drop((second, third));
        assert_eq!(queue.waiting(), 0);
        assert!(queue.enter().is_some_and(|place| place.is_first()));
    }

    #[tokio::test]
    async fn the_depth_is_told() {
        let queue = queue(5);
        let held: Vec<_> = (0..3).map(|_| queue.enter().unwrap()).collect();
        let depth = || queue.metrics.render();
        assert!(depth().contains("portcullis_upstream_queue_depth{upstream=\"web\"} 3"));
        drop(held);
        assert!(depth().contains("portcullis_upstream_queue_depth{upstream=\"web\"} 0"));
    }
}

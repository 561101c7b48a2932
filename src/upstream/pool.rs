//! The idle connections of one worker.
//!
//! Owns connections between two requests: at most the worker's share of `idle_connections` per
//! upstream, the one used last taken first (so that the others reach their idle deadline), and
//! closed when that deadline has passed, when the endpoint has closed them or takes no new ones (it
//! may end only when the old ones do), or when their upstream is no longer configured. Where it is
//! learned how long an endpoint keeps them (`idle`), those past the learned limit are used no more,
//! but stay until the endpoint closes them. The mutex is there for `Sync` only: one worker uses a
//! pool, and holds it for no longer than a look-up.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::connection::Connection;
use super::endpoint::InFlight;
use super::http2::Connections;
use super::idle::{LONGEST, PROMPT};
use super::{Endpoint, Upstream};
use crate::telemetry::labels::PooledState;

/// The idle connections of one worker, by upstream.
#[derive(Debug)]
pub struct Pools<B> {
    idle: Mutex<BTreeMap<u64, VecDeque<Idle<B>>>>,
    workers: NonZeroUsize,
    streams: Connections,
}

/// A connection that waits; the newest stand at the back of their queue.
#[derive(Debug)]
struct Idle<B> {
    connection: Box<Connection<B>>,
    since: Instant,
    /// When it was seen open last, where it is learned from.
    seen: Option<Instant>,
}

/// A connection in use with the count of its request: dropped, the connection is closed; given
/// back, the next request may use it.
#[derive(Debug)]
pub(crate) struct Lease<B> {
    pub(crate) connection: Box<Connection<B>>,
    pools: Arc<Pools<B>>,
    slot: InFlight,
}

impl<B: Body<Data = Bytes> + Unpin> Pools<B> {
    /// An empty pool for one of `workers` workers, each of which keeps an equal share of an
    /// upstream's idle connections: a shared count would be one more contended cache line.
    pub fn new(workers: NonZeroUsize) -> Self {
        Self { idle: Mutex::default(), workers, streams: Connections::default() }
    }

    /// The connections that exchanges share.
    pub(crate) fn streams(&self) -> &Connections {
        &self.streams
    }

    /// The connection to `endpoint` that was used last, open as far as is known.
    ///
    /// `repeatable` says whether the request may be sent again.
    ///
    /// # Race window
    /// The endpoint may close it at this very moment; whoever sends on it must be prepared for that.
    pub(crate) fn take(
        &self,
        upstream: &Upstream,
        endpoint: &Endpoint,
        repeatable: bool,
    ) -> Option<Box<Connection<B>>> {
        self.take_at(upstream, endpoint, repeatable, Instant::now())
    }

    fn take_at(
        &self,
        upstream: &Upstream,
        endpoint: &Endpoint,
        repeatable: bool,
        now: Instant,
    ) -> Option<Box<Connection<B>>> {
        let mut idle = self.idle.lock();
        let waiting = idle.get_mut(&upstream.id())?;
        loop {
            let at = waiting.iter().rposition(|i| i.connection.endpoint() == endpoint.id())?;
            if let Some(learned) = endpoint.learned() {
                // One past the limit stays: that its endpoint closes it is how this is learned.
                let age = now.duration_since(waiting.get(at)?.since);
                if age >= learned.limit_of(repeatable) {
                    return None;
                }
            }
            let mut found = waiting.remove(at)?;
            if endpoint.learned().is_none()
                && now.duration_since(found.since) >= upstream.timeouts().idle
            {
                // What stands before it has waited longer still.
                waiting.drain(..at);
                return None;
            }
            if found.connection.settle() {
                found.connection.count_as(PooledState::Active);
                return Some(found.connection);
            }
            found.was_closed();
        }
    }

    /// Keeps an idle connection, in the place of the oldest if there is no room.
    fn put(&self, mut connection: Box<Connection<B>>, now: Instant) {
        let upstream = connection.upstream();
        let room = upstream.idle_connections().div_ceil(self.workers.get());
        if room == 0 || upstream.is_away(connection.endpoint()) {
            return;
        }
        let id = upstream.id();
        connection.count_as(PooledState::Idle);
        let mut idle = self.idle.lock();
        let waiting = idle.entry(id).or_default();
        if waiting.len() >= room
            && let Some(oldest) = waiting.pop_front()
        {
            oldest.give_way(now);
        }
        waiting.push_back(Idle::new(connection, now));
    }

    /// Closes what is past its idle deadline or was closed by its endpoint.
    ///
    /// To be called a few times a second: there is no timer per idle connection.
    pub fn sweep(&self) {
        self.streams.sweep();
        self.sweep_at(Instant::now());
    }

    fn sweep_at(&self, now: Instant) {
        self.idle.lock().retain(|_, waiting| {
            waiting.retain_mut(|idle| idle.may_stay(now));
            !waiting.is_empty()
        });
    }

    /// Closes the idle connections of every upstream that is not one of `upstreams`.
    ///
    /// Those in use come back later, are taken by nobody and end at their idle deadline.
    pub fn retain(&self, upstreams: &[Arc<Upstream>]) {
        let kept = |id: u64| upstreams.iter().any(|upstream| upstream.id() == id);
        self.idle.lock().retain(|id, _| kept(*id));
        self.streams.retain(upstreams);
    }

    /// Idle connections to `upstream`.
    pub fn idle(&self, upstream: &Upstream) -> usize {
        self.idle.lock().get(&upstream.id()).map_or(0, VecDeque::len)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Idle<B> {
    /// From now on. To its endpoint it idles since some moment after the head of the response, which
    /// is what counts where that is learned; a response that took long tells nothing of it.
    fn new(connection: Box<Connection<B>>, now: Instant) -> Self {
        let answered = connection.learning().map(|learning| learning.answered);
        let is_prompt = |since: &Instant| now.duration_since(*since) < PROMPT;
        let seen = answered.filter(is_prompt).map(|_| now);
        Self { connection, since: answered.unwrap_or(now), seen }
    }

    /// Whether it is open and not past its deadline.
    fn may_stay(&mut self, now: Instant) -> bool {
        let (upstream, id) = (self.connection.upstream(), self.connection.endpoint());
        if upstream.is_gone(id) {
            return false;
        }
        let age = now.duration_since(self.since);
        let learns = self.connection.learning().is_some();
        let deadline = if learns { LONGEST } else { upstream.timeouts().idle };
        if !learns && age >= deadline {
            return false;
        }
        if !self.connection.settle() {
            self.was_closed();
            return false;
        }
        if self.seen.is_some() {
            self.seen = Some(now);
        }
        if age >= deadline {
            self.stood(age);
        }
        age < deadline
    }

    /// Its endpoint closed it, at some time after it was seen open.
    fn was_closed(&self) {
        if let (Some(seen), Some(learning)) = (self.seen, self.connection.learning()) {
            learning.learned.closed(seen.duration_since(self.since));
        }
    }

    /// It is closed by us.
    fn stood(&self, age: Duration) {
        if let (Some(_), Some(learning)) = (self.seen, self.connection.learning()) {
            learning.learned.stood(age);
        }
    }

    /// Closes it for want of room: with many that nobody uses any more, none would ever stay until
    /// its endpoint closes it.
    fn give_way(mut self, now: Instant) {
        if self.seen.is_some() && self.connection.settle() {
            self.stood(now.duration_since(self.since));
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Lease<B> {
    pub(crate) fn new(
        connection: Box<Connection<B>>,
        slot: InFlight,
        pools: &Arc<Pools<B>>,
    ) -> Self {
        Self { connection, pools: Arc::clone(pools), slot }
    }

    /// Closes the connection; the request goes on in the slot that it has.
    pub(crate) fn into_slot(self) -> InFlight {
        self.slot
    }

    /// Takes the connection out, for something else than requests.
    pub(crate) fn detach(self) -> Box<Connection<B>> {
        self.connection
    }

    /// Ends the exchange: the connection is kept if it is ready for another request, else closed.
    ///
    /// It is not ready when either message is incomplete or either side said `close`.
    pub(crate) fn give_back(mut self) {
        if self.connection.settle() {
            self.pools.put(self.connection, Instant::now());
        }
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;

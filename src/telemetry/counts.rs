//! What one thread has counted since the last scrape.
//!
//! Numbers behind indices: adding to them hashes no label, allocates nothing once a series has been
//! seen, and shares no cache line with another worker. Only a scrape turns them into series. All of
//! it is bounded by names of the configuration times closed lists.

use parking_lot::RwLock;
use prometheus::IntCounterVec;
use prometheus::local::LocalHistogram;

use super::families::Families;
use super::ids::{IssuerId, ListenerId, Names, RouteId, UpstreamId, UpstreamNames};
use super::labels::{
    AuthOutcome, CacheLookup, ConnectionState, DroppedHeader, MethodLabel, PooledState,
    RateLimitResult, Reason, UpstreamFault,
};
use super::record::{AuthRecord, AuthResult, Record, UpstreamRecord};

/// One thread's counts.
#[derive(Debug, Default)]
pub(super) struct Counts {
    listeners: Vec<ListenerCounts>,
    routes: Vec<Option<Box<RouteCounts>>>,
    /// The routes with something to flush: a scrape need not look at ten thousand idle ones.
    touched: Vec<RouteId>,
    upstreams: Vec<UpstreamCounts>,
    auth_duration: Option<LocalHistogram>,
    cache: [u64; CacheLookup::ALL.len()],
    dropped: [u64; DroppedHeader::ALL.len()],
}

/// What a missing histogram is made from.
pub(super) struct Source<'a> {
    pub(super) families: &'a Families,
    pub(super) names: &'a RwLock<Names>,
}

#[derive(Debug, Default)]
struct ListenerCounts {
    in_flight: i64,
    connections: [i64; ConnectionState::ALL.len()],
}

#[derive(Debug, Default)]
struct RouteCounts {
    touched: bool,
    requests: Tally,
    durations: [Option<LocalHistogram>; MethodLabel::ALL.len()],
    request_bytes: u64,
    response_bytes: u64,
    rejects: Tally,
    auth: Tally,
    rate_limit: [u64; RateLimitResult::ALL.len()],
}

#[derive(Debug, Default)]
struct UpstreamCounts {
    requests: Tally,
    errors: Tally,
    retries: u64,
    reused: u64,
    first_byte: Option<LocalHistogram>,
    connections: [i64; PooledState::ALL.len()],
}

impl Counts {
    /// Counts an exchange that is over.
    pub(super) fn observe(&mut self, record: &Record<'_>, source: &Source<'_>) {
        let route = record.route.map_or(RouteId::NONE, |(id, _)| id);
        let method = record.method.map_or(MethodLabel::Other, MethodLabel::of);
        let listener = record.listener.0;

        let counts = self.route(route);
        counts.requests.add(pack(listener.0, method as u8, code_key(record.status)), 1);
        counts.request_bytes += record.bytes_in;
        counts.response_bytes += record.bytes_out;
        if let Some(reason) = record.reason {
            counts.rejects.add(u64::from(reason as u8), 1);
        }
        let asked = record.rate_limit.and_then(|result| counts.rate_limit.get_mut(result as usize));
        if let Some(count) = asked {
            *count += 1;
        }
        if let Some(duration) = counts.durations.get_mut(method as usize) {
            duration
                .get_or_insert_with(|| source.http_duration(route, method))
                .observe(record.duration.as_secs_f64());
        }
        if let Some(auth) = &record.auth {
            let issuer = auth.issuer.map_or(IssuerId::NONE, |(id, _)| id);
            counts.auth.add(pack(issuer.0, 0, result_key(auth.result)), 1);
            self.observe_auth(auth, source);
        }
        if let Some(upstream) = &record.upstream {
            self.observe_upstream(upstream, source);
        }
        for (kind, n) in [
            (DroppedHeader::Asserted, record.asserted_dropped),
            (DroppedHeader::Underscore, record.underscore_dropped),
        ] {
            if let Some(count) = self.dropped.get_mut(kind as usize) {
                *count += u64::from(n);
            }
        }
    }

    fn observe_auth(&mut self, auth: &AuthRecord<'_>, source: &Source<'_>) {
        if let Some(count) = auth.cache.and_then(|lookup| self.cache.get_mut(lookup as usize)) {
            *count += 1;
        }
        if let Some(duration) = auth.duration {
            self.auth_duration
                .get_or_insert_with(|| source.families.auth_duration.local())
                .observe(duration.as_secs_f64());
        }
    }

    fn observe_upstream(&mut self, record: &UpstreamRecord<'_>, source: &Source<'_>) {
        let upstream = record.upstream.0;
        let counts = self.upstream(upstream);
        if let (Some((endpoint, _)), Some(status)) = (record.endpoint, record.status) {
            counts.requests.add(pack(endpoint_key(endpoint), 0, code_key(status)), 1);
        }
        counts.retries += u64::from(record.attempts.saturating_sub(1));
        counts.reused += u64::from(record.reused);
        if let Some(first_byte) = record.first_byte {
            counts
                .first_byte
                .get_or_insert_with(|| source.first_byte(upstream))
                .observe(first_byte.as_secs_f64());
        }
    }

    /// Counts a failed attempt at an endpoint.
    pub(super) fn upstream_error(
        &mut self,
        upstream: UpstreamId,
        endpoint: usize,
        fault: UpstreamFault,
    ) {
        let key = pack(endpoint_key(endpoint), 0, u16::from(fault as u8));
        self.upstream(upstream).errors.add(key, 1);
    }

    /// The exchanges of a listener that are not over: how many more there are than at the last
    /// flush.
    pub(super) fn in_flight(&mut self, listener: ListenerId) -> &mut i64 {
        &mut at(&mut self.listeners, listener.0).in_flight
    }

    /// As [`Self::in_flight`], for connections.
    pub(super) fn listener_connections(
        &mut self,
        listener: ListenerId,
        state: ConnectionState,
    ) -> Option<&mut i64> {
        at(&mut self.listeners, listener.0).connections.get_mut(state as usize)
    }

    /// As [`Self::in_flight`], for connections.
    pub(super) fn upstream_connections(
        &mut self,
        upstream: UpstreamId,
        state: PooledState,
    ) -> Option<&mut i64> {
        self.upstream(upstream).connections.get_mut(state as usize)
    }

    /// Adds everything to the series and starts again from zero.
    pub(super) fn flush(&mut self, families: &Families, names: &Names) {
        for (index, counts) in (0..).zip(&mut self.listeners) {
            if let Some(listener) = names.listener(ListenerId(index)) {
                counts.flush(listener, families);
            }
        }
        for id in self.touched.drain(..) {
            let counts = self.routes.get_mut(id.0 as usize).and_then(Option::as_deref_mut);
            if let (Some(counts), Some(route)) = (counts, names.route(id)) {
                counts.flush(route, families, names);
            }
        }
        for (index, counts) in (0..).zip(&mut self.upstreams) {
            if let Some(upstream) = names.upstream(UpstreamId(index)) {
                counts.flush(upstream, families);
            }
        }
        if let Some(duration) = &self.auth_duration {
            duration.flush();
        }
        for (lookup, count) in CacheLookup::ALL.iter().zip(&mut self.cache) {
            add(&families.auth_cache_requests, &[lookup.as_str()], count);
        }
        for (kind, count) in DroppedHeader::ALL.iter().zip(&mut self.dropped) {
            add(&families.headers_dropped, &[kind.as_str()], count);
        }
    }

    fn route(&mut self, id: RouteId) -> &mut RouteCounts {
        let counts = at(&mut self.routes, id.0).get_or_insert_default();
        if !counts.touched {
            counts.touched = true;
            self.touched.push(id);
        }
        counts
    }

    fn upstream(&mut self, id: UpstreamId) -> &mut UpstreamCounts {
        at(&mut self.upstreams, id.0)
    }
}

// === impl Source ===

impl Source<'_> {
    fn http_duration(&self, route: RouteId, method: MethodLabel) -> LocalHistogram {
        let names = self.names.read();
        let route = names.route(route).unwrap_or_default();
        self.families.http_duration.with_label_values(&[route, method.as_str()]).local()
    }

    fn first_byte(&self, upstream: UpstreamId) -> LocalHistogram {
        let names = self.names.read();
        let upstream = names.upstream(upstream).map_or("", |names| &names.name);
        self.families.upstream_first_byte.with_label_values(&[upstream]).local()
    }
}

// === impl ListenerCounts ===

impl ListenerCounts {
    fn flush(&mut self, listener: &str, families: &Families) {
        families.http_in_flight.with_label_values(&[listener]).add(take(&mut self.in_flight));
        for (state, count) in ConnectionState::ALL.iter().zip(&mut self.connections) {
            families
                .listener_connections
                .with_label_values(&[listener, state.as_str()])
                .add(take(count));
        }
    }
}

// === impl RouteCounts ===

impl RouteCounts {
    fn flush(&mut self, route: &str, families: &Families, names: &Names) {
        self.touched = false;
        self.requests.flush(|key, count| {
            let (listener, method, code) = unpack(key);
            let method = MethodLabel::ALL.get(usize::from(method)).map_or("OTHER", |m| m.as_str());
            let mut text = itoa::Buffer::new();
            let labels = [
                names.listener(ListenerId(listener)).unwrap_or_default(),
                route,
                method,
                code_label(code, &mut text),
            ];
            add(&families.http_requests, &labels, count);
        });
        self.rejects.flush(|key, count| {
            let reason = usize::try_from(key).ok().and_then(|key| Reason::ALL.get(key));
            if let Some(reason) = reason {
                add(&families.rejects, &[route, reason.as_str()], count);
            }
        });
        self.auth.flush(|key, count| {
            let (issuer, _, result) = unpack(key);
            let issuer = names.issuer(IssuerId(issuer)).unwrap_or_default();
            add(&families.auth_requests, &[route, issuer, result_label(result)], count);
        });
        for (result, count) in RateLimitResult::ALL.iter().zip(&mut self.rate_limit) {
            if *count > 0 {
                add(&families.rate_limit_requests, &[route, result.as_str()], count);
            }
        }
        add(&families.http_request_bytes, &[route], &mut self.request_bytes);
        add(&families.http_response_bytes, &[route], &mut self.response_bytes);
        self.durations.iter().flatten().for_each(LocalHistogram::flush);
    }
}

// === impl UpstreamCounts ===

impl UpstreamCounts {
    fn flush(&mut self, names: &UpstreamNames, families: &Families) {
        let upstream = names.name.as_str();
        self.requests.flush(|key, count| {
            let (endpoint, _, code) = unpack(key);
            let mut text = itoa::Buffer::new();
            let labels = [upstream, names.endpoint(endpoint as usize), code_label(code, &mut text)];
            add(&families.upstream_requests, &labels, count);
        });
        self.errors.flush(|key, count| {
            let (endpoint, _, fault) = unpack(key);
            if let Some(fault) = UpstreamFault::ALL.get(usize::from(fault)) {
                let labels = [upstream, names.endpoint(endpoint as usize), fault.as_str()];
                add(&families.upstream_errors, &labels, count);
            }
        });
        add(&families.upstream_retries, &[upstream], &mut self.retries);
        add(&families.upstream_reused, &[upstream], &mut self.reused);
        for (state, count) in PooledState::ALL.iter().zip(&mut self.connections) {
            families
                .upstream_connections
                .with_label_values(&[upstream, state.as_str()])
                .add(take(count));
        }
        if let Some(first_byte) = &self.first_byte {
            first_byte.flush();
        }
    }
}

/// Counts by a packed key, sorted by it. Keys stay when their count is flushed: they are few, and
/// come back.
#[derive(Debug, Default)]
struct Tally(Vec<(u64, u64)>);

impl Tally {
    fn add(&mut self, key: u64, n: u64) {
        match self.0.binary_search_by_key(&key, |(known, _)| *known) {
            Ok(at) => {
                if let Some((_, count)) = self.0.get_mut(at) {
                    *count += n;
                }
            }
            Err(at) => self.0.insert(at, (key, n)),
        }
    }

    fn flush(&mut self, mut f: impl FnMut(u64, &mut u64)) {
        self.0.iter_mut().filter(|(_, count)| *count > 0).for_each(|(key, count)| f(*key, count));
    }
}

/// The entry of an index; indices are dense, so the list is as long as the configuration's.
#[expect(clippy::indexing_slicing, reason = "the line before makes the list long enough")]
fn at<T: Default>(list: &mut Vec<T>, index: u32) -> &mut T {
    let index = index as usize;
    if list.len() <= index {
        list.resize_with(index + 1, T::default);
    }
    &mut list[index]
}

/// Moves a count into its series.
fn add(counters: &IntCounterVec, labels: &[&str], count: &mut u64) {
    counters.with_label_values(labels).inc_by(std::mem::take(count));
}

fn take(delta: &mut i64) -> i64 {
    std::mem::take(delta)
}

const fn pack(index: u32, middle: u8, low: u16) -> u64 {
    (index as u64) << 24 | (middle as u64) << 16 | low as u64
}

/// The inverse of [`pack`].
const fn unpack(key: u64) -> (u32, u8, u16) {
    ((key >> 24) as u32, (key >> 16) as u8, key as u16)
}

/// A code outside of RFC 9110's five classes is an application's invention: they share a label.
const fn code_key(status: u16) -> u16 {
    if matches!(status, 100..=599) { status } else { 0 }
}

fn code_label(key: u16, text: &mut itoa::Buffer) -> &str {
    if key == 0 { "other" } else { text.format(key) }
}

fn endpoint_key(endpoint: usize) -> u32 {
    u32::try_from(endpoint).unwrap_or(u32::MAX)
}

const fn result_key(result: AuthResult) -> u16 {
    match result {
        AuthResult::Passed(outcome) => outcome as u16,
        AuthResult::Refused(reason) => REFUSED | reason as u16,
    }
}

/// The inverse of [`result_key`].
fn result_label(key: u16) -> &'static str {
    if key & REFUSED == 0 {
        AuthOutcome::ALL.get(usize::from(key)).map_or("", |outcome| outcome.as_str())
    } else {
        Reason::ALL.get(usize::from(key & !REFUSED)).map_or("", |reason| reason.as_str())
    }
}

/// Tells a reason's key from an outcome's.
const REFUSED: u16 = 0x100;

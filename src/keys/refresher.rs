//! Keeping a key set fresh: when to fetch, who waits for it, and what follows from its end.
//!
//! Owns the schedule and the cool-down, the promises made to issuers: one fetch at a time, and
//! however many tokens name unknown keys, at most one fetch beyond the schedule in each cool-down,
//! failed fetches counted like good ones. Trusts `fetch` to bound what comes in.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::fetch::{FetchError, Fetched, Fetcher};
use super::jwks::{Parsed, Skipped, counts};
use super::key_set::{KeySet, RemoteStatus};
use super::source::{Origin, RefreshSettings, Source, SourceError};
use super::store::Keeper;
use crate::clock::{Clock, UnixTime};
use crate::telemetry::ids::IssuerId;
use crate::telemetry::labels::FetchResult;
use crate::telemetry::metrics::Metrics;

/// How many requests may wait for one fetch: the one that asked for it and 64 others.
pub(super) const MAX_WAITERS: usize = 65;

/// How often files are looked at.
const FILE_INTERVAL: Duration = Duration::from_secs(1);

/// How many keys that are not used are logged one by one.
const LOGGED: usize = 8;

/// How often the wall clock is asked whether a fetch is due.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// The fetching half of a key set.
///
/// # Concurrency
/// `state` decides everything: whether a fetch is under way or asked for, when the last one ended,
/// who waits. A waiter subscribes to `ended` under the lock that told it a fetch will come, and
/// the refresher moves `ended` under the same lock, so that no end is missed. `wake` may hold a
/// stale permit (a forced fetch that the timer had already started): the refresher looks at
/// `state` before it believes one.
pub(super) struct Remote {
    origin: Origin,
    settings: RefreshSettings,
    clock: Clock,
    metrics: Arc<Metrics>,
    issuer: IssuerId,
    name: String,
    wake: Arc<Notify>,
    ended: watch::Sender<u64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    waiters: usize,
    last_end: Option<Instant>,
    last_error: Option<Arc<FetchError>>,
    last_success: Option<UnixTime>,
    /// Whether the keys are an earlier process's.
    kept: bool,
    /// Whether another set keeps its keys in this one's file by now.
    replaced: bool,
    failures: u32,
    next_refresh: Option<UnixTime>,
    skipped: Vec<Skipped>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Until the schedule or an unknown `kid` says otherwise.
    #[default]
    Resting,
    /// An unknown `kid` asked for a fetch that has not begun.
    Asked,
    Fetching,
}

/// What a request learnt from asking for a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// The last fetch failed: what we know may be too little.
    Failed,
    /// The last fetch was good, and the cool-down protects the issuer from another.
    Fresh,
    /// Too many wait already, or the fetch took longer than a request waits.
    NotWaited,
}

impl Remote {
    pub(super) fn new(
        source: Source,
        settings: RefreshSettings,
        clock: Clock,
        metrics: Arc<Metrics>,
        issuer: &str,
    ) -> Result<Self, SourceError> {
        Ok(Self {
            origin: Origin::check(source, &settings)?,
            settings,
            clock,
            issuer: metrics.issuer(issuer),
            metrics,
            name: issuer.to_owned(),
            wake: Arc::new(Notify::new()),
            ended: watch::Sender::new(0),
            state: Mutex::new(State::default()),
        })
    }

    pub(super) fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    pub(super) fn fetcher(&self) -> Fetcher {
        Fetcher::new(self.origin.clone(), &self.settings)
    }

    pub(super) fn now(&self) -> UnixTime {
        self.clock.wall()
    }

    pub(super) fn count_unknown_kid(&self) {
        self.metrics.unknown_kid(self.issuer);
    }

    pub(super) fn status(&self) -> RemoteStatus {
        let state = self.state.lock();
        RemoteStatus {
            age: state.last_success.map(|at| self.now().since(at)),
            kept: state.kept,
            last_error: state.last_error.clone(),
            last_success: state.last_success,
            next_refresh: state.next_refresh,
            skipped: state.skipped.clone(),
        }
    }

    /// Waits for a fetch, if there is one to wait for.
    pub(super) async fn join(&self) -> Joined {
        let mut ended = {
            let mut state = self.state.lock();
            if state.waiters >= MAX_WAITERS {
                return Joined::NotWaited;
            }
            if state.phase == Phase::Resting {
                if self.cools_down(&state) {
                    return state.verdict();
                }
                state.phase = Phase::Asked;
                self.wake.notify_one();
            }
            state.waiters += 1;
            self.ended.subscribe()
        };
        let _waiter = Waiter { state: &self.state };
        match tokio::time::timeout(self.settings.wait, ended.changed()).await {
            Ok(_) => self.state.lock().verdict(),
            Err(_) => Joined::NotWaited,
        }
    }

    fn cools_down(&self, state: &State) -> bool {
        state.last_end.is_some_and(|end| {
            self.clock.now().saturating_duration_since(end) < self.settings.unknown_kid_cooldown
        })
    }

    /// Whether a fetch is due by the wall clock: the monotonic one stands still while the machine
    /// sleeps, and keys that grew too old meanwhile should not wait for the rest of their time.
    fn is_overdue(&self) -> bool {
        self.state.lock().next_refresh.is_some_and(|due| self.now() >= due)
    }

    fn is_asked(&self) -> bool {
        self.state.lock().phase == Phase::Asked
    }

    /// Says whether an unknown `kid` asked for it.
    fn begin(&self) -> bool {
        let mut state = self.state.lock();
        let asked = state.phase == Phase::Asked;
        state.phase = Phase::Fetching;
        state.next_refresh = None;
        asked
    }

    /// Records how a fetch ended, lets the waiters go, and says when the next is due.
    fn end(&self, outcome: Result<Success, FetchError>) -> Duration {
        let mut state = self.state.lock();
        let delay = match outcome {
            Ok(success) => {
                state.failures = 0;
                state.last_error = None;
                state.last_success = Some(success.at);
                state.kept = false;
                if let Some(skipped) = success.skipped {
                    state.skipped = skipped;
                }
                // Never so late that keys which nobody withdrew would count no more.
                let in_time = self.settings.stale_for.mul_f64(0.8);
                self.settings.refresh.renew_after(success.max_age).min(in_time)
            }
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                state.last_error = Some(Arc::new(error));
                self.retry_after(state.failures)
            }
        };
        let delay = if self.is_local() { FILE_INTERVAL } else { with_jitter(delay) };
        state.last_end = Some(self.clock.now());
        state.next_refresh = Some(self.now().saturating_add(delay)).filter(|_| !self.is_local());
        self.rest(&mut state);
        delay
    }

    /// Ends a look at files that brought nothing new. Only one that was asked for starts the
    /// cool-down: otherwise looking every second would leave no room for any.
    fn end_same(&self, set: &KeySet, asked: bool) -> Duration {
        let mut state = self.state.lock();
        if asked {
            state.last_end = Some(self.clock.now());
        }
        if state.last_error.is_none() {
            let at = self.now();
            state.last_success = Some(at);
            self.metrics.jwks_success(self.issuer, at, set.len());
        }
        self.rest(&mut state);
        FILE_INTERVAL
    }

    /// Lets the waiters go.
    fn rest(&self, state: &mut State) {
        state.phase = Phase::Resting;
        self.ended.send_modify(|ends| *ends = ends.wrapping_add(1));
    }

    /// Whether the keys come from the operator's files, which cost nobody anything to look at.
    fn is_local(&self) -> bool {
        match self.origin {
            Origin::Discovery { .. } | Origin::Jwks(_) => false,
            Origin::Files(..) => true,
        }
    }

    /// How long keys that were read at `at` count: an issuer's word ages, while a file is good as
    /// long as it stands there, and begins to age when it turns bad.
    pub(super) fn good_until(&self, at: UnixTime) -> Option<UnixTime> {
        (!self.is_local()).then(|| at.saturating_add(self.settings.stale_for))
    }

    fn retry_after(&self, failures: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.settings.retry_first.saturating_mul(doubled).min(self.settings.retry_longest)
    }

    /// Installs what an earlier process kept: counted as old as it is.
    pub(super) fn recall(&self, set: &KeySet) {
        let Some(store) = &self.settings.store else { return };
        let issuer = &self.name;
        match store.load(self.now(), self.settings.stale_for) {
            Ok(Some(kept)) => {
                set.install(kept.keys, self.good_until(kept.fetched));
                let mut state = self.state.lock();
                state.last_success = Some(kept.fetched);
                state.kept = true;
            }
            Ok(None) => {}
            Err(reason) => tracing::warn!(issuer, %reason, "keys in state_dir not used"),
        }
    }

    pub(super) fn stop_keeping(&self) {
        self.state.lock().replaced = true;
    }

    /// Says with which keys the set begins.
    fn announce(&self, set: &KeySet) {
        let status = self.status();
        if let (true, Some(at)) = (status.kept, status.last_success) {
            self.metrics.jwks_success(self.issuer, at, set.len());
            let (issuer, age) = (&self.name, status.age.map(|age| age.as_secs()));
            tracing::info!(issuer, total = set.len(), age, "keys of an earlier process");
        }
    }

    /// Installs what loading read from the files.
    pub(super) fn hold(&self, set: &KeySet, parsed: Parsed) {
        let at = self.now();
        set.install(parsed.keys, self.good_until(at));
        let mut state = self.state.lock();
        state.last_success = Some(at);
        state.skipped = parsed.skipped;
    }

    fn observe_success(&self, set: &KeySet, success: &Success, result: FetchResult) {
        self.metrics.jwks_fetch(self.issuer, result);
        self.metrics.jwks_success(self.issuer, success.at, set.len());
        let Some(skipped) = &success.skipped else { return };
        self.metrics.jwks_skipped(self.issuer, &counts(skipped));
        if *skipped != self.state.lock().skipped {
            for entry in skipped.iter().take(LOGGED) {
                let (issuer, kid, reason) = (&self.name, &entry.kid, entry.reason);
                tracing::warn!(issuer, index = entry.index, ?kid, %reason, "key not used");
            }
            if let Some(more) = skipped.len().checked_sub(LOGGED).filter(|more| *more > 0) {
                tracing::warn!(issuer = self.name, more, "more keys not used, see /issuers");
            }
        }
    }

    fn observe_failure(&self, error: &FetchError) {
        self.metrics.jwks_fetch(self.issuer, FetchResult::Failed);
        tracing::warn!(issuer = self.name, %error, "keys not fetched");
    }
}

impl State {
    fn verdict(&self) -> Joined {
        if self.last_error.is_some() { Joined::Failed } else { Joined::Fresh }
    }
}

/// Makes room for another waiter when it is dropped, also by a client that went away.
struct Waiter<'a> {
    state: &'a Mutex<State>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.state.lock().waiters -= 1;
    }
}

/// A fetch that ended well. `skipped` is none where the document had not changed.
struct Success {
    at: UnixTime,
    max_age: Option<Duration>,
    skipped: Option<Vec<Skipped>>,
}

/// Fetches at once, then whenever it is due or asked for, until the set is gone.
pub(super) async fn run(set: Weak<KeySet>, wake: Arc<Notify>, mut fetcher: Fetcher) {
    let mut due = tokio::time::Instant::now();
    let mut keeper = None;
    if let Some(set) = set.upgrade()
        && let Some(remote) = set.remote_part()
    {
        remote.announce(&set);
        keeper = remote.settings.store.clone().map(Keeper::new);
    }
    loop {
        let is_due = tokio::select! {
            () = tokio::time::sleep_until(due) => true,
            () = tokio::time::sleep(HEARTBEAT) => false,
            () = wake.notified() => false,
        };
        let Some(set) = set.upgrade() else { return };
        let Some(remote) = set.remote_part() else { return };
        if is_due || remote.is_asked() || remote.is_overdue() {
            let delay;
            (fetcher, delay) = refresh(&set, remote, fetcher, keeper.as_mut()).await;
            due = tokio::time::Instant::now() + delay;
        }
    }
}

async fn refresh(
    set: &KeySet,
    remote: &Remote,
    fetcher: Fetcher,
    keeper: Option<&mut Keeper>,
) -> (Fetcher, Duration) {
    let asked = remote.begin();
    let (fetcher, fetched) = attempt(remote, fetcher).await;
    let at = remote.now();
    let good_until = remote.good_until(at);
    let mut published = None;
    let outcome = match fetched {
        Ok(Fetched::Keys { parsed, max_age }) => {
            let change = set.install(parsed.keys, good_until);
            published = Some(parsed.published);
            let success = Success { at, max_age, skipped: Some(parsed.skipped) };
            remote.observe_success(set, &success, FetchResult::Ok);
            if change.added + change.removed > 0 {
                let (issuer, total) = (&remote.name, change.total);
                tracing::info!(
                    issuer,
                    total,
                    added = change.added,
                    removed = change.removed,
                    "keys changed"
                );
            }
            Ok(success)
        }
        Ok(Fetched::NotModified { max_age }) => {
            set.keep_until(good_until);
            let success = Success { at, max_age, skipped: None };
            remote.observe_success(set, &success, FetchResult::NotModified);
            Ok(success)
        }
        Ok(Fetched::Same) => return (fetcher, remote.end_same(set, asked)),
        Err(error) => {
            set.keep_at_most_until(at.saturating_add(remote.settings.stale_for));
            remote.observe_failure(&error);
            Err(error)
        }
    };
    let good = outcome.is_ok();
    let delay = remote.end(outcome);
    // After the waiters: a slow disk is no reason to wait.
    if let Some(keeper) = keeper.filter(|_| good && !remote.state.lock().replaced) {
        keeper.keep(published, at);
    }
    (fetcher, delay)
}

/// One fetch in a task of its own: whatever an issuer sends, this one goes on.
async fn attempt(remote: &Remote, mut fetcher: Fetcher) -> (Fetcher, Result<Fetched, FetchError>) {
    let limit = remote.settings.fetch_timeout;
    let mut task = JoinSet::new();
    task.spawn(async move {
        let fetched = tokio::time::timeout(limit, fetcher.fetch()).await;
        (fetcher, fetched.unwrap_or(Err(FetchError::TimedOut)))
    });
    match task.join_next().await {
        Some(Ok(ended)) => ended,
        Some(Err(_)) | None => (remote.fetcher(), Err(FetchError::Panicked)),
    }
}

/// Up to a tenth more or less, so that a fleet does not ask in step.
fn with_jitter(delay: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 2001;
    let factor = 0.9 + 0.0001 * f64::from(u16::try_from(random).unwrap_or(1000));
    delay.mul_f64(factor)
}

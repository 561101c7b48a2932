//! Names whose addresses are endpoints (`dns://name:port`).
//!
//! Owns the places that the addresses of a name stand in: [`MOST`] of them, made while loading, so
//! that what refers to an endpoint by its index (metrics, attempts) never moves. An address keeps
//! its place, and with it what is believed of it, as long as the name has it; one that is gone gets
//! no new request, and its place waits for another. The system's resolver is asked on the control
//! thread's blocking pool, never on a worker's own thread, a name at most once at a time. Its
//! answers are trusted like the configuration that names it; what it fails to answer changes nothing.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::lookup_host;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::{Endpoint, Upstream};

/// Addresses of one name that are used.
pub const MOST: usize = 32;

/// From one look to the next. The system's resolver does not tell how long an answer is good.
const INTERVAL: Duration = Duration::from_secs(10);

/// The same at least, after a connection was refused or while there is no address at all.
const SOON: Duration = Duration::from_secs(1);

/// How long a start or a reload waits for names that were never looked up: requests would find no
/// endpoint; but a name that is down keeps nothing else waiting.
const FIRST: Duration = Duration::from_secs(1);

/// A name, as configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is looked up.
    pub host: String,
    /// The port at every address.
    pub port: u16,
    /// Each address's share among the other endpoints.
    pub weight: u32,
    /// Whether its addresses are used only while none of the others can be.
    pub backup: bool,
    /// Where it was found when it was looked up last, by an upstream before this one.
    pub last: Vec<SocketAddr>,
}

impl Settings {
    /// As written.
    pub(super) fn label(&self) -> String {
        label(&self.host, self.port)
    }

    /// What the configuration says of it.
    pub fn configured(&self) -> (&str, u16, u32, bool) {
        (&self.host, self.port, self.weight, self.backup)
    }

    /// Those of its places.
    pub(super) fn labels(&self) -> impl Iterator<Item = String> {
        let label = self.label();
        (1..=MOST).map(move |nth| format!("{label}#{nth}"))
    }
}

fn label(host: &str, port: u16) -> String {
    format!("dns://{host}:{port}")
}

/// A name, and where its addresses stand.
#[derive(Debug)]
pub(super) struct Name {
    host: String,
    port: u16,
    places: Range<usize>,
    /// Told when its addresses may no longer be right.
    again: Arc<Notify>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// It was looked up at least once, with whatever result.
    asked: bool,
    /// The last look found nothing.
    failing: bool,
    /// It has more addresses than are used.
    beyond: bool,
}

impl Name {
    fn new(settings: &Settings, places: Range<usize>) -> Self {
        Self {
            host: settings.host.clone(),
            port: settings.port,
            places,
            again: Arc::default(),
            known: Mutex::default(),
        }
    }

    /// Behind the endpoints that are there, the places for the addresses of these names.
    pub(super) fn places(
        names: &[Settings],
        endpoints: &mut Vec<Arc<Endpoint>>,
        vacant: impl Fn(&Settings, usize) -> Endpoint,
    ) -> Box<[Self]> {
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            let from = endpoints.len();
            endpoints.extend((1..=MOST).map(|nth| Arc::new(vacant(name, nth))));
            all.push(Self::new(name, from..endpoints.len()));
        }
        all.into()
    }

    /// As written.
    pub(super) fn label(&self) -> String {
        label(&self.host, self.port)
    }

    /// Its addresses may no longer be right.
    pub(super) fn doubt(&self) {
        self.again.notify_one();
    }
}

impl Upstream {
    /// Its names as written, how many addresses each has, and whether the last look found nothing.
    pub fn names(&self) -> impl Iterator<Item = (String, usize, bool)> + '_ {
        self.names
            .iter()
            .map(|name| (name.label(), self.standing(name).count(), name.known.lock().failing))
    }

    /// Where this name was found last, if it is one of its own.
    pub fn last_of(&self, host: &str, port: u16) -> Option<Vec<SocketAddr>> {
        let name = self.names.iter().find(|name| name.host == host && name.port == port)?;
        Some(self.standing(name).map(|(_, _, at)| at).collect())
    }

    /// Begins with the addresses that its names had before.
    pub(super) fn found_before(self, names: Vec<Settings>) -> Self {
        for (name, settings) in self.names.iter().zip(names) {
            self.stand(name, settings.last, true);
        }
        self
    }

    /// Whether some name of it was never looked up.
    fn is_awaited(&self) -> bool {
        self.names.iter().any(|name| !name.known.lock().asked)
    }

    /// Whether this was the id of an address that its name has no more.
    pub(super) fn is_gone(&self, endpoint: u64) -> bool {
        !self.names.is_empty() && !self.endpoints.iter().any(|one| one.id() == endpoint)
    }

    /// Places of a name that hold an address.
    fn standing<'u>(
        &'u self,
        name: &'u Name,
    ) -> impl Iterator<Item = (usize, &'u Arc<Endpoint>, SocketAddr)> {
        let places = name.places.clone();
        places.filter_map(|index| {
            let endpoint = self.endpoints.get(index)?;
            Some((index, endpoint, endpoint.resolved()?))
        })
    }

    /// Takes what a look has found.
    pub(super) fn resolved(&self, name: &Name, answer: io::Result<Vec<SocketAddr>>) {
        let mut known = name.known.lock();
        let first = !std::mem::replace(&mut known.asked, true);
        let (upstream, endpoint) = (self.name(), name.label());
        let found = match answer {
            Ok(found) if !found.is_empty() => found,
            nothing => {
                if !std::mem::replace(&mut known.failing, true) {
                    let error = nothing.err().map_or("no address".to_owned(), |e| e.to_string());
                    let kept = self.standing(name).count();
                    tracing::warn!(upstream, endpoint, kept, error, "the name can't be resolved");
                }
                return;
            }
        };
        if std::mem::replace(&mut known.failing, false) {
            tracing::info!(upstream, endpoint, "the name is resolved again");
        }
        let beyond = self.stand(name, found, first);
        if beyond > 0 && !known.beyond {
            tracing::warn!(
                upstream,
                endpoint,
                beyond,
                "more than {MOST} addresses: others are not used"
            );
        }
        known.beyond = beyond > 0;
    }

    /// Gives each address that was found a place, and takes it from those that were not. How many
    /// found none.
    fn stand(&self, name: &Name, mut found: Vec<SocketAddr>, first: bool) -> usize {
        found.sort_unstable();
        found.dedup();
        let (stay, gone): (Vec<_>, Vec<_>) =
            self.standing(name).partition(|(_, _, at)| found.contains(at));
        let mut new: Vec<_> =
            found.into_iter().filter(|at| !stay.iter().any(|(_, _, known)| known == at)).collect();
        let beyond = new.len().saturating_sub(MOST - stay.len().min(MOST));
        new.truncate(new.len() - beyond);
        if new.is_empty() && gone.is_empty() {
            return beyond;
        }
        // New ones first, as far as there is room: at no moment is there none.
        new.retain(|at| !self.occupy(name, *at, first));
        for (index, endpoint, at) in gone {
            endpoint.vacate();
            self.metrics.endpoint_up(self.metrics_id, index, false);
            tracing::info!(upstream = self.name(), endpoint = endpoint.label(), %at, "address gone");
        }
        new.retain(|at| !self.occupy(name, *at, first));
        self.balancer.rearrange(&self.endpoints);
        self.queue.call();
        beyond + new.len()
    }

    /// Whether there was a free place for it; one that nobody is on the way to any more, if there is.
    fn occupy(&self, name: &Name, at: SocketAddr, first: bool) -> bool {
        let places = name.places.clone();
        let vacant = places.filter_map(|index| Some((index, self.endpoints.get(index)?)));
        let vacant = vacant.filter(|(_, one)| one.resolved().is_none());
        let Some((index, endpoint)) =
            vacant.min_by_key(|(index, one)| (one.in_flight() + one.tunnels(), *index))
        else {
            return false;
        };
        // What is there from the beginning needs no slow start: then nobody has a whole share.
        let since = if first { 0 } else { self.times.now() };
        endpoint.occupy(at, self.marks.as_ref(), since);
        self.metrics.endpoint_up(self.metrics_id, index, true);
        tracing::info!(upstream = self.name(), endpoint = endpoint.label(), %at, "address found");
        true
    }

    /// Begins to look up its names on the caller's runtime, where there are any; once, however often
    /// it is adopted.
    fn start_names(self: &Arc<Self>) {
        if !self.names.is_empty() && !self.resolving.swap(true, Ordering::Relaxed) {
            for at in 0..self.names.len() {
                tokio::spawn(run(Arc::downgrade(self), at, system));
            }
        }
    }
}

/// Begins to look up the names of these upstreams, and returns when each was looked up once, or after
/// [`FIRST`].
pub(crate) async fn begin(upstreams: &[Arc<Upstream>]) {
    for upstream in upstreams {
        upstream.start_names();
    }
    let answered = async {
        while upstreams.iter().any(|upstream| upstream.is_awaited()) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let _late = timeout(FIRST, answered).await.is_err();
}

/// What the system says: its hosts file, its name servers, in its order.
async fn system(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(lookup_host((host.as_str(), port)).await?.collect())
}

/// Looks up one name for as long as its upstream lives.
async fn run<L, F>(upstream: Weak<Upstream>, at: usize, look: L)
where
    L: Fn(String, u16) -> F,
    F: Future<Output = io::Result<Vec<SocketAddr>>>,
{
    loop {
        let wanted = upstream.upgrade().and_then(|upstream| {
            let name = upstream.names.get(at)?;
            Some((name.host.clone(), name.port, Arc::clone(&name.again)))
        });
        let Some((host, port, again)) = wanted else { return };
        let answer = look(host, port).await;
        let Some(upstream) = upstream.upgrade() else { return };
        let Some(name) = upstream.names.get(at) else { return };
        upstream.resolved(name, answer);
        let is_lost = upstream.standing(name).next().is_none();
        drop(upstream);
        sleep(SOON).await;
        if !is_lost {
            let _doubted = timeout(INTERVAL - SOON, again.notified()).await.is_ok();
        }
    }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;

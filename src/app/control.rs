//! The control thread: reloads, key refreshes, the admin address, the retirement of old snapshots,
//! the drain.
//!
//! Its errors never end the process: a configuration that can't be installed leaves the running
//! one as it is.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::bind::{Place, Sockets, bind_all};
use super::certificates::Renewing;
use super::revocations::Keeping;
use super::view::View;
use super::{Addresses, Command, Options, warn};
use crate::admin::{self, Admin, ReloadRequest, Reloaded};
use crate::config::{self, Config, Diagnostic, Diagnostics, Environment, Loaded, Source, Workers};
use crate::reload::{Origin, SETTLE, difference, needs_restart, watch as watch_file};
use crate::server::{self, Acceptor, Bound, Connections, ListenerState, MaxHeaders, StdSocket};
use crate::snapshot::{Compiled, ListenerSpec, Snapshot, SnapshotCell, Surroundings, compile};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::labels::ReloadResult;
use crate::upstream::resolve;
use crate::worker::{Supplies, Worker};

/// How often the control thread looks whether an old snapshot can go.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// How long the access log may take for its last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// How long a new configuration waits for the first keys of its new issuers.
///
/// Installed without them it would refuse good tokens until they are there; an issuer that does
/// not answer must not keep the rest of it waiting for long.
const FIRST_KEYS: Duration = Duration::from_secs(3);

/// What the control thread is started with.
pub(super) struct Parts {
    pub(super) options: Options,
    pub(super) surroundings: Surroundings,
    pub(super) compiled: Compiled,
    pub(super) loaded: Loaded,
    pub(super) bound: Sockets,
    pub(super) admin: Bound,
    pub(super) access_log: Arc<AccessLog>,
    pub(super) addresses: Addresses,
    pub(super) commands: mpsc::Receiver<Command>,
    /// Resolves, even with an error, when it is time to drain.
    pub(super) ended: oneshot::Receiver<()>,
    /// Told which thread is lost.
    pub(super) losing: watch::Sender<Option<String>>,
}

pub(super) fn control_thread(parts: Parts, started: &std::sync::mpsc::Sender<Result<(), String>>) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _nobody = started.send(Err(format!("control runtime: {error}"))).is_err();
            return;
        }
    };
    runtime.block_on(async {
        let options = parts.options.watch;
        match Control::start(parts).await {
            Ok((control, inputs)) => {
                let _nobody = started.send(Ok(())).is_err();
                control.run(inputs, options).await;
            }
            Err(error) => {
                let _nobody = started.send(Err(error)).is_err();
            }
        }
    });
    // Nobody waits for a resolver that does not answer.
    runtime.shutdown_timeout(Duration::from_secs(1));
}

/// Everything that runs, but for requests.
struct Control {
    origin: Origin,
    environment: Environment,
    surroundings: Arc<Surroundings>,
    cell: Arc<SnapshotCell>,
    acceptors: HashMap<Place, Acceptor>,
    workers: Vec<Worker>,
    revocations: Keeping,
    certificates: Renewing,
    connections: Arc<Connections>,
    access_log: Arc<AccessLog>,
    addresses: Addresses,
    draining: Arc<AtomicBool>,
    /// Snapshots that were replaced but may still be held by requests; dropped here, not there.
    retired: Vec<Arc<Snapshot>>,
    /// What was read last, whether or not it was installed.
    read: Source,
    losing: watch::Sender<Option<String>>,
}

/// What asks something of the control thread.
struct Inputs {
    commands: mpsc::Receiver<Command>,
    ended: oneshot::Receiver<()>,
    admin: mpsc::Receiver<ReloadRequest>,
    /// The admin address closes when this is dropped, last of all: `/readyz` tells of the drain.
    _admin_end: watch::Sender<bool>,
}

impl Control {
    async fn start(parts: Parts) -> Result<(Self, Inputs), String> {
        let Parts {
            options,
            surroundings,
            compiled,
            loaded,
            bound,
            admin,
            access_log,
            addresses,
            commands,
            ended,
            losing,
        } = parts;
        let server = &loaded.config.server;
        let connections = Connections::new(server.max_connections, server.max_connections_per_ip);
        let cell = SnapshotCell::new(Arc::clone(&compiled.snapshot));
        let supplies = Supplies {
            cell: Arc::clone(&cell),
            metrics: Arc::clone(&surroundings.metrics),
            access_log: Arc::clone(&access_log),
            clock: surroundings.clock.clone(),
        };
        let count = worker_count(server.workers);
        let workers = (0..count.get())
            .map(|index| Worker::start(index, count, &supplies))
            .collect::<std::io::Result<Vec<_>>>()
            .map_err(|error| format!("worker: {error}"))?;
        start_keys(&compiled.snapshot);
        watch_endpoints(&compiled.snapshot, &surroundings);
        let revocations = Keeping::start(&surroundings, &compiled);
        let certificates = Renewing::start(&surroundings, &compiled.listeners);
        let draining = Arc::new(AtomicBool::new(false));
        let (reloads, admin_reloads) = mpsc::channel(8);
        let answers = View::admin(&cell, &draining, &surroundings, reloads);
        let admin_end =
            serve_admin(admin, answers).map_err(|error| format!("admin address: {error}"))?;
        let mut control = Self {
            origin: options.origin,
            environment: options.environment,
            surroundings: Arc::new(surroundings),
            cell,
            acceptors: HashMap::new(),
            workers,
            revocations,
            certificates,
            connections,
            access_log,
            addresses,
            draining,
            retired: Vec::new(),
            read: loaded.source,
            losing,
        };
        resolve::begin(compiled.snapshot.upstreams()).await;
        control.listen(compiled.listeners, bound, &compiled.snapshot).await?;
        control.surroundings.metrics.reload(ReloadResult::Ok, control.surroundings.clock.wall());
        Ok((control, Inputs { commands, ended, admin: admin_reloads, _admin_end: admin_end }))
    }

    /// Serves commands until the one to drain, and drains.
    async fn run(mut self, mut inputs: Inputs, watching: bool) {
        let (changed, mut changes) = mpsc::channel(1);
        let _watcher = match (&self.origin, watching) {
            (Origin::File(path), true) => match watch_file(path, changed.clone()) {
                Ok(watcher) => {
                    // What changed since it was read, before anybody watched.
                    let _due_already = changed.try_send(()).is_err();
                    Some(watcher)
                }
                Err(error) => {
                    tracing::error!(%error, "the configuration file can't be watched");
                    None
                }
            },
            (Origin::File(_) | Origin::Text { .. }, _) => None,
        };
        let mut housekeeping = interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut inputs.ended => break,
                Some(command) = inputs.commands.recv() => self.obey(command).await,
                Some(request) = inputs.admin.recv() => {
                    let outcome = match self.reload().await {
                        Ok(_) => Reloaded::Installed { generation: self.cell.generation() },
                        Err(errors) => Reloaded::Refused { diagnostics: errors.render(false) },
                    };
                    let _nobody = request.reply.send(outcome).is_err();
                }
                Some(()) = changes.recv() => {
                    sleep(SETTLE).await;
                    while changes.try_recv().is_ok() {}
                    if self.changed().await {
                        // Told by the log and the metrics; there is nobody else to tell.
                        let _told = self.reload().await.is_err();
                    }
                }
                _ = housekeeping.tick() => {
                    self.retire();
                    if let Some(lost) = self.lost() {
                        tracing::error!("{lost}: the gateway ends");
                        self.losing.send_replace(Some(lost));
                        break;
                    }
                }
            }
        }
        self.drain(inputs).await;
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Reload(reply) => {
                let _nobody = reply.send(self.reload().await).is_err();
            }
            #[cfg(test)]
            Command::LoseWorker => self.workers.iter_mut().take(1).for_each(Worker::lose),
        }
    }

    /// A thread that has ended by itself, which only a panic makes it do. Its connections are gone,
    /// and with it maybe what others rely on: a new process is sound, this one may not be.
    fn lost(&self) -> Option<String> {
        if self.workers.iter().any(Worker::is_lost) {
            return Some("a worker's thread has panicked".to_owned());
        }
        let lost = self.acceptors.values().any(Acceptor::is_lost);
        lost.then(|| "an acceptor's thread has panicked".to_owned())
    }

    /// Whether the file says something else than when it was read last: its folder changes for
    /// many reasons, and what was refused once need not be refused at each of them.
    async fn changed(&self) -> bool {
        let (origin, read) = (self.origin.clone(), self.read.clone());
        spawn_blocking(move || origin.has_changed(&read)).await.unwrap_or(false)
    }

    // === reload ===

    async fn reload(&mut self) -> Result<String, Diagnostics> {
        let outcome = self.try_reload().await;
        let result = match &outcome {
            Ok(difference) => {
                tracing::info!(generation = self.cell.generation(), "reloaded: {difference}");
                ReloadResult::Ok
            }
            Err(errors) => {
                self.read = errors.source().clone();
                tracing::error!("reload refused, the running configuration stays:\n{errors}");
                ReloadResult::Failed
            }
        };
        self.surroundings.metrics.reload(result, self.surroundings.clock.wall());
        outcome
    }

    async fn try_reload(&mut self) -> Result<String, Diagnostics> {
        let (_, running) = self.cell.load();
        let Prepared { loaded, compiled, bound } = self.prepare(&running).await?;
        warn(&loaded.warnings);
        warn(&compiled.warnings);
        let line = difference(running.config(), &loaded.config);
        running.leave_files_to(&compiled.snapshot);
        drop(running);
        start_keys(&compiled.snapshot);
        first_keys(&compiled.snapshot).await;
        resolve::begin(compiled.snapshot.upstreams()).await;
        let server = &loaded.config.server;
        self.connections.set_limits(server.max_connections, server.max_connections_per_ip);
        self.revocations.follow(compiled.snapshot.revocations_file(), &compiled.revoked.file);
        self.certificates.follow(&compiled.listeners);
        self.retired.push(self.cell.install(Arc::clone(&compiled.snapshot)));
        watch_endpoints(&compiled.snapshot, &self.surroundings);
        self.read = loaded.source;
        if let Err(error) = self.listen(compiled.listeners, bound, &compiled.snapshot).await {
            tracing::error!(error, "a new listener could not be started");
        }
        Ok(line)
    }

    /// Everything that can be refused, on a thread that may wait for disks and resolvers: key
    /// refreshes and the admin address go on meanwhile.
    async fn prepare(&self, running: &Arc<Snapshot>) -> Result<Prepared, Diagnostics> {
        let (origin, environment) = (self.origin.clone(), self.environment.clone());
        let (running, surroundings) = (Arc::clone(running), Arc::clone(&self.surroundings));
        let listening =
            |(place, acceptor): (&Place, &Acceptor)| (place.clone(), acceptor.listening());
        let open: HashMap<_, _> = self.acceptors.iter().map(listening).collect();
        let prepared = spawn_blocking(move || {
            let loaded = origin.load(&environment)?;
            let refused = needs_restart(running.config(), &loaded);
            if !refused.is_empty() {
                return Err(Diagnostics::new(loaded.source, refused));
            }
            let compiled = compile(&loaded, Some(&running), &surroundings)?;
            let bound = bind_all(&loaded, &compiled.listeners, &open)?;
            Ok(Prepared { loaded, compiled, bound })
        });
        prepared.await.unwrap_or_else(|panicked| {
            let problem = Diagnostic::of_file(format!("reading it failed: {panicked}"));
            Err(Diagnostics::new(self.read.clone(), vec![problem]))
        })
    }

    /// Gives every acceptor its new state, starts the new ones, stops those that are gone. One that
    /// can't be started does not keep the others from it.
    async fn listen(
        &mut self,
        specs: Vec<ListenerSpec>,
        mut bound: Sockets,
        snapshot: &Snapshot,
    ) -> Result<(), String> {
        let mut kept = HashMap::new();
        let mut addresses = BTreeMap::new();
        let mut failed = Vec::new();
        for spec in specs {
            let plan = snapshot.listener(spec.slot);
            let place = Place::of(&spec);
            let state = ListenerState {
                listener: spec.slot,
                id: plan.id,
                metrics: Arc::clone(&self.surroundings.metrics),
                tls: spec.tls,
                proxies: spec.proxies,
                settings: settings(snapshot.config()),
            };
            let acceptor = match (self.acceptors.remove(&place), bound.remove(&place)) {
                (Some(acceptor), _) => {
                    acceptor.update(state);
                    acceptor
                }
                (None, Some(socket)) => match self.accept(&plan.name, socket, state) {
                    Ok(acceptor) => acceptor,
                    Err(error) => {
                        failed.push(format!("listener {}: {error}", plan.name));
                        continue;
                    }
                },
                (None, None) => continue,
            };
            if let Some(address) = acceptor.local_addr() {
                addresses.insert(plan.name.to_string(), address);
            }
            kept.insert(place, acceptor);
        }
        let gone = std::mem::replace(&mut self.acceptors, kept);
        // After the reload their addresses are free, also for the next one.
        let closed = close(gone).await;
        *self.addresses.lock() = addresses;
        failed.extend(closed.err());
        if failed.is_empty() { Ok(()) } else { Err(failed.join(", ")) }
    }

    fn accept(&self, name: &str, socket: Bound, state: ListenerState) -> std::io::Result<Acceptor> {
        let workers = self.workers.iter().map(|worker| worker.handle.clone()).collect();
        Acceptor::start(name, socket, state, workers, Arc::clone(&self.connections))
    }

    /// Drops old snapshots that nobody holds any more; here, since a thousand routes take a while.
    fn retire(&mut self) {
        self.retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        let (_, snapshot) = self.cell.load();
        self.surroundings.metrics.auth_cache_entries(snapshot.tokens().entries());
    }

    // === drain ===

    /// Not ready any more, then no new connections, then none at all; the log comes last.
    async fn drain(mut self, mut inputs: Inputs) {
        self.draining.store(true, Ordering::Release);
        inputs.admin.close();
        let (_, snapshot) = self.cell.load();
        let server = &snapshot.config().server;
        tracing::info!("draining");
        sleep(server.pre_drain).await;
        let closed = close(std::mem::take(&mut self.acceptors)).await;
        let drained = timeout(server.shutdown_timeout, self.connections.drained()).await;
        if drained.is_err() {
            tracing::warn!(open = self.connections.open(), "shutdown_timeout is over: cutting");
        }
        let workers = std::mem::take(&mut self.workers);
        let ended = spawn_blocking(move || Worker::end(workers)).await;
        if closed.is_err() || ended.is_err() {
            tracing::error!("threads could not be waited for");
        }
        self.revocations.end().await;
        if !self.access_log.flush(LAST_LINES) {
            tracing::warn!("the last access lines could not be written in time");
        }
        tracing::info!("drained");
    }
}

/// Stops acceptors, on a thread that may wait until what is queued in the kernel is accepted and
/// the sockets are closed.
async fn close(acceptors: HashMap<Place, Acceptor>) -> Result<(), String> {
    if acceptors.is_empty() {
        return Ok(());
    }
    let closed = spawn_blocking(move || {
        acceptors.values().for_each(Acceptor::stop);
        acceptors.values().for_each(Acceptor::join);
    });
    closed.await.map_err(|error| format!("acceptors: {error}"))
}

fn worker_count(workers: Workers) -> NonZeroUsize {
    let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    match workers {
        Workers::Count(count) => NonZeroUsize::new(count).unwrap_or_else(cores),
        Workers::Auto => cores(),
    }
}

/// A configuration that nothing speaks against any more.
struct Prepared {
    loaded: Loaded,
    compiled: Compiled,
    bound: Sockets,
}

/// Serves the admin address until the returned sender is dropped.
fn serve_admin(bound: Bound, admin: Admin) -> std::io::Result<watch::Sender<bool>> {
    let (end, ended) = watch::channel(false);
    let (socket, file) = match StdSocket::from(bound) {
        StdSocket::Tcp(listener) => (admin::Socket::tcp(listener)?, None),
        StdSocket::Unix(listener, file) => (admin::Socket::unix(listener)?, file),
    };
    tokio::spawn(async move {
        admin::serve(Arc::new(admin), socket, ended).await;
        drop(file);
    });
    Ok(end)
}

fn start_keys(snapshot: &Snapshot) {
    for issuer in snapshot.issuers() {
        issuer.keys().start(&Handle::current());
    }
}

/// Begins the checks of upstreams that have none under way, and shows every endpoint's state.
fn watch_endpoints(snapshot: &Snapshot, surroundings: &Surroundings) {
    surroundings.metrics.forget_endpoints();
    for upstream in snapshot.upstreams() {
        upstream.show_health();
        upstream.start_checks();
    }
}

/// Returns when every issuer has keys or an error to show for them, or after [`FIRST_KEYS`].
async fn first_keys(snapshot: &Snapshot) {
    let mut look = interval(Duration::from_millis(10));
    let arrived = async {
        while snapshot.issuers().iter().any(|issuer| issuer.keys().is_awaited()) {
            look.tick().await;
        }
    };
    let _late = timeout(FIRST_KEYS, arrived).await.is_err();
}

fn settings(config: &Config) -> server::Settings {
    let server = &config.server;
    let bytes = |size: config::Size| usize::try_from(size.bytes()).unwrap_or(usize::MAX);
    server::Settings {
        handshake_timeout: server.handshake_timeout,
        header_timeout: server.header_timeout,
        idle_timeout: server.idle_timeout,
        max_headers: MaxHeaders {
            count: server.max_headers.count,
            line: bytes(server.max_headers.line),
            size: bytes(server.max_headers.size),
        },
        max_streams: server.max_streams,
        write_timeout: server.write_timeout,
    }
}

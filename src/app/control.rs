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
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::bind::bind_all;
use super::view::View;
use super::{Addresses, Command, Options, warn};
use crate::admin::{self, Admin, ReloadRequest, Reloaded};
use crate::config::{self, Config, Diagnostics, Environment, Loaded, Workers};
use crate::reload::{Origin, SETTLE, difference, needs_restart, watch as watch_file};
use crate::server::{
    self, Acceptor, Bound, Connections, ListenAddress, ListenerState, MaxHeaders, StdSocket,
};
use crate::snapshot::{Compiled, ListenerSpec, Snapshot, SnapshotCell, Surroundings, compile};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::labels::ReloadResult;
use crate::worker::{Supplies, Worker};

/// How often the control thread looks whether an old snapshot can go.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// How long the access log may take for its last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// What the control thread is started with.
pub(super) struct Parts {
    pub(super) options: Options,
    pub(super) surroundings: Surroundings,
    pub(super) compiled: Compiled,
    pub(super) loaded: Loaded,
    pub(super) bound: HashMap<ListenAddress, Bound>,
    pub(super) admin: Bound,
    pub(super) access_log: Arc<AccessLog>,
    pub(super) addresses: Addresses,
    pub(super) commands: mpsc::Receiver<Command>,
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
        match Control::start(parts) {
            Ok((control, inputs)) => {
                let _nobody = started.send(Ok(())).is_err();
                control.run(inputs, options).await;
            }
            Err(error) => {
                let _nobody = started.send(Err(error)).is_err();
            }
        }
    });
}

/// Everything that runs, but for requests.
struct Control {
    origin: Origin,
    environment: Environment,
    surroundings: Surroundings,
    cell: Arc<SnapshotCell>,
    acceptors: HashMap<ListenAddress, Acceptor>,
    workers: Vec<Worker>,
    connections: Arc<Connections>,
    access_log: Arc<AccessLog>,
    addresses: Addresses,
    draining: Arc<AtomicBool>,
    /// Snapshots that were replaced but may still be held by requests; dropped here, not there.
    retired: Vec<Arc<Snapshot>>,
    text: String,
}

/// What asks something of the control thread.
struct Inputs {
    commands: mpsc::Receiver<Command>,
    admin: mpsc::Receiver<ReloadRequest>,
    /// The admin address closes when this is dropped, last of all: `/readyz` tells of the drain.
    _admin_end: watch::Sender<bool>,
}

impl Control {
    fn start(parts: Parts) -> Result<(Self, Inputs), String> {
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
        let draining = Arc::new(AtomicBool::new(false));
        let view = View { cell: Arc::clone(&cell), draining: Arc::clone(&draining) };
        let (reloads, admin_reloads) = mpsc::channel(8);
        let admin_end = serve_admin(
            admin,
            Admin {
                metrics: Arc::clone(&surroundings.metrics),
                state: Arc::new(view),
                reload: reloads,
            },
        )
        .map_err(|error| format!("admin address: {error}"))?;
        let mut control = Self {
            origin: options.origin,
            environment: options.environment,
            surroundings,
            cell,
            acceptors: HashMap::new(),
            workers,
            connections,
            access_log,
            addresses,
            draining,
            retired: Vec::new(),
            text: loaded.source.text().to_owned(),
        };
        control.listen(compiled.listeners, bound, &compiled.snapshot)?;
        control.surroundings.metrics.reload(ReloadResult::Ok, control.surroundings.clock.wall());
        Ok((control, Inputs { commands, admin: admin_reloads, _admin_end: admin_end }))
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
                command = inputs.commands.recv() => match command {
                    Some(Command::Reload(reply)) => {
                        let _nobody = reply.send(self.reload()).is_err();
                    }
                    Some(Command::Drain) | None => break,
                },
                Some(request) = inputs.admin.recv() => {
                    let outcome = match self.reload() {
                        Ok(_) => Reloaded::Installed { generation: self.cell.generation() },
                        Err(errors) => Reloaded::Refused { diagnostics: errors.render(false) },
                    };
                    let _nobody = request.reply.send(outcome).is_err();
                }
                Some(()) = changes.recv() => {
                    sleep(SETTLE).await;
                    while changes.try_recv().is_ok() {}
                    if self.changed() {
                        // Told by the log and the metrics; there is nobody else to tell.
                        let _told = self.reload().is_err();
                    }
                }
                _ = housekeeping.tick() => self.retire(),
            }
        }
        self.drain(inputs).await;
    }

    /// Whether the file says something else than what runs: its folder changes for many reasons.
    fn changed(&self) -> bool {
        match &self.origin {
            Origin::File(path) => std::fs::read_to_string(path).is_ok_and(|text| text != self.text),
            Origin::Text { .. } => false,
        }
    }

    // === reload ===

    fn reload(&mut self) -> Result<String, Diagnostics> {
        let outcome = self.try_reload();
        let result = match &outcome {
            Ok(difference) => {
                tracing::info!(generation = self.cell.generation(), "reloaded: {difference}");
                ReloadResult::Ok
            }
            Err(errors) => {
                tracing::error!("reload refused, the running configuration stays:\n{errors}");
                ReloadResult::Failed
            }
        };
        self.surroundings.metrics.reload(result, self.surroundings.clock.wall());
        outcome
    }

    fn try_reload(&mut self) -> Result<String, Diagnostics> {
        let loaded = self.origin.load(&self.environment)?;
        let (_, running) = self.cell.load();
        let refused = needs_restart(running.config(), &loaded);
        if !refused.is_empty() {
            return Err(Diagnostics::new(loaded.source.clone(), refused));
        }
        let compiled = compile(&loaded, Some(&running), &self.surroundings)?;
        let is_new = |spec: &&ListenerSpec| !self.acceptors.contains_key(&spec.address);
        let bound = bind_all(&loaded, compiled.listeners.iter().filter(is_new))?;
        warn(&loaded.warnings);
        warn(&compiled.warnings);
        let line = difference(running.config(), &loaded.config);
        drop(running);
        start_keys(&compiled.snapshot);
        let server = &loaded.config.server;
        self.connections.set_limits(server.max_connections, server.max_connections_per_ip);
        self.retired.push(self.cell.install(Arc::clone(&compiled.snapshot)));
        loaded.source.text().clone_into(&mut self.text);
        if let Err(error) = self.listen(compiled.listeners, bound, &compiled.snapshot) {
            tracing::error!(error, "a new listener could not be started");
        }
        Ok(line)
    }

    /// Gives every acceptor its new state, starts the new ones, stops those that are gone.
    fn listen(
        &mut self,
        specs: Vec<ListenerSpec>,
        mut bound: HashMap<ListenAddress, Bound>,
        snapshot: &Snapshot,
    ) -> Result<(), String> {
        let mut kept = HashMap::new();
        let mut addresses = BTreeMap::new();
        for spec in specs {
            let plan = snapshot.listener(spec.slot);
            let state = ListenerState {
                listener: spec.slot,
                id: plan.id,
                metrics: Arc::clone(&self.surroundings.metrics),
                tls: spec.tls,
                settings: settings(snapshot.config()),
            };
            let acceptor = match (self.acceptors.remove(&spec.address), bound.remove(&spec.address))
            {
                (Some(acceptor), _) => {
                    acceptor.update(state);
                    acceptor
                }
                (None, Some(socket)) => {
                    let workers = self.workers.iter().map(|worker| worker.handle.clone()).collect();
                    let connections = Arc::clone(&self.connections);
                    Acceptor::start(&plan.name, socket, state, workers, connections)
                        .map_err(|error| format!("listener {}: {error}", plan.name))?
                }
                (None, None) => continue,
            };
            if let Some(address) = acceptor.local_addr() {
                addresses.insert(plan.name.to_string(), address);
            }
            kept.insert(spec.address, acceptor);
        }
        for (_, gone) in std::mem::replace(&mut self.acceptors, kept) {
            // Ends as soon as what waits in the kernel is accepted: after the reload its address
            // is free, also for the next reload.
            gone.join();
        }
        *self.addresses.lock() = addresses;
        Ok(())
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
        for acceptor in self.acceptors.values() {
            acceptor.stop();
        }
        for acceptor in std::mem::take(&mut self.acceptors).into_values() {
            // Ends as soon as what waits in the kernel is accepted.
            acceptor.join();
        }
        let drained = timeout(server.shutdown_timeout, self.connections.drained()).await;
        if drained.is_err() {
            tracing::warn!(open = self.connections.open(), "shutdown_timeout is over: cutting");
        }
        for worker in std::mem::take(&mut self.workers) {
            worker.end();
        }
        if !self.access_log.flush(LAST_LINES) {
            tracing::warn!("the last access lines could not be written in time");
        }
        tracing::info!("drained");
    }
}

fn worker_count(workers: Workers) -> NonZeroUsize {
    let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    match workers {
        Workers::Count(count) => NonZeroUsize::new(count).unwrap_or_else(cores),
        Workers::Auto => cores(),
    }
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

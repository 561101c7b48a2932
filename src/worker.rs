//! One data-plane thread: a current-thread runtime that serves the connections it is handed.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::Clock;
use crate::gateway::Gateway;
use crate::server::{self, Accepted, WorkerHandle};
use crate::snapshot::SnapshotCell;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Metrics;

/// How often a worker looks for idle pool connections past their time, and for a new generation.
const TICK: Duration = Duration::from_millis(250);

/// Threads for opening and reading files, and for resolving names, beside a worker's own.
///
/// Enough to keep a disk busy; each costs a stack. More requests than that wait for a thread.
const BLOCKING: usize = 8;

/// What every worker is given.
#[derive(Clone, Debug)]
pub(crate) struct Supplies {
    pub(crate) cell: Arc<SnapshotCell>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access_log: Arc<AccessLog>,
    pub(crate) clock: Clock,
}

/// A running worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) handle: WorkerHandle,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts a worker; it shares every upstream's idle connections with `workers` others.
    ///
    /// # Errors
    /// The system has no thread or no epoll instance left.
    pub(crate) fn start(
        index: usize,
        workers: NonZeroUsize,
        supplies: &Supplies,
    ) -> io::Result<Self> {
        let (handle, accepted) = WorkerHandle::new();
        let (stop, stopped) = oneshot::channel();
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING)
            .thread_name(format!("worker-{index}-io"))
            .build()?;
        let supplies = supplies.clone();
        let thread =
            std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                let gateway = Gateway::new(
                    workers,
                    supplies.cell,
                    supplies.metrics,
                    supplies.access_log,
                    supplies.clock,
                );
                runtime.block_on(run(accepted, stopped, gateway));
                // What is still open is cut here: its exchanges end, and write their records.
                runtime.shutdown_timeout(Duration::from_secs(1));
            })?;
        Ok(Self { handle, stop, thread })
    }

    /// Whether its thread has ended though nobody told it to: it panicked.
    pub(crate) fn is_lost(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends its thread as a panic would.
    #[cfg(test)]
    pub(crate) fn lose(&mut self) {
        let (other, _) = oneshot::channel();
        drop(std::mem::replace(&mut self.stop, other));
    }

    /// Ends workers, all at the same time: what they still serve is cut. Blocks until their threads
    /// have ended.
    pub(crate) fn end(workers: Vec<Self>) {
        let stopped: Vec<_> = workers
            .into_iter()
            .map(|worker| {
                // A worker that has ended by itself needs no telling.
                let _gone = worker.stop.send(()).is_err();
                worker.thread
            })
            .collect();
        for thread in stopped {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}

async fn run(
    mut accepted: mpsc::Receiver<Accepted>,
    mut stopped: oneshot::Receiver<()>,
    gateway: Gateway,
) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            Some(connection) = accepted.recv() => {
                tokio::spawn(server::serve(connection, gateway.clone()));
            }
            _ = tick.tick() => gateway.sweep(),
        }
    }
}

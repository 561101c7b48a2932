//! Gunicorn and uvicorn with the application that notes what arrives.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::eventually;
use crate::support::stack::{environment, virtual_environment};
use crate::support::steady::free_port;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Gunicorn, one request a worker, on a unix socket.
    Sync,
    /// Gunicorn with threads and kept connections, on TCP.
    Threads,
    /// On TCP.
    Uvicorn,
}

/// A server; it ends when this is dropped.
pub(super) struct Server {
    pub(super) kind: Kind,
    child: Child,
    bind: String,
    said: PathBuf,
    arrived: PathBuf,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Sync, Self::Threads, Self::Uvicorn];

    /// As `kind` of an upstream.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sync | Self::Threads => "wsgi",
            Self::Uvicorn => "asgi",
        }
    }

    /// The command that serves at `bind`.
    fn command(self, bind: &str) -> Command {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let gunicorn = |worker: &[&str]| {
            let mut command = Command::new(virtual_environment().join("bin/python"));
            command.args(["-m", "gunicorn", "app:application", "--workers", "2"]);
            command.args(["--graceful-timeout", "5", "--bind", bind]).args(worker);
            command
        };
        let mut command = match self {
            Self::Sync => gunicorn(&["--worker-class", "sync"]),
            Self::Threads => gunicorn(&["--worker-class", "gthread", "--threads", "4"]),
            Self::Uvicorn => {
                let requirements = here.join("upstream_kinds/requirements.txt");
                let mut command = Command::new(environment(&requirements).join("bin/python"));
                let port = bind.rsplit(':').next().unwrap();
                command.args(["-m", "uvicorn", "app:asgi", "--no-access-log", "--port", port]);
                command.args(["--timeout-graceful-shutdown", "5"]);
                command
            }
        };
        command.current_dir(here.join("restarts"));
        command
    }
}

impl Server {
    pub(super) fn start(folder: &Path, kind: Kind, name: &str) -> Self {
        let bind = match kind {
            Kind::Sync => format!("unix:{}", folder.join(format!("{name}.sock")).display()),
            Kind::Threads | Kind::Uvicorn => format!("127.0.0.1:{}", free_port()),
        };
        let said = folder.join(format!("{kind:?}-{name}.log"));
        let arrived = folder.join(format!("{kind:?}.arrived"));
        // The servers of one test note in one place.
        drop(File::options().create(true).append(true).open(&arrived).unwrap());
        let child = spawn(kind, &bind, &said, &arrived);
        let mut server = Self { kind, child, bind, said, arrived };
        server.wait();
        server
    }

    /// On the same socket.
    pub(super) fn start_again(&mut self) {
        self.child = spawn(self.kind, &self.bind, &self.said, &self.arrived);
        self.wait();
    }

    fn wait(&mut self) {
        eventually("the server listens", || {
            let said = fs::read_to_string(&self.said).unwrap();
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended with {status}: {said}");
            }
            ["Booting worker", "running on"].iter().any(|line| said.contains(line)).then_some(())
        });
    }

    /// As a process manager ends it, to its end.
    pub(super) fn stop(&mut self) {
        self.signal(Signal::TERM);
        eventually("the server ends", || self.child.try_wait().unwrap());
    }

    /// Gunicorn then replaces its workers.
    pub(super) fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    pub(super) fn endpoint(&self) -> String {
        match self.kind {
            Kind::Sync => self.bind.clone(),
            Kind::Threads | Kind::Uvicorn => format!("http://{}", self.bind),
        }
    }

    pub(super) fn arrived(&self) -> &Path {
        &self.arrived
    }

    /// The processes that noted something.
    pub(super) fn workers(&self) -> BTreeSet<i32> {
        let text = fs::read_to_string(&self.arrived).unwrap();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| line.trim_end().rsplit(' ').next().unwrap().parse().unwrap()).collect()
    }

    /// The process that has noted this, once one has.
    pub(super) fn worker_of(&self, noted: &str) -> i32 {
        eventually("it arrives", || {
            let text = fs::read_to_string(&self.arrived).unwrap();
            let line = text.lines().rev().find_map(|line| line.strip_prefix(noted))?.to_owned();
            line.strip_prefix(' ')?.parse().ok()
        })
    }

    /// Kills one of its processes, as a system does that is out of memory.
    pub(super) fn kill(&mut self, worker: i32) {
        kill_process(Pid::from_raw(worker).unwrap(), Signal::KILL).unwrap();
        if self.child.id() == u32::try_from(worker).unwrap() {
            self.child.wait().unwrap();
        }
    }
}

fn spawn(kind: Kind, bind: &str, said: &Path, arrived: &Path) -> Child {
    kind.command(bind)
        .env("ARRIVED", arrived)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("GUNICORN_CMD_ARGS")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(said).unwrap())
        .spawn()
        .unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // Its own process alone; Gunicorn then ends its workers.
            self.signal(Signal::TERM);
            drop(self.child.wait());
        }
    }
}

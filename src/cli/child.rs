//! The command that `run -- COMMAND` starts: its group, its signals, its end.
//!
//! Owns the process and its group, which ends with this: no zombie is left, and nobody of the group
//! goes on. Trusts the command to be the operator's. If the gateway is killed, the kernel tells the
//! command so (see [`super::exec`]).

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process_group, test_kill_process_group,
    wait, waitpid,
};
use tokio::signal::unix::{self, SignalKind};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::exec;

/// How often the group is looked at that outlives its first process.
const LOOK: Duration = Duration::from_millis(20);

/// A process that was started, and its group.
#[derive(Debug)]
pub(super) struct Child {
    /// Also the group's number.
    pid: Pid,
    /// SIGCHLD.
    changes: unix::Signal,
    /// Its exit code, or 128 and the signal that ended it.
    ended: Option<u8>,
    /// Nobody of the group is left: its number may be somebody else's by now.
    is_over: bool,
}

impl Child {
    /// Starts `command` in a group of its own, with the gateway's environment and output, and
    /// without input. Within a runtime, on a thread that lives as long as the gateway does: the
    /// kernel takes that thread's end for the parent's.
    pub(super) fn start(command: &[OsString]) -> io::Result<Self> {
        let changes = unix::signal(SignalKind::child())?;
        let started = Command::new("/proc/self/exe")
            .arg(exec::VERB)
            .arg(getpid().as_raw_pid().to_string())
            .args(command)
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()?;
        let pid = i32::try_from(started.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("not a process"))?;
        Ok(Self { pid, changes, ended: None, is_over: false })
    }

    pub(super) fn id(&self) -> i32 {
        self.pid.as_raw_pid()
    }

    /// Waits for the end of the process; its code. May be dropped and called again.
    pub(super) async fn ended(&mut self) -> u8 {
        loop {
            if let Some(code) = self.look() {
                return code;
            }
            self.changes.recv().await;
        }
    }

    /// Ends the whole group: asks by `signal`, waits until `deadline`, then kills. The code of the
    /// process.
    pub(super) async fn stop(&mut self, signal: Signal, deadline: Instant) -> u8 {
        self.signal(signal);
        let group = async {
            let code = self.ended().await;
            while self.group_is_there() {
                sleep(LOOK).await;
            }
            code
        };
        match timeout_at(deadline, group).await {
            Ok(code) => code,
            Err(_) => self.kill().await,
        }
    }

    /// Ends the whole group at once.
    pub(super) async fn kill(&mut self) -> u8 {
        self.signal(Signal::KILL);
        // A process that waits for a disk dies late: the gateway does not wait for it.
        let late = sleep_until(Instant::now() + Duration::from_secs(1));
        tokio::select! {
            code = self.ended() => code,
            () = late => killed(Signal::KILL.as_raw()),
        }
    }

    /// To each process of the group; none of them may be left.
    fn signal(&self, signal: Signal) {
        // The kernel gives the number to nobody else while the group has a member.
        if self.is_over {
            return;
        }
        match kill_process_group(self.pid, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => tracing::warn!(%error, "the command can't be signalled"),
        }
    }

    fn group_is_there(&mut self) -> bool {
        self.look();
        !self.is_over
    }

    /// The code, once there is one; takes in whatever has ended.
    fn look(&mut self) -> Option<u8> {
        if self.ended.is_none()
            && let Ok(Some((_, status))) = waitpid(Some(self.pid), WaitOptions::NOHANG)
        {
            self.ended = Some(code(status));
        }
        // The first process of a container inherits everybody's orphans.
        if self.ended.is_some() || getpid() == Pid::INIT {
            self.reap_others();
        }
        if self.ended.is_some() && !self.is_over {
            self.is_over = test_kill_process_group(self.pid).is_err();
        }
        self.ended
    }

    fn reap_others(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == self.pid {
                self.ended = Some(code(status));
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.signal(Signal::KILL);
        }
    }
}

/// As shells tell it.
fn code(status: WaitStatus) -> u8 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => u8::try_from(code & 0xff).unwrap_or(u8::MAX),
        (None, Some(signal)) => killed(signal),
        (None, None) => u8::MAX,
    }
}

fn killed(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

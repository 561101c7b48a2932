//! What a command is before it is the command: it asks to be told of its parent's death, and
//! becomes what it was started for.
//!
//! A verb between [`run`](super::run) and itself, of which no help tells, since only a process itself can ask the kernel for
//! that signal, and what it asks for outlives `exec`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use super::Failure;

/// The first argument that asks for this.
pub(super) const VERB: &str = "exec-command";

/// As shells have it: the command is not there, or can't be run.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;

/// The arguments after [`VERB`] are the parent's process id and the command.
pub(super) fn run(mut arguments: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let parent = arguments.next().and_then(|parent| parent.to_str()?.parse().ok());
    let (Some(parent), Some(program)) = (parent, arguments.next()) else {
        return Err(Failure::Usage("this verb is `run -- COMMAND`'s own".to_owned()));
    };
    set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|error| Failure::Running(error.to_string()))?;
    // Whoever has died before the line above sends no signal any more.
    if getppid() != Pid::from_raw(parent) {
        return Err(Failure::Running("the gateway has ended".to_owned()));
    }
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("error: {}: {error}", program.display());
    Err(Failure::Ended(match error.kind() {
        std::io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_RUN,
    }))
}

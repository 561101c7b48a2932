//! The `portcullis` program as a person or a process manager meets it: arguments, exit codes, what
//! it prints, signals.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::eventually;
use super::shell::Shell;

/// What became of a verb.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Told {
    /// Panics, with all it said, unless it ended with this exit code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }
}

/// The program in `folder`, with nothing of this process's settings.
pub(crate) fn portcullis(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.current_dir(folder).env_remove("PORTCULLIS_CONFIG").stdin(Stdio::null());
    command
}

/// Runs a verb in `folder` to its end.
pub(crate) fn told(folder: &Path, arguments: &[&str]) -> Told {
    told_of(portcullis(folder).args(arguments))
}

/// Runs a verb with this on its standard input.
pub(crate) fn told_with_input(folder: &Path, arguments: &[&str], input: &str) -> Told {
    let mut command = portcullis(folder);
    command.args(arguments).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    ended(child.wait_with_output().unwrap())
}

pub(crate) fn told_of(command: &mut Command) -> Told {
    ended(command.output().unwrap())
}

fn ended(output: std::process::Output) -> Told {
    Told {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

// === while it runs ===

/// The program while it runs; killed when it is dropped before it has ended.
pub(crate) struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// Starts `command`, whose output goes to files of `folder`.
    pub(crate) fn start(folder: &Path, command: &mut Command) -> Self {
        let (stdout, stderr) = (folder.join("stdout"), folder.join("stderr"));
        command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
        Self { child: command.spawn().unwrap(), stdout, stderr }
    }

    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// Waits until `look` finds something, of a program that goes on running.
    pub(crate) fn until<T>(&mut self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        eventually(what, || {
            // Looked at before the output, so that an end is not taken for silence.
            let ended = self.child.try_wait().unwrap();
            let found = look(self);
            if let (None, Some(status)) = (&found, ended) {
                panic!("{what}: ended with {status}: {}\n{}", self.stdout(), self.stderr());
            }
            found
        })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end; what it said to then.
    pub(crate) fn ended(mut self) -> Told {
        let status = eventually("the program ends", || self.child.try_wait().unwrap());
        Told { code: status.code(), stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

// === the demo ===

/// The last line that the demo prints before it serves.
const LAST: &str = "Ctrl-C drains and ends.";

/// A running demo.
pub(crate) struct Demo {
    pub(crate) program: Running,
    pub(crate) folder: PathBuf,
    /// What it printed, line by line, up to the last.
    pub(crate) lines: Vec<String>,
}

/// What one printed line said when it was run.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The comment that the line stands under.
    pub(crate) comment: String,
    pub(crate) line: String,
    pub(crate) said: String,
}

impl Demo {
    /// Starts it in `folder`, where its temporary files lie too, and waits for its last line.
    pub(crate) fn start(folder: &Path) -> Self {
        let temporary = folder.join("tmp");
        fs::create_dir_all(&temporary).unwrap();
        let mut command = portcullis(folder);
        command.arg("demo").env("TMPDIR", temporary);
        let mut program = Running::start(folder, &mut command);
        let lines = program.until("the demo prints its last line", |program| {
            let printed = program.stdout();
            let to = printed.find(&format!("{LAST}\n"))?;
            Some(printed[..to].lines().map(str::to_owned).collect())
        });
        Self { program, folder: folder.to_owned(), lines }
    }

    /// The lines that are to be run, each with its comment.
    pub(crate) fn commands(&self) -> Vec<(String, String)> {
        let (greeting, rest) = self.lines.split_first().unwrap();
        assert!(
            greeting.starts_with("Portcullis demo: gateway on https://localhost:"),
            "{greeting}"
        );
        let mut comment = None;
        let mut commands = Vec::new();
        for line in rest.iter().filter(|line| !line.is_empty()) {
            if let Some(text) = line.strip_prefix("# ") {
                comment = Some(text.to_owned());
            } else {
                let comment: &String = comment.as_ref().expect("a comment above every command");
                commands.push((comment.clone(), line.clone()));
            }
        }
        commands
    }

    /// Runs every printed line, in one shell.
    pub(crate) fn run_lines(&self) -> Vec<Ran> {
        let mut shell = Shell::new(&self.folder);
        let run = |(comment, line): (String, String)| {
            let said = shell.run(&line);
            Ran { comment, line, said }
        };
        self.commands().into_iter().map(run).collect()
    }

    /// The port of a printed URL.
    pub(crate) fn port(&self, after: &str) -> u16 {
        let place = self.lines.iter().find_map(|line| line.split_once(after)).expect(after).1;
        let digits: String = place.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    }
}

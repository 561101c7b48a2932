//! The demo's printed lines are for a shell and for curl: here they are run by both.

use std::io::Write;
use std::process::Stdio;

use rustix::process::Signal;

use crate::program;
use crate::support::program::{Demo, Ran};
use crate::support::tour;

/// Between the outputs of two lines.
const MARK: &str = "=== next ===";

#[test]
fn a_real_shell_and_curl_run_every_printed_line() {
    program("curl", "curl");
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path());
    let commands = demo.commands();
    let mut script = String::from("set -e\n");
    for (_, line) in &commands {
        script.push_str(&format!("{line}\nprintf '%s' '{MARK}'\n"));
    }
    let mut shell = program("sh", "dash")
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = shell.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{}: {stderr}", output.status);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let mut said: Vec<_> = stdout.split(MARK).collect();
    assert_eq!(said.pop(), Some(""));
    assert_eq!(said.len(), commands.len());
    let ran = commands.into_iter().zip(said);
    let ran = ran.map(|((comment, line), said)| Ran { comment, line, said: said.to_owned() });
    tour::expect(&ran.collect::<Vec<_>>());
    demo.program.signal(Signal::INT);
    demo.program.ended().expect(0);
}

//! `portcullis demo` as the README promises it: started, every line that it printed run, stopped.

use std::fs;
use std::net::TcpListener;

use rustix::process::Signal;

use crate::support::program::{Demo, portcullis, told};
use crate::support::tour;

/// The ports that the demo would like.
const WANTED: [u16; 5] = [8443, 8080, 9180, 9191, 9192];

#[test]
fn every_printed_line_does_what_it_says_and_the_end_is_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path());
    tour::expect(&demo.run_lines());
    // Nothing of it is lost when the demo is found by another verb.
    let admin = demo.port("curl -sS http://127.0.0.1:");
    let file = format!(
        "[listener.main]\naddress = \"127.0.0.1:0\"\n[[route]]\npath = \"/*\"\npublic = true\n\
         static = \".\"\n[admin]\naddress = \"127.0.0.1:{admin}\"\n"
    );
    fs::write(folder.path().join("gateway.toml"), file).unwrap();
    assert_eq!(told(folder.path(), &["healthcheck"]).expect(0).stdout, "ready\n");
    let reloaded = told(folder.path(), &["reload"]).expect(0);
    assert_eq!(reloaded.stdout, "installed as generation 2\n");
    tour::expect(&demo.run_lines());

    let temporary = folder.path().join("tmp");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 1, "the copied static files");
    demo.program.signal(Signal::INT);
    let ended = demo.program.ended().expect(0);
    assert!(ended.stderr.contains("drained"), "{}", ended.stderr);
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "nothing is left behind");
    for file in ["dev-ca.crt", "dev.crt", "dev.key"] {
        assert!(folder.path().join("certs").join(file).is_file(), "{file}");
    }
    // Whatever went through it is in the log, and no token is.
    let records = ended.stdout.lines().filter(|line| line.starts_with('{')).count();
    assert!(records >= 12, "{}", ended.stdout);
    assert!(!ended.stdout.contains("eyJ"), "{}", ended.stdout);
}

#[test]
fn busy_ports_are_replaced_and_the_lines_show_the_ones_taken() {
    // A port that can't be bound here is busy too.
    let held: Vec<_> = WANTED.iter().map(|&port| TcpListener::bind(("127.0.0.1", port))).collect();
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path());
    let printed = demo.lines.join("\n");
    for port in WANTED {
        assert!(!printed.contains(&format!(":{port}/")), "{printed}");
    }
    tour::expect(&demo.run_lines());
    demo.program.signal(Signal::INT);
    demo.program.ended().expect(0);
    drop(held);
}

#[test]
fn what_a_killed_demo_left_behind_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    // Killed, not asked to end.
    drop(Demo::start(folder.path()));
    let left = folder.path().join("tmp");
    let copies = || fs::read_dir(&left).unwrap().count();
    assert_eq!(copies(), 1);
    // The same certificate serves again, and the copy is another one.
    let certificate = fs::read(folder.path().join("certs/dev.crt")).unwrap();
    let second = Demo::start(folder.path());
    assert_eq!(fs::read(folder.path().join("certs/dev.crt")).unwrap(), certificate);
    assert_eq!(copies(), 2);
    second.program.signal(Signal::TERM);
    second.program.ended().expect(0);
    assert_eq!(copies(), 1);
}

#[test]
fn without_a_place_for_certificates_a_temporary_one_serves() {
    let folder = tempfile::tempdir().unwrap();
    // Root may write anywhere but into a file that is no folder.
    fs::write(folder.path().join("certs"), "").unwrap();
    let demo = Demo::start(folder.path());
    tour::expect(&demo.run_lines());
    demo.program.signal(Signal::INT);
    demo.program.ended().expect(0);
    assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn the_demo_takes_no_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let output = portcullis(folder.path()).args(["demo", "--port", "1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

//! `run -- COMMAND`: the gateway and an application of its own in one process tree, as a Procfile
//! starts them.

mod honcho;

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process};
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::program::{Running, portcullis, told_of};

/// A gateway on a unix socket before an application on another.
const CONFIGURATION: &str = "\
[listener.main]\naddress = \"unix:gateway.sock\"\n\
[upstream.app]\nendpoints = [\"unix:app.sock\"]\n\
[[route]]\npath = \"/*\"\nupstream = \"app\"\npublic = true\n\
[server]\nshutdown_timeout = \"0s\"\n\
[admin]\naddress = \"unix:admin.sock\"\n";

struct Site {
    folder: TempDir,
}

impl Site {
    fn new(configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("gateway.toml"), configuration).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the gateway with the application, with these options of its.
    fn start(&self, options: &[&str]) -> Running {
        let app = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/procfile/app.py");
        let mut command = portcullis(self.folder.path());
        command.args(["run", "--", "python3", app]).arg(self.folder.path()).args(options);
        Running::start(self.folder.path(), &mut command)
    }

    /// As `start`, and waits until the gateway listens.
    fn serve(&self, options: &[&str]) -> Running {
        let mut program = self.start(options);
        program.until("the gateway listens", |_| self.listens());
        program
    }

    fn listens(&self) -> Option<()> {
        UnixStream::connect(self.path("gateway.sock")).is_ok().then_some(())
    }

    fn client(&self) -> Client {
        Client::unix(&self.path("gateway.sock"))
    }

    fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    fn wait(&self, name: &str) {
        eventually(name, || self.has(name).then_some(()));
    }

    /// The application's process.
    fn app(&self) -> Pid {
        eventually("the application runs", || {
            Pid::from_raw(fs::read_to_string(self.path("pid")).ok()?.parse().ok()?)
        })
    }

    /// Nothing of the application is left, not even in the kernel's table.
    fn expect_nobody(&self) {
        let app = self.app();
        eventually("the application is gone", || test_kill_process(app).is_err().then_some(()));
        assert!(kill_process_group(app, Signal::TERM).is_err(), "somebody of its group goes on");
    }
}

#[test]
fn the_listeners_open_when_the_commands_socket_answers() {
    let site = Site::new(CONFIGURATION);
    // One that nobody answers at any more: left behind by a process that was killed.
    drop(UnixListener::bind(site.path("app.sock")).unwrap());
    let mut program = site.start(&["late"]);
    site.app();
    program.until("it waits", |program| {
        program.stderr().contains("waiting for its socket").then_some(())
    });
    assert!(!site.has("gateway.sock"));
    fs::remove_file(site.path("app.sock")).unwrap();
    fs::write(site.path("go"), "").unwrap();
    program.until("the gateway listens", |_| site.listens());
    let answer = site.client().get("/", "Connection: close\r\n").expect(200);
    assert_eq!(answer.text(), "hello");
    program.signal(Signal::TERM);
    program.ended().expect(0);
    site.expect_nobody();
}

#[test]
fn the_signal_to_stop_drains_and_then_reaches_the_command_whose_code_it_ends_with() {
    for (signal, name) in [(Signal::TERM, "got-SIGTERM"), (Signal::INT, "got-SIGINT")] {
        let site = Site::new(&CONFIGURATION.replace("\"0s\"", "\"25s\""));
        let mut program = site.serve(&["code=7"]);
        let mut client = site.client();
        client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
        site.wait("asked");
        program.signal(signal);
        program.until("it drains", |program| program.stderr().contains("draining").then_some(()));
        assert!(!site.has(name), "the command was told before the drain was over");
        fs::write(site.path("answer"), "").unwrap();
        assert_eq!(client.response().expect(200).text(), "hello");
        program.ended().expect(7);
        assert!(site.has(name));
        site.expect_nobody();
    }
}

#[test]
fn hangup_reloads_the_gateway_and_leaves_the_command_alone() {
    let site = Site::new(CONFIGURATION);
    let mut program = site.serve(&[]);
    program.signal(Signal::HUP);
    program.until("it reloads", |program| program.stderr().contains("reloaded").then_some(()));
    assert!(!site.has("got-SIGHUP"));
    program.signal(Signal::TERM);
    program.ended().expect(0);
}

#[test]
fn the_gateway_ends_with_its_command() {
    // A request that may be sent again would wait until the application is back.
    let at_once = CONFIGURATION.replace("app.sock\"]\n", "app.sock\"]\nretries = 0\n");
    for (path, code) in [("/end/0", 0), ("/end/3", 3), ("/killed", 128 + 9)] {
        let site = Site::new(&at_once);
        let program = site.serve(&[]);
        site.client().get(path, "Connection: close\r\n").expect(502);
        let told = program.ended().expect(code);
        assert!(told.stderr.contains("the command has ended: so does the gateway"));
        site.expect_nobody();
    }
    // Also where it never listened.
    let site = Site::new(CONFIGURATION);
    let mut command = portcullis(site.folder.path());
    let told = told_of(command.args(["run", "--", "sh", "-c", "exit 5"])).expect(5);
    assert!(told.stderr.contains("the command has ended before its socket answered"));
}

#[test]
fn a_command_that_does_not_end_is_killed_when_the_time_is_over() {
    let site = Site::new(CONFIGURATION);
    let program = site.serve(&["stubborn"]);
    program.signal(Signal::TERM);
    site.wait("got-SIGTERM");
    program.ended().expect(128 + 9);
    site.expect_nobody();
}

#[test]
fn whoever_insists_does_not_wait_for_the_command() {
    let site = Site::new(&CONFIGURATION.replace("\"0s\"", "\"10m\""));
    let mut program = site.serve(&["stubborn"]);
    program.signal(Signal::TERM);
    site.wait("got-SIGTERM");
    eventually("it ends long before the time is over", || {
        program.has_ended().then_some(()).or_else(|| {
            program.signal(Signal::TERM);
            None
        })
    });
    program.ended().expect(128 + 9);
    site.expect_nobody();
}

#[test]
fn a_command_is_stopped_too_while_its_socket_is_waited_for() {
    let site = Site::new(CONFIGURATION);
    let program = site.start(&["late", "code=4"]);
    site.app();
    program.signal(Signal::TERM);
    program.ended().expect(4);
    assert!(site.has("got-SIGTERM"));
    site.expect_nobody();
}

/// The kernel tells it: nobody else could.
#[test]
fn a_gateway_that_is_killed_leaves_no_command_behind() {
    let site = Site::new(CONFIGURATION);
    let program = site.serve(&[]);
    program.signal(Signal::KILL);
    site.wait("got-SIGTERM");
    site.expect_nobody();
}

#[test]
fn the_commands_own_children_end_with_it() {
    let site = Site::new(CONFIGURATION);
    let app = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/procfile/app.py");
    let script = format!("python3 {app} {} & wait", site.folder.path().display());
    let mut command = portcullis(site.folder.path());
    let mut program =
        Running::start(site.folder.path(), command.args(["run", "--", "sh", "-c", &script]));
    program.until("the gateway listens", |_| site.listens());
    program.signal(Signal::TERM);
    program.ended().expect(128 + 15);
    assert!(site.has("got-SIGTERM"));
    let app = site.app();
    eventually("the application is gone", || test_kill_process(app).is_err().then_some(()));
}

#[test]
fn what_can_not_work_is_told_before_anything_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let run = |configuration: &str, command: &[&str]| {
        fs::write(folder.path().join("gateway.toml"), configuration).unwrap();
        let mut program = portcullis(folder.path());
        told_of(program.args(["run", "--"]).args(command))
    };
    let touch = ["touch", "started"];
    let wrong = run(&CONFIGURATION.replace("upstream = \"app\"", "upstream = \"web\""), &touch);
    assert!(wrong.expect(2).stderr.contains("there is no upstream `web`"));
    let missing =
        format!("{CONFIGURATION}[[route]]\npath = \"/f/*\"\nstatic = \"none\"\npublic = true\n");
    assert!(run(&missing, &touch).expect(2).stderr.contains("can't be opened: "));
    let elsewhere = CONFIGURATION.replace("unix:app.sock", "http://app.example:8000");
    let elsewhere = run(&elsewhere, &touch).expect(2).stderr;
    assert!(elsewhere.contains("error: no upstream is on this machine"), "{elsewhere}");
    assert!(!Path::new(&folder.path().join("started")).exists());
    let nothing = run(CONFIGURATION, &["no-such-command"]).expect(127).stderr;
    assert!(nothing.contains("error: no-such-command: No such file or directory"), "{nothing}");
    run(CONFIGURATION, &["/"]).expect(126);
}

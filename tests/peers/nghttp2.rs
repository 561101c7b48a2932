//! HTTP/2 as nghttp2's own clients speak it.

use crate::program;
use crate::support::program::{Demo, told_of};
use crate::support::shell::Shell;

const PACKAGE: &str = "nghttp2-client";

#[test]
fn nghttp_fetches_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path());
    let url = format!("https://localhost:{}/static/hello.txt", demo.port("https://localhost:"));
    let said = told_of(program("nghttp", PACKAGE).args(["-v", &url])).expect(0).stdout;
    for line in ["The negotiated protocol: h2", ":status: 200", "content-type: text/plain"] {
        assert!(said.contains(line), "no {line:?}: {said}");
    }
    assert!(said.contains(include_str!("../../examples/demo/static/hello.txt").trim()), "{said}");
}

#[test]
fn h2load_loses_no_request_of_many_streams() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path());
    let mut shell = Shell::new(&demo.folder);
    let commands = demo.commands();
    for (_, line) in commands.iter().filter(|(comment, _)| comment.starts_with("a token ")) {
        shell.run(line);
    }
    let token = shell.run(r#"echo "$ACCESS""#);
    let authorization = format!("authorization: Bearer {}", token.trim());
    let url = format!("https://localhost:{}/api/hello", demo.port("https://localhost:"));
    let said = told_of(program("h2load", PACKAGE).args([
        "-n",
        "2000",
        "-c",
        "8",
        "-m",
        "32",
        "-H",
        &authorization,
        &url,
    ]))
    .expect(0)
    .stdout;
    for line in [
        "Application protocol: h2",
        "2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout",
        "status codes: 2000 2xx, 0 3xx, 0 4xx, 0 5xx",
    ] {
        assert!(said.contains(line), "no {line:?}: {said}");
    }
}

//! Node's own HTTP server behind `kind = "node"`.

use std::process::Stdio;

use crate::npm::{node, said};
use crate::support::client::Client;
use crate::support::gateway::Setup;
use crate::support::program::Running;

#[test]
fn node_takes_what_its_kind_lets_through() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = node("node-server.mjs");
    command.stdin(Stdio::null());
    let mut server = Running::start(folder.path(), &mut command);
    let port = server.until("the server listens", |program| {
        said(program).iter().find_map(|event| event["port"].as_u64())
    });
    let gateway = Setup::new().start(&format!(
        "[listener.main]\naddress = \"127.0.0.1:0\"\n\
         [server]\nmax_headers = {{ count = 200, size = \"60KiB\", line = \"16KiB\" }}\n\
         [upstream.web]\nendpoints = [\"http://127.0.0.1:{port}\"]\nkind = \"node\"\n\
         [upstream.raw]\nendpoints = [\"http://127.0.0.1:{port}\"]\n\
         [[route]]\npath = \"/*\"\nupstream = \"web\"\npublic = true\n\
         [[route]]\npath = \"/raw/*\"\nupstream = \"raw\"\npublic = true\n"
    ));
    let mut client = Client::tcp(gateway.address("main"));
    let mut ask = |path: &str, size: usize| {
        let value = "v".repeat(size);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nX-One: {value}\r\n\r\n"));
        client.response()
    };
    // Just below the kind's limit, which Node takes; beyond, the answer is ours and says why.
    assert_eq!(ask("/x", 15_500).status, 200);
    let refused = ask("/x", 16_300).expect(431);
    assert_eq!(refused.json()["code"], "headers_too_large");
    // What Node says itself, where nobody knows that it is Node.
    let its_own = ask("/raw/x", 16_350).expect(431);
    assert!(its_own.body.is_empty(), "{:?}", its_own.text());
    for body in [
        "Content-Length: 5\r\n\r\nhello".to_owned(),
        "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n".to_owned(),
    ] {
        let mut client = Client::tcp(gateway.address("main"));
        client.send(format!("POST /x HTTP/1.1\r\nHost: localhost\r\n{body}"));
        assert_eq!(client.response().expect(200).json()["length"], 5, "{body}");
        let streamed = client.get("/stream", "").expect(200);
        assert_eq!(streamed.text().lines().count(), 1000);
    }
}

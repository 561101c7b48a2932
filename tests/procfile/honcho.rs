//! The shipped Procfile, run by a process manager that others wrote.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::json;

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::program::Running;
use crate::support::stack::environment;
use crate::support::token::{Signer, now};
use crate::support::tools::tool;

const SECRET: &str = "q3Zt7Hn0sVb5Xw1Lr8Jk4Pd6Gf2MyCeA";

#[test]
fn honcho_runs_the_shipped_procfile() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/procfile");
    let folder = tempfile::tempdir().unwrap();
    for file in ["Procfile", "gateway.toml", "app.py"] {
        fs::copy(example.join(file), folder.path().join(file)).unwrap();
    }
    let gunicorn = environment(&example.join("requirements.txt")).join("bin");
    let gateway = Path::new(env!("CARGO_BIN_EXE_portcullis")).parent().unwrap();
    // Free now; a stranger that takes it meanwhile makes the gateway say so.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

    let mut honcho: Command = tool("honcho");
    honcho
        .current_dir(folder.path())
        .args(["start", "--port", &address.port().to_string()])
        .env("PATH", format!("{}:{}:/usr/bin:/bin", gateway.display(), gunicorn.display()))
        .env("TOKEN_SECRET", SECRET)
        .env("ROUTER_NETWORK", "127.0.0.0/8")
        .env("PYTHONUNBUFFERED", "1")
        .stdin(Stdio::null());
    let mut program = Running::start(folder.path(), &mut honcho);
    program.until("the port is open", |_| TcpStream::connect(address).ok());

    // As Heroku's router asks: one hop, whose word counts.
    let said = get(address, "/", "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n");
    assert_eq!(said, (200, "/ for nobody over https\n".to_owned()));
    assert_eq!(get(address, "/api/x", "").0, 401);
    let token = Signer::hmac(SECRET.as_bytes()).sign(&json!({
        "iss": "https://id.example.com/", "aud": "https://shop.example.com", "sub": "alice",
        "exp": now() + 60,
    }));
    let said = get(address, "/api/x", &format!("Authorization: Bearer {token}\r\n"));
    assert_eq!(said, (200, "/api/x for alice over http\n".to_owned()));

    program.signal(Signal::TERM);
    let told = program.ended();
    assert!(told.stdout.contains("drained"), "{}\n{}", told.stdout, told.stderr);
    eventually("the port is closed", || TcpStream::connect(address).is_err().then_some(()));
    eventually("Gunicorn has ended", || (!folder.path().join("app.sock").exists()).then_some(()));
}

fn get(address: SocketAddr, path: &str, headers: &str) -> (u16, String) {
    let mut client = Client::tcp(address);
    let response = client.get(path, &format!("Connection: close\r\n{headers}"));
    (response.status, response.text().to_owned())
}

//! H18, H19: slowhttptest's slow heads, bodies and readers, beside clients that mean well. More of
//! them than an endpoint takes requests: what is gathered and read ahead holds no place there.

use std::io::Write;
use std::net::SocketAddr;
use std::process::Stdio;

use crate::program;
use crate::support::client::Client;
use crate::support::gateway::Setup;
use crate::support::upstream::{Then, Upstream};

/// What one attack does to others: nothing. Each of them asks on a connection of its own.
fn beside(address: SocketAddr, attack: &[&str]) {
    let mut command = program("slowhttptest", "slowhttptest");
    command.args(attack).args(["-c", "300", "-r", "300", "-l", "8", "-i", "2", "-p", "2", "-u"]);
    command.arg(format!("http://{address}/big")).stdout(Stdio::null()).stderr(Stdio::null());
    let mut attacker = command.spawn().unwrap();
    let mut served = 0;
    while attacker.try_wait().unwrap().is_none() {
        Client::tcp(address).get("/", "Connection: close\r\n").expect(200);
        served += 1;
    }
    assert!(served > 20, "only {served} were served beside {attack:?}");
}

#[test]
fn h18_slow_clients_are_nobody_elses_problem() {
    let upstream = Upstream::start(|received, stream| {
        let length = if received.target() == "/big" { 1 << 20 } else { 7 };
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")?;
        stream.write_all(&vec![b'x'; length])?;
        Ok(Then::Keep)
    });
    let gateway = Setup::new().start(&format!(
        "[listener.main]\naddress = \"127.0.0.1:0\"\n\
         [upstream.web]\nendpoints = [\"{}\"]\nkind = \"wsgi\"\n\
         [[route]]\npath = \"/*\"\nupstream = \"web\"\npublic = true\n\
         [server]\nheader_timeout = \"2s\"\nbody_timeout = \"2s\"\nwrite_timeout = \"2s\"\n",
        upstream.url(),
    ));
    let address = gateway.address("main");
    beside(address, &["-H"]);
    beside(address, &["-B", "-s", "8192"]);
    beside(address, &["-X", "-w", "10", "-y", "20", "-n", "2", "-z", "8", "-k", "1"]);
    let late = "portcullis_rejects_total{reason=\"request_timeout\",route=\"-\"}";
    assert!(gateway.metric(late) > 0.0, "no slow head was told so");
}

//! Clients that go on asking while application servers come and go, and what arrived there.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;

use super::client::Client;
use super::eventually;
use super::load::Load;

/// What came of the requests.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) gets: usize,
    pub(crate) posts: usize,
    /// POSTs that were lost with a server that ended, and were not sent again.
    pub(crate) lost: usize,
    /// Times that a GET arrived more than once.
    pub(crate) again: usize,
}

/// A request, and the status it got.
struct Asked {
    method: &'static str,
    path: String,
    status: u16,
}

const CLIENTS: usize = 8;

/// Runs `during` beside clients of the gateway at `address`; it is given a function that waits until
/// so many more requests were answered. `arrived` holds `METHOD PATH ...` in a line for each request
/// that an application got.
///
/// Panics if a GET fails, or a POST in another way than by a 502, or arrives twice.
pub(crate) fn steadily(
    address: SocketAddr,
    arrived: &Path,
    during: impl FnOnce(&dyn Fn(usize)),
) -> Tally {
    let load = Load::default();
    let asked: Vec<Asked> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let load = &load;
                scope.spawn(move || load.run(|| client(address, number, load)))
            })
            .collect();
        load.run(|| {
            during(&|more: usize| {
                let then = load.served() + more;
                eventually("that many answers", || {
                    assert!(!load.is_stopped(), "a client failed");
                    (load.served() >= then).then_some(())
                });
            });
        });
        load.stop();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    judge(&asked, &counts(arrived))
}

/// Every fourth only posts.
fn client(address: SocketAddr, number: usize, load: &Load) -> Vec<Asked> {
    let method = if number % 4 == 3 { "POST" } else { "GET" };
    let mut asked = Vec::new();
    let mut client = None;
    while !load.is_stopped() {
        let path = format!("/quick/{number}-{}", asked.len());
        let connection = client.get_or_insert_with(|| Client::tcp(address));
        let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
        connection.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n"));
        let response = connection.try_response(method);
        let response = response.unwrap_or_else(|broken| panic!("{method} {path}: {broken}"));
        match (method, response.status) {
            (_, 200) => assert_eq!(response.text(), path),
            ("POST", 502) => assert_eq!(response.json()["code"], "upstream_failed"),
            (_, status) => panic!("{method} {path}: {status} {}", response.text()),
        }
        asked.push(Asked { method, path, status: response.status });
        load.count();
        if response.closes {
            client = None;
        }
    }
    asked
}

/// How often each `METHOD PATH` arrived.
pub(crate) fn counts(arrived: &Path) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in fs::read_to_string(arrived).unwrap_or_default().lines() {
        let words: Vec<_> = line.split(' ').take(2).collect();
        *counts.entry(words.join(" ")).or_default() += 1;
    }
    counts
}

/// Below those that the system gives to clients, which might take it while its server is away.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + u16::try_from(std::process::id() % 20_000).unwrap();
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn judge(asked: &[Asked], counts: &BTreeMap<String, usize>) -> Tally {
    let mut tally = Tally::default();
    for Asked { method, path, status } in asked {
        let times = counts.get(&format!("{method} {path}")).copied().unwrap_or_default();
        assert!(times > 0 || *status != 200, "{method} {path} was answered by nobody");
        match *method {
            "GET" => {
                tally.gets += 1;
                tally.again += times - 1;
            }
            _ => {
                assert!(times <= 1, "{method} {path} arrived {times} times");
                tally.posts += 1;
                tally.lost += usize::from(*status != 200);
            }
        }
    }
    tally
}

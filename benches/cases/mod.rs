//! The parts of a request's way through the gateway, each as a piece of work that can be done over
//! and over: timed by `parts`, counted by `instructions`.
//!
//! Every piece isolates one step on what an ordinary request brings (a head of eight lines, an
//! RS256 token of 640 bytes) and makes sure that the step succeeds. What is borrowed for the
//! program's life is leaked: each program is about one piece and ends.

mod head;
mod record;
mod route;
mod token;
mod upstream;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use hyper::Request;
use hyper::http::request::Parts;
use portcullis::config::Environment;
use portcullis::reload::Origin;
use portcullis::snapshot::{Snapshot, Surroundings, compile};

/// Does the piece once.
pub(crate) type Work = Box<dyn FnMut()>;

/// A piece's name, and how to make it ready.
type Piece = (&'static str, fn() -> Work);

/// Every piece, in the order of a request's way.
pub(crate) const ALL: &[Piece] = &[
    ("head/checked", head::checked),
    ("path/plain", head::path_plain),
    ("path/encoded", head::path_encoded),
    ("route/10", || route::among(10)),
    ("route/10000", || route::among(10_000)),
    ("token/remembered", token::remembered),
    ("token/rs256", || token::anew(token::RS256)),
    ("token/es256", || token::anew(token::ES256)),
    ("request/head", upstream::request_head),
    ("upstream/exchange", upstream::exchange),
    ("record/log_line", record::log_line),
    ("record/metrics", record::metrics),
];

const HOST: &str = "api.example.com";
const PATH: &str = "/api/v1/orders/4711";

/// The head of an ordinary request, as hyper hands it over.
fn parts() -> Parts {
    let request = Request::get(format!("{PATH}?expand=lines&page=2"))
        .header("host", HOST)
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101")
        .header("accept", "application/json")
        .header("accept-language", "en-GB,en;q=0.7,de;q=0.3")
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .header("authorization", format!("Bearer {}", token::RS256.token()))
        .header("cookie", "csrftoken=Zk3vJ8sZr5xTn2WmYb7LcPd4HgFaE6u")
        .header("referer", "https://app.example.com/orders")
        .body(());
    request.expect("a request").into_parts().0
}

/// A gateway with one public route to an upstream at this port, compiled and never started.
fn snapshot(port: u16) -> &'static Snapshot {
    let text = format!(
        "[listener.http]\naddress = \"127.0.0.1:0\"\n\n\
         [upstream.app]\nendpoints = [\"http://127.0.0.1:{port}\"]\n\n\
         [[route]]\npath = \"/api/*\"\nupstream = \"app\"\npublic = true\n"
    );
    let origin = Origin::Text { name: "gateway.toml".to_owned(), text, folder: "/".into() };
    let loaded = origin.load(&Environment::default()).expect("a good configuration");
    let surroundings = Surroundings::offline().expect("random bytes");
    let compiled = compile(&loaded, None, &surroundings).expect("a good configuration");
    Box::leak(Box::new(compiled.snapshot))
}

/// The outcome of a future that has nothing to wait for.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("it waits"),
    }
}

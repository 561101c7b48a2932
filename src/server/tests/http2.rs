//! HTTP/2: streams, drains, and clients that take nothing or take everything back.

use hyper::client::conn::http2::{Connection, SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_rustls::client::TlsStream;

use super::tls::{Names, gate, hello};
use super::*;
use crate::tls::server::Alpn;
use crate::tls::tickets::Tickets;

type Sender = SendRequest<http_body_util::Empty<Bytes>>;
type Link = Connection<TokioIo<TlsStream<TcpStream>>, http_body_util::Empty<Bytes>, TokioExecutor>;

async fn connect(gate: &Gate, names: &Names) -> (Sender, Link) {
    let stream = hello(gate, &names.client(&["h2"]), "example.com").await.unwrap();
    soon(handshake(TokioExecutor::new(), TokioIo::new(stream))).await.unwrap()
}

fn names() -> Names {
    Names::new(&[&["example.com"]])
}

fn ask(path: &str) -> Request<http_body_util::Empty<Bytes>> {
    let uri = format!("https://example.com{path}");
    Request::get(uri).body(http_body_util::Empty::new()).unwrap()
}

async fn body(response: Response<Incoming>) -> String {
    let body = Limited::new(response.into_body(), 1 << 20);
    #[expect(clippy::disallowed_methods, reason = "limited to 1 MiB")]
    let bytes = soon(body.collect()).await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn streams_are_served_side_by_side() {
    let names = names();
    let gate = gate(&names, Settings::default());
    let (mut sender, link) = connect(&gate, &names).await;
    tokio::spawn(link);
    let slow = sender.send_request(ask("/wait"));
    let quick = soon(sender.send_request(ask("/info"))).await.unwrap();
    assert!(quick.headers().get("connection").is_none());
    let expected = "0 Some(\"127.0.0.1\") Http2 Some((\"1.3\", Some(\"example.com\")))";
    assert_eq!(body(quick).await, expected);
    gate.handler.0.release.notify_one();
    assert_eq!(body(soon(slow).await.unwrap()).await, "waited");
}

#[tokio::test]
async fn a_drain_lets_streams_finish() {
    let names = names();
    let gate = gate(&names, Settings::default());
    let (mut sender, link) = connect(&gate, &names).await;
    let link = tokio::spawn(link);
    let (mut idle, idle_link) = connect(&gate, &names).await;
    let idle_link = tokio::spawn(idle_link);
    body(soon(idle.send_request(ask("/x"))).await.unwrap()).await;
    let slow = sender.send_request(ask("/wait"));
    let slow = tokio::spawn(slow);
    soon(gate.handler.0.entered.notified()).await;
    gate.acceptor.join();
    soon(idle_link).await.unwrap().unwrap();
    assert!(!link.is_finished());
    gate.handler.0.release.notify_one();
    assert_eq!(body(soon(slow).await.unwrap().unwrap()).await, "waited");
    soon(link).await.unwrap().unwrap();
    soon(gate.connections.drained()).await;
}

#[tokio::test]
async fn idle_and_silent_connections_are_closed() {
    let names = names();
    let settings =
        Settings { idle_timeout: millis(200), header_timeout: millis(200), ..Settings::default() };
    let gate = gate(&names, settings);
    let (mut sender, link) = connect(&gate, &names).await;
    let link = tokio::spawn(link);
    body(soon(sender.send_request(ask("/x"))).await.unwrap()).await;
    soon(link).await.unwrap().unwrap();
    let mut silent = hello(&gate, &names.client(&["h2"]), "example.com").await.unwrap();
    send(&mut silent, "PRI * HT").await;
    let mut settings_frame = Vec::new();
    let _reset_or_end = soon(silent.read_to_end(&mut settings_frame)).await;
    gate.until(|gate| gate.connections.open() == 0).await;
}

#[tokio::test]
async fn a_stream_whose_client_takes_nothing_is_reset() {
    let names = names();
    let gate = gate(&names, Settings { write_timeout: millis(300), ..Settings::default() });
    let (mut sender, link) = connect(&gate, &names).await;
    tokio::spawn(link);
    // Its window fills up, since nobody reads it; the connection itself stays writable.
    let mut stalled = soon(sender.send_request(ask("/big"))).await.unwrap().into_body();
    tokio::time::sleep(millis(600)).await;
    let error = soon(async {
        loop {
            match stalled.frame().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return error,
                None => panic!("the whole of it came"),
            }
        }
    })
    .await;
    assert!(!error.is_timeout(), "{error}");
    let next = soon(sender.send_request(ask("/next"))).await.unwrap();
    assert_eq!(body(next).await, "you asked for /next");
}

#[tokio::test]
async fn a_client_that_takes_back_what_it_asks_is_closed() {
    let names = names();
    let gate = gate(&names, Settings::default());
    let (mut sender, link) = connect(&gate, &names).await;
    let link = tokio::spawn(link);
    for turn in 0..1000 {
        if soon(sender.ready()).await.is_err() {
            assert!(turn > 100);
            break;
        }
        let request = tokio::spawn(sender.send_request(ask("/wait")));
        tokio::select! {
            () = gate.handler.0.entered.notified() => {}
            () = tokio::time::sleep(millis(200)) => {}
        }
        request.abort();
        let _cancelled = request.await;
    }
    let _closed = soon(link).await.unwrap();
    gate.until(|gate| gate.connections.open() == 0).await;
}

#[tokio::test]
async fn an_idle_connection_makes_room() {
    let names = names();
    let tls = names.server(&[Alpn::H2], &Arc::new(Tickets::new().unwrap()));
    let gate = Gate::start(Options { tls: Some(tls), max: 1, ..Options::default() });
    let (mut sender, link) = connect(&gate, &names).await;
    let link = tokio::spawn(link);
    body(soon(sender.send_request(ask("/x"))).await.unwrap()).await;
    gate.until(|gate| gate.connections.parked() == 1).await;
    body(soon(sender.send_request(ask("/x"))).await.unwrap()).await;
    gate.until(|gate| gate.connections.parked() == 1).await;
    let (mut second, second_link) = connect(&gate, &names).await;
    tokio::spawn(second_link);
    soon(link).await.unwrap().unwrap();
    let answer = soon(second.send_request(ask("/second"))).await.unwrap();
    assert_eq!(body(answer).await, "you asked for /second");
}

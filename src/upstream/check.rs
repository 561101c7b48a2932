//! Checks of endpoints that no client asked for.
//!
//! One task an upstream, on the control thread, as long as the upstream lives: it asks every
//! endpoint at the same time over connections of its own, so that an endpoint whose slots and pool
//! are taken is still seen. What it learns goes to `health`; a check that finds no time is a bad one.

use std::future::poll_fn;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use http_body_util::Empty;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at, timeout};

use super::connect::{MadeFor, connect};
use super::connection::Connection;
use super::health::Check;
use super::{Endpoint, Message, Protocol, Upstream};

/// Starts the checks of this upstream on the runtime of the caller.
pub(super) fn start(upstream: &Arc<Upstream>, check: &Check) {
    let (weak, check) = (Arc::downgrade(upstream), check.clone());
    tokio::spawn(async move { run(&weak, &check).await });
}

async fn run(upstream: &Weak<Upstream>, check: &Check) {
    // At once, then at the interval: what is down from the start should not be learned from clients.
    let mut ticks = interval_at(tokio::time::Instant::now(), check.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(upstream) = upstream.upgrade() else { return };
        let mut asked = JoinSet::new();
        let all = upstream.endpoints().iter().enumerate();
        for (index, endpoint) in all.filter(|(_, one)| !one.is_vacant()) {
            let (upstream, endpoint, check) =
                (Arc::clone(&upstream), Arc::clone(endpoint), check.clone());
            let id = endpoint.id();
            asked.spawn(async move { (index, id, is_good(&upstream, &endpoint, &check).await) });
        }
        while let Some(answer) = asked.join_next().await {
            if let Ok((index, id, good)) = answer
                && upstream.endpoints().get(index).is_some_and(|one| one.id() == id)
            {
                upstream.checked(index, good);
            }
        }
    }
}

/// Whether the endpoint answers as it should, in time.
async fn is_good(upstream: &Arc<Upstream>, endpoint: &Endpoint, check: &Check) -> bool {
    if upstream.protocol() == Protocol::Http2 {
        // What a gRPC server says to a GET says nothing about it.
        let Some((_, address)) = endpoint.reach() else { return false };
        return connect(&address, check.timeout, None).await.is_ok();
    }
    let status = timeout(check.timeout, status(upstream, endpoint, check)).await;
    status.ok().flatten().is_some_and(|status| (200..400).contains(&status))
}

async fn status(upstream: &Arc<Upstream>, endpoint: &Endpoint, check: &Check) -> Option<u16> {
    let mut connection = Connection::open(upstream, endpoint, MadeFor::default()).await.ok()?;
    let host = check.host.clone().unwrap_or_else(|| endpoint.host());
    let path = &check.path;
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: portcullis\r\naccept: */*\r\n\
         connection: close\r\n\r\n"
    );
    connection.send(Message {
        head: head.into_bytes(),
        body: Empty::<Bytes>::new(),
        length: Some(0),
        to_head: false,
        may_switch: false,
    });
    let response = poll_fn(|cx| connection.poll_head(cx)).await.ok()?;
    Some(response.status().as_u16())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU16, Ordering};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::Balance;
    use super::super::tests::on_ports;
    use super::*;
    use crate::upstream::balance::{Choice, Key};

    const SOON: Duration = Duration::from_millis(20);

    /// A server that answers every request with the status that is set; 0 answers nothing.
    async fn server(status: &Arc<AtomicU16>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, status) = (listener.local_addr().unwrap().port(), Arc::clone(status));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let status = status.load(Ordering::Relaxed);
                tokio::spawn(async move {
                    let read = stream.read(&mut [0; 1024]).await;
                    if status > 0 && read.is_ok() {
                        let text = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
                        drop(stream.write_all(text.as_bytes()).await);
                    } else {
                        tokio::time::sleep(Duration::from_secs(60)).await;
                    }
                });
            }
        });
        port
    }

    #[tokio::test]
    async fn an_endpoint_is_down_while_it_does_not_answer_well() {
        let (changing, steady) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicU16::new(204)));
        let ports = [server(&changing).await, server(&steady).await];
        let check = Check {
            path: "/healthz?a=b".to_owned(),
            host: None,
            interval: SOON,
            timeout: SOON * 10,
            fall: 2,
            rise: 2,
        };
        let settings = super::super::Settings {
            check: Some(check.clone()),
            ..on_ports(&ports, Balance::RoundRobin)
        };
        let upstream = Arc::new(Upstream::new(settings));
        start(&upstream, &check);
        for (status, up) in [(500, false), (302, true), (0, false), (200, true), (404, false)] {
            changing.store(status, Ordering::Relaxed);
            while upstream.endpoints()[0].health().is_up() != up {
                tokio::time::sleep(SOON).await;
            }
        }
        for _ in 0..4 {
            assert!(matches!(upstream.choose(&[], Key::None), Choice::Claimed(1, _)));
        }
        steady.store(503, Ordering::Relaxed);
        while upstream.endpoints()[1].health().is_up() {
            tokio::time::sleep(SOON).await;
        }
        assert!(matches!(upstream.choose(&[], Key::None), Choice::None));
    }
}

//! Which connection a request goes over, and how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::failures::closed_port;
use super::support::*;
use crate::upstream::Balance;

#[tokio::test]
async fn connections_are_used_again() {
    let upstream = Script::start(|_| ok("hello")).await;
    let mut gateway = Gateway::start(&[upstream.port]).await;
    for nth in 0..5 {
        let answer = gateway.get("/").await;
        assert_eq!((answer.verdict(), answer.text()), ("200", "hello"));
        let trace = gateway.trace().await;
        assert_eq!(trace.reused, nth > 0);
        assert_eq!((trace.attempts, trace.endpoint), (1, Some(0)));
        assert_eq!(trace.status.map(|status| status.as_u16()), Some(200));
        assert!(trace.first_byte.is_some());
    }
    assert_eq!(gateway.post("/", "body").await.verdict(), "200");
    let received = upstream.received();
    assert_eq!(received.len(), 6);
    assert!(received.iter().all(|request| request.connection == 0));
    assert_eq!(received[5].body, b"body");
    assert_eq!(gateway.upstream.in_flight(), 0);
    assert_eq!(gateway.upstream.open_connections(), 1);
    assert_eq!(gateway.pools.idle(&gateway.upstream), 1);
}

#[tokio::test]
async fn the_metrics_tell_connections_in_use_from_idle_ones() {
    let mut upstream = Script::start(|request| match request.line().split(' ').nth(1).unwrap() {
        "/stuck" => reply("", Then::Stall),
        "/close" => reply("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", Then::Close),
        _ => ok("hello"),
    })
    .await;
    let gateway = Gateway::start(&[upstream.port]).await;
    assert_eq!(gateway.connections(), (0, 0));
    gateway.get("/").await;
    assert_eq!(gateway.connections(), (0, 1));
    // The idle one is taken by a request that waits.
    let mut client = gateway.connect().await;
    let text = b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut client, text).await.unwrap();
    while upstream.received().len() < 2 {
        settle().await;
    }
    assert_eq!(gateway.connections(), (1, 0));
    gateway.get("/").await;
    assert_eq!(gateway.connections(), (1, 1));
    // A client that leaves closes what it waited on.
    drop(client);
    upstream.connection_ended().await;
    assert_eq!(gateway.connections(), (0, 1));
    gateway.get("/close").await;
    assert_eq!(gateway.connections(), (0, 0));
    gateway.get("/").await;
    gateway.pools.retain(&[]);
    assert_eq!(gateway.connections(), (0, 0));
}

#[tokio::test]
async fn every_kind_of_complete_response_leaves_the_connection_usable() {
    let upstream = Script::start(|request| {
        let text = match request.line().split(' ').nth(1).unwrap() {
            "/chunked" => {
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            }
            "/empty" => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
            "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
            _ => "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nxyz",
        };
        reply(text, Then::KeepAlive)
    })
    .await;
    let gateway = Gateway::start(&[upstream.port]).await;
    assert!(gateway.get("/chunked").await.text().contains("abc"));
    assert_eq!(gateway.get("/empty").await.verdict(), "200");
    assert_eq!(gateway.get("/204").await.verdict(), "204");
    assert_eq!(gateway.get("/304").await.verdict(), "304");
    let head = gateway.ask("HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(head.head.to_lowercase().contains("content-length: 1000"), "{}", head.head);
    assert_eq!(head.body, b"");
    assert_eq!(gateway.get("/interim").await.text(), "xyz");
    assert!(upstream.received().iter().all(|request| request.connection == 0));
}

#[tokio::test]
async fn a_connection_that_says_close_is_not_kept() {
    let upstream = Script::start(|_| {
        reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", Then::Close)
    })
    .await;
    let gateway = Gateway::start(&[upstream.port]).await;
    for nth in 0..3 {
        assert_eq!(gateway.get("/").await.text(), "hi");
        assert_eq!(gateway.pools.idle(&gateway.upstream), 0);
        assert_eq!(upstream.received()[nth].connection, nth);
    }
    assert_eq!(gateway.upstream.open_connections(), 0);
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection_arrives_whole() {
    let upstream =
        Script::start(|_| reply("HTTP/1.1 200 OK\r\n\r\nuntil the end", Then::Close)).await;
    let gateway = Gateway::start(&[upstream.port]).await;
    assert!(gateway.get("/").await.text().contains("until the end"));
}

#[tokio::test]
async fn a_connection_closed_while_idle_costs_nobody_anything() {
    let mut upstream =
        Script::start(|_| reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", Then::Close))
            .await;
    let gateway = Gateway::start(&[upstream.port]).await;
    for method in ["GET", "POST", "POST", "DELETE", "PATCH"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(gateway.ask(request).await.verdict(), "200");
        upstream.connection_ended().await;
        settle().await;
    }
    assert_eq!(upstream.received().len(), 5);
}

/// Reads the second request of a connection, then resets it.
async fn forgetful() -> Script {
    let seen = Arc::new(AtomicUsize::new(0));
    Script::start(move |request| {
        let first = seen.fetch_add(1, Ordering::Relaxed) == 0;
        match request.connection {
            0 if first => ok("first"),
            0 => reply("", Then::Reset),
            _ => ok("again"),
        }
    })
    .await
}

#[tokio::test]
async fn an_idempotent_request_lost_on_an_idle_connection_is_sent_once_more() {
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "PUT"] {
        let upstream = forgetful().await;
        let mut gateway = Gateway::start(&[upstream.port]).await;
        assert_eq!(gateway.get("/").await.text(), "first");
        gateway.trace().await;
        let answer = gateway.ask(format!("{method} /x HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(answer.verdict(), "200", "{method}");
        let trace = gateway.trace().await;
        assert_eq!((trace.attempts, trace.reused), (2, false));
        let received = upstream.received();
        assert_eq!(received.len(), 3);
        assert_eq!(received[1].head, received[2].head);
    }
}

#[tokio::test]
async fn any_other_request_is_never_sent_twice() {
    for request in [
        "POST /x HTTP/1.1\r\nHost: a\r\n\r\n",
        "PATCH /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab",
        "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab",
        "PURGE /x HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let upstream = forgetful().await;
        let gateway = Gateway::start(&[upstream.port]).await;
        assert_eq!(gateway.get("/").await.text(), "first");
        assert_eq!(gateway.ask(request).await.verdict(), "upstream_failed", "{request}");
        assert_eq!(upstream.received().len(), 2);
        assert_eq!(gateway.upstream.in_flight(), 0);
    }
}

#[tokio::test]
async fn a_request_lost_on_a_fresh_connection_is_sent_again_as_often_as_it_may_be() {
    for (retries, request, times) in [
        (2, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 3),
        (0, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        (2, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", 1),
        (2, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", 1),
    ] {
        let upstream = Script::start(|_| reply("", Then::Reset)).await;
        let mut setup = Setup::on(&[upstream.port]);
        setup.settings.retries = retries;
        let gateway = setup.start().await;
        assert_eq!(gateway.ask(request).await.verdict(), "upstream_failed");
        assert_eq!(upstream.received().len(), times, "{retries} {request}");
        assert_eq!(gateway.upstream.in_flight(), 0);
    }
}

#[tokio::test]
async fn what_one_endpoint_loses_another_answers() {
    let broken = Script::start(|_| reply("", Then::Reset)).await;
    let good = Script::start(|_| ok("here")).await;
    let gateway = Gateway::start(&[broken.port, good.port]).await;
    for _ in 0..20 {
        assert_eq!(gateway.get("/").await.text(), "here");
    }
    // Five in a row, and it is ejected.
    assert_eq!(broken.received().len(), 5);
    assert_eq!(gateway.upstream.endpoints()[0].in_flight(), 0);
    assert!(!gateway.upstream.endpoints()[0].health().is_up());
}

#[tokio::test]
async fn the_last_endpoint_is_never_ejected() {
    let (one, two) = (closed_port().await, closed_port().await);
    let gateway = Gateway::start(&[one, two]).await;
    for _ in 0..20 {
        assert_eq!(gateway.get("/").await.verdict(), "upstream_refused");
    }
    let up = gateway.upstream.endpoints().iter().filter(|one| one.health().is_up()).count();
    assert_eq!(up, 1);
}

#[tokio::test]
async fn round_robin_takes_turns_and_reuses_each_connection() {
    let (one, two) = (Script::start(|_| ok("1")).await, Script::start(|_| ok("2")).await);
    let gateway = Gateway::start(&[one.port, two.port]).await;
    let mut order = String::new();
    for _ in 0..8 {
        order.push_str(gateway.get("/").await.text());
    }
    assert_eq!(order, "12121212");
    for upstream in [one, two] {
        assert!(upstream.received().iter().all(|request| request.connection == 0));
    }
}

#[tokio::test]
async fn least_requests_avoids_an_endpoint_that_does_not_answer() {
    let stuck = Script::start(|_| reply("", Then::Stall)).await;
    let quick = Script::start(|_| ok("quick")).await;
    let mut setup = Setup::on(&[stuck.port, quick.port]);
    setup.settings.balance = Balance::LeastRequests;
    let gateway = setup.start().await;
    // One request at the most ends up there, and then holds it back from the others.
    let mut waiting = Vec::new();
    while stuck.received().is_empty() {
        let mut client = gateway.connect().await;
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut client, text).await.unwrap();
        waiting.push(client);
        settle().await;
    }
    for _ in 0..50 {
        assert_eq!(gateway.get("/").await.text(), "quick");
    }
    assert_eq!(stuck.received().len(), 1);
}

#[tokio::test]
async fn ten_thousand_requests_with_resets_and_no_replay() {
    // A third of the answers is followed by a close, a reset, or replaced by a reset.
    let turn = Arc::new(AtomicUsize::new(1));
    let upstream = Script::start(move |_| {
        let mut x = turn.fetch_add(0x9e37_79b9, Ordering::Relaxed);
        x = (x ^ (x >> 15)).wrapping_mul(0x2c1b_3c6d);
        match (x >> 8) % 12 {
            0 => reply("", Then::Reset),
            1 => reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Then::Reset),
            2 | 3 => reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Then::Close),
            _ => ok("ok"),
        }
    })
    .await;
    let gateway = Gateway::start(&[upstream.port]).await;
    let mut sent = Vec::new();
    for nth in 0..10_000 {
        let post = nth % 2 == 0;
        let answer = if post {
            gateway.post(&format!("/{nth}"), "x").await
        } else {
            gateway.get(&format!("/{nth}")).await
        };
        let verdict = answer.verdict().to_owned();
        assert!(["200", "upstream_failed"].contains(&verdict.as_str()), "{verdict}");
        sent.push((post, verdict));
    }
    let mut seen = vec![0; sent.len()];
    for request in upstream.received() {
        let path = request.line().split(' ').nth(1).unwrap();
        seen[path.trim_start_matches('/').parse::<usize>().unwrap()] += 1;
    }
    for (nth, (post, verdict)) in sent.iter().enumerate() {
        let most = if *post { 1 } else { 3 };
        assert!(seen[nth] <= most, "request {nth} was received {} times", seen[nth]);
        assert!(verdict != "200" || seen[nth] >= 1);
    }
    // Keeping connections works all the same.
    assert!(upstream.received().iter().map(|r| r.connection).max().unwrap() < 6_000);
    assert_eq!(gateway.upstream.in_flight(), 0);
}

/// A connection that had been idle breaks at every byte of the next answer, in both ways.
#[tokio::test]
async fn broken_off_at_any_byte_nothing_is_doubled_or_whole_and_no_count_stays() {
    const ANSWERS: [&str; 3] = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nok",
    ];
    for (index, answer) in ANSWERS.into_iter().enumerate() {
        for end in 0..answer.len() {
            for reset in [false, true] {
                // What ends with its connection is whole wherever it is closed.
                if index == 2 && !reset && end >= answer.len() - 2 {
                    continue;
                }
                let upstream = Script::start(move |request| match request.line() {
                    "GET /first HTTP/1.1" => ok("first"),
                    _ => reply(
                        &answer.as_bytes()[..end],
                        if reset { Then::Reset } else { Then::Close },
                    ),
                })
                .await;
                let gateway = Gateway::start(&[upstream.port]).await;
                assert_eq!(gateway.get("/first").await.text(), "first");
                let broken = gateway.post("/pay", "body").await;
                let shown = format!("{answer:?} {end} {reset}: {broken:?}");
                let whole = broken.head.starts_with("HTTP/1.1 200")
                    && (broken.body.ends_with(b"0\r\n\r\n") || broken.body == b"ok");
                assert!(!whole, "{shown}");
                let paid = upstream.received().iter().filter(|r| r.line().contains("/pay")).count();
                assert_eq!(paid, 1, "{shown}");
                let mut counts = (1, 1);
                for _ in 0..100 {
                    counts = (gateway.upstream.in_flight(), gateway.upstream.open_connections());
                    if counts == (0, 0) {
                        break;
                    }
                    settle().await;
                }
                assert_eq!(counts, (0, 0), "{shown}");
            }
        }
    }
}

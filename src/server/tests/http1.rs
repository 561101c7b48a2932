//! HTTP/1: framing of connections, heads that are refused, deadlines, parking.

use super::*;

#[tokio::test]
async fn requests_follow_each_other_also_in_one_packet() {
    let gate = Gate::with(Settings::default());
    let mut client = gate.connect().await;
    send(&mut client, get("/a")).await;
    let answer = read_until(&mut client, "asked for /a").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(!answer.contains("connection: close"), "{answer}");
    send(&mut client, [get("/1"), get("/2"), get("/3")].concat()).await;
    let answers = read_until(&mut client, "asked for /3").await;
    assert!(answers.contains("for /1HTTP/1.1") && answers.contains("for /2HTTP/1.1"), "{answers}");
}

#[tokio::test]
async fn a_head_may_come_byte_by_byte_and_through_a_parked_connection() {
    let gate = Gate::with(Settings::default());
    let mut client = gate.connect().await;
    for byte in get("/slow").bytes() {
        send(&mut client, [byte]).await;
    }
    read_until(&mut client, "asked for /slow").await;
    gate.until(|gate| gate.connections.parked() == 1).await;
    send(&mut client, "\r\n").await;
    send(&mut client, get("/again")).await;
    read_until(&mut client, "asked for /again").await;
    assert_eq!(gate.connections.parked(), 0);
    gate.until(|gate| gate.connections.parked() == 1).await;
    drop(client);
    gate.until(|gate| gate.connections.open() == 0).await;
    assert_eq!(gate.connections.parked(), 0);
    assert!(gate.refused().is_empty());
}

#[tokio::test]
async fn half_a_head_behind_a_request_survives_the_rest() {
    let gate = Gate::with(Settings::default());
    let mut client = gate.connect().await;
    send(&mut client, get("/first") + "GET /second HT").await;
    read_until(&mut client, "asked for /first").await;
    // Longer than it takes to rest: the half head must not be parked, nor lost.
    tokio::time::sleep(millis(1500)).await;
    assert_eq!(gate.connections.parked(), 0);
    send(&mut client, "TP/1.1\r\nhost: a\r\n\r\n").await;
    read_until(&mut client, "asked for /second").await;
}

#[tokio::test]
async fn blank_lines_are_no_head() {
    let settings = Settings { header_timeout: millis(300), ..Settings::default() };
    let gate = Gate::with(settings);
    let mut client = gate.connect().await;
    send(&mut client, "\r\n").await;
    gate.until(|gate| gate.connections.parked() == 1).await;
    send(&mut client, get("/x")).await;
    read_until(&mut client, "asked for /x").await;
}

#[tokio::test]
async fn bodies_are_read_and_the_connection_parks_after_them() {
    let gate = Gate::with(Settings::default());
    let mut client = gate.connect().await;
    let post = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
    send(&mut client, post).await;
    read_until(&mut client, "\r\n\r\nhello").await;
    gate.until(|gate| gate.connections.parked() == 1).await;
    let chunked = "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    send(&mut client, chunked).await;
    send(&mut client, "3\r\nabc\r\n").await;
    tokio::time::sleep(millis(1200)).await;
    send(&mut client, "2\r\nde\r\n0\r\n\r\n").await;
    read_until(&mut client, "\r\n\r\nabcde").await;
}

#[tokio::test]
async fn a_slow_head_gets_a_408() {
    let gate = Gate::with(Settings { header_timeout: millis(300), ..Settings::default() });
    let mut fresh = gate.connect().await;
    send(&mut fresh, "GET / HT").await;
    let mut used = gate.connect().await;
    send(&mut used, get("/ok")).await;
    read_until(&mut used, "asked for /ok").await;
    send(&mut used, "G").await;
    let mut parked = gate.connect().await;
    send(&mut parked, get("/ok")).await;
    read_until(&mut parked, "asked for /ok").await;
    gate.until(|gate| gate.connections.parked() >= 1).await;
    send(&mut parked, "GET / HTTP/1.1\r\nhost").await;
    let mut pipelined = gate.connect().await;
    send(&mut pipelined, get("/ok") + "GET / HTTP").await;
    read_until(&mut pipelined, "asked for /ok").await;
    for client in [&mut fresh, &mut used, &mut parked, &mut pipelined] {
        let answer = read_all(client).await;
        assert!(
            answer.starts_with("HTTP/1.1 408 Request Timeout\r\nconnection: close"),
            "{answer}"
        );
        assert!(answer.ends_with("content-length: 7\r\n\r\nTooSlow"), "{answer}");
    }
    assert_eq!(gate.refused(), [Refusal::TooSlow; 4]);
}

#[tokio::test]
async fn malformed_and_oversized_heads_are_recorded() {
    let gate = Gate::with(Settings::default());
    let cases = [
        ("GET / HTTP/1.1\r\nbad header: x\r\n\r\n".to_owned(), 400, Refusal::Malformed),
        ("\x00\x01\x02\r\n\r\n".to_owned(), 400, Refusal::Malformed),
        (format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(64 * 1024)), 431, Refusal::TooLong),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101)), 431, Refusal::TooLong),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 400, Refusal::Http2),
    ];
    for (head, status, refusal) in cases {
        let mut client = gate.connect().await;
        send(&mut client, &head).await;
        let answer = read_all(&mut client).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
        gate.until(|gate| !gate.refused().is_empty()).await;
        assert_eq!(std::mem::take(&mut *gate.handler.0.refused.lock()), [refusal]);
    }
    let mut client = gate.connect().await;
    send(&mut client, format!("GET /ok HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(99))).await;
    read_until(&mut client, "asked for /ok").await;
}

#[tokio::test]
async fn a_client_that_says_nothing_is_closed() {
    let gate = Gate::with(Settings { idle_timeout: millis(200), ..Settings::default() });
    let mut fresh = gate.connect().await;
    let mut used = gate.connect().await;
    send(&mut used, get("/ok")).await;
    read_until(&mut used, "asked for /ok").await;
    assert_eq!(read_all(&mut fresh).await, "");
    assert_eq!(read_all(&mut used).await, "");
    assert!(gate.refused().is_empty());
    gate.until(|gate| gate.connections.open() == 0).await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_closed() {
    let gate = Gate::with(Settings { write_timeout: millis(300), ..Settings::default() });
    let mut client = gate.connect().await;
    send(&mut client, get("/big")).await;
    read_until(&mut client, "\r\n\r\n").await;
    gate.until(|gate| gate.connections.open() == 0).await;
    let mut rest = Vec::new();
    soon(client.read_to_end(&mut rest)).await.unwrap_err();
}

#[tokio::test]
async fn a_response_before_the_end_of_an_upload_arrives() {
    let gate = Gate::with(Settings::default());
    let mut client = gate.connect().await;
    let (mut reader, mut writer) = client.split();
    let head = "POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 20000000\r\n\r\n";
    send(&mut writer, head).await;
    let upload = vec![b'x'; 20_000_000];
    // Reads only after it has sent everything, like many clients.
    soon(writer.write_all(&upload)).await.unwrap();
    let answer = read_until(&mut reader, "too large").await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn http_1_0_and_connection_close_end_the_connection() {
    let gate = Gate::with(Settings::default());
    for head in ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"]
    {
        let mut client = gate.connect().await;
        send(&mut client, head).await;
        assert!(read_all(&mut client).await.ends_with("asked for /"));
    }
}

#[tokio::test]
async fn a_body_that_outlives_its_response_is_never_taken_for_a_request() {
    let gate = Gate::with(Settings { header_timeout: millis(300), ..Settings::default() });
    let mut client = gate.connect().await;
    let inner = get("/smuggled");
    let head = format!("POST /hold HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", inner.len());
    send(&mut client, head + "GET /sm").await;
    read_until(&mut client, "held").await;
    // Longer than it takes to rest, and than a head may take.
    tokio::time::sleep(millis(1500)).await;
    gate.handler.0.release.notify_one();
    send(&mut client, inner.strip_prefix("GET /sm").unwrap()).await;
    gate.until(|gate| *gate.handler.0.held.lock() == [inner.len()]).await;
    send(&mut client, get("/after")).await;
    let answer = read_until(&mut client, "asked for /after").await;
    assert!(!answer.contains("smuggled"), "{answer}");
    assert!(gate.refused().is_empty());
}

#[test]
fn an_idle_connection_is_small() {
    fn of<F>(_: &impl Fn(Accepted, TestHandler) -> F) -> usize {
        size_of::<F>()
    }
    // 10,000 of them are to fit beside everything else.
    assert!(of(&serve::<TestHandler>) < 2048, "{}", of(&serve::<TestHandler>));
}

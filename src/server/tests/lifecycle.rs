//! Limits, updates and drains of a listener.

use tokio::net::UnixStream;

use super::*;

#[tokio::test]
async fn h19_the_longest_parked_makes_room() {
    let gate = Gate::start(Options { max: 1, ..Options::default() });
    let mut first = gate.connect().await;
    send(&mut first, get("/first")).await;
    read_until(&mut first, "asked for /first").await;
    gate.until(|gate| gate.connections.parked() == 1).await;
    let mut second = gate.connect().await;
    send(&mut second, get("/second")).await;
    read_until(&mut second, "asked for /second").await;
    assert_eq!(read_all(&mut first).await, "");
}

#[tokio::test]
async fn h19_at_the_limit_new_connections_wait() {
    let gate = Gate::start(Options { max: 1, ..Options::default() });
    let mut first = gate.connect().await;
    send(&mut first, get("/wait")).await;
    soon(gate.handler.0.entered.notified()).await;
    let mut second = gate.connect().await;
    send(&mut second, get("/second")).await;
    tokio::time::sleep(millis(100)).await;
    assert_eq!(gate.connections.open(), 1);
    gate.handler.0.release.notify_one();
    read_until(&mut first, "waited").await;
    drop(first);
    read_until(&mut second, "asked for /second").await;
}

#[tokio::test]
async fn h19_one_address_has_its_own_limit() {
    let gate = Gate::start(Options { per_address: 1, ..Options::default() });
    let mut first = gate.connect().await;
    send(&mut first, get("/first")).await;
    read_until(&mut first, "asked for /first").await;
    let mut second = gate.connect().await;
    let mut nothing = Vec::new();
    let _reset_or_end = soon(second.read_to_end(&mut nothing)).await;
    assert!(nothing.is_empty());
    drop(first);
    gate.until(|gate| gate.connections.open() == 0).await;
    let mut third = gate.connect().await;
    send(&mut third, get("/third")).await;
    read_until(&mut third, "asked for /third").await;
}

#[tokio::test]
async fn a_unix_listener_has_peers_without_address() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gate.sock");
    let address = ListenAddress::Unix(path.clone());
    let gate = Gate::start(Options { address, ..Options::default() });
    let mut client = UnixStream::connect(&path).await.unwrap();
    send(&mut client, get("/info")).await;
    read_until(&mut client, "0 None Http1 None").await;
    gate.acceptor.join();
    assert!(!path.exists());
    assert_eq!(read_all(&mut client).await, "");
    soon(gate.connections.drained()).await;
}

#[tokio::test]
async fn an_update_reaches_new_connections_on_the_same_socket() {
    let gate = Gate::with(Settings::default());
    let mut before = gate.connect().await;
    send(&mut before, get("/info")).await;
    read_until(&mut before, "0 Some(\"127.0.0.1\") Http1 None").await;
    gate.acceptor.update(ListenerState { listener: 7, ..gate.state.clone() });
    let mut after = gate.connect().await;
    send(&mut after, get("/info")).await;
    read_until(&mut after, "7 Some(\"127.0.0.1\") Http1 None").await;
    send(&mut before, get("/info")).await;
    read_until(&mut before, "0 Some(\"127.0.0.1\") Http1 None").await;
}

#[tokio::test]
async fn a_drain_loses_no_request_of_which_a_byte_was_read() {
    let gate = Gate::with(Settings::default());
    let mut idle = gate.connect().await;
    send(&mut idle, get("/x")).await;
    read_until(&mut idle, "asked for /x").await;
    let mut parked = gate.connect().await;
    send(&mut parked, get("/x")).await;
    read_until(&mut parked, "asked for /x").await;
    gate.until(|gate| gate.connections.parked() == 2).await;
    send(&mut idle, get("/x")).await;
    read_until(&mut idle, "asked for /x").await;

    let mut half = gate.connect().await;
    send(&mut half, "GET /half HTTP/1.1\r\nho").await;
    let mut behind = gate.connect().await;
    send(&mut behind, get("/x") + "GET /behind HT").await;
    read_until(&mut behind, "asked for /x").await;
    let mut working = gate.connect().await;
    send(&mut working, get("/wait")).await;
    soon(gate.handler.0.entered.notified()).await;
    let mut racing = gate.connect().await;
    send(&mut racing, get("/x")).await;
    read_until(&mut racing, "asked for /x").await;

    gate.acceptor.join();
    // A request that was on its way when the drain began.
    send(&mut racing, get("/racing")).await;
    let answer = read_all(&mut racing).await;
    assert!(answer.contains("connection: close") && answer.ends_with("/racing"), "{answer}");
    assert_eq!(read_all(&mut idle).await, "");
    assert_eq!(read_all(&mut parked).await, "");
    send(&mut half, "st: a\r\n\r\n").await;
    let answer = read_all(&mut half).await;
    assert!(answer.contains("connection: close") && answer.ends_with("/half"), "{answer}");
    send(&mut behind, "TP/1.1\r\nhost: a\r\n\r\n").await;
    let answer = read_all(&mut behind).await;
    assert!(answer.contains("connection: close") && answer.ends_with("/behind"), "{answer}");
    drop((racing, idle, parked, half, behind));
    gate.until(|gate| gate.connections.open() == 1).await;
    gate.handler.0.release.notify_one();
    let answer = read_all(&mut working).await;
    assert!(answer.contains("connection: close") && answer.ends_with("waited"), "{answer}");
    soon(gate.connections.drained()).await;
    TcpStream::connect(gate.address()).await.unwrap_err();
}

#[tokio::test]
async fn connections_that_wait_in_the_kernel_are_served_at_a_stop() {
    let gate = Gate::start(Options { max: 1, ..Options::default() });
    let mut first = gate.connect().await;
    send(&mut first, get("/wait")).await;
    soon(gate.handler.0.entered.notified()).await;
    gate.connections.set_limits(10, 0);
    let mut waiting: Vec<TcpStream> = Vec::new();
    for _ in 0..5 {
        let mut client = gate.connect().await;
        send(&mut client, get("/last")).await;
        waiting.push(client);
    }
    gate.acceptor.join();
    for client in &mut waiting {
        assert!(read_all(client).await.ends_with("asked for /last"));
    }
    gate.handler.0.release.notify_one();
    assert!(read_all(&mut first).await.ends_with("waited"));
    soon(gate.connections.drained()).await;
}

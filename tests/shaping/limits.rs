use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use parking_lot::Mutex;

use super::*;

#[test]
fn an_exchange_has_a_time_as_a_whole() {
    // Never answers, or never ends its answer.
    let upstream = Upstream::start(|request, stream| {
        if request.target() == "/body" {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")?;
        }
        std::thread::sleep(crate::support::HUNG);
        Ok(Then::Close)
    });
    let text = r#"
        [[route]]
        path = "/*"
        upstream = "app"
        public = true
        timeout = "300ms"
    "#;
    let place = Place::start(upstream, text);
    for mut caller in place.both() {
        let response = caller.get("/head", &[]).expect(504);
        assert_eq!(response.json()["code"], "upstream_timeout");
    }
    let mut client = place.plain();
    client.send("GET /body HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(client.try_response("GET").is_err(), "cut, and never a whole one");
    let records = place.gateway.records_of("/body", 1);
    assert_eq!(records[0]["reason"], "upstream_timeout");
    assert_eq!(records[0]["status"], 200);
}

#[test]
fn a_route_takes_only_so_many_at_once() {
    let (hold, held) = channel::<Sender<()>>();
    let hold = Arc::new(Mutex::new(hold));
    let upstream = Upstream::start(move |request, stream| {
        if request.target() == "/few/held" {
            let (go, wait) = channel();
            hold.lock().send(go).unwrap();
            // Whoever waited has gone if this fails.
            let _gone = wait.recv().is_err();
        }
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        Ok(Then::Keep)
    });
    let text = r#"
        [[route]]
        path = "/few/*"
        upstream = "app"
        public = true
        max_in_flight = 1
        [[route]]
        path = "/*"
        upstream = "app"
        public = true
    "#;
    let place = Place::start(upstream, text);
    let mut first = place.plain();
    first.send("GET /few/held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let go = held.recv().unwrap();
    for mut caller in place.both() {
        let refused = caller.get("/few/x", &[]).expect(503);
        assert_eq!(refused.json()["code"], "queue_full");
        assert!(refused.header("retry-after").is_some());
        caller.get("/many", &[]).expect(200);
    }
    go.send(()).unwrap();
    first.response().expect(200);
    // The record is written when the place is given back.
    place.gateway.records_of("/few/held", 1);
    place.plain().get("/few/x", "").expect(200);
    let records = place.gateway.records_of("/few/x", 3);
    assert_eq!(records[0]["detail"], "max_in_flight", "{}", records[0]);
}

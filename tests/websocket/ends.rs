//! Streams end with the token that began them (J26): tunnels, and responses where the route says so.

use super::*;

use serde_json::json;

use crate::revocation::order;
use crate::support::certificate::Certificate;
use crate::support::client::Broken;
use crate::support::h2::{H2, Pieces};

/// An event stream that goes on for as long as anybody takes it.
fn ticks(request: &Received, stream: &mut TcpStream) -> io::Result<Then> {
    if request.target().contains("ws") {
        return echoes(request, stream);
    }
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")?;
    write!(stream, "Transfer-Encoding: chunked\r\n\r\n")?;
    loop {
        write!(stream, "8\r\ndata: x\n\r\n")?;
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

const ADMIN: &str = "[admin]\naddress = \"unix:admin.sock\"";

#[track_caller]
fn is_open(client: &mut Client) {
    client.send("still here");
    assert_eq!(client.read_exactly(10), b"still here");
}

#[track_caller]
fn ended_for(place: &Place, path: &str, status: u16, reason: &str) {
    let records = place.gateway.records_of(path, 1);
    let found = records.iter().find(|record| record["reason"] == reason);
    assert_eq!(found.map(|record| &record["status"]), Some(&json!(status)), "{records:?}");
}

#[test]
fn j26_a_tunnel_is_cut_when_its_token_ends() {
    let place = Place::start("", "", echoes);
    let mut short = place.tunnel(&token("ada", 2));
    let mut long = place.tunnel(&token("bob", 600));
    is_open(&mut short);
    place.clock.set(UnixTime::from_secs(NOW + 2));
    // Not a byte of ours, in a stream that is not ours.
    short.expect_end();
    is_open(&mut long);
    ended_for(&place, "/api/ws", 101, "token_expired");
    let sample = "portcullis_rejects_total{reason=\"token_expired\",route=\"/api/*\"}";
    assert_eq!(place.gateway.metric(sample), 1.0);
}

#[test]
fn a_tunnel_is_an_open_connection_until_it_ends() {
    let place = Place::start("", "", echoes);
    let open = "portcullis_listener_connections{listener=\"main\",state=\"active\"}";
    let mut first = place.tunnel(&token("ada", 600));
    let mut second = place.tunnel(&token("bob", 600));
    is_open(&mut first);
    is_open(&mut second);
    assert_eq!(place.gateway.metric(open), 2.0);
    drop(first);
    eventually("one is closed", || (place.gateway.metric(open) == 1.0).then_some(()));
    is_open(&mut second);
    drop(second);
    eventually("both are closed", || (place.gateway.metric(open) == 0.0).then_some(()));
}

#[test]
fn j26_a_tunnel_is_cut_when_its_token_is_revoked_and_no_other_is() {
    let place = Place::start("grace = \"1h\"", ADMIN, echoes);
    let mut ada = place.tunnel(&token("ada", 600));
    let mut bob = place.tunnel(&token("bob", 600));
    let mut other = place.tunnel(&token("ada", 900));
    let revoke = |line: serde_json::Value| order(&place.gateway, "POST", &line.to_string());
    revoke(json!({ "issuer": "main", "jti": "ada-600", "until": NOW + 600 })).expect(200);
    ada.expect_end();
    is_open(&mut bob);
    is_open(&mut other);
    revoke(json!({ "issuer": "main", "sub": "ada" })).expect(200);
    other.expect_end();
    is_open(&mut bob);
    ended_for(&place, "/api/ws", 101, "token_revoked");
}

#[test]
fn j26_grace_lets_a_tunnel_outlive_its_token() {
    let place = Place::start("grace = \"10m\"", "", echoes);
    let strict = Place::start("", "", echoes);
    let off = Place::start("end_with_token = \"off\"", "", echoes);
    let token = token("ada", 2);
    let (mut graced, mut cut, mut free) =
        (place.tunnel(&token), strict.tunnel(&token), off.tunnel(&token));
    for place in [&place, &strict, &off] {
        place.clock.set(UnixTime::from_secs(NOW + 300));
    }
    cut.expect_end();
    is_open(&mut graced);
    is_open(&mut free);
    // A new one needs a token that counts now.
    let headers = format!("{ASKS}{}", bearer(&token));
    place.client("GET /api/ws", &headers, "").response().expect(401);
}

#[test]
fn j26_responses_are_cut_where_the_route_says_all() {
    let routes = "end_with_token = \"all\"";
    let place = Place::start(routes, "", ticks);
    let mut client = place.client("GET /api/events", &bearer(&token("ada", 2)), "");
    // Nor does it help to have asked for a switch that the application did not make.
    let headers = format!("{ASKS}{}", bearer(&token("ada", 2)));
    let mut disguised = place.client("GET /api/disguised", &headers, "");
    // Later, the token would be refused before anything could be cut.
    eventually("the application is asked", || (place.upstream.count() == 2).then_some(()));
    let mut tunnel = place.tunnel(&token("ada", 2));
    place.clock.set(UnixTime::from_secs(NOW + 2));
    // Without its last chunk: nobody takes it for a whole one.
    let broken = client.try_response("GET").err();
    assert!(matches!(broken, Some(Broken::Cut(_))), "{broken:?}");
    let broken = disguised.try_response("GET").err();
    assert!(matches!(broken, Some(Broken::Cut(_))), "{broken:?}");
    tunnel.expect_end();
    ended_for(&place, "/api/events", 200, "token_expired");
    ended_for(&place, "/api/ws", 101, "token_expired");
}

#[test]
fn j26_responses_over_http2_are_reset() {
    let upstream = Upstream::start(ticks);
    let setup = Setup::new();
    let certificate = Certificate::make(setup.folder());
    let tls =
        "[listener.main.tls]\ncertificates = [{ cert = \"server.crt\", key = \"server.key\" }]";
    let text = configuration(&upstream.url(), "end_with_token = \"all\"", ADMIN)
        .replace("[issuer.main]", &format!("{tls}\n[issuer.main]"));
    let place = Place::of(setup, upstream, &text);
    let client = H2::tls(place.gateway.address("main"), &certificate.client("h2"));
    let request = hyper::Request::get("https://localhost/api/events")
        .header("authorization", format!("Bearer {}", token("ada", 600)))
        .body(Pieces::default())
        .unwrap();
    let begun = client.begin(request);
    eventually("the application is asked", || (place.upstream.count() == 1).then_some(()));
    let line = json!({ "issuer": "main", "sub": "ada" }).to_string();
    order(&place.gateway, "POST", &line).expect(200);
    let broken = client.finish(begun).unwrap_err();
    assert!(broken.starts_with("body: ") && broken.contains("INTERNAL_ERROR"), "{broken}");
    ended_for(&place, "/api/events", 200, "token_revoked");
}

#[test]
fn responses_outlive_their_token_where_the_route_does_not_say_all() {
    let place = Place::start("", ADMIN, ticks);
    let mut client = place.client("GET /api/events", &bearer(&token("ada", 600)), "");
    assert_eq!(client.head().status, 200);
    let mut tunnel = place.tunnel(&token("ada", 600));
    order(&place.gateway, "POST", &json!({ "issuer": "main", "sub": "ada" }).to_string())
        .expect(200);
    // Whoever would be cut has been.
    tunnel.expect_end();
    assert!(!client.read_exactly(4096).is_empty());
}

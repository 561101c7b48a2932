//! Switches that only one side makes, and other ways to smuggle bytes past the gateway (H12).

use super::*;

#[test]
fn h12_bytes_before_the_switch_are_requests_until_the_application_switches() {
    let place = Place::start("", "", |request, stream| match request.target() {
        "/public/ws" => {
            write!(stream, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")?;
            Ok(Then::Keep)
        }
        _ => echoes(request, stream),
    });
    // Refused: what was sent with it is the next request, and asks for a token like any other.
    let smuggled = "GET /api/secret HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut client = place.client("GET /public/ws", ASKS, smuggled);
    assert_eq!(client.response().status, 403);
    assert_eq!(client.response().status, 401);
    assert_eq!(place.upstream.count(), 1);
    // Switched: the same bytes are the tunnel's, and nobody's request.
    let mut client = place.client("GET /public/echo", ASKS, smuggled);
    is_switched(&client.head());
    assert_eq!(client.read_exactly(smuggled.len()), smuggled.as_bytes());
    assert_eq!(place.upstream.count(), 2);
    let received = place.upstream.received();
    for request in &received {
        assert_eq!(request.headers("connection"), ["upgrade"]);
        assert_eq!(request.headers("upgrade"), ["websocket"]);
        assert_eq!(request.headers("sec-websocket-key").len(), 1);
        assert_eq!(request.headers("x-forwarded-for"), ["127.0.0.1"]);
    }
}

#[test]
fn h12_a_switch_to_something_else_is_502() {
    let place = Place::start("", "", |request, stream| {
        let head = match request.target() {
            "/public/unnamed" => "Connection: upgrade\r\n",
            "/public/h2c" => "Connection: upgrade\r\nUpgrade: h2c\r\n",
            "/public/both" => "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
            "/public/silent" => return Ok(Then::Close),
            _ => "Upgrade: websocket\r\n",
        };
        write!(stream, "HTTP/1.1 101 Switching Protocols\r\n{head}\r\nHTTP/1.1 200 OK\r\n\r\n")?;
        Ok(Then::Keep)
    });
    for (path, code) in [
        ("unnamed", "upstream_bad_response"),
        ("h2c", "upstream_bad_response"),
        ("both", "upstream_bad_response"),
        ("unsaid", "upstream_bad_response"),
        ("silent", "upstream_failed"),
    ] {
        let mut client = place.client(&format!("GET /public/{path}"), ASKS, "");
        let refused = client.response().expect(502);
        assert_eq!(refused.json()["code"], code, "{path}");
    }
    // And to nobody's request.
    let mut client = place.client("GET /public/unnamed", "", "");
    client.response().expect(502);
}

#[test]
fn h12_the_token_and_the_route_come_first() {
    let place = Place::start("", "", echoes);
    let mut client = place.client("GET /api/ws", ASKS, "");
    assert_eq!(client.response().expect(401).json()["code"], "token_missing");
    let mut client = place.client("GET /off/ws", ASKS, "");
    assert_eq!(client.response().expect(403).json()["code"], "forbidden");
    assert_eq!(place.upstream.count(), 0);
    let refused = place.gateway.records_of("/off/ws", 1).remove(0);
    assert_eq!(refused["detail"], "websocket_off");
    place.tunnel(&token("ada", 600));
}

#[test]
fn h12_what_is_no_websocket_is_an_ordinary_request() {
    let place = Place::start("", "", |_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        Ok(Then::Keep)
    });
    let with_body = format!("{ASKS}Content-Length: 5\r\n");
    let h2c = ASKS.replace("websocket", "h2c");
    let both = ASKS.replace("websocket", "h2c, websocket");
    let unnamed = ASKS.replace("keep-alive, Upgrade", "keep-alive");
    for (line, headers, after) in [
        ("POST /public/a", &*with_body, "hello"),
        ("GET /public/a", &*with_body, "hello"),
        ("GET /public/a", &*h2c, ""),
        ("GET /public/a", &*both, ""),
        ("GET /public/a", &*unnamed, ""),
        ("HEAD /public/a", ASKS, ""),
    ] {
        let mut client = place.client(line, headers, after);
        let method = line.split(' ').next().unwrap();
        assert_eq!(client.try_response(method).unwrap().status, 200, "{line} {headers}");
    }
    assert_eq!(place.upstream.count(), 6);
    for request in place.upstream.received() {
        assert!(request.headers("upgrade").is_empty(), "{}", request.head);
        assert!(request.headers("connection").is_empty(), "{}", request.head);
    }
}

//! Proxies in front of the gateway: whose word counts, how far, and what the application is told.

use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::{Received, Upstream};

struct Place {
    gateway: Gateway,
    upstream: Upstream,
}

impl Place {
    /// A public route on a TCP and a unix listener; `trusted` is `server.trusted_proxies`.
    fn start(trusted: &str) -> Self {
        let upstream = Upstream::saying("reached");
        let setup = Setup::new();
        let socket = setup.folder().join("gateway.sock");
        let text = format!(
            r#"
            [listener.plain]
            address = "127.0.0.1:0"
            [listener.local]
            address = "unix:{}"
            [[route]]
            path = "/*"
            upstream = "{}"
            public = true
            [server]
            trusted_proxies = {trusted}
            "#,
            socket.display(),
            upstream.url(),
        );
        Self { gateway: setup.start(&text), upstream }
    }

    fn unix(&self) -> Client {
        Client::unix(&self.gateway.folder().join("gateway.sock"))
    }

    fn tcp(&self) -> Client {
        Client::tcp(self.gateway.address("plain"))
    }

    /// What the application got of a request with these lines.
    fn told(&self, mut client: Client, lines: &str) -> Received {
        let before = self.upstream.count();
        client.get("/x", lines).expect(200);
        self.upstream.received()[before].clone()
    }
}

fn forwarded(received: &Received) -> [String; 4] {
    ["x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-port"]
        .map(|name| received.headers(name).concat())
}

#[test]
fn h11_a_trusted_proxy_is_believed_as_far_as_trusted_hops_reach() {
    let place = Place::start(r#"["127.0.0.0/8", "10.0.0.0/8"]"#);
    let lines = "X-Forwarded-For: 10.9.9.9, evil\r\nX-Forwarded-For: 203.0.113.9, 10.0.0.2\r\n\
                 X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\n\
                 X-Forwarded-Prefix: /evil\r\nX-Real-IP: 10.9.9.9\r\n";
    let received = place.told(place.tcp(), lines);
    let expected = ["203.0.113.9, 10.0.0.2, 127.0.0.1", "203.0.113.9", "https", "443"];
    assert_eq!(forwarded(&received), expected);
    assert_eq!(received.headers("x-forwarded-host"), ["localhost"]);
    assert!(!received.head.contains("evil") && !received.head.contains("10.9.9.9"));
    let standard = "Forwarded: for=10.9.9.9, for=\"[2001:db8::9]:80\";proto=https\r\n\
                    X-Forwarded-Port: 8443\r\n";
    let received = place.told(place.tcp(), standard);
    assert_eq!(forwarded(&received), ["2001:db8::9, 127.0.0.1", "2001:db8::9", "https", "8443"]);
    assert!(received.headers("forwarded").is_empty());
    let logged: Vec<_> = place.gateway.records(2).iter().map(|r| r["client_ip"].clone()).collect();
    assert_eq!(logged, ["203.0.113.9", "2001:db8::9"]);
}

#[test]
fn h11_a_proxy_that_is_not_trusted_tells_nothing() {
    let place = Place::start(r#"["10.0.0.0/8", "unix"]"#);
    let lines = "X-Forwarded-For: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\n\
                 X-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\n";
    let port = place.gateway.address("plain").port().to_string();
    let received = place.told(place.tcp(), lines);
    let [chain, client, scheme, told_port] = forwarded(&received);
    assert_eq!([chain, client, scheme], ["127.0.0.1", "127.0.0.1", "http"]);
    assert_ne!(told_port, "1", "{port}");
    assert_eq!(place.gateway.records(1)[0]["client_ip"], "127.0.0.1");
}

#[test]
fn h11_each_peer_is_trusted_for_itself() {
    let place = Place::start(r#"["127.0.0.2"]"#);
    let lines = "X-Forwarded-For: 203.0.113.9\r\n";
    for (peer, chain) in [([127, 0, 0, 2], "203.0.113.9, 127.0.0.2"), ([127, 0, 0, 3], "127.0.0.3")]
    {
        let client = Client::tcp_from(peer.into(), place.gateway.address("plain"));
        assert_eq!(place.told(client, lines).headers("x-forwarded-for"), [chain]);
    }
}

#[test]
fn h11_a_unix_socket_is_a_peer_to_trust_or_not() {
    let lines = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n";
    let trusting = Place::start(r#"["unix"]"#);
    let received = trusting.told(trusting.unix(), lines);
    assert_eq!(forwarded(&received)[..3], ["203.0.113.9", "203.0.113.9", "https"]);
    let silent = Place::start("[]");
    let received = silent.told(silent.unix(), lines);
    assert_eq!(forwarded(&received)[..3], ["", "", "http"]);
    assert!(silent.gateway.records(1)[0].get("client_ip").is_none());
}

#[test]
fn h11_two_stories_about_the_client_are_refused() {
    let place = Place::start(r#"["127.0.0.1"]"#);
    let lines = "X-Forwarded-For: 203.0.113.9\r\nForwarded: for=10.9.9.9\r\n";
    let refused = place.tcp().get("/x", lines).expect(400);
    assert_eq!(refused.json()["code"], "bad_request");
    assert_eq!(place.upstream.count(), 0);
    let record = &place.gateway.records(1)[0];
    assert_eq!(record["detail"], "`Forwarded` and `X-Forwarded-*` disagree");
}

#[test]
fn h11_a_client_that_no_hop_can_name_has_no_address_of_its_own() {
    let place = Place::start(r#"["127.0.0.1", "10.0.0.0/8"]"#);
    let received = place.told(place.tcp(), "X-Forwarded-For: 10.9.9.9, unknown, 10.0.0.2\r\n");
    assert_eq!(forwarded(&received)[..2], ["10.0.0.2, 127.0.0.1", ""]);
    // The record names the hop that could not tell.
    assert_eq!(place.gateway.records(1)[0]["client_ip"], "10.0.0.2");
}

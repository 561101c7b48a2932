//! Who may come in, how often, and with how many bad tokens. Clients are told apart by their
//! addresses, all of which are of 127.0.0.0/8.

use crate::support::Response;
use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::issuer::{Issuer, Mood};
use crate::support::token::{ISSUER, SECRET, Signer, claims, ec, tampered};
use crate::support::upstream::Upstream;

struct Place {
    gateway: Gateway,
    upstream: Upstream,
}

impl Place {
    /// With these routes and settings behind the listener, the issuers and the upstream.
    fn start(more: &str) -> Self {
        let upstream = Upstream::saying("reached");
        let text = configuration(&upstream, more);
        let gateway = Setup::new().variable("KEY", SECRET).start(&text);
        Self { gateway, upstream }
    }

    fn reload(&self, more: &str) {
        self.gateway.reload(&configuration(&self.upstream, more)).unwrap();
    }

    /// One request of the client whose address ends so.
    fn ask(&self, client: u8, path: &str, lines: &str) -> Response {
        let address = self.gateway.address("plain");
        Client::tcp_from([127, 0, 0, client].into(), address).get(path, lines)
    }

    fn token(&self, client: u8, path: &str, token: &str) -> Response {
        self.ask(client, path, &format!("Authorization: Bearer {token}\r\n"))
    }
}

fn configuration(upstream: &Upstream, more: &str) -> String {
    format!(
        r#"
        [listener.plain]
        address = "127.0.0.1:0"
        [issuer.main]
        url = "{ISSUER}"
        audience = ["api"]
        secret = "${{KEY}}"
        [upstream.web]
        endpoints = ["{}"]
        {more}
        "#,
        upstream.url()
    )
}

fn token(sub: &str) -> String {
    Signer::hmac(SECRET.as_bytes()).sign(&claims(ISSUER, sub))
}

#[track_caller]
fn is_limited(response: &Response, by: &str) {
    assert_eq!(response.status, 429, "{}", response.text());
    assert_eq!(response.json()["code"], "rate_limited");
    let wait: u64 = response.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&wait), "{wait}");
    let told = response.header("ratelimit").unwrap();
    assert_eq!(told, format!("\"{by}\";r=0;t={wait}"));
}

#[test]
fn a_route_is_limited_by_address() {
    let place = Place::start(
        r#"
        [[route]]
        name = "limited"
        path = "/limited/*"
        upstream = "web"
        public = true
        rate_limit = { rate = "2/d", burst = 2 }
        [[route]]
        path = "/free/*"
        upstream = "web"
        public = true
        "#,
    );
    place.ask(1, "/limited/a", "").expect(200);
    place.ask(1, "/limited/b", "X-Forwarded-For: 192.0.2.1\r\n").expect(200);
    let limited = place.ask(1, "/limited/c", "X-Forwarded-For: 192.0.2.2\r\n");
    is_limited(&limited, "ip");
    assert_eq!(limited.header("ratelimit-policy"), Some("\"ip\";q=2;w=86400"));
    place.ask(2, "/limited/a", "").expect(200);
    place.ask(1, "/free/a", "").expect(200);
    assert_eq!(place.upstream.count(), 4);
    let sample = |result: &str| {
        let sample = format!(
            "portcullis_rate_limit_requests_total{{result=\"{result}\",route=\"limited\"}}"
        );
        place.gateway.metric(&sample)
    };
    assert_eq!((sample("allowed"), sample("limited")), (3.0, 1.0));
    let records = place.gateway.records_of("/limited/c", 1);
    assert_eq!(
        (&records[0]["reason"], &records[0]["detail"]),
        (&"rate_limited".into(), &"ip".into())
    );
}

#[test]
fn waiting_as_long_as_told_lets_one_more_in() {
    let place = Place::start(
        r#"
        [[route]]
        path = "/*"
        upstream = "web"
        public = true
        rate_limit = { rate = "2/s", burst = 1 }
        "#,
    );
    place.ask(1, "/a", "").expect(200);
    crate::support::eventually("the account is whole again", || {
        (place.ask(1, "/a", "").status == 200).then_some(())
    });
}

#[test]
fn a_header_or_claim_has_an_account_and_its_absence_has_the_address() {
    let place = Place::start(
        r#"
        [[route]]
        path = "/key/*"
        upstream = "web"
        public = true
        rate_limit = { rate = "1/d", by = "header:X-Api-Key" }
        [[route]]
        path = "/sub/*"
        upstream = "web"
        rate_limit = { rate = "1/d", by = "claim:sub" }
        [[route]]
        path = "/tenant/*"
        upstream = "web"
        rate_limit = { rate = "1/d", by = "claim:/org/id" }
        "#,
    );
    place.ask(1, "/key/a", "X-Api-Key: one\r\n").expect(200);
    is_limited(&place.ask(2, "/key/a", "X-Api-Key: one\r\n"), "header");
    place.ask(1, "/key/a", "X-Api-Key: two\r\n").expect(200);
    // Leaving the header out is no way around the limit.
    place.ask(1, "/key/a", "").expect(200);
    is_limited(&place.ask(1, "/key/a", ""), "header");
    place.ask(2, "/key/a", "").expect(200);

    place.token(1, "/sub/a", &token("ada")).expect(200);
    is_limited(&place.token(2, "/sub/a", &token("ada")), "claim");
    place.token(2, "/sub/a", &token("bob")).expect(200);
    // Nobody spends from an account that is not theirs: a bad token is not counted for its claim.
    for _ in 0..3 {
        place.token(1, "/sub/a", &tampered(&token("eve"))).expect(401);
    }
    place.token(1, "/sub/a", &token("eve")).expect(200);

    let hmac = Signer::hmac(SECRET.as_bytes());
    let of = |org: serde_json::Value, sub: &str| {
        let mut claims = claims(ISSUER, sub);
        claims["org"] = serde_json::json!({ "id": org });
        hmac.sign(&claims)
    };
    place.token(1, "/tenant/a", &of(7.into(), "ada")).expect(200);
    is_limited(&place.token(2, "/tenant/a", &of(7.into(), "bob")), "claim");
    place.token(2, "/tenant/a", &of(serde_json::json!([7]), "ada")).expect(200);
    is_limited(&place.token(2, "/tenant/a", &of(serde_json::json!([8]), "ada")), "claim");
}

#[test]
fn several_limits_all_have_to_hold() {
    let place = Place::start(
        r#"
        [[route]]
        path = "/*"
        upstream = "web"
        rate_limit = [
          { rate = "3/d", by = "ip" },
          { rate = "1/d", by = "claim:sub" },
        ]
        "#,
    );
    place.token(1, "/a", &token("ada")).expect(200);
    is_limited(&place.token(1, "/a", &token("ada")), "claim");
    place.token(1, "/a", &token("bob")).expect(200);
    is_limited(&place.token(1, "/a", &token("eve")), "ip");
}

#[test]
fn accounts_outlive_a_reload_that_does_not_change_them() {
    let routes = |rate: &str, more: &str| {
        format!(
            "[[route]]\nname = \"a\"\npath = \"/a/*\"\nupstream = \"web\"\npublic = true\n\
             rate_limit = {{ rate = \"{rate}\" }}\n{more}"
        )
    };
    let place = Place::start(&routes("1/d", ""));
    place.ask(1, "/a/x", "").expect(200);
    is_limited(&place.ask(1, "/a/x", ""), "ip");
    let other = "[[route]]\npath = \"/b/*\"\nupstream = \"web\"\npublic = true\n";
    place.reload(&routes("1/d", other));
    place.ask(1, "/b/x", "").expect(200);
    is_limited(&place.ask(1, "/a/x", ""), "ip");
    place.reload(&routes("2/d", other));
    place.ask(1, "/a/x", "").expect(200);
}

#[test]
fn only_listed_addresses_come_in() {
    let place = Place::start(
        r#"
        [[route]]
        path = "/*"
        upstream = "web"
        allow_ips = ["127.0.0.8/30", "203.0.113.0/24"]
        [server]
        trusted_proxies = ["127.0.0.2"]
        "#,
    );
    place.token(8, "/a", &token("ada")).expect(200);
    for (client, lines) in [
        (1, ""),
        // A stranger's word about itself, and a trusted proxy's about strangers.
        (1, "X-Forwarded-For: 203.0.113.9\r\n"),
        (2, ""),
        (2, "X-Forwarded-For: 198.51.100.1\r\n"),
        (2, "X-Forwarded-For: 203.0.113.9, 198.51.100.1\r\n"),
        (2, "X-Forwarded-For: 203.0.113.9, unknown\r\n"),
        (2, "Forwarded: for=_hidden\r\n"),
    ] {
        let line = format!("{lines}Authorization: Bearer {}\r\n", token("ada"));
        let refused = place.ask(client, "/a", &line).expect(403);
        assert_eq!(refused.json()["code"], "address_not_allowed", "{client} {lines}");
    }
    // Before anything is said about tokens.
    place.ask(1, "/a", "").expect(403);
    let line = format!("X-Forwarded-For: 203.0.113.9\r\nAuthorization: Bearer {}\r\n", token("a"));
    place.ask(2, "/a", &line).expect(200);
    assert_eq!(place.upstream.count(), 2);
}

const GUARDED: &str = r#"
    [[route]]
    path = "/*"
    upstream = "web"
    [server]
    bad_tokens = { rate = "1/d", burst = 5 }
    trusted_proxies = ["127.0.0.2"]
    "#;

#[test]
fn whoever_floods_with_bad_tokens_is_not_verified_any_more() {
    let place = Place::start(GUARDED);
    // Made once: a second later it would be another token.
    let ada = token("ada");
    place.token(1, "/a", &ada).expect(200);
    for n in 0..5 {
        place.token(1, "/a", &tampered(&token(&format!("eve{n}")))).expect(401);
    }
    for token in [tampered(&token("eve")), token("new"), "a.b.c".to_owned()] {
        let refused = place.token(1, "/a", &token).expect(429);
        assert_eq!(refused.json()["code"], "rate_limited");
        assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() > 80_000);
        assert!(refused.header("www-authenticate").is_none());
    }
    // Neither the cached token nor anybody else is concerned.
    place.token(1, "/a", &ada).expect(200);
    place.token(3, "/a", &token("new")).expect(200);
    place.ask(1, "/a", "").expect(401);
    let records = place.gateway.records(12);
    let refused: Vec<_> = records.iter().filter(|record| record["status"] == 429).collect();
    assert_eq!(refused.len(), 3);
    assert_eq!(refused[0]["detail"], "too_many_bad_tokens");
    assert_eq!(refused[0]["auth"]["result"], "rate_limited");
}

#[test]
fn behind_a_trusted_proxy_each_client_has_its_own_budget() {
    let place = Place::start(GUARDED);
    let ask = |client: &str, token: &str| {
        let lines = format!("X-Forwarded-For: {client}\r\nAuthorization: Bearer {token}\r\n");
        place.ask(2, "/a", &lines)
    };
    let bad = tampered(&token("eve"));
    for n in 0..5 {
        ask(&format!("2001:db8:0:1::{n}"), &bad).expect(401);
    }
    ask("2001:db8:0:1:ffff::1", &token("ada")).expect(429);
    ask("2001:db8:0:2::1", &token("ada")).expect(200);
    // What the client wrote left of its own address opens no fresh account.
    for n in 0..5 {
        ask(&format!("192.0.2.{n}, 198.51.100.1"), &bad).expect(401);
    }
    ask("192.0.2.77, 198.51.100.1", &token("bob")).expect(429);
}

#[test]
fn the_guard_can_be_switched_off_and_an_outage_costs_nobody_anything() {
    let issuer = Issuer::start(&[ec()]);
    issuer.set(Mood::Failing);
    let live = format!(
        "[issuer.live]\nurl = \"{}\"\naudience = [\"api\"]\n[[route]]\npath = \"/live/*\"\n\
         upstream = \"web\"\nissuers = [\"live\"]\n[[route]]\npath = \"/*\"\nupstream = \"web\"\n\
         issuers = [\"main\"]\n[server]\n",
        issuer.url()
    );
    let place = Place::start(&format!("{live}bad_tokens = {{ rate = \"1/d\", burst = 2 }}\n"));
    let signed = ec().sign(&claims(&issuer.url(), "ada"));
    for _ in 0..10 {
        place.token(1, "/live/a", &signed).expect(503);
    }
    issuer.set(Mood::Well);
    crate::support::eventually("the keys arrive", || {
        (place.token(1, "/live/a", &signed).status == 200).then_some(())
    });

    place.reload(&format!("{live}bad_tokens = \"off\"\n"));
    for _ in 0..60 {
        place.token(1, "/a", &tampered(&token("eve"))).expect(401);
    }
}

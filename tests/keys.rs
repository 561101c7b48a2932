//! Issuers that rotate, remove keys, fail and stall, seen through a whole gateway.

use std::time::Duration;

use portcullis::clock::Clock;
use serde_json::json;

use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::issuer::{Issuer, Mood};
use crate::support::token::{self, Signer, claims};
use crate::support::upstream::Upstream;
use crate::support::{Response, eventually};

/// A gateway whose one route asks for a token of one issuer.
struct Guarded {
    gateway: Gateway,
    upstream: Upstream,
    issuer: Issuer,
}

impl Guarded {
    fn start(issuer: Issuer, settings: &str) -> Self {
        Self::start_with(Setup::new(), issuer, settings)
    }

    fn start_with(setup: Setup, issuer: Issuer, settings: &str) -> Self {
        let upstream = Upstream::saying("reached");
        let gateway = setup.start(&configuration(&issuer, &upstream, settings));
        Self { gateway, upstream, issuer }
    }

    /// Waits until the issuer's keys have arrived.
    fn ready(self) -> Self {
        eventually("keys", || (self.gateway.admin("/readyz").status == 200).then_some(()));
        self
    }

    fn client(&self) -> Client {
        Client::tcp(self.gateway.address("main"))
    }

    /// Asks once, over a connection of its own.
    fn ask(&self, token: &str) -> Response {
        ask(&mut self.client(), token)
    }

    fn good(&self, signer: &Signer) -> String {
        signer.good(&self.issuer.url(), "ada")
    }
}

fn configuration(issuer: &Issuer, upstream: &Upstream, settings: &str) -> String {
    format!(
        r#"
        [listener.main]
        address = "127.0.0.1:0"
        [issuer.main]
        url = "{}"
        audience = ["api"]
        identity_headers = {{ "X-User" = "sub" }}
        {settings}
        [[route]]
        path = "/*"
        upstream = "{}"
        [server]
        # One client asks until something changes; the guard has tests of its own.
        bad_tokens = "off"
        "#,
        issuer.url(),
        upstream.url(),
    )
}

fn ask(client: &mut Client, token: &str) -> Response {
    client.get("/x", &format!("Authorization: Bearer {token}\r\n"))
}

#[track_caller]
fn refused(response: &Response, status: u16, reason: &str) {
    let problem = response.json();
    assert_eq!((response.status, problem["code"].as_str()), (status, Some(reason)), "{problem}");
}

#[test]
fn every_kind_of_key_is_found_by_discovery() {
    let issuer = Issuer::start(&[token::rsa(), token::ec(), token::ed()]);
    let guarded = Guarded::start(issuer, "").ready();
    for signer in [token::rsa(), token::ec(), token::ed()] {
        let token = guarded.good(signer);
        guarded.ask(&token).expect(200);
        refused(&guarded.ask(&token::tampered(&token)), 401, "bad_signature");
    }
    let received = guarded.upstream.received();
    assert_eq!(received.len(), 3, "a refused token's request went on");
    for request in received {
        assert_eq!(request.headers("x-user"), ["ada"]);
    }
    assert_eq!(guarded.issuer.fetches(), 1);
    assert_eq!(guarded.issuer.requests(), 2, "metadata and keys, once each");
}

#[test]
fn a_rotated_key_is_accepted_within_one_forced_fetch() {
    let (old, new) = (Signer::new_ec("old"), Signer::new_ec("new"));
    let guarded = Guarded::start(Issuer::start(&[&old]), "unknown_kid_cooldown = \"1s\"").ready();
    let (by_old, by_new) = (guarded.good(&old), guarded.good(&new));
    guarded.ask(&by_old).expect(200);
    guarded.issuer.publish(&[&old, &new]);
    // Refused while the fetch at the start cools down; the request that comes after it waits for
    // the one fetch that it forces, and is served.
    let mut client = guarded.client();
    eventually("the new key counts", || {
        let response = ask(&mut client, &by_new);
        if response.status != 200 {
            refused(&response, 401, "unknown_key");
            assert_eq!(guarded.issuer.fetches(), 1);
        }
        (response.status == 200).then_some(())
    });
    guarded.ask(&by_old).expect(200);
    assert_eq!(guarded.issuer.fetches(), 2);
}

#[test]
fn a_removed_keys_tokens_are_refused_cached_or_not() {
    let (old, new) = (Signer::new_ec("old"), Signer::new_ec("new"));
    let guarded = Guarded::start(Issuer::start(&[&old]), "unknown_kid_cooldown = \"1s\"").ready();
    let (cached, fresh) = (guarded.good(&old), old.good(&guarded.issuer.url(), "another"));
    // On several connections, so that every worker's own cache knows it.
    let mut clients: Vec<_> = (0..8).map(|_| guarded.client()).collect();
    for client in &mut clients {
        ask(client, &cached).expect(200);
        ask(client, &cached).expect(200);
    }
    guarded.issuer.publish(&[&new]);
    let by_new = guarded.good(&new);
    eventually("the new key counts", || (guarded.ask(&by_new).status == 200).then_some(()));
    let reached = guarded.upstream.count();
    for client in &mut clients {
        refused(&ask(client, &cached), 401, "unknown_key");
        refused(&ask(client, &fresh), 401, "unknown_key");
    }
    assert_eq!(guarded.upstream.count(), reached);
}

#[test]
fn a_key_of_the_same_name_is_not_the_same_key() {
    let (before, after) = (Signer::new_ec("same"), Signer::new_ec("same"));
    let guarded =
        Guarded::start(Issuer::start(&[&before]), "unknown_kid_cooldown = \"1s\"").ready();
    let cached = guarded.good(&before);
    let mut client = guarded.client();
    ask(&mut client, &cached).expect(200);
    guarded.issuer.publish(&[&after]);
    let stranger = Signer::new_ec("stranger").good(&guarded.issuer.url(), "ada");
    eventually("another fetch", || {
        refused(&guarded.ask(&stranger), 401, "unknown_key");
        (guarded.issuer.fetches() > 1).then_some(())
    });
    eventually("the new key counts", || {
        (guarded.ask(&guarded.good(&after)).status == 200).then_some(())
    });
    refused(&ask(&mut client, &cached), 401, "bad_signature");
}

#[test]
fn j31_good_tokens_go_on_while_the_issuer_fails() {
    let issuer = Issuer::start(&[token::ec()]);
    let guarded = Guarded::start(issuer, "unknown_kid_cooldown = \"1s\"").ready();
    let (cached, unknown) = (guarded.good(token::ec()), guarded.good(&Signer::new_ec("unknown")));
    let mut client = guarded.client();
    ask(&mut client, &cached).expect(200);
    guarded.issuer.set(Mood::Failing);
    // As long as the last fetch was good its word counts; then nobody knows.
    eventually("a failed fetch", || {
        let response = ask(&mut client, &unknown);
        (response.status != 401).then(|| refused(&response, 503, "keys_unavailable"))
    });
    for round in 0..20 {
        ask(&mut client, &cached).expect(200);
        let fresh = token::ec().good(&guarded.issuer.url(), &format!("user-{round}"));
        ask(&mut client, &fresh).expect(200);
        refused(&ask(&mut client, &token::tampered(&fresh)), 401, "bad_signature");
    }
    guarded.issuer.set(Mood::Well);
    guarded.gateway.admin("/readyz").expect(200);
}

#[test]
fn good_tokens_do_not_wait_for_an_issuer_that_stalls() {
    let issuer = Issuer::start(&[token::ec()]);
    let guarded = Guarded::start(issuer, "unknown_kid_cooldown = \"1s\"").ready();
    guarded.issuer.set(Mood::Stalling);
    let before = guarded.issuer.requests();
    let unknown = guarded.good(&Signer::new_ec("unknown"));
    eventually("a fetch that stalls", || {
        guarded.ask(&unknown);
        (guarded.issuer.requests() > before).then_some(())
    });
    let good = guarded.good(token::ec());
    let mut waiting = guarded.client();
    waiting.send(format!("GET /w HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {unknown}\r\n\r\n"));
    for _ in 0..50 {
        guarded.ask(&good).expect(200);
    }
    // It stalls still, so the one that waited learnt nothing: not a verdict on the token.
    refused(&waiting.response(), 503, "keys_unavailable");
}

#[test]
fn j31_a_gateway_whose_issuer_was_never_reached_is_not_ready_and_says_503() {
    let issuer = Issuer::start(&[token::ec()]);
    issuer.set(Mood::Failing);
    let guarded = Guarded::start(issuer, "unknown_kid_cooldown = \"1s\"");
    let good = guarded.good(token::ec());
    assert_eq!(guarded.gateway.admin("/readyz").status, 503);
    let response = guarded.ask(&good);
    refused(&response, 503, "keys_unavailable");
    assert_eq!(response.header("retry-after"), Some("5"));
    assert_eq!(response.header("www-authenticate"), None, "it is not the token's fault");
    guarded.issuer.set(Mood::Well);
    let guarded = guarded.ready();
    guarded.ask(&good).expect(200);
    assert_eq!(guarded.upstream.count(), 1);
}

#[test]
fn cached_tokens_end_with_their_exp_and_old_keys_with_stale_for() {
    let start = Clock::system().wall();
    let clock = Clock::fixed(start);
    let setup = Setup::new().clock(&clock);
    let issuer = Issuer::start(&[token::ec()]);
    let settings = "leeway = \"0s\"\nstale_for = \"2h\"";
    let guarded = Guarded::start_with(setup, issuer, settings).ready();
    // Of the same clock: the system's may have begun another second since.
    let token = |hours: u64| {
        let mut claims = claims(&guarded.issuer.url(), "ada");
        claims["iat"] = json!(start.as_secs());
        claims["exp"] = json!(start.as_secs() + hours * 3600);
        token::ec().sign(&claims)
    };
    let (hour, days) = (token(1), token(100));
    let mut client = guarded.client();
    let pass = |seconds| clock.set(start.saturating_add(Duration::from_secs(seconds)));
    for token in [&hour, &days, &hour, &days] {
        ask(&mut client, token).expect(200);
    }
    guarded.issuer.set(Mood::Failing);
    // Valid for an hour, and cached.
    pass(3600 - 60);
    ask(&mut client, &hour).expect(200);
    pass(3600 + 60);
    refused(&ask(&mut client, &hour), 401, "token_expired");
    // So shortly before that it is still cached after it.
    pass(2 * 3600 - 60);
    ask(&mut client, &days).expect(200);
    pass(2 * 3600 + 60);
    refused(&ask(&mut client, &days), 503, "keys_unavailable");
    assert_eq!(guarded.gateway.admin("/readyz").status, 503);
}

#[test]
fn j20_ten_thousand_random_kids_make_one_fetch_a_cool_down() {
    let issuer = Issuer::start(&[token::ec()]);
    // Longer than this test can take: the schedule's first fetch, and at most one that is forced.
    let guarded = Guarded::start(issuer, "unknown_kid_cooldown = \"1h\"").ready();
    let url = guarded.issuer.url();
    let good = guarded.good(token::ec());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (guarded, url, good) = (&guarded, &url, &good);
            scope.spawn(move || {
                let mut client = guarded.client();
                for number in 0..1250 {
                    let kid = format!("{thread}-{number}-{:x}", number * 7919);
                    let header = json!({ "typ": "JWT", "alg": "ES256", "kid": kid });
                    let token = forged(&header, url);
                    refused(&ask(&mut client, &token), 401, "unknown_key");
                    if number % 50 == 0 {
                        ask(&mut client, good).expect(200);
                    }
                }
            });
        }
    });
    assert!(guarded.issuer.fetches() <= 2, "{} fetches", guarded.issuer.fetches());
    assert_eq!(guarded.upstream.count(), 8 * 25, "only good tokens' requests went on");
    assert_eq!(guarded.gateway.metric("portcullis_unknown_kid_total{issuer=\"main\"}"), 10_000.0);
}

#[test]
fn j20_random_kids_at_a_failing_issuer_are_bounded_too() {
    let issuer = Issuer::start(&[token::ec()]);
    let guarded = Guarded::start(issuer, "unknown_kid_cooldown = \"1s\"").ready();
    guarded.issuer.set(Mood::Failing);
    let before = guarded.issuer.requests();
    let clock = Clock::system();
    let begun = clock.now();
    let mut client = guarded.client();
    for number in 0..2000 {
        let header = json!({ "typ": "JWT", "alg": "ES256", "kid": format!("k{number}") });
        let response = ask(&mut client, &forged(&header, &guarded.issuer.url()));
        assert!(matches!(response.status, 401 | 503), "{}", response.status);
    }
    // One a cool-down, and those of the schedule's own retries (1 s, 2 s, 4 s, ...): two of each
    // second at the very most, however long this took.
    let seconds = clock.now().duration_since(begun).as_secs() + 1;
    let after = (guarded.issuer.requests() - before) as u64;
    assert!(after <= 2 * (seconds + 1), "{after} requests in {seconds} s");
}

/// A token whose signature is 64 bytes of nothing: with an unknown kid nobody gets to see it.
fn forged(header: &serde_json::Value, iss: &str) -> String {
    use base64::Engine;
    let part = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let claims = claims(iss, "mallory");
    format!(
        "{}.{}.{}",
        part(header.to_string().as_bytes()),
        part(claims.to_string().as_bytes()),
        part(&[7; 64])
    )
}

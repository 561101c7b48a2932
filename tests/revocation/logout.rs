//! Signing out of Django: simplejwt's blacklist behind a gateway that watches for it.

use super::*;

use serde_json::json;

use crate::support::caller::{Body, http1};
use crate::support::stack::{SECRET as DJANGO, Socket, Stack};
use crate::support::token::now;

/// A gateway before a Django that others may be before as well.
struct Shop {
    gateway: Gateway,
}

impl Shop {
    fn open(stack: &Stack, routes: &str, server: &str) -> Self {
        let text = format!(
            r#"
            [listener.main]
            address = "127.0.0.1:0"
            [issuer.django]
            preset = "simplejwt"
            secret = "${{KEY}}"
            [upstream.web]
            endpoints = ["{}"]
            kind = "wsgi"
            {routes}
            [server]
            {server}
            [admin]
            address = "unix:admin.sock"
            "#,
            stack.endpoint
        );
        Self { gateway: Setup::new().variable("KEY", DJANGO).start(&text) }
    }

    fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let mut client = Client::tcp(self.gateway.address("main"));
        client.send(http1(method, path, headers, Body::Whole(body.as_bytes())));
        client.response()
    }

    fn sign_in(&self, user: &str) -> Pair {
        let body = json!({ "username": user, "password": "portcullis" }).to_string();
        let pair = self.call("POST", "/api/token/", &[JSON], &body).expect(200).json();
        let part = |name: &str| pair[name].as_str().unwrap().to_owned();
        Pair { access: part("access"), refresh: part("refresh") }
    }

    fn sign_out(&self, pair: &Pair) -> Response {
        self.call("POST", BLACKLIST, &[JSON], &json!({ "refresh": pair.refresh }).to_string())
    }

    fn me(&self, access: &str) -> Response {
        let bearer = format!("Bearer {access}");
        self.call("GET", "/api/me/", &[("Authorization", &bearer)], "")
    }

    fn logouts(&self, result: &str) -> f64 {
        let text = order(&self.gateway, "METRICS", "");
        let sample =
            format!("portcullis_revocations_total{{result=\"{result}\",source=\"logout\"}} ");
        let line = text.text().lines().find_map(|line| line.strip_prefix(&*sample));
        line.map_or(0.0, |value| value.parse().unwrap())
    }
}

struct Pair {
    access: String,
    refresh: String,
}

const JSON: (&str, &str) = ("Content-Type", "application/json");
const BLACKLIST: &str = "/api/token/blacklist/";
const SIGNING_IN: &str = r#"
    [[route]]
    path = "/api/token/*"
    upstream = "web"
    public = true
"#;
const API: &str = r#"
    [[route]]
    path = "/api/*"
    upstream = "web"
"#;
const WATCHED: &str = r#"revoke_on = { path = "/api/token/blacklist/", status = 200 }"#;

/// Times count whole seconds: what is signed in this one may count as signed before.
fn next_second() {
    let then = now();
    eventually("the next second", || (now() > then).then_some(()));
}

#[test]
fn j26_signing_out_of_django_ends_access_tokens_at_once_and_over_a_restart() {
    let stack = Stack::start(Socket::Unix);
    let state = tempfile::tempdir().unwrap();
    let server = format!("state_dir = \"{}\"", state.path().display());
    let routes = format!("{SIGNING_IN}{WATCHED}{API}");

    // The control: Django alone lets them go on.
    let unwatched = Shop::open(&stack, &format!("{SIGNING_IN}{API}"), "");
    let pair = unwatched.sign_in("alice");
    unwatched.sign_out(&pair).expect(200);
    unwatched.me(&pair.access).expect(200);

    let shop = Shop::open(&stack, &routes, &server);
    let (alice, again, bob) = (shop.sign_in("alice"), shop.sign_in("alice"), shop.sign_in("bob"));
    for pair in [&alice, &again, &bob] {
        shop.me(&pair.access).expect(200);
    }
    shop.sign_out(&alice).expect(200);
    let refused = shop.me(&alice.access).expect(401);
    assert_eq!(refused.json()["code"], "token_not_valid");
    shop.me(&again.access).expect(401);
    assert_eq!(shop.me(&bob.access).expect(200).json()["user"], "bob");
    assert_eq!(shop.logouts("ok"), 1.0);
    // Whoever signs in again, or has another session's refresh token, goes on with new ones.
    next_second();
    let body = json!({ "refresh": again.refresh }).to_string();
    let later = shop.call("POST", "/api/token/refresh/", &[JSON], &body).expect(200).json();
    shop.me(later["access"].as_str().unwrap()).expect(200);
    let new = shop.sign_in("alice");
    shop.me(&new.access).expect(200);
    let records = shop.gateway.drain();
    assert!(records.iter().any(|record| record["reason"] == "token_revoked"));

    let shop = Shop::open(&stack, &routes, &server);
    shop.me(&alice.access).expect(401);
    shop.me(&new.access).expect(200);
    shop.me(&bob.access).expect(200);
}

#[test]
fn j26_a_logout_that_is_none_revokes_nothing_and_is_counted() {
    let stack = Stack::start(Socket::Unix);
    let shop = Shop::open(&stack, &format!("{SIGNING_IN}{WATCHED}{API}"), "");
    let pair = shop.sign_in("alice");
    // Django refuses it: nothing happened, nothing is counted.
    let body = json!({ "refresh": pair.access }).to_string();
    shop.call("POST", BLACKLIST, &[JSON], &body).expect(401);
    assert_eq!((shop.logouts("ok"), shop.logouts("unreadable")), (0.0, 0.0));
    // Django takes a form as well, and JSON of any length.
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let first = shop.sign_in("alice");
    shop.call("POST", BLACKLIST, &[form], &format!("refresh={}", first.refresh)).expect(200);
    let second = shop.sign_in("alice");
    let long = json!({ "pad": "x".repeat(16 * 1024), "refresh": second.refresh }).to_string();
    shop.call("POST", BLACKLIST, &[JSON], &long).expect(200);
    assert_eq!((shop.logouts("ok"), shop.logouts("unreadable")), (0.0, 2.0));
    for pair in [&pair, &first, &second] {
        shop.me(&pair.access).expect(200);
    }
}

#[test]
fn j26_a_logout_that_asks_for_a_token_revokes_that_too() {
    let stack = Stack::start(Socket::Unix);
    let opened = SIGNING_IN.replace("/api/token/*", "/api/token/");
    let shop = Shop::open(&stack, &format!("{opened}{API}{WATCHED}"), "");
    let (alice, other, bob) = (shop.sign_in("alice"), shop.sign_in("alice"), shop.sign_in("bob"));
    shop.sign_out(&bob).expect(401);
    shop.me(&bob.access).expect(200);
    // Alice's request brings bob's refresh token: both count no more, alice's other one does.
    let bearer = format!("Bearer {}", alice.access);
    let body = json!({ "refresh": bob.refresh }).to_string();
    shop.call("POST", BLACKLIST, &[JSON, ("Authorization", &bearer)], &body).expect(200);
    shop.me(&bob.access).expect(401);
    shop.me(&alice.access).expect(401);
    shop.me(&other.access).expect(200);
}

#[test]
fn j26_a_form_that_is_json_as_well_signs_out_whom_django_does() {
    let stack = Stack::start(Socket::Unix);
    let shop = Shop::open(&stack, &format!("{SIGNING_IN}{WATCHED}{API}"), "");
    let (old, mallory) = (shop.sign_in("alice"), shop.sign_in("bob"));
    shop.sign_out(&old).expect(200);
    next_second();
    let alice = shop.sign_in("alice");
    shop.me(&alice.access).expect(200);
    // One that Alice has signed out, which Django would refuse, and another that it takes.
    let body = json!({ "refresh": old.refresh, "x": format!("&refresh={}&", mallory.refresh) });
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    shop.call("POST", BLACKLIST, &[form], &body.to_string()).expect(200);
    shop.me(&alice.access).expect(200);
    assert_eq!((shop.logouts("ok"), shop.logouts("unreadable")), (1.0, 1.0));
}

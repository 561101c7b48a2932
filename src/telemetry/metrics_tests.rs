//! Metrics as they are scraped.

use std::collections::HashSet;
use std::time::Duration;

use hyper::Method;

use super::*;
use crate::telemetry::labels::{AuthOutcome, CacheLookup, Reason};
use crate::telemetry::record::{AuthRecord, AuthResult, UpstreamRecord};

/// One of everything.
fn sample() -> Arc<Metrics> {
    let metrics = Metrics::new();
    let listener = metrics.listener("main");
    let route = metrics.route("/*");
    let issuer = metrics.issuer("id");
    let upstream = metrics.upstream("app", &["127.0.0.1:8000", "127.0.0.1:8001"]);
    let at = UnixTime::from_secs(1_767_225_600);

    metrics.observe(&Record {
        auth: Some(AuthRecord {
            result: AuthResult::Passed(AuthOutcome::Ok),
            issuer: Some((issuer, "id")),
            subject: Some("7"),
            jti: None,
            cache: Some(CacheLookup::Miss),
            duration: Some(Duration::from_micros(60)),
        }),
        upstream: Some(UpstreamRecord {
            upstream: (upstream, "app"),
            endpoint: Some((1, "127.0.0.1:8001")),
            status: Some(200),
            first_byte: Some(Duration::from_millis(3)),
            attempts: 3,
            reused: true,
        }),
        asserted_dropped: 2,
        ..Record::sample(listener, route)
    });
    metrics.observe(&Record {
        route: None,
        status: 404,
        reason: Some(Reason::NoRoute),
        ..Record::sample(listener, route)
    });
    metrics.upstream_error(upstream, 0, UpstreamFault::Refused);
    metrics.jwks_fetch(issuer, FetchResult::Ok);
    metrics.jwks_success(issuer, at, 2);
    metrics.jwks_skipped(issuer, &[("weak", 1)]);
    metrics.unknown_kid(issuer);
    metrics.tls_handshake(listener, "1.3", HandshakeResult::Ok);
    metrics.certificate_not_after("server.crt", at);
    metrics.certificate_reload_failed();
    metrics.reload(ReloadResult::Ok, at);
    metrics.auth_cache_entries(1);
    metrics.access_log_dropped(5);
    drop(metrics.listener_connection(listener, ConnectionState::Idle));
    drop(metrics.upstream_connection(upstream, PooledState::Idle));
    metrics
}

#[track_caller]
fn assert_has(text: &str, line: &str) {
    assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
}

#[test]
fn one_of_everything_is_counted_once() {
    let text = sample().render();
    for line in [
        r#"portcullis_http_requests_total{code="200",listener="main",method="GET",route="/*"} 1"#,
        r#"portcullis_http_requests_total{code="404",listener="main",method="GET",route="-"} 1"#,
        r#"portcullis_http_request_duration_seconds_bucket{method="GET",route="/*",le="0.001"} 0"#,
        r#"portcullis_http_request_duration_seconds_bucket{method="GET",route="/*",le="0.0025"} 1"#,
        r#"portcullis_http_requests_in_flight{listener="main"} 0"#,
        r#"portcullis_http_request_bytes_total{route="/*"} 3"#,
        r#"portcullis_http_response_bytes_total{route="/*"} 1024"#,
        r#"portcullis_rejects_total{reason="no_route",route="-"} 1"#,
        r#"portcullis_auth_requests_total{issuer="id",result="ok",route="/*"} 1"#,
        r#"portcullis_auth_duration_seconds_count 1"#,
        r#"portcullis_auth_cache_requests_total{result="miss"} 1"#,
        r#"portcullis_auth_cache_entries 1"#,
        r#"portcullis_jwks_fetches_total{issuer="id",result="ok"} 1"#,
        r#"portcullis_jwks_last_success_timestamp_seconds{issuer="id"} 1767225600"#,
        r#"portcullis_jwks_keys{issuer="id"} 2"#,
        r#"portcullis_jwks_keys_skipped{issuer="id",reason="weak"} 1"#,
        r#"portcullis_unknown_kid_total{issuer="id"} 1"#,
        r#"portcullis_upstream_requests_total{code="200",endpoint="127.0.0.1:8001",upstream="app"} 1"#,
        r#"portcullis_upstream_first_byte_seconds_count{upstream="app"} 1"#,
        r#"portcullis_upstream_errors_total{endpoint="127.0.0.1:8000",reason="upstream_refused",upstream="app"} 1"#,
        r#"portcullis_upstream_retries_total{upstream="app"} 2"#,
        r#"portcullis_upstream_connections{state="idle",upstream="app"} 0"#,
        r#"portcullis_upstream_connections_reused_total{upstream="app"} 1"#,
        r#"portcullis_listener_connections{listener="main",state="idle"} 0"#,
        r#"portcullis_tls_handshakes_total{listener="main",result="ok",version="1.3"} 1"#,
        r#"portcullis_tls_certificate_not_after_timestamp_seconds{name="server.crt"} 1767225600"#,
        r#"portcullis_tls_certificate_reload_failures_total 1"#,
        r#"portcullis_config_last_reload_successful 1"#,
        r#"portcullis_config_last_reload_success_timestamp_seconds 1767225600"#,
        r#"portcullis_config_reloads_total{result="ok"} 1"#,
        r#"portcullis_headers_dropped_total{kind="asserted"} 2"#,
        r#"portcullis_access_log_dropped_total 5"#,
    ] {
        assert_has(&text, line);
    }
    assert!(text.contains("portcullis_build_info{revision="));
    assert!(text.contains("process_resident_memory_bytes "));
}

/// What `promtool check metrics` looks for.
#[test]
fn the_text_follows_the_conventions() {
    let text = sample().render();
    let mut described = HashSet::new();
    let mut kind = ("", "");
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("#"), Some("HELP")) => {
                let name = words.next().unwrap();
                assert!(described.insert(name), "{name} is described twice");
                assert!(words.next().is_some(), "{name} has no help");
            }
            (Some("#"), Some("TYPE")) => {
                kind = (words.next().unwrap(), words.next().unwrap());
                assert!(described.contains(kind.0));
                assert_eq!(kind.1 == "counter", kind.0.ends_with("_total"), "{}", kind.0);
            }
            (Some(series), Some(value)) => {
                let name = series.split('{').next().unwrap();
                let family = match kind.1 {
                    "histogram" => ["_bucket", "_sum", "_count"]
                        .iter()
                        .find_map(|suffix| name.strip_suffix(suffix))
                        .unwrap(),
                    _ => name,
                };
                assert_eq!(family, kind.0);
                assert!(family.starts_with("portcullis_") || family.starts_with("process_"));
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
            _ => panic!("not a line of the text format: {line:?}"),
        }
    }
    assert!(text.ends_with('\n'));
}

#[test]
fn a_second_scrape_counts_nothing_twice() {
    let metrics = sample();
    let without_process = |text: String| -> Vec<String> {
        text.lines().filter(|line| !line.contains("process_")).map(str::to_owned).collect()
    };
    assert_eq!(without_process(metrics.render()), without_process(metrics.render()));
}

#[test]
fn counts_of_every_thread_are_in_a_scrape_even_while_they_live() {
    let metrics = Metrics::new();
    let (listener, route) = (metrics.listener("main"), metrics.route("/*"));
    let barrier = std::sync::Barrier::new(5);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let guard = metrics.in_flight(listener);
                (0..100).for_each(|_| metrics.observe(&Record::sample(listener, route)));
                barrier.wait();
                barrier.wait();
                drop(guard);
            });
        }
        barrier.wait();
        let text = metrics.render();
        assert_has(&text, r#"portcullis_http_requests_in_flight{listener="main"} 4"#);
        assert_has(
            &text,
            r#"portcullis_http_requests_total{code="200",listener="main",method="GET",route="/*"} 400"#,
        );
        barrier.wait();
    });
    assert_has(&metrics.render(), r#"portcullis_http_requests_in_flight{listener="main"} 0"#);
}

#[test]
fn a_connection_counts_in_one_state_at_a_time() {
    let metrics = Metrics::new();
    let mut connection =
        metrics.listener_connection(metrics.listener("main"), ConnectionState::Handshake);
    connection.set(ConnectionState::Active);
    connection.set(ConnectionState::Active);
    let text = metrics.render();
    for (state, count) in [("handshake", 0), ("active", 1), ("idle", 0)] {
        let line = format!(
            r#"portcullis_listener_connections{{listener="main",state="{state}"}} {count}"#
        );
        assert_has(&text, &line);
    }
    drop(connection);
    let line = r#"portcullis_listener_connections{listener="main",state="active"} 0"#;
    assert_has(&metrics.render(), line);
}

#[test]
fn names_are_registered_once() {
    let metrics = Metrics::new();
    assert_eq!(metrics.route("a"), metrics.route("a"));
    assert_ne!(metrics.route("a"), metrics.route("b"));
    assert_eq!(metrics.upstream("u", &["x"]), metrics.upstream("u", &["x"]));
    let changed = metrics.upstream("u", &["y", "x"]);
    assert_ne!(metrics.upstream("u", &["x"]), changed);
    metrics.upstream_error(metrics.upstream("u", &["x"]), 0, UpstreamFault::Failed);
    metrics.upstream_error(changed, 1, UpstreamFault::Failed);
    assert_has(
        &metrics.render(),
        r#"portcullis_upstream_errors_total{endpoint="x",reason="upstream_failed",upstream="u"} 2"#,
    );
}

#[test]
fn a_reason_that_is_gone_reads_as_zero() {
    let metrics = Metrics::new();
    let issuer = metrics.issuer("id");
    metrics.jwks_skipped(issuer, &[("weak", 2)]);
    metrics.jwks_skipped(issuer, &[("wrong_use", 1)]);
    let text = metrics.render();
    assert_has(&text, r#"portcullis_jwks_keys_skipped{issuer="id",reason="weak"} 0"#);
    assert_has(&text, r#"portcullis_jwks_keys_skipped{issuer="id",reason="wrong_use"} 1"#);
}

#[test]
fn no_client_grows_the_series() {
    let metrics = Metrics::new();
    let (listener, route) = (metrics.listener("main"), metrics.route("/*"));
    let exchange = |method: &Method, status: u16| {
        metrics.observe(&Record {
            method: Some(method),
            status,
            host: Some(b"evil.example"),
            ..Record { ..Record::sample(listener, route) }
        });
    };
    exchange(&Method::GET, 200);
    exchange(&Method::from_bytes(b"M0").unwrap(), 600);
    let before = metrics.render().lines().count();
    for n in 1..100u16 {
        exchange(&Method::from_bytes(format!("M{n}").as_bytes()).unwrap(), 600 + n);
    }
    assert_eq!(metrics.render().lines().count(), before);
}

#[test]
fn every_reason_and_outcome_has_its_label() {
    let metrics = Metrics::new();
    let (listener, route) = (metrics.listener("main"), metrics.route("/*"));
    let passed = AuthOutcome::ALL.iter().map(|outcome| AuthResult::Passed(*outcome));
    let refused = Reason::ALL.iter().map(|reason| AuthResult::Refused(*reason));
    for result in passed.chain(refused) {
        let reason = match result {
            AuthResult::Passed(_) => None,
            AuthResult::Refused(reason) => Some(reason),
        };
        let auth = AuthRecord {
            result,
            issuer: None,
            subject: None,
            jti: None,
            cache: None,
            duration: None,
        };
        metrics.observe(&Record { reason, auth: Some(auth), ..Record::sample(listener, route) });
        let text = metrics.render();
        assert_has(
            &text,
            &format!(
                r#"portcullis_auth_requests_total{{issuer="none",result="{}",route="/*"}} 1"#,
                result.as_str()
            ),
        );
        if let Some(reason) = reason {
            assert_has(
                &text,
                &format!(r#"portcullis_rejects_total{{reason="{reason}",route="/*"}} 1"#),
            );
        }
    }
}

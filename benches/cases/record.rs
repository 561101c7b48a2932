//! What is told of an exchange: its line in the access log, its metrics.

use std::hint::black_box;
use std::io::sink;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, Version};
use portcullis::clock::UnixTime;
use portcullis::telemetry::access_log::{AccessLog, Format};
use portcullis::telemetry::labels::{AuthOutcome, CacheLookup};
use portcullis::telemetry::metrics::Metrics;
use portcullis::telemetry::record::{AuthRecord, AuthResult, Record, UpstreamRecord};

use super::{HOST, PATH, Work};

/// The line of an authenticated, proxied request, as JSON; written out by the log's own thread, which
/// is waited for now and then, so that the buffer never grows further.
pub(super) fn log_line() -> Work {
    let metrics = Metrics::new();
    let record = record(&metrics);
    let log = AccessLog::start(Format::Json, Box::new(sink()), metrics).expect("a thread");
    let mut lines = 0_u32;
    Box::new(move || {
        log.write(black_box(&record));
        lines += 1;
        if lines.is_multiple_of(50) {
            assert!(log.flush(Duration::from_secs(60)));
        }
    })
}

/// The metrics of the same.
pub(super) fn metrics() -> Work {
    let metrics = Metrics::new();
    let record = record(&metrics);
    Box::new(move || metrics.observe(black_box(&record)))
}

fn record(metrics: &Arc<Metrics>) -> Record<'static> {
    let upstream = metrics.upstream("app", &["127.0.0.1:8000"]);
    Record {
        at: UnixTime::from_millis(1_800_000_000_123),
        duration: Duration::from_micros(1_234),
        request_id: b"0123456789abcdef",
        trace_id: None,
        listener: (metrics.listener("http"), "http"),
        route: Some((metrics.route("/api/*"), "/api/*")),
        method: Some(&Method::GET),
        host: Some(HOST.as_bytes()),
        path: PATH.as_bytes(),
        query: Some(b"expand=lines&page=2"),
        secret_parameters: &[],
        version: Some(Version::HTTP_11),
        status: 200,
        reason: None,
        detail: None,
        bytes_in: 0,
        bytes_out: 1024,
        client_ip: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 17))),
        user_agent: Some(b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101"),
        referer: Some(b"https://app.example.com/orders"),
        original: None,
        auth: Some(AuthRecord {
            result: AuthResult::Passed(AuthOutcome::Ok),
            issuer: Some((metrics.issuer("main"), "main")),
            subject: Some("user-000417"),
            jti: Some("9f0e6c1d7b4a4c52a8e1c3d5f7091b2d"),
            cache: Some(CacheLookup::Hit),
            duration: Some(Duration::from_micros(3)),
        }),
        upstream: Some(UpstreamRecord {
            upstream: (upstream, "app"),
            endpoint: Some((0, "127.0.0.1:8000")),
            status: Some(200),
            first_byte: Some(Duration::from_micros(900)),
            attempts: 1,
            reused: true,
        }),
        tls: None,
        rate_limit: None,
        asserted_dropped: 0,
        underscore_dropped: 0,
    }
}

//! The metric families: the one place that spells their names, labels, help and buckets.
//!
//! Label values come from `ids` (names of the configuration) and `labels` (closed lists) only: a
//! client that could choose one could grow the process without end (CVE-2022-21698).

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, Result,
};

/// Declares every family once: its field, its kind, and what the kind's function below takes.
macro_rules! families {
    ($($field:ident: $kind:ident($($argument:expr),+ $(,)?),)+) => {
        /// Every family but those of the process.
        #[derive(Debug)]
        pub(super) struct Families {
            $(pub(super) $field: families!(@type $kind),)+
        }

        impl Families {
            /// Registers them all.
            ///
            /// # Errors
            /// A name or label that is malformed or taken: a mistake in this file.
            pub(super) fn new(registry: &Registry) -> Result<Self> {
                Ok(Self { $($field: $kind(registry, $($argument),+)?,)+ })
            }
        }
    };
    (@type counter) => { IntCounter };
    (@type counters) => { IntCounterVec };
    (@type gauge) => { IntGauge };
    (@type gauges) => { IntGaugeVec };
    (@type histogram) => { Histogram };
    (@type histograms) => { HistogramVec };
}

families! {
    access_log_dropped: counter("access_log_dropped_total", "Access-log lines lost because the log could not be written fast enough."),
    auth_cache_entries: gauge("auth_cache_entries", "Verified tokens that the cache holds."),
    auth_cache_requests: counters("auth_cache_requests_total", "Look-ups of tokens in the cache.", &["result"]),
    auth_duration: histogram("auth_duration_seconds", "Time that authenticating a request took.", AUTH_BUCKETS),
    auth_requests: counters("auth_requests_total", "Verdicts of authentication.", &["route", "issuer", "result"]),
    build_info: gauges("build_info", "What is running.", &["version", "revision"]),
    certificate_not_after: gauges("tls_certificate_not_after_timestamp_seconds", "When a certificate ends.", &["name"]),
    certificate_reload_failures: counter("tls_certificate_reload_failures_total", "Certificates that could not be read again; the last good one stays."),
    headers_dropped: counters("headers_dropped_total", "Request header fields deleted before anything read them.", &["kind"]),
    http_duration: histograms("http_request_duration_seconds", "From the end of a request's head to the end of its response.", HTTP_BUCKETS, &["route", "method"]),
    http_in_flight: gauges("http_requests_in_flight", "Requests whose response is not over.", &["listener"]),
    http_request_bytes: counters("http_request_bytes_total", "Bytes of request bodies.", &["route"]),
    http_requests: counters("http_requests_total", "Requests that are over.", &["listener", "route", "method", "code"]),
    http_response_bytes: counters("http_response_bytes_total", "Bytes of response bodies.", &["route"]),
    jwks_fetches: counters("jwks_fetches_total", "Fetches of an issuer's keys.", &["issuer", "result"]),
    jwks_keys: gauges("jwks_keys", "Usable keys of an issuer.", &["issuer"]),
    jwks_keys_skipped: gauges("jwks_keys_skipped", "Keys of an issuer's current set that are not used.", &["issuer", "reason"]),
    jwks_last_success: gauges("jwks_last_success_timestamp_seconds", "When an issuer's keys were last read.", &["issuer"]),
    listener_connections: gauges("listener_connections", "Open connections of clients.", &["listener", "state"]),
    rate_limit_requests: counters("rate_limit_requests_total", "Requests that a route's rate limits were asked about.", &["route", "result"]),
    rejects: counters("rejects_total", "Requests that Portcullis refused or could not answer.", &["route", "reason"]),
    proxy_headers: counters("proxy_headers_total", "PROXY protocol headers of balancers.", &["listener", "result"]),
    reload_successful: gauge("config_last_reload_successful", "1 if the last configuration read was installed."),
    reload_success_timestamp: gauge("config_last_reload_success_timestamp_seconds", "When a configuration was last installed."),
    reloads: counters("config_reloads_total", "Configurations read, the first one included.", &["result"]),
    revocations: gauges("revocations", "Entries of the list of revoked tokens.", &["kind"]),
    revocations_read: counters("revocations_total", "Revocations read, by who revoked and what came of it.", &["source", "result"]),
    tls_handshakes: counters("tls_handshakes_total", "TLS handshakes with clients.", &["listener", "version", "result"]),
    unknown_kid: counters("unknown_kid_total", "Tokens that name a key which their issuer does not have.", &["issuer"]),
    upstream_connections: gauges("upstream_connections", "Open connections to an upstream.", &["upstream", "state"]),
    upstream_endpoint_up: gauges("upstream_endpoint_up", "1 if requests may be sent to an endpoint, 0 while it is ejected, its checks fail or its address is gone.", &["upstream", "endpoint"]),
    upstream_errors: counters("upstream_errors_total", "Attempts at an endpoint that failed, retried or not.", &["upstream", "endpoint", "reason"]),
    upstream_first_byte: histograms("upstream_first_byte_seconds", "From sending a request to the head of its response.", HTTP_BUCKETS, &["upstream"]),
    upstream_queue_depth: gauges("upstream_queue_depth", "Requests that wait for a slot at an endpoint, its return, or their turn to be sent again.", &["upstream"]),
    upstream_requests: counters("upstream_requests_total", "Requests that an endpoint answered.", &["upstream", "endpoint", "code"]),
    upstream_retries: counters("upstream_retries_total", "Attempts beyond the first.", &["upstream"]),
    upstream_reused: counters("upstream_connections_reused_total", "Requests sent over a connection that had served before.", &["upstream"]),
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram> {
    let histogram = Histogram::with_opts(histogram_opts(name, help, buckets))?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter> {
    let counter = IntCounter::with_opts(opts(name, help))?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec> {
    let counters = IntCounterVec::new(opts(name, help), labels)?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge> {
    let gauge = IntGauge::with_opts(opts(name, help))?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec> {
    let gauges = IntGaugeVec::new(opts(name, help), labels)?;
    registry.register(Box::new(gauges.clone()))?;
    Ok(gauges)
}

fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    buckets: &[f64],
    labels: &[&str],
) -> Result<HistogramVec> {
    let histograms = HistogramVec::new(histogram_opts(name, help, buckets), labels)?;
    registry.register(Box::new(histograms.clone()))?;
    Ok(histograms)
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(NAMESPACE)
}

fn histogram_opts(name: &str, help: &str, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::new(name, help).namespace(NAMESPACE).buckets(buckets.to_vec())
}

/// Before every name but those of the process.
const NAMESPACE: &str = "portcullis";

/// Seconds: from a request that static files answer to one that an operator calls broken.
const HTTP_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Seconds: a cache hit takes about a microsecond, an RSA-4096 signature some hundred.
const AUTH_BUCKETS: &[f64] =
    &[1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2];

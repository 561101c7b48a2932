//! What a configuration says about a listener, as its connections need it.

use std::sync::Arc;
use std::time::Duration;

use crate::http::Networks;
use crate::telemetry::ids::ListenerId;
use crate::telemetry::metrics::Metrics;
use crate::tls::server::ServerTls;

/// One configuration's view of a listener. Each accepted connection takes the newest and keeps it.
#[derive(Clone, Debug)]
pub struct ListenerState {
    /// Its index in the snapshot; comes back in [`ConnectionInfo`](super::ConnectionInfo).
    pub listener: usize,
    /// Its index in the metrics.
    pub id: ListenerId,
    /// Where its connections and handshakes are counted.
    pub metrics: Arc<Metrics>,
    /// Absent on a plain listener, which speaks HTTP/1 only.
    pub tls: Option<ServerTls>,
    /// The peers whose connections begin with a PROXY protocol header.
    pub proxies: Networks,
    /// Deadlines and sizes.
    pub settings: Settings,
}

/// The deadlines and sizes of `[server]` that concern a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// For a PROXY protocol header, and again for a TLS handshake.
    pub handshake_timeout: Duration,
    /// From the first byte of a request's head to its last.
    pub header_timeout: Duration,
    /// For which no request is under way.
    pub idle_timeout: Duration,
    /// What hyper lets pass of a head. The finer checks, with their own answers, are the
    /// handler's.
    pub max_headers: MaxHeaders,
    /// Open streams per HTTP/2 connection.
    pub max_streams: u32,
    /// For which the client takes nothing of what we have to send.
    pub write_timeout: Duration,
}

/// Limits of a request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxHeaders {
    /// Fields.
    pub count: usize,
    /// Bytes of one line.
    pub line: usize,
    /// Bytes of all fields.
    pub size: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            max_headers: MaxHeaders { count: 90, line: 8 * 1024, size: 32 * 1024 },
            max_streams: 100,
            write_timeout: Duration::from_secs(30),
        }
    }
}

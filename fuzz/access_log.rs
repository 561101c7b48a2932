//! An exchange whose every text the client chose: one line of valid JSON without the secret.

use std::io::{self, Write};
use std::mem;
use std::net::Ipv4Addr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use hyper::{Method, Version};
use parking_lot::Mutex;
use portcullis::clock::UnixTime;
use portcullis::telemetry::access_log::{AccessLog, Format};
use portcullis::telemetry::ids::ListenerId;
use portcullis::telemetry::metrics::Metrics;
use portcullis::telemetry::record::{OriginalRecord, Record, TlsRecord};

const SECRET: &str = "hunter2-hunter2-hunter2";

struct Log {
    listener: ListenerId,
    log: AccessLog,
    written: Arc<Mutex<Vec<u8>>>,
}

struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

static LOG: LazyLock<Log> = LazyLock::new(|| {
    let (metrics, written) = (Metrics::new(), Arc::default());
    let sink = Box::new(Sink(Arc::clone(&written)));
    let listener = metrics.listener("https");
    let log = AccessLog::start(Format::Json, sink, metrics).expect("a thread");
    Log { listener, log, written }
});

pub(crate) fn check(data: &[u8]) {
    let mut pieces = data.split(|byte| *byte == 0xff);
    let mut next = || pieces.next().unwrap_or_default();
    let (id, host, path, agent, referer) = (next(), next(), next(), next(), next());
    let sni = String::from_utf8_lossy(next());
    let query = [next(), b"&access_token=", SECRET.as_bytes()].concat();
    let uri = [path, b"?", &query].concat();
    LOG.log.write(&Record {
        at: UnixTime::from_secs(1_800_000_000),
        duration: Duration::from_millis(1),
        request_id: id,
        trace_id: None,
        listener: (LOG.listener, "https"),
        route: None,
        method: Some(&Method::GET),
        host: Some(host),
        path,
        query: Some(&query),
        secret_parameters: &[],
        version: Some(Version::HTTP_11),
        status: 404,
        reason: None,
        detail: None,
        bytes_in: 0,
        bytes_out: 0,
        client_ip: Some(Ipv4Addr::LOCALHOST.into()),
        user_agent: Some(agent),
        referer: Some(referer),
        original: Some(OriginalRecord { method: Some(agent), host: Some(host), uri: Some(&uri) }),
        rate_limit: None,
        auth: None,
        upstream: None,
        tls: Some(TlsRecord { version: "1.3", sni: Some(&sni) }),
        asserted_dropped: 0,
        underscore_dropped: 0,
    });
    assert!(LOG.log.flush(Duration::from_secs(60)));
    let line = mem::take(&mut *LOG.written.lock());
    let line = String::from_utf8(line).expect("valid UTF-8");
    let (line, rest) = line.split_once('\n').expect("a whole line");
    assert!(rest.is_empty(), "more than one line");
    assert!(!line.chars().any(char::is_control), "{line:?}");
    assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    // Whoever puts the secret elsewhere gives it away himself.
    if !String::from_utf8_lossy(data).contains(SECRET) {
        assert!(!line.contains(SECRET), "{line}");
    }
}

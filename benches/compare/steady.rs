//! The load at a given rate: requests that are due whether or not the ones before were answered.
//!
//! Isolates the proxy's own cost from that of waking whoever it writes to. Under wrk the faster proxy
//! keeps the other core awake and the slower one lets it fall asleep; each write then pays for an
//! interrupt between cores, which on a virtual machine costs more than the write. Here both proxies
//! get the same requests at the same moments, from a thread that never sleeps.
//!
//! Runs on the upstream's thread, which so serves both ends. A request's latency counts from the
//! moment it was due, so that a proxy that stalls can't hide the requests it kept waiting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::{JoinSet, yield_now};

use super::Result;
use super::tokens::Issued;

/// How to put a port under a steady load.
#[derive(Debug)]
pub(super) struct Steady {
    thread: Handle,
    requests: Arc<Vec<Vec<u8>>>,
    connections: u32,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) requests: u64,
    pub(super) elapsed: Duration,
    /// Sorted.
    latencies: Vec<Duration>,
}

impl Done {
    /// The latency that this share of the requests did not exceed.
    pub(super) fn latency(&self, share: f64) -> Duration {
        let at = (self.latencies.len() as f64 * share) as usize;
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get(at.min(last)).copied().unwrap_or_default()
    }
}

impl Steady {
    pub(super) fn new(thread: Handle, issued: &Issued, connections: u32) -> Self {
        let request = |token: &String| {
            format!("GET /api/items/1 HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n")
                .into_bytes()
        };
        let requests = Arc::new(issued.tokens.iter().map(request).collect());
        Self { thread, requests, connections }
    }

    /// Sends `rate` requests a second for some seconds, spread evenly over time and connections.
    pub(super) fn run(&self, port: u16, rate: f64, seconds: u32) -> Result<Done> {
        let (requests, connections) = (Arc::clone(&self.requests), self.connections);
        let (sender, receiver) = std::sync::mpsc::channel();
        self.thread.spawn(async move {
            let total = (rate * f64::from(seconds)) as u64;
            let done = all(port, &requests, connections, rate, total).await;
            let _nobody_waits = sender.send(done).is_err();
        });
        Ok(receiver.recv()??)
    }
}

async fn all(
    port: u16,
    requests: &Arc<Vec<Vec<u8>>>,
    connections: u32,
    rate: f64,
    total: u64,
) -> std::io::Result<Done> {
    let mut streams = Vec::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let clock = Clock::system();
    let start = clock.now();
    let mut tasks = JoinSet::new();
    for (first, stream) in streams.into_iter().enumerate() {
        let numbers = (first as u64..total).step_by(connections as usize);
        tasks.spawn(one(stream, Arc::clone(requests), clock.clone(), start, rate, numbers));
    }
    let mut latencies = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        latencies.extend(ended.map_err(std::io::Error::other)??);
    }
    let elapsed = clock.now().duration_since(start);
    latencies.sort_unstable();
    Ok(Done { requests: latencies.len() as u64, elapsed, latencies })
}

/// The requests of one connection, each when it is due or as soon as the one before is answered.
async fn one(
    mut stream: TcpStream,
    requests: Arc<Vec<Vec<u8>>>,
    clock: Clock,
    start: Instant,
    rate: f64,
    numbers: impl Iterator<Item = u64>,
) -> std::io::Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    let mut response = Vec::with_capacity(4096);
    for number in numbers {
        let due = start + Duration::from_secs_f64(number as f64 / rate);
        while clock.now() < due {
            yield_now().await;
        }
        let turn = number as usize % requests.len();
        stream.write_all(requests.get(turn).map_or(&[][..], Vec::as_slice)).await?;
        response.clear();
        while !is_whole(&response)? {
            if stream.read_buf(&mut response).await? == 0 {
                return Err(std::io::Error::other("the proxy closed a connection"));
            }
        }
        latencies.push(clock.now().saturating_duration_since(due));
    }
    Ok(latencies)
}

/// Whether a response of 200 with a Content-Length is there to its end.
fn is_whole(response: &[u8]) -> std::io::Result<bool> {
    let Some(end) = response.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(false);
    };
    let head = String::from_utf8_lossy(response.get(..end).unwrap_or_default()).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    match length {
        Some(length) if head.starts_with("http/1.1 200") => {
            let length: usize = length;
            Ok(response.len() >= end + 4 + length)
        }
        Some(_) | None => Err(std::io::Error::other(format!("an answer of another kind: {head}"))),
    }
}

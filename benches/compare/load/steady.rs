//! The load at a given rate: requests that are due whether or not the ones before were answered.
//!
//! Isolates the proxy's own cost from that of waking whoever it writes to. Under wrk the faster proxy
//! keeps the other core awake and the slower one lets it fall asleep; each write then pays for an
//! interrupt between cores, which on a virtual machine costs more than the write. Here both proxies
//! get the same requests at the same moments, from a thread that never sleeps.
//!
//! Runs on the upstream's thread, which so serves both ends. A request's latency counts from the
//! moment it was due, so that a proxy that stalls can't hide the requests it kept waiting. Without
//! a rate it is a closed loop like wrk's, so that `--validate` can hold one against the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::{JoinSet, yield_now};

use crate::Result;

/// How to put a port under a steady load.
#[derive(Debug)]
pub(crate) struct Steady {
    thread: Handle,
    requests: Arc<Vec<Request>>,
    connections: u32,
}

/// A request, and whether it should be refused.
#[derive(Debug)]
struct Request {
    text: Vec<u8>,
    is_forged: bool,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    pub(crate) elapsed: Duration,
    /// Of the requests that were answered as they should be: when each was due, how long it took.
    pub(crate) samples: Vec<(Duration, Duration)>,
}

impl Done {
    /// The latency that this share of the requests did not exceed, of those due in a part of the run.
    pub(crate) fn latency(&self, share: f64, due: impl Fn(Duration) -> bool) -> Duration {
        let some = self.samples.iter().filter(|(when, _)| due(*when));
        let mut latencies: Vec<_> = some.map(|(_, latency)| *latency).collect();
        latencies.sort_unstable();
        let at = (latencies.len() as f64 * share) as usize;
        let last = latencies.len().saturating_sub(1);
        latencies.get(at.min(last)).copied().unwrap_or_default()
    }
}

/// What every connection needs.
struct Plan {
    requests: Arc<Vec<Request>>,
    clock: Clock,
    start: Instant,
    rate: Option<f64>,
    seconds: u32,
}

impl Steady {
    /// Tokens in turn; those from `forged` on are forged, and every second request has one.
    pub(crate) fn new(
        thread: Handle,
        path: &str,
        tokens: &[String],
        is_forged: impl Fn(usize) -> bool,
        connections: u32,
    ) -> Self {
        let head = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
        let mut requests: Vec<_> = tokens
            .iter()
            .enumerate()
            .map(|(nth, token)| Request {
                text: format!("{head}Authorization: Bearer {token}\r\n\r\n").into_bytes(),
                is_forged: is_forged(nth),
            })
            .collect();
        if requests.is_empty() {
            requests.push(Request { text: format!("{head}\r\n").into_bytes(), is_forged: false });
        }
        Self { thread, requests: Arc::new(requests), connections }
    }

    /// Sends `rate` requests a second for some seconds, spread evenly over time and connections.
    pub(crate) fn run(&self, port: u16, rate: Option<f64>, seconds: u32) -> Result<Done> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let clock = Clock::system();
        let (requests, connections) = (Arc::clone(&self.requests), self.connections);
        self.thread.spawn(async move {
            let start = clock.now();
            let plan = Plan { requests, clock, start, rate, seconds };
            let _nobody_waits = sender.send(all(port, plan, connections).await).is_err();
        });
        Ok(receiver.recv()??)
    }
}

async fn all(port: u16, mut plan: Plan, connections: u32) -> std::io::Result<Done> {
    let mut streams = Vec::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    plan.start = plan.clock.now();
    let plan = Arc::new(plan);
    let mut tasks = JoinSet::new();
    for (first, stream) in streams.into_iter().enumerate() {
        tasks.spawn(one(stream, Arc::clone(&plan), first, connections as usize));
    }
    let mut done = Done::default();
    while let Some(ended) = tasks.join_next().await {
        let part = ended.map_err(std::io::Error::other)??;
        done.requests += part.requests;
        done.refused += part.refused;
        done.samples.extend(part.samples);
    }
    done.elapsed = plan.clock.now().duration_since(plan.start);
    Ok(done)
}

/// The requests of one connection, each when it is due or as soon as the one before is answered.
async fn one(
    mut stream: TcpStream,
    plan: Arc<Plan>,
    first: usize,
    step: usize,
) -> std::io::Result<Done> {
    let mut done = Done::default();
    let mut response = Vec::with_capacity(4096);
    let end = plan.start + Duration::from_secs(u64::from(plan.seconds));
    for number in (first..).step_by(step) {
        let due = match plan.rate {
            Some(rate) => plan.start + Duration::from_secs_f64(number as f64 / rate),
            None => plan.clock.now(),
        };
        if due >= end {
            break;
        }
        while plan.clock.now() < due {
            yield_now().await;
        }
        let Some(request) = plan.requests.get(number % plan.requests.len()) else { break };
        stream.write_all(&request.text).await?;
        response.clear();
        let status = loop {
            if stream.read_buf(&mut response).await? == 0 {
                return Err(std::io::Error::other("the proxy closed a connection"));
            }
            if let Some(status) = whole(&response)? {
                break status;
            }
        };
        match (status, request.is_forged) {
            (Status::Served, false) => {
                done.requests += 1;
                let latency = plan.clock.now().saturating_duration_since(due);
                done.samples.push((due.duration_since(plan.start), latency));
            }
            (Status::Refused, true) => done.refused += 1,
            (Status::Refused | Status::Served, _) => {
                let head = String::from_utf8_lossy(&response);
                return Err(std::io::Error::other(format!("an answer of another kind: {head}")));
            }
        }
    }
    Ok(done)
}

/// 200, or 401 and 429.
#[derive(Clone, Copy)]
enum Status {
    Served,
    Refused,
}

/// The status of a response with a Content-Length that is there to its end.
fn whole(response: &[u8]) -> std::io::Result<Option<Status>> {
    let Some(end) = response.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(response.get(..end).unwrap_or_default()).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let status = match head.split(' ').nth(1) {
        Some("200") => Some(Status::Served),
        Some("401" | "429") => Some(Status::Refused),
        Some(_) | None => None,
    };
    match (length, status) {
        (Some(length), Some(status)) => {
            let length: usize = length;
            Ok((response.len() >= end + 4 + length).then_some(status))
        }
        (Some(_) | None, _) => {
            Err(std::io::Error::other(format!("an answer of another kind: {head}")))
        }
    }
}

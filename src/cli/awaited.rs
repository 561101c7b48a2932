//! The sockets that a started command is to open: the gateway listens only when they answer.
//!
//! They are the endpoints of the configuration on this machine. Others are servers of their own,
//! which may be down at any time without anything else being late.

use std::path::PathBuf;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};

use crate::snapshot::Snapshot;
use crate::upstream::{Address, Upstream};

/// How often a socket that does not answer is tried.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a socket may take to answer one try.
const TRY: Duration = Duration::from_secs(1);

/// How often it is told what is waited for.
const TELL: Duration = Duration::from_secs(10);

/// Upstreams of this machine, of each the endpoints on it: one of them has to answer.
#[derive(Debug)]
pub(super) struct Awaited(Vec<Group>);

#[derive(Debug)]
struct Group {
    upstream: String,
    endpoints: Vec<(Place, String)>,
}

#[derive(Clone, Debug)]
enum Place {
    Tcp(String, u16),
    Unix(PathBuf),
}

impl Awaited {
    /// What `snapshot` forwards to on this machine; `None` if that is nothing.
    pub(super) fn of(snapshot: &Snapshot) -> Option<Self> {
        let groups: Vec<_> = snapshot
            .upstreams()
            .iter()
            .map(|upstream| Group {
                upstream: upstream.name().to_owned(),
                endpoints: on_this_machine(upstream),
            })
            .filter(|group| !group.endpoints.is_empty())
            .collect();
        (!groups.is_empty()).then_some(Self(groups))
    }

    /// Returns when an endpoint of every upstream accepts connections; tells now and then which
    /// do not.
    pub(super) async fn answer(self) {
        let begun = Instant::now();
        let mut told = begun;
        for group in &self.0 {
            while !group.answers().await {
                if told.elapsed() >= TELL {
                    told = Instant::now();
                    let labels: Vec<_> =
                        group.endpoints.iter().map(|(_, label)| &**label).collect();
                    tracing::warn!(
                        upstream = group.upstream,
                        seconds = begun.elapsed().as_secs(),
                        "not listening yet: the command does not answer at {}",
                        labels.join(" or ")
                    );
                }
                sleep(PAUSE).await;
            }
        }
    }
}

impl Group {
    async fn answers(&self) -> bool {
        for (place, _) in &self.endpoints {
            let connected = async {
                match place {
                    Place::Tcp(host, port) => {
                        TcpStream::connect((host.as_str(), *port)).await.is_ok()
                    }
                    Place::Unix(path) => UnixStream::connect(path).await.is_ok(),
                }
            };
            if timeout(TRY, connected).await.unwrap_or(false) {
                return true;
            }
        }
        false
    }
}

fn on_this_machine(upstream: &Upstream) -> Vec<(Place, String)> {
    let places = upstream.endpoints().iter().filter_map(|endpoint| {
        let (_, address) = endpoint.reach()?;
        let place = match &*address {
            Address::Tcp { host, port, .. } | Address::Tls { host, port, .. } => {
                is_loopback(host).then(|| Place::Tcp(host.clone(), *port))
            }
            Address::Unix(path) => Some(Place::Unix(path.clone())),
        };
        Some((place?, endpoint.label().to_owned()))
    });
    places.collect()
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

use std::future::poll_fn;

use http_body_util::Empty;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::connect::MadeFor;
use super::super::tests::on_ports;
use super::super::{Balance, Message, Settings};
use super::*;

const MILLI: Duration = Duration::from_millis(1);

type Kept = Connection<Empty<Bytes>>;

/// One endpoint, whose side of every connection the test holds, and a worker's pool.
struct Site {
    listener: TcpListener,
    upstream: Arc<Upstream>,
    pools: Pools<Empty<Bytes>>,
}

impl Site {
    /// Keeps two connections and begins with 1500 ms.
    async fn new(learns_idle: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut settings = on_ports(&[port], Balance::RoundRobin);
        settings.timeouts.idle = MILLI * 1500;
        settings.timeouts.learns_idle = learns_idle;
        let upstream = Arc::new(Upstream::new(Settings { idle_connections: 2, ..settings }));
        Self { listener, upstream, pools: Pools::new(NonZeroUsize::MIN) }
    }

    /// A connection that has had an answer with these lines, and the endpoint's side of it.
    async fn used(&self, lines: &str) -> (Box<Kept>, TcpStream) {
        let endpoint = &self.upstream.endpoints()[0];
        let opened = Connection::open(&self.upstream, endpoint, MadeFor::default());
        let (connection, accepted) = tokio::join!(opened, self.listener.accept());
        let (mut connection, (mut server, _)) = (connection.unwrap(), accepted.unwrap());
        connection.send(Message {
            head: b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            body: Empty::new(),
            length: Some(0),
            to_head: false,
            may_switch: false,
        });
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{lines}\r\n");
        server.write_all(answer.as_bytes()).await.unwrap();
        poll_fn(|cx| connection.poll_head(cx)).await.unwrap();
        assert!(connection.settle());
        // The request is read, so that closing this side is no reset.
        assert!(server.read(&mut [0; 1024]).await.unwrap() > 0);
        (connection, server)
    }

    /// The same, put away at this time, which is also that of the answer.
    async fn idle(&self, lines: &str, at: Instant) -> TcpStream {
        let (mut connection, server) = self.used(lines).await;
        connection.answered_at(at);
        self.pools.put(connection, at);
        server
    }

    fn take(&self, repeatable: bool, at: Instant) -> Option<Box<Kept>> {
        self.pools.take_at(&self.upstream, &self.upstream.endpoints()[0], repeatable, at)
    }

    fn limit(&self) -> Option<Duration> {
        self.upstream.endpoints()[0].idle_limit()
    }

    /// Sweeps every quarter of a second from `from`, until the endpoint closes at `age`.
    async fn closes(&self, server: TcpStream, from: Instant, age: Duration) {
        let mut at = from;
        while at < from + age {
            self.pools.sweep_at(at);
            at += MILLI * 250;
        }
        let left = self.pools.idle(&self.upstream) - 1;
        drop(server);
        while self.pools.idle(&self.upstream) > left {
            tokio::task::yield_now().await;
            self.pools.sweep_at(at);
        }
    }
}

#[tokio::test]
async fn without_learning_the_deadline_is_as_configured() {
    let site = Site::new(false).await;
    let start = Instant::now();
    for (at, kept) in [(1499, true), (1500, false)] {
        let _server = site.idle("Keep-Alive: timeout=1\r\n", start).await;
        assert_eq!(site.take(false, start + MILLI * at).is_some(), kept);
        assert_eq!(site.pools.idle(&site.upstream), 0);
    }
    assert_eq!(site.limit(), None);
}

#[tokio::test]
async fn what_an_endpoint_closes_is_learned_from() {
    let site = Site::new(true).await;
    let start = Instant::now();
    assert_eq!(site.limit(), Some(MILLI * 1500));
    let server = site.idle("", start).await;
    site.closes(server, start, MILLI * 1000).await;
    // It was seen open at 750 ms, and no more at 1000.
    assert_eq!(site.limit(), Some(MILLI * 525));
    let _server = site.idle("", start).await;
    assert!(site.take(true, start + MILLI * 525).is_none());
    assert_eq!(site.pools.idle(&site.upstream), 1, "it stays until the endpoint closes it");
    assert!(site.take(false, start + MILLI * 524).is_some());
}

#[tokio::test]
async fn one_that_is_found_closed_when_it_is_wanted_counts() {
    let site = Site::new(true).await;
    let start = Instant::now();
    let server = site.idle("", start).await;
    site.pools.sweep_at(start + MILLI * 400);
    drop(server);
    while site.pools.idle(&site.upstream) > 0 {
        tokio::task::yield_now().await;
        if let Some(still) = site.take(true, start + MILLI * 450) {
            site.pools.put(still, start);
            site.pools.sweep_at(start + MILLI * 400);
        }
    }
    assert_eq!(site.limit(), Some(MILLI * 280));
}

#[tokio::test]
async fn while_nothing_is_known_what_may_not_be_repeated_is_careful() {
    let site = Site::new(true).await;
    let start = Instant::now();
    let _server = site.idle("", start).await;
    assert!(site.take(false, start + MILLI * 250).is_none());
    assert!(site.take(true, start + MILLI * 1499).is_some());
    let _server = site.idle("Keep-Alive: timeout=75\r\n", start).await;
    assert!(site.take(false, start + MILLI * 52_499).is_some());
}

#[tokio::test]
async fn a_slow_response_teaches_nothing_and_is_as_old_as_its_head() {
    let site = Site::new(true).await;
    let start = Instant::now();
    let (mut connection, server) = site.used("").await;
    connection.answered_at(start);
    site.pools.put(connection, start + MILLI * 1400);
    assert!(site.take(true, start + MILLI * 1500).is_none());
    site.closes(server, start + MILLI * 1400, MILLI * 500).await;
    assert_eq!(site.limit(), Some(MILLI * 1500));
}

#[tokio::test]
async fn what_has_to_give_way_is_evidence_for_more() {
    let site = Site::new(true).await;
    let start = Instant::now();
    let mut servers = Vec::new();
    for at in [0, 1000, 30_000] {
        servers.push(site.idle("", start + MILLI * at).await);
    }
    assert_eq!(site.pools.idle(&site.upstream), 2);
    assert_eq!(site.limit(), Some(MILLI * 21_000));
    site.pools.sweep_at(start + LONGEST + MILLI * 1000);
    assert_eq!(site.pools.idle(&site.upstream), 1);
    assert_eq!(site.limit(), Some(MILLI * 21_000), "the least of them");
}

//! Bodies over real loopback connections, sent byte by byte where it matters.

use http_body_util::{BodyExt, Empty};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::*;

/// What the server's side saw of one body.
struct Seen {
    data: Vec<u8>,
    trailers: bool,
    error: Option<RequestBodyError>,
    count: Arc<BodyCount>,
    finished_at_start: bool,
}

async fn read(mut body: RequestBody) -> Seen {
    let count = body.counter();
    let finished_at_start = count.is_finished();
    let mut seen =
        Seen { data: Vec::new(), trailers: false, error: None, count, finished_at_start };
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => seen.data.extend_from_slice(&data),
            Ok(Err(_)) => seen.trailers = true,
            Err(error) => seen.error = Some(error),
        }
    }
    seen
}

/// Sends `request` as it is, then keeps the connection open (or half-closes it) until the server
/// has seen what there is to see.
fn exchange(request: &[u8], limits: BodyLimits, half_close: bool) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(request).await.unwrap();
        if half_close {
            client.shutdown().await.unwrap();
        }
        let (stream, _) = listener.accept().await.unwrap();
        let (sender, receiver) = oneshot::channel();
        let sender = Mutex::new(Some(sender));
        let service = service_fn(|request: Request<Incoming>| {
            let sender = sender.lock().take();
            async move {
                let seen = read(RequestBody::new(request.into_body(), limits)).await;
                if let Some(sender) = sender {
                    assert!(sender.send(seen).is_ok());
                }
                Ok::<_, hyper::Error>(Response::new(Empty::<Bytes>::new()))
            }
        });
        let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            seen = receiver => seen.unwrap(),
            _ = async { drop(serving.await); std::future::pending::<()>().await } => unreachable!(),
        }
    })
}

const PATIENT: BodyLimits = BodyLimits { max: 1024, idle: Duration::from_secs(60), paced: true };

#[test]
fn a_body_within_its_limits_passes_whole() {
    let seen =
        exchange(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello", PATIENT, false);
    assert_eq!(seen.data, b"hello");
    assert!(seen.error.is_none() && !seen.finished_at_start);
    assert!(seen.count.is_finished());
    assert_eq!((seen.count.bytes(), seen.count.failure()), (5, None));
}

#[test]
fn no_body_is_a_finished_body() {
    let seen = exchange(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", PATIENT, false);
    assert!(seen.finished_at_start && seen.count.is_finished());
    assert_eq!(seen.count.bytes(), 0);
}

#[test]
fn trailers_are_dropped() {
    let seen = exchange(
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x-user\r\n\r\n\
          3\r\nabc\r\n0\r\nx-user: eve\r\nhost: b\r\n\r\n",
        PATIENT,
        false,
    );
    assert_eq!(seen.data, b"abc");
    assert!(!seen.trailers && seen.error.is_none());
    assert!(seen.count.is_finished());
}

#[test]
fn a_chunked_body_is_cut_at_its_limit() {
    let limits = BodyLimits { max: 4, ..PATIENT };
    let request = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
                    3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
    let seen = exchange(request, limits, false);
    assert_eq!(seen.data, b"abc");
    assert!(matches!(seen.error, Some(RequestBodyError::TooLarge)));
    assert_eq!(seen.count.failure(), Some(BodyFailure::TooLarge));
    assert!(!seen.count.is_finished());
    let exactly = exchange(request, BodyLimits { max: 6, ..PATIENT }, false);
    assert_eq!(exactly.data, b"abcdef");
    assert!(exactly.error.is_none());
}

#[test]
fn silence_ends_a_body() {
    let limits = BodyLimits { idle: Duration::from_millis(30), ..PATIENT };
    let seen =
        exchange(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhel", limits, false);
    assert_eq!(seen.data, b"hel");
    assert!(matches!(seen.error, Some(RequestBodyError::TimedOut)));
    assert_eq!(seen.count.failure(), Some(BodyFailure::TimedOut));
}

#[test]
fn a_client_that_leaves_is_told_from_a_slow_one() {
    let seen =
        exchange(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhel", PATIENT, true);
    assert_eq!(seen.data, b"hel");
    assert!(matches!(seen.error, Some(RequestBodyError::Client(_))));
    assert_eq!(seen.count.failure(), Some(BodyFailure::Client));
}

#[test]
fn broken_chunks_are_the_clients_failure() {
    let seen = exchange(
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0x3\r\nabc\r\n",
        PATIENT,
        false,
    );
    assert!(seen.data.is_empty());
    assert!(matches!(seen.error, Some(RequestBodyError::Client(_))));
}

#[test]
fn the_pace_counts_waiting_only_and_judges_after_its_grace() {
    let start = Instant::now();
    let at = |seconds: u64| move || start + Duration::from_secs(seconds);
    let mut pace = Pace::default();
    assert!(!pace.is_too_slow(0));
    assert!(pace.begin_wait(at(0)).is_some());
    assert!(pace.begin_wait(at(3)).is_none(), "one wait, however often it is polled");
    pace.resume(at(10));
    assert!(!pace.is_too_slow(1), "within the grace");
    pace.resume(at(100));
    assert!(!pace.is_too_slow(1), "nobody waited from 10 to 100");
    assert!(pace.begin_wait(at(100)).is_some());
    pace.resume(at(110));
    assert!(pace.is_too_slow(20 * 1024 - 1));
    assert!(!pace.is_too_slow(20 * 1024));
}

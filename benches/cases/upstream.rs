//! Towards the application: the head of the request, and HTTP/1.1 over a connection that is kept.

use std::future::poll_fn;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{HeaderName, HeaderValue};
use portcullis::auth::Permit;
use portcullis::clock::Clock;
use portcullis::clock::UnixTime;
use portcullis::http::{Origin, Scheme};
use portcullis::proxy::{Forward, Pools, Proxy, head};
use portcullis::snapshot::plan::Action;
use portcullis::upstream::Message;
use portcullis::upstream::connect::MadeFor;
use portcullis::upstream::connection::Connection;
use tokio::runtime::Builder;

use super::{HOST, Work, parts, snapshot};

/// The head that the application gets, from one that is copied each time.
pub(super) fn request_head() -> Work {
    let snapshot = snapshot(9);
    let parts = parts();
    let host: &HeaderValue = Box::leak(Box::new(HeaderValue::from_static(HOST)));
    let id: &HeaderValue = Box::leak(Box::new(HeaderValue::from_static("0123456789abcdef")));
    let name: &HeaderName = snapshot.request_id_header();
    let ctx = Forward {
        pools: Box::leak(Box::new(Arc::new(Pools::new(NonZeroUsize::MIN)))),
        spool: snapshot.spool(),
        origin: Origin {
            client: Some(Ipv4Addr::new(192, 0, 2, 17).into()),
            hops: &[],
            scheme: Scheme::Https,
            host,
            port: 443,
            standard: false,
        },
        via: snapshot.via(),
        request_id: (name, id),
        assertion: None,
        client_certificate: None,
        client_port: 50_000,
        clock: Box::leak(Box::new(Clock::system())),
    };
    let permit = permit(snapshot);
    Box::new(move || {
        let head = head(&permit, black_box(&parts).clone(), &ctx);
        assert!(black_box(head).is_ok_and(|head| head.starts_with(b"GET ")));
    })
}

fn permit(snapshot: &'static portcullis::snapshot::Snapshot) -> Permit<'static, Proxy> {
    match snapshot.routes().first().map(|route| &route.action) {
        Some(Action::Proxy(guarded)) => guarded
            .authorize(None, UnixTime::from_secs(1_800_000_000))
            .expect("a public route")
            .into_part(|proxied| &proxied.proxy),
        other => panic!("no proxy: {other:?}"),
    }
}

/// A request without a body goes out, its response (six lines of head, 1 KiB of body) comes in, and
/// the connection is ready for the next; with one turn of the runtime, and the system calls of the
/// application's end.
pub(super) fn exchange() -> Work {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let upstream = snapshot(port).upstreams().first().expect("one upstream");
    let endpoint = upstream.endpoints().first().expect("one endpoint");
    let opening = Connection::<Empty<Bytes>>::open(upstream, endpoint, MadeFor::default());
    let mut connection = runtime.block_on(opening).expect("a connection");
    let (mut application, _) = listener.accept().expect("a connection");
    let request = request();
    let response = response();
    Box::new(move || {
        connection.send(Message {
            head: request.clone(),
            body: Empty::new(),
            length: Some(0),
            to_head: false,
            may_switch: false,
        });
        let length = runtime.block_on(async {
            let mut answered = false;
            let head = poll_fn(|cx| {
                let head = connection.poll_head(cx);
                if head.is_pending() && !answered {
                    answered = true;
                    answer(&mut application, request.len(), &response);
                }
                head
            });
            assert_eq!(head.await.expect("a response").status(), 200);
            let mut length = 0;
            while let Some(frame) = poll_fn(|cx| connection.poll_frame(cx)).await {
                length += frame.expect("a frame").data_ref().map_or(0, Bytes::len);
            }
            length
        });
        assert_eq!(length, BODY);
        assert!(connection.settle());
    })
}

const BODY: usize = 1024;

fn request() -> Vec<u8> {
    let head = format!("GET {} HTTP/1.1\r\nhost: {HOST}\r\naccept: */*\r\n\r\n", super::PATH);
    head.into_bytes()
}

fn response() -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: Tue, 24 Nov 2026 18:00:00 GMT\r\n\
         Connection: keep-alive\r\nContent-Type: application/json\r\nVary: Accept\r\n\
         Content-Length: {BODY}\r\n\r\n"
    );
    [head.into_bytes(), vec![b'x'; BODY]].concat()
}

/// All of the request is there: nothing else is in the way.
fn answer(application: &mut TcpStream, length: usize, response: &[u8]) {
    let mut request = [0; 1024];
    let request = request.get_mut(..length).expect("a short request");
    application.read_exact(request).expect("the request");
    application.write_all(response).expect("room for the response");
}

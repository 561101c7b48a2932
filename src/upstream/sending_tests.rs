//! Requests through sockets that take little at a time.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;

use hyper::body::Frame;
use proptest::prelude::*;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::*;

/// Pieces, each of which is not there when it is first asked for where it says so.
#[derive(Debug)]
struct Pieces(VecDeque<(bool, Bytes)>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some((late @ true, _)) = self.0.front_mut() {
            *late = false;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.0.pop_front().map(|(_, piece)| Ok(Frame::data(piece))))
    }
}

/// What arrives at an endpoint that reads `step` bytes at a time, and whether all was sent.
async fn sent(
    head: &[u8],
    pieces: &[(bool, Vec<u8>)],
    length: Option<u64>,
    step: usize,
) -> (Vec<u8>, bool) {
    let (near, mut far) = UnixStream::pair().unwrap();
    socket2::SockRef::from(&near).set_send_buffer_size(1).unwrap();
    let reader = tokio::spawn(async move {
        let (mut all, mut some) = (Vec::new(), vec![0; step]);
        while let Ok(count @ 1..) = far.read(&mut some).await {
            all.extend_from_slice(&some[..count]);
            tokio::task::yield_now().await;
        }
        all
    });
    let body = pieces.iter().map(|(late, piece)| (*late, Bytes::copy_from_slice(piece)));
    let message = Message {
        head: head.to_vec(),
        body: Pieces(body.collect()),
        length,
        to_head: false,
        may_switch: false,
    };
    let mut sending = Sending::new(message);
    let mut stream = Stream::Unix(near);
    let ended = poll_fn(|cx| sending.poll(&mut stream, cx)).await;
    assert_eq!(ended.is_ok(), sending.is_complete());
    drop(stream);
    (reader.await.unwrap(), ended.is_ok())
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_byte_leaves_once_in_order_and_in_its_framing(
        head in prop::collection::vec(any::<u8>(), 1..9000),
        pieces in prop::collection::vec(
            (any::<bool>(), prop::collection::vec(any::<u8>(), 0..20_000)), 0..6),
        step in 1_usize..20_000,
        off in -1_i64..=1,
    ) {
        let body: Vec<u8> = pieces.iter().flat_map(|(_, piece)| piece.clone()).collect();
        let mut chunks = head.clone();
        for (_, piece) in pieces.iter().filter(|(_, piece)| !piece.is_empty()) {
            chunks.extend(format!("{:x}\r\n", piece.len()).into_bytes());
            chunks.extend_from_slice(piece);
            chunks.extend_from_slice(b"\r\n");
        }
        chunks.extend_from_slice(b"0\r\n\r\n");
        let step = step.max(64);
        prop_assert_eq!(run(sent(&head, &pieces, None, step)), (chunks, true));
        let told = (body.len() as u64).saturating_add_signed(off);
        let (seen, whole) = run(sent(&head, &pieces, Some(told), step));
        let announced = head.len() + told as usize;
        if off == 0 {
            prop_assert_eq!((seen, whole), ([head, body].concat(), true));
        } else {
            // Never more than was announced; and whole only if it is, which what follows is not.
            prop_assert!(seen.len() <= announced);
            prop_assert!(!whole || seen.len() == announced);
        }
    }
}

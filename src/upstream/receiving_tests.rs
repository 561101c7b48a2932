//! Responses as an endpoint may cut them into pieces.

use proptest::prelude::*;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::*;

/// What is made of `pieces`, each of them one write, after which the endpoint closes: the head, and
/// the body with how it ended.
async fn receive(
    pieces: &[&[u8]],
) -> Result<(Response<()>, Vec<u8>, Result<Receiving, Ended>), Ended> {
    let (near, mut far) = UnixStream::pair().unwrap();
    let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
    let writer = tokio::spawn(async move {
        for piece in pieces {
            far.write_all(&piece).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let mut stream = Stream::Unix(near);
    let mut receiving = Receiving::new();
    receiving.begin(false);
    let head = poll_fn(|cx| receiving.poll_head(&mut stream, false, cx)).await?;
    let mut body = Vec::new();
    let ended = loop {
        match poll_fn(|cx| receiving.poll_frame(&mut stream, cx)).await {
            Some(Ok(frame)) => body.extend(frame.into_data().unwrap_or_default()),
            Some(Err(ended)) => break Err(ended),
            None => break Ok(receiving),
        }
    };
    writer.await.unwrap();
    Ok((head, body, ended))
}

#[tokio::test]
async fn a_response_is_the_same_however_it_is_cut() {
    let whole = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 203 Fine\r\nX-A: 1\r\nX-A: 2\r\n\
                  Content-Length: 5\r\n\r\nhello";
    for at in 1..whole.len() {
        let (front, back) = whole.split_at(at);
        let (head, body, ended) = receive(&[front, back]).await.unwrap();
        assert_eq!(head.status(), 203);
        assert_eq!(head.extensions().get::<ReasonPhrase>().unwrap().as_bytes(), b"Fine");
        assert_eq!(head.headers().get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(body, b"hello", "{at}");
        assert!(ended.unwrap().is_settled(), "{at}");
    }
}

#[tokio::test]
async fn large_bodies_keep_their_bytes_in_every_framing() {
    let body: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let length = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let chunks: Vec<u8> = body
        .chunks(7_001)
        .flat_map(|piece| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())
        .collect();
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (pieces, settled) in [
        (&[length.as_bytes(), &body][..], true),
        (&[chunked, &chunks, b"0\r\n\r\n"], true),
        (&[b"HTTP/1.1 200 OK\r\n\r\n", &body], false),
    ] {
        let (_, received, ended) = receive(pieces).await.unwrap();
        assert!(received == body);
        assert_eq!(ended.unwrap().is_settled(), settled);
    }
}

#[tokio::test]
async fn a_connection_is_settled_only_if_both_sides_go_on_and_nothing_is_left() {
    for (head, settled) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!", false),
        ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
        ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok", true),
    ] {
        let (_, body, ended) = receive(&[head.as_bytes()]).await.unwrap();
        assert_eq!((body, ended.unwrap().is_settled()), (b"ok".to_vec(), settled), "{head}");
    }
}

#[tokio::test]
async fn what_breaks_off_is_an_error() {
    for (text, ended) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", Ended::Closed),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Ended::Closed),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX", Ended::Malformed),
    ] {
        let (_, _, result) = receive(&[text.as_bytes()]).await.unwrap();
        assert_eq!(result.unwrap_err(), ended, "{text}");
    }
    for text in ["", "HTTP/1.1 200 OK\r\nContent-Le"] {
        assert_eq!(receive(&[text.as_bytes()]).await.unwrap_err(), Ended::Closed, "{text}");
    }
}

#[tokio::test]
async fn values_that_are_no_text_keep_their_bytes() {
    let (head, ..) = receive(&[b"HTTP/1.1 200 \xe9t\xe9\r\nX: \xfc\r\nContent-Length: 0\r\n\r\n"])
        .await
        .unwrap();
    assert_eq!(head.headers()["x"].as_bytes(), b"\xfc");
    assert!(head.extensions().get::<ReasonPhrase>().is_none(), "httparse gives no such reason");
}

/// Like [`receive`], but tells what matters of it, and how many bytes nobody took.
async fn outcome(wire: &[u8], cuts: &[usize]) -> (Option<(u16, String, Vec<u8>, bool)>, usize) {
    let (near, mut far) = UnixStream::pair().unwrap();
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (wire.len() + 1)).collect();
    at.extend([0, wire.len()]);
    at.sort_unstable();
    let pieces: Vec<Vec<u8>> = at.windows(2).map(|pair| wire[pair[0]..pair[1]].to_vec()).collect();
    let writer = tokio::spawn(async move {
        for piece in pieces {
            far.write_all(&piece).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let mut stream = Stream::Unix(near);
    let mut receiving = Receiving::new();
    receiving.begin(false);
    let seen = match poll_fn(|cx| receiving.poll_head(&mut stream, false, cx)).await {
        Err(_) => None,
        Ok(head) => {
            let mut body = Vec::new();
            let whole = loop {
                match poll_fn(|cx| receiving.poll_frame(&mut stream, cx)).await {
                    Some(Ok(frame)) => body.extend(frame.into_data().unwrap_or_default()),
                    Some(Err(_)) => break false,
                    None => break true,
                }
            };
            Some((head.status().as_u16(), format!("{:?}", head.headers()), body, whole))
        }
    };
    writer.await.unwrap();
    let whole = seen.as_ref().is_some_and(|seen| seen.3);
    while whole && poll_fn(|cx| receiving.poll_read(&mut stream, cx)).await.is_ok() {}
    (seen, if whole { receiving.input.len() } else { 0 })
}

fn wires() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..5);
    (pieces, 0..3_u8, 0..3_usize).prop_map(|(pieces, framing, interim)| {
        let mut wire = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n".repeat(interim);
        wire.extend_from_slice(b"HTTP/1.1 200 OK\r\nX-A: 1\r\n");
        let body = pieces.concat();
        match framing {
            0 => {
                wire.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes());
                wire.extend(body);
            }
            1 => {
                wire.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for piece in pieces {
                    wire.extend(format!("{:x};a=b\r\n", piece.len()).into_bytes());
                    wire.extend(piece);
                    wire.extend_from_slice(b"\r\n");
                }
                wire.extend_from_slice(b"0\r\nX-T: 1\r\n\r\n");
            }
            _ => wire.extend([b"\r\n".to_vec(), body].concat()),
        }
        wire
    })
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #[test]
    fn any_response_is_the_same_however_it_is_cut(
        wire in wires(),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let whole = run(outcome(&wire, &[]));
        prop_assert!(whole.0.as_ref().is_some_and(|seen| seen.3) && whole.1 == 0);
        prop_assert_eq!(run(outcome(&wire, &cuts)), whole);
    }

    /// A byte that is changed, taken out or put in leads to the same reading wherever it is cut:
    /// what one reader takes for a body, another does not take for the next response.
    #[test]
    fn a_damaged_response_has_one_reading_however_it_is_cut(
        wire in wires(),
        at in any::<usize>(),
        byte in prop::sample::select(&b"\r\n \t;:,0159afHX\0\xff"[..]),
        kind in 0..3_u8,
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let mut wire = wire;
        let at = at % wire.len();
        match kind {
            0 => wire[at] = byte,
            1 => wire.insert(at, byte),
            _ => drop(wire.remove(at)),
        }
        prop_assert_eq!(run(outcome(&wire, &cuts)), run(outcome(&wire, &[])));
    }
}

#[tokio::test]
async fn a_line_end_before_a_head_is_malformed_however_it_arrives() {
    for text in ["\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "\nHTTP/1.1 204 No\r\n\r\n"] {
        for at in 1..text.len() {
            let (front, back) = text.as_bytes().split_at(at);
            assert_eq!(receive(&[front, back]).await.unwrap_err(), Ended::Malformed, "{at}");
        }
        assert_eq!(receive(&[text.as_bytes()]).await.unwrap_err(), Ended::Malformed);
    }
}

#[tokio::test]
async fn a_reset_is_no_end_of_a_body() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut far, _) = listener.accept().await.unwrap();
    let mut stream = Stream::Tcp(near);
    let mut receiving = Receiving::new();
    receiving.begin(false);
    far.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").await.unwrap();
    poll_fn(|cx| receiving.poll_head(&mut stream, false, cx)).await.unwrap();
    let half = poll_fn(|cx| receiving.poll_frame(&mut stream, cx)).await.unwrap().unwrap();
    assert_eq!(half.into_data().unwrap(), "half");
    socket2::SockRef::from(&far).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(far);
    let ended = poll_fn(|cx| receiving.poll_frame(&mut stream, cx)).await;
    assert!(matches!(ended, Some(Err(_))), "{ended:?}");
}

/// A task that has done much is told `Pending` by the runtime, whatever there is to read.
#[tokio::test]
async fn a_busy_task_does_not_take_leftover_bytes_for_quiet() {
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil").await.unwrap();
    near.readable().await.unwrap();
    let mut stream = Stream::Unix(near);
    let mut receiving = Receiving::new();
    let quiet = poll_fn(|cx| {
        while tokio::task::coop::has_budget_remaining() {
            let _spent = pin!(tokio::task::coop::consume_budget()).poll(cx);
        }
        Poll::Ready(receiving.is_quiet(&mut stream, cx))
    });
    assert!(!quiet.await);
}

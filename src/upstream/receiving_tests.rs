//! Responses as an endpoint may cut them into pieces.

use std::future::poll_fn;

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

//! A request on its way to an endpoint over HTTP/2.
//!
//! Owns the order and the number of its bytes. What is sent is what would be written over HTTP/1.1,
//! said in HTTP/2: there is one place where a request's head is made, so that no rule about headers
//! holds on one way and not on the other. A body that turns out longer or shorter than announced
//! resets the stream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use hyper::body::Body;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::uri::{Authority, PathAndQuery};
use hyper::{Method, Uri, Version};

use super::Message;
use super::connection::Broken;

/// A request that may be begun.
#[derive(Debug)]
pub(crate) struct Request<B> {
    message: Message<B>,
    /// What was taken out of the body already, to be sent first.
    again: VecDeque<Bytes>,
    scheme: &'static str,
}

/// A request that was begun.
#[derive(Debug)]
pub(super) struct Upload<B> {
    stream: SendStream<Bytes>,
    request: Request<B>,
    /// What the endpoint's window has no room for yet.
    piece: Bytes,
    /// What was taken out of the body, for an endpoint that refuses the stream; `None` once that is
    /// more than is kept.
    taken: Option<VecDeque<Bytes>>,
    kept: usize,
    /// Bytes of the body that are still to come, where the head says how many.
    left: Option<u64>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    UnderWay,
    /// All was handed over.
    Ended,
    /// The endpoint takes no more.
    Deaf,
}

/// What of a body is kept for a stream that is refused.
const KEPT: usize = 64 * 1024;

impl<B> Request<B> {
    /// This message; `scheme` is what the endpoint is spoken to by.
    pub(crate) fn new(message: Message<B>, scheme: &'static str) -> Self {
        Self { message, again: VecDeque::new(), scheme }
    }

    /// The message, if nothing was taken out of its body: only that is whole without the rest.
    pub(crate) fn into_message(self) -> Option<Message<B>> {
        self.again.is_empty().then_some(self.message)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Upload<B> {
    /// Sends the head.
    ///
    /// # Errors
    /// The request, of which nothing was sent.
    pub(super) fn begin(
        mut requests: SendRequest<Bytes>,
        request: Request<B>,
    ) -> Result<(Self, ResponseFuture), Request<B>> {
        let Some(head) = head(&request.message.head, request.scheme) else { return Err(request) };
        let left = request.message.length;
        let empty = left == Some(0);
        match requests.send_request(head, empty) {
            Ok((answer, stream)) => {
                let upload = Self {
                    stream,
                    request,
                    piece: Bytes::new(),
                    taken: Some(VecDeque::new()),
                    kept: 0,
                    left,
                    state: if empty { State::Ended } else { State::UnderWay },
                };
                Ok((upload, answer))
            }
            Err(_) => Err(request),
        }
    }

    /// Whether the endpoint takes no more.
    pub(super) fn is_deaf(&self) -> bool {
        self.state == State::Deaf
    }

    /// The request as it was, unless more was taken out of its body than is kept.
    pub(super) fn take_back(self) -> Option<Request<B>> {
        let mut again = self.taken?;
        again.extend(self.request.again);
        Some(Request { again, ..self.request })
    }

    /// Sends what the body gives and the endpoint's window takes. An endpoint that takes no more
    /// may still have an answer: only a body that fails is an error here.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> Result<(), Broken<B::Error>> {
        while self.state == State::UnderWay {
            if !self.piece.is_empty() {
                if self.poll_piece(cx).is_pending() {
                    break;
                }
                continue;
            }
            match self.poll_body(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(broken)) => {
                    self.stream.send_reset(Reason::CANCEL);
                    self.state = State::Deaf;
                    return Err(broken);
                }
            }
        }
        Ok(())
    }

    /// Takes the next piece out of the body, or notes its end.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken<B::Error>>> {
        let data = match self.request.again.pop_front() {
            Some(data) => data,
            None => match Pin::new(&mut self.request.message.body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(self.end()),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Broken::Body(error))),
                // Trailers of a request are never sent on (H14); gRPC has none.
                Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            },
        };
        if let Some(left) = &mut self.left {
            let Some(after) = left.checked_sub(data.len() as u64) else {
                return Poll::Ready(Err(Broken::Length));
            };
            *left = after;
        }
        self.kept += data.len();
        if self.kept > KEPT {
            self.taken = None;
        }
        if let Some(taken) = self.taken.as_mut().filter(|_| !data.is_empty()) {
            taken.push_back(data.clone());
        }
        self.piece = data;
        Poll::Ready(Ok(()))
    }

    fn end(&mut self) -> Result<(), Broken<B::Error>> {
        if self.left.is_some_and(|left| left > 0) {
            return Err(Broken::Length);
        }
        self.hand_over(Bytes::new(), true);
        Ok(())
    }

    /// Hands over as much as there is room for.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.reserve_capacity(self.piece.len());
        let mut room = self.stream.capacity();
        while room == 0 {
            room = match self.stream.poll_capacity(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(room))) => room,
                Poll::Ready(Some(Err(_)) | None) => {
                    self.state = State::Deaf;
                    return Poll::Ready(());
                }
            };
        }
        let part = self.piece.split_to(room.min(self.piece.len()));
        // The last piece says so itself where that is known.
        let last = self.piece.is_empty()
            && self.request.again.is_empty()
            && match self.left {
                Some(left) => left == 0,
                None => self.request.message.body.is_end_stream(),
            };
        self.hand_over(part, last);
        Poll::Ready(())
    }

    fn hand_over(&mut self, data: Bytes, last: bool) {
        self.state = match self.stream.send_data(data, last) {
            Err(_) => State::Deaf,
            Ok(()) if last => State::Ended,
            Ok(()) => State::UnderWay,
        };
    }
}

/// A head of HTTP/1.1 in HTTP/2's form (RFC 9113 section 8.3.1); `None` if it is none, which whoever
/// made it would have to answer for.
fn head(written: &[u8], scheme: &'static str) -> Option<hyper::Request<()>> {
    let lines = memchr::memchr_iter(b'\n', written).count();
    let mut headers = vec![httparse::EMPTY_HEADER; lines];
    let mut parsed = httparse::Request::new(&mut headers);
    if !parsed.parse(written).ok()?.is_complete() {
        return None;
    }
    let mut request = hyper::Request::new(());
    *request.method_mut() = Method::from_bytes(parsed.method?.as_bytes()).ok()?;
    *request.version_mut() = Version::HTTP_2;
    let mut authority = None;
    let map = request.headers_mut();
    map.reserve(parsed.headers.len());
    for line in &*parsed.headers {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        match name {
            header::HOST => authority = Some(Authority::try_from(line.value).ok()?),
            header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE => {}
            _ => {
                let mut value = HeaderValue::from_bytes(line.value).ok()?;
                // Kept out of the table that all requests of the connection share (RFC 7541
                // section 7.1.3): they are several clients'.
                let secret = matches!(name, header::AUTHORIZATION | header::COOKIE);
                value.set_sensitive(secret);
                map.append(name, value);
            }
        }
    }
    let target = PathAndQuery::try_from(parsed.path?).ok()?;
    let uri = Uri::builder().scheme(scheme).authority(authority?).path_and_query(target);
    *request.uri_mut() = uri.build().ok()?;
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_the_same_in_http2() {
        let written = b"POST /a%20b?c=d HTTP/1.1\r\nhost: Example.com:8080\r\nx-one: 1\r\n\
                        x-one: 2\r\ncookie: a=b; c=d\r\nte: trailers\r\nconnection: te\r\n\
                        transfer-encoding: chunked\r\n\r\n";
        let request = head(written, "http").unwrap();
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "http://Example.com:8080/a%20b?c=d");
        let lines: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(
            lines,
            [("x-one", "1"), ("x-one", "2"), ("cookie", "a=b; c=d"), ("te", "trailers")]
        );
        assert!(request.headers()[header::COOKIE].is_sensitive());
    }

    #[test]
    fn what_is_no_head_is_sent_nowhere() {
        for written in [
            &b"GET / HTTP/1.1\r\nx: 1\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a\r\n",
            b"",
        ] {
            assert!(head(written, "http").is_none(), "{written:?}");
        }
    }
}

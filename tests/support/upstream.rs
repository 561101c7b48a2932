//! An application server on raw sockets, which keeps every request verbatim.
//!
//! One thread a connection. What a test's `answer` does not send is not sent: no header is added.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use parking_lot::Mutex;

use super::HUNG;

/// A request as its bytes came in.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Which of the upstream's connections it came over, counted from 0.
    pub(crate) connection: usize,
    /// From the first byte of the request line to the empty line.
    pub(crate) head: String,
    /// As framed: with chunk sizes, if chunked.
    pub(crate) body: Vec<u8>,
}

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Close,
    Keep,
}

type Answer = dyn Fn(&Received, &mut TcpStream) -> io::Result<Then> + Send + Sync;

/// A running server; it ends, with its connections, when this is dropped.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    answer: Box<Answer>,
    received: Mutex<Vec<Received>>,
    open: Mutex<Vec<TcpStream>>,
    ended: AtomicBool,
}

// === impl Upstream ===

impl Upstream {
    /// Answers every request with 200 and this text.
    pub(crate) fn saying(text: &'static str) -> Self {
        Self::start(move |_, stream| {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())?;
            Ok(Then::Keep)
        })
    }

    /// Answers with whatever `answer` writes.
    pub(crate) fn start(
        answer: impl Fn(&Received, &mut TcpStream) -> io::Result<Then> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            received: Mutex::default(),
            open: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for (index, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                if accepting.ended.load(Ordering::SeqCst) {
                    return;
                }
                accepting.open.lock().push(stream.try_clone().unwrap());
                let shared = Arc::clone(&accepting);
                thread::spawn(move || shared.serve(stream, index));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.shared.received.lock().len()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which looks at `ended` then.
        drop(TcpStream::connect(self.address));
        for stream in self.shared.open.lock().drain(..) {
            // Closed already, most likely.
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

impl Received {
    /// Its target, as sent.
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    /// All values of a header, in order.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let lines = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        lines
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }
}

// === a connection ===

impl Shared {
    fn serve(&self, stream: TcpStream, connection: usize) {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(HUNG)).unwrap();
        let mut writing = stream.try_clone().unwrap();
        let mut reading = BufReader::new(stream);
        while let Ok(Some(request)) = read_request(&mut reading, connection) {
            self.received.lock().push(request.clone());
            match (self.answer)(&request, &mut writing) {
                Ok(Then::Keep) => {}
                Ok(Then::Close) | Err(_) => break,
            }
        }
        // The other clone in `open` would keep it half alive.
        drop(writing.shutdown(Shutdown::Both));
    }
}

fn read_request(stream: &mut impl BufRead, connection: usize) -> io::Result<Option<Received>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut head)? == 0 {
            return Ok(None);
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut request = Received { connection, head, body: Vec::new() };
    if request.headers("transfer-encoding").is_empty() {
        let length = request.headers("content-length").first().map_or(0, |n| n.parse().unwrap());
        let read = stream.take(length).read_to_end(&mut request.body)?;
        // Broken off: no application takes half a body for a request.
        if read as u64 != length {
            return Ok(None);
        }
    } else {
        // The tests' bodies do not hold the end of a chunked body themselves.
        while !request.body.ends_with(b"0\r\n\r\n") {
            if stream.read_until(b'\n', &mut request.body)? == 0 {
                return Ok(None);
            }
        }
    }
    Ok(Some(request))
}

//! The application behind both proxies: 1 KiB for every request, at as little cost as possible.
//!
//! It shares a core with the load, so whatever it takes slows both proxies' runs alike and is part
//! of neither's CPU time.

use std::thread;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};

use super::Result;

/// Starts it on a thread of its own, to run as long as the process; its port, and the thread.
pub(super) fn start() -> Result<(u16, Handle)> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let thread = runtime.handle().clone();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let port = listener.local_addr()?.port();
    thread::Builder::new().name("upstream".to_owned()).spawn(move || {
        runtime.block_on(async {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
    })?;
    Ok((port, thread))
}

/// Answers until the proxy closes: no request has a body, and no proxy here sends two at once.
async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let response = response();
    let mut head = Vec::with_capacity(8 * 1024);
    while stream.read_buf(&mut head).await? > 0 {
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            stream.write_all(&response).await?;
        }
    }
    Ok(())
}

fn response() -> Vec<u8> {
    const BODY: usize = 1024;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {BODY}\r\n\r\n"
    );
    [head.as_bytes(), &[b'x'; BODY]].concat()
}

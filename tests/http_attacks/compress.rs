//! H22: compression never where its length could betray a secret.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

use async_compression::tokio::write::{BrotliDecoder, GzipDecoder, ZstdDecoder};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;

use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::token::{ISSUER, SECRET, Signer, claims};
use crate::support::upstream::{Then, Upstream};

const TEXT: &str = "a line of text that is like the others\n";

/// What the application answers is what the query says: header lines, separated by `&`.
fn echo() -> Upstream {
    Upstream::start(|received, stream| {
        let text = TEXT.repeat(100);
        let query = received.target().split_once('?').map_or("", |(_, query)| query);
        let status = if query.contains("304") { "304 Not Modified" } else { "200 OK" };
        let lines: String = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| format!("{name}: {}\r\n", value.replace("%22", "\"")))
            .collect();
        let (length, text) = match status {
            "200 OK" => (format!("Content-Length: {}\r\n", text.len()), text),
            _ => (String::new(), String::new()),
        };
        write!(stream, "HTTP/1.1 {status}\r\n{length}{lines}\r\n{text}")?;
        Ok(Then::Keep)
    })
}

fn serve(application: &Upstream) -> Gateway {
    let setup = Setup::new();
    fs::create_dir_all(setup.folder().join("static")).unwrap();
    fs::write(setup.folder().join("static/a.txt"), TEXT.repeat(5_000)).unwrap();
    fs::write(setup.folder().join("static/short.txt"), TEXT).unwrap();
    fs::write(setup.folder().join("static/a.png"), TEXT.repeat(100)).unwrap();
    let application = application.url();
    setup.variable("KEY", SECRET).start(&format!(
        "[server]\ncompress = [\"zstd\", \"br\", \"gzip\"]\n\
         [listener.plain]\naddress = \"127.0.0.1:0\"\n\
         [issuer.main]\nurl = \"{ISSUER}\"\nsecret = \"${{KEY}}\"\naudience = [\"api\"]\n\
         [[route]]\npath = \"/static/*\"\nstatic = \"static\"\npublic = true\n\
         [[route]]\npath = \"/public/*\"\nupstream = \"{application}\"\npublic = true\n\
         [[route]]\npath = \"/anonymous/*\"\nupstream = \"{application}\"\nanonymous = true\n\
         [[route]]\npath = \"/private/*\"\nupstream = \"{application}\"\n"
    ))
}

fn decoded(coding: &str, bytes: &[u8]) -> String {
    macro_rules! decode {
        ($decoder:ident) => {{
            let mut decoder = $decoder::new(Vec::new());
            decoder.write_all(bytes).await.unwrap();
            decoder.shutdown().await.unwrap();
            decoder.into_inner()
        }};
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let decoded = runtime.block_on(async {
        match coding {
            "br" => decode!(BrotliDecoder),
            "gzip" => decode!(GzipDecoder),
            _ => decode!(ZstdDecoder),
        }
    });
    String::from_utf8(decoded).unwrap()
}

#[test]
fn h22_public_text_is_compressed_as_the_client_likes() {
    let application = echo();
    let gateway = serve(&application);
    let mut client = Client::tcp(gateway.address("plain"));
    let page = "/public/x?Content-Type=text/html&ETag=%22a%22";
    for (path, length) in [("/static/a.txt", 5_000), (page, 100)] {
        let plain = client.get(path, "").expect(200);
        assert_eq!(plain.header("content-encoding"), None);
        assert_eq!(plain.header("vary"), Some("Accept-Encoding"), "{path}");
        assert_eq!(plain.text(), TEXT.repeat(length));
        let strong = plain.header("etag").unwrap().to_owned();
        for (accepted, coding) in
            [("gzip", "gzip"), ("br", "br"), ("gzip, br, zstd", "zstd"), ("zstd;q=0.1, br", "br")]
        {
            let accept = format!("Accept-Encoding: {accepted}\r\n");
            let response = client.get(path, &accept).expect(200);
            assert_eq!(response.header("content-encoding"), Some(coding), "{path} {accepted}");
            assert_eq!(response.header("content-length"), None);
            assert_eq!(response.header("accept-ranges"), None);
            assert_eq!(response.header("etag"), Some(&*format!("W/{strong}")));
            assert!(response.body.len() < 2_000, "{}", response.body.len());
            assert_eq!(decoded(coding, &response.body), TEXT.repeat(length), "{path} {accepted}");
            let head = client.ask("HEAD", path, &accept).expect(200);
            assert_eq!(head.header("content-encoding"), Some(coding));
        }
    }
    // The tag that came with it is known.
    let etag = client.get("/static/a.txt", "").expect(200).header("etag").unwrap().to_owned();
    let known = format!("Accept-Encoding: gzip\r\nIf-None-Match: W/{etag}\r\n");
    let known = client.get("/static/a.txt", &known).expect(304);
    assert_eq!(known.header("etag"), Some(&*format!("W/{etag}")));
    assert_eq!(known.header("vary"), Some("Accept-Encoding"));
    // A part is a part of the plain file.
    let part = "Accept-Encoding: gzip\r\nRange: bytes=0-5\r\n";
    let part = client.get("/static/a.txt", part).expect(206);
    assert_eq!((part.header("content-encoding"), part.text()), (None, "a line"));
}

#[test]
fn h22_nothing_is_compressed_that_could_hold_a_secret() {
    let application = echo();
    let gateway = serve(&application);
    let mut client = Client::tcp(gateway.address("plain"));
    let token = Signer::hmac(SECRET.as_bytes()).sign(&claims(ISSUER, "ada"));
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let mut plain = |path: &str, lines: &str| {
        let response = client.get(path, &format!("Accept-Encoding: gzip, br, zstd\r\n{lines}"));
        let response = response.expect(200);
        assert_eq!(response.header("content-encoding"), None, "{path} {lines}");
        assert!(response.text().contains("a line of text"), "{path}");
        assert!(!response.header("etag").is_some_and(|etag| etag.starts_with("W/")), "{path}");
    };
    let text = "Content-Type=text/html&ETag=%22a%22";
    plain(&format!("/private/x?{text}"), &bearer);
    plain(&format!("/anonymous/x?{text}"), "");
    plain(&format!("/anonymous/x?{text}"), &bearer);
    plain(&format!("/public/x?{text}"), "Cookie: session=1\r\n");
    plain(&format!("/public/x?{text}"), "Authorization: Basic eDp5\r\n");
    plain(&format!("/public/x?{text}&Set-Cookie=session"), "");
    plain(&format!("/public/x?{text}&Cache-Control=no-transform"), "");
    plain(&format!("/public/x?{text}&Content-Digest=x"), "");
    plain("/public/x?Content-Type=text/event-stream", "");
    plain("/public/x?Content-Type=image/png", "");
    plain("/public/x?", "");
    plain("/static/short.txt", "");
    plain("/static/a.png", "");
    plain("/static/a.txt", "Cookie: session=1\r\n");
    plain("/static/a.txt", &bearer);
}

/// What is written bit by bit arrives bit by bit.
#[test]
fn h22_a_compressed_stream_is_not_held_back() {
    let (go_on, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let application = Upstream::start(move |_, stream| {
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nfirst"
        )?;
        stream.flush()?;
        told.lock().recv_timeout(Duration::from_secs(20)).map_err(std::io::Error::other)?;
        write!(stream, "second")?;
        Ok(Then::Close)
    });
    let gateway = serve(&application);
    let mut stream = TcpStream::connect(gateway.address("plain")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = "GET /public/x HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\
                   Connection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    // A head and more than gzip's own ten bytes: only a flush brings them before the end.
    let body = |received: &[u8]| {
        let end = received.windows(4).position(|four| four == b"\r\n\r\n");
        end.map_or(0, |end| received.len() - end - 4)
    };
    while body(&received) < 20 {
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&received));
        received.extend_from_slice(&buffer[..length]);
    }
    go_on.send(()).unwrap();
    stream.read_to_end(&mut received).unwrap();
    assert!(received.ends_with(b"0\r\n\r\n"), "it ends as it should");
}

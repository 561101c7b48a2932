//! The demo's sample application: answers with what it saw of the request.
//!
//! Shows what an application behind the gateway gets: the method, the path, every header field
//! (identity headers among them) and how long the body was. Keeps nothing, trusts nothing.

use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;

use super::loopback::{self, Server};

/// Starts the application on `listener`, which must be on a loopback address.
///
/// # Errors
/// The address is another, or the socket cannot be used.
pub fn start(listener: std::net::TcpListener, runtime: &Handle) -> io::Result<Server> {
    Server::start(listener, runtime, answer)
}

async fn answer(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    if head.uri.path() == "/" && matches!(head.method, Method::GET | Method::HEAD) {
        return loopback::content(StatusCode::OK, "text/html; charset=utf-8", PAGE);
    }
    let body_bytes = match count(body).await {
        Ok(bytes) => bytes,
        Err(status) => return loopback::json(status, &json!({ "detail": status.to_string() })),
    };
    let seen = json!({
        "method": head.method.as_str(),
        "path": head.uri.path(),
        "query": head.uri.query(),
        "headers": headers(&head.headers),
        "body_bytes": body_bytes,
    });
    loopback::json(StatusCode::OK, &seen)
}

/// Reads the body to its end without keeping it.
async fn count(mut body: Incoming) -> Result<u64, StatusCode> {
    let mut bytes = 0_u64;
    loop {
        let frame = match tokio::time::timeout(BETWEEN_FRAMES, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => return Err(StatusCode::BAD_REQUEST),
            Ok(None) => return Ok(bytes),
            Err(_) => return Err(StatusCode::REQUEST_TIMEOUT),
        };
        let length = frame.data_ref().map_or(0, Bytes::len);
        bytes = bytes.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        if bytes > MAX_BODY {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
    }
}

const BETWEEN_FRAMES: Duration = Duration::from_secs(30);
/// Above what any route of the demo lets through, so that the gateway's limit is the one seen.
const MAX_BODY: u64 = 64 * 1024 * 1024;

/// A repeated field becomes a list, so that nothing that arrived stays unseen.
fn headers(headers: &HeaderMap) -> Map<String, Value> {
    headers
        .keys()
        .map(|name| {
            let mut lines: Vec<Value> = headers
                .get_all(name)
                .iter()
                .map(|line| String::from_utf8_lossy(line.as_bytes()).into())
                .collect();
            let value = match lines.pop() {
                Some(only) if lines.is_empty() => only,
                last => lines.into_iter().chain(last).collect(),
            };
            (name.as_str().to_owned(), value)
        })
        .collect()
}

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Portcullis demo</title>
<style>body { font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; }</style>
<h1>It works</h1>
<p>This page comes from the sample application behind Portcullis. Every other path answers with
the request as the application saw it: method, path and headers, in JSON.</p>
<p>The lines that <code>portcullis demo</code> printed show the rest: a request without a token, a
token, a request with it.</p>
</html>
"#;

#[cfg(test)]
mod tests {
    use super::super::loopback::tests::{listener, send};
    use super::*;

    fn seen(response: &Response<Bytes>) -> Value {
        assert_eq!(response.status(), StatusCode::OK);
        serde_json::from_slice(response.body()).unwrap()
    }

    #[tokio::test]
    async fn it_tells_what_it_saw() {
        let server = start(listener(), &Handle::current()).unwrap();
        let request = Request::post("/a%20b?c=d")
            .header("x-user", "ada")
            .header("x-twice", "1")
            .header("x-twice", "2")
            .body(Full::from("hello"))
            .unwrap();
        let seen = seen(&send(&server, request).await);
        assert_eq!(seen["method"], "POST");
        assert_eq!(seen["path"], "/a%20b");
        assert_eq!(seen["query"], "c=d");
        assert_eq!(seen["body_bytes"], 5);
        assert_eq!(seen["headers"]["x-user"], "ada");
        assert_eq!(seen["headers"]["x-twice"], json!(["1", "2"]));
        assert_eq!(seen["headers"]["host"], "demo.test");
    }

    #[tokio::test]
    async fn the_top_is_a_page() {
        let server = start(listener(), &Handle::current()).unwrap();
        let response = send(&server, Request::new(Full::default())).await;
        assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
        assert!(response.body().starts_with(b"<!doctype html>"));
        let post = Request::post("/").body(Full::default()).unwrap();
        assert_eq!(seen(&send(&server, post).await)["method"], "POST");
    }
}

//! The order to revoke tokens, or to take that back: over a unix socket only, whose mode says who
//! may. The one request of the admin address whose body is read.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Bytes};
use hyper::{Method, Request, StatusCode};
use serde_json::json;
use tokio::time::timeout;

use super::endpoints::{Peer, Reply, is_write, json_reply, text};
use super::{Admin, Refused};

/// Whether the request is such an order, from somebody who may give it.
pub(super) fn is_order<B>(peer: Peer, request: &Request<B>) -> bool {
    peer == Peer::Unix && request.uri().path() == "/revocations" && is_write(request.method())
}

/// Reads the lines and puts them in force.
pub(super) async fn obey<B>(admin: &Admin, request: Request<B>) -> Reply
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let is_post = *request.method() == Method::POST;
    #[expect(clippy::disallowed_methods, reason = "limited to 1 MiB, and ten seconds")]
    let reading = Limited::new(request.into_body(), MAX_BODY).collect();
    let body = match timeout(BODY_TIMEOUT, reading).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return text(StatusCode::PAYLOAD_TOO_LARGE, "not more than 1 MiB\n"),
        Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time\n"),
    };
    let Ok(lines) = std::str::from_utf8(&body) else {
        return text(StatusCode::UNPROCESSABLE_ENTITY, "not UTF-8\n");
    };
    let outcome = match is_post {
        true => admin.revoke.revoke(lines).map(|count| ("revoked", count)),
        false => admin.revoke.take_back(lines).map(|count| ("taken_back", count)),
    };
    match outcome {
        Ok((done, count)) => {
            let kept = timeout(SAVE_TIMEOUT, admin.revoke.kept()).await.unwrap_or(false);
            json_reply(StatusCode::OK, &json!({ done: count, "kept": kept }))
        }
        Err(Refused::Full(why)) => text(StatusCode::INSUFFICIENT_STORAGE, format!("{why}\n")),
        Err(Refused::Unreadable(why)) => text(StatusCode::UNPROCESSABLE_ENTITY, format!("{why}\n")),
    }
}

/// Some ten thousand lines at once.
const MAX_BODY: usize = 1 << 20;

const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// For a write to disk. What was told is in force before it.
const SAVE_TIMEOUT: Duration = Duration::from_secs(10);

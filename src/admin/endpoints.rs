//! What each path of the admin address answers, and to whom.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Admin, Readiness, ReloadRequest, Reloaded};

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// This machine, over TCP: a program, or a page in a browser.
    Loopback,
    /// Another machine.
    Remote,
    /// A unix socket: whoever its mode lets in.
    Unix,
}

/// Answers a request; its body is never read.
pub(super) async fn answer<B>(admin: &Admin, peer: Peer, request: &Request<B>) -> Reply {
    let path = request.uri().path();
    let page = match path {
        "/livez" => Some(Page::Live),
        "/metrics" => Some(Page::Metrics),
        "/healthz" | "/readyz" => Some(Page::Ready),
        _ => None,
    };
    if let Some(page) = page {
        return read_only(request.method(), || page.show(admin));
    }

    if peer == Peer::Remote {
        return text(StatusCode::FORBIDDEN, "for peers on this machine only\n");
    }
    if peer == Peer::Loopback && !is_for_this_machine(request) {
        return text(StatusCode::MISDIRECTED_REQUEST, "the host must be localhost\n");
    }
    let document = match path {
        "/config" => Document::Config,
        "/issuers" => Document::Issuers,
        "/revocations" if is_write(request.method()) => {
            return text(StatusCode::FORBIDDEN, "over the unix socket only\n");
        }
        "/revocations" => Document::Revocations,
        "/reload" => return reload(admin, peer, request).await,
        "/routes" => Document::Routes,
        "/upstreams" => Document::Upstreams,
        _ => return text(StatusCode::NOT_FOUND, "no such page\n"),
    };
    read_only(request.method(), || document.show(admin))
}

pub(super) type Reply = Response<Full<Bytes>>;

/// What anyone may read.
enum Page {
    Live,
    Metrics,
    Ready,
}

impl Page {
    fn show(&self, admin: &Admin) -> Reply {
        match self {
            Self::Live => text(StatusCode::OK, "ok\n"),
            Self::Metrics => reply(
                StatusCode::OK,
                HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
                admin.metrics.render(),
            ),
            Self::Ready => {
                let readiness = admin.state.readiness();
                let status = match readiness {
                    Readiness::Ready => StatusCode::OK,
                    Readiness::Draining | Readiness::KeysUnavailable | Readiness::Starting => {
                        StatusCode::SERVICE_UNAVAILABLE
                    }
                };
                text(status, format!("{}\n", readiness.as_str()))
            }
        }
    }
}

/// What this machine's operator may read.
enum Document {
    Config,
    Issuers,
    Revocations,
    Routes,
    Upstreams,
}

impl Document {
    fn show(&self, admin: &Admin) -> Reply {
        let document = match self {
            Self::Config => admin.state.config(),
            Self::Issuers => admin.state.issuers(),
            Self::Revocations => admin.state.revocations(),
            Self::Routes => admin.state.routes(),
            Self::Upstreams => admin.state.upstreams(),
        };
        json_reply(StatusCode::OK, &document)
    }
}

async fn reload<B>(admin: &Admin, peer: Peer, request: &Request<B>) -> Reply {
    if *request.method() != Method::POST {
        return method_not_allowed("POST");
    }
    // A page of another site can POST to loopback, but neither set this header without asking
    // first nor leave its Origin out.
    let headers = request.headers();
    let asked = headers.get(ACTION).is_some_and(|action| action == "reload");
    if peer != Peer::Unix && (!asked || headers.contains_key(ORIGIN)) {
        return text(
            StatusCode::FORBIDDEN,
            "needs the header `Portcullis-Action: reload`, and no Origin\n",
        );
    }

    let (reply, reloaded) = oneshot::channel();
    match admin.reload.try_send(ReloadRequest { reply }) {
        Ok(()) => {}
        Err(TrySendError::Full(_)) => {
            return text(StatusCode::SERVICE_UNAVAILABLE, "a reload is under way\n");
        }
        Err(TrySendError::Closed(_)) => {
            return text(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n");
        }
    }
    match timeout(RELOAD_TIMEOUT, reloaded).await {
        Ok(Ok(Reloaded::Installed { generation })) => {
            let document = json!({ "result": "installed", "generation": generation });
            json_reply(StatusCode::OK, &document)
        }
        Ok(Ok(Reloaded::Refused { diagnostics })) => {
            let document = json!({ "result": "refused", "diagnostics": diagnostics });
            json_reply(StatusCode::UNPROCESSABLE_ENTITY, &document)
        }
        Ok(Err(_)) => text(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"),
        Err(_) => text(StatusCode::GATEWAY_TIMEOUT, "the reload is still under way\n"),
    }
}

/// Whether every host that the request names is this machine. A page of another site can make a
/// browser send it here under that site's name, and would then be let read the answer (DNS
/// rebinding).
fn is_for_this_machine<B>(request: &Request<B>) -> bool {
    let target = request.uri().authority();
    match (sole_host(request.headers()), target) {
        (Some(host), None) => names_this_machine(&host),
        (Some(host), Some(target)) => names_this_machine(&host) && names_this_machine(target),
        (None, _) => false,
    }
}

fn sole_host(headers: &HeaderMap) -> Option<Authority> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().filter(|_| hosts.next().is_none())?;
    Authority::try_from(host.as_bytes()).ok()
}

fn names_this_machine(authority: &Authority) -> bool {
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

fn read_only(method: &Method, show: impl FnOnce() -> Reply) -> Reply {
    // hyper leaves the body out of the answer to a HEAD.
    if matches!(*method, Method::GET | Method::HEAD) {
        show()
    } else {
        method_not_allowed("GET, HEAD")
    }
}

/// What changes the list of revoked tokens.
pub(super) fn is_write(method: &Method) -> bool {
    matches!(*method, Method::DELETE | Method::POST)
}

fn method_not_allowed(allow: &'static str) -> Reply {
    let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, "no such method here\n");
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    reply
}

pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    reply(status, HeaderValue::from_static("text/plain; charset=utf-8"), text)
}

pub(super) fn json_reply(status: StatusCode, document: &serde_json::Value) -> Reply {
    let text = format!("{document:#}\n");
    reply(status, HeaderValue::from_static("application/json"), text)
}

fn reply(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

/// Asks for a write.
const ACTION: HeaderName = HeaderName::from_static("portcullis-action");

/// A reload reads files and binds sockets; it waits for no other machine.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_this_machine() {
        for name in ["localhost", "LocalHost:9180", "127.0.0.1", "127.9.9.9:1", "[::1]:9180"] {
            assert!(names_this_machine(&name.parse().unwrap()), "{name}");
        }
        for name in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost@evil.example",
            "evil@localhost",
            "0.0.0.0",
            "10.0.0.1",
            "[::]",
        ] {
            assert!(!names_this_machine(&name.parse().unwrap()), "{name}");
        }
    }
}

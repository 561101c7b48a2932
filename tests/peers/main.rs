//! Portcullis against programs that others wrote. Those of Debian's packages that are missing fail
//! their tests by the package's name (`.ci/run` installs them); others come from PyPI and npm.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and knows its data"
)]

/// Balancers in front that name their clients.
mod balancers;
/// curl, nghttp and httpx fetch, post and stream.
mod clients;
/// The demo's printed lines, by a real shell and curl.
mod demo;
/// A million random kids beside good tokens.
mod flood;
/// nginx, Caddy, Traefik and Envoy that ask before they forward.
mod forward_auth;
/// HTTP/2 as nghttp2 speaks it.
mod nghttp2;
/// Node's HTTP server behind `kind = "node"`.
mod node;
/// Tokens and an issuer from npm.
mod npm;
/// What Prometheus makes of the metrics.
mod prometheus;
/// 100,000 requests, random resets, and nothing done twice.
mod resets;
/// slowhttptest's attacks beside healthy clients.
mod slow;
/// Files beside nginx and Caddy.
mod static_files;
/// Clients, upstreams, issuers, gateways.
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "shared with the integration tests, which use the rest")]
mod support;
/// TLS as OpenSSL, curl and Python speak it, and what a scanner says of it.
mod tls;

/// WebSocket as npm's ws, Node's HTTP/2 and Chromium speak it.
mod websocket;

use std::process::Command;

/// A program of a Debian package.
fn program(name: &str, package: &str) -> Command {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()));
    assert!(found, "`{name}` is missing: apt-get install {package}");
    Command::new(name)
}

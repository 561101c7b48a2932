//! The integration tests: raw bytes to real listeners on port 0, one file a subject.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and knows its data"
)]

/// Files that applications name.
mod accel;
/// DESIGN rules: imports, ceilings, where names may stand.
mod architecture;
/// What applications are told about principals, signed.
mod assertion;
/// The verbs of the command line.
mod cli;
/// The verbs of tokens.
mod cli_token;
/// What the side-by-side benchmark makes of figures.
mod compare;
/// What a broken configuration is told, drawn as an operator sees it.
mod config_errors;
/// Pages of other origins: preflights, and who may read.
mod cors;
/// `portcullis demo`, line by line.
mod demo;
/// Hostile headers against what Django is told.
mod django_meta;
/// What README, docs, examples and images show.
mod documents;
/// The tables of attacks name tests that exist.
mod documents_security;
/// SIGTERM: what was begun is finished.
mod drain;
/// What becomes of a request, told offline.
mod explain;
/// Proxies that ask before they forward.
mod forward_auth;
/// gRPC, and HTTP/2 to application servers.
mod grpc;
/// What precedes a refusal's body, over both protocols.
mod heads_of_refusals;
/// Attacks on HTTP, row by row.
mod http_attacks;
/// How long connections to application servers are used again.
mod idle_connections;
/// Tokens that other implementations wrote.
mod interop;
/// Keys that outlive a restart, files that change.
mod key_service;
/// Issuers that rotate, fail and stall.
mod keys;
/// Reloads and what they change.
mod lifecycle;
/// Who may come in, how often, and with how many bad tokens.
mod limits;
/// Every kind of request meets every kind of route.
mod matrix;
/// How clients learn where tokens come from.
mod metadata;
/// Certificates of clients, and files that change under a listener.
mod mutual_tls;
/// Upstreams whose endpoints are addresses of names.
mod names;
/// A command of the gateway's own, as Procfiles start it.
mod procfile;
/// Clients behind proxies that are trusted, and proxies that are not.
mod proxies;
/// Balancers that say for whom they connect.
mod proxy_protocol;
/// Django behind Gunicorn behind the gateway.
mod real_stack;
/// Every way to be refused.
mod reasons;
/// Application servers that come and go under load.
mod restarts;
/// Tokens that are taken back.
mod revocation;
/// What goes on, as three strict parsers read it.
mod semantics;
/// What a route changes on the way.
mod shaping;
/// Clients that come back to their endpoint.
mod sticky;
/// Clients, upstreams, issuers, gateways.
mod support;
/// Symlinks that change while files are read.
mod symlinks;
/// Tokens in cookies, queries and subprotocols.
mod token_places;
/// What the kinds of application servers mean.
mod upstream_kinds;
/// TLS to application servers.
mod upstream_tls;
/// Several endpoints, and too few slots at them.
mod upstreams;
/// WebSocket, and what is made to look like it.
mod websocket;

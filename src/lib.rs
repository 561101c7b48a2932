//! Portcullis: an authenticating reverse proxy.
//!
//! One binary that terminates TLS, serves static files, verifies bearer JWTs with cached keys, and
//! forwards what is authorized to application servers.
//!
//! # Reading order
//! Two flows explain everything else; ARCHITECTURE.md draws them.
//!
//! **A request**: [`server`] accepts and speaks HTTP, [`gateway`] tells the story of one exchange
//! (head checks, [`route`], [`auth`], then [`proxy`] over [`upstream`] or [`static_files`]), and
//! [`telemetry`] writes exactly one record of it.
//!
//! **A configuration**: [`config`] reads what the operator wrote, [`snapshot`] compiles it into the
//! immutable runtime view, [`app`] binds and installs it, [`reload`] does so again.
//!
//! # Trust boundaries
//! Bytes from clients meet [`http`] (heads and paths) and [`auth`] (tokens) first; bytes from
//! issuers meet [`keys`]; bytes from applications meet [`proxy`]. Nothing of a client's reaches an
//! action but through [`auth::Permit`].

#[cfg(not(target_os = "linux"))]
compile_error!("portcullis runs on Linux only: it relies on openat2, accept4 and /proc");

pub mod admin;
pub mod app;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod gateway;
pub mod http;
pub mod keys;
pub mod limit;
pub mod proxy;
pub mod reload;
pub mod route;
pub mod server;
pub mod shutdown;
pub mod snapshot;
pub mod state_dir;
pub mod static_files;
pub mod telemetry;
pub mod tls;
pub mod upstream;
pub mod watched_file;
pub mod worker;

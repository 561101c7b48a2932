//! The admin address: metrics, health and state for operators, and the order to reload.
//!
//! Runs on the control plane, so that a slow reader costs no request. Owns who may see what:
//! - `/metrics`, `/livez`, `/readyz`, `/healthz` answer anyone who reaches the address;
//! - the documents of the state answer peers on this machine alone, and over TCP only if the `Host`
//!   is one of this machine too: a browser may be made to carry another (DNS rebinding);
//! - a write takes a unix socket; the order to reload also passes on loopback, with a header that
//!   no page of a browser can send unasked.
//!
//! Trusts nothing of a request but its head, reads no body but that of a revocation, and knows nothing of what the documents
//! hold: `app` hands in a [`State`] with secrets already hidden.

mod endpoints;
mod revocations;
mod serve;

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

pub use serve::{Socket, serve};

use crate::telemetry::metrics::Metrics;

/// What the admin address tells and does.
pub struct Admin {
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// For everything else that is read.
    pub state: Arc<dyn State>,
    /// For what is revoked over a unix socket.
    pub revoke: Arc<dyn Revoke>,
    /// Where the order to reload goes. One that finds the queue full is refused.
    pub reload: mpsc::Sender<ReloadRequest>,
}

/// The documents of the admin address, as they are now. Secrets are already hidden in them.
pub trait State: Send + Sync + 'static {
    /// Whether new requests should come here.
    fn readiness(&self) -> Readiness;
    /// The route table.
    fn routes(&self) -> serde_json::Value;
    /// The issuers and what is known of their keys.
    fn issuers(&self) -> serde_json::Value;
    /// The upstreams and their endpoints.
    fn upstreams(&self) -> serde_json::Value;
    /// The revoked tokens.
    fn revocations(&self) -> serde_json::Value;
    /// The configuration in force.
    fn config(&self) -> serde_json::Value;
}

/// Revokes tokens, in the lines of docs/revocation.md; all of them or none.
pub trait Revoke: Send + Sync + 'static {
    /// Makes tokens count no more; how many lines there were.
    ///
    /// # Errors
    /// Nothing was revoked, and why.
    fn revoke(&self, lines: &str) -> Result<usize, Refused>;
    /// Takes back what was revoked so; how many entries there were.
    ///
    /// # Errors
    /// Nothing was taken back, and why.
    fn take_back(&self, lines: &str) -> Result<usize, Refused>;
    /// Resolves when what was written is on disk; false if it is not kept there.
    fn kept(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}

/// Why lines were not put in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no room.
    Full(String),
    /// A line that says nothing.
    Unreadable(String),
}

/// Whether new requests should come here, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The process is about to end.
    Draining,
    /// An issuer's keys are not known.
    KeysUnavailable,
    /// They should.
    Ready,
    /// Not every listener is bound.
    Starting,
}

impl Readiness {
    /// The word in the answer.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::KeysUnavailable => "keys_unavailable",
            Self::Ready => "ready",
            Self::Starting => "starting",
        }
    }
}

/// An order to reload.
#[derive(Debug)]
pub struct ReloadRequest {
    /// Takes what came of it. The one who asked may be gone.
    pub reply: oneshot::Sender<Reloaded>,
}

/// What came of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// The new configuration is in force.
    Installed {
        /// Its number.
        generation: u64,
    },
    /// The one before stays in force.
    Refused {
        /// Why, as `portcullis check` would print it.
        diagnostics: String,
    },
}

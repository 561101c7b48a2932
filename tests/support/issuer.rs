//! An identity provider on loopback: discovery and JWKS; it rotates, fails, stalls and counts.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};

use super::token::Signer;
use super::upstream::{Then, Upstream};

/// How it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Well,
    /// 500.
    Failing,
    /// No answer until the mood changes.
    Stalling,
}

/// A running identity provider.
pub(crate) struct Issuer {
    server: Upstream,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    keys: Mutex<Vec<Value>>,
    mood: Mutex<Mood>,
    changed: Condvar,
}

impl Issuer {
    /// Publishes these keys.
    pub(crate) fn start(signers: &[&Signer]) -> Self {
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let server = Upstream::start(move |request, stream| {
            let mood = shared.settled();
            let host = request.headers("host").concat();
            let (status, body) = match (mood, request.target()) {
                (Mood::Failing | Mood::Stalling, _) => (500, json!({})),
                (Mood::Well, "/jwks") => (200, json!({ "keys": *shared.keys.lock() })),
                (Mood::Well, "/.well-known/openid-configuration") => {
                    let (issuer, keys) = (format!("http://{host}"), format!("http://{host}/jwks"));
                    (200, json!({ "issuer": issuer, "jwks_uri": keys }))
                }
                (Mood::Well, _) => (404, json!({})),
            };
            let body = body.to_string();
            let length = body.len();
            write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}")?;
            Ok(Then::Close)
        });
        let issuer = Self { server, state };
        issuer.publish(signers);
        issuer
    }

    /// What tokens name as `iss`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Replaces the published keys.
    pub(crate) fn publish(&self, signers: &[&Signer]) {
        *self.state.keys.lock() = signers.iter().map(|signer| signer.jwk()).collect();
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.state.mood.lock() = mood;
        self.state.changed.notify_all();
    }

    /// How many times keys were asked for.
    pub(crate) fn fetches(&self) -> usize {
        self.server.received().iter().filter(|request| request.target() == "/jwks").count()
    }

    /// All requests of any kind.
    pub(crate) fn requests(&self) -> usize {
        self.server.count()
    }
}

impl State {
    /// The mood, once it is another than stalling.
    fn settled(&self) -> Mood {
        let mut mood = self.mood.lock();
        self.changed.wait_while(&mut mood, |mood| *mood == Mood::Stalling);
        *mood
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.set(Mood::Failing);
    }
}

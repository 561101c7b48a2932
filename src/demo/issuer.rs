//! The demo's issuer: signs tokens for one user, publishes its keys, rotates them when asked.
//!
//! Owns its signing keys, in memory only. An access token (5 minutes) and a refresh token (24
//! hours) differ in `typ`, `aud` and `token_type`, so that neither can pass for the other.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;

use super::loopback::{self, Server};
use crate::clock::Clock;
use crate::keys::Algorithm;
use crate::keys::signing::{self, Signer, SigningFailed};

/// The audience of the demo's access tokens.
pub const AUDIENCE: &str = "portcullis-demo";
/// The scope that the demo's user has.
pub const SCOPE: &str = "orders:read";

/// The one account of the issuer. Its password is printed at the start: it protects nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Also the `sub` of the tokens.
    pub username: String,
    /// As typed.
    pub password: String,
}

/// A running issuer; it ends when this is dropped.
#[derive(Debug)]
pub struct Issuer {
    server: Server,
    state: Arc<State>,
}

impl Issuer {
    /// Starts an issuer with a fresh key on `listener`, which must be on a loopback address.
    ///
    /// # Errors
    /// The address is another, the socket cannot be used, or the system gives no randomness.
    pub fn start(
        listener: std::net::TcpListener,
        runtime: &Handle,
        user: User,
        clock: Clock,
    ) -> io::Result<Self> {
        let url = format!("http://{}", listener.local_addr()?);
        let keys = Mutex::new(Keys::new().map_err(io::Error::other)?);
        let serial = AtomicU64::new(clock.wall().as_millis());
        let jwks_requests = AtomicU64::new(0);
        let state = Arc::new(State { url, user, clock, keys, serial, jwks_requests });
        let answering = Arc::clone(&state);
        let server = Server::start(listener, runtime, move |request| {
            let state = Arc::clone(&answering);
            async move { state.answer(request).await }
        })?;
        Ok(Self { server, state })
    }

    /// The server, for its address.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The `iss` of its tokens, and where discovery begins: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.state.url
    }

    /// How often the JWKS was asked for.
    pub fn jwks_requests(&self) -> u64 {
        self.state.jwks_requests.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct State {
    url: String,
    user: User,
    clock: Clock,
    keys: Mutex<Keys>,
    /// Of the next `jti`; begins with the time, so that a restart repeats none.
    serial: AtomicU64,
    jwks_requests: AtomicU64,
}

/// The key that signs and the one before it, whose tokens stay good until the next rotation.
#[derive(Debug)]
struct Keys {
    current: Signer,
    previous: Option<Signer>,
}

impl Keys {
    fn new() -> Result<Self, SigningFailed> {
        Ok(Self { current: Signer::generate()?, previous: None })
    }

    fn rotate(&mut self) -> Result<(), SigningFailed> {
        let former = std::mem::replace(&mut self.current, Signer::generate()?);
        self.previous = Some(former);
        Ok(())
    }

    fn iter(&self) -> impl Iterator<Item = &Signer> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

// === Requests ===

type Answer = Result<Response<Full<Bytes>>, Refusal>;

#[derive(Deserialize)]
struct Credentials {
    username: String,
    password: String,
}

#[derive(Deserialize)]
struct Refresh {
    refresh: String,
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let answer = match head.uri.path() {
            DISCOVERY if reads(&head.method) => Ok(self.discovery()),
            JWKS if reads(&head.method) => Ok(self.jwks()),
            DISCOVERY | JWKS => Err(Refusal::MethodNotAllowed("GET, HEAD")),
            TOKEN | REFRESH | ROTATE if head.method != Method::POST => {
                Err(Refusal::MethodNotAllowed("POST"))
            }
            TOKEN => self.token(body).await,
            REFRESH => self.refresh(body).await,
            // A page of some site in the same machine's browser may send this, but not read it.
            ROTATE if head.headers.contains_key(header::ORIGIN) => Err(Refusal::CrossOrigin),
            ROTATE => self.rotate(),
            _ => Err(Refusal::NoSuchPath),
        };
        answer.unwrap_or_else(Refusal::into_response)
    }

    fn discovery(&self) -> Response<Full<Bytes>> {
        let document = json!({
            "issuer": self.url,
            "jwks_uri": format!("{}{JWKS}", self.url),
            "token_endpoint": format!("{}{TOKEN}", self.url),
            "id_token_signing_alg_values_supported": ["ES256"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
        });
        loopback::json(StatusCode::OK, &document)
    }

    fn jwks(&self) -> Response<Full<Bytes>> {
        self.jwks_requests.fetch_add(1, Ordering::Relaxed);
        let set = signing::jwks(self.keys.lock().iter());
        let mut response = loopback::json(StatusCode::OK, &set);
        let keep = HeaderValue::from_static("max-age=300");
        response.headers_mut().insert(header::CACHE_CONTROL, keep);
        response
    }

    async fn token(&self, body: Incoming) -> Answer {
        let credentials: Credentials = read_json(body).await?;
        let User { username, password } = &self.user;
        if (credentials.username, credentials.password) != (username.clone(), password.clone()) {
            return Err(Refusal::NoActiveAccount);
        }
        let pair = json!({
            "access": self.sign(Kind::Access, username)?,
            "refresh": self.sign(Kind::Refresh, username)?,
        });
        Ok(loopback::json(StatusCode::OK, &pair))
    }

    async fn refresh(&self, body: Incoming) -> Answer {
        let Refresh { refresh } = read_json(body).await?;
        let subject = self.subject_of(&refresh).ok_or(Refusal::TokenNotValid)?;
        let access = json!({ "access": self.sign(Kind::Access, &subject)? });
        Ok(loopback::json(StatusCode::OK, &access))
    }

    fn rotate(&self) -> Answer {
        let mut keys = self.keys.lock();
        keys.rotate()?;
        Ok(loopback::json(StatusCode::OK, &json!({ "kid": keys.current.kid() })))
    }
}

fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

async fn read_json<T: for<'de> Deserialize<'de>>(body: Incoming) -> Result<T, Refusal> {
    let text = loopback::read_body(body, MAX_BODY).await.map_err(Refusal::Body)?;
    serde_json::from_slice(&text).map_err(|_| Refusal::BadJson)
}

/// A refresh token is below one kilobyte.
const MAX_BODY: usize = 16 * 1024;

const DISCOVERY: &str = "/.well-known/openid-configuration";
const JWKS: &str = "/.well-known/jwks.json";
const TOKEN: &str = "/api/token/";
const REFRESH: &str = "/api/token/refresh/";
const ROTATE: &str = "/rotate";

// === Tokens ===

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Access,
    Refresh,
}

impl Kind {
    const fn lifetime(self) -> Duration {
        match self {
            Self::Access => Duration::from_secs(5 * 60),
            Self::Refresh => Duration::from_secs(24 * 60 * 60),
        }
    }

    /// The header's `typ`: RFC 9068's for the one, a word nobody accepts for the other.
    const fn typ(self) -> &'static str {
        match self {
            Self::Access => "at+jwt",
            Self::Refresh => "refresh+jwt",
        }
    }

    const fn token_type(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
        }
    }
}

impl State {
    fn sign(&self, kind: Kind, subject: &str) -> Result<String, SigningFailed> {
        let now = self.clock.wall();
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let mut claims = Map::new();
        let mut claim = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        claim("iss", self.url.as_str().into());
        claim("sub", subject.into());
        claim("jti", format!("{serial:016x}").into());
        claim("iat", now.as_secs().into());
        claim("exp", now.saturating_add(kind.lifetime()).as_secs().into());
        claim("token_type", kind.token_type().into());
        match kind {
            Kind::Access => {
                claim("aud", AUDIENCE.into());
                claim("client_id", AUDIENCE.into());
                claim("scope", SCOPE.into());
            }
            Kind::Refresh => {
                claim("aud", self.url.as_str().into());
            }
        }
        let mut header = Map::new();
        header.insert("typ".to_owned(), kind.typ().into());
        self.keys.lock().current.sign(&header, &claims)
    }

    /// Whom a refresh token of this issuer speaks for, as long as it is good.
    fn subject_of(&self, token: &str) -> Option<String> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        let header = part(header)?;
        let kid = header.get("kid")?.as_str()?;
        let key = self.keys.lock().iter().find(|signer| signer.kid() == kid)?.key().ok()?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        if !key.verify(Algorithm::ES256, message.as_bytes(), &signature) {
            return None;
        }
        let claims = part(payload)?;
        let says = |object: &Map<String, Value>, name: &str, expected: &str| {
            object.get(name).and_then(Value::as_str) == Some(expected)
        };
        let good = says(&header, "typ", Kind::Refresh.typ())
            && says(&claims, "token_type", Kind::Refresh.token_type())
            && says(&claims, "aud", &self.url)
            && claims.get("exp")?.as_u64()? > self.clock.wall().as_secs();
        claims.get("sub")?.as_str().filter(|_| good).map(str::to_owned)
    }
}

fn part(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

// === Refusal ===

/// Why the issuer does not do as asked; words and members are those of simplejwt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    BadJson,
    Body(StatusCode),
    CrossOrigin,
    MethodNotAllowed(&'static str),
    NoActiveAccount,
    NoSuchPath,
    NotSigned,
    TokenNotValid,
}

impl From<SigningFailed> for Refusal {
    fn from(_: SigningFailed) -> Self {
        Self::NotSigned
    }
}

impl Refusal {
    fn into_response(self) -> Response<Full<Bytes>> {
        let (status, code, detail) = match self {
            Self::BadJson => {
                (StatusCode::BAD_REQUEST, "parse_error", "The body is not the JSON expected.")
            }
            Self::Body(status) => (status, "body", "The body could not be read."),
            Self::CrossOrigin => (StatusCode::FORBIDDEN, "forbidden", "Not for web pages."),
            Self::MethodNotAllowed(_) => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Not with this method.")
            }
            Self::NoActiveAccount => (
                StatusCode::UNAUTHORIZED,
                "no_active_account",
                "No active account found with the given credentials",
            ),
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "not_found", "Not found."),
            Self::NotSigned => {
                (StatusCode::INTERNAL_SERVER_ERROR, "error", "The system could not sign.")
            }
            Self::TokenNotValid => {
                (StatusCode::UNAUTHORIZED, "token_not_valid", "Token is invalid or expired")
            }
        };
        let mut response = loopback::json(status, &json!({ "detail": detail, "code": code }));
        if let Self::MethodNotAllowed(allow) = self {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

#[cfg(test)]
#[path = "issuer_tests.rs"]
mod tests;

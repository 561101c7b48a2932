//! One fetch of an issuer's keys: by HTTP, by discovery and HTTP, or from files.
//!
//! Owns the bounds of what an issuer may send: one connection a request, no redirects, no content
//! codings, 512 KiB, and a deadline that the caller sets over all of it. Trusts the issuer's
//! certificate for its host; nothing in the document is believed before `jwks` has read it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;

use super::files::Files;
use super::jwks::{self, Parsed};
use super::pem::KeyError;
use super::source::{Origin, Plain, RefreshSettings, Url, UrlError};

/// The largest document taken from an issuer or from a file, in bytes.
pub const MAX_DOCUMENT: usize = 512 * 1024;

/// The largest response head, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// How long one address of a host may take to answer before the next is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);

/// How many addresses of a host are tried.
const MAX_ADDRESSES: usize = 4;

/// What a fetch brought.
#[derive(Debug)]
pub(super) enum Fetched {
    /// At least one usable key.
    Keys { parsed: Parsed, max_age: Option<Duration> },
    /// The issuer says that its document is still what it was.
    NotModified { max_age: Option<Duration> },
    /// The files are what they were at the last look, good or bad.
    Same,
}

/// Why a fetch brought no keys.
#[derive(Debug)]
pub enum FetchError {
    /// No connection to the server.
    Connect(io::Error),
    /// The issuer's metadata are no JSON object with `issuer` and `jwks_uri`.
    Discovery,
    /// A content coding that was not asked for.
    Encoding,
    /// The HTTP exchange failed.
    Http(hyper::Error),
    /// The metadata's `issuer` is not the configured one (RFC 8414 section 3.3).
    IssuerMismatch,
    /// The metadata's `jwks_uri` may not be fetched.
    JwksUri(UrlError),
    /// A set without one key that may be used.
    NoUsableKeys,
    /// No JWKS.
    NotAKeySet,
    /// Reading it hit a fault of Portcullis itself.
    Panicked,
    /// A PEM file.
    Pem(KeyError),
    /// A file could not be read.
    Read(Arc<io::Error>),
    /// A redirect: keys come from where the configuration says, or not at all.
    Redirected,
    /// Any other answer than 200.
    Status(StatusCode),
    /// No answer in time.
    TimedOut,
    /// No TLS with the server, most often for its certificate.
    Tls(io::Error),
    /// More than 512 KiB.
    TooLarge,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "no connection: {error}"),
            Self::Discovery => f.write_str("the metadata lack issuer or jwks_uri"),
            Self::Encoding => f.write_str("an unrequested content coding"),
            Self::Http(error) => write!(f, "no usable response: {error}"),
            Self::IssuerMismatch => f.write_str("the metadata are another issuer's"),
            Self::JwksUri(error) => write!(f, "jwks_uri: {error}"),
            Self::NoUsableKeys => f.write_str("no usable key in the set"),
            Self::NotAKeySet => f.write_str("not a JSON Web Key Set"),
            Self::Panicked => f.write_str("a fault of Portcullis itself"),
            Self::Pem(error) => error.fmt(f),
            Self::Read(error) => write!(f, "unreadable: {error}"),
            Self::Redirected => f.write_str("a redirect, and none is followed"),
            Self::Status(status) => write!(f, "answered {}", status.as_u16()),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Tls(error) => write!(f, "no TLS: {error}"),
            Self::TooLarge => f.write_str("larger than 512 KiB"),
        }
    }
}

impl std::error::Error for FetchError {}

/// The fetching side of one key set, with what it remembers from fetch to fetch.
#[derive(Debug)]
pub(super) struct Fetcher(Way);

#[derive(Debug)]
enum Way {
    Discovery { issuer_url: String, url: Url, remote: Remote },
    Files(Files),
    Jwks { url: Url, remote: Remote },
}

/// How an issuer is asked over the network.
#[derive(Debug)]
struct Remote {
    connector: Connector,
    /// Where an issuer that is itself reached by plain http may send us.
    plain: Plain,
    /// The validator of the document in use, and where it came from.
    etag: Option<(Url, HeaderValue)>,
}

impl Fetcher {
    pub(super) fn new(origin: Origin, settings: &RefreshSettings) -> Self {
        let remote = |url: &Url| Remote {
            connector: Connector {
                tls: settings.tls.clone(),
                moved: settings.connect_to.clone().map(|target| (url.clone(), target)),
            },
            plain: if settings.allow_http { Plain::Anywhere } else { Plain::Loopback },
            etag: None,
        };
        Self(match origin {
            Origin::Discovery { issuer_url, url } => {
                Way::Discovery { remote: remote(&url), issuer_url, url }
            }
            Origin::Files(format, paths) => Way::Files(Files::new(format, paths)),
            Origin::Jwks(url) => Way::Jwks { remote: remote(&url), url },
        })
    }

    /// Fetches once. Unbounded in time: the caller sets the deadline.
    pub(super) async fn fetch(&mut self) -> Result<Fetched, FetchError> {
        match &mut self.0 {
            Way::Discovery { issuer_url, url, remote } => {
                let jwks_url = remote.discover(issuer_url, url).await?;
                remote.fetch_jwks(jwks_url).await
            }
            Way::Files(files) => match files.look().await {
                Some(looked) => Ok(Fetched::Keys { parsed: looked?, max_age: None }),
                None => Ok(Fetched::Same),
            },
            Way::Jwks { url, remote } => remote.fetch_jwks(url.clone()).await,
        }
    }
}

impl Remote {
    async fn fetch_jwks(&mut self, url: Url) -> Result<Fetched, FetchError> {
        let known = self.etag.as_ref().filter(|(of, _)| *of == url).map(|(_, etag)| etag.clone());
        let asked_for_changes = known.is_some();
        let mut exchange = self.connector.get(&url, known).await?;
        let headers = exchange.response.headers();
        let max_age = max_age(headers);
        let etag = headers.get(header::ETAG).cloned();
        if asked_for_changes && exchange.response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Fetched::NotModified { max_age });
        }
        let parsed = parse(&exchange.document().await?)?;
        self.etag = etag.map(|etag| (url, etag));
        Ok(Fetched::Keys { parsed, max_age })
    }

    /// The issuer's `jwks_uri`: OpenID Connect appends the well-known name to the issuer, RFC 8414
    /// puts its own between host and path.
    async fn discover(&self, issuer_url: &str, url: &Url) -> Result<Url, FetchError> {
        let path = url.path.trim_end_matches('/');
        let openid = url.at(format!("{path}/.well-known/openid-configuration"));
        let metadata = match self.connector.get(&openid, None).await?.document().await {
            Err(FetchError::Status(_)) => {
                let oauth = url.at(format!("/.well-known/oauth-authorization-server{path}"));
                self.connector.get(&oauth, None).await?.document().await?
            }
            answer => answer?,
        };
        let metadata: Value =
            serde_json::from_slice(&metadata).map_err(|_| FetchError::Discovery)?;
        let member = |name| metadata.get(name).and_then(Value::as_str);
        if member("issuer").ok_or(FetchError::Discovery)? != issuer_url {
            return Err(FetchError::IssuerMismatch);
        }
        // An https issuer may not send us to plain http, not even on this machine.
        let plain = if url.https { Plain::Never } else { self.plain };
        let jwks_uri = member("jwks_uri").ok_or(FetchError::Discovery)?;
        Url::parse(jwks_uri, plain).map_err(FetchError::JwksUri)
    }
}

fn parse(document: &[u8]) -> Result<Parsed, FetchError> {
    let parsed = jwks::parse_set(document).map_err(|_| FetchError::NotAKeySet)?;
    if parsed.keys.is_empty() { Err(FetchError::NoUsableKeys) } else { Ok(parsed) }
}

/// `max-age` of Cache-Control; zero where it forbids storing (RFC 9111 section 5.2.2).
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let mut found = None;
    for line in headers.get_all(header::CACHE_CONTROL) {
        for directive in line.to_str().ok()?.split(',') {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            let name = name.trim();
            if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
                return Some(Duration::ZERO);
            }
            if name.eq_ignore_ascii_case("max-age") {
                found = value.trim().trim_matches('"').parse().ok().map(Duration::from_secs);
            }
        }
    }
    found
}

/// Opens one connection for each request: fetches are minutes apart.
#[derive(Debug)]
struct Connector {
    tls: Option<Arc<rustls::ClientConfig>>,
    /// A server, and where it is reached instead.
    moved: Option<(Url, String)>,
}

impl Connector {
    async fn get(&self, url: &Url, etag: Option<HeaderValue>) -> Result<Exchange, FetchError> {
        let tcp = self.connect(url).await.map_err(FetchError::Connect)?;
        if !url.https {
            return send(tcp, url, etag).await;
        }
        let name = ServerName::try_from(url.host.clone())
            .map_err(|invalid| FetchError::Tls(io::Error::other(invalid)))?;
        let no_roots = || FetchError::Tls(io::Error::other("nobody is trusted"));
        let connector = tokio_rustls::TlsConnector::from(self.tls.clone().ok_or_else(no_roots)?);
        let stream = connector.connect(name, tcp).await.map_err(FetchError::Tls)?;
        send(stream, url, etag).await
    }

    async fn connect(&self, url: &Url) -> io::Result<TcpStream> {
        let addresses: Vec<SocketAddr> = match &self.moved {
            Some((server, target)) if server.is_same_server(url) => {
                lookup_host(target.as_str()).await?.take(MAX_ADDRESSES).collect()
            }
            Some(_) | None => {
                lookup_host((url.host.as_str(), url.port)).await?.take(MAX_ADDRESSES).collect()
            }
        };
        let mut last = io::Error::from(io::ErrorKind::HostUnreachable);
        for address in addresses {
            match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }
}

/// A response with the task that reads it, which ends with it.
struct Exchange {
    response: Response<Incoming>,
    _connection: JoinSet<()>,
}

async fn send<S>(stream: S, url: &Url, etag: Option<HeaderValue>) -> Result<Exchange, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(FetchError::Http)?;
    let mut tasks = JoinSet::new();
    // An error of the connection reaches the response or its body too.
    tasks.spawn(async move { connection.await.unwrap_or_default() });
    let mut request = Request::get(url.target())
        .header(header::HOST, url.authority.as_str())
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::USER_AGENT, concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close");
    if let Some(etag) = etag {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|_| FetchError::JwksUri(UrlError::Malformed))?;
    let response = sender.send_request(request).await.map_err(FetchError::Http)?;
    Ok(Exchange { response, _connection: tasks })
}

impl Exchange {
    /// The body of a plain 200.
    async fn document(&mut self) -> Result<Vec<u8>, FetchError> {
        let status = self.response.status();
        if status.is_redirection() {
            return Err(FetchError::Redirected);
        }
        if status != StatusCode::OK {
            return Err(FetchError::Status(status));
        }
        let coding = self.response.headers().get(header::CONTENT_ENCODING);
        if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(FetchError::Encoding);
        }
        let mut document = Vec::new();
        while let Some(frame) = self.response.frame().await {
            let frame = frame.map_err(FetchError::Http)?;
            if let Some(data) = frame.data_ref() {
                if document.len() + data.len() > MAX_DOCUMENT {
                    return Err(FetchError::TooLarge);
                }
                document.extend_from_slice(data);
            }
        }
        Ok(document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_control_is_read_leniently() {
        let age = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::CACHE_CONTROL, HeaderValue::from_static(line));
            }
            max_age(&headers).map(|age| age.as_secs())
        };
        assert_eq!(age(&[]), None);
        assert_eq!(age(&["public, max-age=300, must-revalidate"]), Some(300));
        assert_eq!(age(&["public", "Max-Age=\"60\""]), Some(60));
        assert_eq!(age(&["no-store, max-age=900"]), Some(0));
        assert_eq!(age(&["max-age=-1"]), None);
        assert_eq!(age(&["max-age=99999999999999999999999"]), None);
        assert_eq!(age(&["s-maxage=5"]), None);
    }
}

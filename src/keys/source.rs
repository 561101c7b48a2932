//! Where an issuer's keys come from, and how often: settings, checked before anything is fetched.
//!
//! Owns which addresses may be asked. Trusts URLs of the configuration once they are https, or
//! plain http where that was allowed or stays on this machine; a URL out of an issuer's discovery
//! document may not be less safe than the issuer's own.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;

use super::files::Format;
use super::store::Store;

/// Where the keys of one issuer come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// From the `jwks_uri` of the issuer's metadata: OpenID Connect Discovery 1.0 section 4, then
    /// RFC 8414 section 3.
    Discovery {
        /// The issuer's identifier, byte for byte what its metadata must name as `issuer`.
        issuer_url: String,
    },
    /// A JWKS file, read again when it changes.
    File(PathBuf),
    /// A JWKS at this URL.
    JwksUrl(String),
    /// PEM files with public keys, read again when one of them changes.
    PemFiles(Vec<PathBuf>),
}

/// How keys are fetched and how long they are trusted.
#[derive(Clone, Debug)]
pub struct RefreshSettings {
    /// Whether plain http is allowed beyond loopback. Default: no.
    pub allow_http: bool,
    /// `host:port` to connect to instead of what the source's URL says; the URL still decides the
    /// Host header and the certificate's name. Other hosts (a `jwks_uri` elsewhere) are reached
    /// directly. Default: none.
    pub connect_to: Option<String>,
    /// The longest a whole fetch may take, discovery included. Default: 5 s.
    pub fetch_timeout: Duration,
    /// How long fetched keys are used before the next fetch. Default: [`Refresh::Auto`].
    pub refresh: Refresh,
    /// The pause after a first failed fetch; doubles with each further one. Default: 1 s.
    pub retry_first: Duration,
    /// The longest pause between failing fetches. Default: 30 s.
    pub retry_longest: Duration,
    /// How long after the last good fetch its keys still count. Default: 24 h.
    pub stale_for: Duration,
    /// Where the last good keys outlive the process. Default: nowhere.
    pub store: Option<Store>,
    /// TLS towards the issuer; none is needed for files.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// The least time between the end of any fetch and one that an unknown `kid` forces.
    /// Default: 10 s.
    pub unknown_kid_cooldown: Duration,
    /// The longest a request waits for a forced fetch. Default: 2 s.
    pub wait: Duration,
}

impl RefreshSettings {
    /// The defaults.
    pub fn new(tls: impl Into<Option<Arc<rustls::ClientConfig>>>) -> Self {
        Self {
            allow_http: false,
            connect_to: None,
            fetch_timeout: Duration::from_secs(5),
            refresh: Refresh::Auto,
            retry_first: Duration::from_secs(1),
            retry_longest: Duration::from_secs(30),
            stale_for: Duration::from_secs(24 * 60 * 60),
            store: None,
            tls: tls.into(),
            unknown_kid_cooldown: Duration::from_secs(10),
            wait: Duration::from_secs(2),
        }
    }
}

/// How long fetched keys are used; they are renewed at 80 % of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// What Cache-Control's `max-age` says, kept within one minute and 24 hours; ten minutes if it
    /// says nothing.
    Auto,
    /// Always this long; kept within a second and 30 days.
    Every(Duration),
}

const BRIEFEST: Duration = Duration::from_secs(1);
const FARTHEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
const USUAL: Duration = Duration::from_secs(10 * 60);

impl Refresh {
    /// The time until keys that came with `max_age` are to be renewed.
    pub(super) fn renew_after(self, max_age: Option<Duration>) -> Duration {
        let lifetime = match self {
            Self::Auto => max_age.map_or(USUAL, |age| age.clamp(SHORTEST, LONGEST)),
            Self::Every(lifetime) => lifetime.clamp(BRIEFEST, FARTHEST),
        };
        lifetime.mul_f64(0.8)
    }
}

/// A source or setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceError {
    /// `connect_to` is not `host:port`.
    BadConnectTo,
    /// The URL.
    BadUrl(UrlError),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadConnectTo => f.write_str("connect_to is not host:port"),
            Self::BadUrl(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SourceError {}

/// Why a URL is not fetched from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// It holds a user name, a password or a fragment, or an issuer's has a query.
    Extra,
    /// Not an absolute http or https URL with a host.
    Malformed,
    /// Plain http to another machine without `allow_http`, or a step down from https.
    PlainHttp,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Extra => "the URL holds a user, a fragment, or a query where none belongs",
            Self::Malformed => "not an absolute https URL",
            Self::PlainHttp => "plain http would let anyone on the way replace the keys",
        })
    }
}

impl std::error::Error for UrlError {}

/// When plain http will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    Anywhere,
    Loopback,
    Never,
}

/// An absolute http or https URL that may be fetched from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) https: bool,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    /// As written: what the Host header says.
    pub(super) authority: String,
    pub(super) path: String,
    pub(super) query: Option<String>,
}

impl Url {
    pub(super) fn parse(text: &str, plain: Plain) -> Result<Self, UrlError> {
        // `Uri` drops fragments silently.
        if text.contains(['#', '@']) {
            return Err(UrlError::Extra);
        }
        let uri: Uri = text.parse().map_err(|_| UrlError::Malformed)?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err(UrlError::Malformed),
        };
        let authority = uri.authority().ok_or(UrlError::Malformed)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(UrlError::Malformed);
        }
        let plain_allowed = match plain {
            Plain::Anywhere => true,
            Plain::Loopback => is_loopback(&host),
            Plain::Never => false,
        };
        if !https && !plain_allowed {
            return Err(UrlError::PlainHttp);
        }
        Ok(Self {
            https,
            port: authority.port_u16().unwrap_or(if https { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: uri.path().to_owned(),
            query: uri.query().map(str::to_owned),
            host,
        })
    }

    /// The same server, another path.
    pub(super) fn at(&self, path: String) -> Self {
        Self { path, query: None, ..self.clone() }
    }

    /// What a request line says.
    pub(super) fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    pub(super) fn is_same_server(&self, other: &Self) -> bool {
        (self.https, self.port) == (other.https, other.port)
            && self.host.eq_ignore_ascii_case(&other.host)
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A source whose settings have been checked.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    Discovery { issuer_url: String, url: Url },
    Files(Format, Vec<PathBuf>),
    Jwks(Url),
}

impl Origin {
    pub(super) fn check(source: Source, settings: &RefreshSettings) -> Result<Self, SourceError> {
        if settings.connect_to.as_deref().is_some_and(|target| !is_host_and_port(target)) {
            return Err(SourceError::BadConnectTo);
        }
        let plain = if settings.allow_http { Plain::Anywhere } else { Plain::Loopback };
        match source {
            Source::Discovery { issuer_url } => {
                let url = Url::parse(&issuer_url, plain).map_err(SourceError::BadUrl)?;
                if url.query.is_some() {
                    return Err(SourceError::BadUrl(UrlError::Extra));
                }
                Ok(Self::Discovery { issuer_url, url })
            }
            Source::File(path) => Ok(Self::Files(Format::Jwks, vec![path])),
            Source::JwksUrl(url) => {
                Url::parse(&url, plain).map(Self::Jwks).map_err(SourceError::BadUrl)
            }
            Source::PemFiles(paths) => Ok(Self::Files(Format::Pem, paths)),
        }
    }
}

fn is_host_and_port(target: &str) -> bool {
    target.rsplit_once(':').is_some_and(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        !host.is_empty() && (bracketed || !host.contains(':')) && port.parse::<u16>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_needs_permission_or_loopback() {
        let at = |text, plain| Url::parse(text, plain).map(|url| url.https);
        assert_eq!(at("https://id.example.com/", Plain::Never), Ok(true));
        assert_eq!(at("http://id.example.com/", Plain::Anywhere), Ok(false));
        for local in ["http://127.0.0.1:80/", "http://[::1]:1/", "http://LOCALHOST/x"] {
            assert_eq!(at(local, Plain::Loopback), Ok(false), "{local}");
            assert_eq!(at(local, Plain::Never), Err(UrlError::PlainHttp), "{local}");
        }
        for remote in
            ["http://10.0.0.1/", "http://localhost.example.com/", "http://127.0.0.1.nip.io/"]
        {
            assert_eq!(at(remote, Plain::Loopback), Err(UrlError::PlainHttp), "{remote}");
        }
    }

    #[test]
    fn odd_urls_are_refused() {
        for (text, error) in [
            ("", UrlError::Malformed),
            ("/jwks", UrlError::Malformed),
            ("id.example.com", UrlError::Malformed),
            ("file:///etc/passwd", UrlError::Malformed),
            ("https://", UrlError::Malformed),
            ("https://user:pw@id.example.com/", UrlError::Extra),
            ("https://id.example.com/#x", UrlError::Extra),
        ] {
            assert_eq!(Url::parse(text, Plain::Anywhere).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn addresses_come_out_of_urls() {
        let url = Url::parse("https://[2001:db8::1]:8443/a?b=c", Plain::Never).unwrap();
        assert_eq!((url.host.as_str(), url.port), ("2001:db8::1", 8443));
        assert_eq!(url.authority, "[2001:db8::1]:8443");
        assert_eq!(url.target(), "/a?b=c");
        let url = Url::parse("http://id", Plain::Anywhere).unwrap();
        assert_eq!((url.port, url.target().as_str()), (80, "/"));
    }

    #[test]
    fn lifetimes_are_kept_within_bounds() {
        let after = |secs: Option<u64>| Refresh::Auto.renew_after(secs.map(Duration::from_secs));
        assert_eq!(after(None), Duration::from_secs(480));
        assert_eq!(after(Some(0)), Duration::from_secs(48));
        assert_eq!(after(Some(3600)), Duration::from_secs(2880));
        assert_eq!(after(Some(u64::MAX)), Duration::from_secs(69_120));
        let fixed = Refresh::Every(Duration::from_secs(5)).renew_after(None);
        assert_eq!(fixed, Duration::from_secs(4));
        assert!(Refresh::Every(Duration::ZERO).renew_after(None) > Duration::ZERO);
        assert!(Refresh::Every(Duration::MAX).renew_after(None) < Duration::MAX);
    }

    #[test]
    fn connect_to_is_host_and_port() {
        for good in ["10.0.0.5:8443", "[::1]:443", "id:1"] {
            assert!(is_host_and_port(good), "{good}");
        }
        for bad in ["", "id", "id:", ":443", "::1:443", "id:99999", "id:x"] {
            assert!(!is_host_and_port(bad), "{bad}");
        }
    }
}

//! TLS to upstreams: the files it is made from, and whom each endpoint has to be.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use zeroize::Zeroizing;

use super::compile::Compiling;
use super::fingerprint::Fingerprint;
use crate::config::{self, Diagnostic, Spanned};
use crate::tls::client::{self, Alpn, ClientError, Destination, Trust};

/// What the `https://` endpoints of one upstream share.
#[derive(Clone, Debug)]
pub(super) struct Secured {
    config: Arc<ClientConfig>,
    alpn: Alpn,
    server_name: Option<ServerName<'static>>,
    /// Of the settings and of what the files hold.
    fingerprint: u64,
}

impl Secured {
    /// Whom the endpoint at `host` has to be; `None` if that is no name a certificate can have.
    pub(super) fn destination(&self, host: &str) -> Option<Destination> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).ok()?,
        };
        Some(Destination::new(Arc::clone(&self.config), name, self.alpn, self.fingerprint))
    }
}

/// Reads the files of `upstream`; `None` after a diagnostic.
pub(super) fn compile(
    compiling: &mut Compiling<'_>,
    upstream: &config::Upstream,
    alpn: Alpn,
) -> Option<Secured> {
    let written = upstream.tls.as_ref();
    let ca = read(compiling, upstream, "ca", written.and_then(|tls| tls.ca.0.as_ref()))?;
    let cert = read(compiling, upstream, "cert", written.and_then(|tls| tls.cert.0.as_ref()))?;
    let key = read(compiling, upstream, "key", written.and_then(|tls| tls.key.0.as_ref()))?;
    let key = key.map(Zeroizing::new);
    let verify = written.is_none_or(|tls| tls.verify.value);
    let trust = match &ca {
        _ if !verify => Trust::Anybody,
        Some(pem) => Trust::Own(pem),
        None => Trust::System,
    };
    let identity = match (&cert, &key) {
        (Some(cert), Some(key)) => Some((cert.as_slice(), key.as_slice())),
        (Some(_) | None, _) => None,
    };
    let config = match client::build(&trust, identity, alpn) {
        Ok(config) => config,
        Err(error) => {
            unusable(compiling, upstream, &error);
            return None;
        }
    };
    let server_name = match written.and_then(|tls| tls.server_name.0.as_ref()) {
        Some(name) => Some(server_name(compiling, upstream, name)?),
        None => None,
    };
    let fingerprint = Fingerprint::new()
        .add(verify)
        .add(&ca)
        .add(&cert)
        .add(key.as_ref().map(|key| key.as_slice()))
        .finish();
    Some(Secured { config, alpn, server_name, fingerprint })
}

/// What a file holds, if there is one; `None` after a diagnostic.
fn read(
    compiling: &mut Compiling<'_>,
    upstream: &config::Upstream,
    key: &str,
    path: Option<&Spanned<PathBuf>>,
) -> Option<Option<Vec<u8>>> {
    let Some(path) = path else { return Some(None) };
    match std::fs::read(&path.value) {
        Ok(bytes) => Some(Some(bytes)),
        Err(error) => {
            let message = format!("{} can't be read: {error}", compiling.shown(path));
            let place = format!("upstream.{}.tls.{key}", upstream.name.value);
            compiling.report(Diagnostic::error(path.span.clone(), message).path(place));
            None
        }
    }
}

fn server_name(
    compiling: &mut Compiling<'_>,
    upstream: &config::Upstream,
    name: &Spanned<String>,
) -> Option<ServerName<'static>> {
    if let Ok(name) = ServerName::try_from(name.value.clone()) {
        return Some(name);
    }
    let message = format!("{} is not a name of a server", compiling.source.shown(name));
    compiling.report(
        Diagnostic::error(name.span.clone(), message)
            .path(format!("upstream.{}.tls.server_name", upstream.name.value))
            .hint("write a host name or an IP address, without a port"),
    );
    None
}

/// Reports what of the files can't be used, at the file that holds it.
fn unusable(compiling: &mut Compiling<'_>, upstream: &config::Upstream, error: &ClientError) {
    let written = upstream.tls.as_ref();
    let file = match error {
        ClientError::BadCertificate | ClientError::NoCertificate => {
            written.and_then(|tls| Some(("ca", tls.ca.0.as_ref()?)))
        }
        ClientError::BadIdentity => written.and_then(|tls| Some(("cert", tls.cert.0.as_ref()?))),
        ClientError::BadKey | ClientError::KeyMismatch => {
            written.and_then(|tls| Some(("key", tls.key.0.as_ref()?)))
        }
        ClientError::NoSystemRoots(_) | ClientError::Provider(_) => None,
    };
    let name = &upstream.name.value;
    let diagnostic = match file {
        Some((key, path)) => {
            let message = format!("{}: {error}", compiling.shown(path));
            Diagnostic::error(path.span.clone(), message).path(format!("upstream.{name}.tls.{key}"))
        }
        None => {
            let message = format!("no TLS to this upstream: {error}");
            Diagnostic::error(upstream.span.clone(), message)
                .path(format!("upstream.{name}.tls"))
                .hint("name a file with the roots to believe: `tls = { ca = \"...\" }`")
        }
    };
    compiling.report(diagnostic);
}

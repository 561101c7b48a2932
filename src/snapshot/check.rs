//! What is odd but not wrong: warnings about a configuration that would serve.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::compile::Compiling;
use crate::clock::UnixTime;
use crate::config::{Address, CertificatePair, Diagnostic, Listener, PeerNetwork, Route};

/// A certificate closer to its end than this is worth a line: renewal happens at 30 days left.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Warns of everything that no other step of compiling looks at.
pub(super) fn warn(compiling: &mut Compiling<'_>) {
    plain_listeners(compiling);
    key_files(compiling);
    trusted_everybody(compiling);
}

impl Compiling<'_> {
    /// Warns of a certificate that has expired or is about to.
    pub(super) fn expiry(&mut self, pair: &CertificatePair, not_after: UnixTime) {
        let now = self.surroundings.clock.wall();
        let left = not_after.since(now);
        let message = if left.is_zero() {
            "the certificate has expired".to_owned()
        } else if left < EXPIRES_SOON {
            format!("the certificate expires in {} days", left.as_secs() / 86_400)
        } else {
            return;
        };
        self.report(Diagnostic::warning(pair.cert.span.clone(), message));
    }
}

/// A token sent over plain HTTP is everybody's token.
fn plain_listeners(compiling: &mut Compiling<'_>) {
    for listener in &compiling.config.listeners {
        let exposed = match &listener.address.value {
            Address::Tcp { host: None, .. } => true,
            Address::Tcp { host: Some(host), .. } => !is_loopback(host),
            Address::Unix(_) => false,
        };
        let serves = compiling.config.routes.iter().any(|route| takes_tokens(route, listener));
        if exposed && serves && listener.tls.is_none() {
            let message = format!(
                "listener `{}` takes tokens over plain HTTP from other machines",
                listener.name.value
            );
            compiling.report(Diagnostic::warning(listener.address.span.clone(), message).hint(
                "add a `tls` table, `redirect_to` a listener that has one, or bind loopback",
            ));
        }
    }
}

/// Whether tokens reach the route over this listener: its redirect gives way to routes that name it.
fn takes_tokens(route: &Route, listener: &Listener) -> bool {
    !route.public
        && match &route.listeners {
            None => listener.redirect_to.is_none(),
            Some(names) => names.iter().any(|name| name.value == listener.name.value),
        }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// A private key that others on the machine can read is theirs too.
fn key_files(compiling: &mut Compiling<'_>) {
    let config = compiling.config;
    let listeners = config.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let certificates = listeners.flat_map(|tls| &tls.certificates).map(|pair| &pair.key);
    let upstreams = config.upstreams.iter().filter_map(|upstream| upstream.tls.as_ref());
    for key in certificates.chain(upstreams.filter_map(|tls| tls.key.0.as_ref())) {
        let Ok(metadata) = std::fs::metadata(&key.value) else { continue };
        let mode = metadata.permissions().mode();
        if mode & 0o077 != 0 {
            let message =
                format!("the private key can be read by others (mode {:o})", mode & 0o777);
            compiling.report(
                Diagnostic::warning(key.span.clone(), message)
                    .hint("only its owner needs to read it: `chmod 600`"),
            );
        }
    }
}

/// Whoever is trusted chooses the address that is logged, limited and let in.
fn trusted_everybody(compiling: &mut Compiling<'_>) {
    let config = compiling.config;
    let listeners = config.listeners.iter();
    let believed = listeners.flat_map(|listener| {
        let path = format!("listener.{}.proxy_protocol", listener.name.value);
        listener.proxy_protocol.iter().map(move |trusted| (path.clone(), trusted))
    });
    let trusted = config.server.trusted_proxies.iter();
    let trusted = trusted.map(|trusted| ("server.trusted_proxies".to_owned(), trusted));
    for (path, trusted) in trusted.chain(believed) {
        if let PeerNetwork::Network(network) = trusted.value
            && network.prefix_len() == 0
        {
            let problem = Diagnostic::warning(
                trusted.span.clone(),
                format!("`{network}` lets every client say which address it has"),
            );
            compiling.report(problem.hint("name the networks of your own proxies").path(path));
        }
    }
}

//! Rules of upstreams: TLS where there is TLS, and whole.

use super::super::walk::Walk;
use super::super::{Diagnostic, Endpoint, Upstream, UpstreamTls};
use super::report;

/// Checks one upstream.
pub(super) fn rules(upstream: &Upstream, walk: &mut Walk<'_>) {
    if let Some(tls) = &upstream.tls {
        secure(upstream, tls, &format!("upstream.{}.tls", upstream.name.value), walk);
    }
}

fn secure(upstream: &Upstream, tls: &UpstreamTls, path: &str, walk: &mut Walk<'_>) {
    let secured = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Https { .. });
    let any = upstream.endpoints.iter().any(|endpoint| secured(&endpoint.value));
    if !any && !walk.is_incomplete(&upstream.span) {
        let hint = "write the endpoints as \"https://host:port\", or leave `tls` out";
        report(walk, &tls.span, path, "no endpoint here is reached over TLS", hint);
    }
    match (&tls.cert.0, &tls.key.0) {
        (Some(cert), None) => {
            let hint = "name the file with its private key";
            report(walk, &cert.span, &format!("{path}.key"), "`cert` without `key`", hint);
        }
        (None, Some(key)) => {
            let hint = "name the file with the certificate, or leave `key` out";
            report(walk, &key.span, &format!("{path}.cert"), "`key` without `cert`", hint);
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    if tls.verify.value {
        return;
    }
    let path = format!("{path}.verify");
    if let Some(ca) = &tls.ca.0 {
        let hint = "leave out `verify = false`: `ca` says whom to believe";
        report(walk, &ca.span, &path, "`ca` means nothing with `verify = false`", hint);
        return;
    }
    let message = "with `verify = false` anybody on the way can pose as this upstream";
    let hint = "say which `ca` to believe, and `server_name` if the certificate has another name";
    walk.report(Diagnostic::warning(tls.verify.span.clone(), message).path(path).hint(hint));
}

//! Rules of upstreams: one version of HTTP, and TLS where there is TLS, and whole.

use super::super::walk::Walk;
use super::super::{Buffering, Diagnostic, Endpoint, Kind, Upstream, UpstreamTls};
use super::report;

/// Checks one upstream.
pub(super) fn rules(upstream: &Upstream, walk: &mut Walk<'_>) {
    version(upstream, walk);
    if let Some(tls) = &upstream.tls {
        secure(upstream, tls, &format!("upstream.{}.tls", upstream.name.value), walk);
    }
}

/// All endpoints speak the same: which one a request meets is the balancer's affair.
fn version(upstream: &Upstream, walk: &mut Walk<'_>) {
    let path = format!("upstream.{}.endpoints", upstream.name.value);
    if upstream.kind == Kind::Grpc {
        if upstream.buffer_requests == Buffering::On {
            let path = format!("upstream.{}.buffer_requests", upstream.name.value);
            let hint = "leave out `buffer_requests`";
            report(walk, &upstream.span, &path, "a stream of gRPC can't wait for its end", hint);
        }
        for endpoint in &upstream.endpoints {
            if matches!(endpoint.value, Endpoint::Http { .. }) {
                let hint = "write \"h2c://host:port\": gRPC is spoken over HTTP/2";
                report(walk, &endpoint.span, &path, "HTTP/1.1 can't carry gRPC", hint);
            }
        }
        return;
    }
    let is_http2 = |endpoint: &Endpoint| matches!(endpoint, Endpoint::H2c { .. });
    let of = |http2| upstream.endpoints.iter().find(|one| is_http2(&one.value) == http2);
    if let (Some(endpoint), Some(_)) = (of(true), of(false)) {
        let hint = "make two upstreams of it";
        let message = "HTTP/2 here and HTTP/1.1 at another endpoint of the same upstream";
        report(walk, &endpoint.span, &path, message, hint);
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

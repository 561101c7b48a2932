//! Rules of upstreams: one version of HTTP, TLS where there is TLS, and whole; a choice where there is
//! one.

use super::super::address::host_and_port;
use super::super::walk::Walk;
use super::super::{
    Balance, Buffering, Diagnostic, Endpoint, HealthCheck, IdleTimeout, Issuer, Kind,
    SendProxyProtocol, Spanned, TokenPlace, Upstream, UpstreamEndpoint, UpstreamTls,
};
use super::report;

/// The default of `idle_connections`.
const IDLE_CONNECTIONS: usize = 64;

/// Checks one upstream.
pub(super) fn rules(upstream: &Upstream, issuers: &[Issuer], walk: &mut Walk<'_>) {
    version(upstream, walk);
    let path = format!("upstream.{}", upstream.name.value);
    endpoints(upstream, &path, walk);
    if let Some(check) = &upstream.health {
        health(check, &format!("{path}.health"), walk);
    }
    if let (Balance::Hash(_), Some(_)) = (&upstream.balance.value, &upstream.slow_start) {
        let hint = "leave out one of them: a hash sends a client's requests where they always went";
        let message = "`slow_start` means nothing with `hash:`";
        report(walk, &upstream.balance.span, &format!("{path}.balance"), message, hint);
    }
    sticky(upstream, issuers, &path, walk);
    names_clients(upstream, &path, walk);
    learns(upstream, &path, walk);
    if let Some(tls) = &upstream.tls {
        secure(upstream, tls, &format!("upstream.{}.tls", upstream.name.value), walk);
    }
}

/// All endpoints speak the same: which one a request meets is the balancer's affair.
fn version(upstream: &Upstream, walk: &mut Walk<'_>) {
    let path = format!("upstream.{}.endpoints", upstream.name.value);
    if upstream.kind == Kind::Grpc {
        let keys = [
            ("buffer_requests", upstream.buffer_requests),
            ("buffer_responses", upstream.buffer_responses),
        ];
        for (key, _) in keys.into_iter().filter(|(_, written)| *written == Buffering::On) {
            let path = format!("upstream.{}.{key}", upstream.name.value);
            let hint = format!("leave out `{key}`");
            report(walk, &upstream.span, &path, "a stream of gRPC can't wait for its end", &hint);
        }
        for endpoint in upstream.endpoints.iter().map(|one| &one.0.url) {
            if matches!(endpoint.value, Endpoint::Http { .. }) {
                let hint = "write \"h2c://host:port\": gRPC is spoken over HTTP/2";
                report(walk, &endpoint.span, &path, "HTTP/1.1 can't carry gRPC", hint);
            }
        }
        return;
    }
    let is_http2 = |endpoint: &Endpoint| matches!(endpoint, Endpoint::H2c { .. });
    let urls = upstream.endpoints.iter().map(|one| &one.0.url);
    let of = |http2| urls.clone().find(|one| is_http2(&one.value) == http2);
    if let (Some(endpoint), Some(_)) = (of(true), of(false)) {
        let hint = "make two upstreams of it";
        let message = "HTTP/2 here and HTTP/1.1 at another endpoint of the same upstream";
        report(walk, &endpoint.span, &path, message, hint);
    }
}

/// Some endpoint is no backup, and none stands there twice.
fn endpoints(upstream: &Upstream, path: &str, walk: &mut Walk<'_>) {
    let path = format!("{path}.endpoints");
    let all = &upstream.endpoints;
    if let Some(first) = all.first()
        && all.iter().all(|one| one.0.backup)
        && !walk.is_incomplete(&upstream.span)
    {
        let hint = "leave `backup` out of those that are used every day";
        report(walk, &first.0.span, &path, "every endpoint is a backup", hint);
    }
    for (place, one) in all.iter().enumerate() {
        let url = &one.0.url;
        if all.iter().take(place).any(|earlier| earlier.0.url.value == url.value) {
            let hint = "give it a `weight` if it should get more";
            report(walk, &url.span, &path, "this endpoint stands there already", hint);
        }
    }
}

/// Shorter ones could be found by trying, and with them the addresses.
const STICKY_SECRET: usize = 32;

/// A cookie is one thing, and what stands in it is kept from whoever tries all addresses.
fn sticky(upstream: &Upstream, issuers: &[Issuer], path: &str, walk: &mut Walk<'_>) {
    if let Balance::Sticky(name) = &upstream.balance.value {
        let is_token = |place: &Spanned<TokenPlace>| matches!(&place.value, TokenPlace::Cookie(cookie) if cookie == name);
        if let Some(issuer) = issuers.iter().find(|one| one.token_from.iter().any(is_token)) {
            let message = format!("tokens of issuer `{}` are in this cookie", issuer.name.value);
            let path = format!("{path}.balance");
            let hint = "take a name that nothing else uses: the gateway sets this cookie";
            report(walk, &upstream.balance.span, &path, &message, hint);
        }
    }
    let Some(secret) = &upstream.sticky_secret else { return };
    let path = format!("{path}.sticky_secret");
    if !matches!(upstream.balance.value, Balance::Sticky(_)) {
        let hint = "leave it out, or write `balance = \"sticky:COOKIE\"`";
        report(walk, &secret.span, &path, "`sticky_secret` means nothing without `sticky:`", hint);
    } else if secret.expose().len() < STICKY_SECRET {
        let message = format!("shorter than {STICKY_SECRET} bytes");
        let hint = "make one by `openssl rand -hex 32`";
        report(walk, &secret.span, &path, &message, hint);
    }
}

/// What is learned needs idle connections that a server closes without a word.
fn learns(upstream: &Upstream, path: &str, walk: &mut Walk<'_>) {
    if upstream.idle_timeout != Some(IdleTimeout::Auto) {
        return;
    }
    let path = format!("{path}.idle_timeout");
    if is_http2(upstream) {
        let message = "`auto` is for HTTP/1.1: over HTTP/2 a server says when it goes away";
        report(walk, &upstream.span, &path, message, "leave `idle_timeout` out");
    } else if upstream.idle_connections == 0 {
        let message = "`auto` learns from idle connections, and `idle_connections = 0` keeps none";
        report(walk, &upstream.span, &path, message, "leave one of them out");
    }
}

/// What is spoken to all endpoints, if they agree.
fn is_http2(upstream: &Upstream) -> bool {
    let is_h2c = |one: &UpstreamEndpoint| matches!(one.0.url.value, Endpoint::H2c { .. });
    upstream.kind == Kind::Grpc || upstream.endpoints.iter().any(is_h2c)
}

/// A connection that names one client carries no other's requests.
fn names_clients(upstream: &Upstream, path: &str, walk: &mut Walk<'_>) {
    let Spanned { value: SendProxyProtocol::V1 | SendProxyProtocol::V2, span } =
        &upstream.send_proxy_protocol
    else {
        return;
    };
    let path = format!("{path}.send_proxy_protocol");
    if is_http2(upstream) {
        let message = "a connection of HTTP/2 carries many clients, and its header names one";
        let hint = "leave it out: the application is told the client by `X-Forwarded-For`";
        report(walk, span, &path, message, hint);
    }
    let kept = [
        ("idle_connections", upstream.idle_connections != IDLE_CONNECTIONS),
        ("idle_timeout", upstream.idle_timeout.is_some()),
    ];
    for (key, _) in kept.into_iter().filter(|(_, written)| *written) {
        let message =
            format!("`{key}` means nothing here: no connection that names a client is kept");
        report(walk, span, &path, message, &format!("leave out `{key}`"));
    }
}

/// What is written into the requests of checks is one path and one host.
fn health(check: &HealthCheck, path: &str, walk: &mut Walk<'_>) {
    if !is_request_path(&check.path) {
        let hint = "write the path with its query, such as \"/healthz\"";
        report(walk, &check.path.span, &format!("{path}.path"), "not a path", hint);
    }
    if let Some(host) = &check.host
        && host_and_port(host).is_none()
    {
        let hint = "write a name or an address, and a port if the application wants one";
        report(walk, &host.span, &format!("{path}.host"), "not a host", hint);
    }
}

/// What may stand in a request line: a path of visible ASCII.
fn is_request_path(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

fn secure(upstream: &Upstream, tls: &UpstreamTls, path: &str, walk: &mut Walk<'_>) {
    let secured = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Https { .. });
    let any = upstream.endpoints.iter().any(|one| secured(&one.0.url.value));
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

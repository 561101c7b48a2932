//! Rules of one issuer: where its keys come from, and what they may sign.

use std::net::IpAddr;
use std::ops::Range;

use super::super::address::host_and_port;
use super::super::node::quoted;
use super::super::require::is_claim;
use super::super::walk::Walk;
use super::super::{Audience, Diagnostic, Issuer, Spanned, TokenPlace};
use super::{folded, header_name, is_reserved, report};

/// Checks one issuer.
pub(super) fn rules(issuer: &Issuer, walk: &mut Walk<'_>) {
    let path = format!("issuer.{}", issuer.name.value);
    identity(issuer, &path, walk);
    audience(issuer, &path, walk);
    key_sources(issuer, &path, walk);
    algorithms(issuer, &path, walk);
    if let Some(address) = &issuer.connect_to
        && host_and_port(address).is_none_or(|(_, port)| port.is_none())
    {
        let message = format!("{} is not an address", walk.shown(address));
        report(walk, &address.span, &format!("{path}.connect_to"), message, "write \"host:port\"");
    }
    identity_headers(issuer, &path, walk);
    token_from(issuer, &path, walk);
}

/// Headers that hold something else, or never arrive, hold no token.
fn token_from(issuer: &Issuer, path: &str, walk: &mut Walk<'_>) {
    let path = format!("{path}.token_from");
    let mut seen = Vec::new();
    for place in &issuer.token_from {
        let TokenPlace::Header(name) = &place.value else { continue };
        let folded = folded(name);
        let shown = walk.shown(&Spanned { value: name.clone(), span: place.span.clone() });
        let (message, hint) = if name.contains('_') {
            (format!("a header {shown} never arrives"), "names with `_` are dropped: write `-`")
        } else if folded != "authorization" && is_reserved(&folded) {
            (format!("{shown} cannot carry a token"), "choose a header of its own")
        } else if seen.contains(&folded) {
            (format!("{shown} stands in the list twice"), "headers have no case")
        } else {
            seen.push(folded);
            continue;
        };
        report(walk, &place.span, &path, message, hint);
    }
}

/// Which `iss` its tokens have.
fn identity(issuer: &Issuer, path: &str, walk: &mut Walk<'_>) {
    match (&issuer.url, issuer.iss) {
        (Some(url), Some(_)) => {
            let hint =
                "keep one: `url` for one issuer, `iss = \"any\"` for whoever the keys belong to";
            report(walk, &url.span, &format!("{path}.url"), "both `url` and `iss` are given", hint);
        }
        (None, None) if issuer.preset.is_none() && !walk.is_incomplete(&issuer.span) => {
            let hint = "url = \"https://id.example.com/\", exactly as in the tokens' `iss`";
            report(walk, &issuer.span, path, "missing key `url`", hint);
        }
        (_, _) => {}
    }
}

fn audience(issuer: &Issuer, path: &str, walk: &mut Walk<'_>) {
    match &issuer.audience {
        None if issuer.preset.is_none() && !walk.is_incomplete(&issuer.span) => {
            // Without it, a token made for any other service of the same issuer opens this one.
            let hint =
                "audience = [\"https://api.example.com\"], or \"any\" to switch the check off";
            report(walk, &issuer.span, path, "missing key `audience`", hint);
        }
        Some(Audience::Any) => {
            let message =
                format!("issuer {} accepts tokens made for other services", quoted(&issuer.name));
            let warning = Diagnostic::warning(issuer.name.span.clone(), message).path(path);
            walk.report(warning.hint("name this service in `audience`"));
        }
        Some(Audience::List(_)) | None => {}
    }
}

/// At most one place where keys come from, and a safe way there.
fn key_sources(issuer: &Issuer, path: &str, walk: &mut Walk<'_>) {
    let public_key =
        issuer.public_key.as_ref().and_then(|keys| keys.first()).map(|key| key.span.clone());
    let sources: Vec<(&str, Range<usize>)> = [
        ("jwks_url", issuer.jwks_url.as_ref().map(|one| one.span.clone())),
        ("jwks", issuer.jwks.as_ref().map(|one| one.span.clone())),
        ("jwks_file", issuer.jwks_file.as_ref().map(|one| one.span.clone())),
        ("public_key", public_key),
        ("secret", issuer.secret.as_ref().map(|one| one.span.clone())),
    ]
    .into_iter()
    .filter_map(|(key, span)| Some((key, span?)))
    .collect();
    for (key, span) in sources.iter().skip(1) {
        let first = sources.first().map_or("", |(key, _)| key);
        let message = format!("`{key}` is a second key source beside `{first}`");
        report(walk, span, &format!("{path}.{key}"), message, "one issuer, one key source");
    }
    if let Some(url) = &issuer.jwks_url {
        fetched(issuer, url, &format!("{path}.jwks_url"), walk);
    }
    match &issuer.url {
        Some(url) if sources.is_empty() && !walk.is_incomplete(&issuer.span) => {
            fetched(issuer, url, &format!("{path}.url"), walk);
        }
        None if sources.is_empty()
            && (issuer.iss.is_some() || issuer.preset.is_some())
            && !walk.is_incomplete(&issuer.span) =>
        {
            let hint = "give `secret`, `jwks_url`, `jwks_file`, `jwks` or `public_key`: without `url` there is no discovery";
            report(walk, &issuer.span, path, "there is no key source", hint);
        }
        Some(_) | None => {}
    }
}

/// Whoever can read or change the answer on its way decides which tokens are good: https, unless
/// the way does not leave the machine or the operator says so.
fn fetched(issuer: &Issuer, url: &Spanned<String>, path: &str, walk: &mut Walk<'_>) {
    let (https, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => {
            let message = "keys cannot be fetched from here";
            return report(
                walk,
                &url.span,
                path,
                message,
                "write an `https://` URL, or name another key source",
            );
        }
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let tail = rest.strip_prefix(authority).unwrap_or_default();
    let clean = tail.chars().all(|c| matches!(c, '!'..='~')) && !tail.contains('#');
    let Some((host, _)) = host_and_port(authority).filter(|_| clean) else {
        let hint = "scheme, host, port and path; no user name, no spaces, no fragment";
        return report(walk, &url.span, path, "not a URL that keys can be fetched from", hint);
    };
    if !https && !issuer.allow_http && !is_loopback(&host) {
        let hint = "use https, or say `allow_http = true` if you trust every machine on the way";
        report(walk, &url.span, path, "keys would be fetched without TLS", hint);
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// HMAC and public keys never together: a public key taken for a secret signs anything (J1).
fn algorithms(issuer: &Issuer, path: &str, walk: &mut Walk<'_>) {
    let Some(algorithms) = &issuer.algorithms else {
        return;
    };
    let hmac = issuer.secret.is_some();
    let wrong = algorithms.iter().find(|name| name.starts_with("HS") != hmac);
    let (Some(wrong), false) = (wrong, walk.is_incomplete(&issuer.span)) else {
        return;
    };
    let (message, hint) = match hmac {
        true => (
            format!("`{wrong}` needs a public key, but the key source is `secret`"),
            "with `secret`: HS256, HS384, HS512",
        ),
        false => {
            (format!("`{wrong}` needs a `secret`"), "without `secret`: RS*, PS*, ES* and EdDSA")
        }
    };
    report(walk, &algorithms.span, &format!("{path}.algorithms"), message, hint);
}

fn identity_headers(issuer: &Issuer, path: &str, walk: &mut Walk<'_>) {
    let path = format!("{path}.identity_headers");
    let mut seen = Vec::new();
    for (header, claim) in issuer.identity_headers.iter() {
        if !header_name(header, &path, walk) {
            continue;
        }
        let folded = folded(header);
        if is_reserved(&folded) {
            let message = format!("{} cannot carry a claim", walk.shown(header));
            report(
                walk,
                &header.span,
                &path,
                message,
                "choose a name of your own, such as `X-User`",
            );
        } else if seen.contains(&folded) {
            let message = format!(
                "{} is set twice: `-` and `_`, small and capital letters are the same to applications",
                walk.shown(header)
            );
            report(walk, &header.span, &path, message, "one claim per header");
        }
        seen.push(folded);
        if !is_claim(claim) {
            let message =
                format!("{} is neither a claim's name nor a JSON Pointer", walk.shown(claim));
            report(
                walk,
                &claim.span,
                &path,
                message,
                "in a JSON Pointer `~` is written `~0`, `/` `~1`",
            );
        }
    }
}

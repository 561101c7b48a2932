//! Rules of what a route changes: only headers that are the operator's to change, only where there
//! is something to change, and no client sent to a place of its own choice.

use super::super::walk::Walk;
use super::super::{Config, HeaderValues, Redirect, Route, Spanned};
use super::{folded, header_name, report};

/// Checks the changes of one route.
pub(super) fn rules(config: &Config, route: &Route, path: &str, walk: &mut Walk<'_>) {
    request_headers(config, route, path, walk);
    response_headers(config, route, path, walk);
    forwarded_alone(route, path, walk);
    mount(route, path, walk);
    if let Some(to) = &route.redirect {
        redirect(route, to, &format!("{path}.redirect"), walk);
    }
}

// === headers ===

fn request_headers(config: &Config, route: &Route, path: &str, walk: &mut Walk<'_>) {
    let Some(edits) = &route.request_headers else { return };
    let path = format!("{path}.request_headers");
    let lists = [named("set", &edits.set), named("add", &edits.add), listed(&edits.remove)];
    names(&lists, &path, walk, |key, name| request_reserved(config, key, name));
    if lists.iter().all(|(_, names)| names.is_empty()) && !walk.is_incomplete(&edits.span) {
        let hint = "write `set`, `add` or `remove`, or leave it out";
        report(walk, &edits.span, &path, "nothing is changed", hint);
    }
}

fn response_headers(config: &Config, route: &Route, path: &str, walk: &mut Walk<'_>) {
    let Some(edits) = &route.response_headers else { return };
    let path = format!("{path}.response_headers");
    let lists = [
        named("set", &edits.set),
        named("add", &edits.add),
        named("default", &edits.default),
        listed(&edits.remove),
    ];
    names(&lists, &path, walk, |key, name| response_reserved(config, key, name));
    if lists.iter().all(|(_, names)| names.is_empty()) && !walk.is_incomplete(&edits.span) {
        let hint = "write `set`, `add`, `default` or `remove`, or leave it out";
        report(walk, &edits.span, &path, "nothing is changed", hint);
    }
}

type Names<'a> = (&'static str, Vec<&'a Spanned<String>>);

fn named<'a>(key: &'static str, values: &'a HeaderValues) -> Names<'a> {
    (key, values.iter().map(|(name, _)| name).collect())
}

fn listed(names: &[Spanned<String>]) -> Names<'_> {
    ("remove", names.iter().collect())
}

/// Every name is one, may be changed, and is changed in one way.
fn names(
    lists: &[Names<'_>],
    path: &str,
    walk: &mut Walk<'_>,
    reserved: impl Fn(&str, &str) -> Option<&'static str>,
) {
    let mut seen: Vec<(String, &str)> = Vec::new();
    for (key, names) in lists {
        let path = format!("{path}.{key}");
        for &name in names {
            if !header_name(name, &path, walk) {
                continue;
            }
            let same = spelled(name);
            let shown = walk.shown(name);
            if let Some(why) = reserved(key, &same) {
                report(walk, &name.span, &path, format!("{shown} is not to be changed"), why);
            } else if let Some((_, other)) = seen.iter().find(|(known, _)| *known == same) {
                let message = format!("{shown} stands in `{other}` already");
                report(walk, &name.span, &path, message, "change each header in one way");
            }
            seen.push((same, key));
        }
    }
}

/// As the boldest application reads a name: whatever is neither letter nor digit is the same.
fn spelled(name: &str) -> String {
    let fold = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    name.chars().map(fold).collect()
}

const FRAMING: &str = "it frames the message: what is sent is framed by what it is";
const CONNECTION: &str = "it belongs to one connection, and ends there";
const WEBSOCKET: &str = "client and application agree by it on switching to WebSocket";

/// What neither direction lets anybody change.
fn always_reserved(name: &str) -> Option<&'static str> {
    match name {
        "content-length" | "trailer" | "transfer-encoding" => Some(FRAMING),
        "connection"
        | "http2-settings"
        | "keep-alive"
        | "proxy-authenticate"
        | "proxy-authorization"
        | "proxy-connection"
        | "te"
        | "upgrade" => Some(CONNECTION),
        name if name.starts_with("sec-websocket-") => Some(WEBSOCKET),
        _ => None,
    }
}

fn request_reserved(config: &Config, key: &str, name: &str) -> Option<&'static str> {
    const FORWARDING: &str = "it tells where the request came from, which the gateway knows";
    const ASSERTED: &str = "only the gateway may say this: clients' own are deleted";
    const FAMILIES: [&str; 4] = ["x-accel-", "x-client-cert-", "x-forwarded-", "x-portcullis-"];
    if let Some(why) = always_reserved(name) {
        return Some(why);
    }
    if is_own(config, name) {
        return Some("it carries what the gateway vouches for: a claim, an assertion or an id");
    }
    match name {
        "expect" => Some(FRAMING),
        "host" => Some("it names the site, and goes on as the client sent it"),
        "forwarded" | "via" | "x-forwarded" | "x-real-ip" => Some(FORWARDING),
        name if name.starts_with("x-forwarded-") => Some(FORWARDING),
        "front-end-https" | "path-info" | "proxy" | "remote-user" | "script-name"
        | "x-client-cert" | "x-original-url" | "x-rewrite-url" | "x-scheme" | "x-url-scheme" => {
            Some(ASSERTED)
        }
        name if FAMILIES.iter().any(|family| name.starts_with(family)) => Some(ASSERTED),
        "authorization" | "content-type" | "cookie" if key == "add" => {
            Some("a second one would make two requests of one: use `set`")
        }
        _ => None,
    }
}

fn response_reserved(config: &Config, key: &str, name: &str) -> Option<&'static str> {
    if let Some(why) = always_reserved(name) {
        return Some(why);
    }
    match name {
        "content-encoding" | "content-range" | "content-type" => {
            Some("it says what the body is, which stays as it is")
        }
        "www-authenticate" => Some("it tells clients how to authenticate"),
        name if name.starts_with("access-control-") => {
            Some("which pages may read the answer is said with `cors`")
        }
        "set-cookie" if key == "set" || key == "default" => {
            Some("it would be every client's cookie, and take the application's away: use `add`")
        }
        name if name == folded(&config.server.request_id) => Some("it carries the request's id"),
        _ => None,
    }
}

/// Whether the gateway sets the header itself, by its configuration.
fn is_own(config: &Config, name: &str) -> bool {
    let identity = config.issuers.iter().flat_map(|issuer| issuer.identity_headers.iter());
    let assertion = config.server.assertion.iter().map(|assertion| &assertion.header);
    let own = identity.map(|(header, _)| header).chain(assertion);
    own.chain([&config.server.request_id]).any(|header| folded(header) == name)
        || name == "x-request-id"
}

// === what is forwarded ===

/// Keys that say nothing on a route which forwards nothing.
fn forwarded_alone(route: &Route, path: &str, walk: &mut Walk<'_>) {
    if route.upstream.is_some() || walk.is_incomplete(&route.span) {
        return;
    }
    let keys = [
        ("request_headers", route.request_headers.as_ref().map(|one| &one.span)),
        ("strip_prefix", route.strip_prefix.as_ref().map(|one| &one.span)),
        ("rewrite", route.rewrite.as_ref().map(|one| &one.span)),
        ("add_prefix", route.add_prefix.as_ref().map(|one| &one.span)),
        ("mount", route.mount.as_ref().map(|one| &one.span)),
        ("timeout", route.timeout.as_ref().map(|one| &one.span)),
    ];
    for (key, span) in keys {
        if let Some(span) = span {
            let message = format!("`{key}` without an `upstream`: nothing is forwarded");
            report(walk, span, &format!("{path}.{key}"), message, "leave it out");
        }
    }
}

/// A mount decides alone what path is forwarded.
fn mount(route: &Route, path: &str, walk: &mut Walk<'_>) {
    let Some(mount) = &route.mount else { return };
    let others = [
        ("strip_prefix", route.strip_prefix.is_some()),
        ("rewrite", route.rewrite.is_some()),
        ("add_prefix", route.add_prefix.is_some()),
    ];
    if let Some((key, _)) = others.iter().find(|(_, given)| *given) {
        let message = format!("`mount` and `{key}` contradict each other");
        let hint = "`mount` says already what the application takes off";
        report(walk, &mount.span, &format!("{path}.mount"), message, hint);
    }
}

// === redirects ===

fn redirect(route: &Route, redirect: &Redirect, path: &str, walk: &mut Walk<'_>) {
    let to = &redirect.to;
    if let Err(hint) = target(to) {
        let message = format!("nobody can be sent to {}", walk.shown(to));
        report(walk, &to.span, &format!("{path}.to"), message, hint);
    }
    if !matches!(redirect.status.value, 301 | 302 | 303 | 307 | 308) {
        let message = format!("{} is no status of a redirect", redirect.status.value);
        let hint = "301, 302, 303, 307 or 308";
        report(walk, &redirect.status.span, &format!("{path}.status"), message, hint);
    }
    if to.ends_with("/*") {
        let message = "`*` stands for nothing here: clients would be sent to a `*`";
        let hint =
            "end it with `/`, and write `keep_path = true` for what the route's `/*` stands for";
        report(walk, &to.span, &format!("{path}.to"), message, hint);
    } else if redirect.keep_path {
        if !to.ends_with('/') || to.contains(['?', '#']) {
            let message = "with `keep_path` something is put behind it";
            let hint = "end it with `/`, without a query";
            report(walk, &to.span, &format!("{path}.to"), message, hint);
        }
        if !route.path.ends_with("/*") {
            let message = "`keep_path` on a route for one path: nothing is kept";
            let hint = "end the route's `path` with `/*`, or leave `keep_path` out";
            report(walk, &redirect.span, &format!("{path}.keep_path"), message, hint);
        }
    }
}

/// Whether every client reads it as a place that the operator named; if not, what to do about it.
fn target(to: &str) -> Result<(), &'static str> {
    if !to.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("printable ASCII without spaces: write others as `%XX`");
    }
    if to.contains(['\\', '<', '>', '"', '`', '{', '}', '|', '^']) {
        return Err("write it as a URL is written: `\\` and the like as `%XX`");
    }
    let rest = to.strip_prefix("https://").or_else(|| to.strip_prefix("http://"));
    match rest {
        Some(rest) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let host = rest.get(..end).unwrap_or_default();
            if host.is_empty() || host.starts_with(':') {
                return Err("name the host: \"https://example.com/new/\"");
            }
            if host.contains('@') {
                return Err("no user in front of the host");
            }
            if rest.get(end..).is_none_or(|path| !path.starts_with('/')) {
                return Err("write the path, too: \"https://example.com/\"");
            }
            Ok(())
        }
        None if to.starts_with("//") => Err("`//` begins a host, not a path: write https://"),
        None if to.starts_with('/') => Ok(()),
        None => Err("write a URL, \"https://example.com/new/\", or a path, \"/new/\""),
    }
}

//! Rules of routes: one action each, names that exist, and nobody let in by an oversight.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::super::node::quoted;
use super::super::require::is_claim;
use super::super::walk::Walk;
use super::super::{
    Config, Diagnostic, Issuers, LimitBy, RateLimits, Route, Severity, Spanned, UpstreamRef,
    WebOrigin,
};
use super::{Names, header_name, is_token, is_unseen, known, report, shape, static_files};

/// Checks every route, then what no route uses.
pub(super) fn rules(config: &Config, names: &Names<'_>, walk: &mut Walk<'_>) {
    for (place, route) in config.routes.iter().enumerate() {
        let path = format!("route[{place}]");
        action(config, route, &path, walk);
        static_files::rules(route, &path, walk);
        references(route, names, &path, walk);
        methods(route, &path, walk);
        logout(route, names, &path, walk);
        if route.internal.value {
            static_files::internal(route, &path, walk);
        } else {
            protection(route, names, &path, walk);
        }
        cors(route, &path, walk);
        limits(config, route, &path, walk);
        shape::rules(config, route, &path, walk);
    }
    static_files::accel(config, walk);
    duplicates(&config.routes, walk);
    if walk.problems.iter().all(|one| one.severity == Severity::Warning) {
        unused(config, walk);
    }
}

/// Exactly one thing happens.
fn action(config: &Config, route: &Route, path: &str, walk: &mut Walk<'_>) {
    let verify = route.verify.value.then_some(&route.verify.span);
    let actions = [
        ("upstream", route.upstream.as_ref().map(|upstream| &upstream.span)),
        ("static", route.static_root.as_ref().map(|folder| &folder.span)),
        ("redirect", route.redirect.as_ref().map(|redirect| &redirect.span)),
        ("verify", verify),
    ];
    let mut given = actions.iter().filter_map(|(key, span)| Some((key, (*span)?)));
    match (given.next(), given.next()) {
        (Some((first, _)), Some((second, span))) => {
            let message = format!("both `{first}` and `{second}` are given");
            let hint = "make two routes of it, or leave one of them out";
            report(walk, span, path, message, hint);
        }
        (None, _) if !walk.is_incomplete(&route.span) => {
            let hint = "say `upstream = \"NAME\"`, `static = \"FOLDER\"` or `redirect = { .. }`";
            report(walk, &route.span, path, "this route does nothing", hint);
        }
        (_, _) => {}
    }
    if let Some(span) = verify {
        verification(config, route, span, &format!("{path}.verify"), walk);
    }
}

/// Whoever may ask learns whether a token is good and whose it is, and chooses the address that
/// bad ones are counted for.
fn verification(
    config: &Config,
    route: &Route,
    span: &Range<usize>,
    path: &str,
    walk: &mut Walk<'_>,
) {
    if config.server.trusted_proxies.is_empty() && !walk.is_incomplete(&config.server.span) {
        let hint = "say who asks: `trusted_proxies = [\"10.0.0.0/8\"]` in `[server]`";
        report(walk, span, path, "`verify` without `trusted_proxies`: nobody may ask", hint);
    }
    if route.public {
        let hint = "every request would pass: leave out `public`";
        report(walk, span, path, "`public` and `verify` contradict each other", hint);
    }
}

fn references(route: &Route, names: &Names<'_>, path: &str, walk: &mut Walk<'_>) {
    if let Some(upstream) = &route.upstream
        && let UpstreamRef::Name(name) = &upstream.value
    {
        let name = Spanned { value: name.clone(), span: upstream.span.clone() };
        known(&name, "upstream", &names.upstreams, &format!("{path}.upstream"), walk);
    }
    for listener in route.listeners.iter().flatten() {
        known(listener, "listener", &names.listeners, &format!("{path}.listeners"), walk);
    }
    if let Some(Issuers::Named(issuers)) = route.issuers.as_ref().map(|issuers| &issuers.value) {
        for issuer in issuers {
            known(issuer, "issuer", &names.issuers, &format!("{path}.issuers"), walk);
        }
    }
}

fn methods(route: &Route, path: &str, walk: &mut Walk<'_>) {
    for method in route.methods.iter().flatten() {
        let hint = if !is_token(method) || method.len() > 32 {
            "a method is a short word such as `GET`"
        } else if method.as_str() == "CONNECT" || method.as_str() == "TRACE" {
            "CONNECT and TRACE are always refused"
        } else if method.chars().any(|c| c.is_ascii_lowercase()) {
            "methods are written in capital letters"
        } else {
            continue;
        };
        let message = format!("{} is not a method that a route can take", walk.shown(method));
        report(walk, &method.span, &format!("{path}.methods"), message, hint);
    }
}

/// What `revoke_on` watches has to be able to happen.
fn logout(route: &Route, names: &Names<'_>, path: &str, walk: &mut Walk<'_>) {
    let Some(watched) = &route.revoke_on else { return };
    let path = format!("{path}.revoke_on");
    if route.methods.as_ref().is_some_and(|methods| methods.iter().all(|one| one.value != "POST")) {
        let hint = "add `POST` to `methods`, or move `revoke_on` to the route that takes it";
        report(walk, &watched.span, &path, "a logout is a POST, which this route refuses", hint);
    }
    if let Some(issuer) = &watched.issuer {
        known(issuer, "issuer", &names.issuers, &format!("{path}.issuer"), walk);
    }
}

/// Who may: everybody, or the bearers of certain tokens, but never by an oversight.
fn protection(route: &Route, names: &Names<'_>, path: &str, walk: &mut Walk<'_>) {
    if route.public {
        if let Some(issuers) = &route.issuers {
            let hint = "a public route reads no token: leave out `public` or `issuers`";
            report(walk, &issuers.span, path, "`public` and `issuers` contradict each other", hint);
        }
        if let Some(require) = route.require.first() {
            let hint = "a public route reads no token: leave out `public` or `require`";
            report(walk, &require.span, path, "`public` and `require` contradict each other", hint);
        }
        if route.anonymous {
            let hint = "a public route reads no token: leave out `public` or `anonymous`";
            report(walk, &route.span, path, "`public` and `anonymous` contradict each other", hint);
        }
    } else if walk.is_incomplete(&route.span) {
        // `public` may have been what was not understood.
    } else if names.issuers.is_empty() {
        let hint = "add an `[issuer.NAME]`, or say `public = true`";
        report(
            walk,
            &route.span,
            path,
            "this route asks for a token, but there is no issuer",
            hint,
        );
    } else if route.issuers.is_none() && names.issuers.len() > 1 {
        let hint = format!("issuers = [\"{}\"], or \"all\"", names.issuers.first().unwrap_or(&""));
        report(walk, &route.span, path, "whose tokens this route takes is not said", &hint);
    }
    if let Some(require) = route.require.first().filter(|_| route.anonymous && !route.public) {
        let hint = "who sends no token would pass, and who sends one would not: make two routes";
        report(walk, &require.span, path, "`anonymous` and `require` contradict each other", hint);
    }
}

/// Whose pages may read: exactly those that are listed, or all of them and then without cookies.
fn cors(route: &Route, path: &str, walk: &mut Walk<'_>) {
    let Some(cors) = &route.cors else { return };
    let path = format!("{path}.cors");
    if let Some(any) = cors.origins.iter().find(|one| one.value == WebOrigin::Any) {
        let origins = format!("{path}.origins");
        if cors.origins.len() > 1 {
            let message = "`*` allows every origin: the others say nothing";
            report(walk, &any.span, &origins, message, "keep `*`, or leave it out");
        }
        if cors.credentials {
            let message = "every page there is could act with its visitors' cookies";
            report(
                walk,
                &any.span,
                &origins,
                message,
                "name the origins, or leave out `credentials`",
            );
        }
    }
    for method in cors.methods.iter().flatten() {
        if !is_token(method) || method.chars().any(|c| c.is_ascii_lowercase()) {
            let message = format!("{} is not a method", walk.shown(method));
            let hint = "a method is a short word in capital letters such as `GET`";
            report(walk, &method.span, &format!("{path}.methods"), message, hint);
        }
    }
    for name in cors.headers.iter().filter(|name| name.as_str() != "*") {
        header_name(name, &format!("{path}.headers"), walk);
    }
    if let Some(any) = cors.headers.iter().find(|name| name.as_str() == "*")
        && cors.headers.len() > 1
    {
        let message = "`*` allows every header: the others say nothing";
        report(walk, &any.span, &format!("{path}.headers"), message, "keep `*`, or leave it out");
    }
    for name in &cors.expose_headers {
        header_name(name, &format!("{path}.expose_headers"), walk);
    }
}

/// What is counted by has to be there to be counted.
fn limits(config: &Config, route: &Route, path: &str, walk: &mut Walk<'_>) {
    let path = format!("{path}.rate_limit");
    for limit in route.rate_limit.iter().flat_map(RateLimits::iter) {
        let span = &limit.by.span;
        match &limit.by.value {
            LimitBy::Ip => {}
            LimitBy::Header(name) => {
                let name = Spanned { value: name.clone(), span: span.clone() };
                if header_name(&name, &path, walk) && is_unseen(&name, config) {
                    let message =
                        format!("{} is deleted before it could be counted by", walk.shown(&name));
                    report(
                        walk,
                        span,
                        &path,
                        message,
                        "count by `ip`, or by a header of the client's own",
                    );
                }
            }
            LimitBy::Claim(name) if !is_claim(name) => {
                let hint = "in a JSON Pointer `~` is written `~0`, `/` `~1`";
                report(walk, span, &path, "neither a claim's name nor a JSON Pointer", hint);
            }
            LimitBy::Claim(_) if route.public => {
                let hint = "a public route reads no token: count by `ip`";
                report(walk, span, &path, "there are no claims on a public route", hint);
            }
            LimitBy::Claim(_) => {}
        }
    }
}

/// Names stand in logs and metrics: two routes of one name could not be told apart.
fn duplicates(routes: &[Route], walk: &mut Walk<'_>) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (place, route) in routes.iter().enumerate() {
        let name = route.effective_name();
        let span = route.name.as_ref().map_or(&route.path.span, |name| &name.span);
        if let Some(first) = seen.get(&name) {
            let made = Spanned { value: name, span: span.clone() };
            let parts = route.hosts.iter().chain(route.methods.iter().flatten());
            let whole = parts.chain([&made]).all(|part| walk.shown(part).starts_with('`'));
            let shown = if whole { walk.shown(&made) } else { "like this".to_owned() };
            let message = format!("route[{first}] is named {shown} too");
            report(
                walk,
                span,
                &format!("route[{place}]"),
                message,
                "give one of them another `name`",
            );
        } else {
            seen.insert(name, place);
        }
    }
}

/// What no route uses was probably meant to be used.
fn unused(config: &Config, walk: &mut Walk<'_>) {
    let mut upstreams = BTreeSet::new();
    let mut issuers = BTreeSet::new();
    let mut all = false;
    for route in &config.routes {
        if let Some(UpstreamRef::Name(name)) = route.upstream.as_ref().map(|one| &one.value) {
            upstreams.insert(name.as_str());
        }
        match route.issuers.as_ref().map(|issuers| &issuers.value) {
            Some(Issuers::Named(names)) => issuers.extend(names.iter().map(|name| name.as_str())),
            Some(Issuers::All) => all = true,
            None => all |= !route.public && !route.internal.value,
        }
    }
    let upstream = config.upstreams.iter().map(|one| ("upstream", &one.name));
    let issuer = config.issuers.iter().map(|one| ("issuer", &one.name));
    for (kind, name) in upstream.chain(issuer) {
        let used = match kind {
            "upstream" => upstreams.contains(name.as_str()),
            _ => all || issuers.contains(name.as_str()),
        };
        if !used {
            let message = format!("no route uses {kind} {}", quoted(name));
            walk.report(
                Diagnostic::warning(name.span.clone(), message)
                    .path(format!("{kind}.{}", name.value)),
            );
        }
    }
}

//! `portcullis explain`: what would happen to a request, and why.
//!
//! Offline: compiles the configuration as `run` does and asks the same functions that serve
//! requests. Reads key files but opens no connection, so keys that only an issuer can hand out are not
//! known here.

use std::path::Path;
use std::sync::Arc;

use hyper::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Uri};

use super::known_keys::{self, Reach};
use super::token::{read_token, show};
use super::{Failure, load, refused};
use crate::auth::{self, Carrier, Guarded, Principal, Revocations};
use crate::clock::Clock;
use crate::gateway::Reject;
use crate::http::{Scheme, head, headers, path, upgrade};
use crate::route::{Found, Split};
use crate::snapshot::plan::{Action, RoutePlan};
use crate::snapshot::{Snapshot, Surroundings, compile};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The method, such as GET
    method: String,
    /// The whole URL, such as `https://example.com/api/orders/`
    url: String,
    /// A request header, `Name: value`; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The bearer token; `-` reads it from standard input
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
}

pub(super) fn run(file: &Path, arguments: &Arguments) -> Result<(), Failure> {
    let loaded = load(file)?;
    let surroundings = Surroundings::offline().map_err(Failure::Running)?;
    let compiled = compile(&loaded, None, &surroundings).map_err(|errors| refused(&errors))?;
    // As the gateway would at its start: what was told and kept is read, too.
    let (list, now) = (compiled.snapshot.revocations(), surroundings.clock.wall());
    list.replace_file(&compiled.revoked.file, now)
        .and_then(|()| list.revoke(&compiled.revoked.told, now))
        .map_err(|full| Failure::Running(full.to_string()))?;
    let (parts, scheme) = request(arguments)?;
    explain(&compiled.snapshot, &surroundings.clock, parts, scheme);
    Ok(())
}

/// The request as a client would send it.
fn request(arguments: &Arguments) -> Result<(Parts, Scheme), Failure> {
    let usage = |message: String| Failure::Usage(message);
    let uri: Uri = arguments.url.parse().map_err(|error| usage(format!("URL: {error}")))?;
    let scheme = match uri.scheme_str() {
        Some("https") => Scheme::Https,
        Some("http") => Scheme::Http,
        Some(_) | None => return Err(usage("URL: begins with https:// or http://".to_owned())),
    };
    let method = Method::from_bytes(arguments.method.as_bytes())
        .map_err(|error| usage(format!("method: {error}")))?;
    let mut request = Request::new(());
    *request.method_mut() = method;
    if let Some(host) = uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
        request.headers_mut().insert(HOST, host);
    }
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    *request.uri_mut() = target.parse().map_err(|error| usage(format!("URL: {error}")))?;
    for header in &arguments.headers {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| usage(format!("header `{header}`: written `Name: value`")))?;
        let name = HeaderName::try_from(name.trim()).map_err(|e| usage(format!("header: {e}")))?;
        let value =
            HeaderValue::try_from(value.trim()).map_err(|e| usage(format!("header: {e}")))?;
        request.headers_mut().append(name, value);
    }
    if let Some(token) = &arguments.token {
        let token = read_token(token)?;
        let value = HeaderValue::try_from(format!("Bearer {}", token.trim()))
            .map_err(|_| usage("the token holds a character that no header may".to_owned()))?;
        request.headers_mut().append(AUTHORIZATION, value);
    }
    Ok((request.into_parts().0, scheme))
}

/// The steps of a request, in their order, each with what it finds.
fn explain(snapshot: &Snapshot, clock: &Clock, mut parts: Parts, scheme: Scheme) {
    let Some(slot) = listener(snapshot, &parts, scheme) else {
        println!("listener   none listens for this scheme");
        return;
    };
    let plan = snapshot.listener(slot);
    println!("listener   {}", plan.name);
    let head = match head::check(&parts, scheme, snapshot.head_limits()) {
        Ok(head) => head,
        Err(error) => return refuse("head", &error, &Reject::Head(error)),
    };
    let host = head.authority.host();
    match &plan.certificates {
        Some(certificates) if certificates.covers(host) => println!("host       {host} (covered)"),
        Some(_) => {
            return refuse("host", &format!("{host} is in no certificate"), &Reject::Misdirected);
        }
        None => println!("host       {host}"),
    }
    let dropped = snapshot.asserted().strip(&mut parts.headers);
    if dropped > 0 {
        println!("headers    {dropped} deleted, since only Portcullis may set them");
    }
    let (policy, allowed) = snapshot.underscores();
    match headers::screen_underscores(&mut parts.headers, policy, allowed) {
        Ok(0) => {}
        Ok(dropped) => println!("headers    {dropped} deleted, for the `_` in their names"),
        Err(error) => return refuse("headers", &error, &Reject::Head(error)),
    }
    let Some((canonical, found, preflight)) = one_route(snapshot, slot, host, &parts) else {
        return;
    };
    println!("path       {canonical}");
    let named = matches!(found, Found::Route(index) if snapshot.names_listener(index, slot));
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    if reads && canonical == auth::JWKS_PATH && snapshot.assertion().is_some() {
        println!("assertion  the public keys of signed assertions, for everybody");
        return;
    }
    if let Some(redirect) = plan.redirect(&canonical).filter(|_| !named) {
        if !redirect.certificates.covers(host) {
            let why = format!("{host} is in no certificate of the listener it would be sent to");
            return refuse("redirect", &why, &Reject::Misdirected);
        }
        println!("redirect   to https, as the listener says");
        return;
    }
    if let Some((_, path)) = snapshot.described(&found, slot, host, &canonical).filter(|_| reads) {
        println!("metadata   of {path}: how to get a token there (RFC 9728)");
        return;
    }
    match preflight {
        Some(asked) => println!("preflight  answered for {asked}, without a token"),
        None => show_found(snapshot, clock, found, &parts, scheme),
    }
    why_others_lost(snapshot, slot, host, &canonical, &parts.method);
}

fn show_found(
    snapshot: &Snapshot,
    clock: &Clock,
    found: Found<usize>,
    parts: &Parts,
    scheme: Scheme,
) {
    match found {
        Found::None => println!("route      none: 404 no_route"),
        Found::MethodNotAllowed(allow) => {
            println!(
                "route      none for {}: 405 method_not_allowed (allowed: {allow})",
                parts.method
            );
        }
        Found::Route(index) => {
            if let Some(route) = snapshot.route(index) {
                show_route(snapshot, clock, route, parts, scheme);
            }
        }
    }
}

/// The canonical path, what it comes to, and the method that a preflight asks for; none, once the reason is shown, if it is refused.
fn one_route(
    snapshot: &Snapshot,
    slot: usize,
    host: &str,
    parts: &Parts,
) -> Option<(String, Found<usize>, Option<Method>)> {
    let raw = parts.uri.path();
    let canonical = match path::canonicalize(raw) {
        Ok(canonical) => canonical,
        Err(error) => {
            refuse("path", &error, &Reject::Path(error));
            return None;
        }
    };
    let (found, preflight) = snapshot.find_for(slot, host, &canonical.path, parts);
    let method = preflight.as_ref().unwrap_or(&parts.method);
    if canonical.doubtful
        && let Err(split) = snapshot.agree(slot, host, raw, method, &found)
    {
        ambiguous(snapshot, &canonical.path, &found, &split);
        return None;
    }
    Some((canonical.path.into_owned(), found, preflight))
}

/// A path that is not everybody's path to one route.
fn ambiguous(snapshot: &Snapshot, path: &str, found: &Found<usize>, split: &Split<usize>) {
    let name = |found: &Found<usize>| match found {
        Found::Route(index) => {
            snapshot.route(*index).map_or("-".to_owned(), |route| format!("route {}", route.name))
        }
        Found::MethodNotAllowed(_) => "routes for other methods".to_owned(),
        Found::None => "no route".to_owned(),
    };
    println!("path       {path}, to {}", name(found));
    refuse("path", split, &Reject::Path(path::PathError::Ambiguous));
    if let Split::Elsewhere { found, .. } = split {
        println!("  which is {}", name(found));
    }
}

/// A step that ends the request before it has a route.
fn refuse(step: &str, why: &dyn std::fmt::Display, reject: &Reject) {
    println!("{step:<10} refused: {} ({why})", reject.reason());
}

/// The listener of the scheme whose public port is the URL's, else the first of the scheme.
fn listener(snapshot: &Snapshot, parts: &Parts, scheme: Scheme) -> Option<usize> {
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let written = host.parse::<hyper::http::uri::Authority>().ok().and_then(|host| host.port_u16());
    let port = written.unwrap_or(match scheme {
        Scheme::Https => 443,
        Scheme::Http => 80,
    });
    let slots = || {
        (0..snapshot.config().listeners.len())
            .filter(|&slot| snapshot.listener(slot).scheme == scheme)
    };
    slots().find(|&slot| snapshot.listener(slot).public_port == port).or_else(|| slots().next())
}

fn show_route(
    snapshot: &Snapshot,
    clock: &Clock,
    route: &RoutePlan,
    parts: &Parts,
    scheme: Scheme,
) {
    println!("route      {}", route.name);
    let host = parts.headers.get(HOST);
    let is_question = matches!(route.action, Action::Verify(_));
    let carrier = Carrier { parts, scheme, host, cors: route.cors.as_deref(), is_question };
    if route.allow_ips.is_some() {
        println!("clients    those of `allow_ips` alone");
    }
    for limit in &route.limits {
        let quota = limit.limiter.quota();
        println!(
            "limit      {} in {:?}, {} at once, by {}",
            quota.count,
            quota.period,
            quota.burst,
            limit.by.as_str()
        );
    }
    match &route.action {
        Action::Files(guarded) => {
            if verdict(snapshot, guarded, clock, carrier) {
                println!("action     serve a file of {}", route.to);
            }
        }
        Action::Verify(guarded) => {
            println!("clients    trusted proxies alone");
            if verdict(snapshot, guarded, clock, carrier) {
                println!("action     answer 200 with the identity headers");
            }
        }
        Action::Proxy(guarded) => {
            if !verdict(snapshot, guarded, clock, carrier) {
                return;
            }
            if !route.websocket && upgrade::asks_for_websocket(parts) {
                return refuse("websocket", &"the route says so", &Reject::WebSocketOff);
            }
            println!("action     forward to {}", route.to);
            println!("body       at most {} bytes", route.max_body);
            if let Some(upstream) = snapshot.upstreams().iter().find(|one| one.name() == route.to) {
                let labels: Vec<_> = upstream.endpoints().iter().map(|one| one.label()).collect();
                let times = upstream.timeouts();
                println!("endpoints  {}", labels.join(", "));
                println!(
                    "timeouts   connect {:?}, response {:?}, read {:?}",
                    times.connect, times.response, times.read
                );
            }
        }
    }
}

/// Shows the token's way through the route's policy; whether the action is reached.
fn verdict<A>(
    snapshot: &Snapshot,
    guarded: &Guarded<A>,
    clock: &Clock,
    carrier: Carrier<'_>,
) -> bool {
    println!("policy     {}", guarded.policy());
    let principal = match guarded.policy().issuers() {
        None => None,
        Some(issuers) => match issuers.find_token(carrier) {
            Ok((token, issuers)) => match judge(issuers, token, snapshot.revocations(), clock) {
                Some(principal) => Some(principal),
                None => return false,
            },
            Err(refusal) if guarded.policy().forgives(&refusal) => {
                println!("token      none, which this route lets pass");
                None
            }
            Err(refusal) => {
                println!("token      {} ({})", refusal.reason(), refusal.detail());
                return false;
            }
        },
    };
    match guarded.authorize(principal, clock.wall()) {
        Ok(permit) => {
            for (name, value) in permit.principal().iter().flat_map(|who| who.identity()) {
                println!("identity   {name}: {}", value.to_str().unwrap_or("(not text)"));
            }
            true
        }
        Err(denial) => {
            println!("denied     {} ({denial})", denial.reason());
            false
        }
    }
}

fn judge(
    issuers: &auth::IssuerSet,
    token: &str,
    revocations: &Revocations,
    clock: &Clock,
) -> Option<Arc<Principal>> {
    let runtime = known_keys::runtime().ok()?;
    let named: Vec<_> = issuers.iter().map(Arc::clone).collect();
    for note in known_keys::load(&runtime, &named, Reach::Local) {
        println!("  {:<11} {note}", "keys");
    }
    let (findings, result) =
        runtime.block_on(auth::explain(issuers, token, auth::Lookup::Known, clock));
    show(&findings);
    match result {
        Ok(principal) => {
            if let Err(cause) = revocations.check(&principal, clock.wall()) {
                println!("token      {} ({cause})", cause.reason());
                return None;
            }
            println!("token      ok (issuer {})", principal.issuer_name());
            Some(principal)
        }
        Err(refusal) => {
            println!("token      {} ({})", refusal.reason(), refusal.detail());
            None
        }
    }
}

fn why_others_lost(snapshot: &Snapshot, slot: usize, host: &str, path: &str, method: &Method) {
    for (index, lost) in crate::route::explain(snapshot.matchers(), slot, host, path, method).lost {
        if let Some(route) = snapshot.route(index) {
            println!("  not {}: {lost}", route.name);
        }
    }
}

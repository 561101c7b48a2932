//! What is sent on to an application: its endpoints, and the head as it would be written.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;

use hyper::Uri;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, HeaderName, HeaderValue};
use hyper::http::request::Parts;

use super::action::{pages, verb};
use super::{Arrived, End, Story, at, because, note, tell};
use crate::auth::{Guarded, Permit};
use crate::gateway::{Reject, assertion, hand_over, steps};
use crate::http::forwarded::{Origin, request_id};
use crate::http::proxy_protocol::Version;
use crate::proxy::{self, Failure, Forward, Pools, Proxy};
use crate::snapshot::plan::{Proxied, RoutePlan};
use crate::upstream::{Balance, Kind, Upstream};

pub(super) fn proxied(
    story: &Story<'_>,
    route: &RoutePlan,
    guarded: &Guarded<Proxied>,
    permit: &Permit<'_, Proxied>,
    (arrived, target): (&Arrived<'_>, Option<Uri>),
) -> Result<String, End> {
    let switches = steps::switches(route, &arrived.parts)
        .map_err(|reject| because("websocket", "the route does not switch to it")(reject))?;
    tell("action", &format!("{} {}", verb(&route.action), route.to));
    if switches {
        tell("websocket", &"is switched to, if the application does");
    }
    let proxy = &permit.action().proxy;
    let upstream = &proxy.upstream;
    body(route, proxy);
    endpoints(upstream);
    pages(route, &arrived.parts.headers);
    head(story, guarded, permit, arrived, target)?;
    Ok(format!("what {} answers", route.to))
}

fn body(route: &RoutePlan, proxy: &Proxy) {
    let way = match (proxy.buffers_requests, proxy.upstream.kind()) {
        (true, _) => "sent when it is here as a whole",
        (false, Kind::Wsgi) => "gathered first if its length is not known",
        (false, Kind::Asgi | Kind::Grpc | Kind::Http | Kind::Node) => "passed on as it comes",
    };
    if proxy.buffers_responses {
        tell("response", &"read ahead of its client, unless it is a stream");
    }
    if let Some(whole) = route.timeout {
        tell("timeout", &format!("{whole:?} in all"));
    }
    if let Some(concurrency) = &route.concurrency {
        tell(
            "at once",
            &format!("{} of this route; a running gateway counts", concurrency.places()),
        );
    }
    tell("body", &format!("at most {} bytes, {way}", route.max_body));
}

fn endpoints(upstream: &Upstream) {
    let all = upstream.endpoints().iter().filter(|one| !one.is_vacant());
    let mut labels: Vec<_> = all.map(|one| one.label().to_owned()).collect();
    labels.extend(upstream.names().map(|(name, ..)| format!("every address of {name}")));
    let how = match upstream.balance() {
        _ if labels.len() == 1 && upstream.names().next().is_none() => "",
        Balance::LeastRequests => " (the less busy of two at random)",
        Balance::RoundRobin => " (one after the other)",
        Balance::Keyed => " (by a hash of the request's key)",
        Balance::Sticky => " (the one that the client's cookie names, or the less busy of two)",
    };
    tell("endpoints", &format!("{}{how}", labels.join(", ")));
    if let Some(version) = upstream.names_clients() {
        let version = match version {
            Version::V1 => "1",
            Version::V2 => "2",
        };
        tell(
            "connection",
            &format!("its own, and names the client first (PROXY protocol version {version})"),
        );
    }
    let times = upstream.timeouts();
    tell(
        "timeouts",
        &format!(
            "connect {:?}, response {:?}, read {:?}",
            times.connect, times.response, times.read
        ),
    );
}

/// The head that the application gets, line by line: `+` is Portcullis' own, `-` ends here.
fn head(
    story: &Story<'_>,
    guarded: &Guarded<Proxied>,
    permit: &Permit<'_, Proxied>,
    arrived: &Arrived<'_>,
    target: Option<Uri>,
) -> Result<(), End> {
    let mut parts = arrived.parts.clone();
    if let Some(target) = target {
        parts.uri = target;
    }
    let _owed = hand_over(guarded, permit, &mut parts);
    let permit =
        &permit.narrow(|proxied| Some(&proxied.proxy)).ok_or(at("head")(Reject::Internal))?;
    let signed = assertion(story.snapshot, permit, story.clock).map_err(at("assertion"))?;
    let id = request_id();
    let pools = Arc::new(Pools::new(NonZeroUsize::MIN));
    let ctx = Forward {
        client_certificate: None,
        client_port: 0,
        pools: &pools,
        spool: story.snapshot.spool(),
        origin: Origin {
            standard: story.snapshot.tells_forwarded(),
            ..arrived.seen.origin(&arrived.host)
        },
        via: story.snapshot.via(),
        request_id: (story.snapshot.request_id_header(), &id),
        assertion: signed.as_deref().map(|(name, value)| (name, value)),
        clock: story.clock,
    };
    let head = proxy::head(permit, parts, &ctx).map_err(not_sent)?;
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    tell("sends on", &lines.next().unwrap_or_default());
    let mut names = BTreeSet::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        names.insert(name.to_owned());
        let is_new = !arrived.parts.headers.get_all(name).iter().any(|sent| sent == value);
        let shown = match () {
            () if name == "via" => "(what it had, and this gateway)",
            () if name == story.snapshot.request_id_header().as_str() => "(one of its own)",
            () if ctx.assertion.is_some_and(|(own, _)| own.as_str() == name) => "(signed here)",
            () if permit.action().edits.as_deref().is_some_and(|edits| edits.hides(name)) => {
                "(set here)"
            }
            () if is_secret(name, value, arrived) => "(the client's)",
            () => value,
        };
        note(&format!("{} {name}: {shown}", if is_new { '+' } else { ' ' }));
    }
    for name in ends_here(arrived.sent, &names) {
        note(&format!("- {name}"));
    }
    Ok(())
}

fn not_sent(failure: Failure) -> End {
    match failure {
        Failure::HeadTooLarge | Failure::TargetTooLong => {
            let why = "more than servers of this kind take, see docs/upstream-kinds.md";
            because("head", why)(Reject::Proxy(failure))
        }
        failure => at("head")(Reject::Proxy(failure)),
    }
}

/// What nobody needs to see again.
fn is_secret(name: &str, value: &str, arrived: &Arrived<'_>) -> bool {
    [AUTHORIZATION, COOKIE].iter().any(|secret| secret.as_str() == name)
        || arrived.token.is_some_and(|token| value.contains(token))
        || arrived.sent.headers.get(name).is_some_and(HeaderValue::is_sensitive)
}

/// The names that go no further. What frames the body is written with it.
fn ends_here<'p>(sent: &'p Parts, names: &BTreeSet<String>) -> BTreeSet<&'p str> {
    let sent = sent.headers.keys().filter(|name| **name != CONTENT_LENGTH);
    sent.map(HeaderName::as_str).filter(|name| !names.contains(*name)).collect()
}

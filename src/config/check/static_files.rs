//! Rules of keys that are for folders.

use std::ops::Range;

use super::super::walk::Walk;
use super::super::{Config, Route};
use super::report;

/// Keys that a folder alone can honour, and keys of a folder that contradict each other.
pub(super) fn rules(route: &Route, path: &str, walk: &mut Walk<'_>) {
    let fallback = route.fallback.as_ref().map(|one| &one.span);
    let listing = route.listing.value.then_some(&route.listing.span);
    let media = route.media.value.then_some(&route.media.span);
    let internal = route.internal.value.then_some(&route.internal.span);
    let precompressed = route.precompressed.as_ref().map(|one| &one.span);
    if route.static_root.is_none() && !walk.is_incomplete(&route.span) {
        let keys = [
            ("fallback", fallback),
            ("internal", internal),
            ("listing", listing),
            ("media", media),
            ("precompressed", precompressed),
        ];
        for (key, span) in keys {
            if let Some(span) = span {
                let message = format!("`{key}` is for `static` routes");
                report(walk, span, &format!("{path}.{key}"), message, "leave it out");
            }
        }
        return;
    }
    let mut contradict = |key: &str, span: Option<&Range<usize>>, other: &str, hint: &str| {
        if let Some(span) = span {
            let message = format!("`{other}` and `{key}` contradict each other");
            report(walk, span, &format!("{path}.{key}"), message, hint);
        }
    };
    if media.is_some() {
        let hint = "whoever uploads `x.js.br` would choose what `x.js` shows: leave it out";
        contradict("precompressed", precompressed, "media", hint);
        let hint = "no file that somebody uploaded may answer for others: leave it out";
        contradict("fallback", fallback, "media", hint);
    }
    if internal.is_some() {
        let hint = "whatever is missing would be there: leave it out";
        contradict("fallback", fallback, "internal", hint);
        let hint = "nobody could see it: leave it out";
        contradict("listing", listing, "internal", hint);
    }
    if listing.is_some() {
        let hint = "every folder would show its list or the page, nobody could say which";
        contradict("fallback", fallback, "listing", hint);
    }
}

/// An internal route is reached through others, whose policies count.
pub(super) fn internal(route: &Route, path: &str, walk: &mut Walk<'_>) {
    let own = [
        ("public", route.public.then_some(&route.span)),
        ("anonymous", route.anonymous.then_some(&route.span)),
        ("issuers", route.issuers.as_ref().map(|one| &one.span)),
        ("require", route.require.first().map(|one| &one.span)),
        ("cors", route.cors.as_ref().map(|one| &one.span)),
        ("allow_ips", route.allow_ips.as_ref().and_then(|all| all.first()).map(|one| &one.span)),
        ("methods", route.methods.as_ref().and_then(|all| all.first()).map(|one| &one.span)),
    ];
    for (key, span) in own.into_iter().filter_map(|(key, span)| Some((key, span?))) {
        let message = format!("`internal` and `{key}` contradict each other");
        let hint = "no client gets here, and the route with `accel` decides: leave it out";
        report(walk, span, &format!("{path}.{key}"), message, hint);
    }
}

/// What an application may name has to be there, and the other way round.
pub(super) fn accel(config: &Config, walk: &mut Walk<'_>) {
    let whole = config.routes.iter().all(|route| !walk.is_incomplete(&route.span));
    let any_internal = config.routes.iter().any(|route| route.internal.value);
    let any_accel = config.routes.iter().any(|route| route.accel.value);
    for (place, route) in config.routes.iter().enumerate() {
        let path = format!("route[{place}].accel");
        if route.accel.value && route.upstream.is_none() && !walk.is_incomplete(&route.span) {
            let message = "`accel` is for routes with an `upstream`";
            report(walk, &route.accel.span, &path, message, "leave it out");
        } else if route.accel.value && !any_internal && whole {
            let message = "there is no route with `internal = true` whose files could be named";
            let hint =
                "add one: `path = \"/protected/*\"`, `static = \"protected\"`, `internal = true`";
            report(walk, &route.accel.span, &path, message, hint);
        }
        if route.internal.value && !any_accel && whole {
            let path = format!("route[{place}].internal");
            let message = "no route says `accel = true`: nobody can reach these files";
            report(walk, &route.internal.span, &path, message, "say so in the application's route");
        }
    }
}

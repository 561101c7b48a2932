//! Rules of keys that are for folders.

use std::ops::Range;

use super::super::Route;
use super::super::walk::Walk;
use super::report;

/// Keys that a folder alone can honour, and keys of a folder that contradict each other.
pub(super) fn rules(route: &Route, path: &str, walk: &mut Walk<'_>) {
    let fallback = route.fallback.as_ref().map(|one| &one.span);
    let listing = route.listing.value.then_some(&route.listing.span);
    let media = route.media.value.then_some(&route.media.span);
    let precompressed = route.precompressed.as_ref().map(|one| &one.span);
    if route.static_root.is_none() && !walk.is_incomplete(&route.span) {
        let keys = [
            ("fallback", fallback),
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
    if listing.is_some() {
        let hint = "every folder would show its list or the page, nobody could say which";
        contradict("fallback", fallback, "listing", hint);
    }
}

//! The folders of `static` routes: opened while loading, so that a request finds them open.

use std::sync::Arc;

use hyper::header::HeaderValue;

use super::compile::Compiling;
use super::routes::covers_hosts;
use crate::config::{self, Diagnostic, Route};
use crate::http::Coding;
use crate::route::{Matcher, PathPattern};
use crate::static_files::{CacheControl, Files, FilesError, Settings};

/// The folder of a route; `None` after a diagnostic.
pub(super) fn compile(
    compiling: &mut Compiling<'_>,
    at: usize,
    route: &Route,
    matcher: &Matcher,
) -> Option<Files> {
    let root = route.static_root.as_ref()?;
    let settings = Settings {
        folder: root.value.clone(),
        prefix: served_prefix(&matcher.path).to_owned(),
        index: route.index.clone(),
        fallback: route.fallback.as_ref().map(|fallback| fallback.value.clone()),
        cache_control: cache_control(compiling, at, route)?,
        precompressed: match &route.precompressed {
            Some(written) => written.value.iter().map(|one| coding(*one)).collect(),
            None => vec![Coding::Brotli, Coding::Zstd, Coding::Gzip],
        },
        media: route.media.value,
        listing: route.listing.value,
        internal: route.internal.value,
        cache: compiling.files.as_ref().map(Arc::clone),
    };
    let error = match Files::open(settings, compiling.surroundings.clock.clone()) {
        Ok(files) => return Some(files),
        Err(error) => error,
    };
    let (span, message) = match (&error, &route.fallback) {
        (FilesError::Folder { error, .. }, _) => {
            let folder = compiling.shown(root);
            (&root.span, format!("the folder {folder} can't be opened: {error}"))
        }
        (FilesError::BadFallback(_), Some(fallback)) => {
            (&fallback.span, "`fallback` is not a path below the folder".to_owned())
        }
        (FilesError::BadFallback(_) | FilesError::BadIndex(_), _) => {
            (&route.span, "`index` holds what is not a file name".to_owned())
        }
    };
    let place = format!("route[{at}].static");
    compiling.report(Diagnostic::error(span.clone(), message).path(place));
    None
}

/// The folders whose files an application may name: those of the internal routes that exist wherever
/// its own route does, so that of two applications on two hosts each names its own.
pub(super) fn internal(
    folders: &[(Matcher, Files)],
    route: &Route,
    matcher: &Matcher,
) -> Option<Box<[Files]>> {
    route.accel.value.then(|| {
        let reached = folders.iter().filter(|(internal, _)| {
            covers_hosts(internal, matcher) && internal.listeners.is_superset(matcher.listeners)
        });
        reached.map(|(_, files)| files.clone()).collect()
    })
}

/// As the runtime names it.
pub(super) const fn coding(coding: config::Coding) -> Coding {
    match coding {
        config::Coding::Brotli => Coding::Brotli,
        config::Coding::Gzip => Coding::Gzip,
        config::Coding::Zstd => Coding::Zstd,
    }
}

fn cache_control(compiling: &mut Compiling<'_>, at: usize, route: &Route) -> Option<CacheControl> {
    let text = match &route.cache_control {
        config::CacheControl::Auto => return Some(CacheControl::Auto),
        config::CacheControl::Text(text) => text,
    };
    match HeaderValue::from_str(text) {
        Ok(value) => Some(CacheControl::Fixed(value)),
        Err(_) => {
            let diagnostic =
                Diagnostic::error(route.span.clone(), "not a value that a header can hold");
            compiling.report(diagnostic.path(format!("route[{at}].cache_control")));
            None
        }
    }
}

/// What of a request's path stands for the folder: an exact pattern names a file in it.
fn served_prefix(pattern: &PathPattern) -> &str {
    match pattern {
        PathPattern::Prefix(base) => base,
        PathPattern::Exact(path) => path.rsplit_once('/').map_or("", |(above, _)| above),
    }
}

//! The operator's pages about errors: read while loading, so that an error waits for no disk.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::compile::Compiling;
use super::plan::ErrorPages;
use crate::config::{self, Diagnostic, Route, Statuses};

/// Bytes of one page.
const LARGEST: u64 = 1024 * 1024;

/// The pages of the whole process; `None` if there are none.
pub(super) fn of_server(compiling: &mut Compiling<'_>) -> Option<Arc<ErrorPages>> {
    let written = &compiling.config.server.error_pages;
    let pages = read_all(compiling, "server.error_pages", written)?;
    (!written.0.is_empty()).then(|| Arc::new(pages))
}

/// The pages that count on a route: its own, then those of the whole process. The outer `None`
/// stands after a diagnostic.
#[expect(clippy::option_option, reason = "no pages are no mistake")]
pub(super) fn of_route(
    compiling: &mut Compiling<'_>,
    at: usize,
    route: &Route,
) -> Option<Option<Arc<ErrorPages>>> {
    if route.error_pages.0.is_empty() {
        return Some(compiling.error_pages.clone());
    }
    let place = format!("route[{at}].error_pages");
    let mut pages = read_all(compiling, &place, &route.error_pages)?;
    if let Some(server) = &compiling.error_pages {
        // A class of the route's own comes before a single status of all routes.
        let own: Vec<u16> = pages.classes.iter().map(|(class, _)| *class).collect();
        let others = server.exact.iter().filter(|(status, _)| !own.contains(&(status / 100)));
        pages.exact.extend(others.cloned());
        pages.classes.extend(server.classes.iter().cloned());
    }
    Some(Some(Arc::new(pages)))
}

fn read_all(
    compiling: &mut Compiling<'_>,
    place: &str,
    written: &config::ErrorPages,
) -> Option<ErrorPages> {
    let mut pages = ErrorPages::default();
    let mut whole = true;
    for (statuses, path) in &written.0 {
        match read(&path.value) {
            Ok(page) => match statuses {
                Statuses::Class(class) => pages.classes.push((*class, page)),
                Statuses::One(status) => pages.exact.push((*status, page)),
            },
            Err(error) => {
                whole = false;
                let message = format!("the page {} can't be read: {error}", compiling.shown(path));
                compiling.report(Diagnostic::error(path.span.clone(), message).path(place));
            }
        }
    }
    whole.then_some(pages)
}

fn read(path: &Path) -> io::Result<Bytes> {
    // A pipe would be waited for.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut page = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut page)?;
    if u64::try_from(page.len()).unwrap_or(u64::MAX) > LARGEST {
        return Err(io::Error::other("larger than 1 MiB"));
    }
    Ok(page.into())
}

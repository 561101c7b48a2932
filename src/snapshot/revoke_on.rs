//! `route.revoke_on`: a logout that this route can see, and whose refresh token it brings.

use hyper::{Method, StatusCode};

use super::compile::Compiling;
use super::issuers::Issuers;
use super::plan::RevokeOn;
use super::routes::issuer_names;
use crate::config::{self, Diagnostic, Route};
use crate::http::path::canonicalize;
use crate::route::Matcher;

/// `None` after a diagnostic.
pub(super) fn compile(
    compiling: &mut Compiling<'_>,
    at: usize,
    route: &Route,
    written: &config::RevokeOn,
    matcher: &Matcher,
    issuers: &mut Issuers,
) -> Option<Box<RevokeOn>> {
    let path = &written.path.value;
    let is_canonical = canonicalize(path).is_ok_and(|canonical| canonical.path == path.as_str());
    if !is_canonical || !matcher.path.matches(path) || !matcher.methods.contains(&Method::POST) {
        let message = format!(
            "no request of this route is a POST to {}",
            compiling.source.shown(&written.path)
        );
        compiling.report(
            Diagnostic::error(written.path.span.clone(), message)
                .path(format!("route[{at}].revoke_on.path"))
                .hint("a path without a query, which the route's own `path` matches"),
        );
        return None;
    }
    let issuer = issuer(compiling, at, route, written)?;
    Some(Box::new(RevokeOn {
        path: path.clone(),
        // Within its limits it is a status.
        status: StatusCode::from_u16(written.status).ok()?,
        issuers: issuers.named(compiling, at, route, vec![issuer])?,
    }))
}

/// Whose refresh token a logout brings: never a guess among several.
fn issuer(
    compiling: &mut Compiling<'_>,
    at: usize,
    route: &Route,
    written: &config::RevokeOn,
) -> Option<String> {
    if let Some(issuer) = &written.issuer {
        return Some(issuer.value.clone());
    }
    let names: Vec<String> = if route.public {
        let simplejwt = |one: &&config::Issuer| one.preset == Some(config::Preset::Simplejwt);
        let issuers = compiling.config.issuers.iter().filter(simplejwt);
        issuers.map(|one| one.name.value.clone()).collect()
    } else {
        issuer_names(compiling.config, route).map(str::to_owned).collect()
    };
    match <[String; 1]>::try_from(names) {
        Ok([name]) => Some(name),
        Err(_) => {
            compiling.report(
                Diagnostic::error(written.span.clone(), "whose refresh token it is, is not said")
                    .path(format!("route[{at}].revoke_on"))
                    .hint("add `issuer = \"NAME\"`"),
            );
            None
        }
    }
}

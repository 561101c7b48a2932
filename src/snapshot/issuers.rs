//! Issuers: settings, key sources, and the sets that routes name.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::compile::Compiling;
use super::fingerprint::Fingerprint;
use super::local_keys;
use super::routes::issuer_names;
use crate::auth::{
    Audience, ClaimPath, Clause, ExpectedIss, IdentityHeaders, Issuer, IssuerSet, IssuerSettings,
    Place, Require, TokenUpstream,
};
use crate::config::{self, Diagnostic, RequireTable, Route, Spanned, TokenPlace};
use crate::keys::{self, Algorithm, KeySet, Refresh, RefreshSettings, Source};
use crate::tls;
use hyper::header::HeaderName;

/// The compiled issuers, with the sets of them that routes share.
#[derive(Debug, Default)]
pub(super) struct Issuers {
    by_name: HashMap<String, Arc<Issuer>>,
    in_order: Vec<Arc<Issuer>>,
    sets: HashMap<Vec<String>, Arc<IssuerSet>>,
}

impl Issuers {
    pub(super) fn compile(compiling: &mut Compiling<'_>) -> Self {
        let mut issuers = Self::default();
        let config = compiling.config;
        for issuer in &config.issuers {
            let settings = settings(compiling, issuer);
            let keys = key_set(compiling, issuer);
            if let (Some(settings), Some(keys)) = (settings, keys) {
                let compiled = Issuer::new(settings, keys);
                issuers.by_name.insert(issuer.name.value.clone(), Arc::clone(&compiled));
                issuers.in_order.push(compiled);
            }
        }
        issuers
    }

    /// The issuers of a protected route; `None` after a diagnostic.
    pub(super) fn of_route(
        &mut self,
        compiling: &mut Compiling<'_>,
        at: usize,
        route: &Route,
    ) -> Option<Arc<IssuerSet>> {
        let names = issuer_names(compiling.config, route).map(str::to_owned).collect();
        self.named(compiling, at, route, names)
    }

    /// The issuers of these names, for a route; `None` after a diagnostic.
    pub(super) fn named(
        &mut self,
        compiling: &mut Compiling<'_>,
        at: usize,
        route: &Route,
        mut names: Vec<String>,
    ) -> Option<Arc<IssuerSet>> {
        names.sort_unstable();
        if let Some(set) = self.sets.get(&names) {
            return Some(Arc::clone(set));
        }
        // An issuer that is missing here was reported where it is written.
        let issuers: Option<Vec<_>> =
            names.iter().map(|name| self.by_name.get(name).cloned()).collect();
        match IssuerSet::new(issuers?) {
            Ok(set) => {
                self.sets.insert(names, Arc::clone(&set));
                Some(set)
            }
            Err(error) => {
                compiling.report(
                    Diagnostic::error(route.span.clone(), error.to_string())
                        .path(format!("route[{at}].issuers")),
                );
                None
            }
        }
    }

    pub(super) fn into_list(self) -> Vec<Arc<Issuer>> {
        self.in_order
    }
}

// === settings ===

fn settings(compiling: &mut Compiling<'_>, issuer: &config::Issuer) -> Option<IssuerSettings> {
    let name = issuer.name.value.clone();
    let mut settings = match issuer.preset {
        Some(config::Preset::Simplejwt) => IssuerSettings::simplejwt(name),
        None => IssuerSettings::new(name, ExpectedIss::Absent, Audience::Any),
    };
    match (&issuer.iss, &issuer.url) {
        (Some(config::AnyIssuer::Any), _) => settings.iss = ExpectedIss::Any,
        (None, Some(url)) => settings.iss = ExpectedIss::Url(url.value.clone()),
        (None, None) => {}
    }
    match &issuer.audience {
        Some(config::Audience::List(list)) => settings.audience = Audience::OneOf(list.clone()),
        Some(config::Audience::Any) | None => {}
    }
    settings.algorithms = algorithms(issuer, settings.algorithms);
    settings.types = issuer.types.clone();
    settings.leeway = issuer.leeway.unwrap_or(settings.leeway);
    settings.max_lifetime = issuer.max_lifetime;
    settings.max_token_size = usize::try_from(issuer.max_token_size.bytes()).unwrap_or(usize::MAX);
    settings.identity = identity(compiling, issuer)?;
    settings.token_from = token_from(compiling, issuer)?;
    settings.token_upstream = match issuer.token_upstream {
        config::TokenUpstream::Bearer => TokenUpstream::Bearer,
        config::TokenUpstream::Drop => TokenUpstream::Drop,
        config::TokenUpstream::Keep => TokenUpstream::Keep,
    };
    let required =
        require(compiling, &format!("issuer.{}.require", issuer.name.value), &issuer.require)?;
    settings.require = settings.require.and(required);
    Some(settings)
}

/// The names were checked as the configuration was loaded.
fn algorithms(issuer: &config::Issuer, default: Vec<Algorithm>) -> Vec<Algorithm> {
    match &issuer.algorithms {
        Some(names) => names.iter().filter_map(|name| name.parse().ok()).collect(),
        None if issuer.secret.is_some() => vec![Algorithm::HS256],
        None => default,
    }
}

fn identity(compiling: &mut Compiling<'_>, issuer: &config::Issuer) -> Option<IdentityHeaders> {
    let mut pairs = Vec::new();
    let mut good = true;
    for (header, claim) in issuer.identity_headers.iter() {
        let path = format!("issuer.{}.identity_headers", issuer.name.value);
        // Application servers drop names with `_`, and who would be acting with them.
        let name = HeaderName::try_from(header.value.as_str()).ok();
        let name = name.filter(|name| !name.as_str().contains('_'));
        let Some(name) = name else {
            good = false;
            let message = format!("{} can't carry an identity", compiling.source.shown(header));
            compiling.report(
                Diagnostic::error(header.span.clone(), message)
                    .path(path)
                    .hint("choose a name of your own, such as `X-User`"),
            );
            continue;
        };
        match claim.value.parse::<ClaimPath>() {
            Ok(claim) => pairs.push((name, claim)),
            Err(error) => {
                good = false;
                compiling
                    .report(Diagnostic::error(claim.span.clone(), error.to_string()).path(path));
            }
        }
    }
    good.then(|| IdentityHeaders::new(pairs))
}

/// The places of an issuer's tokens; a header that is deleted from every request is none.
fn token_from(compiling: &mut Compiling<'_>, issuer: &config::Issuer) -> Option<Vec<Place>> {
    let asserted = compiling.asserted();
    let mut places = Vec::new();
    for place in &issuer.token_from {
        places.push(match &place.value {
            TokenPlace::Cookie(name) => Place::Cookie(name.as_str().into()),
            TokenPlace::Query(name) => Place::Query(name.as_str().into()),
            TokenPlace::WebSocketProtocol => Place::WebSocketProtocol,
            TokenPlace::Header(name) => match HeaderName::try_from(name.as_str()) {
                Ok(name) if !asserted.contains(&name) => Place::Header(name),
                Ok(_) | Err(_) => {
                    let shown = Spanned { value: name.clone(), span: place.span.clone() };
                    let message =
                        format!("{} never arrives with a token", compiling.source.shown(&shown));
                    compiling.report(
                        Diagnostic::error(place.span.clone(), message)
                            .path(format!("issuer.{}.token_from", issuer.name.value))
                            .hint("only Portcullis sets this header: clients' own are deleted"),
                    );
                    continue;
                }
            },
        });
    }
    (places.len() == issuer.token_from.len()).then_some(places)
}

/// Compiles `require` tables; `None` after a diagnostic.
pub(super) fn require(
    compiling: &mut Compiling<'_>,
    path: &str,
    tables: &[RequireTable],
) -> Option<Require> {
    let mut alternatives = Vec::new();
    let mut good = true;
    for table in tables {
        let mut clauses = Vec::new();
        for rule in &table.claims {
            let (any, all, none) = (rule.any.clone(), rule.all.clone(), rule.none.clone());
            match Clause::new(&rule.name.value, any, all, none) {
                Ok(clause) => clauses.push(clause),
                Err(error) => {
                    good = false;
                    let span = rule.name.span.clone();
                    compiling.report(Diagnostic::error(span, error.to_string()).path(path));
                }
            }
        }
        alternatives.push(clauses);
    }
    good.then(|| Require::new(alternatives))
}

// === keys ===

/// The issuer's live key set: the running one if its source and everything it depends on are
/// unchanged, so that a reload fetches nothing and forgets nothing.
fn key_set(compiling: &mut Compiling<'_>, issuer: &config::Issuer) -> Option<Arc<KeySet>> {
    if let Some(secret) = &issuer.secret {
        return secret_key(compiling, issuer, secret);
    }
    if let Some(paths) = &issuer.public_key {
        return local_keys::public_keys(compiling, issuer, paths);
    }
    if let Some(text) = &issuer.jwks {
        return local_keys::inline(compiling, issuer, text);
    }
    if let Some(file) = &issuer.jwks_file {
        return local_keys::jwks_file(compiling, issuer, file);
    }
    let source = if let Some(url) = &issuer.jwks_url {
        Source::JwksUrl(url.value.clone())
    } else {
        // Loading made sure that an issuer without a key source has a url.
        Source::Discovery { issuer_url: issuer.url.as_ref()?.value.clone() }
    };
    let ca = match &issuer.ca {
        Some(path) => Some(read(compiling, issuer, "ca", path)?),
        None => None,
    };
    let fingerprint = Fingerprint::new()
        .add(format!("{source:?}"))
        .add(&ca)
        .add(format!("{:?}", issuer.refresh))
        .add((issuer.stale_for, issuer.unknown_kid_cooldown, issuer.allow_http))
        .add(issuer.connect_to.as_ref().map(|to| &to.value))
        .finish();
    adopt(compiling, issuer, fingerprint, |compiling| {
        let mut settings = RefreshSettings::new(trust(compiling, issuer, ca.as_deref())?);
        settings.store = store(compiling, issuer, &source, ca.as_deref());
        remote(compiling, issuer, source, settings)
    })
}

/// Whose certificates an issuer may show.
fn trust(
    compiling: &mut Compiling<'_>,
    issuer: &config::Issuer,
    ca: Option<&[u8]>,
) -> Option<Arc<rustls::ClientConfig>> {
    match tls::client::config(ca) {
        Ok(tls) => Some(tls),
        Err(error) => {
            let span = issuer.ca.as_ref().map_or(issuer.span.clone(), |ca| ca.span.clone());
            compiling.report(
                Diagnostic::error(span, error.to_string())
                    .path(format!("issuer.{}.ca", issuer.name.value)),
            );
            None
        }
    }
}

/// Where the keys outlive the process: bound to where they come from and how it is reached, so that
/// a changed setting does not let in what another one fetched.
fn store(
    compiling: &Compiling<'_>,
    issuer: &config::Issuer,
    source: &Source,
    ca: Option<&[u8]>,
) -> Option<keys::Store> {
    let folder = compiling.state_dir.clone()?;
    let connect_to = issuer.connect_to.as_ref().map(|to| &to.value);
    let reached = format!("{source:?} {connect_to:?} {}", issuer.allow_http);
    let bound_to = [reached.as_bytes(), ca.unwrap_or_default()];
    Some(keys::Store::new(folder, &issuer.name.value, &bound_to))
}

/// A key set that is fetched, or read, once it is started.
pub(super) fn remote(
    compiling: &mut Compiling<'_>,
    issuer: &config::Issuer,
    source: Source,
    mut settings: RefreshSettings,
) -> Option<Arc<KeySet>> {
    settings.allow_http = issuer.allow_http;
    settings.connect_to = issuer.connect_to.as_ref().map(|to| to.value.clone());
    settings.refresh = match issuer.refresh {
        config::Refresh::Auto => Refresh::Auto,
        config::Refresh::Every(every) => Refresh::Every(every),
    };
    settings.stale_for = issuer.stale_for;
    settings.unknown_kid_cooldown = issuer.unknown_kid_cooldown;
    let clock = compiling.surroundings.clock.clone();
    let metrics = Arc::clone(&compiling.surroundings.metrics);
    match KeySet::remote(source, settings, clock, metrics, &issuer.name.value) {
        Ok(keys) => Some(keys),
        Err(error) => {
            compiling.report(
                Diagnostic::error(issuer.span.clone(), error.to_string())
                    .path(format!("issuer.{}", issuer.name.value)),
            );
            None
        }
    }
}

fn secret_key(
    compiling: &mut Compiling<'_>,
    issuer: &config::Issuer,
    secret: &Spanned<config::Secret>,
) -> Option<Arc<KeySet>> {
    let path = format!("issuer.{}.secret", issuer.name.value);
    let Some(bytes) = secret.value.decode(issuer.secret_encoding) else {
        compiling.report(
            Diagnostic::error(
                secret.span.clone(),
                "the secret is not written as `secret_encoding` says",
            )
            .path(path),
        );
        return None;
    };
    let algorithms = algorithms(issuer, Vec::new());
    match keys::from_secret(&bytes) {
        Ok(key) if algorithms.iter().any(|algorithm| !key.allows(*algorithm)) => {
            compiling.report(
                Diagnostic::error(
                    secret.span.clone(),
                    "the secret is shorter than the hash of `algorithms`",
                )
                .path(path)
                .hint("HS384 needs 48 bytes, HS512 64 (RFC 7518 section 3.2)"),
            );
            None
        }
        Ok(key) => {
            let fingerprint = Fingerprint::new().add(&bytes[..]).add(&algorithms).finish();
            adopt(compiling, issuer, fingerprint, |_| Some(KeySet::fixed(vec![key])))
        }
        Err(error) => {
            compiling.report(
                Diagnostic::error(secret.span.clone(), error.to_string())
                    .path(path)
                    .hint("whoever guesses it can sign any token: use at least 32 random bytes"),
            );
            None
        }
    }
}

pub(super) fn adopt<'a>(
    compiling: &mut Compiling<'a>,
    issuer: &config::Issuer,
    fingerprint: u64,
    make: impl FnOnce(&mut Compiling<'a>) -> Option<Arc<KeySet>>,
) -> Option<Arc<KeySet>> {
    let name = &issuer.name.value;
    let running = compiling.previous.and_then(|snapshot| {
        snapshot.key_sets.iter().find(|(of, print, _)| of == name && *print == fingerprint)
    });
    let keys = match running {
        Some((_, _, keys)) => Arc::clone(keys),
        None => make(compiling)?,
    };
    compiling.key_sets.push((name.clone(), fingerprint, Arc::clone(&keys)));
    Some(keys)
}

pub(super) fn read(
    compiling: &mut Compiling<'_>,
    issuer: &config::Issuer,
    key: &str,
    path: &Spanned<std::path::PathBuf>,
) -> Option<Vec<u8>> {
    match read_bounded(&path.value) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            let message = format!("can't read {}: {error}", compiling.shown(path));
            compiling.report(
                Diagnostic::error(path.span.clone(), message)
                    .path(format!("issuer.{}.{key}", issuer.name.value)),
            );
            None
        }
    }
}

/// Key and certificate files are a few KiB; a path that names a disk by mistake is not read whole.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(std::io::Error::other("more than 1 MiB"));
    }
    Ok(bytes)
}

const MAX_FILE: u64 = 1024 * 1024;

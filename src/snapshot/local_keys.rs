//! Keys that the operator wrote himself: inline, in a JWKS file, in PEM files.
//!
//! They are read while loading, so that the first request finds them and a mistake is told with its
//! line; files are watched from then on. A key that may not be used is a warning as long as another
//! may.

use std::path::PathBuf;
use std::sync::Arc;

use super::compile::Compiling;
use super::fingerprint::Fingerprint;
use super::issuers::{adopt, read, remote};
use crate::config::{self, Diagnostic, Spanned};
use crate::keys::jwks::{Parsed, Skipped, counts, parse_set};
use crate::keys::{self, KeySet, MAX_DOCUMENT, RefreshSettings, Source};

/// How many unusable keys a message names.
const NAMED: usize = 5;

/// `jwks`: a set in the configuration itself.
pub(super) fn inline(
    compiling: &mut Compiling<'_>,
    issuer: &config::Issuer,
    text: &Spanned<String>,
) -> Option<Arc<KeySet>> {
    let parsed = set(compiling, issuer, "jwks", text.span.clone(), text.value.as_bytes())?;
    let fingerprint = Fingerprint::new().add(&text.value).finish();
    adopt(compiling, issuer, fingerprint, |compiling| {
        let metrics = &compiling.surroundings.metrics;
        let id = metrics.issuer(&issuer.name.value);
        metrics.jwks_known(id, parsed.keys.len());
        metrics.jwks_skipped(id, &counts(&parsed.skipped));
        Some(KeySet::written(parsed))
    })
}

/// `jwks_file`: a set in a file.
pub(super) fn jwks_file(
    compiling: &mut Compiling<'_>,
    issuer: &config::Issuer,
    file: &Spanned<PathBuf>,
) -> Option<Arc<KeySet>> {
    let bytes = read(compiling, issuer, "jwks_file", file)?;
    let parsed = set(compiling, issuer, "jwks_file", file.span.clone(), &bytes)?;
    watched(compiling, issuer, Source::File(file.value.clone()), &[bytes], parsed)
}

/// `public_key`: PEM files, of which several hold the keys before and after a rotation.
pub(super) fn public_keys(
    compiling: &mut Compiling<'_>,
    issuer: &config::Issuer,
    paths: &[Spanned<PathBuf>],
) -> Option<Arc<KeySet>> {
    let mut all = Parsed::default();
    let mut contents = Vec::new();
    let mut good = true;
    for path in paths {
        let Some(pem) = read(compiling, issuer, "public_key", path) else {
            good = false;
            continue;
        };
        match keys::from_pem(&pem) {
            Ok(keys) => all.keys.extend(keys),
            Err(error) => {
                good = false;
                compiling.report(
                    Diagnostic::error(path.span.clone(), error.to_string())
                        .path(format!("issuer.{}.public_key", issuer.name.value)),
                );
            }
        }
        contents.push(pem);
    }
    if !good {
        return None;
    }
    let source = Source::PemFiles(paths.iter().map(|path| path.value.clone()).collect());
    watched(compiling, issuer, source, &contents, all)
}

/// A set that begins with what was read, and follows its files.
fn watched(
    compiling: &mut Compiling<'_>,
    issuer: &config::Issuer,
    source: Source,
    contents: &[Vec<u8>],
    parsed: Parsed,
) -> Option<Arc<KeySet>> {
    // With the contents: once a reload has returned, what the files say is in force.
    let fingerprint = Fingerprint::new()
        .add(format!("{source:?}"))
        .add(contents)
        .add((issuer.stale_for, issuer.unknown_kid_cooldown))
        .finish();
    adopt(compiling, issuer, fingerprint, |compiling| {
        let settings = RefreshSettings::new(None);
        remote(compiling, issuer, source, settings).map(|keys| keys.holding(parsed))
    })
}

fn set(
    compiling: &mut Compiling<'_>,
    issuer: &config::Issuer,
    key: &str,
    span: std::ops::Range<usize>,
    bytes: &[u8],
) -> Option<Parsed> {
    let path = format!("issuer.{}.{key}", issuer.name.value);
    if bytes.len() > MAX_DOCUMENT {
        compiling.report(Diagnostic::error(span, "larger than 512 KiB").path(path));
        return None;
    }
    let Ok(parsed) = parse_set(bytes) else {
        compiling.report(
            Diagnostic::error(span, "not a JSON Web Key Set")
                .path(path)
                .hint("a JSON object with an array `keys` (RFC 7517 section 5)"),
        );
        return None;
    };
    if parsed.keys.is_empty() {
        let hint = match parsed.skipped.as_slice() {
            [] => "it holds no keys at all".to_owned(),
            skipped => unused(skipped),
        };
        compiling.report(Diagnostic::error(span, "no key here may be used").path(path).hint(hint));
        return None;
    }
    if !parsed.skipped.is_empty() {
        let warning = Diagnostic::warning(span, unused(&parsed.skipped)).path(path);
        compiling.report(warning.hint("tokens signed with them are refused as `unknown_key`"));
    }
    Some(parsed)
}

/// By position: a `kid` may come from a variable, whose value is not shown.
fn unused(skipped: &[Skipped]) -> String {
    let mut named: Vec<_> = skipped
        .iter()
        .take(NAMED)
        .map(|one| format!("keys[{}] ({})", one.index, one.reason))
        .collect();
    if let Some(more) = skipped.len().checked_sub(NAMED).filter(|more| *more > 0) {
        named.push(format!("{more} more"));
    }
    format!("not used: {}", named.join(", "))
}

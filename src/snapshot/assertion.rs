//! The signer of assertions, out of its settings: a key that was generated outlives reloads, and one
//! that is replaced stays published.

use std::sync::Arc;

use hyper::header::HeaderName;

use super::compile::Compiling;
use crate::auth::{Assertion, AssertionSettings};
use crate::config::{self, AssertionAlgorithm, Diagnostic};
use crate::keys::Algorithm;
use crate::keys::signing::Signer;

/// None without settings, and after a diagnostic.
pub(super) fn compile(compiling: &mut Compiling<'_>) -> Option<Arc<Assertion>> {
    let written = compiling.config.server.assertion.as_ref()?;
    let settings = AssertionSettings {
        header: HeaderName::try_from(written.header.value.as_str()).ok()?,
        ttl: written.ttl,
        issuer: written.issuer.clone(),
        audience: written.audience.clone(),
    };
    let previous = compiling.previous.and_then(|old| old.assertion().cloned());
    let signer = signer(compiling, written, previous.as_deref())?;
    Some(Arc::new(Assertion::new(settings, signer, previous.as_deref())))
}

fn signer(
    compiling: &mut Compiling<'_>,
    written: &config::Assertion,
    previous: Option<&Assertion>,
) -> Option<Arc<Signer>> {
    let algorithm = match written.algorithm {
        AssertionAlgorithm::Es256 => Algorithm::ES256,
        AssertionAlgorithm::EdDsa => Algorithm::EdDSA,
    };
    let Some(file) = &written.key else {
        let before = compiling.previous.and_then(|old| old.config().server.assertion.as_ref());
        let generated = before.is_some_and(|old| old.key.is_none());
        let kept = previous.filter(|old| generated && old.signer().algorithm() == algorithm);
        return match kept {
            Some(old) => Some(Arc::clone(old.signer())),
            None => match Signer::generate_for(algorithm) {
                Ok(signer) => Some(Arc::new(signer)),
                Err(error) => {
                    let message = format!("no key for assertions: {error}");
                    let diagnostic = Diagnostic::error(written.span.clone(), message);
                    compiling.report(diagnostic.path("server.assertion"));
                    None
                }
            },
        };
    };
    let read = std::fs::read(&file.value).map_err(|error| error.to_string());
    let read = read.map(zeroize::Zeroizing::new);
    let signer = read.and_then(|text| {
        Signer::from_pem(&text, Some(algorithm)).map_err(|error| error.to_string())
    });
    match signer {
        Ok(signer) => Some(Arc::new(signer)),
        Err(error) => {
            let shown = compiling.shown(file);
            let message = format!("the key {shown} can't be used: {error}");
            let hint = "`openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes one";
            let diagnostic = Diagnostic::error(file.span.clone(), message).hint(hint);
            compiling.report(diagnostic.path("server.assertion.key"));
            None
        }
    }
}

//! A configuration file: accepted, or refused with something to draw; never a file read or a
//! variable of this process seen.

use std::path::Path;

use portcullis::config::{Environment, parse};

pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let environment = Environment::new([("PORT", "8080"), ("WORD", "wrong")]);
    match parse("gateway.toml", &text, &environment, Path::new("/nonexistent")) {
        Ok(loaded) => drop(loaded.warnings.render(false)),
        Err(diagnostics) => {
            assert!(diagnostics.errors() > 0);
            assert!(!diagnostics.render(true).is_empty());
        }
    }
}

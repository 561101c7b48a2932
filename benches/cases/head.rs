//! What is looked at before anything is decided: the head's sanity, headers that only the gateway
//! may set, the canonical path.

use std::hint::black_box;

use portcullis::http::headers::screen_underscores;
use portcullis::http::path::canonicalize;
use portcullis::http::{Asserted, HeadLimits, Scheme, UnderscorePolicy, head};

use super::{PATH, Work, parts};

const LIMITS: HeadLimits = HeadLimits { count: 90, line: 8 * 1024, size: 32 * 1024 };

/// The head's checks and the screening of its headers, of which none has to go.
pub(super) fn checked() -> Work {
    let mut parts = parts();
    let asserted = Asserted::new([]);
    Box::new(move || {
        let checked = head::check(black_box(&parts), Scheme::Https, &LIMITS);
        assert!(black_box(checked).is_ok());
        assert_eq!(asserted.strip(&mut parts.headers), 0);
        let dropped = screen_underscores(&mut parts.headers, UnderscorePolicy::Drop, &[]);
        assert_eq!(dropped.ok(), Some(0));
    })
}

/// A path that is canonical as it is.
pub(super) fn path_plain() -> Work {
    Box::new(|| assert!(black_box(canonicalize(black_box(PATH))).is_ok()))
}

/// A path with escapes that are needed, and some that are not.
pub(super) fn path_encoded() -> Work {
    const ENCODED: &str = "/api/v1/%6frders/caf%c3%a9%20au%20lait/..%2e";
    Box::new(|| assert!(black_box(canonicalize(black_box(ENCODED))).is_ok()))
}

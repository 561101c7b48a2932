//! Which requests may be sent a second time.
//!
//! Owns the rule (RFC 9110 section 9.2.2): a request that an endpoint may have received is sent
//! again only if doing it twice is doing it once, and only if nothing of it was a stream that is
//! now spent. An attacker who can make connections break must not be able to double a payment.

use hyper::Method;

/// Whether a request without a body may be sent again if it was lost on a connection that had been
/// idle. TRACE is idempotent too, but never forwarded; methods we do not know are not.
pub(super) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::DELETE | Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_idempotent_methods_are_sent_again() {
        for (method, expected) in [
            ("GET", true),
            ("HEAD", true),
            ("OPTIONS", true),
            ("PUT", true),
            ("DELETE", true),
            ("POST", false),
            ("PATCH", false),
            ("get", false),
            ("PURGE", false),
        ] {
            assert_eq!(is_idempotent(&method.parse().unwrap()), expected, "{method}");
        }
    }
}

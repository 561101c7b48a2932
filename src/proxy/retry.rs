//! Which requests may be sent a second time.
//!
//! Owns the rule (RFC 9110 section 9.2.2): a request that an endpoint may have received is sent
//! again only if doing it twice is doing it once, and only if nothing of it was a stream that is
//! now spent. An attacker who can make connections break must not be able to double a payment.

use hyper::body::Body as _;
use hyper::{Method, Request};

use super::Outgoing;

/// A copy to send if the request is lost on a connection that had been idle; `None` if it must not
/// be sent twice.
pub(super) fn spare(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    if !request.body().is_end_stream() || !is_idempotent(request.method()) {
        return None;
    }
    let mut copy = Request::new(Outgoing::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// TRACE is idempotent too, but never forwarded; methods we do not know are not.
fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::DELETE | Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_idempotent_methods_have_a_spare() {
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
            let request = Request::builder().method(method).uri("/a?b").header("x", "1");
            let spare = spare(&request.body(Outgoing::empty()).unwrap());
            assert_eq!(spare.is_some(), expected, "{method}");
            if let Some(spare) = spare {
                assert_eq!(spare.uri(), "/a?b");
                assert_eq!(spare.headers()["x"], "1");
            }
        }
    }
}

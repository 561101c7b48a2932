//! Facts about status codes that several modules need.

use hyper::{Method, StatusCode};

/// Whether a response of this status to this method ends with its head (RFC 9112 section 6.3),
/// whatever its Content-Length says.
pub fn has_no_body(status: StatusCode, method: &Method) -> bool {
    *method == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || (*method == Method::CONNECT && status.is_success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_that_are_whole_responses() {
        assert!(has_no_body(StatusCode::OK, &Method::HEAD));
        assert!(has_no_body(StatusCode::NO_CONTENT, &Method::GET));
        assert!(has_no_body(StatusCode::NOT_MODIFIED, &Method::GET));
        assert!(has_no_body(StatusCode::SWITCHING_PROTOCOLS, &Method::GET));
        assert!(has_no_body(StatusCode::OK, &Method::CONNECT));
        assert!(!has_no_body(StatusCode::OK, &Method::GET));
        assert!(!has_no_body(StatusCode::RESET_CONTENT, &Method::POST));
        assert!(!has_no_body(StatusCode::NOT_FOUND, &Method::CONNECT));
    }
}

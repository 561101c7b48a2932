//! Refusals as gRPC clients read them: a response without a body, whose status is 200 and whose
//! headers are its trailers ("Trailers-Only" in gRPC's PROTOCOL-HTTP2).
//!
//! The codes are gRPC's, and the same for every client: what HTTP's status would be stands in
//! neither header nor body.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, Version};

use crate::telemetry::labels::Reason;

/// Whether the request is a call of gRPC's.
pub(super) fn is_call(parts: &Parts) -> bool {
    // First what few requests have.
    parts.version == Version::HTTP_2
        && parts.method == Method::POST
        && parts.headers.get(CONTENT_TYPE).is_some_and(|value| {
            let value = value.as_bytes();
            value.strip_prefix(b"application/grpc").is_some_and(|rest| {
                // Not `application/grpc-web`, whose clients read bodies.
                matches!(rest.first(), None | Some(b'+' | b';'))
            })
        })
}

/// Says the reason in gRPC's words.
pub(super) fn say(response: &mut Response<Bytes>, reason: Reason, sentence: &str) {
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(STATUS, HeaderValue::from(code(reason)));
    // Neither holds anything that would have to be percent-encoded.
    if let Ok(message) = HeaderValue::try_from(format!("{reason}: {sentence}")) {
        headers.insert(MESSAGE, message);
    }
}

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// gRPC's status code for a reason.
const fn code(reason: Reason) -> u16 {
    match reason {
        // CANCELLED: never sent.
        Reason::ClientGone => 1,
        // DEADLINE_EXCEEDED
        Reason::RequestTimeout | Reason::UpstreamTimeout => 4,
        // PERMISSION_DENIED
        Reason::AddressNotAllowed | Reason::Forbidden | Reason::InsufficientScope => 7,
        // RESOURCE_EXHAUSTED
        Reason::BodyTooLarge
        | Reason::HeadersTooLarge
        | Reason::RateLimited
        | Reason::TargetTooLong => 8,
        // UNIMPLEMENTED
        Reason::MethodNotAllowed | Reason::Misdirected | Reason::NoRoute | Reason::NotFound => 12,
        // INTERNAL
        Reason::AmbiguousPath
        | Reason::BadHost
        | Reason::BadRequest
        | Reason::ExpectationFailed
        | Reason::Internal
        | Reason::Loop
        | Reason::UpstreamBadResponse => 13,
        // UNAVAILABLE: the call may be made again.
        Reason::KeysUnavailable
        | Reason::NoHealthyEndpoint
        | Reason::QueueFull
        | Reason::SpoolFull
        | Reason::UpstreamFailed
        | Reason::UpstreamRefused => 14,
        // UNAUTHENTICATED
        Reason::AlgorithmNotAllowed
        | Reason::AudienceMismatch
        | Reason::BadSignature
        | Reason::ClaimRefused
        | Reason::DuplicateCredentials
        | Reason::TokenExpired
        | Reason::TokenMalformed
        | Reason::TokenMissing
        | Reason::TokenNotYetValid
        | Reason::TokenRevoked
        | Reason::TokenTooLarge
        | Reason::TokenUnsupported
        | Reason::TypeNotAllowed
        | Reason::UnknownIssuer
        | Reason::UnknownKey => 16,
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::super::reject::status;
    use super::*;

    #[test]
    fn codes_agree_with_the_statuses() {
        for &reason in Reason::ALL {
            let code = code(reason);
            match status(reason).as_u16() {
                401 => assert_eq!(code, 16, "{reason}"),
                403 => assert_eq!(code, 7, "{reason}"),
                404 | 405 => assert_eq!(code, 12, "{reason}"),
                429 => assert_eq!(code, 8, "{reason}"),
                503 => assert_eq!(code, 14, "{reason}"),
                504 => assert_eq!(code, 4, "{reason}"),
                _ => assert_ne!(code, 0, "{reason}"),
            }
        }
    }

    #[test]
    fn a_message_needs_no_encoding() {
        for &reason in Reason::ALL {
            let mut response = Response::new(Bytes::new());
            say(&mut response, reason, "The words of it.");
            let message = response.headers()[MESSAGE].to_str().unwrap();
            assert!(message.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'%'));
        }
    }

    #[test]
    fn calls_are_known_by_their_content_type() {
        let is = |version, method: &str, value: &str| {
            let request = Request::builder().method(method).version(version);
            is_call(&request.header(CONTENT_TYPE, value).body(()).unwrap().into_parts().0)
        };
        for value in ["application/grpc", "application/grpc+proto", "application/grpc;x=1"] {
            assert!(is(Version::HTTP_2, "POST", value), "{value}");
            assert!(!is(Version::HTTP_11, "POST", value), "{value}");
            assert!(!is(Version::HTTP_2, "GET", value), "{value}");
        }
        for value in ["application/grpc-web", "application/grpc-web+proto", "application/json", ""]
        {
            assert!(!is(Version::HTTP_2, "POST", value), "{value}");
        }
    }
}

//! The only maker of error responses: status, challenge and body for every reject.
//!
//! A client learns the stable reason and the request id; never which key, issuer, upstream or
//! setting was involved (an attacker reads these bodies too, J32).

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::grpc;
use super::reject::{RateLimited, Reject, status};
use crate::auth::Denial;
use crate::snapshot::plan::{ErrorFormat, ErrorPages};
use crate::telemetry::labels::Reason;

/// Seconds after which a client may try again when keys or buffers are missing.
///
/// Long enough not to hammer, short enough that a recovered issuer is noticed: key fetches back
/// off to 30 s at most, most recover within the first two attempts.
const RETRY_AFTER_SECS: HeaderValue = HeaderValue::from_static("5");

/// What the response to a reject depends on, beside the reject.
#[derive(Debug)]
pub(super) struct Asker<'a> {
    pub(super) accept: Option<&'a str>,
    /// The host as the client wrote it; quoted only after a check of its own.
    pub(super) host: Option<&'a str>,
    pub(super) request_id: &'a str,
    pub(super) format: ErrorFormat,
    /// Whether the request speaks gRPC.
    pub(super) is_grpc: bool,
    /// What the operator shows to browsers.
    pub(super) pages: Option<&'a ErrorPages>,
    /// Where the metadata of what was asked for stands, if there is any.
    pub(super) metadata: Option<String>,
}

impl Asker<'_> {
    /// Whether it is answered as gRPC answers.
    fn reads_grpc(&self) -> bool {
        match self.format {
            ErrorFormat::Auto | ErrorFormat::AutoDrf => self.is_grpc,
            ErrorFormat::Grpc => true,
            ErrorFormat::Drf | ErrorFormat::Empty | ErrorFormat::Html | ErrorFormat::Problem => {
                false
            }
        }
    }
}

/// The complete response to a reject.
pub(super) fn respond(reject: &Reject, asker: &Asker<'_>) -> Response<Bytes> {
    let reason = reject.reason();
    let status = status(reason);
    let grpc = asker.reads_grpc();
    let (content_type, body) =
        if grpc { (None, Bytes::new()) } else { body(reason, status, asker) };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, content_type);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    say_why(headers, reject, status, asker);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, RETRY_AFTER_SECS);
    }
    if grpc {
        grpc::say(&mut response, reason, sentence(reason));
    }
    response
}

/// What a status obliges to: a challenge, the methods there are, when to come back.
fn say_why(headers: &mut HeaderMap, reject: &Reject, status: StatusCode, asker: &Asker<'_>) {
    match reject {
        Reject::Auth(refusal) if status == StatusCode::UNAUTHORIZED => {
            headers.insert(WWW_AUTHENTICATE, invalid_token(asker, refusal.token_sent()));
        }
        Reject::Denied(_) if status == StatusCode::UNAUTHORIZED => {
            headers.insert(WWW_AUTHENTICATE, invalid_token(asker, true));
        }
        Reject::Denied(Denial::InsufficientScope { scope }) => {
            headers.insert(WWW_AUTHENTICATE, insufficient_scope(asker, scope));
        }
        Reject::MethodNotAllowed(allow) => {
            if let Ok(allow) = HeaderValue::from_str(&allow.to_string()) {
                headers.insert(ALLOW, allow);
            }
        }
        // CONNECT or TRACE, before there is a route that could say more (RFC 9110 section 15.5.6).
        Reject::Head(_) if status == StatusCode::METHOD_NOT_ALLOWED => {
            let allow = "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS";
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        Reject::Files(_) if status == StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
        }
        Reject::Auth(refusal) if status == StatusCode::TOO_MANY_REQUESTS => {
            let wait = refusal.retry_after().unwrap_or_default();
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        Reject::RateLimited(limited) => say_limit(headers, limited),
        Reject::AddressNotAllowed
        | Reject::Auth(_)
        | Reject::BodyTooLarge
        | Reject::ClientCertificate
        | Reject::Denied(_)
        | Reject::Files(_)
        | Reject::Head(_)
        | Reject::Internal
        | Reject::Loop
        | Reject::Misdirected
        | Reject::NoRoute
        | Reject::Path(_)
        | Reject::Proxy(_)
        | Reject::RouteFull
        | Reject::WebSocketOff => {}
    }
}

/// Retry-After (RFC 9110 section 10.2.3), and the fields of draft-ietf-httpapi-ratelimit-headers:
/// how much the limit allows (`q` in `w` seconds), that nothing of it remains, and after how many
/// seconds something will.
fn say_limit(headers: &mut HeaderMap, limited: &RateLimited) {
    let RateLimited { by, quota, wait } = limited;
    let wait = whole_seconds(*wait);
    let (count, window) = (quota.count, quota.period.as_secs());
    headers.insert(RETRY_AFTER, HeaderValue::from(wait));
    let fields = [
        (HeaderName::from_static("ratelimit-policy"), format!("\"{by}\";q={count};w={window}")),
        (HeaderName::from_static("ratelimit"), format!("\"{by}\";r=0;t={wait}")),
    ];
    for (name, text) in fields {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    }
}

/// Rounded up: who comes back in time is let in.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// RFC 6750 section 3: no error code when no credentials were sent.
fn invalid_token(asker: &Asker<'_>, token_sent: bool) -> HeaderValue {
    challenge(asker, if token_sent { ", error=\"invalid_token\"" } else { "" })
}

/// RFC 6750 section 3.1: names the scope, so that a client can ask for a token that has it.
fn insufficient_scope(asker: &Asker<'_>, scope: &str) -> HeaderValue {
    challenge(asker, &format!(", error=\"insufficient_scope\", scope=\"{scope}\""))
}

/// With the way to whoever issues tokens (RFC 9728 section 5.1).
fn challenge(asker: &Asker<'_>, error: &str) -> HeaderValue {
    let realm = realm(asker.host);
    let text = match &asker.metadata {
        Some(url) => format!("Bearer realm=\"{realm}\"{error}, resource_metadata=\"{url}\""),
        None => format!("Bearer realm=\"{realm}\"{error}"),
    };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Bearer"))
}

/// The host that was asked for. Checked hosts hold no quote or control character; the check is
/// repeated here because this value is quoted into a header.
fn realm(host: Option<&str>) -> &str {
    match host {
        Some(host) if host.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\') => host,
        Some(_) | None => "portcullis",
    }
}

fn body(reason: Reason, status: StatusCode, asker: &Asker<'_>) -> (Option<HeaderValue>, Bytes) {
    let format = match asker.format {
        ErrorFormat::Auto if wants_html(asker.accept) => ErrorFormat::Html,
        ErrorFormat::Auto => ErrorFormat::Problem,
        ErrorFormat::AutoDrf => ErrorFormat::Drf,
        ErrorFormat::Drf
        | ErrorFormat::Empty
        | ErrorFormat::Grpc
        | ErrorFormat::Html
        | ErrorFormat::Problem => asker.format,
    };
    match format {
        ErrorFormat::Empty | ErrorFormat::Grpc => (None, Bytes::new()),
        ErrorFormat::AutoDrf | ErrorFormat::Drf => {
            (Some(HeaderValue::from_static("application/json")), drf(reason, status).into())
        }
        ErrorFormat::Html => (
            Some(HeaderValue::from_static("text/html; charset=utf-8")),
            match asker.pages.and_then(|pages| pages.page(status)) {
                Some(page) => page.clone(),
                None => html(reason, status, asker.request_id).into(),
            },
        ),
        ErrorFormat::Auto | ErrorFormat::Problem => (
            Some(HeaderValue::from_static("application/problem+json")),
            problem(reason, status, sentence(reason), asker.request_id).into(),
        ),
    }
}

/// Browsers name `text/html` first; programs name `*/*`, JSON or nothing.
fn wants_html(accept: Option<&str>) -> bool {
    accept.unwrap_or("").split(',').map(|range| range.split(';').next().unwrap_or("").trim()).any(
        |media| {
            media.eq_ignore_ascii_case("text/html")
                || media.eq_ignore_ascii_case("application/xhtml+xml")
        },
    )
}

/// RFC 9457 section 3, with the reason as `code`.
pub(super) fn problem(
    reason: Reason,
    status: StatusCode,
    sentence: &str,
    request_id: &str,
) -> Vec<u8> {
    json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": sentence,
        "code": reason.as_str(),
        "request_id": request_id,
    })
    .to_string()
    .into_bytes()
}

/// What djangorestframework-simplejwt's own views answer, so that its clients need no second path.
fn drf(reason: Reason, status: StatusCode) -> Vec<u8> {
    let value = match (status, reason) {
        (StatusCode::UNAUTHORIZED, Reason::TokenMissing) => {
            json!({ "detail": "Authentication credentials were not provided." })
        }
        (StatusCode::UNAUTHORIZED, _) => json!({
            "detail": "Given token not valid for any token type",
            "code": "token_not_valid",
            "messages": [{
                "token_class": "AccessToken",
                "token_type": "access",
                "message": if reason == Reason::TokenExpired {
                    "Token is expired"
                } else {
                    "Token is invalid"
                },
            }],
        }),
        (StatusCode::FORBIDDEN, _) => {
            json!({ "detail": "You do not have permission to perform this action." })
        }
        _ => json!({ "detail": sentence(reason), "code": reason.as_str() }),
    };
    value.to_string().into_bytes()
}

fn html(reason: Reason, status: StatusCode, request_id: &str) -> Vec<u8> {
    let title = status.canonical_reason().unwrap_or("Error");
    let code = status.as_u16();
    let sentence = sentence(reason);
    // Nothing of the request is echoed but its id, which is made of letters, digits and `._-`.
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{code} {title}</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;\
         padding:0 1rem}}small{{color:#666}}</style></head><body><h1>{code} {title}</h1>\
         <p>{sentence}</p><small>{reason} &middot; {request_id}</small></body></html>\n"
    )
    .into_bytes()
}

/// One sentence a reason: what the client can do about it, and nothing about our insides.
const fn sentence(reason: Reason) -> &'static str {
    match reason {
        Reason::AlgorithmNotAllowed
        | Reason::AudienceMismatch
        | Reason::BadSignature
        | Reason::ClaimRefused
        | Reason::TokenMalformed
        | Reason::TokenTooLarge
        | Reason::TokenUnsupported
        | Reason::TypeNotAllowed
        | Reason::UnknownIssuer
        | Reason::UnknownKey => "The bearer token is not acceptable here.",
        Reason::AddressNotAllowed => "This address may not do this.",
        Reason::AmbiguousPath => "The path can be read in more than one way.",
        Reason::BadHost => "The host is missing, malformed or contradicts the target.",
        Reason::BadRequest => "The request is malformed.",
        Reason::BodyTooLarge => "The body is longer than this resource accepts.",
        Reason::ClientGone => "The client closed the connection.",
        Reason::DuplicateCredentials => "The request carries more than one credential.",
        Reason::ExpectationFailed => "Only `Expect: 100-continue` is supported.",
        Reason::Forbidden => "This is not allowed here.",
        Reason::HeadersTooLarge => "The header fields are too many or too long.",
        Reason::InsufficientScope => "The token lacks a scope that this resource requires.",
        Reason::Internal => "Something failed here; the request may be tried again.",
        Reason::KeysUnavailable => "Tokens can't be verified at the moment.",
        Reason::Loop => "The request has passed through this gateway before.",
        Reason::MethodNotAllowed => "The resource does not support this method.",
        Reason::Misdirected => "This connection does not serve the requested host.",
        Reason::NoHealthyEndpoint | Reason::UpstreamRefused => "The application can't be reached.",
        Reason::NoRoute | Reason::NotFound => "There is nothing at this address.",
        Reason::QueueFull => "The application is too busy at the moment.",
        Reason::RateLimited => "Too many requests; try again later.",
        Reason::RequestTimeout => "The request did not arrive in time.",
        Reason::SpoolFull => "There is no room to buffer the request at the moment.",
        Reason::TargetTooLong => "The request target is too long.",
        Reason::TokenExpired => "The bearer token has expired.",
        Reason::TokenMissing => "A bearer token is required.",
        Reason::TokenRevoked => "The bearer token has been revoked.",
        Reason::TokenNotYetValid => "The bearer token is not valid yet.",
        Reason::UpstreamBadResponse => "The application's answer was not well-formed.",
        Reason::UpstreamFailed => "The application closed the connection without an answer.",
        Reason::UpstreamTimeout => "The application did not answer in time.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker(accept: Option<&str>, format: ErrorFormat) -> Asker<'_> {
        let host = Some("api.example.com");
        Asker {
            accept,
            host,
            request_id: "abc",
            format,
            is_grpc: false,
            pages: None,
            metadata: None,
        }
    }

    #[test]
    fn every_reason_has_a_sentence_and_a_status() {
        for &reason in Reason::ALL {
            assert!(!sentence(reason).is_empty());
            assert!(status(reason).as_u16() >= 400, "{reason}");
        }
    }

    #[test]
    fn a_program_gets_a_problem_and_a_browser_a_page() {
        let response = respond(&Reject::NoRoute, &asker(None, ErrorFormat::Auto));
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body["code"], "no_route");
        assert_eq!(body["status"], 404);
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");

        let browser = Some("text/html,application/xhtml+xml,*/*;q=0.8");
        let response = respond(&Reject::NoRoute, &asker(browser, ErrorFormat::Auto));
        assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
    }

    #[test]
    fn a_refused_scope_is_named_as_rfc_6750_asks() {
        let denied = Reject::Denied(Denial::InsufficientScope { scope: "orders:read".into() });
        let response = respond(&denied, &asker(None, ErrorFormat::Problem));
        assert_eq!(
            response.headers()[WWW_AUTHENTICATE],
            "Bearer realm=\"api.example.com\", error=\"insufficient_scope\", scope=\"orders:read\""
        );
    }

    #[test]
    fn a_challenge_says_where_tokens_come_from() {
        let metadata = Some("https://a/.well-known/oauth-protected-resource/x".to_owned());
        let asker = Asker { metadata, ..asker(None, ErrorFormat::Problem) };
        let denied = Reject::Denied(Denial::Expired);
        assert_eq!(
            respond(&denied, &asker).headers()[WWW_AUTHENTICATE],
            "Bearer realm=\"api.example.com\", error=\"invalid_token\", \
             resource_metadata=\"https://a/.well-known/oauth-protected-resource/x\""
        );
    }

    #[test]
    fn a_realm_can_not_be_broken_out_of() {
        assert_eq!(realm(Some("a\"b")), "portcullis");
        assert_eq!(realm(None), "portcullis");
    }
}

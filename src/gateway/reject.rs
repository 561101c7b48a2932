//! The sum of every module's refusals, and the one place that maps them to reason and status.
//!
//! No arm is a catch-all: a new way to fail does not compile until it has its reason here.

use std::time::Duration;

use hyper::StatusCode;

use crate::auth::{Denial, Refusal};
use crate::http::head::HeadError;
use crate::http::path::PathError;
use crate::limit::Quota;
use crate::route::Allow;
use crate::telemetry::labels::Reason;
use crate::{proxy, static_files};

/// Why a request got no answer from an application or a folder.
#[derive(Debug)]
pub enum Reject {
    /// The client's address is none of those that may come in.
    AddressNotAllowed,
    /// The token is missing or not acceptable.
    Auth(Refusal),
    /// The declared length exceeds the route's `max_body`.
    BodyTooLarge,
    /// The client's certificate is missing, or does not count (any more).
    ClientCertificate,
    /// The principal may not do this.
    Denied(Denial),
    /// The folder has no answer.
    Files(static_files::Refusal),
    /// The request's head is not acceptable.
    Head(HeadError),
    /// A panic, caught around this one exchange.
    Internal,
    /// The request carries this gateway's own `Via`.
    Loop,
    /// Routes exist for the path, none for the method.
    MethodNotAllowed(Allow),
    /// The connection's certificate, or the redirect's, does not cover the host.
    Misdirected,
    /// No route matches.
    NoRoute,
    /// The path has no canonical form.
    Path(PathError),
    /// The upstream gave no usable answer.
    Proxy(proxy::Failure),
    /// The route has as many requests under way as it takes.
    RouteFull,
    /// The client asks more often than the route allows.
    RateLimited(RateLimited),
    /// The route does not switch to WebSocket.
    WebSocketOff,
}

/// A limit that was met.
#[derive(Clone, Copy, Debug)]
pub struct RateLimited {
    /// What it counts by: `ip`, `header` or `claim`.
    pub by: &'static str,
    /// How much it allows.
    pub quota: Quota,
    /// After which time it allows one more.
    pub wait: Duration,
}

impl Reject {
    /// The stable word for it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::AddressNotAllowed => Reason::AddressNotAllowed,
            Self::Auth(refusal) => refusal.reason(),
            Self::BodyTooLarge => Reason::BodyTooLarge,
            Self::ClientCertificate => Reason::Forbidden,
            Self::Denied(denial) => denial.reason(),
            Self::Files(refusal) => match refusal {
                static_files::Refusal::Io(_) => Reason::Internal,
                static_files::Refusal::MethodNotAllowed => Reason::MethodNotAllowed,
                static_files::Refusal::NotFound => Reason::NotFound,
            },
            Self::Head(error) => match error {
                HeadError::BadHost => Reason::BadHost,
                HeadError::BadRequest(_) => Reason::BadRequest,
                HeadError::ExpectationFailed => Reason::ExpectationFailed,
                HeadError::HeadersTooLarge => Reason::HeadersTooLarge,
                HeadError::MethodNotAllowed => Reason::MethodNotAllowed,
                HeadError::TargetTooLong => Reason::TargetTooLong,
            },
            Self::Internal => Reason::Internal,
            Self::Loop => Reason::Loop,
            Self::MethodNotAllowed(_) => Reason::MethodNotAllowed,
            Self::Misdirected => Reason::Misdirected,
            Self::NoRoute => Reason::NoRoute,
            Self::Path(error) => match error {
                PathError::Ambiguous => Reason::AmbiguousPath,
                PathError::AboveRoot
                | PathError::Backslash
                | PathError::BadEscape
                | PathError::Control
                | PathError::NotAbsolute => Reason::BadRequest,
            },
            Self::Proxy(failure) => failure.reason(),
            Self::RateLimited(_) => Reason::RateLimited,
            Self::RouteFull => Reason::QueueFull,
            Self::WebSocketOff => Reason::Forbidden,
        }
    }

    /// The status that answers it.
    pub fn status(&self) -> StatusCode {
        status(self.reason())
    }

    /// Whether an HTTP/1 connection has to end with the answer: a head with two readings may be
    /// followed by bytes with two readings (H1), and of a body that was given up the rest is still
    /// to come.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::BodyTooLarge | Self::ClientCertificate | Self::Head(_) | Self::Internal => true,
            Self::Proxy(failure) => match failure {
                proxy::Failure::BadRequest
                | proxy::Failure::BodyTimedOut
                | proxy::Failure::BodyTooLarge
                | proxy::Failure::ClientGone => true,
                proxy::Failure::BadResponse
                | proxy::Failure::Failed
                | proxy::Failure::HeadTooLarge
                | proxy::Failure::NoHealthyEndpoint
                | proxy::Failure::QueueFull
                | proxy::Failure::Refused
                | proxy::Failure::SpoolFailed
                | proxy::Failure::SpoolFull
                | proxy::Failure::TargetTooLong
                | proxy::Failure::TimedOut
                | proxy::Failure::TunnelsFull => false,
            },
            Self::AddressNotAllowed
            | Self::Auth(_)
            | Self::Denied(_)
            | Self::Files(_)
            | Self::Loop
            | Self::MethodNotAllowed(_)
            | Self::Misdirected
            | Self::NoRoute
            | Self::Path(_)
            | Self::RateLimited(_)
            | Self::RouteFull
            | Self::WebSocketOff => false,
        }
    }

    /// The finer word for log, CLI and `explain`; never shown to a client.
    pub fn detail(&self) -> Option<&'static str> {
        match self {
            Self::Auth(refusal) => Some(refusal.detail()),
            Self::ClientCertificate => Some("client_certificate"),
            Self::Head(HeadError::BadRequest(detail)) => Some(detail),
            Self::RouteFull => Some("max_in_flight"),
            Self::WebSocketOff => Some("websocket_off"),
            Self::RateLimited(limited) => Some(limited.by),
            Self::AddressNotAllowed
            | Self::BodyTooLarge
            | Self::Denied(_)
            | Self::Files(_)
            | Self::Head(_)
            | Self::Internal
            | Self::Loop
            | Self::MethodNotAllowed(_)
            | Self::Misdirected
            | Self::NoRoute
            | Self::Path(_)
            | Self::Proxy(_) => None,
        }
    }
}

/// The status that answers a reason (contract, "Reject reasons").
pub(super) const fn status(reason: Reason) -> StatusCode {
    match reason {
        Reason::AmbiguousPath
        | Reason::BadHost
        | Reason::BadRequest
        | Reason::DuplicateCredentials => StatusCode::BAD_REQUEST,
        Reason::AlgorithmNotAllowed
        | Reason::AudienceMismatch
        | Reason::BadSignature
        | Reason::ClaimRefused
        | Reason::TokenExpired
        | Reason::TokenMalformed
        | Reason::TokenMissing
        | Reason::TokenNotYetValid
        | Reason::TokenRevoked
        | Reason::TokenTooLarge
        | Reason::TokenUnsupported
        | Reason::TypeNotAllowed
        | Reason::UnknownIssuer
        | Reason::UnknownKey => StatusCode::UNAUTHORIZED,
        Reason::AddressNotAllowed | Reason::Forbidden | Reason::InsufficientScope => {
            StatusCode::FORBIDDEN
        }
        Reason::NoRoute | Reason::NotFound => StatusCode::NOT_FOUND,
        Reason::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Reason::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        Reason::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::TargetTooLong => StatusCode::URI_TOO_LONG,
        Reason::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
        Reason::Misdirected => StatusCode::MISDIRECTED_REQUEST,
        Reason::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        // Never sent: the log's word for a client that left (nginx's 499).
        Reason::ClientGone => CLIENT_GONE,
        Reason::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Reason::UpstreamBadResponse | Reason::UpstreamFailed | Reason::UpstreamRefused => {
            StatusCode::BAD_GATEWAY
        }
        Reason::KeysUnavailable
        | Reason::NoHealthyEndpoint
        | Reason::QueueFull
        | Reason::SpoolFull => StatusCode::SERVICE_UNAVAILABLE,
        Reason::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        Reason::Loop => StatusCode::LOOP_DETECTED,
    }
}

/// 499: no registered status says that the client left.
pub(super) const CLIENT_GONE: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => StatusCode::BAD_REQUEST,
};

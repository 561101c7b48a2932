//! Why an exchange with an upstream failed.
//!
//! Owns the closed list, whose fault each entry is, and whether trying again can help; the status
//! code for each is the gateway's business.

use std::error::Error;
use std::fmt;
use std::io;

use crate::http::body::RequestBodyError;
use crate::telemetry::labels::{Reason, UpstreamFault};
use crate::upstream::Unserved;
use crate::upstream::connection::Broken;

/// What went wrong, before the response's head or while its body was sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The client's head or the framing of its body is malformed.
    BadRequest,
    /// The upstream's response is not well-formed, or is one that nobody asked for.
    BadResponse,
    /// The client's body stopped arriving.
    BodyTimedOut,
    /// The client's body is longer than the route allows.
    BodyTooLarge,
    /// The client went away before its body was complete.
    ClientGone,
    /// The connection broke before the response was complete.
    Failed,
    /// The head is more than that kind of application server takes.
    HeadTooLarge,
    /// No endpoint is up: all are ejected or failed their checks.
    NoHealthyEndpoint,
    /// Every endpoint is full, and the line is, too, or the time in it was over.
    QueueFull,
    /// No endpoint could be connected to.
    Refused,
    /// The file that holds a buffered body could not be written or read.
    SpoolFailed,
    /// No room is left for buffered bodies.
    SpoolFull,
    /// The target is longer than that kind of application server takes.
    TargetTooLong,
    /// The upstream did not answer, or not go on, in time.
    TimedOut,
    /// Every endpoint has as many switched connections as it may have.
    TunnelsFull,
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Downstream,
    /// Our own.
    Internal,
    /// The application's.
    Upstream,
}

/// Whether a request may be sent again after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// No byte of it was sent: any request may.
    Always,
    /// It may have been received: one that may be done twice may. If the connection had been idle
    /// before, the endpoint that closes idle connections explains the failure; otherwise the budget
    /// of the upstream has to allow it.
    IfRepeatable,
    /// Trying again would not help, or the request is spent.
    Never,
}

impl Failure {
    /// The word for it in bodies, logs and metrics.
    pub fn reason(self) -> Reason {
        match self {
            Self::BadRequest => Reason::BadRequest,
            Self::BadResponse => Reason::UpstreamBadResponse,
            Self::BodyTimedOut => Reason::RequestTimeout,
            Self::BodyTooLarge => Reason::BodyTooLarge,
            Self::ClientGone => Reason::ClientGone,
            Self::Failed => Reason::UpstreamFailed,
            Self::HeadTooLarge => Reason::HeadersTooLarge,
            Self::NoHealthyEndpoint => Reason::NoHealthyEndpoint,
            Self::QueueFull | Self::TunnelsFull => Reason::QueueFull,
            Self::Refused => Reason::UpstreamRefused,
            Self::SpoolFailed => Reason::Internal,
            Self::SpoolFull => Reason::SpoolFull,
            Self::TargetTooLong => Reason::TargetTooLong,
            Self::TimedOut => Reason::UpstreamTimeout,
        }
    }

    /// Whose fault it is.
    pub fn side(self) -> Side {
        match self {
            Self::BadRequest
            | Self::BodyTimedOut
            | Self::BodyTooLarge
            | Self::ClientGone
            | Self::HeadTooLarge
            | Self::TargetTooLong => Side::Downstream,
            Self::QueueFull | Self::SpoolFailed | Self::SpoolFull | Self::TunnelsFull => {
                Side::Internal
            }
            Self::BadResponse
            | Self::Failed
            | Self::NoHealthyEndpoint
            | Self::Refused
            | Self::TimedOut => Side::Upstream,
        }
    }

    /// What an endpoint did wrong, if it was one: the client's own faults are not its.
    pub fn fault(self) -> Option<UpstreamFault> {
        match self {
            Self::BadResponse => Some(UpstreamFault::BadResponse),
            Self::Failed => Some(UpstreamFault::Failed),
            Self::Refused => Some(UpstreamFault::Refused),
            Self::TimedOut => Some(UpstreamFault::Timeout),
            Self::BadRequest
            | Self::BodyTimedOut
            | Self::BodyTooLarge
            | Self::ClientGone
            | Self::HeadTooLarge
            | Self::NoHealthyEndpoint
            | Self::QueueFull
            | Self::SpoolFailed
            | Self::SpoolFull
            | Self::TargetTooLong
            | Self::TunnelsFull => None,
        }
    }

    /// Whether the request may be sent again.
    pub fn retry(self) -> Retry {
        match self {
            Self::Refused => Retry::Always,
            Self::Failed => Retry::IfRepeatable,
            Self::BadRequest
            | Self::BadResponse
            | Self::BodyTimedOut
            | Self::BodyTooLarge
            | Self::ClientGone
            | Self::HeadTooLarge
            | Self::NoHealthyEndpoint
            | Self::QueueFull
            | Self::SpoolFailed
            | Self::SpoolFull
            | Self::TargetTooLong
            | Self::TimedOut
            | Self::TunnelsFull => Retry::Never,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadRequest => "malformed request",
            Self::BadResponse => "malformed response of the upstream",
            Self::BodyTimedOut => "request body stopped arriving",
            Self::BodyTooLarge => "request body too large",
            Self::ClientGone => "client went away",
            Self::Failed => "upstream closed the connection",
            Self::HeadTooLarge => "head too large for the upstream",
            Self::NoHealthyEndpoint => "no endpoint of the upstream is up",
            Self::QueueFull => "every endpoint is full, and so is the line",
            Self::Refused => "no connection to the upstream",
            Self::SpoolFailed => "file for a buffered body failed",
            Self::SpoolFull => "no room for buffered bodies",
            Self::TargetTooLong => "target too long for the upstream",
            Self::TimedOut => "upstream did not answer in time",
            Self::TunnelsFull => "every endpoint has as many tunnels as it may have",
        })
    }
}

impl Error for Failure {}

impl From<&RequestBodyError> for Failure {
    fn from(error: &RequestBodyError) -> Self {
        match error {
            RequestBodyError::Client(error) if malformed(error) => Self::BadRequest,
            RequestBodyError::Client(_) | RequestBodyError::TakenBack => Self::ClientGone,
            RequestBodyError::TimedOut => Self::BodyTimedOut,
            RequestBodyError::TooLarge => Self::BodyTooLarge,
        }
    }
}

impl From<Broken<Self>> for Failure {
    fn from(broken: Broken<Self>) -> Self {
        match broken {
            Broken::Body(own) => own,
            Broken::Closed => Self::Failed,
            Broken::Length => Self::BadRequest,
            Broken::Malformed => Self::BadResponse,
        }
    }
}

impl From<Unserved> for Failure {
    fn from(unserved: Unserved) -> Self {
        match unserved {
            Unserved::Full => Self::QueueFull,
            Unserved::Unhealthy => Self::NoHealthyEndpoint,
        }
    }
}

/// Whether a body's framing was wrong, rather than its connection broken: hyper says so by the kind
/// of an I/O error.
fn malformed(error: &hyper::Error) -> bool {
    let kind = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    kind.is_some_and(|error| {
        matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
    })
}

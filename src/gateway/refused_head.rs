//! Heads that never became requests: their record, and what the client is told where hyper leaves
//! that to us.

use std::sync::Arc;

use bytes::Bytes;

use super::reject::status;
use super::respond::problem;
use super::state::Gateway;
use crate::http::forwarded::request_id;
use crate::server::{ConnectionInfo, Refusal, RefusedHead};
use crate::telemetry::labels::Reason;
use crate::telemetry::record::{Record, TlsRecord};

/// Records it; the body of its answer.
pub(super) fn refuse(
    gateway: &Gateway,
    connection: &Arc<ConnectionInfo>,
    refused: &RefusedHead,
) -> Bytes {
    let (reason, detail, sentence) = what(refused.refusal);
    let status = status(reason);
    // Without an answer of ours there is nobody to whom an id could be told.
    let id = sentence.map(|_| request_id());
    let id = id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or("-");
    let snapshot = gateway.snapshot();
    let listener = snapshot.listener(connection.listener);
    gateway.record(&Record {
        at: gateway.clock().wall(),
        duration: refused.elapsed,
        request_id: id.as_bytes(),
        trace_id: None,
        listener: (listener.id, &listener.name),
        route: None,
        method: None,
        host: None,
        path: b"-",
        query: None,
        secret_parameters: &[],
        version: None,
        status: status.as_u16(),
        reason: Some(reason),
        detail,
        bytes_in: 0,
        bytes_out: 0,
        client_ip: connection.peer.ip(),
        user_agent: None,
        referer: None,
        rate_limit: None,
        original: None,
        auth: None,
        upstream: None,
        tls: connection
            .tls
            .as_ref()
            .map(|tls| TlsRecord { version: tls.version, sni: tls.sni.as_deref() }),
        asserted_dropped: 0,
        underscore_dropped: 0,
    });
    sentence.map_or_else(Bytes::new, |sentence| problem(reason, status, sentence, id).into())
}

/// The reason, the finer word, and what the client is told where we are the ones who answer.
const fn what(refusal: Refusal) -> (Reason, Option<&'static str>, Option<&'static str>) {
    match refusal {
        Refusal::Http2 => {
            (Reason::BadRequest, Some("http2_not_agreed"), Some("HTTP/2 was not agreed on here."))
        }
        Refusal::Malformed => (Reason::BadRequest, None, None),
        Refusal::PlainText => (
            Reason::BadRequest,
            Some("plain_text"),
            Some("This port speaks TLS: ask it by an https:// URL."),
        ),
        Refusal::TooLong => (Reason::HeadersTooLarge, None, None),
        Refusal::TooSlow => {
            (Reason::RequestTimeout, None, Some("The request did not arrive in time."))
        }
    }
}

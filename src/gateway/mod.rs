//! The story of one request, from its head to its record.
//!
//! 1. `exchange` begins: whatever happens, exactly one record is written when it ends.
//! 2. The head is checked, the path made canonical, and every header that Portcullis itself asserts
//!    is deleted in all its spellings, on every route ([`crate::http`]).
//! 3. The route is found by host, path and method.
//! 4. `preflight` and `metadata` answer what needs no route's action: the listener's redirect,
//!    `OPTIONS *`, CORS preflights, and how to get a token.
//! 5. Admission: the client's address, the declared length against the route's `max_body`, and
//!    `limits` by address or header. The path to forward is made, and doubted like the first one.
//! 6. Authenticate: a token becomes a principal, or a refusal.
//! 7. Authorize: a principal becomes a permit, the only key to the route's action.
//! 8. `limits` by claim, and how many requests the route takes at once.
//! 9. Serve: a file, the upstream's answer, a WebSocket (`tunnel`), or our own word (`local`);
//!    within the route's `timeout` (`deadline`). `accel` sends the file that an application names,
//!    `compress` may shorten what a public route says.
//! 10. Any refusal or failure is answered by `respond`, the only maker of error responses.
//!
//! `handle` is that list as code; what of it a head alone decides is in `steps`, which `explain`
//! asks too.

mod accel;
mod arrived;
mod body;
mod compress;
mod compressed;
mod deadline;
mod exchange;
mod grpc;
mod handle;
mod limits;
mod local;
mod logout;
mod metadata;
mod origin;
mod preflight;
mod refused_head;
mod reject;
mod respond;
mod state;
pub(crate) mod steps;
mod stream_end;
mod tunnel;

pub(crate) use arrived::{assertion, hand_over};
pub use body::BodyError;
pub use exchange::Body;
pub(crate) use local::{redirect as redirect_answer, verify as verify_answer};
pub(crate) use origin::Seen;
pub use reject::{RateLimited, Reject};
pub use state::Gateway;

//! Credentials outside `Authorization`: where one stands in cookies, in a query or among the
//! subprotocols of a WebSocket, and how it is taken out.
//!
//! Owns no policy: which names hold credentials is told by the caller. Trusts nothing of the bytes.
//! Applications disagree about separators, case, escapes and white space; so a credential counts
//! only if its place holds one under the loosest reading known, and that one is written in the
//! strictest. Whatever lies between the two is told apart and can be refused.

pub mod cookie;
pub mod query;
mod spelling;
pub mod subprotocol;

pub use spelling::{Occurrence, reads_as};

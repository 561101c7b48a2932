//! Protocol facts of HTTP: heads, paths, header hygiene, forwarding headers, request bodies.
//!
//! Owns what the RFCs and twenty years of desynchronization attacks say about a message, and no
//! policy: nothing here knows a route, a token or an upstream. Trusts hyper for tokenizing and
//! nothing that the client wrote. Every function that refuses says so by a closed error; the
//! gateway alone turns one into a status.
//!
//! The crate `http` is reached as `hyper::http` everywhere, since this module shadows its name.

pub mod authority;
pub mod body;
pub mod cors;
pub mod credential;
pub mod edits;
pub mod encoding;
pub mod forwarded;
pub mod head;
pub mod headers;
pub mod hop_by_hop;
pub mod networks;
pub mod path;
pub mod proxy_protocol;
pub mod readings;
pub mod status;
pub mod trace;
pub mod upgrade;
pub mod web_origin;

pub use authority::{Authority, Scheme};
pub use body::{BodyCount, BodyFailure, BodyLimits, RequestBody, RequestBodyError};
pub use cors::{Cors, CorsSettings};
pub use edits::{RequestEdits, ResponseEdits};
pub use encoding::{Accepted, Coding};
pub use forwarded::{Origin, Told, Via};
pub use head::{Head, HeadError, HeadLimits, Target};
pub use headers::{Asserted, UnderscorePolicy};
pub use networks::Networks;
pub use path::PathError;

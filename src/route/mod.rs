//! Which route a request takes.
//!
//! Owns matchers, their order and the compiled table. Trusts the host and the path it is given to
//! be canonical (`http::authority`, `http::path`). Refuses nothing itself: it answers which route,
//! or that there is none, or none for the method.
//!
//! The order: a route wins over another if it is at least as specific in host (exact, then the
//! longer `*.host`, then any) and in path (exact, then the longer `/a/*`). Where neither wins,
//! loading the configuration refuses the pair if its policies differ ([`relation()`]); if they
//! don't, host decides before path, then the order in the file. A route whose methods or
//! listeners don't fit does not match at all, so the next one gets its chance.
//!
//! Paths are compared segment by segment *after* decoding each: the application behind will decode
//! them too, and `/%40admin` must not pass beside a route for `/@admin`.

pub mod matcher;
pub mod methods;
pub mod relation;
pub mod rewrite;
pub mod split_view;
pub mod table;

pub use matcher::PathPatternError;
pub use matcher::{HostPattern, HostPatternError, ListenerSet, Matcher, PathPattern};
pub use methods::{Allow, MethodError, MethodSet};
pub use relation::{Explanation, Lost, Relation, explain, relation, shadowed};
pub use rewrite::{Pattern, Rewrite, RewriteError, Rewritten};
pub use split_view::Split;
pub use table::{Found, Table};

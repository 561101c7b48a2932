//! What the operator wrote: the configuration file as plain data, every value with its place.
//!
//! Each table is defined once, by `table!`: its struct, its reader, its known keys, its defaults,
//! the reference page and the JSON Schema all come from that one definition. Nothing here knows a
//! runtime type, and only [`load()`] touches a file. What the file says is trusted as the operator's
//! wish, but not as well-formed: every problem becomes a [`Diagnostic`], all of them at once, and
//! none of them shows a secret.

#[macro_use]
mod table;

mod address;
mod admin;
mod check;
mod cors;
mod describe;
mod diagnostic;
mod expand;
mod failover;
mod issuer;
mod limit;
mod listener;
mod load;
mod mask;
mod nearest;
mod network;
mod node;
mod reference;
mod require;
mod route;
mod scalar;
mod schema;
mod server;
mod shape;
mod static_files;
mod token;
mod upstream;
mod walk;

pub use address::{Address, Endpoint, UpstreamRef};
pub use admin::{AccessFormat, Admin, Cache, Level, Log, LogFormat};
pub use cors::{Cors, WebOrigin};
pub use diagnostic::{Diagnostic, Diagnostics, Severity, Source};
pub use failover::{
    Balance, Eject, Ejection, EndpointTable, HashBy, HealthCheck, Queue, UpstreamEndpoint,
};
pub use issuer::{
    Algorithms, AnyIssuer, Audience, Issuer, NamePairs, Preset, Refresh, SecretEncoding,
};
pub use limit::{BadTokens, LimitBy, Rate, RateLimit, RateLimits, TokenBudget};
pub use listener::{
    CertificatePair, ClientAuth, ClientAuthMode, Listener, ListenerTls, Protocol, TlsVersion,
    UnknownName,
};
pub use load::{Environment, Loaded, Outcome, Rest, load, load_admin, load_all, parse, parse_all};
pub use network::PeerNetwork;
pub use reference::reference;
pub use require::{ClaimRule, RequireTable};
pub use route::{CacheControl, EndWithToken, Errors, Issuers, RevokeOn, Route};
pub use scalar::{OneOrMany, Secret, Size, Spanned, duration};
pub use schema::schema;
pub use server::{
    Assertion, AssertionAlgorithm, Folder, MaxHeaders, Server, Spool, Underscores, Workers,
};
pub use shape::{HeaderValues, Redirect, RequestHeaders, ResponseHeaders, Rewrite};
pub use static_files::{Coding, ErrorPages, Statuses};
pub use token::{TokenPlace, TokenUpstream};
pub use upstream::{
    Buffering, IdleTimeout, Kind, OrNone, SendProxyProtocol, Upstream, UpstreamTls,
};

table! {
    /// The whole file.
    pub struct Config {
        /// Where clients connect.
        listeners as "listener": Vec<Listener>, required;
        /// Whose tokens count.
        issuers as "issuer": Vec<Issuer>, default({});
        /// Where requests go.
        upstreams as "upstream": Vec<Upstream>, default({});
        /// What is allowed, and what then happens.
        routes as "route": Vec<Route>, required;
        /// Limits and deadlines of the whole process.
        server: Server, default({});
        /// What is kept in memory.
        cache: Cache, default({});
        /// The address of metrics, health and state.
        admin: Admin, default({});
        /// What is logged, and how.
        log: Log, default({});
    }
}

#[cfg(test)]
mod tests;

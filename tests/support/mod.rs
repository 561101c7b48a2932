//! What the integration tests stand on: clients, upstreams, issuers and gateways, all of them real
//! sockets on loopback. Deadlines here end a hang; none of them decides a test.

pub(crate) mod authority;
pub(crate) mod caller;
pub(crate) mod certificate;
pub(crate) mod client;
pub(crate) mod gateway;
pub(crate) mod h2;
pub(crate) mod h2_upstream;
pub(crate) mod issuer;
pub(crate) mod kernel;
pub(crate) mod load;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod response;
pub(crate) mod shell;
pub(crate) mod stack;
pub(crate) mod steady;
pub(crate) mod terminator;
pub(crate) mod token;
pub(crate) mod tools;
pub(crate) mod tour;
pub(crate) mod upstream;
pub(crate) mod wait;

pub(crate) use response::Response;
pub(crate) use wait::eventually;

/// How long anything may take before it counts as hung; far beyond what a slow machine needs.
pub(crate) const HUNG: std::time::Duration = std::time::Duration::from_secs(90);

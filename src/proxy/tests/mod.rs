//! Forwarding over real sockets: a gateway of one route, raw upstreams, raw clients.

mod ahead;
mod bodies;
mod failures;
mod heads;
mod restarts;
mod reuse;
mod support;

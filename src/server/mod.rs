//! Downstream: listening sockets, accepted connections, and HTTP over them.
//!
//! [`bind`] makes a socket, an [`Acceptor`] owns it on a thread of its own and hands each
//! connection to the worker with the fewest, and [`serve`] speaks HTTP on it for the [`Handler`].
//! A listener's settings and certificates ([`ListenerState`]) are replaced without touching the
//! socket; connections keep the ones they began with.
//!
//! Owned here: every deadline of a connection that is not an exchange's, and the limits on how
//! many there are. Trusted: nothing that a client sends. Refused: handshakes and heads that are
//! malformed, too long or too slow; what a request means is the handler's business.

mod acceptor;
mod activity;
mod admission;
mod connection;
mod drain;
mod handler;
mod http1;
mod http2;
mod io;
mod listen;
mod listener;
mod peer;
#[cfg(test)]
mod tests;

pub use acceptor::{Accepted, Acceptor, WorkerHandle};
pub use admission::Connections;
pub use connection::{BodyEnd, ConnectionInfo, InUse, Peer, Protocol, TlsInfo, serve};
pub use handler::{Handler, Refusal, RefusedHead};
pub use listen::{Bound, ListenAddress, Listening, SocketFile, StdSocket, bind, bind_beside};
pub use listener::{ListenerState, MaxHeaders, Settings};

//! How a port is put under load. Everything runs on this process' core.
//!
//! wrk and h2load for as fast as it goes, an open loop of our own for a given rate (`steady.rs`),
//! and a client of our own for handshakes, which neither of the two can make.

mod h2load;
mod handshakes;
mod steady;
mod wrk;

use std::sync::Arc;
use std::time::Duration;

use super::Result;
use super::tokens::Issued;
use super::world::World;

pub(super) use steady::{Done as SteadyDone, Steady};

/// What is asked for, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) kind: Kind,
    pub(super) tokens: Tokens,
    pub(super) path: &'static str,
    pub(super) connections: u32,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// wrk, over HTTP/1.1.
    Wrk,
    /// wrk over TLS.
    WrkTls,
    /// h2load over TLS, 32 streams a connection, with one token for all requests.
    H2,
    /// A handshake and one request for every connection.
    Handshakes { resumed: bool },
}

/// The tokens that requests carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tokens {
    None,
    /// This many, in turn; all were seen before the measurement.
    Known(Algorithm, usize),
    /// Each is sent once: a program that is started for the run has seen none of them.
    New(Algorithm),
    /// Known ones, and as many with signatures that nobody made, in turn.
    HalfForged(usize),
}

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
    /// With Django's secret, and what simplejwt writes into a token.
    Hs256,
}

impl Algorithm {
    /// As the header of a token says it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }
}

/// What came of a run at full load.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    pub(super) requests: u64,
    pub(super) refused: u64,
    pub(super) elapsed: Duration,
    pub(super) latencies: Option<(Duration, Duration)>,
}

/// Of the new tokens, those that warm the program up.
pub(super) const WARMING: usize = 1000;

impl Load {
    /// What tokens are signed with; a load without any counts as RS256.
    pub(super) fn algorithm(&self) -> Algorithm {
        match self.tokens {
            Tokens::Known(algorithm, _) | Tokens::New(algorithm) => algorithm,
            Tokens::None | Tokens::HalfForged(_) => Algorithm::Rs256,
        }
    }

    /// The same requests at a steady rate, where the open loop can send them.
    pub(super) fn steady(&self, world: &World, skip: usize) -> Result<Steady> {
        let issued = self.issued(world)?;
        let tokens = issued.as_ref().map_or(&[][..], |issued| &issued.tokens);
        let tokens = tokens.get(skip..).unwrap_or_default();
        let is_half = matches!(self.tokens, Tokens::HalfForged(_));
        let is_forged = |nth: usize| is_half && nth % 2 == 1;
        Ok(Steady::new(world.thread(), self.path, tokens, is_forged, self.connections))
    }

    /// The tokens themselves.
    pub(super) fn issued(&self, world: &World) -> Result<Option<Arc<Issued>>> {
        Ok(match self.tokens {
            Tokens::None => None,
            Tokens::Known(algorithm, count) => Some(world.issued(algorithm, count)?),
            Tokens::New(algorithm) => {
                Some(world.issued(algorithm, WARMING + world.new_tokens(algorithm))?)
            }
            Tokens::HalfForged(count) => Some(world.half_forged(count)?),
        })
    }

    /// As fast as it goes for some seconds; the first `skip` tokens are left out.
    pub(super) fn run(&self, world: &World, port: u16, seconds: u32, skip: usize) -> Result<Done> {
        let issued = self.issued(world)?;
        match self.kind {
            Kind::Wrk => wrk::run(self, world, "http", port, seconds, issued.as_deref(), skip),
            Kind::WrkTls => wrk::run(self, world, "https", port, seconds, issued.as_deref(), skip),
            Kind::H2 => h2load::run(self, world, port, seconds, issued.as_deref()),
            Kind::Handshakes { resumed } => {
                handshakes::run(self, world, port, seconds, resumed, issued.as_deref())
            }
        }
    }
}

//! What becomes of a token before its request goes on to the application.
//!
//! What stood in a cookie, a query or a subprotocol never goes on from there: queries end up in
//! logs and in `Referer`, and the handshake of a WebSocket is not for tokens. A header's token goes
//! on as it came, unless the issuer's `token_upstream` says otherwise.

use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::http::request::Parts;

use super::issuer::{IssuerSet, TokenUpstream};
use super::place::{Place, Source, Sources};
use super::principal::Principal;
use crate::http::credential::{cookie, query, subprotocol};
use crate::http::headers::{canonical_bearer, remove_spellings};

/// What the answer owes to the request that was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owed {
    /// Nothing.
    Nothing,
    /// A subprotocol, if the application chooses none: the client had offered some.
    Subprotocol,
}

impl IssuerSet {
    /// Makes the head of an authenticated request what the application may see of it. `principal`
    /// is `None` where a route lets requests without a token pass.
    pub fn hand_over(&self, principal: Option<&Principal>, parts: &mut Parts) -> Owed {
        match (self.sources(), principal) {
            (Sources::Authorization, None) => Owed::Nothing,
            (Sources::Authorization, Some(principal)) => {
                self.hand_over_header(&Place::Header(AUTHORIZATION), principal, parts);
                Owed::Nothing
            }
            (Sources::Listed(sources), principal) => self.hand_over_from(sources, principal, parts),
        }
    }

    /// Whichever place the token was found in: none of the others holds one.
    fn hand_over_from(
        &self,
        sources: &[Source],
        principal: Option<&Principal>,
        parts: &mut Parts,
    ) -> Owed {
        let bearer = match principal.map(|principal| self.token_upstream(principal)) {
            Some(TokenUpstream::Bearer) => bearer_line(sources, parts),
            Some(TokenUpstream::Drop | TokenUpstream::Keep) | None => None,
        };
        if self.writes_authorization() && !reads_authorization(sources) {
            // Nobody has looked at it, and the application is told that it is ours (attack J28).
            remove_spellings(&mut parts.headers, &AUTHORIZATION);
        }
        let mut owed = Owed::Nothing;
        for source in sources {
            match (&source.place, principal) {
                (Place::Cookie(name), _) => cookie::take_out(&mut parts.headers, name),
                (Place::Query(name), _) => query::take_out(parts, name),
                (Place::WebSocketProtocol, _) => {
                    if subprotocol::take_out(&mut parts.headers) {
                        owed = Owed::Subprotocol;
                    }
                }
                (Place::Header(_), Some(principal)) => {
                    self.hand_over_header(&source.place, principal, parts);
                }
                (Place::Header(_), None) => {}
            }
        }
        if let Some(line) = bearer {
            parts.headers.insert(AUTHORIZATION, line);
        }
        owed
    }

    fn hand_over_header(&self, place: &Place, principal: &Principal, parts: &mut Parts) {
        let Place::Header(name) = place else { return };
        match (self.token_upstream(principal), name == AUTHORIZATION) {
            (TokenUpstream::Keep | TokenUpstream::Bearer, true) => {
                canonical_bearer(&mut parts.headers);
            }
            (TokenUpstream::Keep, false) => {}
            (TokenUpstream::Drop, _) | (TokenUpstream::Bearer, false) => {
                remove_spellings(&mut parts.headers, name);
            }
        }
    }

    /// Whether some issuer's tokens go on as `Authorization`, wherever they stood.
    fn writes_authorization(&self) -> bool {
        self.iter().any(|issuer| issuer.settings().token_upstream == TokenUpstream::Bearer)
    }

    /// What its issuer's settings say; a principal of no issuer here would be nobody's.
    fn token_upstream(&self, principal: &Principal) -> TokenUpstream {
        let issuer = self.find(principal.issuer_fingerprint());
        issuer.map_or(TokenUpstream::Drop, |issuer| issuer.settings().token_upstream)
    }
}

fn reads_authorization(sources: &[Source]) -> bool {
    sources.iter().any(|source| source.place == Place::Header(AUTHORIZATION))
}

/// The token once more, as an `Authorization` line: it verified, so it is there and is one token.
fn bearer_line(sources: &[Source], parts: &Parts) -> Option<HeaderValue> {
    let token = Sources::only_token(sources, parts)?;
    let mut line = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    line.set_sensitive(true);
    Some(line)
}

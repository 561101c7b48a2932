//! A logout, seen on its way: whose tokens a refresh token takes along when its application has
//! put it on its blacklist.
//!
//! simplejwt's blacklist knows refresh tokens alone: the access tokens beside it go on until their
//! `exp`. Trusts nothing of the body: the refresh token in it is verified like any other, so that
//! only who holds one of a user's can end that user's sessions.

use std::time::Duration;

use super::claims::{numeric_date, parse_object};
use super::issuer::IssuerSet;
use super::principal::Principal;
use super::revocation::{MAX_VALUE, Revocation};
use super::verify::{Lookup, TokenUse, verify};
use crate::clock::{Clock, UnixTime};
use crate::telemetry::labels::RevocationKind;

/// Bytes of the longest logout that is read; a token of the longest kind fits.
pub const MAX_LOGOUT: usize = 16 * 1024;

/// A body without a refresh token that verifies: nothing is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// What a logout with this body revokes: every token of the refresh token's user up to now, and
/// `own`, the token that the request came with.
///
/// The entry has to outlive them all. Whether an access token has the `iat` of its own making or of
/// the refresh token it was made from is the application's choice: in the second case the last one
/// starts within the life of a refresh token from now, and none lives longer than that. A token of the
/// same user gets no entry of its own, so that nobody fills the list by signing out again and again.
///
/// # Errors
/// Not a JSON object with one `refresh`, or a token that does not verify, is no refresh token, or
/// has no subject or age. A key that is not known is not fetched: the answer does not wait.
pub async fn revoked_by_logout(
    set: &IssuerSet,
    body: &[u8],
    own: Option<&Principal>,
    clock: &Clock,
) -> Result<Vec<Revocation>, Unreadable> {
    let members = parse_object(body).map_err(|_| Unreadable)?;
    let token = members.get("refresh").and_then(|token| token.as_str()).ok_or(Unreadable)?;
    let verified = verify(set, token, TokenUse::Refresh, Lookup::Known, clock, None);
    let principal = verified.await.map_err(|_| Unreadable)?.principal;
    let subject = principal.subject().filter(|subject| subject.len() <= MAX_VALUE);
    let iat = iat_of(&principal).ok_or(Unreadable)?;
    let now = clock.wall();
    let life = principal.expires().since(iat).min(LONGEST);
    let user = Revocation {
        issuer: principal.issuer_name().to_string(),
        kind: RevocationKind::Sub,
        value: subject.ok_or(Unreadable)?.to_owned(),
        // The application's clock may be ahead of ours.
        before: Some(now.max(iat)),
        until: Some(now.saturating_add(life.saturating_mul(2))),
    };
    Ok(match own {
        None => vec![user],
        Some(own) if is_of(&user, own) => vec![Revocation {
            before: user.before.max(iat_of(own)),
            until: user.until.max(Some(own.expires())),
            ..user
        }],
        Some(own) => [user].into_iter().chain(itself(own)).collect(),
    })
}

fn iat_of(principal: &Principal) -> Option<UnixTime> {
    principal.claims().raw("iat").and_then(numeric_date).map(UnixTime::from_secs)
}

fn is_of(user: &Revocation, principal: &Principal) -> bool {
    user.issuer == **principal.issuer_name() && principal.subject() == Some(&user.value)
}

/// The one token, if it has an id.
fn itself(principal: &Principal) -> Option<Revocation> {
    Some(Revocation {
        issuer: principal.issuer_name().to_string(),
        kind: RevocationKind::Jti,
        value: principal.jti().filter(|jti| jti.len() <= MAX_VALUE)?.to_owned(),
        before: None,
        until: Some(principal.expires()),
    })
}

/// A refresh token that lives longer is as good as one without an end.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

//! What the steps of a verification found, in words for `explain` and the token verbs.
//!
//! Shows what a token says and which key was meant, never a key itself.

use std::sync::Arc;
use std::time::Duration;

use super::claims::Claims;
use super::issuer::Issuer;
use super::token::Header;
use crate::keys::Key;

pub(in crate::auth) fn header(header: &Header) -> String {
    let kid = header.kid.as_deref().map_or("without kid".to_owned(), |kid| format!("kid {kid:?}"));
    format!("alg {:?}, typ {:?}, {kid}", header.algorithm, header.typ)
}

pub(in crate::auth) fn claims(claims: &Claims) -> String {
    let names: Vec<String> = claims.members().keys().map(|name| format!("{name:?}")).collect();
    names.join(", ")
}

pub(in crate::auth) fn issuers(issuers: &[&Arc<Issuer>]) -> String {
    let names: Vec<&str> = issuers.iter().map(|issuer| &**issuer.name()).collect();
    names.join(", ")
}

pub(in crate::auth) fn keys(keys: &[Arc<Key>]) -> String {
    let names: Vec<String> = keys.iter().map(|one| key(one)).collect();
    names.join(", ")
}

pub(in crate::auth) fn key(key: &Key) -> String {
    match (key.kid(), key.thumbprint()) {
        (Some(kid), _) => format!("kid {kid:?}"),
        (None, Some(thumbprint)) => format!("thumbprint {thumbprint}"),
        (None, None) => "the secret".to_owned(),
    }
}

pub(in crate::auth) fn lifetime(max: Option<Duration>) -> String {
    max.map_or("not limited".to_owned(), |max| format!("within {} s", max.as_secs()))
}

pub(in crate::auth) fn audience(claims: &Claims) -> String {
    claims.raw("aud").map_or("absent".to_owned(), |aud| aud.to_string())
}

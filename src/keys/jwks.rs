//! A set of keys as an issuer publishes it: JWKS (RFC 7517 section 5).
//!
//! Owns what of a set is used. Trusts nothing of it: it is read entry by entry, and what may not
//! be used is skipped and named, so that one odd key never costs the others.

use std::fmt;

use serde_json::Value;

use super::jwk::{Key, MAX_KID, Origin, parse_from};

/// How many entries of one JWKS are looked at; the rest are skipped as `too_many`.
pub const MAX_KEYS: usize = 64;

/// How many entries are spoken of at all: 512 KiB have room for 170,000, and a log line for each of
/// them would be the issuer's to order.
const MAX_NAMED: usize = 2 * MAX_KEYS;

/// Why one key of a set, or of a PEM file, is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SkipReason {
    /// `kid` is no string, empty, or longer than [`MAX_KID`].
    BadKid,
    /// Another, different key has the same `kid` and algorithm: neither is used.
    DuplicateKid,
    /// A member is missing, of the wrong type, or contradicts another; or the point is not on the
    /// curve.
    Malformed,
    /// The set publishes the private key, so that everyone can sign with it.
    Private,
    /// A secret (`oct`) in a set: secrets come from the configuration alone.
    Symmetric,
    /// Beyond the first [`MAX_KEYS`] entries.
    TooMany,
    /// A `kty`, `crv` or `alg` that Portcullis does not know.
    Unsupported,
    /// RSA under 2048 or over 4096 bits, a bad exponent, or a modulus of a broken generator.
    Weak,
    /// `use` or `key_ops` say that the key is not for verifying.
    WrongUse,
}

impl SkipReason {
    /// Every reason, by name.
    pub const ALL: &'static [Self] = &[
        Self::BadKid,
        Self::DuplicateKid,
        Self::Malformed,
        Self::Private,
        Self::Symmetric,
        Self::TooMany,
        Self::Unsupported,
        Self::Weak,
        Self::WrongUse,
    ];

    /// The word in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadKid => "bad_kid",
            Self::DuplicateKid => "duplicate_kid",
            Self::Malformed => "malformed",
            Self::Private => "private",
            Self::Symmetric => "symmetric",
            Self::TooMany => "too_many",
            Self::Unsupported => "unsupported",
            Self::Weak => "weak",
            Self::WrongUse => "wrong_use",
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for SkipReason {}

/// An entry of a JWKS that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its position in `keys`, from 0.
    pub index: usize,
    /// Its `kid`, cut at [`MAX_KID`] bytes; an issuer's bytes: escape them.
    pub kid: Option<String>,
    /// Why.
    pub reason: SkipReason,
}

/// How many entries are skipped for each reason, those without any left out.
pub fn counts(skipped: &[Skipped]) -> Vec<(&'static str, usize)> {
    let of = |reason: &SkipReason| skipped.iter().filter(|one| one.reason == *reason).count();
    let all = SkipReason::ALL.iter().map(|reason| (reason.as_str(), of(reason)));
    all.filter(|(_, count)| *count > 0).collect()
}

/// What a JWKS holds: the keys that may be used, and those that may not.
#[derive(Debug, Default)]
pub struct Parsed {
    /// Usable keys in the set's order; the same key listed twice is there once.
    pub keys: Vec<Key>,
    /// All others, by position; of those beyond [`MAX_KEYS`] as many again.
    pub skipped: Vec<Skipped>,
    /// The usable keys' public members and nothing else, in the same order: what may be kept.
    pub published: Vec<Value>,
}

/// The bytes are no JWKS at all (RFC 7517 section 5): no JSON, or no `keys` array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAKeySet;

impl fmt::Display for NotAKeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a JSON Web Key Set")
    }
}

impl std::error::Error for NotAKeySet {}

/// The operator's own key file is no JWK and no set of them, or may not be used as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileError {
    /// Secrets and public keys in one set: whoever takes one for the other verifies anything.
    Mixed,
    /// Neither a JWK nor a JWKS.
    NotKeys,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mixed => "the set mixes secrets and public keys",
            Self::NotKeys => "neither a JWK nor a JWK set",
        })
    }
}

impl std::error::Error for FileError {}

/// Reads a JWK or a JWKS that the operator named: it may hold secrets, and private keys, of which
/// the public half is used.
///
/// # Errors
/// See [`FileError`]; keys that may not be used are skipped as [`parse_set`] skips them.
pub fn parse_file(bytes: &[u8]) -> Result<Parsed, FileError> {
    let document: Value = serde_json::from_slice(bytes).map_err(|_| FileError::NotKeys)?;
    let single = std::slice::from_ref(&document);
    let entries = match document.get("keys") {
        Some(keys) => keys.as_array().ok_or(FileError::NotKeys)?.as_slice(),
        None if document.is_object() => single,
        None => return Err(FileError::NotKeys),
    };
    let secrets = entries.iter().filter(|entry| entry.get("kty").is_some_and(|kty| kty == "oct"));
    match secrets.count() {
        0 => Ok(read(entries, Origin::Own)),
        some if some == entries.len() => Ok(read(entries, Origin::Own)),
        _ => Err(FileError::Mixed),
    }
}

/// Reads a JWKS entry by entry.
///
/// # Errors
/// [`NotAKeySet`] only; a set without one usable key is a [`Parsed`] without keys.
pub fn parse_set(bytes: &[u8]) -> Result<Parsed, NotAKeySet> {
    let document: Value = serde_json::from_slice(bytes).map_err(|_| NotAKeySet)?;
    let entries = document.get("keys").and_then(Value::as_array).ok_or(NotAKeySet)?;
    Ok(read(entries, Origin::Published))
}

fn read(entries: &[Value], origin: Origin) -> Parsed {
    let mut found: Vec<(usize, Key)> = Vec::new();
    let mut skipped = Vec::new();
    for (index, entry) in entries.iter().take(MAX_NAMED).enumerate() {
        let parsed = match index < MAX_KEYS {
            true => parse_from(entry, origin),
            false => Err(SkipReason::TooMany),
        };
        match parsed {
            Ok(key) if found.iter().any(|(_, known)| known.is_same(&key)) => {}
            Ok(key) => found.push((index, key)),
            Err(reason) => skipped.push(Skipped { index, kid: shown_kid(entry), reason }),
        }
    }
    let ambiguous = |(at, key): &(usize, Key)| {
        found.iter().any(|(other_at, other)| at != other_at && key.conflicts(other))
    };
    let ambiguous: Vec<bool> = found.iter().map(ambiguous).collect();
    let mut keys = Vec::with_capacity(found.len());
    let mut published = Vec::with_capacity(found.len());
    for ((index, key), ambiguous) in found.into_iter().zip(ambiguous) {
        if ambiguous {
            let kid = key.kid().map(str::to_owned);
            skipped.push(Skipped { index, kid, reason: SkipReason::DuplicateKid });
        } else {
            published.extend(entries.get(index).map(public_members));
            keys.push(key);
        }
    }
    skipped.sort_by_key(|skipped| skipped.index);
    Parsed { keys, skipped, published }
}

/// The members that [`parse_from`] makes a verifying key of, and no private one.
const PUBLIC_MEMBERS: [&str; 8] = ["kty", "kid", "alg", "crv", "x", "y", "n", "e"];

fn public_members(entry: &Value) -> Value {
    let member = |name: &str| Some((name.to_owned(), entry.get(name)?.clone()));
    Value::Object(PUBLIC_MEMBERS.iter().filter_map(|name| member(name)).collect())
}

fn shown_kid(entry: &Value) -> Option<String> {
    let kid = entry.get("kid")?.as_str()?;
    let end = (0..=kid.len().min(MAX_KID)).rev().find(|&end| kid.is_char_boundary(end))?;
    kid.get(..end).map(str::to_owned)
}

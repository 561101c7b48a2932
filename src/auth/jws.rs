//! A compact JWS apart from requests: its signature alone, or only what it says.
//!
//! For the command line: `token verify --jws` asks whether any bytes were signed with one of some
//! keys, by the structure, the header rules and the signature function of tokens, without the rules
//! of issuers and claims; `token inspect` takes a token apart and believes nothing.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::claims::parse_object;
use super::describe;
use super::refusal::Cause;
use super::token::{Header, Parts};
use super::verify::{
    Finding, Run, Step, Stop, check_signature, keys_of, parse_algorithm, parse_claims,
};
use crate::auth::Refusal;
use crate::keys::{Key, KeySet};

/// Whether `token` is a JWS of one of `keys`: every step with what it found, and the verdict.
///
/// The payload may be any bytes. Of the header, what would change the signed bytes or bring a key
/// is refused; `typ` is not looked at. A key is used with the algorithms that it allows.
///
/// # Errors
/// The first step that failed.
pub fn verify_jws(keys: Vec<Key>, token: &str) -> (Vec<Finding>, Result<Arc<Key>, Refusal>) {
    let mut findings = Vec::new();
    let result = judge(keys, token, &mut Run::new(Some(&mut findings)));
    (findings, result.map_err(Refusal::from))
}

fn judge(keys: Vec<Key>, token: &str, run: &mut Run<'_>) -> Result<Arc<Key>, Stop> {
    let parts = run.step(Step::Parts, Parts::split(token), |parts| {
        format!("three parts of base64url, a payload of {} bytes", parts.claims.len())
    })?;
    let header = run.step(Step::Header, Header::parse(&parts.header), describe::header)?;
    let algorithm = parse_algorithm(&header.algorithm);
    let algorithm = run.step(Step::Algorithm, algorithm, |a| format!("`{a}`"))?;
    let set = KeySet::fixed(keys);
    let found = keys_of(set.candidates(header.kid.as_deref(), algorithm), &header, algorithm);
    let found = run.step(Step::Key, found, |keys| describe::keys(keys))?;
    let key = check_signature(&found, algorithm, &parts);
    run.step(Step::Signature, key, |key| describe::key(key))
}

/// What a token says of itself, none of it verified.
#[derive(Debug)]
pub struct Dissected {
    /// The members of its header, in its order.
    pub header: Map<String, Value>,
    /// Its claims, in its order.
    pub claims: Map<String, Value>,
    /// Bytes of its signature.
    pub signature: usize,
    /// Why no gateway takes a token of this header, if none does.
    pub header_refused: Option<Cause>,
}

/// Takes a token apart.
///
/// # Errors
/// It is not three parts of base64url, of which the first two are JSON objects.
pub fn dissect(token: &str) -> Result<Dissected, Cause> {
    let parts = Parts::split(token)?;
    let header = parse_object(&parts.header).map_err(Header::cause_of)?;
    let claims = parse_claims(&parts.claims)?;
    let alg = Header::parse(&parts.header).and_then(|header| parse_algorithm(&header.algorithm));
    Ok(Dissected {
        header,
        claims: claims.members().clone(),
        signature: parts.signature.len(),
        header_refused: alg.err(),
    })
}

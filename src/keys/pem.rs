//! Public keys from PEM files that the operator wrote into the configuration.
//!
//! Owns the reading of SPKI, PKCS#1 and certificates, which become JWKs and pass a JWK's checks.
//! A private key is refused: a gateway that only verifies must not hold one.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::{PublicKey, RSAPublicKey};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::Key;
use super::jwk;
use super::jwks::SkipReason;
use super::weakness::without_leading_zeros;

/// Why a PEM file gives no keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// A block is not the PEM or DER that its label says.
    Malformed,
    /// No `PUBLIC KEY`, `RSA PUBLIC KEY` or `CERTIFICATE` block.
    NoPublicKey,
    /// A private key: the file for verifying needs its public half only.
    PrivateKey,
    /// A key that must not be used.
    Unusable(SkipReason),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("malformed PEM or DER"),
            Self::NoPublicKey => f.write_str("no public key in the file"),
            Self::PrivateKey => f.write_str("the file holds a private key"),
            Self::Unusable(reason) => write!(f, "a key in the file is not usable: {reason}"),
        }
    }
}

impl std::error::Error for KeyError {}

/// The public keys of a PEM file, in its order, without `kid`. Blocks of other kinds are passed
/// over.
///
/// # Errors
/// See [`KeyError`]: unlike in an issuer's JWKS, one bad key fails the file, for it is the
/// operator's own.
pub fn from_pem(pem: &[u8]) -> Result<Vec<Key>, KeyError> {
    let jwks = public_jwks(pem)?;
    jwks.iter().map(|jwk| jwk::parse(jwk).map_err(KeyError::Unusable)).collect()
}

/// The same keys as an issuer publishes them: each with its thumbprint (RFC 7638) as `kid`, and
/// with `alg` where its type has only one.
///
/// # Errors
/// See [`KeyError`].
pub fn published(pem: &[u8]) -> Result<Vec<Value>, KeyError> {
    let mut jwks = public_jwks(pem)?;
    for jwk in &mut jwks {
        let key = jwk::parse(jwk).map_err(KeyError::Unusable)?;
        let Some(members) = jwk.as_object_mut() else { continue };
        let mut algorithms = key.algorithms();
        if let (Some(only), None) = (algorithms.next(), algorithms.next()) {
            members.insert("alg".to_owned(), only.as_str().into());
        }
        members.insert("use".to_owned(), "sig".into());
        if let Some(thumbprint) = key.thumbprint() {
            members.insert("kid".to_owned(), thumbprint.into());
        }
    }
    Ok(jwks)
}

/// The same keys as JWKs of their required members alone, not yet checked.
///
/// # Errors
/// See [`KeyError`].
fn public_jwks(pem: &[u8]) -> Result<Vec<Value>, KeyError> {
    let mut keys = Vec::new();
    for block in Pem::iter_from_buffer(pem) {
        let block = block.map_err(|_| KeyError::Malformed)?;
        match block.label.as_str() {
            "CERTIFICATE" => {
                let (_, certificate) =
                    X509Certificate::from_der(&block.contents).map_err(|_| KeyError::Malformed)?;
                keys.push(from_spki(certificate.public_key())?);
            }
            "PUBLIC KEY" => {
                let (_, spki) = SubjectPublicKeyInfo::from_der(&block.contents)
                    .map_err(|_| KeyError::Malformed)?;
                keys.push(from_spki(&spki)?);
            }
            "RSA PUBLIC KEY" => keys.push(from_pkcs1(&block.contents)?),
            label if label.ends_with("PRIVATE KEY") => return Err(KeyError::PrivateKey),
            _ => {}
        }
    }
    if keys.is_empty() { Err(KeyError::NoPublicKey) } else { Ok(keys) }
}

/// Whether these bytes are a public key or a certificate, and nothing else.
pub(super) fn is_public(der: &[u8]) -> bool {
    let whole = |rest: &[u8]| rest.is_empty();
    SubjectPublicKeyInfo::from_der(der).is_ok_and(|(rest, _)| whole(rest))
        || RSAPublicKey::from_der(der).is_ok_and(|(rest, _)| whole(rest))
        || X509Certificate::from_der(der).is_ok_and(|(rest, _)| whole(rest))
}

/// `id-Ed25519` (RFC 8410 section 3).
const ED25519_OID: &str = "1.3.101.112";

/// The named curves (RFC 5480 section 2.1.1.1, SEC 2), by object identifier.
const CURVES: [(&str, &str); 4] = [
    ("1.2.840.10045.3.1.7", "P-256"),
    ("1.3.132.0.10", "secp256k1"),
    ("1.3.132.0.34", "P-384"),
    ("1.3.132.0.35", "P-521"),
];

fn from_spki(spki: &SubjectPublicKeyInfo<'_>) -> Result<Value, KeyError> {
    if spki.algorithm.algorithm.to_id_string() == ED25519_OID {
        return Ok(ed25519(&spki.subject_public_key.data));
    }
    match spki.parsed().map_err(|_| KeyError::Malformed)? {
        PublicKey::EC(point) => {
            let curve = spki.algorithm.parameters.as_ref().and_then(|named| named.as_oid().ok());
            let curve = curve.map(|oid| oid.to_id_string()).unwrap_or_default();
            let known = CURVES.iter().find(|(oid, _)| *oid == curve);
            let unsupported = KeyError::Unusable(SkipReason::Unsupported);
            let (_, name) = known.ok_or(unsupported.clone())?;
            ec(name, point.data()).ok_or(unsupported)
        }
        PublicKey::RSA(key) => Ok(rsa(key.modulus, key.exponent)),
        PublicKey::DSA(_)
        | PublicKey::GostR3410(_)
        | PublicKey::GostR3410_2012(_)
        | PublicKey::Unknown(_) => Err(KeyError::Unusable(SkipReason::Unsupported)),
    }
}

/// `RSAPublicKey` (RFC 8017 appendix A.1.1).
pub(super) fn from_pkcs1(der: &[u8]) -> Result<Value, KeyError> {
    let (_, key) = RSAPublicKey::from_der(der).map_err(|_| KeyError::Malformed)?;
    Ok(rsa(key.modulus, key.exponent))
}

pub(super) fn ed25519(x: &[u8]) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(x) })
}

/// The JWK of an uncompressed point; none for another form.
pub(super) fn ec(curve: &str, point: &[u8]) -> Option<Value> {
    let coordinates = point.strip_prefix(&[4])?;
    let (x, y) = coordinates.split_at_checked(coordinates.len() / 2)?;
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    Some(json!({ "kty": "EC", "crv": curve, "x": x, "y": y }))
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Value {
    // ASN.1 puts a zero before a number whose first bit is set, a JWK does not.
    let text = |number| URL_SAFE_NO_PAD.encode(without_leading_zeros(number));
    json!({ "kty": "RSA", "n": text(modulus), "e": text(exponent) })
}

//! Public keys from PEM files that the operator wrote into the configuration.
//!
//! Owns the reading of SPKI, PKCS#1 and certificates; the keys pass the same checks as a JWK's.
//! A private key is refused: a gateway that only verifies must not hold one.

use std::fmt;

use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::{PublicKey, RSAPublicKey};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::Key;
use super::jwk::import;
use super::jwks::SkipReason;

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
            "RSA PUBLIC KEY" => {
                let (_, rsa) =
                    RSAPublicKey::from_der(&block.contents).map_err(|_| KeyError::Malformed)?;
                keys.push(import::rsa(rsa.modulus, rsa.exponent).map_err(KeyError::Unusable)?);
            }
            label if label.ends_with("PRIVATE KEY") => return Err(KeyError::PrivateKey),
            _ => {}
        }
    }
    if keys.is_empty() { Err(KeyError::NoPublicKey) } else { Ok(keys) }
}

/// `id-Ed25519` (RFC 8410 section 3).
const ED25519_OID: &str = "1.3.101.112";

fn from_spki(spki: &SubjectPublicKeyInfo<'_>) -> Result<Key, KeyError> {
    if spki.algorithm.algorithm.to_id_string() == ED25519_OID {
        return import::ed25519(&spki.subject_public_key.data).map_err(KeyError::Unusable);
    }
    let key = match spki.parsed().map_err(|_| KeyError::Malformed)? {
        PublicKey::EC(point) => import::ec_point(point.data()),
        PublicKey::RSA(rsa) => import::rsa(rsa.modulus, rsa.exponent),
        PublicKey::DSA(_)
        | PublicKey::GostR3410(_)
        | PublicKey::GostR3410_2012(_)
        | PublicKey::Unknown(_) => Err(SkipReason::Unsupported),
    };
    key.map_err(KeyError::Unusable)
}

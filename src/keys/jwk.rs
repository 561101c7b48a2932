//! One key: from JWK, PEM or a secret to something that verifies (RFC 7517, RFC 7518 section 6).
//!
//! Owns every check a key passes before it may verify anything, and [`Key::verify`], the one place
//! where a signature is verified. Keys are parsed once, for each algorithm they allow. Trusts
//! nothing of a JWK: whatever is unknown, weak, private or meant for something else is refused by
//! name.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters,
    EllipticCurveKeyType, Jwk, OctetKeyPairParameters, OctetKeyPairType, RSAKeyParameters,
    RSAKeyType, ThumbprintHash,
};
use serde_json::{Map, Value};

use super::jwks::SkipReason;
use super::{Algorithm, weakness};

/// The longest `kid` taken from an issuer, in bytes.
pub const MAX_KID: usize = 256;

/// One key, ready to verify with: checked and parsed once, immutable but for being retired.
///
/// # Concurrency
/// `is_retired` is a relaxed atomic. A verification that runs while its key is being retired may
/// still succeed: whoever keeps the result asks `is_retired` again whenever it is used.
pub struct Key {
    kid: Option<Box<str>>,
    thumbprint: Option<Box<str>>,
    verifiers: Box<[(Algorithm, Verifier)]>,
    retired: AtomicBool,
}

enum Verifier {
    Hmac(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl Key {
    /// The key's id, if its source gave it one; at most [`MAX_KID`] bytes.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The SHA-256 thumbprint in base64url (RFC 7638).
    ///
    /// None for a secret: its hash would let a reader of the admin address guess it offline.
    pub fn thumbprint(&self) -> Option<&str> {
        self.thumbprint.as_deref()
    }

    /// The algorithms this key may be used with; never empty.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> + '_ {
        self.verifiers.iter().map(|(algorithm, _)| *algorithm)
    }

    /// Whether this key may be used with `algorithm`.
    pub fn allows(&self, algorithm: Algorithm) -> bool {
        self.algorithms().any(|allowed| allowed == algorithm)
    }

    /// Whether `signature`, the decoded third part of a token, is this key's over `message`, the
    /// first two parts as received (RFC 7515 section 5.2): the one signature function, for
    /// requests, verbs and the published collections of edge values alike.
    ///
    /// False too where the key does not allow `algorithm`. Secrets are compared in constant time.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.verifiers.iter().any(|(allowed, verifier)| {
            *allowed == algorithm
                && match verifier {
                    Verifier::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
                    Verifier::Public(key) => key.verify_sig(message, signature).is_ok(),
                }
        })
    }

    /// Whether the key was dropped from its set: nothing verified with it counts any longer.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Whether `other` is this key again, so that a refresh may keep this one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.kid == other.kid
            && self.thumbprint.is_some()
            && self.thumbprint == other.thumbprint
            && self.algorithms().eq(other.algorithms())
    }

    /// Whether a token could mean either key, though they differ.
    pub(super) fn conflicts(&self, other: &Self) -> bool {
        self.kid.is_some()
            && self.kid == other.kid
            // Secrets have no thumbprint: nothing says that two of them are the same.
            && (self.thumbprint != other.thumbprint || self.thumbprint.is_none())
            && self.algorithms().any(|algorithm| other.allows(algorithm))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .field("thumbprint", &self.thumbprint)
            .field("algorithms", &self.algorithms().collect::<Vec<_>>())
            .field("retired", &self.is_retired())
            .finish_non_exhaustive()
    }
}

/// Who wrote a JWK, and so what it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An issuer, for everyone to read: a secret or a private key in it is known to all.
    Published,
    /// The operator, in a file named on the command line: it may be a secret, and of a private key
    /// the public half is used.
    Own,
}

/// Reads one JWK of an issuer as a key for verifying signatures.
///
/// # Errors
/// Why the key may not be used.
pub fn parse(jwk: &Value) -> Result<Key, SkipReason> {
    parse_from(jwk, Origin::Published)
}

/// Reads one JWK as a key for verifying signatures.
///
/// # Errors
/// Why the key may not be used.
pub fn parse_from(jwk: &Value, origin: Origin) -> Result<Key, SkipReason> {
    let jwk = jwk.as_object().ok_or(SkipReason::Malformed)?;
    let kid = read_kid(jwk)?;
    let kty = text(jwk, "kty")?.ok_or(SkipReason::Malformed)?;
    if kty == "oct" && origin == Origin::Published {
        return Err(SkipReason::Symmetric);
    }
    check_use(jwk)?;
    let alg = match text(jwk, "alg")? {
        Some(name) => Some(name.parse().map_err(|_| SkipReason::Unsupported)?),
        None => None,
    };
    let material = match kty {
        "EC" => Material::Ec {
            curve: Curve::from_name(text(jwk, "crv")?.ok_or(SkipReason::Malformed)?)?,
            x: octets(jwk, "x")?,
            y: octets(jwk, "y")?,
        },
        "OKP" => match text(jwk, "crv")?.ok_or(SkipReason::Malformed)? {
            "Ed25519" => Material::Ed25519 { x: octets(jwk, "x")? },
            _ => return Err(SkipReason::Unsupported),
        },
        "RSA" => Material::Rsa { n: octets(jwk, "n")?, e: octets(jwk, "e")? },
        "oct" => Material::Secret { k: octets(jwk, "k")? },
        _ => return Err(SkipReason::Unsupported),
    };
    if origin == Origin::Published && PRIVATE.iter().any(|name| jwk.contains_key(*name)) {
        return Err(SkipReason::Private);
    }
    material.into_key(kid, alg)
}

/// The private members of a key (RFC 7518 sections 6.2.2 and 6.3.2). Of an RSA key, one of the
/// primes alone gives the rest away.
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

/// A key's members, decoded but not yet checked.
enum Material {
    Ec { curve: Curve, x: Vec<u8>, y: Vec<u8> },
    Ed25519 { x: Vec<u8> },
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Secret { k: Vec<u8> },
}

#[derive(Clone, Copy)]
enum Curve {
    P256,
    P384,
    P521,
    /// The curve of Bitcoin, for ES256K alone (RFC 8812).
    Secp256k1,
}

impl Curve {
    fn from_name(name: &str) -> Result<Self, SkipReason> {
        match name {
            "P-256" => Ok(Self::P256),
            "P-384" => Ok(Self::P384),
            "P-521" => Ok(Self::P521),
            "secp256k1" => Ok(Self::Secp256k1),
            _ => Err(SkipReason::Unsupported),
        }
    }

    /// Bytes of one coordinate, always in full (RFC 7518 section 6.2.1.2).
    const fn size(self) -> usize {
        match self {
            Self::P256 | Self::Secp256k1 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    const fn algorithm(self) -> Algorithm {
        match self {
            Self::P256 => Algorithm::ES256,
            Self::P384 => Algorithm::ES384,
            Self::P521 => Algorithm::ES512,
            Self::Secp256k1 => Algorithm::ES256K,
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::P256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::P384 => &signature::ECDSA_P384_SHA384_FIXED,
            Self::P521 => &signature::ECDSA_P521_SHA512_FIXED,
            Self::Secp256k1 => &signature::ECDSA_P256K1_SHA256_FIXED,
        }
    }
}

const RSA_ALGORITHMS: [(Algorithm, &RsaParameters); 6] = [
    (Algorithm::PS256, &signature::RSA_PSS_2048_8192_SHA256),
    (Algorithm::PS384, &signature::RSA_PSS_2048_8192_SHA384),
    (Algorithm::PS512, &signature::RSA_PSS_2048_8192_SHA512),
    (Algorithm::RS256, &signature::RSA_PKCS1_2048_8192_SHA256),
    (Algorithm::RS384, &signature::RSA_PKCS1_2048_8192_SHA384),
    (Algorithm::RS512, &signature::RSA_PKCS1_2048_8192_SHA512),
];

impl Material {
    /// Checks the members and parses the key for `alg`, or for all that its type allows.
    fn into_key(self, kid: Option<Box<str>>, alg: Option<Algorithm>) -> Result<Key, SkipReason> {
        let (verifiers, thumbprint) = match self {
            Self::Ec { curve, x, y } => ec_key(curve, &x, &y)?,
            Self::Ed25519 { x } => ed25519_key(&x)?,
            Self::Rsa { n, e } => rsa_key(&n, &e, alg)?,
            Self::Secret { k } => (secret_key(&k, alg)?, None),
        };
        let verifiers: Box<[_]> = verifiers
            .into_iter()
            .filter(|(algorithm, _)| alg.is_none_or(|alg| alg == *algorithm))
            .collect();
        if verifiers.is_empty() {
            return Err(SkipReason::Malformed);
        }
        Ok(Key { kid, thumbprint, verifiers, retired: AtomicBool::new(false) })
    }
}

/// Verifiers by algorithm, and the thumbprint of what is public.
type Checked = (Vec<(Algorithm, Verifier)>, Option<Box<str>>);

fn ec_key(curve: Curve, x: &[u8], y: &[u8]) -> Result<Checked, SkipReason> {
    if [x, y].iter().any(|coordinate| coordinate.len() != curve.size()) {
        return Err(SkipReason::Malformed);
    }
    let point = [&[4], x, y].concat();
    let verifiers = vec![(curve.algorithm(), public(curve.verification(), &point)?)];
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let registered = |curve| {
        let (x, y) = (x.clone(), y.clone());
        let key_type = EllipticCurveKeyType::EC;
        thumbprint(AlgorithmParameters::EllipticCurve(EllipticCurveKeyParameters {
            key_type,
            curve,
            x,
            y,
        }))
    };
    let thumbprint = match curve {
        Curve::P256 => registered(EllipticCurve::P256)?,
        Curve::P384 => registered(EllipticCurve::P384)?,
        Curve::P521 => registered(EllipticCurve::P521)?,
        Curve::Secp256k1 => {
            // A curve that jsonwebtoken does not know; RFC 7638 section 3 by hand.
            let members = format!(r#"{{"crv":"secp256k1","kty":"EC","x":"{x}","y":"{y}"}}"#);
            URL_SAFE_NO_PAD.encode(digest(&SHA256, members.as_bytes())).into()
        }
    };
    Ok((verifiers, Some(thumbprint)))
}

fn ed25519_key(x: &[u8]) -> Result<Checked, SkipReason> {
    if x.len() != 32 {
        return Err(SkipReason::Malformed);
    }
    let verifiers = vec![(Algorithm::EdDSA, public(&signature::ED25519, x)?)];
    let members = AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
        key_type: OctetKeyPairType::OctetKeyPair,
        curve: EllipticCurve::Ed25519,
        x: URL_SAFE_NO_PAD.encode(x),
    });
    Ok((verifiers, Some(thumbprint(members)?)))
}

fn rsa_key(n: &[u8], e: &[u8], alg: Option<Algorithm>) -> Result<Checked, SkipReason> {
    // Some issuers write the sign byte of ASN.1 into the JWK; aws-lc takes no leading zeros.
    let n = weakness::without_leading_zeros(n);
    let e = weakness::without_leading_zeros(e);
    if weakness::is_weak_rsa(n, e) {
        return Err(SkipReason::Weak);
    }
    let components = RsaPublicKeyComponents { n, e };
    let mut verifiers = Vec::new();
    for (algorithm, parameters) in RSA_ALGORITHMS {
        if alg.is_none_or(|alg| alg == algorithm) {
            let key =
                components.to_parsed_public_key(parameters).map_err(|_| SkipReason::Malformed)?;
            verifiers.push((algorithm, Verifier::Public(key)));
        }
    }
    let members = AlgorithmParameters::RSA(RSAKeyParameters {
        key_type: RSAKeyType::RSA,
        n: URL_SAFE_NO_PAD.encode(n),
        e: URL_SAFE_NO_PAD.encode(e),
    });
    Ok((verifiers, Some(thumbprint(members)?)))
}

/// Each algorithm wants a secret at least as long as its hash (RFC 7518 section 3.2).
fn secret_key(k: &[u8], alg: Option<Algorithm>) -> Result<Vec<(Algorithm, Verifier)>, SkipReason> {
    let verifiers = hmac_verifiers(k);
    let fits = |allowed: Algorithm| alg.is_none_or(|alg| alg == allowed);
    match alg {
        Some(alg) if !alg.is_symmetric() => Err(SkipReason::Malformed),
        Some(_) | None if verifiers.iter().any(|(allowed, _)| fits(*allowed)) => Ok(verifiers),
        Some(_) | None => Err(SkipReason::Weak),
    }
}

fn hmac_verifiers(secret: &[u8]) -> Vec<(Algorithm, Verifier)> {
    let by_length = [
        (32, Algorithm::HS256, hmac::HMAC_SHA256),
        (48, Algorithm::HS384, hmac::HMAC_SHA384),
        (64, Algorithm::HS512, hmac::HMAC_SHA512),
    ];
    by_length
        .into_iter()
        .filter(|(least, ..)| secret.len() >= *least)
        .map(|(_, algorithm, hash)| {
            (algorithm, Verifier::Hmac(Box::new(hmac::Key::new(hash, secret))))
        })
        .collect()
}

fn public(
    algorithm: &'static dyn VerificationAlgorithm,
    bytes: &[u8],
) -> Result<Verifier, SkipReason> {
    ParsedPublicKey::new(algorithm, bytes).map(Verifier::Public).map_err(|_| SkipReason::Malformed)
}

fn thumbprint(algorithm: AlgorithmParameters) -> Result<Box<str>, SkipReason> {
    let jwk = Jwk { common: CommonParameters::default(), algorithm };
    let print = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| SkipReason::Unsupported)?;
    Ok(print.into_boxed_str())
}

/// A member that must be a string where it is present.
fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, SkipReason> {
    match jwk.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
            Err(SkipReason::Malformed)
        }
    }
}

/// A required member in base64url without padding (RFC 7515 section 2).
fn octets(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, SkipReason> {
    let encoded = text(jwk, name)?.ok_or(SkipReason::Malformed)?;
    URL_SAFE_NO_PAD.decode(encoded).map_err(|_| SkipReason::Malformed)
}

fn read_kid(jwk: &Map<String, Value>) -> Result<Option<Box<str>>, SkipReason> {
    match text(jwk, "kid") {
        Ok(None) => Ok(None),
        Ok(Some(kid)) if !kid.is_empty() && kid.len() <= MAX_KID => Ok(Some(kid.into())),
        Ok(Some(_)) | Err(_) => Err(SkipReason::BadKid),
    }
}

fn check_use(jwk: &Map<String, Value>) -> Result<(), SkipReason> {
    if text(jwk, "use")?.is_some_and(|usage| usage != "sig") {
        return Err(SkipReason::WrongUse);
    }
    match jwk.get("key_ops") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Array(ops)) if ops.iter().any(|op| op == "verify") => Ok(()),
        Some(Value::Array(_)) => Err(SkipReason::WrongUse),
        Some(Value::Bool(_) | Value::Number(_) | Value::Object(_) | Value::String(_)) => {
            Err(SkipReason::Malformed)
        }
    }
}

/// The builder for the other way a secret comes in.
pub(super) mod import {
    use super::*;

    /// Unchecked for weakness: `secret.rs` does that.
    pub(in crate::keys) fn hmac(secret: &[u8]) -> Key {
        let verifiers = hmac_verifiers(secret).into_boxed_slice();
        Key { kid: None, thumbprint: None, verifiers, retired: AtomicBool::new(false) }
    }
}

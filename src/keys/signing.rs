//! Signing: the verbs, the embedded issuer of `portcullis demo`, what the gateway asserts, and tests.
//!
//! Owns private keys, in memory only and never shown; what they sign passes the checks of what is
//! verified. No verification reaches it.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P256K1_SHA256_FIXED_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use x509_parser::pem::Pem;

use super::jwk::{self, Key};
use super::jwks::SkipReason;
use super::{Algorithm, WeakSecret, from_secret, pem};

/// A private key that signs with one algorithm; it exists in memory only.
pub struct Signer {
    pair: Pair,
    algorithm: Algorithm,
    kid: String,
    public: Value,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

/// The system gave no randomness, or the key could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningFailed;

impl fmt::Display for SigningFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the system could not sign")
    }
}

impl std::error::Error for SigningFailed {}

/// Why a file or JWK gives no key to sign with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrivateKeyError {
    /// The key cannot sign with the algorithm asked for.
    Algorithm(Algorithm),
    /// It is encrypted under a password.
    Encrypted,
    /// It is not the PEM, DER or JWK that it says it is, or its halves do not belong together.
    Malformed,
    /// There is no private key in it.
    NoPrivateKey,
    /// Of a kind, or with a weakness, that no gateway would verify.
    Unusable(SkipReason),
    /// A secret that can be guessed.
    WeakSecret(WeakSecret),
}

impl fmt::Display for PrivateKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Algorithm(algorithm) => write!(f, "the key cannot sign with {algorithm}"),
            Self::Encrypted => f.write_str("the private key is encrypted"),
            Self::Malformed => f.write_str("malformed private key"),
            Self::NoPrivateKey => f.write_str("there is no private key"),
            Self::Unusable(reason) => write!(f, "the key is not usable: {reason}"),
            Self::WeakSecret(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PrivateKeyError {}

/// The curves of ECDSA: as a JWK names them, and how they sign.
const CURVES: [(Algorithm, &str, &EcdsaSigningAlgorithm); 4] = [
    (Algorithm::ES256, "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING),
    (Algorithm::ES384, "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
    (Algorithm::ES512, "P-521", &ECDSA_P521_SHA512_FIXED_SIGNING),
    (Algorithm::ES256K, "secp256k1", &ECDSA_P256K1_SHA256_FIXED_SIGNING),
];

impl Signer {
    /// A new P-256 key for ES256 whose `kid` is its thumbprint (RFC 7638).
    ///
    /// # Errors
    /// [`SigningFailed`] if the system gives no randomness.
    pub fn generate() -> Result<Self, SigningFailed> {
        Self::generate_for(Algorithm::ES256)
    }

    /// A new key for `algorithm` whose `kid` is its thumbprint (RFC 7638); RSA keys have 2048 bits.
    ///
    /// # Errors
    /// [`SigningFailed`] if the system gives no randomness, and for HMAC, which has no key pair.
    pub fn generate_for(algorithm: Algorithm) -> Result<Self, SigningFailed> {
        let curve = CURVES.iter().find(|(of, ..)| *of == algorithm);
        let pair = match (curve, algorithm.is_symmetric()) {
            (Some((_, _, signing)), _) => EcdsaKeyPair::generate(signing).map(Pair::Ec),
            (None, true) => return Err(SigningFailed),
            (None, false) if algorithm == Algorithm::EdDSA => {
                Ed25519KeyPair::generate().map(Pair::Ed25519)
            }
            (None, false) => RsaKeyPair::generate(rsa::KeySize::Rsa2048).map(Pair::Rsa),
        };
        let pair = pair.map_err(|_| SigningFailed)?;
        Self::new(pair, Some(algorithm)).map_err(|_| SigningFailed)
    }

    /// The first private key of a PEM file: PKCS #8, SEC 1 or PKCS #1. It signs with `algorithm`,
    /// else with what its type says (RS256 for RSA); its `kid` is its thumbprint.
    ///
    /// # Errors
    /// See [`PrivateKeyError`].
    pub fn from_pem(file: &[u8], algorithm: Option<Algorithm>) -> Result<Self, PrivateKeyError> {
        for block in Pem::iter_from_buffer(file) {
            let block = block.map_err(|_| PrivateKeyError::Malformed)?;
            let der = block.contents.as_slice();
            let pair = match block.label.as_str() {
                "PRIVATE KEY" => read_pkcs8(der),
                "EC PRIVATE KEY" => {
                    let read = |signing| EcdsaKeyPair::from_private_key_der(signing, der).ok();
                    CURVES.iter().find_map(|(_, _, signing)| read(signing)).map(Pair::Ec)
                }
                "RSA PRIVATE KEY" => RsaKeyPair::from_der(der).ok().map(Pair::Rsa),
                "ENCRYPTED PRIVATE KEY" => return Err(PrivateKeyError::Encrypted),
                _ => continue,
            };
            return Self::new(pair.ok_or(PrivateKeyError::Malformed)?, algorithm);
        }
        Err(PrivateKeyError::NoPrivateKey)
    }

    /// A private JWK (RFC 7518 section 6). It signs with `algorithm`, else with its own `alg`,
    /// else with what its type says; it keeps its `kid`.
    ///
    /// # Errors
    /// See [`PrivateKeyError`].
    pub fn from_jwk(jwk: &Value, algorithm: Option<Algorithm>) -> Result<Self, PrivateKeyError> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let octets = |name: &str| {
            let text = text(name).ok_or(PrivateKeyError::Malformed)?;
            URL_SAFE_NO_PAD.decode(text).map_err(|_| PrivateKeyError::Malformed)
        };
        let d = match text("d") {
            Some(_) => octets("d")?,
            None => return Err(PrivateKeyError::NoPrivateKey),
        };
        let unusable = PrivateKeyError::Unusable(SkipReason::Unsupported);
        let pair = match (text("kty"), text("crv")) {
            (Some("EC"), Some(name)) => {
                let (_, _, signing) =
                    CURVES.iter().find(|(_, curve, _)| *curve == name).ok_or(unusable)?;
                let point = [vec![4], octets("x")?, octets("y")?].concat();
                EcdsaKeyPair::from_private_key_and_public_key(signing, &d, &point).map(Pair::Ec)
            }
            (Some("OKP"), Some("Ed25519")) => {
                Ed25519KeyPair::from_seed_and_public_key(&d, &octets("x")?).map(Pair::Ed25519)
            }
            (Some("RSA"), _) => {
                let public_key = rsa::PublicKeyComponents { n: octets("n")?, e: octets("e")? };
                let parts = rsa::KeyPairComponents {
                    public_key,
                    d,
                    p: octets("p")?,
                    q: octets("q")?,
                    dP: octets("dp")?,
                    dQ: octets("dq")?,
                    qInv: octets("qi")?,
                };
                RsaKeyPair::from_components(&parts).map(Pair::Rsa)
            }
            (_, _) => return Err(unusable),
        };
        let named = named_algorithm(text("alg"), algorithm)?;
        let pair = pair.map_err(|_| PrivateKeyError::Malformed)?;
        let signer = Self::new(pair, named)?;
        Ok(match text("kid") {
            Some(kid) => signer.with_kid(kid),
            None => signer,
        })
    }

    fn new(pair: Pair, algorithm: Option<Algorithm>) -> Result<Self, PrivateKeyError> {
        let mut public = pair.public().ok_or(PrivateKeyError::Malformed)?;
        // What signs has to be what a gateway would verify: the same checks.
        let key = jwk::parse(&public).map_err(PrivateKeyError::Unusable)?;
        let usual = match key.allows(Algorithm::RS256) {
            true => Some(Algorithm::RS256),
            false => key.algorithms().next(),
        };
        let algorithm = algorithm.or(usual).ok_or(PrivateKeyError::Malformed)?;
        if !key.allows(algorithm) {
            return Err(PrivateKeyError::Algorithm(algorithm));
        }
        let kid = key.thumbprint().ok_or(PrivateKeyError::Malformed)?.to_owned();
        if let Some(members) = public.as_object_mut() {
            members.insert("alg".to_owned(), algorithm.as_str().into());
            members.insert("use".to_owned(), "sig".into());
            members.insert("kid".to_owned(), kid.clone().into());
        }
        Ok(Self { pair, algorithm, kid, public })
    }

    /// The same key under another id.
    #[must_use]
    pub fn with_kid(mut self, kid: &str) -> Self {
        kid.clone_into(&mut self.kid);
        if let Some(members) = self.public.as_object_mut() {
            members.insert("kid".to_owned(), kid.into());
        }
        self
    }

    /// The id that tokens and the JWK carry.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public key as a JWK.
    pub fn jwk(&self) -> &Value {
        &self.public
    }

    /// The public key as an issuer publishes it that uses it with whatever algorithm it allows.
    pub fn published(&self) -> Value {
        let mut jwk = self.public.clone();
        if let (Some(members), Pair::Rsa(_)) = (jwk.as_object_mut(), &self.pair) {
            members.shift_remove("alg");
        }
        jwk
    }

    /// The public key, ready to verify.
    ///
    /// # Errors
    /// None for a key that was made here; the type is that of [`jwk::parse`].
    pub fn key(&self) -> Result<Key, SkipReason> {
        jwk::parse(&self.public)
    }

    /// A compact JWS over `claims` (RFC 7515 section 7.1).
    ///
    /// The header is `alg`, `kid` and `typ: JWT`; a member of `header` replaces or adds one.
    ///
    /// # Errors
    /// [`SigningFailed`] if the system gives no randomness.
    pub fn sign(
        &self,
        header: &Map<String, Value>,
        claims: &Map<String, Value>,
    ) -> Result<String, SigningFailed> {
        let sign = |message: &[u8]| self.pair.sign(self.algorithm, message);
        compact(self.algorithm, Some(&self.kid), header, claims, sign)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl Pair {
    /// The public half, with the members that its type requires.
    fn public(&self) -> Option<Value> {
        match self {
            Self::Ec(pair) => {
                let signing = pair.algorithm();
                let (_, curve, _) = CURVES.iter().find(|(_, _, known)| *known == signing)?;
                pem::ec(curve, pair.public_key().as_ref())
            }
            Self::Ed25519(pair) => Some(pem::ed25519(pair.public_key().as_ref())),
            Self::Rsa(pair) => pem::from_pkcs1(pair.public_key().as_ref()).ok(),
        }
    }

    fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        let signed = match self {
            Self::Ec(pair) => pair.sign(&SystemRandom::new(), message),
            Self::Ed25519(pair) => pair.try_sign(message),
            Self::Rsa(pair) => {
                let encoding = rsa_encoding(algorithm).ok_or(SigningFailed)?;
                let mut signature = vec![0; pair.public_modulus_len()];
                return pair
                    .sign(encoding, &SystemRandom::new(), message, &mut signature)
                    .map(|()| signature)
                    .map_err(|_| SigningFailed);
            }
        };
        signed.map(|signature| signature.as_ref().to_vec()).map_err(|_| SigningFailed)
    }
}

/// The algorithm asked for, or the JWK's own `alg`, which allows no other.
fn named_algorithm(
    alg: Option<&str>,
    asked: Option<Algorithm>,
) -> Result<Option<Algorithm>, PrivateKeyError> {
    let Some(name) = alg else { return Ok(asked) };
    let unknown = PrivateKeyError::Unusable(SkipReason::Unsupported);
    let named = name.parse::<Algorithm>().map_err(|_| unknown)?;
    match asked {
        Some(asked) if asked != named => Err(PrivateKeyError::Algorithm(asked)),
        Some(_) | None => Ok(Some(named)),
    }
}

/// Whichever type the PKCS #8 document holds (RFC 5958): each reader takes its own alone.
fn read_pkcs8(der: &[u8]) -> Option<Pair> {
    let ec = |signing| EcdsaKeyPair::from_pkcs8(signing, der).ok();
    let ec = CURVES.iter().find_map(|(_, _, signing)| ec(signing)).map(Pair::Ec);
    let ed = || Ed25519KeyPair::from_pkcs8(der).ok().map(Pair::Ed25519);
    ec.or_else(ed).or_else(|| RsaKeyPair::from_pkcs8(der).ok().map(Pair::Rsa))
}

fn rsa_encoding(algorithm: Algorithm) -> Option<&'static dyn RsaEncoding> {
    match algorithm {
        Algorithm::PS256 => Some(&signature::RSA_PSS_SHA256),
        Algorithm::PS384 => Some(&signature::RSA_PSS_SHA384),
        Algorithm::PS512 => Some(&signature::RSA_PSS_SHA512),
        Algorithm::RS256 => Some(&signature::RSA_PKCS1_SHA256),
        Algorithm::RS384 => Some(&signature::RSA_PKCS1_SHA384),
        Algorithm::RS512 => Some(&signature::RSA_PKCS1_SHA512),
        Algorithm::EdDSA
        | Algorithm::ES256
        | Algorithm::ES256K
        | Algorithm::ES384
        | Algorithm::ES512
        | Algorithm::HS256
        | Algorithm::HS384
        | Algorithm::HS512 => None,
    }
}

/// A shared secret that signs with HMAC, as simplejwt does by default.
pub struct SecretSigner {
    key: hmac::Key,
    algorithm: Algorithm,
}

impl SecretSigner {
    /// It signs with `algorithm`, else with HS256.
    ///
    /// # Errors
    /// A secret that no gateway takes, or one too short for the algorithm.
    pub fn new(secret: &[u8], algorithm: Option<Algorithm>) -> Result<Self, PrivateKeyError> {
        let algorithm = algorithm.unwrap_or(Algorithm::HS256);
        let key = from_secret(secret).map_err(PrivateKeyError::WeakSecret)?;
        let hashes = [
            (Algorithm::HS256, hmac::HMAC_SHA256),
            (Algorithm::HS384, hmac::HMAC_SHA384),
            (Algorithm::HS512, hmac::HMAC_SHA512),
        ];
        let hash = hashes.into_iter().find(|(of, _)| *of == algorithm && key.allows(*of));
        let (_, hash) = hash.ok_or(PrivateKeyError::Algorithm(algorithm))?;
        Ok(Self { key: hmac::Key::new(hash, secret), algorithm })
    }

    /// A JWK of the type `oct`. It signs with `algorithm`, else with its own `alg`, else with HS256.
    ///
    /// # Errors
    /// As [`SecretSigner::new`], and for what is no such JWK.
    pub fn from_jwk(jwk: &Value, algorithm: Option<Algorithm>) -> Result<Self, PrivateKeyError> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let secret = text("k").and_then(|k| URL_SAFE_NO_PAD.decode(k).ok());
        let named = named_algorithm(text("alg"), algorithm)?;
        Self::new(&secret.ok_or(PrivateKeyError::Malformed)?, named)
    }

    /// What it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// A compact JWS over `claims`, without `kid`; a member of `header` replaces or adds one.
    ///
    /// # Errors
    /// None, other than for JSON that cannot be written.
    pub fn sign(
        &self,
        header: &Map<String, Value>,
        claims: &Map<String, Value>,
    ) -> Result<String, SigningFailed> {
        let sign = |message: &[u8]| Ok(hmac::sign(&self.key, message).as_ref().to_vec());
        compact(self.algorithm, None, header, claims, sign)
    }
}

impl fmt::Debug for SecretSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretSigner").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

fn compact(
    algorithm: Algorithm,
    kid: Option<&str>,
    header: &Map<String, Value>,
    claims: &Map<String, Value>,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, SigningFailed>,
) -> Result<String, SigningFailed> {
    let mut full = Map::new();
    full.insert("alg".to_owned(), algorithm.as_str().into());
    full.extend(kid.map(|kid| ("kid".to_owned(), kid.into())));
    full.insert("typ".to_owned(), "JWT".into());
    full.extend(header.clone());
    let part = |members: &Map<String, Value>| {
        serde_json::to_vec(members)
            .map(|text| URL_SAFE_NO_PAD.encode(text))
            .map_err(|_| SigningFailed)
    };
    let message = format!("{}.{}", part(&full)?, part(claims)?);
    let signature = sign(message.as_bytes())?;
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// The JWKS of several keys, as an issuer publishes it.
pub fn jwks<'a>(signers: impl IntoIterator<Item = &'a Signer>) -> Value {
    let keys: Vec<Value> = signers.into_iter().map(|signer| signer.public.clone()).collect();
    json!({ "keys": keys })
}

#[cfg(test)]
#[path = "signing_tests.rs"]
mod tests;

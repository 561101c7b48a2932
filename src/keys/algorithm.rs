//! The signature algorithms of JSON Web Tokens that Portcullis knows (RFC 7518, RFC 8037).
//!
//! Owns the names and nothing else. `none` cannot be written as an [`Algorithm`], so no code path
//! can meet it; whatever is not in this list does not parse.

use std::fmt;
use std::str::FromStr;

/// A JWS signature algorithm (RFC 7518 section 3.1, RFC 8037 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// Ed25519; also written `Ed25519` (RFC 9864). Ed448 is not supported.
    EdDSA,
    /// ECDSA with P-256 and SHA-256.
    ES256,
    /// ECDSA with secp256k1 and SHA-256 (RFC 8812): never allowed unless it is named.
    ES256K,
    /// ECDSA with P-384 and SHA-384.
    ES384,
    /// ECDSA with P-521 and SHA-512.
    ES512,
    /// HMAC with SHA-256.
    HS256,
    /// HMAC with SHA-384.
    HS384,
    /// HMAC with SHA-512.
    HS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
}

impl Algorithm {
    /// Every algorithm, by name.
    pub const ALL: &'static [Self] = &[
        Self::EdDSA,
        Self::ES256,
        Self::ES256K,
        Self::ES384,
        Self::ES512,
        Self::HS256,
        Self::HS384,
        Self::HS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::RS256,
        Self::RS384,
        Self::RS512,
    ];

    /// What an issuer accepts when its settings do not say: asymmetric, one per curve or padding.
    pub const DEFAULT: &'static [Self] =
        &[Self::RS256, Self::PS256, Self::ES256, Self::ES384, Self::EdDSA];

    /// The registered name, as in a token's `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDSA => "EdDSA",
            Self::ES256 => "ES256",
            Self::ES256K => "ES256K",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
        }
    }

    /// Whether verifying needs the secret that signs: true for the HMAC family only.
    pub const fn is_symmetric(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    /// Exact, case-sensitive registered names; `Ed25519` is read as [`Algorithm::EdDSA`].
    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        if name == "Ed25519" {
            return Ok(Self::EdDSA);
        }
        Self::ALL.iter().copied().find(|known| known.as_str() == name).ok_or(UnknownAlgorithm)
    }
}

/// The name is none of [`Algorithm`]'s: unknown, misspelt, `none`, or an encryption algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownAlgorithm;

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown signature algorithm")
    }
}

impl std::error::Error for UnknownAlgorithm {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.as_str().parse(), Ok(*algorithm));
        }
        assert_eq!("Ed25519".parse(), Ok(Algorithm::EdDSA));
    }

    #[test]
    fn es256k_is_used_only_where_it_is_named() {
        assert!(Algorithm::ALL.contains(&Algorithm::ES256K));
        assert!(!Algorithm::DEFAULT.contains(&Algorithm::ES256K));
    }

    #[test]
    fn none_and_its_spellings_do_not_parse() {
        for name in ["none", "nOnE", "None", "", "rs256", "RS256 ", "es256k", "RSA-OAEP", "dir"] {
            assert_eq!(name.parse::<Algorithm>(), Err(UnknownAlgorithm), "{name}");
        }
    }
}

//! HMAC keys from the configuration, and why some secrets are refused.
//!
//! Owns the verdict on a secret. There is no way around it: a secret that can be guessed is as
//! good as no signature at all.

use std::fmt;

use super::Key;
use super::jwk::import;
use super::weakness;

/// The shortest secret, in bytes: the size of the smallest hash (RFC 7518 section 3.2).
pub const MIN_SECRET: usize = 32;

/// Why a secret is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeakSecret {
    /// It is a PEM or SSH key, or a JWK: someone's public key, known to all, could sign tokens.
    KeyText,
    /// A short piece repeated.
    Repetitive,
    /// Shorter than [`MIN_SECRET`] bytes.
    TooShort,
    /// It stands in public documentation, or is a placeholder.
    WellKnown,
}

impl fmt::Display for WeakSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeyText => "the secret is the text of a key file",
            Self::Repetitive => "the secret repeats a short piece",
            Self::TooShort => "the secret is shorter than 32 bytes",
            Self::WellKnown => "the secret is publicly known",
        })
    }
}

impl std::error::Error for WeakSecret {}

/// An HMAC key without `kid`. It allows HS256, from 48 bytes on HS384 too, and from 64 HS512.
///
/// # Errors
/// [`WeakSecret`] for one that an attacker could guess.
pub fn from_secret(secret: &[u8]) -> Result<Key, WeakSecret> {
    if is_key_text(secret) {
        return Err(WeakSecret::KeyText);
    }
    if secret.len() < MIN_SECRET {
        return Err(WeakSecret::TooShort);
    }
    if weakness::is_well_known(secret) {
        return Err(WeakSecret::WellKnown);
    }
    if weakness::is_repetitive(secret) {
        return Err(WeakSecret::Repetitive);
    }
    Ok(import::hmac(secret))
}

/// The mistake behind algorithm confusion: a public key where a secret belongs.
fn is_key_text(secret: &[u8]) -> bool {
    let text = String::from_utf8_lossy(secret);
    text.contains("-----BEGIN ")
        || text.contains("\"kty\"")
        || ["ssh-rsa ", "ssh-ed25519 ", "ecdsa-sha2-"].iter().any(|kind| text.starts_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Algorithm;

    #[test]
    fn length_decides_the_algorithms() {
        let secret = b"nT8x!0qLr7#vZp2$Kd9@Wm4^Bf6&Hc1*Gy3(Js5)Xa+Ue=Qo-Ri_Pl~Yk|Mj:End";
        let allowed = |length: usize| {
            from_secret(&secret[..length]).unwrap().algorithms().collect::<Vec<_>>()
        };
        assert_eq!(from_secret(&secret[..31]).unwrap_err(), WeakSecret::TooShort);
        assert_eq!(allowed(32), [Algorithm::HS256]);
        assert_eq!(allowed(48), [Algorithm::HS256, Algorithm::HS384]);
        assert_eq!(allowed(64), [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512]);
    }

    #[test]
    fn guessable_secrets_are_refused() {
        let cases: [(&[u8], WeakSecret); 9] = [
            (b"", WeakSecret::TooShort),
            (b"secret", WeakSecret::TooShort),
            (b"-----BEGIN PUBLIC KEY-----\nMCow", WeakSecret::KeyText),
            (b"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7", WeakSecret::KeyText),
            (br#"{"kty":"RSA","n":"x","e":"AQAB"}     "#, WeakSecret::KeyText),
            (b"super-secret-jwt-token-with-at-least-32-characters-long", WeakSecret::WellKnown),
            (b"MyApp-ChangeMe-in-Production-0123456789", WeakSecret::WellKnown),
            (b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", WeakSecret::Repetitive),
            (b"passwordpasswordpasswordpassword", WeakSecret::Repetitive),
        ];
        for (secret, expected) in cases {
            assert_eq!(from_secret(secret).unwrap_err(), expected, "{secret:?}");
        }
    }

    #[test]
    fn a_secret_shows_neither_itself_nor_its_hash() {
        let key = from_secret(b"9f8a7c6e5d4b3a2918273645aabbccdd").unwrap();
        assert_eq!(key.thumbprint(), None);
        assert!(!format!("{key:?}").contains("9f8a"));
    }
}

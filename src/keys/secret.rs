//! HMAC keys from the configuration, and why some secrets are refused.
//!
//! Owns the verdict on a secret. There is no way around it: a secret that can be guessed is as
//! good as no signature at all.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::Key;
use super::jwk::import;
use super::{pem, weakness};

/// The shortest secret, in bytes: the size of the smallest hash (RFC 7518 section 3.2).
pub const MIN_SECRET: usize = 32;

/// Why a secret is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeakSecret {
    /// It is a PEM, DER or SSH key, or a JWK: someone's public key, known to all, could sign tokens.
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

/// The mistake behind algorithm confusion: a public key where a secret belongs. Without its armour,
/// too: that is how Keycloak shows a realm's key.
fn is_key_text(secret: &[u8]) -> bool {
    let text = String::from_utf8_lossy(secret);
    let plain = |byte: &u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => *other,
    };
    let base64: Vec<u8> = secret
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace() && **byte != b'=')
        .map(plain)
        .collect();
    if pem::is_public(secret)
        || STANDARD_NO_PAD.decode(base64).is_ok_and(|der| pem::is_public(&der))
    {
        return true;
    }
    text.contains("-----BEGIN ")
        || text.contains("\"kty\"")
        || ["ssh-rsa ", "ssh-ed25519 ", "ecdsa-sha2-"].iter().any(|kind| text.starts_with(kind))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::keys::Algorithm;

    /// RSA as SPKI and as PKCS#1, P-256, Ed25519, and a certificate; all without their armour.
    const PUBLIC_KEYS: [&str; 5] = [
        "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr8ZmZGNfkSk1/mBMpjPE\n\
         h8VsBG/naQpXQky9p2ogn9yO0HYq6/JeDz2mOdoahmT2674pib3O37soG9UX22XK\n\
         tDBV9BFg4+/tX3daghi6YYoCUb/6QlpH8ZiP1gsCBcG/CZJXMhzX5QwYgX/yVfDf\n\
         Ctlve//xILKOOi1c7TWY3O2XEUKYhEbfFxa8ITpMlfk+rHwKaqsXDLyrZCz7Knjt\n\
         jFr5Bd8ETCGwkUibT72BEmEsSzGtKjVhuz9+v2EMcXr/NMKob3U3RE/qTbkpDYP2\n\
         QajNpD0zOX4c0Q9lf3ynxLr3eHTwqQND+vLWZwyDvbQ0x2mk1hS9gLuGNKDArE3Y\n\
         KQIDAQAB",
        "MIIBCgKCAQEAr8ZmZGNfkSk1/mBMpjPEh8VsBG/naQpXQky9p2ogn9yO0HYq6/Je\n\
         Dz2mOdoahmT2674pib3O37soG9UX22XKtDBV9BFg4+/tX3daghi6YYoCUb/6QlpH\n\
         8ZiP1gsCBcG/CZJXMhzX5QwYgX/yVfDfCtlve//xILKOOi1c7TWY3O2XEUKYhEbf\n\
         Fxa8ITpMlfk+rHwKaqsXDLyrZCz7KnjtjFr5Bd8ETCGwkUibT72BEmEsSzGtKjVh\n\
         uz9+v2EMcXr/NMKob3U3RE/qTbkpDYP2QajNpD0zOX4c0Q9lf3ynxLr3eHTwqQND\n\
         +vLWZwyDvbQ0x2mk1hS9gLuGNKDArE3YKQIDAQAB",
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8WUDdKF4CHo5u1NxEu3uy2W6zKBq\n\
         kOUsqdTOAO8IjorvIT29/uxvCsKeByXP2wzc8FgoHEpvtxX8yhAEd/QYHg==",
        "MCowBQYDK2VwAyEADl3oPOktPSJkTKp7wyAKOm7Bfgj/2EVhjXrvKbniV+4=",
        "MIIBLDCB36ADAgECAhQZp4WJ36MJ5qVpSfVTY1ljVZdAwzAFBgMrZXAwDDEKMAgG\n\
         A1UEAwwBYTAeFw0yNjExMjQxODIxMDlaFw0zNjExMjExODIxMDlaMAwxCjAIBgNV\n\
         BAMMAWEwKjAFBgMrZXADIQAOXeg86S09ImRMqnvDIAo6bsF+CP/YRWGNeu8pueJX\n\
         7qNTMFEwHQYDVR0OBBYEFKV0u1YTSHRmmvyPr92369u5ssogMB8GA1UdIwQYMBaA\n\
         FKV0u1YTSHRmmvyPr92369u5ssogMA8GA1UdEwEB/wQFMAMBAf8wBQYDK2VwA0EA\n\
         3a8KWigoMbaiq4Eg7eCGUOGaik6oGt0KxonXyLOMePephCVuT1D/nMJq5J/deTZo\n\
         mlTxPaojEoThvggkUOHjAQ==",
    ];

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
    fn a_public_key_in_any_dress_is_no_secret() {
        for text in PUBLIC_KEYS {
            let der = STANDARD.decode(text.replace('\n', "")).unwrap();
            let url_safe = text.replace('+', "-").replace('/', "_").replace('=', "");
            for secret in [text.as_bytes(), der.as_slice(), url_safe.as_bytes()] {
                assert_eq!(from_secret(secret).unwrap_err(), WeakSecret::KeyText, "{text}");
            }
            // Something that only looks like one is a secret.
            assert!(from_secret(&text.as_bytes()[1..]).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_secret_shows_neither_itself_nor_its_hash() {
        let key = from_secret(b"9f8a7c6e5d4b3a2918273645aabbccdd").unwrap();
        assert_eq!(key.thumbprint(), None);
        assert!(!format!("{key:?}").contains("9f8a"));
    }
}

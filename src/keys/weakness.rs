//! Keys that an attacker can compute or guess: RSA moduli and HMAC secrets.
//!
//! Owns the lists and the arithmetic; `jwk` and `secret` decide what follows.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// A big-endian number without its leading zero bytes.
pub(super) fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// Whether an RSA key, its numbers big-endian without leading zeros, is one not to trust: under
/// 2048 bits (forgeable), over 4096 (each verification costs an attacker nothing and us a lot), an
/// exponent that is even, 1, or beyond what aws-lc takes, an even modulus, or one made by the
/// generator of CVE-2017-15361 (ROCA).
pub(super) fn is_weak_rsa(n: &[u8], e: &[u8]) -> bool {
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    let good_exponent =
        odd(e) && e != [1] && (e.len() <= 4 || (e.len() == 5 && e.first() == Some(&1)));
    !(2048..=4096).contains(&bits(n)) || !odd(n) || !good_exponent || is_roca(n)
}

fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

/// Primes for which few residues are powers of 65537: a random modulus passes all of them with
/// a probability of about 2^-27.
const ROCA_PRIMES: [u32; 17] =
    [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];

/// Infineon's generator made primes of the form k*M + (65537^a mod M), M a primorial: modulo each
/// small prime such a modulus is a power of 65537.
fn is_roca(n: &[u8]) -> bool {
    ROCA_PRIMES.iter().all(|&prime| {
        let residue = n.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        is_power_of_65537(residue, prime)
    })
}

fn is_power_of_65537(residue: u32, prime: u32) -> bool {
    let mut power = 1;
    for _ in 0..prime {
        if power == residue {
            return true;
        }
        power = power * (65537 % prime) % prime;
    }
    false
}

/// Secrets of 32 bytes and more that stand in documentation, tutorials and starter kits, as they
/// are written there. Shorter ones are refused for their length.
const WELL_KNOWN: [&str; 12] = [
    // FastAPI's security tutorial
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    // Spring Security tutorials
    "3cfa76ef14937c1c0ea519f8fc057a80fcd04a7420f8e8bcd0a7567c272e007b",
    "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970",
    "5367566B59703373367639792F423F4528482B4D6251655468576D5A71347437",
    // RFC 7515 appendix A.1, RFC 7520 section 3.5
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
    "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg",
    // jwt.io
    "a-string-secret-at-least-256-bits-long",
    "a-valid-string-secret-that-is-at-least-384-bits-long",
    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
    // starter kits, PostgREST, Supabase
    "my-32-character-ultra-secure-and-ultra-long-secret",
    "reallyreallyreallyreallyverysafe",
    "super-secret-jwt-token-with-at-least-32-characters-long",
];

/// Words that only a placeholder holds, in lower case.
const PLACEHOLDERS: [&str; 9] = [
    "change-me",
    "change-this",
    "change_me",
    "change_this",
    "changeme",
    "changethis",
    "replace-me",
    "your-secret",
    "your_secret",
];

/// Whether the secret stands in public documentation, as text or as what that text encodes, or is
/// a placeholder nobody replaced.
pub(super) fn is_well_known(secret: &[u8]) -> bool {
    let text = String::from_utf8_lossy(secret).into_owned();
    let lower = text.to_ascii_lowercase();
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let spellings = [text, STANDARD.encode(secret), URL_SAFE_NO_PAD.encode(secret), hex];
    let is_listed = |text: &String| WELL_KNOWN.iter().any(|known| text.eq_ignore_ascii_case(known));
    spellings.iter().any(is_listed) || PLACEHOLDERS.iter().any(|word| lower.contains(word))
}

/// Whether the secret is a short piece, under 16 bytes, written again and again: as easily guessed
/// as that piece.
pub(super) fn is_repetitive(secret: &[u8]) -> bool {
    (1..16.min(secret.len())).any(|period| {
        secret.iter().zip(secret.iter().skip(period)).all(|(byte, later)| byte == later)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modulus_of_the_broken_generator_is_found() {
        // Such a modulus is a power of 65537 modulo each of the primes: 65537^130 itself is one.
        let mut number = vec![1_u8];
        for _ in 0..130 {
            number = times_65537(&number);
        }
        assert!((2048..=4096).contains(&bits(&number)));
        assert!(is_roca(&number));
        assert!(is_weak_rsa(&number, &[1, 0, 1]));
        *number.last_mut().unwrap() ^= 2;
        assert!(!is_roca(&number));
        assert!(!is_weak_rsa(&number, &[1, 0, 1]));
    }

    fn times_65537(number: &[u8]) -> Vec<u8> {
        let mut carry = 0_u64;
        let mut product: Vec<u8> = Vec::new();
        for byte in number.iter().rev() {
            carry += u64::from(*byte) * 65537;
            product.push((carry & 0xff) as u8);
            carry >>= 8;
        }
        while carry > 0 {
            product.push((carry & 0xff) as u8);
            carry >>= 8;
        }
        product.reverse();
        product
    }

    #[test]
    fn sizes_and_exponents_have_bounds() {
        let modulus = |bytes: usize| {
            let mut n = vec![0xb7; bytes];
            n[bytes - 1] = 0x0d;
            n
        };
        assert!(!is_weak_rsa(&modulus(256), &[3]));
        assert!(!is_weak_rsa(&modulus(512), &[1, 0, 1]));
        assert!(is_weak_rsa(&modulus(255), &[1, 0, 1]));
        assert!(is_weak_rsa(&modulus(513), &[1, 0, 1]));
        for exponent in [&[][..], &[1], &[2], &[1, 0, 0], &[3, 0, 0, 0, 1], &[1; 6]] {
            assert!(is_weak_rsa(&modulus(256), exponent), "{exponent:?}");
        }
        let mut even = modulus(256);
        even[255] = 2;
        assert!(is_weak_rsa(&even, &[3]));
        assert!(is_weak_rsa(&[], &[3]));
    }

    #[test]
    fn a_well_known_secret_is_known_in_every_encoding() {
        for known in WELL_KNOWN {
            assert!(is_well_known(known.as_bytes()), "{known}");
        }
        let spring = "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970";
        assert!(is_well_known(&STANDARD.decode(spring).unwrap()));
        assert!(is_well_known(b"@NcRfUjXn2r5u8x/A?D(G+KbPdSgVkYp"), "decoded from hex");
        assert!(!is_well_known(b"9f8a7c6e5d4b3a2918273645aabbccdd"));
    }

    #[test]
    fn repetition_is_seen_through() {
        assert!(is_repetitive(&[b'a'; 40]));
        assert!(is_repetitive("secret".repeat(6).as_bytes()));
        assert!(is_repetitive(b"0123456789012345678901234567890123"));
        assert!(!is_repetitive(b"9f8a7c6e5d4b3a2918273645aabbccdd"));
    }
}

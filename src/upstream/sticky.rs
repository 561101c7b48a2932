//! What a sticky cookie calls an endpoint.
//!
//! Owns the key under which endpoints get names that tell nothing of their addresses: private
//! addresses are few, and a hash without a key would be undone by trying all of them. A client can
//! learn the names of the endpoints that it met, and so choose among those; that is all.

use std::sync::OnceLock;

use aws_lc_rs::hmac;
use aws_lc_rs::rand;

/// What an endpoint is called; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

/// Gives endpoints their names.
#[derive(Clone, Debug)]
pub struct Marks(hmac::Key);

impl Marks {
    /// The same for the same secret, in every gateway.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The same as long as this process lives. `None` if the system has no random bytes.
    pub fn of_this_process() -> Option<Self> {
        static SECRET: OnceLock<[u8; 32]> = OnceLock::new();
        if let Some(secret) = SECRET.get() {
            return Some(Self::new(secret));
        }
        let mut secret = [0; 32];
        rand::fill(&mut secret).ok()?;
        // Whoever was first: all get the same.
        Some(Self::new(SECRET.get_or_init(|| secret)))
    }

    /// What the endpoint with this label is called.
    pub fn mark(&self, label: &str) -> Mark {
        let tag = hmac::sign(&self.0, label.as_bytes());
        let first = tag.as_ref().first_chunk().copied().unwrap_or_default();
        Mark(u64::from_be_bytes(first).max(1))
    }
}

impl Mark {
    /// As a number that fits an atomic.
    pub(super) fn number(self) -> u64 {
        self.0
    }

    /// What [`Self::number`] said; `None` for 0.
    pub(super) fn of(number: u64) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }

    /// As a cookie's value.
    pub fn text(self) -> String {
        format!("{:016x}", self.0)
    }

    /// Reads a cookie's value, in the one spelling there is.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if value.len() != 16 || !value.iter().all(is_digit) {
            return None;
        }
        Self::of(u64::from_str_radix(std::str::from_utf8(value).ok()?, 16).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_depends_on_the_secret_and_on_the_whole_label() {
        let marks = Marks::new(b"one");
        let mark = marks.mark("http://10.0.0.1:8000");
        assert_eq!(Marks::new(b"one").mark("http://10.0.0.1:8000"), mark);
        assert_ne!(Marks::new(b"two").mark("http://10.0.0.1:8000"), mark);
        assert_ne!(marks.mark("http://10.0.0.1:8001"), mark);
        let own = Marks::of_this_process().unwrap().mark("http://10.0.0.1:8000");
        assert_eq!(Marks::of_this_process().unwrap().mark("http://10.0.0.1:8000"), own);
        assert_ne!(own, mark);
        assert_eq!(format!("{marks:?}").find("one"), None);
    }

    #[test]
    fn a_value_has_one_spelling() {
        let mark = Marks::new(b"one").mark("x");
        assert_eq!(Mark::parse(mark.text().as_bytes()), Some(mark));
        for wrong in ["", "1", "+00000000000000f", "00000000000000F0", "000000000000000f0"] {
            assert_eq!(Mark::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}

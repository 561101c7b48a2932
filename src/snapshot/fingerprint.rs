//! A hash of every expanded setting that a live thing depends on.
//!
//! What a reload finds under the same fingerprint is adopted (key sets, pools, cached tokens); any
//! difference, a secret's or a file's content included, makes a new one. Only compared within one
//! process, among what the operator wrote: 64 bits are plenty.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// A fingerprint being taken.
#[derive(Debug, Default)]
pub(super) struct Fingerprint(DefaultHasher);

impl Fingerprint {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds one setting. Each has its length or its kind in its hash, so that neighbours can't
    /// lend each other bytes.
    pub(super) fn add(mut self, setting: impl Hash) -> Self {
        setting.hash(&mut self.0);
        self
    }

    pub(super) fn finish(self) -> u64 {
        self.0.finish()
    }
}

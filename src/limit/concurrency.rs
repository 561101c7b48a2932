//! How many at the same time.
//!
//! One number for all workers; who is in has a [`Place`] and gives it back by dropping it, whatever
//! happens to him.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of places.
#[derive(Debug)]
pub struct Concurrency {
    taken: Arc<AtomicUsize>,
    places: usize,
}

/// One of them, taken.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Concurrency {
    /// All are free.
    pub fn new(places: usize) -> Self {
        Self { taken: Arc::default(), places }
    }

    /// Another number of places, of which those stay taken that are.
    pub fn resized(&self, places: usize) -> Self {
        Self { taken: Arc::clone(&self.taken), places }
    }

    /// A place, if one is free.
    pub fn enter(&self) -> Option<Place> {
        let free = |taken: usize| (taken < self.places).then_some(taken + 1);
        let entered = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free);
        entered.ok().map(|_| Place(Arc::clone(&self.taken)))
    }

    /// How many there are.
    pub fn places(&self) -> usize {
        self.places
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_left() {
        let two = Concurrency::new(2);
        let first = two.enter().unwrap();
        let _second = two.enter().unwrap();
        assert!(two.enter().is_none());
        drop(first);
        assert!(two.enter().is_some());
    }

    #[test]
    fn who_is_in_counts_after_the_number_has_changed() {
        let two = Concurrency::new(2);
        let first = two.enter().unwrap();
        let one = two.resized(1);
        assert!(one.enter().is_none());
        drop(first);
        let _only = one.enter().unwrap();
        assert!(two.enter().is_some(), "the old number still holds for the old settings");
    }
}

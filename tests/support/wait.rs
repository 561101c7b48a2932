//! Waiting for something that happens by itself.

use std::thread::sleep;
use std::time::Duration;

use portcullis::clock::Clock;

use super::HUNG;

/// Looks again and again until `look` finds something; panics when it never does.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let clock = Clock::system();
    let begun = clock.now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(clock.now().duration_since(begun) < HUNG, "never happened: {what}");
        sleep(Duration::from_millis(5));
    }
}

//! One value per thread, all of them reachable from one place.
//!
//! Workers count and log without a contended lock: each thread fills its own front value, and one
//! collector swaps it for an empty back value before it does anything slow. Both locks of a slot
//! are held for nanoseconds by everyone but the collector, which holds the back one only, so a
//! worker never waits for a scrape or for a blocked log.
//!
//! Slots belong to an instance, not to the process: tests run several apps in one process.

use std::cell::RefCell;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::LocalKey;

use parking_lot::Mutex;

/// The slots of the current thread, by the instance that they belong to.
pub(super) type Local<T> = RefCell<Vec<(u64, Arc<Slot<T>>)>>;

/// A `T` for each thread that asked for one.
#[derive(Debug)]
pub(super) struct PerThread<T: 'static> {
    instance: u64,
    local: &'static LocalKey<Local<T>>,
    slots: Mutex<Vec<Arc<Slot<T>>>>,
}

impl<T: Default> PerThread<T> {
    /// No slots yet; `local` is where threads find theirs.
    pub(super) fn new(local: &'static LocalKey<Local<T>>) -> Self {
        let instance = INSTANCES.fetch_add(1, Ordering::Relaxed);
        Self { instance, local, slots: Mutex::default() }
    }

    /// Runs `f` on the slot of this thread. `f` must not come back here.
    pub(super) fn with<R>(&self, f: impl FnOnce(&Arc<Slot<T>>) -> R) -> R {
        let mut f = Some(f);
        let found = self.local.try_with(|local| {
            let mut local = local.try_borrow_mut().ok()?;
            if !local.iter().any(|(instance, _)| *instance == self.instance) {
                // Slots of instances that are gone: only this list still holds them.
                local.retain(|(_, slot)| Arc::strong_count(slot) > 1);
                local.push((self.instance, self.add()));
            }
            let (_, slot) = local.iter().find(|(instance, _)| *instance == self.instance)?;
            f.take().map(|f| f(slot))
        });
        match (found.ok().flatten(), f) {
            (Some(result), _) => result,
            // The thread is ending and its list is gone: a slot for this one call.
            (None, Some(f)) => f(&self.add()),
            (None, None) => unreachable!("`f` is taken only by the call that returns its result"),
        }
    }

    /// Swaps every thread's value for its other one and shows it to `f`, which empties it.
    pub(super) fn drain(&self, mut f: impl FnMut(&mut T)) {
        for slot in self.collectable() {
            let mut back = slot.back.lock();
            mem::swap(&mut *slot.front.lock(), &mut *back);
            f(&mut back);
        }
    }

    /// All slots; those of ended threads leave the list, which bounds it by the living threads.
    fn collectable(&self) -> Vec<Arc<Slot<T>>> {
        let mut slots = self.slots.lock();
        let (living, ended): (Vec<_>, Vec<_>) =
            mem::take(&mut *slots).into_iter().partition(|slot| Arc::strong_count(slot) > 1);
        slots.clone_from(&living);
        drop(slots);
        living.into_iter().chain(ended).collect()
    }

    fn add(&self) -> Arc<Slot<T>> {
        let slot = Arc::new(Slot { front: Mutex::default(), back: Mutex::default() });
        self.slots.lock().push(Arc::clone(&slot));
        slot
    }
}

/// One thread's value, and the one that it is swapped with.
///
/// # Race window
/// A thread that ends between [`PerThread::collectable`]'s count and the swap cannot lose a count:
/// its slot was listed as living and is looked at once more by the next collector. One that was
/// counted as ended has no owner left that could add to it.
#[derive(Debug)]
pub(super) struct Slot<T> {
    /// What the thread fills.
    pub(super) front: Mutex<T>,
    back: Mutex<T>,
}

/// Tells instances apart; never reused.
static INSTANCES: AtomicU64 = AtomicU64::new(0);

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static NUMBERS: Local<u64> = const { RefCell::new(Vec::new()) };
    }

    fn sum(numbers: &PerThread<u64>) -> u64 {
        let mut sum = 0;
        numbers.drain(|n| sum += mem::take(n));
        sum
    }

    #[test]
    fn nothing_is_lost_when_threads_end_while_it_is_collected() {
        let numbers = PerThread::new(&NUMBERS);
        let mut total = 0;
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| (0..1000).for_each(|_| numbers.with(|s| *s.front.lock() += 1)))
                })
                .collect();
            while threads.iter().any(|thread| !thread.is_finished()) {
                total += sum(&numbers);
            }
            // The scope waits for the closures alone, a join for the threads' own values too.
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        total += sum(&numbers) + sum(&numbers);
        assert_eq!(total, 8000);
        assert!(numbers.slots.lock().is_empty());
    }

    #[test]
    fn instances_do_not_see_each_other() {
        let (one, two) = (PerThread::new(&NUMBERS), PerThread::new(&NUMBERS));
        one.with(|slot| *slot.front.lock() += 1);
        two.with(|slot| *slot.front.lock() += 2);
        assert_eq!((sum(&one), sum(&two)), (1, 2));
    }

    #[test]
    fn a_thread_forgets_the_slots_of_instances_that_are_gone() {
        for _ in 0..100 {
            PerThread::new(&NUMBERS).with(|slot| *slot.front.lock() += 1);
        }
        assert!(NUMBERS.with_borrow(Vec::len) <= 2);
    }
}

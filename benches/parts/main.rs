//! How long each part of a request's way takes, alone: `benches/cases` says what each isolates.
//!
//! `cargo bench --bench parts`, or one of them: `cargo bench --bench parts -- route`. A time says
//! something only beside another from the same machine and minute; `instructions` watches for growth.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a piece of work that does not work is not timed"
)]

#[path = "../cases/mod.rs"]
mod cases;

use std::time::Duration;

use criterion::Criterion;
use mimalloc::MiMalloc;

/// As in the program itself.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    for (name, make) in cases::ALL {
        criterion.bench_function(name, |bencher| {
            let mut work = make();
            bencher.iter(&mut work);
        });
    }
    criterion.final_summary();
}

//! Bytes that strangers choose, against the code that meets them first (see README.md).
//!
//! Every target is a plain test: by itself a few thousand executions, with
//! `PORTCULLIS_FUZZ_SECONDS` as many as fit into that time.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a target's way to say what must hold"
)]

mod access_log;
mod claims;
mod config;
mod encodings;
mod head;
mod header;
mod issuer;
mod jwk;
mod jwks;
mod path;
mod pen;
mod place;
mod pointer;
mod proxy_header;
mod ranges;
mod tags;
mod token;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

macro_rules! targets {
    ($($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                static EXECUTED: AtomicU64 = AtomicU64::new(0);
                let budget = Budget::read();
                let begun = Instant::now();
                bolero::check!()
                    .with_max_len(LONGEST)
                    .with_iterations(budget.iterations)
                    .with_test_time(budget.time)
                    .for_each(|bytes: &[u8]| {
                        EXECUTED.fetch_add(1, Ordering::Relaxed);
                        $name::check(bytes);
                    });
                let executed = EXECUTED.load(Ordering::Relaxed);
                println!(
                    "fuzz {:<12} {executed} executions in {} s, no finding",
                    stringify!($name),
                    begun.elapsed().as_secs()
                );
                assert!(executed > 0);
            }
        )+
    };
}

targets! {
    access_log claims config encodings head header jwk jwks path place pointer proxy_header ranges tags
    token
}

/// Bytes of an input: what is wrong is wrong within a few hundred, and short ones are many.
const LONGEST: usize = 256;

/// How long a target goes on.
struct Budget {
    iterations: usize,
    time: Duration,
}

impl Budget {
    fn read() -> Self {
        let seconds = std::env::var("PORTCULLIS_FUZZ_SECONDS").ok();
        match seconds.map(|text| text.parse().expect("PORTCULLIS_FUZZ_SECONDS is a number")) {
            Some(seconds) => Self { iterations: usize::MAX, time: Duration::from_secs(seconds) },
            // Ends by count; the time is a limit for a machine that hangs.
            None => Self { iterations: 2000, time: Duration::from_secs(60) },
        }
    }
}

//! The `portcullis` program: parse the arguments, call the verb, end with its exit code.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A request makes and frees some dozens of small pieces on one thread; docs/performance.md has the
/// figures of the system's allocator beside it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    portcullis::cli::main()
}

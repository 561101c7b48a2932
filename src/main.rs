//! The `portcullis` program: parse the arguments, call the verb, end with its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    portcullis::cli::main()
}

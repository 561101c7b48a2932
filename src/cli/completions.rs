//! `portcullis completions SHELL`: what lets a shell complete verbs and options.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Failure, print_bytes};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell that is to complete
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    let mut command = super::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "portcullis", &mut script);
    print_bytes(&script)
}

//! `portcullis version`.

use super::Failure;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    if arguments.json {
        println!("{}", serde_json::json!({ "name": "portcullis", "version": version }));
    } else {
        println!("portcullis {version}");
    }
    Ok(())
}

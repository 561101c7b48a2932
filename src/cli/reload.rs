//! `portcullis reload`: makes the running gateway read its configuration again.

use std::path::Path;

use serde::Deserialize;

use super::{Failure, admin_client, load_admin};

/// What the admin address says of a reload.
#[derive(Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
enum Answer {
    Installed { generation: u64 },
    Refused { diagnostics: String },
}

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let admin = load_admin(path)?;
    let address = &admin.address;
    let headers = "Portcullis-Action: reload\r\n";
    let (_, body) = admin_client::ask(address, "POST", "/reload", headers)?;
    match serde_json::from_str(&body) {
        Ok(Answer::Installed { generation }) => {
            println!("installed as generation {generation}");
            Ok(())
        }
        Ok(Answer::Refused { diagnostics }) => Err(Failure::Configuration(diagnostics)),
        Err(_) => Err(Failure::Running(body.trim_end().to_owned())),
    }
}

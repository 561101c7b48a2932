//! `portcullis reload`: makes the running gateway read its configuration again.

use std::path::Path;

use super::{Failure, admin_client, load};

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let loaded = load(path)?;
    let address = &loaded.config.admin.address;
    let headers = "Portcullis-Action: reload\r\n";
    match admin_client::ask(address, "POST", "/reload", headers)? {
        (200..=299, body) => {
            print!("{body}");
            Ok(())
        }
        (_, body) => Err(Failure::Configuration(body)),
    }
}

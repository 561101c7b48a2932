//! `portcullis healthcheck`: exit code 0 if the running gateway is ready, for images without curl.

use std::path::Path;

use super::{Failure, admin_client, load_admin};

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let admin = load_admin(path)?;
    let address = &admin.address;
    match admin_client::ask(address, "GET", "/readyz", "")? {
        (200, _) => {
            println!("ready");
            Ok(())
        }
        (_, body) => Err(Failure::Running(format!("not ready: {}", body.trim_end()))),
    }
}

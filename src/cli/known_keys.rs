//! The keys that a verb may know: for `explain` and `token verify`, which run no gateway.
//!
//! Compiling has read the key files; an issuer is asked only where the operator said so. Nobody waits
//! for one longer than a fetch may take.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::Failure;
use crate::auth::Issuer;
use crate::keys::KeySet;

/// How far a verb may go for keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Over the network.
    Fetched,
    /// To files of this machine.
    Local,
}

/// For one verb, which ends with it.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Running(error.to_string()))
}

/// Brings in the keys of these issuers that are within reach; says why others are not known.
pub(super) fn load(runtime: &Runtime, issuers: &[Arc<Issuer>], reach: Reach) -> Vec<String> {
    let mut notes = Vec::new();
    for issuer in issuers {
        let keys = issuer.keys();
        if reach == Reach::Fetched && !keys.usable() {
            runtime.block_on(ready(keys, runtime));
        }
        let error = keys.status().remote.and_then(|remote| remote.last_error);
        match (keys.usable(), error) {
            (true, _) => {}
            (false, Some(error)) => notes.push(format!("keys of `{}`: {error}", issuer.name())),
            (false, None) => {
                let name = issuer.name();
                notes.push(format!("the keys of `{name}` are fetched by a running gateway alone"));
            }
        }
    }
    notes
}

/// Waits until the first fetch has ended, well or not.
async fn ready(keys: &Arc<KeySet>, runtime: &Runtime) {
    keys.start(runtime.handle());
    for _ in 0..LONGEST_WAIT.as_millis() / PAUSE.as_millis() {
        if !keys.is_awaited() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

const PAUSE: Duration = Duration::from_millis(10);

/// More than a fetch may take.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

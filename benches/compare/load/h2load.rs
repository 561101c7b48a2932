//! h2load: HTTP/2 over TLS, 32 streams a connection, all with one token (it knows but one header).

use std::process::Command;

use super::{Done, Load};
use crate::Result;
use crate::core::outputs;
use crate::tokens::Issued;
use crate::world::World;

const STREAMS: u32 = 32;

/// Keeps every stream busy for some seconds.
pub(super) fn run(
    load: &Load,
    world: &World,
    port: u16,
    seconds: u32,
    issued: Option<&Issued>,
) -> Result<Done> {
    let mut command = Command::new(world.programs().find("h2load")?);
    command
        .args(["--threads", "1"])
        .args(["--clients", &load.connections.to_string()])
        .args(["--max-concurrent-streams", &STREAMS.to_string()])
        .args(["--duration", &seconds.to_string()]);
    if let Some(token) = issued.and_then(|issued| issued.tokens.first()) {
        command.args(["--header", &format!("authorization: Bearer {token}")]);
    }
    let output = command.arg(format!("https://127.0.0.1:{port}{}", load.path)).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(totals) = outputs::h2load(&text) else {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("h2load told no totals:\n{text}{complaint}").into());
    };
    if totals.refused > 0 || totals.broken > 0 || totals.answered == 0 {
        return Err(format!("requests failed:\n{text}").into());
    }
    Ok(Done {
        requests: totals.answered,
        refused: 0,
        elapsed: totals.elapsed,
        latencies: totals.latencies,
    })
}

//! wrk, whose connections go through the tokens in turn (`wrk.lua`).

use std::fs;
use std::process::Command;

use super::{Done, Load, Tokens};
use crate::Result;
use crate::core::outputs;
use crate::tokens::Issued;
use crate::world::World;

/// Keeps every connection busy for some seconds.
pub(super) fn run(
    load: &Load,
    world: &World,
    scheme: &str,
    port: u16,
    seconds: u32,
    issued: Option<&Issued>,
    skip: usize,
) -> Result<Done> {
    let script = world.folder().join("wrk.lua");
    fs::write(&script, include_str!("wrk.lua"))?;
    let output = Command::new(world.programs().find("wrk")?)
        .args(["--threads", "1", "--timeout", "5s"])
        .args(["--connections", &load.connections.to_string()])
        .args(["--duration", &format!("{seconds}s")])
        .arg("--script")
        .arg(&script)
        .arg(format!("{scheme}://127.0.0.1:{port}"))
        .arg("--")
        .arg(issued.map_or("-".as_ref(), |issued| issued.file.as_path()))
        .args([&skip.to_string(), load.path])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(totals) = outputs::wrk(&text) else {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("wrk told no totals:\n{text}{complaint}").into());
    };
    let may_refuse = matches!(load.tokens, Tokens::HalfForged(_));
    if totals.broken > 0 || totals.answered == 0 || (totals.refused > 0 && !may_refuse) {
        let (refused, broken, all) = (totals.refused, totals.broken, totals.answered);
        return Err(format!("{refused} refused and {broken} broken of {all} requests").into());
    }
    let sent = totals.answered as usize;
    if matches!(load.tokens, Tokens::New(_)) && issued.is_some_and(|i| sent + skip > i.tokens.len())
    {
        return Err("there were fewer new tokens than requests; shorten --seconds".into());
    }
    Ok(Done {
        requests: totals.answered - totals.refused,
        refused: totals.refused,
        elapsed: totals.elapsed,
        latencies: totals.latencies,
    })
}

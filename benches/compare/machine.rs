//! What the measurement needs of the machine: cores, and the CPU time and memory of a process.
//!
//! Reads /proc.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Result;
use super::core::outputs;

/// Processor, cores and kernel, for the report.
pub(super) fn describe() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<_> = info.lines().filter(|line| line.starts_with("model name")).collect();
    let model = models.first().and_then(|line| line.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {} cores, Linux {}", models.len(), kernel.trim())
}

/// Moves this thread, and whatever it starts, to a core.
pub(super) fn pin_self(core: usize) -> Result<()> {
    let id = std::process::id().to_string();
    let output = Command::new("taskset").args(["-p", "-c", &core.to_string(), &id]).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("core {core} can't be had: {}", said.trim()).into());
    }
    Ok(())
}

/// A command that runs on one core.
pub(super) fn pinned(core: usize, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).arg(program);
    command
}

/// The process and its children.
pub(super) fn family(parent: u32) -> Result<Vec<u32>> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    let mut family = vec![parent];
    for child in children.split_whitespace() {
        family.push(child.parse()?);
    }
    Ok(family)
}

/// User and system time that a process has taken with all of its threads.
pub(super) fn cpu_time(process: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    outputs::cpu_time(&stat).ok_or_else(|| "/proc/PID/stat has another form".into())
}

/// Bytes of memory that a process has to itself, and its share of what it has with others.
pub(super) fn memory(process: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    outputs::memory(&rollup).ok_or_else(|| "/proc/PID/smaps_rollup has another form".into())
}

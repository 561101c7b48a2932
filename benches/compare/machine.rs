//! What the measurement needs of the machine: programs, cores, and the CPU time of a process.
//!
//! Reads /proc; a program that is missing is named with the Debian package that has it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Result;

/// The programs that are started.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) nginx: PathBuf,
    pub(super) portcullis: PathBuf,
    pub(super) wrk: PathBuf,
}

impl Programs {
    /// Finds them all.
    pub(super) fn find(portcullis: &Path) -> Result<Self> {
        if !portcullis.is_file() {
            return Err(format!("no binary at {}", portcullis.display()).into());
        }
        find("taskset", "util-linux")?;
        Ok(Self {
            nginx: find("nginx", "nginx-light")?,
            portcullis: portcullis.to_owned(),
            wrk: find("wrk", "wrk")?,
        })
    }

    /// The machine and the versions, for the report.
    pub(super) fn describe(&self) -> String {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let models: Vec<_> = info.lines().filter(|line| line.starts_with("model name")).collect();
        let model = models.first().and_then(|line| line.split_once(": "));
        let model = model.map_or("unknown processor", |(_, model)| model);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        // nginx tells its version on standard error.
        let nginx = Command::new(&self.nginx).arg("-v").output();
        let nginx = nginx.map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
        let nginx = nginx.unwrap_or_default();
        let nginx = nginx.trim().trim_start_matches("nginx version: ");
        let ours = env!("CARGO_PKG_VERSION");
        format!(
            "{model}, {} cores, Linux {}; portcullis/{ours}, {nginx}",
            models.len(),
            kernel.trim()
        )
    }
}

fn find(program: &str, package: &str) -> Result<PathBuf> {
    // Debian puts nginx where an ordinary user's PATH does not look.
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/bin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| format!("`{program}` is missing: apt-get install {package}").into())
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
    // The program's name is in brackets and may hold anything; fields are counted from 3 behind it.
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/PID/stat has another form")?;
    let fields: Vec<_> = fields.split_whitespace().collect();
    let field = |at: usize| fields.get(at - 3).and_then(|text| text.parse::<u64>().ok());
    let (Some(user), Some(system)) = (field(14), field(15)) else {
        return Err("/proc/PID/stat has another form".into());
    };
    Ok(Duration::from_millis((user + system) * MILLIS_PER_TICK))
}

/// USER_HZ is 100 on every architecture that Portcullis runs on.
const MILLIS_PER_TICK: u64 = 10;

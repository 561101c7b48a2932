//! Running programs under callgrind, and reading what it has counted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Result;

/// Valgrind, as it is installed.
#[derive(Debug)]
pub(super) struct Callgrind {
    version: String,
    compiler: String,
}

/// Instructions by function, each without those it calls.
#[derive(Debug, Default)]
pub(super) struct Profile {
    functions: BTreeMap<String, u64>,
    /// What was done within cryptography, all it calls included.
    left_out: u64,
    /// How many turns it is the sum of.
    turns: u64,
}

impl Callgrind {
    pub(super) fn find() -> Result<Self> {
        let told = |program: &str| {
            let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
            output.ok().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let version = told("valgrind").ok_or("`valgrind` is missing: apt-get install valgrind")?;
        let compiler = told("rustc").unwrap_or_else(|| "unknown rustc".to_owned());
        Ok(Self { version, compiler })
    }

    /// What the counts depend on beside the code.
    pub(super) fn describe(&self) -> String {
        let compiler = self.compiler.split(" (").next().unwrap_or_default();
        format!("{compiler}, {}", self.version)
    }

    /// Counts one piece of work, which this program does under callgrind.
    pub(super) fn count(&self, part: &str, turns: u32) -> Result<Profile> {
        let folder = tempfile::tempdir()?;
        let out = folder.path().join("out");
        let program = std::env::current_exe()?;
        let mut command = self.command(&program, &out, &["--toggle-collect=instructions::counted"]);
        let output = command.args(["--run", part]).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        let mut profile = Profile::read(&out)?;
        if profile.functions.is_empty() {
            return Err("callgrind found nothing to count".into());
        }
        profile.turns = turns.into();
        Ok(profile)
    }

    /// A program under callgrind, in an environment that is the same everywhere.
    pub(super) fn command(&self, program: &Path, out: &Path, options: &[&str]) -> Command {
        let mut file = std::ffi::OsString::from("--callgrind-out-file=");
        file.push(out);
        let mut command = Command::new("valgrind");
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .args(["--tool=callgrind", "--compress-strings=no", "--compress-pos=no"])
            .arg(file)
            .args(options)
            .arg(program)
            .stdin(Stdio::null());
        command
    }
}

impl Profile {
    /// Reads a file of callgrind's. Its lines are fields (`fn=`, `calls=`, ...) and costs, a line
    /// number and a count; the cost after `calls=` is that of the callee (`cfn=`) and all it calls.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let mut profile = Self { turns: 1, ..Self::default() };
        let (mut function, mut callee, mut of_callee) = (String::new(), String::new(), false);
        for line in fs::read_to_string(path)?.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                name.clone_into(&mut function);
            } else if let Some(name) = line.strip_prefix("cfn=") {
                name.clone_into(&mut callee);
            } else if line.starts_with("calls=") {
                of_callee = true;
            } else if line.starts_with(|first: char| first.is_ascii_digit()) {
                let cost = line.split(' ').nth(1).and_then(|cost| cost.parse::<u64>().ok());
                let cost = cost.unwrap_or(0);
                if !std::mem::take(&mut of_callee) {
                    *profile.functions.entry(function.clone()).or_default() += cost;
                } else if is_ours(&function) && is_cryptography(&callee) {
                    profile.left_out += cost;
                }
            }
        }
        Ok(profile)
    }

    /// The files of a program whose threads were counted apart, if they hold this function.
    pub(super) fn read_threads(folder: &Path, marker: &str) -> Result<Self> {
        let mut sum = Self { turns: 1, ..Self::default() };
        let files = fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
        let paths = files.iter().map(fs::DirEntry::path);
        for path in paths.filter(|path| path.file_name() != Some("gateway.toml".as_ref())) {
            let thread = Self::read(&path)?;
            if thread.functions.keys().any(|name| name.contains(marker)) {
                sum.left_out += thread.left_out;
                for (name, cost) in thread.functions {
                    *sum.functions.entry(name).or_default() += cost;
                }
            }
        }
        Ok(sum)
    }

    /// What one turn takes, known from a longer and a shorter run.
    pub(super) fn less(mut self, shorter: &Self, turns: u32) -> Self {
        for (name, cost) in &shorter.functions {
            if let Some(longer) = self.functions.get_mut(name) {
                *longer = longer.saturating_sub(*cost);
            }
        }
        let left_out = self.left_out.saturating_sub(shorter.left_out);
        Self { turns: turns.into(), left_out, ..self }
    }

    /// Instructions a turn, without the cryptography's.
    pub(super) fn instructions(&self) -> u64 {
        self.functions.values().sum::<u64>().saturating_sub(self.left_out) / self.turns.max(1)
    }

    /// The functions that take the most.
    pub(super) fn functions(&self) -> String {
        let mut rows: Vec<_> = self.functions.iter().collect();
        rows.sort_by_key(|(_, cost)| std::cmp::Reverse(**cost));
        let rows = rows
            .into_iter()
            .take(40)
            .map(|(name, cost)| format!("  {:>8}  {name}", cost / self.turns.max(1)));
        let left_out =
            format!("  {:>8}  left out: cryptography", self.left_out / self.turns.max(1));
        std::iter::once(left_out).chain(rows).collect::<Vec<_>>().join("\n")
    }
}

/// Functions of aws-lc's Rust side, and those of its C side that Rust calls, which bear its version:
/// `aws_lc_0_47_0_SHA256_Update`. What they call, they may call what they like.
fn is_cryptography(function: &str) -> bool {
    function.starts_with("aws_lc_") || function.starts_with("<aws_lc_rs::")
}

/// Rust, and not of the cryptography itself.
fn is_ours(function: &str) -> bool {
    function.contains("::") && !is_cryptography(function)
}

//! How many instructions each part of a request's way takes, and whether that has grown.
//!
//! Isolates our own code from everything that makes time vary: the parts of `benches/cases` and
//! whole exchanges of the real program run under valgrind's callgrind, which counts instructions and
//! shows every program the same processor, so that two machines with the same compiler come to the
//! same figures, give or take a percent. What aws-lc does is left out: it picks its code by the
//! processor, and valgrind has none of the instructions that make hashes cheap.
//!
//! `limits.toml` holds what each part took when somebody last looked. A part that takes over 3 %
//! more fails, and so does one without a limit. `--update --because "..."` writes new limits for the
//! parts that have left the tolerance, in either direction.
//!
//! `cargo bench --profile counts --bench instructions -- --help`. Needs Debian's valgrind.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a piece of work that does not work is not counted"
)]

mod callgrind;
#[path = "../cases/mod.rs"]
mod cases;
mod exchange;
mod limits;

use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

use callgrind::Callgrind;
use cases::Work;
use limits::Limits;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// As in the program that is counted.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Counts the instructions of the parts of a request's way.
#[derive(Debug, Parser)]
#[command(name = "instructions")]
struct Arguments {
    /// Only the parts whose names hold this
    #[arg(long, default_value = "")]
    only: String,
    /// Writes new limits for the parts that have left the tolerance
    #[arg(long, requires = "because")]
    update: bool,
    /// Why they have; stands beside the new limits
    #[arg(long)]
    because: Option<String>,
    /// The functions of each part that take the most
    #[arg(long)]
    functions: bool,
    /// The binary whose exchanges are counted
    #[arg(long, default_value = env!("CARGO_BIN_EXE_portcullis"))]
    portcullis: PathBuf,
    /// Does this piece of work, to be counted from outside
    #[arg(long, hide = true, value_name = "PART")]
    run: Option<String>,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.run {
        Some(part) => work(part).map(|()| true),
        None => run(&arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("instructions: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether every part is within its limit.
fn run(arguments: &Arguments) -> Result<bool> {
    if cfg!(not(target_arch = "x86_64")) {
        say("instructions: the limits are those of x86_64; nothing was counted");
        return Ok(true);
    }
    let callgrind = Callgrind::find()?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/limits.toml");
    let mut limits = Limits::read(&path)?;
    say(&limits.headings(&callgrind.describe()));
    let wanted = |name: &str| name.contains(&arguments.only);
    let mut counts = Vec::new();
    let mut count = |name: &'static str, counted: Result<callgrind::Profile>| -> Result<()> {
        let profile = counted.map_err(|error| format!("{name}: {error}"))?;
        say(&limits.row(name, profile.instructions()));
        if arguments.functions {
            say(&profile.functions());
        }
        counts.push((name, profile.instructions()));
        Ok(())
    };
    for (name, _) in cases::ALL.iter().filter(|(name, _)| wanted(name)) {
        count(name, callgrind.count(name, TIMES))?;
    }
    for (name, target) in exchange::ALL.iter().filter(|(name, _)| wanted(name)) {
        count(name, exchange::count(&callgrind, &arguments.portcullis, target))?;
    }
    let known: Vec<_> = cases::ALL.iter().map(|(name, _)| *name).collect();
    let known: Vec<_> = known.into_iter().chain(exchange::ALL.iter().map(|(n, _)| *n)).collect();
    let Some(because) = arguments.because.as_deref().filter(|_| arguments.update) else {
        let faults = limits.faults(&counts, &known);
        say(&faults.join("\n"));
        return Ok(faults.is_empty());
    };
    limits.update(&counts, &known, because);
    limits.write(&path, &callgrind.describe())?;
    say(&format!("wrote {}", path.display()));
    Ok(true)
}

/// Does a piece of work: some times so that everything that is kept is there, then counted.
fn work(part: &str) -> Result<()> {
    let made = cases::ALL.iter().find(|(name, _)| *name == part);
    let (_, make) = made.ok_or_else(|| format!("no part is called {part}"))?;
    let mut work = make();
    for _ in 0..TIMES {
        work();
    }
    counted(&mut work);
    Ok(())
}

/// What callgrind looks at: see [`callgrind`].
#[inline(never)]
fn counted(work: &mut Work) {
    for _ in 0..TIMES {
        work();
    }
}

/// How often a piece of work is done to be counted. What happens once in a while (a page of the
/// allocator, a buffer handed to the log's thread) is spread over them.
const TIMES: u32 = 200;

/// A line for whoever watches; a reader that went away is no reason to fail.
fn say(line: &str) {
    if !line.is_empty() {
        let _gone = writeln!(std::io::stdout(), "{line}").is_err();
    }
}

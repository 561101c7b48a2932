//! What was measured, as tables to watch and as a section of `benches/RESULTS.md`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Result;
use super::case::{Case, Work};
use super::cases::CASES;
use super::core::figure::{Figure, Pace, Pair, Run, Target};
use super::core::page::{Line, Page};
use super::core::picture;
use super::core::spread::Spread;
use super::machine;
use super::runner::Extent;
use super::world::World;

/// All pairs of a case.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) full: Vec<Pair>,
    pub(super) steady: Vec<Pair>,
    /// Requests a second of the steady ones.
    pub(super) rate: f64,
    /// What the signature alone takes.
    pub(super) signature: Option<Duration>,
}

/// A proxy that has time to wait handles fewer events each time it wakes, so a request costs more
/// than under full load; below this share of its core, a ratio at full load says little.
const BUSY: f64 = 0.7;

pub(super) fn full_heading(peer: &str) -> String {
    format!(
        "| pair | {peer} us/request | portcullis us/request | ratio | {peer} requests/s (core in use, MiB) | portcullis requests/s (core in use, MiB) |\n\
         |---|---|---|---|---|---|"
    )
}

pub(super) fn full_row(nth: u32, pair: &Pair) -> String {
    let shown = |run: &Run| {
        let memory = Figure::Memory.of(run);
        format!("{:.0} ({:.0} %, {memory:.0})", run.rate(), run.busy() * 100.0)
    };
    let (theirs, ours) = (pair.theirs.cost(), pair.ours.cost());
    format!(
        "| {nth} | {theirs:.2} | {ours:.2} | {:.3} | {} | {} |",
        ours / theirs,
        shown(&pair.theirs),
        shown(&pair.ours)
    )
}

pub(super) fn steady_heading(peer: &str, rate: f64) -> String {
    format!(
        "Both at {rate:.0} requests/s:\n\n\
         | pair | {peer} us/request | portcullis us/request | ratio | {peer} p50, p99 ms | portcullis p50, p99 ms |\n\
         |---|---|---|---|---|---|"
    )
}

pub(super) fn steady_row(nth: u32, pair: &Pair) -> String {
    let shown = |run: &Run| {
        let (half, most) = run.latencies.unwrap_or_default();
        format!("{:.2}, {:.2}", half.as_secs_f64() * 1e3, most.as_secs_f64() * 1e3)
    };
    let (theirs, ours) = (pair.theirs.cost(), pair.ours.cost());
    format!(
        "| {nth} | {theirs:.2} | {ours:.2} | {:.3} | {} | {} |",
        ours / theirs,
        shown(&pair.theirs),
        shown(&pair.ours)
    )
}

/// The lines of the table: what has a target, and the CPU time and throughput of every case.
pub(super) fn lines(case: &Case, measured: &Measured) -> Vec<Line> {
    let figures = [
        (Figure::Cost, Pace::Steady),
        (Figure::Cost, Pace::Full),
        (Figure::Rate, Pace::Full),
        (Figure::P99, Pace::Steady),
        (Figure::Memory, Pace::Full),
    ];
    let mut lines = Vec::new();
    for (figure, pace) in figures {
        let pairs = match pace {
            Pace::Full => &measured.full,
            Pace::Steady => &measured.steady,
        };
        let target = case.target(figure, pace);
        let is_told = match figure {
            Figure::Cost | Figure::Rate => case.work != Work::Reload,
            Figure::Memory => case.peer != "itself" && case.work == Work::FullAndSteady,
            Figure::P99 => true,
        };
        if !pairs.is_empty() && is_told {
            lines.push(Line::of(&case.key(), (figure, pace), pairs, target));
        }
    }
    lines.extend(measured.signature.map(|signature| overhead(case, measured, signature)));
    lines
}

/// What a token that is looked at takes beyond one that is not, and beyond its signature.
fn overhead(case: &Case, measured: &Measured, signature: Duration) -> Line {
    const TARGET: Target = Target::AtMost(3.0);
    let signature = signature.as_secs_f64() * 1e6;
    let own = measured.steady.iter().map(|pair| pair.ours.cost() - pair.theirs.cost() - signature);
    let own = Spread::of(own);
    Line {
        key: case.key(),
        figure: format!("us beyond the signature's {signature:.1}, same rate (no ratio)"),
        ratio: own,
        ours: Figure::Cost.shown(own.median),
        theirs: String::new(),
        target: Some(TARGET.to_string()),
        is_met: TARGET.is_met(own.median),
    }
}

/// What else there is to know, and every pair.
pub(super) fn section(
    world: &World,
    case: &Case,
    extent: Extent,
    measured: &Measured,
) -> Result<String> {
    let versions = [&case.theirs, &case.ours]
        .map(|side| world.programs().version(side.setup.program))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let mut text = format!(
        "{}: `{}` beside `{}`; {} connections, runs of {} s.\n{}; {}.{}\n",
        case.about,
        case.ours.setup.config,
        case.theirs.setup.config,
        case.ours.load.connections,
        extent.seconds,
        machine::describe(),
        versions.join(", "),
        doubt(case, measured)
    );
    let table = |heading: String, rows: Vec<String>| format!("\n{heading}\n{}\n", rows.join("\n"));
    if !measured.full.is_empty() {
        let rows = (1..).zip(&measured.full).map(|(nth, pair)| full_row(nth, pair)).collect();
        text += &table(format!("As fast as each can go:\n\n{}", full_heading(case.peer)), rows);
    }
    if !measured.steady.is_empty() {
        let rows = (1..).zip(&measured.steady).map(|(nth, pair)| steady_row(nth, pair)).collect();
        text += &table(steady_heading(case.peer, measured.rate), rows);
    }
    Ok(text)
}

fn doubt(case: &Case, measured: &Measured) -> &'static str {
    let mut runs = measured.full.iter().flat_map(|pair| [&pair.theirs, &pair.ours]);
    if case.work == Work::Django || runs.all(|run| run.busy() >= BUSY) {
        ""
    } else {
        "\nThe programs had time to wait at full load: it was the load that could not go faster."
    }
}

/// Puts a case into `benches/RESULTS.md`, and draws the picture anew.
pub(super) fn write(case: &Case, lines: Vec<Line>, section: &str) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("benches/RESULTS.md");
    let mut page = Page::read(&fs::read_to_string(&path).unwrap_or_default());
    page.put(&case.key(), lines, section);
    let order: Vec<_> = CASES.iter().map(Case::key).collect();
    page.sort(&order);
    fs::write(&path, page.to_string())?;
    let about = |scenario: &str| {
        let case = CASES.iter().find(|case| case.scenario == scenario);
        case.map_or_else(String::new, |case| case.about.to_owned())
    };
    if let Some(picture) = picture::draw(page.lines(), about) {
        fs::write(root.join("benches/results.svg"), picture)?;
    }
    Ok(path)
}

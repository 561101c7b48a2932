//! `benches/RESULTS.md`: one table with a line a figure, then a section a comparison. A comparison
//! that is made anew replaces its own lines and its own section, and leaves the others.

use std::fmt;

use super::figure::{Figure, Pace, Pair, Run, Target};
use super::spread::Spread;

const INTRODUCTION: &str = "# Side by side

Made by `cargo bench --bench compare -- --scenario all --write`; what is measured stands at the top
of `benches/compare/main.rs`, the configurations in `benches/compare/peers/`. Ratios from runs in
turn on one machine: microseconds of another machine are no comparison. A section that was made on
another day or machine says so itself.
";

const HEADING: &str =
    "| scenario | peer | figure | portcullis / peer | portcullis | peer | target | |
|---|---|---|---|---|---|---|---|";

/// Which comparison: `S2 ES256` against `haproxy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) scenario: String,
    pub(crate) peer: String,
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) key: Key,
    pub(crate) figure: String,
    pub(crate) ratio: Spread,
    pub(crate) ours: String,
    pub(crate) theirs: String,
    pub(crate) target: Option<String>,
    pub(crate) is_met: bool,
}

/// The whole page, taken apart.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Page {
    lines: Vec<Line>,
    /// Each with its heading.
    sections: Vec<(Key, String)>,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} beside {}", self.scenario, self.peer)
    }
}

impl Key {
    fn read(text: &str) -> Option<Self> {
        let (scenario, peer) = text.split_once(" beside ")?;
        Some(Self { scenario: scenario.to_owned(), peer: peer.to_owned() })
    }
}

impl Line {
    /// One figure of some pairs.
    pub(crate) fn of(
        key: &Key,
        (figure, pace): (Figure, Pace),
        pairs: &[Pair],
        target: Option<Target>,
    ) -> Self {
        let median = |run: fn(&Pair) -> &Run| {
            figure.shown(Spread::of(pairs.iter().map(|pair| figure.of(run(pair)))).median)
        };
        let ratio = figure.ratio(pairs);
        Self {
            key: key.clone(),
            figure: figure.name(pace).to_owned(),
            ratio,
            ours: median(|pair| &pair.ours),
            theirs: median(|pair| &pair.theirs),
            target: target.map(|target| target.to_string()),
            is_met: target.is_some_and(|target| target.is_met(ratio.median)),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let cells: Vec<_> = text.strip_prefix('|')?.split('|').map(str::trim).collect();
        let [scenario, peer, figure, ratio, ours, theirs, target, verdict, ..] = *cells else {
            return None;
        };
        let mut numbers = ratio.split(['(', ')']).flat_map(|part| part.split(" to "));
        let mut next = || numbers.next()?.trim().parse::<f64>().ok();
        let (median, least, most) = (next()?, next()?, next()?);
        Some(Self {
            key: Key { scenario: scenario.to_owned(), peer: peer.to_owned() },
            figure: figure.to_owned(),
            ratio: Spread { least, median, most },
            ours: ours.to_owned(),
            theirs: theirs.to_owned(),
            target: (!target.is_empty()).then(|| target.to_owned()),
            is_met: verdict == "met",
        })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, figure, ratio, ours, theirs, target, is_met } = self;
        let (scenario, peer) = (&key.scenario, &key.peer);
        let verdict = match (target, is_met) {
            (None, _) => "",
            (Some(_), true) => "met",
            (Some(_), false) => "**missed**",
        };
        let target = target.as_deref().unwrap_or_default();
        write!(
            f,
            "| {scenario} | {peer} | {figure} | {ratio} | {ours} | {theirs} | {target} | {verdict} |"
        )
    }
}

impl Page {
    /// Takes an earlier page apart; text of another form is dropped.
    pub(crate) fn read(text: &str) -> Self {
        let mut page = Self::default();
        for part in text.split("\n## ").skip(1) {
            let (heading, rest) = part.split_once('\n').unwrap_or((part, ""));
            if let Some(key) = Key::read(heading) {
                page.sections.push((key, format!("## {heading}\n{}", rest.trim_end())));
            } else {
                page.lines.extend(rest.lines().filter_map(Line::read));
            }
        }
        page
    }

    /// Puts a comparison in, in place of an earlier one of the same name.
    pub(crate) fn put(&mut self, key: &Key, lines: Vec<Line>, section: &str) {
        self.lines.retain(|line| line.key != *key);
        self.sections.retain(|(other, _)| other != key);
        self.lines.extend(lines);
        self.sections.push((key.clone(), format!("## {key}\n\n{}", section.trim_end())));
    }

    /// In this order, what it does not name last.
    pub(crate) fn sort(&mut self, order: &[Key]) {
        let place = |key: &Key| order.iter().position(|other| other == key).unwrap_or(usize::MAX);
        self.lines.sort_by_key(|line| place(&line.key));
        self.sections.sort_by_key(|(key, _)| place(key));
    }

    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{INTRODUCTION}\n## Ratios\n\n{HEADING}\n")?;
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        for (_, section) in &self.sections {
            write!(f, "\n{section}\n")?;
        }
        Ok(())
    }
}

//! What each part may take, and why: `limits.toml`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::Result;

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    counted_with: String,
    parts: BTreeMap<String, Limit>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    instructions: u64,
    because: String,
}

impl Limits {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)?;
        toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    pub(super) fn headings(&self, counting_with: &str) -> String {
        let mut text = format!("counted with {counting_with}\n");
        if self.counted_with != counting_with {
            // A newer compiler moves most counts by some percent: no fault of the change.
            let _written =
                writeln!(text, "the limits are from {}: see --update", self.counted_with);
        }
        let _written = write!(text, "\n{:<20} {:>9} {:>9}", "part", "counted", "limit").is_ok();
        text
    }

    pub(super) fn row(&self, name: &str, counted: u64) -> String {
        let Some(limit) = self.parts.get(name) else {
            return format!("{name:<20} {counted:>9} {:>9}", "none");
        };
        let limit = limit.instructions;
        #[expect(clippy::cast_precision_loss, reason = "a percentage to look at")]
        let change = (counted as f64 / limit.max(1) as f64 - 1.0) * 100.0;
        format!("{name:<20} {counted:>9} {limit:>9} {change:>+7.1} %")
    }

    /// What is wrong; `known` are all parts, counted or not.
    pub(super) fn faults(&self, counts: &[(&str, u64)], known: &[&str]) -> Vec<String> {
        let counted = counts.iter().filter_map(|(name, counted)| match self.parts.get(*name) {
            None => Some(format!("{name}: no limit; see --update")),
            Some(limit) if exceeds(*counted, limit.instructions) => Some(format!(
                "{name}: over {PERCENT} % more than its limit. If it is worth that, say why: \
                 --update --because \"...\""
            )),
            Some(_) => None,
        });
        let gone = self.parts.keys().filter(|name| !known.contains(&name.as_str()));
        counted.chain(gone.map(|name| format!("{name}: a limit without a part"))).collect()
    }

    /// Takes over the counts that have left the tolerance, and forgets parts that are gone.
    pub(super) fn update(&mut self, counts: &[(&str, u64)], known: &[&str], because: &str) {
        for (name, instructions) in counts {
            let kept = self.parts.get(*name).is_some_and(|limit| {
                let (limit, counted) = (limit.instructions, *instructions);
                !exceeds(counted, limit) && !exceeds(limit, counted)
            });
            if !kept {
                let limit = Limit { instructions: *instructions, because: because.to_owned() };
                self.parts.insert((*name).to_owned(), limit);
            }
        }
        self.parts.retain(|name, _| known.contains(&name.as_str()));
    }

    pub(super) fn write(&self, path: &Path, counted_with: &str) -> Result<()> {
        let mut text = format!("{HEAD}counted_with = {}\n\n[parts]\n", quoted(counted_with)?);
        for (name, Limit { instructions, because }) in &self.parts {
            let (name, because) = (quoted(name)?, quoted(because)?);
            writeln!(text, "{name} = {{ instructions = {instructions}, because = {because} }}")?;
        }
        fs::write(path, text)?;
        Ok(())
    }
}

/// A basic string of TOML is one of JSON, but for escapes of what nobody writes here.
fn quoted(text: &str) -> Result<String> {
    Ok(serde_json::to_string(text)?)
}

/// More than tolerable.
fn exceeds(counted: u64, limit: u64) -> bool {
    counted * 100 > limit * (100 + PERCENT)
}

const PERCENT: u64 = 3;

const HEAD: &str = "\
# What each part of a request's way takes, in instructions (benches/instructions/main.rs says of what
# kind). Written by `cargo bench --profile counts --bench instructions -- --update --because \"...\"`.
";

//! The picture for the README: a bar a comparison, its length the CPU time a request of Portcullis
//! as a share of the peer's. Drawn from the table of results, so that it can say nothing else.

use std::fmt::Write as _;

use super::page::Line;

const ROW: usize = 26;
const TOP: usize = 56;
/// Where bars begin.
const LEFT: usize = 400;
/// What stands for a ratio of 1.
const UNIT: usize = 260;
/// Longer bars are cut.
const MOST: f64 = 1.6;
const WIDTH: usize = 880;

/// An SVG, or nothing if no line tells CPU time; `about` says in a few words what a scenario is.
pub(crate) fn draw(lines: &[Line], about: impl Fn(&str) -> String) -> Option<String> {
    let shown: Vec<_> = chosen(lines);
    if shown.is_empty() {
        return None;
    }
    let height = TOP + ROW * shown.len() + 30;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"24\" font-size=\"15\" font-weight=\"600\" fill=\"#1b1f24\">CPU time a request: Portcullis / peer (shorter is better)</text>\n"
    );
    for (row, line) in shown.iter().enumerate() {
        bar(&mut svg, TOP + row * ROW, line, &about(&line.key.scenario));
    }
    let (one, bottom) = (LEFT + UNIT, height - 26);
    let _infallible = write!(
        svg,
        "<line x1=\"{one}\" x2=\"{one}\" y1=\"{}\" y2=\"{bottom}\" stroke=\"#1b1f24\" stroke-dasharray=\"4 3\"/>\n\
         <text x=\"{one}\" y=\"{}\" text-anchor=\"middle\" fill=\"#1b1f24\">as much as the peer</text>\n</svg>\n",
        TOP - 8,
        height - 8
    );
    Some(svg)
}

/// A line a comparison: at the same rate where it was taken so, else at full load.
fn chosen(lines: &[Line]) -> Vec<&Line> {
    let is_cost = |line: &&Line| line.figure.starts_with("CPU a request");
    let is_steady = |line: &Line| line.figure.ends_with("same rate");
    let has_steady = |line: &Line| {
        lines.iter().filter(is_cost).any(|other| other.key == line.key && is_steady(other))
    };
    lines
        .iter()
        .filter(is_cost)
        .filter(|line| line.key.peer != "itself")
        .filter(|line| is_steady(line) || !has_steady(line))
        .collect()
}

fn bar(svg: &mut String, top: usize, line: &Line, about: &str) {
    let ratio = line.ratio.median;
    let length = (ratio.min(MOST) * UNIT as f64) as usize;
    let colour = if ratio <= 1.0 { "#2a7f62" } else { "#c8781e" };
    let scenario = line.key.scenario.split(' ').next().unwrap_or_default();
    let label = format!("{scenario} {about}: {}", line.key.peer);
    let _infallible = write!(
        svg,
        "<text x=\"12\" y=\"{0}\" fill=\"#1b1f24\">{label}</text>\n\
         <rect x=\"{LEFT}\" y=\"{top}\" width=\"{length}\" height=\"18\" rx=\"2\" fill=\"{colour}\"/>\n\
         <text x=\"{1}\" y=\"{0}\" fill=\"#1b1f24\">{ratio:.2}</text>\n",
        top + 14,
        LEFT + length + 8
    );
}

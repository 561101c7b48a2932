//! Runs as figures, pairs as ratios, ratios against targets.

use std::time::Duration;

use super::core::figure::{Figure, Pace, Pair, Run, Target, even_rate};

fn run(requests: u64, cpu_ms: u64) -> Run {
    Run {
        requests,
        elapsed: Duration::from_secs(2),
        cpu: Duration::from_millis(cpu_ms),
        latencies: Some((Duration::from_millis(1), Duration::from_millis(3))),
        memory: 3 << 20,
        ..Run::default()
    }
}

fn close(left: f64, right: f64) {
    assert!((left - right).abs() < 1e-9, "{left} is not {right}");
}

#[test]
fn a_run_in_figures() {
    let run = run(100_000, 1500);
    close(Figure::Cost.of(&run), 15.0);
    close(Figure::Rate.of(&run), 50_000.0);
    close(Figure::P99.of(&run), 3.0);
    close(Figure::Memory.of(&run), 3.0);
    close(run.busy(), 0.75);
    assert!(Figure::P99.of(&Run { latencies: None, ..run }).is_nan());
}

#[test]
fn a_refusal_costs_but_serves_nobody() {
    let run = Run { refused: 100_000, ..run(100_000, 1500) };
    close(run.cost(), 7.5);
    close(run.rate(), 50_000.0);
}

#[test]
fn a_ratio_is_taken_pair_by_pair() {
    let pairs = [
        Pair { theirs: run(100, 1), ours: run(100, 2) },
        Pair { theirs: run(100, 2), ours: run(100, 2) },
        Pair { theirs: run(100, 4), ours: run(100, 6) },
    ];
    assert_eq!(Figure::Cost.ratio(&pairs).to_string(), "1.500 (1.000 to 2.000)");
}

#[test]
fn the_rate_leaves_the_slower_one_breath() {
    let even = |theirs, ours| even_rate(&[Pair { theirs: run(theirs, 1), ours: run(ours, 1) }]);
    close(even(80_000, 80_000), 20_000.0);
    close(even(80_000, 40_000), 14_000.0);
    close(even(300_000, 300_000), 40_000.0);
}

#[test]
fn a_target_is_met_on_its_edge() {
    assert!(Target::AtMost(1.0).is_met(1.0) && !Target::AtMost(1.0).is_met(1.001));
    assert!(Target::AtLeast(2.2).is_met(2.2) && !Target::AtLeast(2.2).is_met(2.19));
    assert!(!Target::AtMost(1.0).is_met(f64::NAN));
    assert_eq!(Target::AtMost(0.85).to_string(), "<= 0.85");
    assert_eq!(Target::AtLeast(2.2).to_string(), ">= 2.2");
}

#[test]
fn every_figure_has_a_name_and_a_unit() {
    assert_eq!(Figure::Cost.shown(18.123), "18.1 us");
    assert_eq!(Figure::Rate.shown(54321.4), "54321 /s");
    assert_eq!(Figure::P99.shown(0.123), "0.12 ms");
    assert_eq!(Figure::Memory.shown(20.0), "20.0 MiB");
    let mut names = Vec::new();
    for figure in [Figure::Cost, Figure::Rate, Figure::P99] {
        names.extend([Pace::Full, Pace::Steady].map(|pace| figure.name(pace)));
    }
    names.push(Figure::Memory.name(Pace::Full));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

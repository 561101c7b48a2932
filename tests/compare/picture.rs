//! The picture for the README.

use super::core::page::{Key, Line};
use super::core::picture::draw;
use super::core::spread::Spread;

fn line(scenario: &str, figure: &str, ratio: f64) -> Line {
    Line {
        key: Key { scenario: scenario.to_owned(), peer: "nginx".to_owned() },
        figure: figure.to_owned(),
        ratio: Spread::of([ratio]),
        ours: String::new(),
        theirs: String::new(),
        target: None,
        is_met: false,
    }
}

#[test]
fn a_bar_a_comparison_at_the_same_rate_if_it_was_taken() {
    let lines = [
        line("S1", "CPU a request, same rate", 1.25),
        line("S1", "CPU a request, full load", 1.5),
        line("S1", "throughput", 0.8),
        line("S5", "CPU a request, full load", 0.5),
    ];
    let svg = draw(&lines, str::to_lowercase).unwrap();
    assert_eq!(svg.matches("rx=\"2\"").count(), 2, "{svg}");
    assert!(svg.contains("S1 s1: nginx") && svg.contains(">1.25<"), "{svg}");
    assert!(svg.contains("width=\"130\"") && svg.contains(">0.50<"), "{svg}");
}

#[test]
fn a_long_bar_is_cut_and_its_number_is_not() {
    let svg = draw(&[line("S1", "CPU a request, full load", 9.0)], str::to_owned).unwrap();
    assert!(svg.contains("width=\"416\"") && svg.contains(">9.00<"), "{svg}");
}

#[test]
fn nothing_gives_no_picture() {
    assert_eq!(draw(&[line("S1", "throughput", 0.8)], str::to_owned), None);
}

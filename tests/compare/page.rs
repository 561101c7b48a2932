//! The page of results.

use std::time::Duration;

use super::core::figure::{Figure, Pace, Pair, Run, Target};
use super::core::page::{Key, Line, Page};
use super::core::spread::Spread;

fn key(scenario: &str, peer: &str) -> Key {
    Key { scenario: scenario.to_owned(), peer: peer.to_owned() }
}

fn line(key: &Key, ratio: f64, target: Option<&str>) -> Line {
    Line {
        key: key.clone(),
        figure: "CPU a request, same rate".to_owned(),
        ratio: Spread::of([ratio]),
        ours: "18.0 us".to_owned(),
        theirs: "15.0 us".to_owned(),
        target: target.map(str::to_owned),
        is_met: false,
    }
}

#[test]
fn a_page_is_read_as_it_was_written() {
    let (first, second) = (key("S1", "nginx"), key("S2 ES256", "haproxy"));
    let mut page = Page::default();
    page.put(&first, vec![line(&first, 1.2, Some("<= 1"))], "| pair |\n|---|\n| 1 |");
    page.put(&second, vec![line(&second, 0.8, None)], "text");
    let text = page.to_string();
    assert!(text.contains("| <= 1 | **missed** |"), "{text}");
    assert_eq!(Page::read(&text), page);
}

#[test]
fn what_is_measured_anew_replaces_itself_alone() {
    let (first, second) = (key("S1", "nginx"), key("S3", "nginx"));
    let mut page = Page::default();
    page.put(&second, vec![line(&second, 0.9, None)], "old third");
    page.put(&first, vec![line(&first, 1.2, None)], "old first");
    page.put(&first, vec![line(&first, 1.0, None)], "new first");
    page.sort(&[first.clone(), second]);
    let text = page.to_string();
    assert!(!text.contains("old first") && text.contains("old third"), "{text}");
    assert!(text.find("S1 beside nginx") < text.find("S3 beside nginx"), "{text}");
    assert_eq!(page.lines().len(), 2);
    assert_eq!(page.lines().first().map(|line| &line.key), Some(&first));
}

#[test]
fn a_line_tells_medians_and_whether_its_target_is_met() {
    let run = |requests, cpu| Run { requests, cpu: Duration::from_millis(cpu), ..Run::default() };
    let pairs = [Pair { theirs: run(1000, 20), ours: run(1000, 18) }];
    let of = |target| {
        let figure = (Figure::Cost, Pace::Steady);
        Line::of(&key("S1", "nginx"), figure, &pairs, Some(target)).to_string()
    };
    assert_eq!(
        of(Target::AtMost(1.0)),
        "| S1 | nginx | CPU a request, same rate | 0.900 (0.900 to 0.900) | 18.0 us | 20.0 us | <= 1 | met |"
    );
    assert!(of(Target::AtMost(0.85)).ends_with("| <= 0.85 | **missed** |"));
}

#[test]
fn a_page_of_another_form_is_dropped() {
    assert_eq!(Page::read("# Something\n\n## Else\n\ntext | text\n"), Page::default());
}

//! The tables of attacks name tests, and those tests exist.

use std::fs;
use std::path::Path;

/// One row: its id, its columns.
struct Row {
    id: String,
    promise: String,
    held_by: String,
}

#[test]
fn every_attack_on_tokens_has_its_row() {
    is_complete("docs/security.md", 'J', 32);
}

#[test]
fn every_case_of_a_hostile_issuer_has_its_row() {
    is_complete("docs/security.md", 'K', 16);
}

#[test]
fn every_attack_on_http_has_its_row() {
    is_complete("docs/http.md", 'H', 29);
}

/// What Portcullis does is shown by a test; what it does not do is said so.
#[test]
fn every_feature_names_its_test() {
    let text = read("docs/http.md");
    let table = text.split_once("\n## Features\n").expect("the table of features").1;
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| feature "))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    assert!(rows.len() >= 60, "only {} rows", rows.len());
    for row in rows {
        let ["", feature, does, shown_by, beside, ""] = row[..] else { panic!("{row:?}") };
        let is_absent = does.starts_with("No:") || does == "No." || does.starts_with("Not ");
        assert!(is_absent || !names(shown_by).is_empty(), "{feature}: no test shows it");
        assert!(
            beside.is_empty() || !names(beside).is_empty(),
            "{feature}: who was run, and where?"
        );
    }
}

#[test]
fn every_test_that_is_named_exists() {
    let mut faults = Vec::new();
    for document in ["docs/security.md", "docs/http.md"] {
        for name in names(&read(document)) {
            let (path, function) = name.split_once("::").unwrap();
            if !has_test(path, function) {
                faults.push(format!("{document}: {name}"));
            }
        }
    }
    assert!(faults.is_empty(), "no such tests:\n{}", faults.join("\n"));
}

#[test]
fn every_test_of_a_row_is_named_in_it() {
    let text = read("docs/http.md");
    let named = names(&text);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http_attacks");
    let mut faults = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let path = format!("tests/http_attacks/{file}");
        for function in tests_of(&read(&path)) {
            let name = format!("{path}::{function}");
            if !named.contains(&name) {
                faults.push(name);
            }
        }
    }
    assert!(faults.is_empty(), "not in docs/http.md:\n{}", faults.join("\n"));
}

#[test]
fn the_checks_can_fail() {
    assert!(!has_test("tests/documents_security.rs", "no_such_test"));
    assert!(!has_test("tests/no_such_file.rs", "the_checks_can_fail"));
    assert!(!has_test("tests/documents_security.rs", "has_test"), "a function, but no test");
    assert!(has_test("tests/documents_security.rs", "the_checks_can_fail"));
    assert_eq!(names("a `b` `src/c.rs::d` e `tests/f.rs::g`"), ["src/c.rs::d", "tests/f.rs::g"]);
}

/// Panics unless the table has these rows in order, each with a test or with what is missing.
#[track_caller]
fn is_complete(document: &str, letter: char, count: usize) {
    let rows = rows(&read(document), letter);
    let ids: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
    let expected: Vec<_> = (1..=count).map(|number| format!("{letter}{number}")).collect();
    assert_eq!(ids, expected);
    for row in rows {
        if names(&row.held_by).is_empty() {
            assert_eq!(row.held_by, "later", "{}", row.id);
            let missing = row.promise.split("Later:").nth(1).unwrap_or_default();
            assert!(missing.len() > 10, "{}: says not what is missing", row.id);
        }
    }
}

fn rows(text: &str, letter: char) -> Vec<Row> {
    let begins = format!("| {letter}");
    let has_id = |line: &&str| {
        line.strip_prefix(&begins).is_some_and(|id| id.starts_with(|c: char| c.is_ascii_digit()))
    };
    let lines = text.lines().filter(has_id);
    lines
        .map(|line| {
            let columns: Vec<_> = line.split('|').map(str::trim).collect();
            assert_eq!(columns.len(), 6, "{line}");
            let [id, promise, held_by] = [columns[1], columns[3], columns[4]].map(str::to_owned);
            Row { id, promise, held_by }
        })
        .collect()
}

/// Every `path::name` in backticks.
fn names(text: &str) -> Vec<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|quoted| quoted.contains(".rs::")).map(str::to_owned).collect()
}

fn has_test(path: &str, function: &str) -> bool {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(file).is_ok_and(|text| tests_of(&text).contains(&function.to_owned()))
}

/// The names of the functions that are marked as tests.
fn tests_of(text: &str) -> Vec<String> {
    let mut tests = Vec::new();
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[") {
            marked |= line == "#[test]" || line.starts_with("#[tokio::test");
            continue;
        }
        let declared = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        if let Some(declared) = declared.filter(|_| marked) {
            tests.extend(declared.split('(').next().map(str::to_owned));
        }
        // A comment or a blank line may stand between the mark and the function.
        marked &= line.starts_with("//") || line.is_empty();
    }
    tests
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

//! The layout's rules, read from ARCHITECTURE.md and held against the source.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const FILE_CEILING: usize = 500;
const FUNCTION_CEILING: usize = 60;

/// One source file without its tests and comments.
struct Source {
    path: String,
    module: String,
    text: String,
    /// Lines without tests, comments included: what a reader scrolls through.
    lines: usize,
    opens_with_doc: bool,
}

#[test]
fn every_file_opens_with_its_purpose_and_stays_short() {
    let mut faults = Vec::new();
    for source in sources() {
        if !source.opens_with_doc {
            faults.push(format!("{}: does not open with `//!`", source.path));
        }
        if source.lines > FILE_CEILING {
            faults.push(format!("{}: {} lines, at most {FILE_CEILING}", source.path, source.lines));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_function_stays_short() {
    let mut faults = Vec::new();
    for source in sources() {
        for (name, length) in functions(&source.text) {
            if length > FUNCTION_CEILING {
                faults.push(format!("{}: fn {name}: {length} lines", source.path));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn imports_follow_the_table() {
    let table = import_table();
    let mut faults = Vec::new();
    for source in sources() {
        let Some(allowed) = table.get(source.module.as_str()) else {
            if !matches!(source.module.as_str(), "main" | "lib") {
                faults.push(format!("{}: module has no row in ARCHITECTURE.md", source.path));
            }
            continue;
        };
        for import in imports(&source.text) {
            let top = import.split("::").next().unwrap_or_default();
            if top == source.module || allowed.iter().any(|rule| permits(rule, &import)) {
                continue;
            }
            faults.push(format!("{}: may not import `{import}`", source.path));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn names_stand_only_where_they_belong() {
    // (word, where it may stand, why)
    let rules: &[(&str, &[&str], &str)] = &[
        ("prometheus::", &["telemetry/"], "metric families live in one place"),
        (
            "jsonwebtoken::",
            &["auth/verify.rs", "keys/jwk.rs", "keys/signing.rs"],
            "the crate checks less than it seems to",
        ),
        (
            "aws_lc_rs::signature",
            &["auth/verify.rs", "keys/jwk.rs", "keys/signing.rs"],
            "one place decides what a good signature is",
        ),
        ("toml::", &["config/"], "everybody else sees types"),
        ("SystemTime::now", &["clock.rs"], "time is handed in"),
        ("std::time::Instant::now", &["clock.rs"], "time is handed in"),
        ("Guarded::new", &["snapshot/compile.rs"], "a new door is a decision of loading"),
        (
            "upstream::pool",
            &["proxy/", "upstream/", "snapshot/", "worker.rs"],
            "a permit leads there",
        ),
        (
            "upstream::connect",
            &["proxy/", "upstream/", "snapshot/", "worker.rs"],
            "a permit leads there",
        ),
        (
            "upstream::balance",
            &["proxy/", "upstream/", "snapshot/", "worker.rs"],
            "a permit leads there",
        ),
    ];
    let mut faults = Vec::new();
    for source in sources() {
        for (word, places, why) in rules {
            if source.text.contains(word) && !places.iter().any(|place| source.path.contains(place))
            {
                faults.push(format!("{}: `{word}`: {why}", source.path));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn error_statuses_are_made_in_few_places() {
    let places = [
        "gateway/",
        "static_files/reply.rs",
        "proxy/response.rs",
        "server/connection.rs",
        "admin/",
        "demo/",
    ];
    let statuses = [
        "BAD_REQUEST",
        "UNAUTHORIZED",
        "FORBIDDEN",
        "NOT_FOUND",
        "METHOD_NOT_ALLOWED",
        "REQUEST_TIMEOUT",
        "PAYLOAD_TOO_LARGE",
        "URI_TOO_LONG",
        "RANGE_NOT_SATISFIABLE",
        "EXPECTATION_FAILED",
        "MISDIRECTED_REQUEST",
        "TOO_MANY_REQUESTS",
        "INTERNAL_SERVER_ERROR",
        "BAD_GATEWAY",
        "SERVICE_UNAVAILABLE",
        "GATEWAY_TIMEOUT",
        "LOOP_DETECTED",
        "PRECONDITION_FAILED",
    ];
    let mut faults = Vec::new();
    for source in sources() {
        if places.iter().any(|place| source.path.contains(place)) {
            continue;
        }
        for status in statuses {
            if source.text.contains(&format!("StatusCode::{status}")) {
                faults.push(format!("{}: StatusCode::{status}", source.path));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn names_say_what_a_thing_is() {
    let banned_types = ["Manager", "Helper", "Util"];
    let banned_files = ["common.rs", "misc.rs", "util.rs", "utils.rs", "helpers.rs", "manager.rs"];
    let mut faults = Vec::new();
    for source in sources() {
        let file = Path::new(&source.path).file_name().unwrap().to_str().unwrap().to_owned();
        if banned_files.contains(&file.as_str()) {
            faults.push(format!("{}: file name", source.path));
        }
        for line in source.text.lines() {
            let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            for pair in words.collect::<Vec<_>>().windows(2) {
                let [keyword, name] = pair else { continue };
                let banned = match *keyword {
                    "struct" | "enum" | "trait" => {
                        banned_types.iter().any(|banned| name.ends_with(banned))
                    }
                    "fn" => name.starts_with("get_"),
                    _ => false,
                };
                if banned {
                    faults.push(format!("{}: {keyword} {name}", source.path));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_checks_can_fail() {
    assert!(permits("auth::Permit", "auth::Permit"));
    assert!(!permits("auth::Permit", "auth::verify"));
    assert_eq!(
        imports("use crate::{http::{path, head::check}, clock};\nlet x = crate::auth::Permit;"),
        ["http::path", "http::head::check", "clock", "auth::Permit"]
    );
    let long = format!("fn long() {{\n{}}}\n", "    x();\n".repeat(70));
    assert_eq!(functions(&long), [("long".to_owned(), 72)]);
}

// === reading ===

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    walk(&root().join("src"), &mut files);
    files.sort();
    files.iter().map(|path| read(path)).collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") && !is_test_file(&path) {
            files.push(path);
        }
    }
}

fn is_test_file(path: &Path) -> bool {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    stem == "tests"
        || stem.ends_with("_tests")
        || path.components().any(|part| part.as_os_str() == "tests")
}

fn read(path: &Path) -> Source {
    let text = fs::read_to_string(path).unwrap();
    let relative = path.strip_prefix(root().join("src")).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
    let without_tests = without_tests(&text);
    Source {
        path: format!("src/{}", relative.display()),
        module: first.trim_end_matches(".rs").to_owned(),
        lines: without_tests.lines().count(),
        opens_with_doc: text.starts_with("//!") || text.starts_with("#!"),
        text: without_comments(&without_tests),
    }
}

/// Cuts every item behind a `#[cfg(test)]`, up to the line that closes it at its indentation.
fn without_tests(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start() != "#[cfg(test)]" {
            kept.push_str(line);
            kept.push('\n');
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        for line in lines.by_ref() {
            let at = line.len() - line.trim_start().len();
            let attribute = line.trim_start().starts_with('#');
            if at == indent && !attribute && (line.ends_with(';') || line.trim() == "}") {
                break;
            }
        }
    }
    kept
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).fold(
        String::new(),
        |mut kept, line| {
            kept.push_str(line);
            kept.push('\n');
            kept
        },
    )
}

fn import_table() -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section = text.split("## Who may import whom").nth(1).unwrap();
    let table: BTreeMap<_, _> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let rules = cells[1].split_whitespace().map(|rule| rule.trim_matches('`').to_owned());
            (cells[0].trim_matches('`').to_owned(), rules.collect())
        })
        .collect();
    assert!(table.len() > 15, "the table was not found");
    table
}

fn permits(rule: &str, import: &str) -> bool {
    match rule {
        "all" => true,
        "nothing" => false,
        rule => {
            import == rule || import.strip_prefix(rule).is_some_and(|rest| rest.starts_with("::"))
        }
    }
}

/// Every `crate::` path, with the braces of `use` trees spread out.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        // `pub(in crate::x)` names a scope, it imports nothing.
        if text[..at].ends_with("in ") {
            continue;
        }
        spread(&text[at + "crate::".len()..], "", &mut found);
    }
    found
}

/// Reads one use tree from the start of `text`; returns the length read.
fn spread(text: &str, prefix: &str, found: &mut Vec<String>) -> usize {
    let name_end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':' || c == '*'))
        .unwrap_or(text.len());
    let name = text[..name_end].trim_end_matches(':');
    let joined = match (prefix.is_empty(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (false, true) => prefix.to_owned(),
        (false, false) => format!("{prefix}::{name}"),
    };
    if !text[name_end..].starts_with('{') {
        found.push(joined);
        return name_end;
    }
    let mut at = name_end + 1;
    loop {
        let rest = &text[at..];
        let skipped = rest.len() - rest.trim_start_matches([' ', '\n', ',']).len();
        at += skipped;
        if text[at..].starts_with('}') || at >= text.len() {
            return at + 1;
        }
        let read = spread(&text[at..], &joined, found);
        // `as name` after a leaf belongs to it.
        let rest = &text[at + read..];
        let renamed = rest.find([',', '}']).unwrap_or(rest.len());
        at += read + if rest.starts_with(" as ") { renamed } else { 0 };
        if read == 0 {
            return at + 1;
        }
    }
}

/// Name and length of every function, by the indentation that rustfmt gives its closing brace.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<_> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let close = format!("{}}}", " ".repeat(indent));
        let end = lines[at..].iter().position(|line| *line == close);
        let ends_here =
            lines[at..].iter().position(|line| line.ends_with(';')).unwrap_or(usize::MAX);
        let opens = lines[at..].iter().position(|line| line.ends_with('{')).unwrap_or(usize::MAX);
        if let Some(end) = end.filter(|_| opens < ends_here || opens == 0) {
            found.push((name, end + 1));
        }
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let line = line.trim_start();
    let at = line.find("fn ")?;
    let words = ["pub", "pub(crate)", "pub(super)", "async", "const", "extern", "default"];
    if !line[..at].split_whitespace().all(|w| words.contains(&w) || w.starts_with("pub(in")) {
        return None;
    }
    let name: String =
        line[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

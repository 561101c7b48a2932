//! How servers less careful than this gateway could read a path that it forwards.

/// Everything a path could come to: as it is, decoded once or twice, its parameters cut, its
/// backslashes turned, its slashes merged, its dots resolved, in any combination.
pub(crate) fn readings(path: &str) -> Vec<String> {
    type Step = fn(&str) -> String;
    const STEPS: [Step; 6] =
        [decoded, decoded, without_parameters, |p| p.replace('\\', "/"), merged, resolved];
    let mut readings = vec![path.to_owned()];
    for choice in 1..1_u32 << STEPS.len() {
        let chosen = STEPS.iter().enumerate().filter(|(bit, _)| choice >> bit & 1 == 1);
        let reading = chosen.fold(path.to_owned(), |path, (_, step)| step(&path));
        if !readings.contains(&reading) {
            readings.push(reading);
        }
    }
    readings
}

fn decoded(path: &str) -> String {
    let mut out = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escape = rest.get(1..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) if byte == b'%' => {
                out.push(value);
                rest = &rest[3..];
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Of dots alone: the contract leaves `;` in the others where it is.
fn without_parameters(path: &str) -> String {
    let cut = |segment: &str| match segment.split_once(';') {
        Some((dots @ ("" | "." | ".."), _)) => dots.to_owned(),
        Some(_) | None => segment.to_owned(),
    };
    path.split('/').map(cut).collect::<Vec<_>>().join("/")
}

fn merged(path: &str) -> String {
    let mut path = path.to_owned();
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    path
}

fn resolved(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[test]
fn a_path_is_read_in_every_way_that_has_bitten_somebody() {
    for path in [
        "/public/../admin",
        "/public/..%2fadmin",
        "/public/%252e%252e/admin",
        "/public/..;x/admin",
        "/public/..%5cadmin",
        "/public//../../admin",
        "//admin",
        "/public/..%3b/admin",
        "/%61dmin",
    ] {
        assert!(readings(path).iter().any(|reading| reading == "/admin"), "{path}");
    }
    assert!(!readings("/public/admin").iter().any(|reading| reading == "/admin"));
}

//! How servers less careful than this gateway could read a path that it forwards.

/// Everything a path could come to: as it is, decoded once or again, its parameters cut, its
/// backslashes turned, its slashes merged, its dots resolved, its end at a decoded `?` or `#`, in any
/// order.
pub(crate) fn readings(path: &str) -> Vec<String> {
    const STEPS: [fn(&str) -> String; 7] = [
        decoded,
        without_parameters,
        dots_behind,
        |p| p.replace('\\', "/"),
        merged,
        resolved,
        |p| p.split(['?', '#']).next().unwrap_or_default().to_owned(),
    ];
    let mut readings = vec![path.to_owned()];
    let mut next = 0;
    while let Some(known) = readings.get(next).cloned() {
        next += 1;
        for reading in STEPS.map(|step| step(&known)) {
            if !readings.contains(&reading) {
                readings.push(reading);
            }
        }
    }
    readings
}

/// A reading as routes are compared: escaped letters, digits and dots are what they stand for.
pub(crate) fn plain(reading: &str) -> String {
    let mut plain = reading.to_owned();
    for byte in (b'a'..=b'z').chain(b'A'..=b'Z').chain(b'0'..=b'9').chain(*b".-_~") {
        for escape in [format!("%{byte:02x}"), format!("%{byte:02X}")] {
            plain = plain.replace(&escape, &char::from(byte).to_string());
        }
    }
    plain
}

/// For a reader who leaves dot segments alone.
pub(crate) fn has_dots(reading: &str) -> bool {
    plain(reading).split('/').any(|segment| matches!(segment, "." | ".."))
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

fn without_parameters(path: &str) -> String {
    let cut = |segment: &str| segment.split(';').next().unwrap_or_default().to_owned();
    path.split('/').map(cut).collect::<Vec<_>>().join("/")
}

/// What remains of `;..` where `;` ends a segment.
fn dots_behind(path: &str) -> String {
    let bare = |segment: &str| match segment.rsplit(';').next() {
        Some(dots @ ("." | "..")) => dots.to_owned(),
        Some(_) | None => segment.to_owned(),
    };
    path.split('/').map(bare).collect::<Vec<_>>().join("/")
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
    if path.ends_with("/.") || path.ends_with("/..") {
        kept.push("");
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
        "/admin;x=1",
        "/public/;../admin",
        "/%61dmin",
    ] {
        assert!(readings(path).iter().any(|reading| reading == "/admin"), "{path}");
    }
    assert!(!readings("/public/admin").iter().any(|reading| reading == "/admin"));
}

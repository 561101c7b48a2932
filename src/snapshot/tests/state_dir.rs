//! `state_dir`: what is refused, what is told, and who creates it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use super::Workshop;
use crate::clock::Clock;
use crate::snapshot::Surroundings;
use crate::telemetry::metrics::Metrics;

const TEXT: &str = r#"
    [listener.main]
    address = "127.0.0.1:8080"
    [[route]]
    path = "/*"
    upstream = "http://127.0.0.1:8000"
    public = true
    [server]
    state_dir = "state"
    "#;

#[test]
fn only_a_gateway_that_runs_creates_it() {
    let mut workshop = Workshop::new();
    workshop.compile(TEXT, None);
    assert!(!workshop.path().join("state").exists(), "`check` changes nothing");
    workshop.surroundings = Surroundings::new(Metrics::new(), Clock::system()).unwrap();
    let first = workshop.compile(TEXT, None);
    assert!(workshop.path().join("state").is_dir());
    let second = workshop.compile(TEXT, Some(&first));
    let kept = |compiled: &crate::snapshot::Compiled| compiled.snapshot.state_dir.clone().unwrap();
    assert!(Arc::ptr_eq(&kept(&first), &kept(&second)), "a reload opens nothing again");
}

#[test]
fn a_folder_that_is_not_ours_alone_is_told() {
    let workshop = Workshop::new();
    let folder = workshop.path().join("state");
    fs::create_dir(&folder).unwrap();
    let mode = |mode| fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o700);
    assert!(workshop.warnings(TEXT).is_empty());
    mode(0o750);
    let warnings = workshop.warnings(TEXT);
    assert!(warnings[0].contains("others may look into"), "{warnings:?}");
    assert!(warnings[0].ends_with("(mode 750)"), "{warnings:?}");
    mode(0o777);
    let errors = workshop.errors(TEXT);
    assert!(errors[0].ends_with("can be written to by every user"), "{errors:?}");
    // Only the superuser can give folders away.
    if rustix::process::geteuid().is_root() {
        mode(0o700);
        std::os::unix::fs::chown(&folder, Some(65534), None).unwrap();
        let warnings = workshop.warnings(TEXT);
        assert!(warnings[0].ends_with("belongs to another user"), "{warnings:?}");
    }
    fs::remove_dir(&folder).unwrap();
    fs::write(&folder, "").unwrap();
    let errors = workshop.errors(TEXT);
    assert!(errors[0].contains("can't be opened"), "{errors:?}");
}

//! The folder of state against crashes and other users.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn name() -> FileName {
    FileName::new("keys", "main")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_was_written_last_is_read_by_the_next_process() {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("state/portcullis");
    let folder = StateDir::open(&path).unwrap();
    assert_eq!(folder.shared_mode(), None, "created for its owner alone");
    assert_eq!(mode(&path), 0o700);
    assert_eq!(folder.read(&name(), 10).unwrap(), None);
    folder.write(&name(), b"one").unwrap();
    folder.write(&name(), b"two").unwrap();
    drop(folder);
    let folder = StateDir::open(&path).unwrap();
    assert_eq!(folder.read(&name(), 3).unwrap().unwrap(), b"two");
    assert!(folder.read(&name(), 2).is_err(), "larger than the limit");
    assert_eq!(mode(&path.join(name().to_string())), 0o600);
    assert_eq!(names(&path), [name().to_string()], "nothing unfinished is left");
    folder.remove(&name()).unwrap();
    folder.remove(&name()).unwrap();
    assert!(names(&path).is_empty());
}

#[test]
fn names_are_safe_and_never_meet() {
    let plain = FileName::new("keys", "main").to_string();
    assert!(plain.starts_with("keys-main-"), "{plain}");
    let odd = ["", "..", "a/b", "a_b", "a\0b", "a b", "Ä", "../../etc/passwd", &"x".repeat(9000)];
    let mut seen = std::collections::HashSet::new();
    for id in odd {
        let name = FileName::new("keys", id).to_string();
        assert!(name.len() < 100, "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{name}");
        assert!(seen.insert(name), "{id:?}");
    }
}

#[test]
fn what_others_could_have_written_is_not_read() {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("state");
    let folder = StateDir::open(&path).unwrap();
    let file = path.join(name().to_string());
    let elsewhere = outer.path().join("elsewhere");
    fs::write(&elsewhere, "planted").unwrap();

    symlink(&elsewhere, &file).unwrap();
    assert!(folder.read(&name(), 100).is_err(), "a symbolic link");
    folder.write(&name(), b"ours").unwrap();
    assert_eq!(fs::read(&elsewhere).unwrap(), b"planted", "a link is replaced, not followed");
    assert_eq!(folder.read(&name(), 100).unwrap().unwrap(), b"ours");

    for open in [0o620, 0o602] {
        fs::set_permissions(&file, fs::Permissions::from_mode(open)).unwrap();
        assert!(folder.read(&name(), 100).is_err(), "{open:o}");
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(folder.read(&name(), 100).is_err(), "a folder");
    fs::remove_dir(&file).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &file,
        rustix::fs::FileType::Fifo,
        Mode::RUSR | Mode::WUSR,
        0,
    )
    .unwrap();
    assert!(folder.read(&name(), 100).is_err(), "a FIFO, without waiting for its writer");
    // Only the superuser can give files away.
    if own_user() == 0 {
        fs::remove_file(&file).unwrap();
        fs::write(&file, "planted").unwrap();
        std::os::unix::fs::chown(&file, Some(65534), None).unwrap();
        assert!(folder.read(&name(), 100).is_err(), "another user's");
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        assert!(matches!(StateDir::open(&path), Err(StateDirError::ForeignOwner)));
    }
}

#[test]
fn a_folder_that_all_may_write_to_is_refused() {
    let outer = tempfile::tempdir().unwrap();
    let at = |mode| {
        fs::set_permissions(outer.path(), fs::Permissions::from_mode(mode)).unwrap();
        StateDir::open(outer.path())
    };
    assert!(matches!(at(0o777), Err(StateDirError::WritableByAll)));
    assert!(matches!(at(0o1777), Err(StateDirError::WritableByAll)));
    assert_eq!(at(0o755).unwrap().shared_mode(), Some(0o755));
    assert_eq!(at(0o2770).unwrap().shared_mode(), Some(0o2770));
    assert_eq!(at(0o700).unwrap().shared_mode(), None);
    let file = outer.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(StateDir::open(&file), Err(StateDirError::Open(_))));
    assert!(matches!(StateDir::open(&file.join("below")), Err(StateDirError::Open(_))));
}

#[test]
fn looking_changes_nothing() {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("state");
    assert!(StateDir::inspect(&path).unwrap().is_none());
    assert!(!path.exists());
}

#[test]
fn a_crash_leaves_the_old_file_and_no_litter() {
    let outer = tempfile::tempdir().unwrap();
    let folder = StateDir::open(outer.path()).unwrap();
    folder.write(&name(), b"old").unwrap();
    let unfinished = folder.create().unwrap();
    (&unfinished.file).write_all(b"half").unwrap();
    std::mem::forget(unfinished);
    assert_eq!(names(outer.path()).len(), 2);
    let folder = StateDir::open(outer.path()).unwrap();
    assert_eq!(names(outer.path()), [name().to_string()]);
    assert_eq!(folder.read(&name(), 10).unwrap().unwrap(), b"old");
}

//! The real stack: the example's Django project behind Gunicorn, installed from PyPI.
//!
//! The virtual environment and the prepared data folder (database, collected static files) lie
//! under `target/`, each named by a hash of what it was made from, and are made once.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::eventually;

/// Django's SECRET_KEY, with which simplejwt signs.
pub(crate) const SECRET: &str = "8JrT1vZc0yXqLwKfN4uPbGd7mSaEhR2oUiYx5tVnCz9pWkQj6B";

/// A running Gunicorn with a database of its own; it ends when this is dropped.
pub(crate) struct Stack {
    /// As `GUNICORN` of the example's configuration wants it.
    pub(crate) endpoint: String,
    pub(crate) static_root: PathBuf,
    gunicorn: Child,
    data: TempDir,
}

/// Where Gunicorn listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Socket {
    Tcp,
    Unix,
}

/// The example's folder.
pub(crate) fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/django-gunicorn")
}

impl Stack {
    pub(crate) fn start(socket: Socket) -> Self {
        let environment = virtual_environment();
        let prepared = prepared_data(&environment);
        let data = tempfile::tempdir().unwrap();
        fs::copy(prepared.join(DATABASE), data.path().join(DATABASE)).unwrap();
        // Django reads its manifest there.
        symlink(prepared.join("static"), data.path().join("static")).unwrap();
        let unix = format!("unix:{}", data.path().join("gunicorn.sock").display());
        let bind = match socket {
            Socket::Tcp => "127.0.0.1:0",
            Socket::Unix => unix.as_str(),
        };
        let said = data.path().join("gunicorn.log");
        let mut gunicorn = python(&environment, data.path())
            .args(["-m", "gunicorn", "shop.wsgi", "--worker-class", "gthread", "--threads", "4"])
            .args(["--graceful-timeout", "2", "--bind", bind, "--access-logfile"])
            .arg(data.path().join(ACCESS_LOG))
            .stderr(File::create(&said).unwrap())
            .spawn()
            .unwrap();
        let endpoint = eventually("Gunicorn listens", || {
            let said = fs::read_to_string(&said).unwrap();
            if let Some(status) = gunicorn.try_wait().unwrap() {
                panic!("Gunicorn ended with {status}: {said}");
            }
            listening_at(&said)
        });
        Self { endpoint, static_root: prepared.join("static"), gunicorn, data }
    }

    /// Gunicorn's own access log: what arrived there.
    pub(crate) fn arrived(&self) -> String {
        fs::read_to_string(self.data.path().join(ACCESS_LOG)).unwrap()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let id = i32::try_from(self.gunicorn.id()).unwrap();
        // Its own process alone; Gunicorn then ends its workers.
        if kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).is_ok() {
            drop(self.gunicorn.wait());
        }
    }
}

/// `unix:PATH` or the URL out of "Listening at: ...", once the worker answers too.
fn listening_at(said: &str) -> Option<String> {
    said.lines().find(|line| line.contains("Booting worker"))?;
    let line = said.lines().find_map(|line| line.split_once("Listening at: "))?.1;
    Some(line.split(' ').next()?.to_owned())
}

// === what is made once ===

const ACCESS_LOG: &str = "gunicorn.access.log";
const DATABASE: &str = "db.sqlite3";

/// A Python with the example's requirements.
pub(crate) fn virtual_environment() -> PathBuf {
    environment(&example().join("requirements.txt"))
}

/// A Python with what this file requires.
pub(crate) fn environment(requirements: &Path) -> PathBuf {
    let version = run(Command::new("python3").arg("--version"));
    let hash = hash_of(&[version.into_bytes(), fs::read(requirements).unwrap()]);
    once(&format!("venv-{hash:016x}"), |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder));
        run(Command::new(folder.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(requirements));
    })
}

/// A folder with a migrated, seeded database and `static/`, as `collectstatic` leaves it.
fn prepared_data(environment: &Path) -> PathBuf {
    let mut parts = vec![environment.as_os_str().as_encoded_bytes().to_vec()];
    read_sources(&example(), &mut parts);
    once(&format!("shop-{:016x}", hash_of(&parts)), |folder| {
        fs::create_dir_all(folder).unwrap();
        for verb in [&["migrate", "-v0"][..], &["seed"], &["collectstatic", "--noinput", "-v0"]] {
            run(python(environment, folder).arg(example().join("manage.py")).args(verb));
        }
    })
}

fn read_sources(folder: &Path, parts: &mut Vec<Vec<u8>>) {
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            read_sources(&path, parts);
        } else if path.extension().is_some_and(|extension| extension == "py") {
            parts.push(fs::read(&path).unwrap());
        }
    }
}

pub(crate) fn hash_of(parts: &[Vec<u8>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

/// `target/tmp/NAME`, made unless it is there whole; other processes wait meanwhile.
pub(crate) fn once(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = base.join(name);
    let done = folder.join(".complete");
    let lock = File::create(base.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    if !done.exists() {
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        make(&folder);
        File::create(&done).unwrap();
    }
    folder
}

/// The environment's Python, within the example's folder.
fn python(environment: &Path, data: &Path) -> Command {
    let mut command = Command::new(environment.join("bin/python"));
    command
        .current_dir(example())
        .env("DJANGO_SECRET_KEY", SECRET)
        .env("SHOP_DATA_DIR", data)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONUNBUFFERED", "1")
        .env_remove("GUNICORN_CMD_ARGS")
        .stdin(Stdio::null());
    command
}

pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{error}: {command:?}: the real stack needs python3 with venv and pip")
    });
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}: the real stack needs python3 with venv and pip:\n{told}",
        output.status
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

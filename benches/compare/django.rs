//! S12's application: the project of `examples/django-gunicorn` behind Gunicorn, one worker with
//! four threads, on the load's core. Installed from PyPI into `target/`, once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Result;
use super::programs::succeed;
use super::say;
use super::tokens::SECRET;
use super::world::World;

/// A running Gunicorn; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Django {
    gunicorn: Child,
    port: u16,
}

pub(super) fn start(world: &World) -> Result<Django> {
    let environment = environment(world)?;
    let data = world.folder().join("django");
    fs::create_dir_all(&data)?;
    for verb in [&["migrate", "-v0"][..], &["seed"]] {
        succeed(python(&environment, &data).arg("manage.py").args(verb))?;
    }
    let log = data.join("gunicorn.log");
    let mut gunicorn = python(&environment, &data)
        .args(["-m", "gunicorn", "shop.wsgi", "--worker-class", "gthread", "--threads", "4"])
        .args(["--graceful-timeout", "2", "--bind", "127.0.0.1:0"])
        .stderr(File::create(&log)?)
        .spawn()?;
    for _ in 0..200 {
        let said = fs::read_to_string(&log)?;
        if said.contains("Booting worker")
            && let Some(port) = port(&said)
        {
            return Ok(Django { gunicorn, port });
        }
        if gunicorn.try_wait()?.is_some() {
            return Err(format!("Gunicorn ended: {said}").into());
        }
        sleep(Duration::from_millis(50));
    }
    Err("Gunicorn does not listen".into())
}

impl Django {
    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Django {
    fn drop(&mut self) {
        // Gunicorn then ends its workers.
        let _gone = kill_process(Pid::from_child(&self.gunicorn), Signal::TERM).is_err();
        let _ended = self.gunicorn.wait().is_ok();
    }
}

/// Out of `Listening at: http://127.0.0.1:PORT (PID)`.
fn port(said: &str) -> Option<u16> {
    let (_, rest) = said.split_once("Listening at: http://127.0.0.1:")?;
    rest.split(' ').next()?.trim().parse().ok()
}

/// A Python with the example's requirements.
fn environment(world: &World) -> Result<PathBuf> {
    let requirements = example().join("requirements.txt");
    let (folder, wanted) = (world.keep().join("django"), fs::read_to_string(&requirements)?);
    let installed = folder.join("installed");
    if fs::read_to_string(&installed).is_ok_and(|text| text == wanted) {
        return Ok(folder);
    }
    say("installing Django and Gunicorn");
    succeed(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    succeed(
        Command::new(folder.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(&requirements),
    )?;
    fs::write(installed, wanted)?;
    Ok(folder)
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

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/django-gunicorn")
}

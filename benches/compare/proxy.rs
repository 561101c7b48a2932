//! A program under measurement: started with its configuration from `peers/`, checked, ended.

use std::fs::{self, File, OpenOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Result;
use super::ask;
use super::core::template::fill;
use super::load::Load;
use super::machine;
use super::programs::Program;
use super::tokens::{AUDIENCE, ISSUER};
use super::world::World;

/// What is put in the places of a configuration file.
type Values = Vec<(&'static str, String)>;

/// A program with a configuration.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) program: Program,
    /// Its file in `peers/`.
    pub(super) config: &'static str,
    /// Files that go beside it.
    pub(super) more: &'static [&'static str],
    /// Places in them, beside those that every file may have.
    pub(super) values: fn(&World, &Load) -> Result<Values>,
    /// Whether it must turn away a request without a token.
    pub(super) is_guarded: bool,
    pub(super) has_tls: bool,
}

/// A running one; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    name: &'static str,
    port: u16,
    child: Child,
    /// Its files.
    folder: PathBuf,
    /// Where it writes access lines, if it does.
    access_log: Option<File>,
    setup: &'static Setup,
}

impl Proxy {
    /// Starts it, with `upstream` behind it, and waits until it serves what the load asks for.
    pub(super) fn start(
        world: &World,
        setup: &'static Setup,
        load: &Load,
        upstream: u16,
    ) -> Result<Self> {
        let port = free_port()?;
        let folder = world.folder().join(format!("proxy-{port}"));
        fs::create_dir_all(&folder)?;
        let values = values(world, setup, load, (port, upstream), &folder)?;
        let mut config = PathBuf::new();
        for name in setup.more.iter().chain([&setup.config]) {
            config = folder.join(name.strip_prefix("traefik-").unwrap_or(name));
            fs::write(&config, fill(&read(name)?, &values)?)?;
        }
        let (program, mut access_log, mut stdout) =
            (world.programs().path(setup.program)?, None, Stdio::null());
        if setup.program == Program::Portcullis {
            let lines = folder.join("access.log");
            let log = OpenOptions::new().create(true).append(true).read(true).open(&lines)?;
            stdout = log.try_clone()?.into();
            access_log = Some(log);
        }
        let mut command = machine::pinned(world.proxy_core(), &program);
        arguments(&mut command, setup.program, &config);
        let complaints = File::create(folder.join("complaints"))?;
        let child = command
            .env("HOME", &folder)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(complaints)
            .spawn()?;
        let mut proxy = Self { name: setup.config, port, child, folder, access_log, setup };
        proxy.await_ready(world, load)?;
        Ok(proxy)
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The process itself (taskset has become the program).
    pub(super) fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Its configuration, as it was filled in.
    pub(super) fn config(&self) -> PathBuf {
        self.folder.join(self.setup.config)
    }

    /// The process and its workers.
    pub(super) fn processes(&self) -> Result<Vec<u32>> {
        machine::family(self.child.id())
    }

    /// CPU time of all of its processes so far.
    pub(super) fn cpu_time(&self) -> Result<Duration> {
        self.processes()?.into_iter().map(machine::cpu_time).sum()
    }

    /// Memory of all of its processes.
    pub(super) fn memory(&self) -> Result<u64> {
        self.processes()?.into_iter().map(machine::memory).sum()
    }

    /// Waits until it answers, and makes sure that it asks for a token if it should.
    fn await_ready(&mut self, world: &World, load: &Load) -> Result<()> {
        let issued = load.issued(world)?;
        let token = issued.as_ref().and_then(|issued| issued.tokens.first()).map(String::as_str);
        let tls = self.setup.has_tls.then(|| world.certificate());
        for _ in 0..200 {
            if self.child.try_wait()?.is_some() {
                break;
            }
            if ask::status(self.port, tls, load.path, token).is_ok_and(|status| status == "200") {
                let bare = ask::status(self.port, tls, load.path, None)?;
                let expected = if self.setup.is_guarded { "401" } else { "200" };
                return if bare == expected {
                    self.empty_access_log()
                } else {
                    Err(format!("{}: {bare} without a token, not {expected}", self.name).into())
                };
            }
            sleep(Duration::from_millis(50));
        }
        let said = fs::read_to_string(self.folder.join("complaints")).unwrap_or_default();
        Err(format!("{} does not serve {}:\n{said}", self.name, load.path).into())
    }

    fn empty_access_log(&self) -> Result<()> {
        self.check_access_log(0)
    }

    /// Every request must have its line; then empties the log, so that long runs fill no disk.
    pub(super) fn check_access_log(&self, requests: u64) -> Result<()> {
        let Some(log) = &self.access_log else { return Ok(()) };
        // The writer gathers lines for a moment.
        sleep(Duration::from_millis(300));
        let lines = count_lines(log)?;
        log.set_len(0)?;
        if lines < requests {
            return Err(format!("{}: {lines} lines for {requests} requests", self.name).into());
        }
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // A kill would orphan nginx's worker.
        let _gone = kill_process(self.process(), Signal::TERM).is_err();
        for _ in 0..100 {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                break;
            }
            sleep(Duration::from_millis(20));
        }
        let _ended = self.child.kill().is_ok() && self.child.wait().is_ok();
        let _removed = fs::remove_dir_all(&self.folder).is_ok();
    }
}

/// What may stand in a configuration file.
fn values(
    world: &World,
    setup: &Setup,
    load: &Load,
    (port, upstream): (u16, u16),
    folder: &Path,
) -> Result<Values> {
    let text = |path: &Path| path.display().to_string();
    let certificate = world.certificate();
    let mut values = (setup.values)(world, load)?;
    values.extend([
        ("port", port.to_string()),
        ("upstream", upstream.to_string()),
        ("admin", free_port()?.to_string()),
        ("folder", text(folder)),
        ("files", text(world.folder())),
        ("cert", text(&certificate.cert)),
        ("key", text(&certificate.key)),
        ("pem_pair", text(&certificate.pair)),
        ("issuer", ISSUER.to_owned()),
        ("audience", AUDIENCE.to_owned()),
        ("algorithm", load.algorithm().name().to_owned()),
    ]);
    // A program that looks at no token, under a load that has none, may still have an issuer.
    let issued = match load.issued(world)? {
        Some(issued) => issued,
        None => world.issued(load.algorithm(), 1)?,
    };
    values.push(("pem", text(&issued.pem)));
    values.push(("jwks_file", text(&issued.jwks)));
    Ok(values)
}

fn arguments(command: &mut Command, program: Program, config: &Path) {
    match program {
        Program::Nginx | Program::NginxWheel => {
            command.arg("-c").arg(config).args(["-e", "stderr"]);
        }
        Program::Haproxy => {
            command.arg("-db").arg("-f").arg(config);
        }
        Program::Envoy => {
            command.arg("-c").arg(config).args(["--concurrency", "1", "--disable-hot-restart"]);
            command.args(["--log-level", "error"]);
        }
        Program::Caddy => {
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(config);
        }
        Program::Traefik => {
            command.arg(format!("--configFile={}", config.display()));
        }
        Program::Portcullis => {
            command.arg("--config").arg(config).arg("run");
        }
    }
}

/// A file of `peers/`, as it stands in the source now.
fn read(name: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/compare/peers").join(name);
    fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// A port that nothing listens on at the moment.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Through a handle of its own: the log's offset is shared with the proxy that appends to it.
fn count_lines(log: &File) -> Result<u64> {
    use std::os::unix::fs::FileExt as _;
    let (mut lines, mut at, mut piece) = (0, 0, vec![0; 1 << 20]);
    loop {
        let read = log.read_at(&mut piece, at)?;
        if read == 0 {
            return Ok(lines);
        }
        at += read as u64;
        lines += piece.iter().take(read).filter(|byte| **byte == b'\n').count() as u64;
    }
}

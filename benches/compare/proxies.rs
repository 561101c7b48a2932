//! The two proxies: how each is configured, started, checked and ended.
//!
//! Both get one worker, the same upstream and up to 64 idle connections to it. nginx is set up as
//! its documentation says for speed (HTTP/1.1 with keep-alive upstream, no access log) and is never
//! made to reopen a connection; Portcullis runs with its defaults.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Result;
use super::machine::{self, Programs};
use super::tokens::{AUDIENCE, ISSUER, Issued};

/// A running proxy; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    name: &'static str,
    port: u16,
    child: Child,
    /// What it said on standard error.
    complaints: PathBuf,
    /// Where it writes access lines, if it does.
    access_log: Option<File>,
    /// Whether it must turn away a request without a token.
    guarded: bool,
}

impl Proxy {
    pub(super) fn nginx(
        programs: &Programs,
        folder: &Path,
        core: usize,
        upstream: u16,
    ) -> Result<Self> {
        let (port, config) = (free_port()?, folder.join("nginx.conf"));
        let complaints = folder.join("nginx.log");
        let told = File::create(&complaints)?;
        fs::write(&config, nginx_conf(folder, port, upstream))?;
        let child = machine::pinned(core, &programs.nginx)
            .arg("-c")
            .arg(&config)
            .args(["-e", "stderr"])
            .stdout(Stdio::null())
            .stderr(told)
            .spawn()?;
        Ok(Self { name: "nginx", port, child, complaints, access_log: None, guarded: false })
    }

    pub(super) fn portcullis(
        programs: &Programs,
        folder: &Path,
        core: usize,
        upstream: u16,
        issued: &Issued,
    ) -> Result<Self> {
        let (port, config) = (free_port()?, folder.join("gateway.toml"));
        let complaints = folder.join("portcullis.log");
        fs::write(&config, gateway_toml(port, free_port()?, upstream, issued))?;
        let lines = folder.join("access.log");
        let access_log = OpenOptions::new().create(true).append(true).read(true).open(&lines)?;
        let mut command: Command = machine::pinned(core, &programs.portcullis);
        let child = command
            .arg("--config")
            .arg(&config)
            .arg("run")
            .stdout(access_log.try_clone()?)
            .stderr(File::create(&complaints)?)
            .spawn()?;
        let access_log = Some(access_log);
        Ok(Self { name: "portcullis", port, child, complaints, access_log, guarded: true })
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The process (taskset has become the proxy) and its workers.
    pub(super) fn processes(&self) -> Result<Vec<u32>> {
        machine::family(self.child.id())
    }

    /// CPU time of all of its processes so far.
    pub(super) fn cpu_time(&self) -> Result<Duration> {
        self.processes()?.into_iter().map(machine::cpu_time).sum()
    }

    /// Waits until it forwards a request, and makes sure that it asks for a token if it should.
    pub(super) fn await_ready(&mut self, issued: &Issued) -> Result<()> {
        let token = issued.tokens.first().map(String::as_str);
        for _ in 0..100 {
            if self.child.try_wait()?.is_some() {
                break;
            }
            if ask(self.port, token).is_ok_and(|status| status == "200") {
                let bare = ask(self.port, None)?;
                let expected = if self.guarded { "401" } else { "200" };
                return if bare == expected {
                    Ok(())
                } else {
                    Err(format!("{}: {bare} without a token, not {expected}", self.name).into())
                };
            }
            sleep(Duration::from_millis(100));
        }
        let said = fs::read_to_string(&self.complaints).unwrap_or_default();
        Err(format!("{} does not forward:\n{said}", self.name).into())
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
        let _gone = kill_process(Pid::from_child(&self.child), Signal::TERM).is_err();
        let _ended = self.child.wait().is_ok();
    }
}

fn nginx_conf(folder: &Path, port: u16, upstream: u16) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("    {kind}_temp_path {}/{kind};\n", folder.display()))
        .collect();
    format!(
        "daemon off;
worker_processes 1;
pid {}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
{temporary}    access_log off;
    error_log stderr;
    keepalive_requests 1000000000;
    upstream app {{
        server 127.0.0.1:{upstream};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
        }}
    }}
}}
",
        folder.display()
    )
}

fn gateway_toml(port: u16, admin: u16, upstream: u16, issued: &Issued) -> String {
    format!(
        "[listener.http]
address = \"127.0.0.1:{port}\"

[issuer.compare]
url = \"{ISSUER}\"
audience = [\"{AUDIENCE}\"]
public_key = \"{}\"
algorithms = [\"RS256\"]

[upstream.app]
endpoints = [\"http://127.0.0.1:{upstream}\"]

[[route]]
path = \"/api/*\"
upstream = \"app\"

[server]
workers = 1

[admin]
address = \"127.0.0.1:{admin}\"
",
        issued.public_key.display()
    )
}

/// A port that nothing listens on at the moment.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The status of one request.
fn ask(port: u16, token: Option<&str>) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "GET /api/items/1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{}Connection: close\r\n\r\n",
        token.unwrap_or_default()
    );
    stream.write_all(request.as_bytes())?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    let head = String::from_utf8_lossy(&response);
    Ok(head.split(' ').nth(1).unwrap_or("no status").to_owned())
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

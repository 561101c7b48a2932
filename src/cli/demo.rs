//! `portcullis demo`: the gateway, an issuer and an application in one process, on loopback.
//!
//! The gateway is started as `run` starts it, from the repository's own gateway.toml; the issuer
//! and the application are servers of their own that it reaches over sockets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::Failure;
use super::run::{Running, serve, start, start_log};
use crate::app::{AccessSink, Options};
use crate::clock::Clock;
use crate::config::Environment;
use crate::demo::certificate::Development;
use crate::demo::files::Files;
use crate::demo::issuer::{Issuer, User};
use crate::demo::{self, application};
use crate::reload::Origin;

/// The configuration that the demo runs, and that the repository shows.
const CONFIGURATION: &str = include_str!("../../gateway.toml");

const USERNAME: &str = "demo";
const PASSWORD: &str = "portcullis";

pub(super) fn run() -> Result<(), Failure> {
    let clock = Clock::system();
    let development = Development::provide(Path::new("certs"), &clock)
        .map_err(|error| Failure::Running(format!("development certificate: {error}")))?;
    let files =
        Files::provide().map_err(|error| Failure::Running(format!("static files: {error}")))?;
    let companions = Companions::start(&clock)?;
    let configuration = CONFIGURATION
        .replace("http://127.0.0.1:9191", companions.issuer.url())
        .replace("127.0.0.1:9192", &companions.application.address().to_string())
        .replace("certs/dev.crt", &development.cert().display().to_string())
        .replace("certs/dev.key", &development.key().display().to_string())
        .replace("examples/demo/static", &files.folder().display().to_string());
    let (running, ports) = start_gateway(&configuration, &clock)?;
    print_tour(&ports, &development);
    let outcome = serve(running);
    drop(companions);
    outcome
}

/// Starts the gateway on ports of its own. A port that was free may be taken before it is bound:
/// others are chosen then, a few times.
fn start_gateway(configuration: &str, clock: &Clock) -> Result<(Running, Ports), Failure> {
    let folder = std::env::current_dir().map_err(|error| Failure::Running(error.to_string()))?;
    let environment = Environment::of_process();
    let origin = |text| Origin::Text {
        name: "gateway.toml (demo)".to_owned(),
        text,
        folder: folder.clone(),
    };
    let loaded = origin(configuration.to_owned())
        .load(&environment)
        .map_err(|errors| super::refused(&errors))?;
    start_log(&loaded.config.log);
    let mut attempts = 0..3;
    loop {
        let ports =
            Ports::choose().map_err(|error| Failure::Running(format!("no port: {error}")))?;
        let started = start(Options {
            origin: origin(ports.put_into(configuration)),
            environment: environment.clone(),
            clock: clock.clone(),
            access_log: AccessSink::Standard,
            watch: false,
        });
        match started {
            Ok(running) => return Ok((running, ports)),
            Err(failure) if attempts.next().is_none() => return Err(failure),
            Err(_) => {}
        }
    }
}

/// What can be tried, each line as it can be pasted into a shell.
fn print_tour(ports: &Ports, development: &Development) {
    let ca = development.ca().display().to_string();
    let https = format!("https://localhost:{}", ports.https);
    let curl = format!("curl -sS --cacert '{ca}'");
    let json = "-H 'Content-Type: application/json'";
    println!("Portcullis demo: gateway on {https}, user `{USERNAME}`, password `{PASSWORD}`\n");
    println!("# 401: no token");
    println!("{curl} -i {https}/api/hello\n");
    println!("# a token from the embedded issuer (access 5 minutes, refresh 24 hours)");
    println!(
        "TOKENS=$({curl} {json} -d '{{\"username\":\"{USERNAME}\",\"password\":\"{PASSWORD}\"}}' {https}/api/token/); echo \"$TOKENS\""
    );
    println!("ACCESS=$(echo \"$TOKENS\" | sed 's/.*\"access\":\"\\([^\"]*\\)\".*/\\1/')");
    println!("REFRESH=$(echo \"$TOKENS\" | sed 's/.*\"refresh\":\"\\([^\"]*\\)\".*/\\1/')\n");
    println!("# 200: with the identity headers that the application saw");
    println!("{curl} -i -H \"Authorization: Bearer $ACCESS\" {https}/api/hello\n");
    println!("# a new token for the refresh token");
    println!(
        "{curl} {json} -d \"{{\\\"refresh\\\":\\\"$REFRESH\\\"}}\" {https}/api/token/refresh/\n"
    );
    println!("# a static file");
    println!("{curl} -i {https}/static/hello.txt\n");
    println!("# HTTP/2");
    println!("{curl} -i --http2 -H \"Authorization: Bearer $ACCESS\" {https}/api/orders/1\n");
    println!("# metrics");
    println!("curl -sS http://127.0.0.1:{}/metrics\n", ports.admin);
    println!("# the admin address: the route table, the issuers and their keys");
    println!("curl -sS http://127.0.0.1:{}/routes", ports.admin);
    println!("curl -sS http://127.0.0.1:{}/issuers\n", ports.admin);
    println!("Ctrl-C drains and ends.");
}

// === ports ===

/// The gateway's own ports: the configuration's, or free ones where those are taken.
struct Ports {
    https: u16,
    http: u16,
    admin: u16,
}

impl Ports {
    /// All are held until all are chosen, so that no two are the same.
    fn choose() -> io::Result<Self> {
        let (https, http, admin) = (listen(8443)?, listen(8080)?, listen(9180)?);
        let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
        Ok(Self { https: port(&https)?, http: port(&http)?, admin: port(&admin)? })
    }

    /// The configuration with these instead of its own.
    fn put_into(&self, configuration: &str) -> String {
        configuration
            .replace("127.0.0.1:8443", &format!("127.0.0.1:{}", self.https))
            .replace("127.0.0.1:8080", &format!("127.0.0.1:{}", self.http))
            .replace("127.0.0.1:9180", &format!("127.0.0.1:{}", self.admin))
    }
}

/// The wanted port on loopback, or any if it is taken.
fn listen(port: u16) -> io::Result<TcpListener> {
    let at = |port| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    at(port).or_else(|_| at(0))
}

// === the companions ===

/// The issuer and the application, on a thread of their own.
struct Companions {
    issuer: Issuer,
    application: demo::Server,
    // Dropped last: the runtime that the two run on ends with it.
    _end: oneshot::Sender<()>,
}

impl Companions {
    fn start(clock: &Clock) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::Running(format!("demo servers: {error}"));
        let (end, ended) = oneshot::channel::<()>();
        let runtime = companions_runtime(ended).map_err(failed)?;
        let user = User { username: USERNAME.to_owned(), password: PASSWORD.to_owned() };
        let issuer_socket = listen(9191).map_err(failed)?;
        let issuer = Issuer::start(issuer_socket, &runtime, user, clock.clone()).map_err(failed)?;
        let application_socket = listen(9192).map_err(failed)?;
        let application = application::start(application_socket, &runtime).map_err(failed)?;
        Ok(Self { issuer, application, _end: end })
    }
}

/// A runtime on a thread of its own, which ends when the sender is dropped.
fn companions_runtime(ended: oneshot::Receiver<()>) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new().name("demo".to_owned()).spawn(move || {
        // An error is the sender's end, which is what is waited for.
        let _dropped = runtime.block_on(ended).is_err();
    })?;
    Ok(handle)
}

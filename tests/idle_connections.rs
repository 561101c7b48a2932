//! How long idle connections to application servers are used, learned from what those do.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::stack::virtual_environment;

/// Says how many requests it has had by POST, this one included.
const APPLICATION: &str = "\
posts = 0
def application(environ, start_response):
    global posts
    environ['wsgi.input'].read()
    posts += environ['REQUEST_METHOD'] == 'POST'
    said = str(posts).encode()
    start_response('200 OK', [('Content-Length', str(len(said)))])
    return [said]
";

/// Gunicorn with threads, which closes idle connections after a second.
struct Gunicorn {
    child: Child,
    endpoint: String,
}

impl Gunicorn {
    fn start(folder: &Path) -> Self {
        fs::write(folder.join("counting.py"), APPLICATION).unwrap();
        let said = folder.join("gunicorn.log");
        let mut child = Command::new(virtual_environment().join("bin/python"))
            .args(["-m", "gunicorn", "counting", "--threads", "8", "--keep-alive", "1"])
            .args(["--graceful-timeout", "1", "--bind", "127.0.0.1:0"])
            .current_dir(folder)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said).unwrap())
            .spawn()
            .unwrap();
        let endpoint = eventually("Gunicorn listens", || {
            let said = fs::read_to_string(&said).unwrap();
            assert!(child.try_wait().unwrap().is_none(), "{said}");
            said.lines().find(|line| line.contains("Booting worker"))?;
            let at = said.lines().find_map(|line| line.split_once("Listening at: "))?.1.to_owned();
            Some(at.split(' ').next()?.to_owned())
        });
        Self { child, endpoint }
    }
}

impl Drop for Gunicorn {
    fn drop(&mut self) {
        let id = i32::try_from(self.child.id()).unwrap();
        // Its own process alone; Gunicorn then ends its workers.
        if kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).is_ok() {
            drop(self.child.wait());
        }
    }
}

fn idle_limit(gateway: &Gateway) -> f64 {
    let upstreams = gateway.admin("/upstreams").expect(200).json();
    upstreams[0]["endpoints"][0]["idle_limit"].as_f64().unwrap()
}

#[test]
fn what_gunicorn_closes_is_learned_and_no_request_is_lost_to_it() {
    const CLIENTS: usize = 6;
    const ROUNDS: usize = 4;
    let folder = tempfile::tempdir().unwrap();
    let gunicorn = Gunicorn::start(folder.path());
    let gateway = Setup::new().start(&format!(
        "[listener.main]\naddress = \"127.0.0.1:0\"\n[server]\nworkers = 1\n\
         [upstream.web]\nendpoints = [\"{}\"]\nidle_timeout = \"auto\"\n\
         [[route]]\npath = \"/*\"\nupstream = \"web\"\npublic = true\n",
        gunicorn.endpoint
    ));
    assert!((idle_limit(&gateway) - 1.5).abs() < 1e-9, "the default until something is known");
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut connection = Client::tcp(gateway.address("main"));
                for round in 0..ROUNDS {
                    connection
                        .send("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi");
                    connection.response().expect(200);
                    // About when Gunicorn closes: the moment that loses requests.
                    let millis = 960 + 20 * u64::try_from(client + round).unwrap();
                    thread::sleep(Duration::from_millis(millis));
                }
            });
        }
    });
    // As many as were sent: none was lost, none was sent twice.
    let mut client = Client::tcp(gateway.address("main"));
    let counted = client.get("/count", "").expect(200).text().to_owned();
    assert_eq!(counted, (CLIENTS * ROUNDS).to_string());
    let limit = eventually("something is learned", || {
        Some(idle_limit(&gateway)).filter(|limit| *limit < 1.5)
    });
    assert!(limit < 1.45, "70 % of what Gunicorn keeps them, which is 1 to 2 s: {limit}");
    let failed = format!(
        "portcullis_upstream_errors_total{{endpoint=\"{}\",reason=\"upstream_failed\",upstream=\"web\"}}",
        gunicorn.endpoint
    );
    assert!(gateway.metric(&failed).abs() < 1e-9, "a request met a connection that was closed");
    let reused = "portcullis_upstream_connections_reused_total{upstream=\"web\"}";
    let before = gateway.metric(reused);
    client.get("/", "").expect(200);
    client.get("/", "").expect(200);
    assert!(gateway.metric(reused) > before, "what is fresh is used again");
}

